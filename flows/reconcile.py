"""The flow `reconcile`: mends what needs no person, and reports the rest once.

look at all releases -> reports, silence, Prefect itself -> alarm or settled, once (alarms.py)
-> approval policy to MLflow -> questions that end, or ended without a decision
-> page -> status page -> pictures whose time is over -> flow runs that nobody will look for

It runs when something has changed (deployments/watcher.py), and every ten minutes. Its steps are
not tasks, because Prefect would store a run and three events for each. If a step fails, the whole
flow is retried; each step first checks what is left to do.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.artifacts import Artifact
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Completed

from flows.alarms import server_of, tell, tell_of_rescue
from flows.health import show_report, tell_of_health
from flows.parameters import PublicModelName
from flows.publishing import show_page
from flows.questions import copy_policy, look_at_questions
from flows.registry_access import scenario_registry
from flows.retention import forget_old_runs, forget_pictures
from flows.scenario_blocks import limits_in_blocks
from flows.status_page import refresh_status
from guardianflow.health.box_reports import judge_new
from guardianflow.health.reaction import find_unanswered
from guardianflow.health.verdict import Verdict
from guardianflow.mlflow_store.client import check_that_it_works
from guardianflow.monitoring import reconciliation
from guardianflow.monitoring.alarms import AlarmBook, AlarmChange, find_change, find_changes
from guardianflow.monitoring.findings import FileCheck, Finding, FindingCode, Severity
from guardianflow.monitoring.pass_memory import AlarmTopic, Topic
from guardianflow.monitoring.prefect_checks import examine_prefect
from guardianflow.monitoring.reconciliation import Reconciliation
from guardianflow.monitoring.silence import find_silent
from guardianflow.names import ModelName
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import ROLLBACK
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


def watch_health(champions: dict[str, int]) -> list[str]:
    """Judge what edge boxes posted, and start the rollbacks whose events were lost.

    Each rollback is started once per report; the flow `rollback` checks whether it is still right.
    Returns what happened, in words: messages link to this flow run.
    """
    registry = scenario_registry()
    said: list[str] = []
    for report in judge_new(registry, limits_in_blocks):
        if report.faults or report.verdict is Verdict.FAILING:
            show_report(registry.client, report)
            said.append(report.message)
        tell_of_health(report)
    for failing in find_unanswered(registry, champions):
        said.append(f"Nothing followed from report {failing.report_id}: a rollback is started.")
        get_run_logger().warning("%s", said[-1])
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
    return said


def watch_silence(champions: dict[str, int]) -> list[Finding]:
    """Report champions without recent reports, and when reports come again; returns all of them."""
    client = (registry := scenario_registry()).client
    reported = AlarmBook(client, Topic.SILENCE).read()
    told = {known for memory in reported.values() for known in memory}
    silent = find_silent(registry, champions, told=told, today=limits_in_blocks)
    for change in find_changes(reported, silent):
        tell(Topic.SILENCE, change, champions)
    return silent


def watch_orchestrator(champions: Mapping[str, int], also: Sequence[Finding] = ()) -> list[Finding]:
    """Report what is wrong with Prefect's automations, deployments and workers; returns all of it.

    `also` are other findings about Prefect. A pass that no deployment started, as in a test, finds
    only these.
    """
    if not deployment.get_id():
        return list(also)
    found = [*also, *examine_prefect(Orchestrator().server_state(), datetime.now(UTC))]
    # This pass runs: that passes were late or failed is over.
    over = (FindingCode.PASS_LATE, FindingCode.PASS_FAILED)
    found = [finding for finding in found if finding.code not in over]
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    reported = AlarmBook(scenario_registry().client, Topic.ORCHESTRATOR).read()
    for change in find_changes(reported, errors):
        tell(Topic.ORCHESTRATOR, change, champions)
    return found
