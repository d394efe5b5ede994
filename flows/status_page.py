"""The page `guardianflow-status` in the Prefect UI: which version runs where, in one table.

Its key never changes, so bookmarks and links in messages keep working. The flow `reconcile` writes
it when something has changed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from prefect.artifacts import Artifact

from flows.publishing import show_table
from flows.registry_access import scenario_registry
from guardianflow.health.verdict import Verdict
from guardianflow.monitoring.findings import Finding, FindingCode
from guardianflow.monitoring.overview import SILENT, overview
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.notifications import STATUS_PAGE
from guardianflow.wording.markdown import Markdown, cell, plain, prose, table, unescaped

_ABOUT = (
    "Which version runs, since when, who promoted it, and how healthy it is. `guardianflow history "
    "NAME` says why; `guardianflow doctor` says what is wrong."
)

_SHOWN = ("model", "version", "since (UTC)", "put there by", "health")
_ASKED = "waiting for approval"


def refresh_status(others: Sequence[Finding] = ()) -> bool:
    """Write the page where anything on it has changed; returns whether it did.

    `others` is what is wrong besides the releases: champions that are silent, Prefect itself.
    """
    last = cast("Artifact | None", Artifact.get(STATUS_PAGE))
    before = _rows(last) if last else None
    silent = [finding.model for finding in others if finding.code is FindingCode.SILENT]
    rows = overview(scenario_registry(), Orchestrator().pending(), before or (), silent=silent)
    wrong = [
        f"**{prose(f.message)}** {prose(f.remedy)}"
        for f in others
        if f.code is not FindingCode.SILENT
    ]
    # A page that is opened by its key shows only its description. A model without a champion that
    # waits for approval has no version yet.
    words = table(_SHOWN, ([plain(row.get(key) or "") for key in _SHOWN] for row in rows))
    about = "\n\n".join([*wrong, *_for_people(rows), "\n".join(words), _ABOUT])
    shown = [
        {key: cell(value) for key, value in row.items()}
        | {_ASKED: Markdown(_linked(str(row.get(_ASKED, ""))))}
        for row in rows
    ]
    if last and shown == _stored(last) and about == last.description:
        return False
    show_table(STATUS_PAGE, shown, Markdown(about))
    return True


def _for_people(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """What waits for a decision or fails, in lines that wrap, because phones cut tables off."""
    waiting = [
        f"- {plain(row['model'])}: {_linked(str(row[_ASKED]))}" for row in rows if row[_ASKED]
    ]
    failing = [
        f"- {plain(row['model'])} version {row.get('version')}: **{plain(row['health'])}**"
        for row in rows
        if row.get("health") in (Verdict.FAILING, SILENT)
    ]
    said = (("Waiting for a decision", waiting), ("Not well", failing))
    return ["\n".join([f"**{title}**", "", *lines]) for title, lines in said if lines]


def _linked(asked: str) -> str:
    """What is asked, as a link to the form."""
    said, _, url = asked.rpartition(": ")
    return f"[{plain(said)}]({url})" if said else ""


def _stored(last: Artifact) -> list[dict[str, Any]] | None:
    try:
        rows = json.loads(last.data) if isinstance(last.data, str) else last.data
    except ValueError:
        # A page of somebody else under our key.
        return None
    if not isinstance(rows, list):
        return None
    return [row for row in cast("list[Any]", rows) if isinstance(row, dict)]


def _rows(last: Artifact) -> list[dict[str, Any]] | None:
    """The rows of a page as they were before escaping."""
    return [
        {key: _typed(value) if isinstance(value, str) else value for key, value in row.items()}
        for row in _stored(last) or ()
    ] or None


def _typed(value: str) -> str:
    """A value before escaping; pages of older versions hold it unescaped."""
    typed = unescaped(value)
    return typed if plain(typed) == value else value
