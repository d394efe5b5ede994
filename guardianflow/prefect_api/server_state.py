"""Automations, deployments and work pools on a Prefect server, as plain data.

`monitoring/prefect_checks.py` says what is wrong with them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from guardianflow.prefect_api.flowruns import FlowRunInfo, describe_run
from guardianflow.prefect_api.listing import all_pages, newest_ended
from guardianflow.prefect_api.prefect_yaml import RECONCILE, TAG, described

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

REMEMBERED = timedelta(days=7)
"""How long Prefect keeps events by default."""
LATE = timedelta(minutes=5)
"""How long a flow run may wait for a worker."""
PASS_LATE = timedelta(minutes=25)
"""How long after a good pass the next one has ended: two scheduled passes, and some more."""
START_WORKER = (
    "start a worker with `python -m deployments.worker {}`, from a checkout; `make up` starts one "
    "on this machine"
)
_FAILED = "prefect.automation.action.failed"
_EXECUTED = "prefect.automation.action.executed"
_AUTOMATION = "prefect.automation."
# The most events that Prefect returns at once.
_EVENTS = 50

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """The last action of an automation, which failed: when (UTC), and Prefect's message."""

    time: datetime
    reason: str
    times: int
    """How many failed in the last week, of the events that were read."""


@dataclass(frozen=True)
class AutomationInfo:
    """One automation, with its page in the UI; trigger and actions as Prefect's API says them."""

    name: str
    url: str
    enabled: bool
    trigger: Json
    actions: Sequence[Json]
    failure: Failure | None = None
    """Its last action, if that failed and nothing was changed since."""

    @property
    def blocks(self) -> frozenset[str]:
        """Ids of the notification blocks that its actions use."""
        used = (action.get("block_document_id") for action in self.actions)
        return frozenset(str(block) for block in used if block)


@dataclass(frozen=True)
class DeploymentInfo:
    """One of our deployments, with the work pool and the queue in which its flow runs wait."""

    id: str
    scheduled: bool
    """Whether a schedule starts it by itself."""
    pool: str = ""
    queue: str = ""


@dataclass(frozen=True)
class PoolInfo:
    """One work pool."""

    paused: bool
    has_worker: bool
    late: int
    """Flow runs that have waited for more than five minutes."""
    paused_queues: tuple[str, ...] = ()
    """Those that deployments use."""


@dataclass(frozen=True)
class ServerState:
    """Everything on a Prefect server that the flows need.

    Attributes:
        automations: By name; several may have the same name.
        deployments: By `flow/deployment`.
        blocks: Ids of the notification blocks that automations use and that exist.
        last_pass: When the last pass of `reconcile` over all releases ended well; None before the
            first.
        failed_pass: The newest such pass, if it failed or crashed since then.
    """

    automations: Mapping[str, Sequence[AutomationInfo]]
    deployments: Mapping[str, DeploymentInfo]
    pools: Mapping[str, PoolInfo]
    blocks: frozenset[str]
    last_pass: datetime | None
    failed_pass: FlowRunInfo | None = None


def read_server_state(client: "SyncPrefectClient", ui_url: str, now: datetime) -> ServerState:
    """Read the state in about ten calls, however many models there are."""
    reconcile = RECONCILE.partition("/")[0]
    good = newest_ended(client, reconcile, ("COMPLETED",))
    newest = newest_ended(client, reconcile)
    failures = _failures(client, now)
    automations: dict[str, list[AutomationInfo]] = {}
    for one in _pages(client, "automations", {}):
        automation = AutomationInfo(
            name=str(one["name"]),
            url=f"{ui_url}/automations/automation/{one['id']}",
            enabled=bool(one["enabled"]),
            trigger=one["trigger"],
            actions=one["actions"],
            failure=_current(client, one, failures),
        )
        automations.setdefault(automation.name, []).append(automation)
    deployments = _deployments(client)
    last_pass = describe_run(newest, ui_url) if newest else None
    return ServerState(
        automations,
        deployments,
        _pools(client, deployments.values(), now),
        _existing_blocks(client, automations.values()),
        describe_run(good, ui_url).ended if good else None,
        None if last_pass and last_pass.ok else last_pass,
    )


def _failures(client: "SyncPrefectClient", now: datetime) -> dict[str, Failure]:
    """The newest failed action of each automation, by its id."""
    failures: dict[str, Failure] = {}
    for event in _events(client, _FAILED, since=now - REMEMBERED):
        automation = str(event["resource"]["prefect.resource.id"]).removeprefix(_AUTOMATION)
        newer = failures.get(automation)
        failures[automation] = Failure(
            newer.time if newer else datetime.fromisoformat(event["occurred"]),
            newer.reason if newer else str(event["payload"].get("reason") or "no reason given"),
            newer.times + 1 if newer else 1,
        )
    return failures


