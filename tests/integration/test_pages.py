"""The pages in the Prefect UI on real servers: what runs where, and what happened."""

import json
from pathlib import Path

from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.states import Suspended

from flows.publishing import artifact_key
from flows.rollback import rollback
from flows.status_page import refresh_status
from guardianflow.health.verdict import Verdict
from guardianflow.monitoring import overview as overview_module
from guardianflow.monitoring.findings import Finding, FindingCode, Severity
from guardianflow.monitoring.overview import NO_REPORT, overview
from guardianflow.prefect_api.notifications import STATUS_PAGE
from guardianflow.registry import manager
from guardianflow.registry.ledger.log import Ledger
from guardianflow.wording.markdown import plain
from testbed.reports import keep_report


def row_of(rows, name):
    return next(row for row in rows if row["model"] == name)


@flow(name="status-test")
def refresh(others: list[Finding] | None = None):
    return refresh_status(others or ())


def test_the_status_page_says_what_runs_and_is_written_when_that_changed(releases):
    single = releases.release()
    assert refresh() is True
    page = Artifact.get(STATUS_PAGE)
    assert refresh() is False
    assert Artifact.get(STATUS_PAGE).id == page.id
    row = row_of(json.loads(page.data), single)
    assert (row["version"], row["put there by"]) == (2, "kim (promote)")
    assert (row["health"], row["waiting for approval"]) == (NO_REPORT, "")
    # Opened by its key it shows its description alone.
    assert f"| {single} | 2 |" in page.description

    keep_report(releases.client, single, 2, Verdict.HEALTHY)
    assert refresh() is True
    assert row_of(json.loads(Artifact.get(STATUS_PAGE).data), single)["health"] == "HEALTHY"
    assert f"- {single} version 2: **" not in Artifact.get(STATUS_PAGE).description
    keep_report(releases.client, single, 2, Verdict.FAILING)
    assert refresh() is True
    assert f"- {single} version 2: **FAILING**" in Artifact.get(STATUS_PAGE).description

    @flow(name="promote")
    def promote(model_name: str) -> None: ...

    first = releases.name()
    with get_client(sync_client=True) as client:
        for name in (first, single):
            run = client.create_flow_run(promote, parameters={"model_name": name})
            client.update_flow_run_labels(run.id, {"guardianflow.model.version": 3})
            client.set_flow_run_state(run.id, Suspended(timeout_seconds=60), force=True)
        assert refresh() is True
        client.delete_flow_run(run.id)
    asked = row_of(json.loads(Artifact.get(STATUS_PAGE).data), single)["waiting for approval"]
    assert asked.startswith("[version 3 until ")
    assert asked.endswith(f"/runs/flow-run/{run.id})")
    shown = Artifact.get(STATUS_PAGE).description
    # In lines that a phone does not cut off, above the table.
    above = shown.partition("| model |")[0]
    assert f"- {single}: [version 3 until " in above
    assert f"/runs/flow-run/{run.id})" in above
    assert f"| {first} |  |" in shown


def test_a_name_that_somebody_typed_is_no_link_in_a_table_either(releases):
    """A name is typed into the form by people who may do nothing else; administrators see it."""
    single, name = releases.name(), "[Kim](javascript:x)"
    releases.version(single)
    releases.registry.promote_to_champion(single, actor=f"{name} (declared)", reason="looks fine")
    assert refresh() is True
    assert refresh() is False
    page = Artifact.get(STATUS_PAGE)
    row = row_of(json.loads(page.data), single)
    assert row["put there by"] == plain(f"{name} (declared) (promote)")
    assert "](" not in row["put there by"].replace("\\](", "")
    # What has not moved is read from the page of before, as it was.
    keep_report(releases.client, single, 1, Verdict.HEALTHY)
    assert refresh() is True
    again = row_of(json.loads(Artifact.get(STATUS_PAGE).data), single)
    assert again["put there by"] == row["put there by"]


def test_what_somebody_called_an_automation_is_no_link_on_the_status_page(releases):
    releases.release()
    typed = "The last action of the automation '[look](http://evil.example)' failed."
    remedy = "Look at it with `guardianflow doctor`."
    finding = Finding("", FindingCode.AUTOMATION_FAILED, Severity.ERROR, typed, remedy)
    assert refresh([finding]) is True
    shown = Artifact.get(STATUS_PAGE).description
    assert shown.startswith("**The last action")
    assert "[look](" not in shown.partition("\n")[0]
    assert "`guardianflow doctor`." in shown.partition("\n")[0]


def test_a_release_that_has_not_moved_is_not_read_again(releases, monkeypatch):
    single = releases.release()
    keep_report(releases.client, single, 2, Verdict.FAILING)
    rows = overview(releases.registry, [])
    read: list[str] = []

    def note(client, base):
        read.append(base.public)
        return Ledger(client, base)

    with monkeypatch.context() as patch:
        patch.setattr(manager, "Ledger", note)
        patch.setattr(overview_module, "find_reports", lambda *_: [])
        assert overview(releases.registry, [], rows) == rows
    # Other tests share the server and leave releases of which no ledger knows.
    assert single not in read
    releases.registry.rollback(single, expected_champion=2, actor="lee", reason="it fails")
    row = row_of(overview(releases.registry, [], rows), single)
    assert (row["version"], row["put there by"]) == (1, "lee (rollback)")
    assert row["health"] == NO_REPORT


def test_a_rollback_leaves_a_page_in_prefect_and_beside_its_report(releases):
    single = releases.release()
    report = keep_report(releases.client, single, 2, Verdict.FAILING)
    state = rollback(single, failing_version=2, report=report, return_state=True)
    assert state.name == "RolledBack"
    page = Artifact.get(artifact_key("incident", single)).data
    for said in (
        "- who: automation\n",
        "| ppe | @champion | 2 | 1 |",
        "mAP50 0.200 on 32 frames is below 0.400",
        f"/runs/{report}",
        "/runs/flow-run/",
    ):
        assert said in page, said
    kept = Path(releases.client.download_artifacts(report, "incident.md"))
    assert kept.read_text(encoding="utf-8") == page


def test_a_rollback_by_a_person_leaves_a_page_with_the_reason(releases):
    single = releases.release()
    rollback(single, reason="alarms | all night")
    page = Artifact.get(artifact_key("incident", single)).data
    assert "- why: alarms \\| all night\n" in page
