"""What a pass of `reconcile` checks besides releases: reports, silence and Prefect itself."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from prefect import get_run_logger
from prefect.runtime import deployment

from flows.alarms import tell
from flows.health import show_report, tell_of_health
from flows.registry_access import scenario_registry
from flows.scenario_blocks import limits_in_blocks
from guardianflow.health.box_reports import judge_new
from guardianflow.health.reaction import find_unanswered
from guardianflow.health.verdict import Verdict
from guardianflow.monitoring.alarms import AlarmBook, find_changes
from guardianflow.monitoring.findings import Finding, FindingCode, Severity
from guardianflow.monitoring.pass_memory import Topic
from guardianflow.monitoring.prefect_checks import examine_prefect
from guardianflow.monitoring.silence import find_silent
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import ROLLBACK


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
