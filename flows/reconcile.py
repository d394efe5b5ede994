"""The flow `reconcile`: mends what needs no person, and reports the rest once.

look at all releases -> reports, silence, Prefect itself -> alarm or settled, once (alarms.py)
-> approval policy to MLflow -> questions that end, or ended without a decision
-> page -> status page -> pictures whose time is over -> flow runs that nobody will look for

It runs when something has changed (deployments/watcher.py), and every ten minutes. Its steps are
not tasks, because Prefect would store a run and three events for each. If a step fails, the whole
flow is retried; each step first checks what is left to do.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.artifacts import Artifact
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Completed

from flows.alarms import server_of, tell, tell_of_rescue
from flows.parameters import PublicModelName
from flows.publishing import show_page
from flows.questions import copy_policy, look_at_questions
from flows.reconcile_checks import watch_health, watch_orchestrator, watch_silence
from flows.registry_access import scenario_registry
from flows.retention import forget_old_runs, forget_pictures
from flows.status_page import refresh_status
from guardianflow.mlflow_store.client import check_that_it_works
from guardianflow.monitoring import reconciliation
from guardianflow.monitoring.alarms import AlarmBook, AlarmChange, find_change
from guardianflow.monitoring.findings import FileCheck, Finding, Severity
from guardianflow.monitoring.pass_memory import AlarmTopic, Topic
from guardianflow.monitoring.reconciliation import Reconciliation
from guardianflow.names import ModelName
from guardianflow.wording.markdown import plain, prose

PAGE = "guardianflow-reconcile"


@flow(name="reconcile", flow_run_name="reconcile", retries=2, retry_delay_seconds=3)
def reconcile(
    model_name: PublicModelName | None = None, files: FileCheck | None = None
) -> State[Any]:
    """Compare ledger, aliases, files and tags; finish what was interrupted, report the rest.

    It puts back an @champion that is missing or quarantined. An alias that somebody moved by hand
    is reported and left alone.

    Args:
        model_name: One model, whose release is read in full; without it all releases are checked.
        files: How closely to compare the files (none, size, sha256) of releases that look wrong.
            Without it by size, also of the releases whose turn it is, and all bytes of one.
    """
    result, changes = look(model_name, files)
    for change in changes:
        tell(Topic.RELEASES, change, result.champions)
    for operation in result.rescued:
        tell_of_rescue(operation)
    said: list[str] = []
    others: list[Finding] = []
    if model_name is None:
        said += watch_health(result.champions)
        others += watch_silence(result.champions)
    policy = copy_policy()
    said += look_at_questions()
    others += policy if model_name else watch_orchestrator(result.champions, policy)
    others = [finding for finding in others if finding.severity is not Severity.NOTE]
    publish_state(result, others)
    if model_name is None:
        refresh_status(others)
        forget_pictures()
        # At the very end, when this pass is the newest that succeeded.
        forget_old_runs(deployment.id, datetime.now(UTC))
    errors = [finding for finding in others if finding.severity is Severity.ERROR]
    message = " ".join([*said, *(finding.message for finding in errors), result.message])[:2000]
    if result.alarms or errors:
        return Completed(name="Alarm", message=message)
    return Completed(name="Mended" if result.changed or said else "AllWell", message=message)


def look(
    model_name: str | None, files: FileCheck | None
) -> tuple[Reconciliation, list[AlarmChange]]:
    """Examine and mend the releases, and compare the findings with what was reported before."""
    registry = scenario_registry()
    # MLflow's client would retry on a stuck database for minutes without a message.
    check_that_it_works(registry.client.tracking_uri)
    reported = AlarmBook(registry.client).read()
    name = ModelName.parse(model_name) if model_name else None
    result = reconciliation.reconcile(registry, name, files=files, suspects=reported)
    for text in (*(o.message for o in (*result.finished, *result.rescued)), *result.mended):
        get_run_logger().warning("%s", text)
    for finding in result.alarms:
        get_run_logger().error("%s: %s %s", finding.code, finding.message, finding.remedy)
    looked = dict(result.examined)
    if model_name is None and not result.alarms_of(""):
        # They are neither in MLflow nor in the ledger any more: their alarms are over.
        gone = reported.keys() - result.releases - {""}
        looked |= dict.fromkeys(gone, FileCheck.SHA256)
    changes = [
        find_change(base, reported.get(base, {}), result.alarms_of(base), closeness)
        for base, closeness in looked.items()
    ]
    return result, [change for change in changes if change]


def publish_state(result: Reconciliation, others: Sequence[Finding] = ()) -> None:
    """Show what was found on a page in the Prefect UI, where that has changed."""
    lines = ["# Releases"]
    pages: list[tuple[AlarmTopic, Sequence[Finding]]] = [
        (Topic.RELEASES, result.alarms),
        (Topic.ORCHESTRATOR, others),
    ]
    for topic, findings in pages:
        for finding in findings:
            about = finding.model or server_of(topic)
            lines += [f"**{plain(about)}**: {prose(finding.message)}", prose(finding.remedy)]
    lines += [prose(o.message) for o in (*result.finished, *result.rescued)]
    lines += [prose(said) for said in result.mended]
    if len(lines) == 1:
        lines.append("All is well.")
    page = "\n\n".join(lines) + "\n"
    last = cast("Artifact | None", Artifact.get(PAGE))
    if last is None or last.data != page:
        show_page(PAGE, page, result.message[:500])
