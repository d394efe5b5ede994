"""`guardianflow measure`: the speed of a variant on this machine."""

from typing import Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import model_argument
from guardianflow.cli.output import OutputOption
from guardianflow.names import ModelName


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
