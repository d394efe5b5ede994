"""Deletes pictures and flow runs whose time is over, a few in each pass of `reconcile`.

A question that waits keeps its pictures until it is over, however few days they are kept. What is
kept of flow runs:

    passes that found nothing: an hour · other passes: a week · all of ours: a year after their end
        wrote the newest version of a page -> stays until there is a newer one
        all others                         -> deleted, with their task runs and logs

Prefect deletes a page when its flow run is gone (`RETENTION` in `deployments/state.py`), so the
flow run of a page that is still needed stays.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.publishing import evidence_key
from flows.registry_access import scenario_registry
from guardianflow.errors import GuardianflowError, LedgerDamaged
from guardianflow.monitoring.reconciliation import turn_of
from guardianflow.monitoring.retention import Overdue, delete_pictures, find_overdue, mark_deleted
from guardianflow.prefect_api.listing import all_pages
from guardianflow.prefect_api.prefect_yaml import TAG
from guardianflow.promotion.question import open_questions

# Not the flow run's logger: there may be no flow run.
log = logging.getLogger("guardianflow.reconcile")
_QUIET = ("AllWell", "Cancelled")
_QUIET_KEPT = timedelta(hours=1)
"""Flow runs that found nothing are kept only this long: most are of this kind."""
_KEPT = timedelta(days=7)
_OTHERS_KEPT = timedelta(days=365)
"""Flow runs of all our deployments; their decisions and figures stay in MLflow."""
_AT_ONCE = 50
"""The most flow runs that Prefect deletes in one request."""
_IN_A_PASS = 20
"""Batches in a pass: more than a plant of a thousand cameras makes in ten minutes."""
_PAGE = 200


def forget_pictures() -> int:
    """Delete overdue pictures; returns of how many promotions. A failure is logged and left."""
    client, deleted = scenario_registry().client, 0
    overdue = find_overdue(client, datetime.now(UTC))
    if not overdue:
        return 0
    try:
        asked = {question.asked.record for question in open_questions(client)}
    except LedgerDamaged:
        # Which pictures are still needed is unknown; the pass reports the damage.
        return 0
    for record in overdue:
        if record.run_id in asked:
            continue
        try:
            delete_pictures(client, record)
            _tidy_pages(record)
            mark_deleted(client, record)
        except GuardianflowError as error:
            log.error("pictures of record %s: %s", record.run_id, error)
            continue
        deleted += 1
        log.info("deleted the pictures of record %s", record.run_id)
    return deleted


def _tidy_pages(record: Overdue) -> None:
    """Take the pictures out of what the Prefect UI shows of a record."""
    with get_client(sync_client=True) as client:
        key = ArtifactFilterKey(any_=[evidence_key(record.model_name)])
        versions = partial(client.read_artifacts, artifact_filter=ArtifactFilter(key=key))
        for artifact in all_pages(versions):
            page = artifact.data
            if isinstance(page, str) and record.run_id in page:
                tidied = record.without_pictures(page)
                if tidied != page:
                    client.update_artifact(artifact.id, ArtifactUpdate(data=tidied))


def forget_old_runs(deployment_id: str | None, now: datetime) -> None:
    """Delete the flow runs whose time is over; nothing where no deployment makes these passes."""
    if deployment_id is None:
        return
    passes = {"deployment_id": {"any_": [deployment_id]}}
    quiet = {**passes, "state": {"name": {"any_": list(_QUIET)}}}
    ours = {"tags": {"all_": [TAG]}}
    with get_client(sync_client=True) as client:
        for which, kept in ((quiet, _QUIET_KEPT), (passes, _KEPT), (ours, _OTHERS_KEPT)):
            old = {**which, "end_time": {"before_": (now - kept).isoformat()}}
            for batch in _batches(client, old, turn_of(now)):
                held = _holding_a_page(client, batch)
                if gone := [run for run in batch if run not in held]:
                    _post(client, "flow_runs/bulk_delete", {"flow_runs": {"id": {"any_": gone}}})


def _batches(client: SyncPrefectClient, old: Mapping[str, Any], turn: int) -> list[list[str]]:
    """The ids of old flow runs, in turn, so that those that stay do not hide the others."""
    count = int(_post(client, "flow_runs/count", {"flow_runs": old}))
    ids: list[str] = []
    step = _AT_ONCE * _IN_A_PASS
    offset = turn * step % count // step * step if count else 0
    while len(ids) < min(step, count):
        page = {"flow_runs": old, "sort": "ID_DESC", "limit": _PAGE, "offset": offset + len(ids)}
        found = [run["id"] for run in _post(client, "flow_runs/filter", page)]
        ids += found
        if len(found) < _PAGE:
            break
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]


def _holding_a_page(client: SyncPrefectClient, runs: Sequence[str]) -> set[str]:
    """The flow runs among these that wrote the newest version of an artifact."""
    wanted = {"artifacts": {"flow_run_id": {"any_": runs}}}

    def read(**page: int) -> list[dict[str, Any]]:
        return _post(client, "artifacts/latest/filter", {**wanted, **page})

    return {one["flow_run_id"] for one in all_pages(read)}


def _post(client: SyncPrefectClient, path: str, content: Mapping[str, Any]) -> Any:
    # Routes of Prefect's API that its own client does not list.
    return client.request("POST", cast("Any", f"/{path}"), json=content).json()
