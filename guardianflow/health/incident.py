"""The page on a rollback: what moved, when, why, and where to read on."""

from collections.abc import Mapping
from datetime import UTC

from guardianflow.health.report import HealthReport
from guardianflow.names import ModelName
from guardianflow.registry.rotation.outcome import Operation
from guardianflow.wording.markdown import plain, prose, table


def incident_page(
    operation: Operation,
    report: HealthReport | None,
    links: Mapping[str, str],
    pictures: Mapping[str, str],
) -> str:
    """The page as Markdown; without a report it was a person who asked for the rollback.

    The links say where to read on: words -> address. The pictures are those of the report.
    """
    base = ModelName.parse(operation.name).base
    moves = [
        (m.name.rpartition("/")[2], f"@{m.alias}", m.before or "none", m.after or "none")
        for m in operation.moves
    ]
    lines = [
        f"**{prose(operation.message)}**",
        "",
        # No table: the UI wraps no cell, and a reason may be long.
        f"- when: {operation.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"- who: {plain(operation.actor) or '-'}",
        f"- why: {plain(operation.reason) or '-'}",
        f"- operation: {operation.seq} of {base}",
        "",
        *table(("model", "alias", "from", "to"), [[plain(cell) for cell in m] for m in moves]),
    ]
    if report is not None:
        lines += ["", *_of_report(report)]
    lines += ["", *(f"- [{words}]({address})" for words, address in links.items())]
    lines += [f"- picture [{plain(name)}]({address})" for name, address in pictures.items()]
    lines += [
        "",
        "The version that failed is quarantined: it is promoted again only with --force. "
        f"`guardianflow history {base}` shows what came before.",
    ]
    return "\n".join(lines) + "\n"


def _of_report(report: HealthReport) -> list[str]:
    camera = f" of camera {plain(report.camera)}" if report.camera else ""
    lines = [
        f"The report on version {report.version}{camera} ({report.in_a_row} failing windows in a "
        f"row): {prose(report.reason)}",
        "",
        f"- frames: {plain(report.window)}",
    ]
    for metric, figure in sorted(report.figures.items()):
        bounds = ""
        if figure.low is not None and figure.high is not None:
            bounds = f" ({figure.low:.3f} to {figure.high:.3f})"
        lines.append(f"- {plain(metric)}: {figure.value:.3f}{bounds}")
    if report.fallback is not None:
        said = prose(report.fallback.message)
        lines.append(f"- the version that runs now, on the same frames: {said}")
    return lines