def _current(
    client: "SyncPrefectClient", one: Json, failures: Mapping[str, Failure]
) -> Failure | None:
    """The failure of an automation, unless it was changed or an action worked since."""
    failure = failures.get(str(one["id"]))
    if failure is None or datetime.fromisoformat(one["updated"]) > failure.time:
        return None
    about = f"{_AUTOMATION}{one['id']}"
    worked = _events(client, _EXECUTED, since=failure.time, resource=about, limit=1)
    return None if worked else failure


def _events(
    client: "SyncPrefectClient",
    name: str,
    *,
    since: datetime,
    resource: str = "",
    limit: int = _EVENTS,
) -> list[Json]:
    """The newest events of a name, the newest first."""
    wanted: dict[str, Any] = {
        "event": {"name": [name]},
        # Without an end Prefect uses its own clock, which is the one that counts.
        "occurred": {"since": since.isoformat()},
        "order": "DESC",
    }
    if resource:
        wanted["resource"] = {"id": [resource]}
    answer = _ask(client, "events/filter", {"filter": wanted, "limit": limit})
    return cast("list[Json]", cast("Json", answer)["events"])


def _deployments(client: "SyncPrefectClient") -> dict[str, DeploymentInfo]:
    ours = {"deployments": {"tags": {"all_": [TAG]}}}
    flows = {flow["id"]: flow["name"] for flow in _pages(client, "flows", ours)}
    return {
        f"{flows.get(one['flow_id'])}/{one['name']}": DeploymentInfo(
            str(one["id"]),
            not one["paused"] and any(schedule["active"] for schedule in one["schedules"]),
            str(one.get("work_pool_name") or ""),
            str(one.get("work_queue_name") or ""),
        )
        for one in _pages(client, "deployments", ours)
    }


def _pools(
    client: "SyncPrefectClient", deployments: Iterable[DeploymentInfo], now: datetime
) -> dict[str, PoolInfo]:
    used = {(one.pool, one.queue) for one in deployments}
    ours = {"work_pools": {"name": {"any_": list(described().pools)}}}
    return {
        pool["name"]: PoolInfo(
            paused=bool(pool["is_paused"]),
            # A paused pool has no other status.
            has_worker=pool["status"] != "NOT_READY",
            late=_late(client, pool["name"], now),
            paused_queues=tuple(
                sorted(
                    queue["name"]
                    for queue in _pages(client, f"work_pools/{pool['name']}/queues", {})
                    if queue["is_paused"] and (pool["name"], queue["name"]) in used
                )
            ),
        )
        for pool in cast("list[Json]", _ask(client, "work_pools/filter", ours))
    }


def why_it_waits(client: "SyncPrefectClient", deployment: str) -> str:
    """Why no worker starts the flow runs of a deployment now, with the remedy; '' if one does."""
    name = client.read_deployment_by_name(deployment).work_pool_name
    if not name:
        # It is served, and whoever serves it starts its flow runs.
        return ""
    pool = client.read_work_pool(name)
    if pool.is_paused:
        return f"the work pool {name} is paused: resume it in the Prefect UI"
    if pool.status == "NOT_READY":
        return f"nothing polls the work pool {name}: {START_WORKER.format(name)}"
    return ""


def _late(client: "SyncPrefectClient", pool: str, now: datetime) -> int:
    waiting = {
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": (now - LATE).isoformat()},
    }
    asked = {"flow_runs": waiting, "work_pools": {"name": {"any_": [pool]}}}
    return int(cast("int", _ask(client, "flow_runs/count", asked)))


def _existing_blocks(
    client: "SyncPrefectClient", automations: Iterable[Sequence[AutomationInfo]]
) -> frozenset[str]:
    used = {block for mine in automations for one in mine for block in one.blocks}
    if not used:
        return frozenset()
    wanted = {"block_documents": {"id": {"any_": sorted(used)}}}
    return frozenset(str(one["id"]) for one in _pages(client, "block_documents", wanted))


def _pages(client: "SyncPrefectClient", what: str, wanted: Json) -> list[Json]:
    """Everything of a kind that matches a filter."""

    def read(**page: int) -> list[Json]:
        return cast("list[Json]", _ask(client, f"{what}/filter", {**wanted, **page}))

    return all_pages(read)


def _ask(client: "SyncPrefectClient", path: str, asked: Json) -> object:
    # Some of these routes are unknown to the types of Prefect's own client.
    return client.request("POST", cast("Any", f"/{path}"), json=dict(asked)).json()
