"""The commands `measure`, of speed on this machine, and `compare`, of two versions on images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import model_argument, name_if_given
from guardianflow.cli.output import Output, OutputOption
from guardianflow.names import ModelName
from guardianflow.scenario.file import today_in_files

if TYPE_CHECKING:
    from guardianflow.evaluation.version_comparison import Row, VersionComparison


def measure(
    name: Annotated[ModelName, model_argument("Model name of a variant, e.g. ...__openvino_int8.")],
    model_version: Annotated[
        int | None,
        typer.Option(help="Version to measure (default: @candidate, else @champion).", min=1),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure again even if this machine type was measured.")
    ] = False,
    *,
    out: OutputOption,
) -> None:
    """Measure the speed of a variant and its base on this machine, and keep it with the version.

    [bold]Example[/]

    guardianflow measure donghwa-entec/busan-plant1/welding/ppe__openvino_int8
    """
    from guardianflow.lifecycle.quantization.remeasuring import measure_speed

    done = measure_speed(open_registry(out), name.public, model_version, again=again)
    report = done.report
    out.say(
        f"{done.name} version {done.version} against version {done.source_version} of its "
        f"base: {report.sentence()}"
    )
    out.say(
        f"p50 f32 {report.fp32.p50_ms:.2f} ms, {report.default.precision} (default) "
        f"{report.default.p50_ms:.2f} ms, variant {report.variant.p50_ms:.2f} ms; "
        f"{report.variant.threads} thread, {report.variant.image_size} px"
    )
    if done.reused:
        out.remark("this machine type was measured before; --again measures again")
    out.result(
        {
            "model_name": done.name,
            "version": done.version,
            "source_version": done.source_version,
            "reused": done.reused,
            "speed": report.model_dump(mode="json"),
        }
    )


def compare(
    name: Annotated[ModelName, model_argument("Model name, of a base or a variant.")],
    first: Annotated[int, typer.Argument(help="Version to compare with.", min=1)],
    second: Annotated[int, typer.Argument(help="Version to compare.", min=1)],
    against: Annotated[
        ModelName | None,
        typer.Option(
            parser=name_if_given,
            help="Model name of the second version, if it differs: the base or a variant.",
        ),
    ] = None,
    no_speed: Annotated[
        bool, typer.Option("--no-speed", help="Do not measure time per frame and memory here.")
    ] = False,
    *,
    out: OutputOption,
) -> None:
    """Compare two versions on the images that both were evaluated on; write nothing.

    Says first what the second misses more or less than the first, and what it costs on this
    machine: time per frame, size and memory. Then each difference with its confidence interval,
    and what the gate would say if the second version replaced the first.

    [bold]Examples[/]

    guardianflow compare donghwa-entec/busan-plant1/welding/ppe 3 5

    guardianflow compare donghwa-entec/busan-plant1/welding/ppe 5 2 --against \
donghwa-entec/busan-plant1/welding/ppe__openvino_int8
    """
    registry = open_registry(out)
    from guardianflow.cli.comparison_words import in_words
    from guardianflow.evaluation.version_comparison import compare_versions

    with out.meter() as show:
        found = compare_versions(
            registry,
            name.public,
            first,
            second,
            against=(against or name).public,
            timed=not no_speed,
            today=today_in_files,
            on_progress=show,
        )
    words = in_words(found)
    _show(out, found, words)
    out.result({"message": found.sentence(), "in_words": words, **found.model_dump(mode="json")})


def _show(out: Output, found: "VersionComparison", words: Sequence[str]) -> None:
    images = found.second.evaluation.images
    out.say(f"{found.second.label} instead of {found.first.label}, on the same {images} images:")
    for line in words:
        out.say(f"  {line}")
    labels = (found.first.label, found.second.label)
    confidence = f"{found.difference.confidence:.0%} " if found.difference else ""
    columns = ("figure", *labels, "difference", f"{confidence}interval", "second is")
    out.table("Figures", columns, [_cells(row) for row in found.rows()])
    _show_cost(out, found)
    if found.difference:
        out.say(found.sentence())
    if found.gate:
        out.gate(found.gate)


def _cells(row: "Row") -> tuple[str | None, ...]:
    values = (row.what, f"{row.first:.3f}", f"{row.second:.3f}")
    if (by := row.difference) is None:
        return (*values, None, None, None)
    return (*values, f"{by.value:+.3f}", f"{by.low:+.3f} to {by.high:+.3f}", row.says)


def _show_cost(out: Output, found: "VersionComparison") -> None:
    """Print what both cost beside each other, with where it was measured."""
    sides = (found.cost.first, found.cost.second)
    timed = [one.latency if one else None for one in sides]
    place = next((one for one in timed if one), None)
    rows: list[tuple[str, list[object | None]]] = [
        ("ms per frame, half of all", [one and f"{one.p50_ms:.1f}" for one in timed]),
        ("ms per frame, 19 of 20", [one and f"{one.p95_ms:.1f}" for one in timed]),
        ("input, pixels", [one and one.image_size for one in timed]),
        ("computed in", [one and one.precision for one in timed]),
        ("MiB of files", [one and f"{one.size_mib:.1f}" for one in sides]),
        ("MiB of memory", [one and one.memory_mib and f"{one.memory_mib:.0f}" for one in sides]),
    ]
    out.table(
        "Cost on this machine",
        ("cost", found.first.label, found.second.label),
        [(what, *values) for what, values in rows if any(values)],
    )
    if place:
        out.say(f"Measured on {place.cpu} ({place.instruction_set}), threads: {place.threads}.")
    if ratio := found.cost.time_ratio:
        out.say(
            f"Timed in turns: {found.second.label} takes {ratio.value:.2f}x the time of "
            f"{found.first.label} ({ratio.low:.2f} to {ratio.high:.2f})."
        )
    if found.cost.busy:
        out.remark("Other work kept this machine busy: the ratio holds, the times are too long.")
