"""The commands about health: what an edge box reports, and how champions perform."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import model_argument
from guardianflow.cli.output import OutputOption
from guardianflow.errors import ArtifactMissing, InputError, StoredUnreadable
from guardianflow.names import ModelName

if TYPE_CHECKING:
    from mlflow.entities import Run

    from guardianflow.registry import ModelRegistryManager

_LONGEST = 1_000_000
commands = typer.Typer(
    no_args_is_help=True,
    help="Report how a champion performs on the floor, and read the reports.",
)


@commands.command("report")
def report(
    file: Annotated[
        str, typer.Argument(help="JSON file with the report; - reads standard input.")
    ] = "-",
    *,
    out: OutputOption,
) -> None:
    """Post what an edge box counted in one window of time; the server judges it.

    Posting the same report again changes nothing. The account needs only EDIT on the MLflow
    experiment guardianflow.health.

    [bold]Example[/]

    echo '{"model": "donghwa-entec/busan-plant1/welding/ppe__openvino_int8", "version": 2,
    "camera": "box-7", "begin": "2026-11-25T08:00:00+09:00", "end": "2026-11-25T09:00:00+09:00",
    "frames": 3600, "metrics": {"detections_per_frame": 1.9}}' | guardianflow health report
    """
    from guardianflow.health.box_reports import BoxReport, post_report

    text = _read(file)
    try:
        box = BoxReport.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{'standard input' if file == '-' else file}: {key or 'the report'}: {first['msg']}.",
            remedy="`guardianflow health report --help` shows a report.",
            key=key,
        ) from error
    run_id = post_report(open_registry(out).client, box)
    out.say(f"kept as {run_id}: {box.model} version {box.version}, {box.camera}")
    out.result({"run_id": run_id, "model": box.model, "version": box.version})


@commands.command("show")
def show(
    name: Annotated[ModelName, model_argument("Model name, of a base or a variant.")],
    *,
    out: OutputOption,
) -> None:
    """Show the latest reports about a model, newest first.

    [bold]Example[/]

    guardianflow health show donghwa-entec/busan-plant1/welding/ppe__openvino_int8
    """
    from guardianflow.health.report import NAME_TAG, find_reports
    from guardianflow.mlflow_store.registered_models import check_registered

    registry = open_registry(out)
    rows = [_row(registry, run) for run in find_reports(registry.client, {NAME_TAG: name.public})]
    if not rows:
        check_registered(registry.client, name)
    columns = ("time", "version", "camera", "window", "verdict", "reason", "answer", "report")
    out.table(
        f"Health of {name} (times in UTC)",
        columns,
        [
            [f"{row[key]:%Y-%m-%d %H:%M}" if key == "time" else row[key] for key in columns]
            for row in rows
        ],
    )
    out.result(rows)


def _row(registry: "ModelRegistryManager", run: "Run") -> dict[str, object]:
    """What is shown of a report; one of before its tags said all of it is read."""
    from guardianflow.health import report as reports

    tags = run.data.tags
    window, reason = tags.get(reports.WINDOW_TAG, ""), tags.get(reports.REASON_TAG, "")
    if reports.REASON_TAG not in tags:
        try:
            found = reports.read_report(registry, run.info.run_id)
            window, reason = found.window, found.reason
        except (ArtifactMissing, StoredUnreadable) as error:
            # One of them hides no other.
            reason = error.message
    return {
        "report": run.info.run_id,
        "time": reports.report_time(run),
        "version": reports.number_in(run, reports.VERSION_TAG) or 0,
        "camera": tags.get(reports.CAMERA_TAG, ""),
        "window": window,
        "window_verdict": tags.get(reports.WINDOW_VERDICT_TAG, ""),
        "verdict": tags.get(reports.VERDICT_TAG, ""),
        "reason": reason,
        "answer": tags.get(reports.ANSWER_TAG, ""),
    }


def _read(file: str) -> str:
    """The report's text, which is UTF-8 and not far too long."""
    try:
        stream = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115
        with stream:
            content = stream.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise InputError(
                f"The report in {file} is longer than {_LONGEST} bytes.",
                remedy="Report one window at a time.",
            )
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The report in {file} cannot be read: {error}.", remedy="Give a JSON file, or -."
        ) from error
