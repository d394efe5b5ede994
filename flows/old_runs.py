"""Deletes old flow runs, a few in each pass of `reconcile`.

    passes that found nothing: an hour · other passes: a week · all of ours: a year after their end
        wrote the newest version of a page -> stays until there is a newer one
        all others                         -> deleted, with their task runs and logs

Prefect deletes a page when its flow run is gone (`RETENTION` in `deployments/state.py`), so the
flow run of a page that is still needed stays.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient, get_client

from guardianflow.monitoring.reconciliation import turn_of
from guardianflow.prefect_api.prefect_yaml import TAG

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


def forget_old_runs(deployment_id: str | None, now: datetime) -> None:
    """Delete the flow runs whose time is over.

    Args:
        deployment_id: The deployment of these passes; None deletes nothing.
        now: The time of the pass.
    """
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
                    _post(client, "bulk_delete", {"flow_runs": {"id": {"any_": gone}}})


def _batches(client: SyncPrefectClient, old: Mapping[str, Any], turn: int) -> list[list[str]]:
    """The ids of old flow runs, in turn, so that those that stay do not hide the others."""
    count = int(_post(client, "count", {"flow_runs": old}))
    ids: list[str] = []
    step = _AT_ONCE * _IN_A_PASS
    offset = turn * step % count // step * step if count else 0
    while len(ids) < min(step, count):
        page = {"flow_runs": old, "sort": "ID_DESC", "limit": _PAGE, "offset": offset + len(ids)}
        found = [run["id"] for run in _post(client, "filter", page)]
        ids += found
        if len(found) < _PAGE:
            break
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]


def _holding_a_page(client: SyncPrefectClient, runs: Sequence[str]) -> set[str]:
    """The flow runs among these that wrote the newest version of an artifact."""
    held: set[str] = set()
    seen = 0
    while True:
        wanted = {"artifacts": {"flow_run_id": {"any_": runs}}, "limit": _PAGE, "offset": seen}
        found = client.request("POST", cast("Any", "/artifacts/latest/filter"), json=wanted).json()
        held |= {one["flow_run_id"] for one in found}
        seen += len(found)
        if len(found) < _PAGE:
            return held


def _post(client: SyncPrefectClient, path: str, content: Mapping[str, Any]) -> Any:
    # Routes of Prefect's API that its own client does not list.
    return client.request("POST", cast("Any", f"/flow_runs/{path}"), json=content).json()
