"""The rows of the status page: version, since when, who promoted it, and health, by model.

It makes one listing and one search for reports, and reads a ledger only where a release has moved
since the last time. So a pass over many releases stays cheap.
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
    report_time,
)
from guardianflow.monitoring.survey import survey
from guardianflow.names import ModelName
from guardianflow.prefect_api.flowruns import WaitingApproval
from guardianflow.registry import ModelAlias, ModelRegistryManager
from guardianflow.registry.release_state import find_installation

Row = dict[str, object]
"""Column -> plain value, so that rows can be compared with those of the last pass."""

NO_REPORT = "no report yet"
SILENT = "SILENT: nobody reports any more"


def overview(
    registry: ModelRegistryManager,
    waiting: Sequence[WaitingApproval],
    before: Sequence[Mapping[str, object]] = (),
    *,
    silent: Collection[str] = (),
) -> list[Row]:
    """Make the rows of all models in production or waiting for approval, by name.

    What has not moved since `before`, the rows of the last time, is not read again. `silent` are
    the models without recent reports.
    """
    known = {str(row.get("model")): row for row in before}
    asked = {one.model_name: one for one in waiting}
    reports = _newest_reports(registry)
    rows: dict[str, Row] = {}
    for release in survey(registry.client):
        for name, model in release.models.items():
            version = model.aliases.get(ModelAlias.CHAMPION)
            if version is None:
                continue
            operation = release.mirror.seq if release.mirror else None
            last = known.get(name, {})
            if (last.get("version"), last.get("operation")) != (version, operation):
                last = {}
            row: Row = {"model": name, "version": version}
            row |= _placed(registry, release.base, name, version, last if operation else {})
            row |= {"operation": operation, **_health(reports.get((name, version)), last)}
            rows[name] = row | ({"health": SILENT} if name in silent else {})
    for name in asked.keys() - rows.keys():
        rows[name] = {"model": name, "version": None}
    for name, row in rows.items():
        row["waiting for approval"] = _asked(asked.get(name))
    return [rows[name] for name in sorted(rows)]


def _placed(
    registry: ModelRegistryManager,
    base: ModelName,
    name: str,
    version: int,
    last: Mapping[str, object],
) -> Row:
    """Since when a version is champion, and who promoted it."""
    if last:
        return {key: last.get(key) for key in ("since (UTC)", "put there by")}
    since, actor = "unknown", "nobody of whom the ledger knows"
    try:
        ledger = registry.ledger(base)
        if record := find_installation(ledger.past(ledger.read()), name, version):
            since = _minute(datetime.fromisoformat(record.time))
            actor = f"{record.by.actor} ({record.kind})"
    except LedgerDamaged:
        actor = "unknown: the ledger is damaged"
    except StoredUnreadable:
        actor = "unknown: the ledger is that of a newer guardianflow"
    return {"since (UTC)": since, "put there by": actor}


def _newest_reports(registry: ModelRegistryManager) -> dict[tuple[str, int], Run]:
    """The newest report of each version, among the last few hundred."""
    found: dict[tuple[str, int], Run] = {}
    for run in find_reports(registry.client, {}):
        if version := number_in(run, VERSION_TAG):
            found.setdefault((run.data.tags.get(NAME_TAG, ""), version), run)
    return found


def _health(report: Run | None, last: Mapping[str, object]) -> Row:
    if report is None:
        # It may be too old to be among the reports that were found.
        health, time = last.get("health", NO_REPORT), last.get("last report (UTC)", "")
        return {"health": NO_REPORT if health == SILENT else health, "last report (UTC)": time}
    return {
        "health": report.data.tags.get(VERDICT_TAG, "unknown"),
        # To the hour: boxes report every few minutes, and each change is a new page.
        "last report (UTC)": f"{report_time(report):%Y-%m-%d %H} h",
    }


def _asked(waiting: WaitingApproval | None) -> str:
    if waiting is None:
        return ""
    version = f"version {waiting.version}" if waiting.version else "a candidate"
    until = f" until {_minute(waiting.expires)}" if waiting.expires else ""
    return f"{version}{until}: {waiting.url}"


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"
