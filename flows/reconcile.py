"""The flow `reconcile`: every 30 s, finish what is provably ours and report the rest once.

    look at all releases -> alarm or settled, once for each change -> remembered -> page
        -> promotions that ended without a decision -> tidy up

An event is sent before it is remembered that it was: a process that is killed between the two
sends it again, never not at all.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import Artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Completed

from flows.connection import connect, worth_retrying
from flows.health import described, tell_of_health
from flows.parameters import PublicModelName
from flows.publishing import send_event, show_page
from flows.questions import look_at_questions
from flows.status_page import refresh_status
from guardianflow.care.alarms import AlarmBook, Change, compare, digest
from guardianflow.care.findings import FileCheck
from guardianflow.control import ROLLBACK, Orchestrator
from guardianflow.events import EventName, ModelEvent

if TYPE_CHECKING:
    from guardianflow.care.reconciliation import Reconciliation
    from guardianflow.registry import Operation

PAGE = "guardianflow-reconcile"
_SERVER = "the MLflow server"
_QUIET = ("AllWell", "Cancelled")
_QUIET_KEPT = timedelta(hours=1)
"""Flow runs that found nothing are not kept longer: there are three thousand of them a day."""
_KEPT = timedelta(days=7)
# A route of Prefect's API that its own client does not list.
_BULK_DELETE = cast("Any", "/flow_runs/bulk_delete")


@flow(name="reconcile", flow_run_name="reconcile")
def reconcile(
    model_name: PublicModelName | None = None, files: FileCheck | None = None
) -> State[Any]:
    """Compare ledger, aliases, files and tags; finish what was interrupted, report the rest.

    It puts back an @champion that is missing or quarantined. An alias that somebody moved by hand
    is reported and left alone.

    Args:
        model_name: One model, whose release is read in full; without it all are looked at.
        files: How closely files are compared (none, size, sha256); without it by size, a few
            releases in each flow run, and now and then all bytes of one.
    """
    result, changes = look(model_name, files)
    for change in changes:
        tell(change, result)
    for operation in result.rescued:
        tell_of_rescue(operation)
    if model_name is None:
        watch_health(result.champions)
    show(result)
    forget_old_runs(deployment.id, datetime.now(UTC))
    undecided = look_at_questions()
    if model_name is None:
        refresh_status()
    message = " ".join([*undecided, result.message])[:2000]
    if result.alarms:
        return Completed(name="Alarm", message=message)
    changed = result.changed or undecided
    return Completed(name="Mended" if changed else "AllWell", message=message)


@task(
    name="look",
    retries=2,
    retry_delay_seconds=3,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def look(model_name: str | None, files: FileCheck | None) -> "tuple[Reconciliation, list[Change]]":
    """Look, mend, and compare what is found with what was reported before."""
    from guardianflow.care import reconciliation

    registry = connect()
    reported = AlarmBook(registry.client).read()
    result = reconciliation.reconcile(registry, model_name, files=files, suspects=reported)
    for text in (*(o.message for o in (*result.finished, *result.rescued)), *result.mended):
        get_run_logger().warning("%s", text)
    for finding in result.alarms:
        get_run_logger().error("%s: %s %s", finding.code, finding.message, finding.remedy)
    looked = dict(result.examined)
    if model_name is None and not result.alarms_of(""):
        # Neither a model nor the ledger knows them any more: there is nothing left to report.
        gone = reported.keys() - result.releases - {""}
        looked |= dict.fromkeys(gone, FileCheck.SHA256)
    changes = [
        compare(base, reported.get(base, {}), result.alarms_of(base), closeness)
        for base, closeness in looked.items()
    ]
    return result, [change for change in changes if change]


@task(
    name="tell",
    retries=2,
    retry_delay_seconds=3,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def tell(change: Change, result: "Reconciliation") -> None:
    """Send what is new about a release, and then remember that it was sent."""
    for finding in change.new:
        send_event(
            EventName.ALARM,
            ModelEvent(
                model=finding.model or change.base,
                version=result.champions.get(finding.model),
                incident=digest(finding),
                message=f"{finding.message} {finding.remedy}",
            ),
        )
    if change.over:
        send_event(
            EventName.SETTLED,
            ModelEvent(
                model=change.base,
                version=result.champions.get(change.base),
                message=f"What was reported about {change.base or _SERVER} is over.",
            ),
        )
    AlarmBook(connect().client).write(change)


@task(
    name="watch-health",
    retries=1,
    retry_delay_seconds=3,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def watch_health(champions: dict[str, int]) -> None:
    """Judge what edge boxes posted, and start the rollbacks whose events were lost.

    Each is started once, by the report's id: whether it is still right is asked by `rollback`.
    """
    from guardianflow.health.box import judge_new
    from guardianflow.health.watch import unanswered

    registry = connect()
    for report in judge_new(registry):
        tell_of_health(described(report))
    for failing in unanswered(registry, champions):
        get_run_logger().warning("report %s was answered by nobody", failing.report_id)
        Orchestrator().submit(
            ROLLBACK,
            {
                "model_name": failing.model_name,
                "failing_version": failing.version,
                "report": failing.report_id,
                "incident": failing.report_id,
            },
            idempotency_key=f"unanswered-{failing.report_id}",
        )


def tell_of_rescue(operation: "Operation") -> None:
    """Say what was put back, for it may be what somebody moved on purpose; and where it went back.

    An alias that was moved by hand is put back along with one that was missing.
    """
    incident = f"operation-{operation.seq}"
    moves = "; ".join(
        f"@{m.alias} of {m.name} from {m.before or 'none'} to {m.after or 'none'}"
        for m in operation.moves
    )
    alarm = ModelEvent(
        model=operation.name,
        version=operation.after.get(operation.name),
        incident=incident,
        message=f"{operation.message} Moved: {moves or 'nothing'}.",
    )
    send_event(EventName.ALARM, alarm)
    for name, version in operation.after.items():
        if operation.kind == "rollback" and operation.before.get(name) != version:
            payload = ModelEvent(
                model=name, version=version, incident=incident, message=operation.message
            )
            send_event(EventName.ROLLED_BACK, payload)


def show(result: "Reconciliation") -> None:
    """Keep one page in the Prefect UI that says how things stand; written when that changes."""
    lines = ["# Releases"]
    for finding in result.alarms:
        lines += [f"**{finding.model or _SERVER}**: {finding.message}", finding.remedy]
    lines += [o.message for o in (*result.finished, *result.rescued)]
    lines += result.mended
    if len(lines) == 1:
        lines.append("All is well.")
    page = "\n\n".join(lines) + "\n"
    last = cast("Artifact | None", Artifact.get(PAGE))
    if last is None or last.data != page:
        show_page(PAGE, page, result.message[:500])


def forget_old_runs(deployment_id: str | None, now: datetime) -> None:
    """Delete flow runs of this deployment that nobody will look for: a few, each time."""
    if deployment_id is None:
        return
    with get_client(sync_client=True) as client:
        for states, kept in ((_QUIET, _QUIET_KEPT), (None, _KEPT)):
            old: dict[str, Any] = {
                "deployment_id": {"any_": [deployment_id]},
                "end_time": {"before_": (now - kept).isoformat()},
            }
            if states:
                old["state"] = {"name": {"any_": list(states)}}
            client.request("POST", _BULK_DELETE, json={"flow_runs": old})
