"""What runs where, since when, put there by whom, healthy or not: one row for each model.

One listing, one search for reports; a ledger is read only where a release has moved since the
last look. That keeps a pass over many releases as cheap as it was.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from mlflow.entities import Run

from guardianflow.errors import LedgerDamaged, StoredUnreadable
from guardianflow.health.report import (
    NAME_TAG,
    VERDICT_TAG,
    VERSION_TAG,
    find_reports,
    number_in,
    stamp_of,
)
from guardianflow.monitoring.survey import ReleaseOverview, survey
from guardianflow.prefect_api.flowruns import WaitingApproval
from guardianflow.registry import ModelAlias, ModelRegistryManager
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import find_installation

Row = dict[str, object]
"""Column -> what stands there; plain values, so that yesterday's row compares with today's."""

NO_REPORT = "no report yet"
SILENT = "SILENT: nobody reports any more"


def overview(
    registry: ModelRegistryManager,
    waiting: Sequence[WaitingApproval],
    before: Sequence[Mapping[str, object]] = (),
    *,
    silent: Collection[str] = (),
) -> list[Row]:
    """The rows of all models that are in production or asked about, by name.

    Args:
        registry: The registered models.
        waiting: The promotions that wait for a person.
        before: The rows of the last look: what has not moved is not read again.
        silent: The models that nobody reports about any more.
    """
    known = {str(row.get("model")): row for row in before}
    asked = {one.model_name: one for one in waiting}
    reports = _newest_reports(registry)
    rows: dict[str, Row] = {}
    for sight in survey(registry.client):
        for name, model in sight.models.items():
            version = model.aliases.get(ModelAlias.CHAMPION)
            if version is None:
                continue
            last = known.get(name, {})
            row: Row = {"model": name, "version": version}
            row |= _placed(registry, sight, name, version, last)
            row |= _health(reports.get((name, version)), last if _same(last, row) else {})
            rows[name] = row | ({"health": SILENT} if name in silent else {})
    for name in asked.keys() - rows.keys():
        rows[name] = {"model": name, "version": None}
    for name, row in rows.items():
        row["waiting for approval"] = _asked(asked.get(name))
    return [rows[name] for name in sorted(rows)]


def _same(last: Mapping[str, object], row: Row) -> bool:
    return (last.get("version"), last.get("operation")) == (row["version"], row.get("operation"))


def _placed(
    registry: ModelRegistryManager,
    sight: ReleaseOverview,
    name: str,
    version: int,
    last: Mapping[str, object],
) -> Row:
    """Since when a version is champion, and who put it there."""
    operation = sight.mirror.seq if sight.mirror else None
    columns = ("since (UTC)", "put there by")
    if operation and (last.get("version"), last.get("operation")) == (version, operation):
        return {**{key: last.get(key) for key in columns}, "operation": operation}
    since, actor = "unknown", "nobody of whom the ledger knows"
    try:
        ledger = Ledger(registry.client, sight.base)
        if record := find_installation(ledger.past(ledger.read()), name, version):
            since = _minute(datetime.fromisoformat(record.time))
            actor = f"{record.by.actor} ({record.kind})"
    except LedgerDamaged:
        actor = "unknown: the ledger is damaged"
    except StoredUnreadable:
        actor = "unknown: the ledger is that of a newer guardianflow"
    return {"since (UTC)": since, "put there by": actor, "operation": operation}


def _newest_reports(registry: ModelRegistryManager) -> dict[tuple[str, int], Run]:
    """The newest report of each version, of the last few hundred."""
    found: dict[tuple[str, int], Run] = {}
    for run in find_reports(registry.client, {}):
        if version := number_in(run, VERSION_TAG):
            found.setdefault((run.data.tags.get(NAME_TAG, ""), version), run)
    return found


def _health(report: Run | None, last: Mapping[str, object]) -> Row:
    columns = ("health", "last report (UTC)")
    if report is None:
        # An older one may have been pushed out of the search by others.
        health = last.get(columns[0], NO_REPORT)
        return {
            "health": NO_REPORT if health == SILENT else health,
            "last report (UTC)": last.get(columns[1], ""),
        }
    return {
        "health": report.data.tags.get(VERDICT_TAG, "unknown"),
        # To the hour: boxes report every few minutes, and each change is a new page.
        "last report (UTC)": f"{stamp_of(report):%Y-%m-%d %H} h",
    }


def _asked(waiting: WaitingApproval | None) -> str:
    if waiting is None:
        return ""
    version = f"version {waiting.version}" if waiting.version else "a candidate"
    until = f" until {_minute(waiting.expires)}" if waiting.expires else ""
    return f"{version}{until}: {waiting.url}"


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"
