"""The commands `measure`, of speed on this machine, and `compare`, of two versions on images."""

from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import model_argument, name_if_given
from guardianflow.cli.output import Output, OutputOption
from guardianflow.names import ModelName
from guardianflow.scenario.file import today_in_files

if TYPE_CHECKING:
    from guardianflow.evaluation.version_comparison import VersionComparison


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
    *,
    out: OutputOption,
) -> None:
    """Compare two versions on the images that both were evaluated on; write nothing.

    Shows each difference with its confidence interval, and what the gate would say if the second
    version replaced the first.

    [bold]Examples[/]

    guardianflow compare donghwa-entec/busan-plant1/welding/ppe 3 5

    guardianflow compare donghwa-entec/busan-plant1/welding/ppe 5 2 --against \
donghwa-entec/busan-plant1/welding/ppe__openvino_int8
    """
    registry = open_registry(out)
    from guardianflow.evaluation.version_comparison import compare_versions

    with out.meter() as show:
        found = compare_versions(
            registry,
            name.public,
            first,
            second,
            against=(against or name).public,
            today=today_in_files,
            on_progress=show,
        )
    _show(out, found)
    out.result({"message": found.sentence(), **found.model_dump(mode="json")})


def _show(out: Output, found: "VersionComparison") -> None:
    difference = found.difference
    out.table(
        f"{found.first.label} and {found.second.label} on {difference.images} images",
        (
            "figure",
            found.first.label,
            found.second.label,
            "difference",
            f"{difference.confidence:.0%} interval",
            "second is",
        ),
        [
            (
                row.what,
                f"{row.first:.3f}",
                f"{row.second:.3f}",
                f"{row.difference.value:+.3f}",
                f"{row.difference.low:+.3f} to {row.difference.high:+.3f}",
                row.says,
            )
            for row in found.rows()
        ],
    )
    out.say(found.sentence())
    if found.gate:
        out.gate(found.gate)
