"""Goes on with MLflow databases that the code of other days left: golden files, read for ever."""

import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guardianflow.cli import main
from guardianflow.errors import NoCandidate, ScenarioFrozen, StoredUnreadable
from guardianflow.evaluation.measurement import recorded_scenario
from guardianflow.health.box_reports import judge_new
from guardianflow.health.champion_since import champion_since
from guardianflow.health.report import find_reports, read_report
from guardianflow.health.verdict import Verdict
from guardianflow.lifecycle.quantization.source import choose_source
from guardianflow.mlflow_store.runs import read_run_text
from guardianflow.mlflow_store.same_work import find_same_work, refuse_edited, version_tags
from guardianflow.monitoring.alarms import AlarmBook
from guardianflow.monitoring.doctor import examine_release
from guardianflow.monitoring.drill import drill
from guardianflow.monitoring.drill_report import DRILL_TAG, LastDrill
from guardianflow.monitoring.findings import FileCheck
from guardianflow.monitoring.pass_memory import Notes, Topic
from guardianflow.monitoring.reconciliation import reconcile
from guardianflow.monitoring.silence import Watched, find_silent
from guardianflow.names import ModelName
from guardianflow.promotion import decide, steps
from guardianflow.promotion.approval.policy import Answer, Choice
from guardianflow.promotion.approval.stored_rules import RULES_TAG, read_rules
from guardianflow.promotion.question import Question, open_questions
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.index import find_index, read_index, runs_of
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import OperationKind
from guardianflow.scenario import GateSettings, HealthPolicy, ScenarioSpec
from guardianflow.stored import read_stored
from testbed.servers import mlflow_server_on
from tests.golden.make import LONG, REQUEST, SETTINGS

pytestmark = pytest.mark.mlflow_server

GOLDEN = sorted(path for path in Path("tests/golden").glob("v*") if path.is_dir())
NAME = "golden/lab-bench/welding/ppe"
INT8 = f"{NAME}__openvino_int8"
LEE = Answer(decision=Choice.APPROVE, approver="Lee Jun", reason="saw them, too")


@pytest.fixture(scope="module", params=GOLDEN, ids=lambda path: path.name)
def registry(request, tmp_path_factory):
    """The registry on a server with the database of then."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(request.param / "mlflow.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with mlflow_server_on(folder) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(folder / "home"))
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        yield ModelRegistryManager(server.uri)


# The tests go on where the one before ended, as people would.


def test_models_aliases_and_history_are_listed(registry):
    models = {model.name: model for model in registry.list_models()}
    for name in (NAME, INT8):
        assert models[name].aliases == {"champion": 1, "candidate": 3}
        assert [v.version for v in registry.list_versions(name)] == [1, 2, 3]
    history = registry.history(NAME)
    assert [op.kind for op in history] == [
        OperationKind.PROMOTE,
        OperationKind.PROMOTE,
        OperationKind.ROLLBACK,
    ]
    assert history[2].reason == "blind at night"
    drilled = read_stored(LastDrill, models[NAME].tags[DRILL_TAG], "mark")
    assert drilled.ok
    scenario = recorded_scenario(registry, registry.get_version(INT8, 2))
    assert scenario is not None
    assert (scenario.name, scenario.version) == ("golden-ppe", "v2")


def golden_scenario(version, **changed):
    scenario = ScenarioSpec.from_mapping("golden-ppe", SETTINGS).version(version)
    return scenario.model_copy(update=changed)


def test_work_of_then_is_known_again_whatever_judges_it_now(registry):
    client = registry.client
    stricter = golden_scenario("v3", gate=GateSettings(min_map50=0.9), health=HealthPolicy())
    for scenario in (golden_scenario("v3"), stricter):
        refuse_edited(client, scenario)
        assert choose_source(registry, scenario) == 3
        [run] = find_same_work(
            client, scenario, {"guardianflow.kind": "train", **version_tags(scenario)}
        )
        assert run.data.tags["guardianflow.scenario_version"] == "v3"
    training = stricter.training.model_copy(update={"epochs": 2})
    edited = golden_scenario("v3", training=training)
    with pytest.raises(ScenarioFrozen, match=r"training\.epochs was 1, is 2\."):
        refuse_edited(client, edited)
    with pytest.raises(NoCandidate):
        choose_source(registry, edited)


def test_a_ledger_of_two_runs_is_read_and_goes_on(registry):
    head = Ledger(registry.client, ModelName.parse(LONG)).verify()
    assert (head.seq, head.segment) == (52, 1)
    assert registry.drift(LONG) == ()
    again = registry.promote_to_champion(LONG, 1, actor="kim", token="turn-0")
    assert again.seq == 1
    promoted = registry.promote_to_champion(LONG, 1, actor="kim", reason="goes on")
    assert promoted.seq == 53
    assert Ledger(registry.client, ModelName.parse(LONG)).verify().seq == 53


def test_operations_of_a_newer_version_are_gone_on_from_unless_they_forbid_it(registry):
    """An older version comes back after a newer one was used, with a kind that it never saw."""
    client, base = registry.client, ModelName.parse(LONG)
    head = Ledger(client, base).read()
    seq = head.seq + 1
    [*_, run_id] = runs_of(find_index(client), read_index(client, find_index(client)), base)
    entry = json.loads(client.get_run(run_id).data.params[f"op.{head.seq:06d}"])
    entry |= {"seq": seq, "kind": "retire", "tea": 1, "previous": head.digest, "token": "newer"}
    entry["before"] = entry["after"]
    entry["after"] = {"": [2, 1, 3, None, 77]}
    client.log_param(run_id, f"op.{seq:06d}", json.dumps(entry))
    # What it left half done is finished, and the next operation stands on it.
    promoted = registry.promote_to_champion(LONG, 3, actor="kim", reason="goes on", force=True)
    assert promoted.seq == seq + 1
    assert registry.history(LONG)[-2].kind == "other"
    assert registry.drift(LONG) == ()
    head = Ledger(client, base).verify()
    entry |= {"seq": head.seq + 1, "previous": head.digest, "min_reader": "99.1"}
    client.log_param(run_id, f"op.{head.seq + 1:06d}", json.dumps(entry))
    for command in (registry.history, registry.rollback, registry.drift):
        with pytest.raises(StoredUnreadable, match=r"needs guardianflow 99\.1"):
            command(LONG)
    # One model that only a newer version can move keeps nobody from the others.
    [finding] = examine_release(registry, base, files=FileCheck.SIZE, asked={})
    assert finding.remedy == "Upgrade guardianflow to 99.1 or newer."
    assert finding.message in {
        alarm.message for alarm in reconcile(registry, ModelName.parse(LONG)).alarms_of(LONG)
    }
    assert champion_since(registry, ModelName.parse(LONG), 3).newest is None
    source = registry.get_version(LONG, 1).run_id
    assert registry.register_model(source, "model", LONG, token="trained meanwhile").version == 4


def test_reports_and_notes_are_read_and_what_waits_is_judged(registry):
    client = registry.client
    kept = [
        read_report(registry, run.info.run_id)
        for run in find_reports(client, {"guardianflow.verdict": Verdict.FAILING.value})
    ]
    assert {report.model_name for report in kept} >= {NAME}
    # The champion that the third report is about was rolled back since.
    assert judge_new(registry) == []
    assert AlarmBook(client).read()[NAME]
    assert Notes(client, Topic.WATCHED, Watched).read()


def test_the_question_that_waits_is_answered_and_the_way_back_works(registry, monkeypatch):
    [waiting] = open_questions(registry.client)
    assert waiting.request == REQUEST
    assert read_rules(registry.client)[0].approvals_needed == 2
    begun = waiting.asked.time
    assert begun is not None
    question = Question(registry, REQUEST, begun, 1)
    asked = question.ask(lambda: pytest.fail("asked anew"))
    assert [given.approver for given in question.status(asked).counted] == ["Kim Minji"]
    soon = begun + timedelta(hours=1)
    standing = question.take(asked, 2, LEE, now=soon)
    assert standing.decision is Choice.APPROVE

    class Then(datetime):
        @classmethod
        def now(cls, tz=None):
            return soon.astimezone(tz or UTC)

    monkeypatch.setattr(steps, "datetime", Then)
    done = decide(registry, asked, standing.counted, token=f"promotion-{REQUEST}").operation
    assert done is not None
    assert done.changed
    assert {registry.get_champion(name).version for name in (NAME, INT8)} == {3}
    assert drill(registry, ModelName.parse(NAME)).ok
    registry.rollback(INT8, actor="lee", reason="too dark")
    assert {registry.get_champion(name).version for name in (NAME, INT8)} == {1}


def test_a_renamed_setting_in_what_is_stored_stops_no_pass_and_no_command(
    registry, capsys, tmp_path
):
    client = registry.client
    info = registry.get_version(NAME, 3)
    scenario = json.loads(read_run_text(client, info.run_id, "scenario.json"))
    report = find_reports(client, {"guardianflow.name": NAME})[0].info.run_id
    for key, stops in (("gate", False), ("zone", True)):
        scenario[f"new_{key}"] = scenario.pop(key)
        (tmp_path / "scenario.json").write_text(json.dumps(scenario))
        client.log_artifact(info.run_id, str(tmp_path / "scenario.json"))
        if not stops:
            assert recorded_scenario(registry, info).zone == "welding"
            continue
        why = ["--force", "--reason", "measured anew"]
        for command in (
            ["compare", NAME, "1", "3"],
            ["promote", NAME, "--model-version", "3", "--dry-run", *why],
        ):
            with pytest.raises(SystemExit) as left:
                main(command)
            assert left.value.code == 3
            assert "does not understand the scenario of MLflow run" in capsys.readouterr().err
        # Passes of `reconcile`: silence is watched by what is understood, reports are judged.
        find_silent(registry, {NAME: 3})
        limit = scenario["health"].get("silent_after_h")
        assert Notes(client, Topic.WATCHED, Watched).read()[NAME].after_h == limit
        judge_new(registry)
    kept = json.loads(read_run_text(client, report, "HealthReport.json"))
    (tmp_path / "HealthReport.json").write_text(json.dumps({**kept, "tea": 1}))
    client.log_artifact(report, str(tmp_path / "HealthReport.json"))
    assert read_report(registry, report).model_name == NAME


def test_rules_of_a_newer_version_are_read_unless_they_forbid_it(registry):
    index = find_index(registry.client)
    rules = json.loads(index.tags[RULES_TAG])

    def keep(**more):
        text = json.dumps([{**rule, **more} for rule in rules])
        registry.client.set_experiment_tag(index.experiment_id, RULES_TAG, text)

    keep(tea=1)
    assert read_rules(registry.client)[0].approvals_needed == 2
    keep(min_reader="99.1")
    with pytest.raises(StoredUnreadable, match=r"needs guardianflow 99\.1"):
        read_rules(registry.client)
    keep()


def test_a_report_that_cannot_be_read_hides_no_other(registry, capsys, tmp_path):
    client = registry.client
    first, *others = find_reports(client, {"guardianflow.name": INT8})
    kept = json.loads(read_run_text(client, first.info.run_id, "HealthReport.json"))
    (tmp_path / "HealthReport.json").write_text(json.dumps({**kept, "min_reader": "99.1"}))
    client.log_artifact(first.info.run_id, str(tmp_path / "HealthReport.json"))
    with pytest.raises(SystemExit) as left:
        main(["health", "show", INT8, "--json"])
    assert left.value.code == 0
    shown = {row["report"]: row["reason"] for row in json.loads(capsys.readouterr().out)}
    assert shown.keys() == {run.info.run_id for run in (first, *others)}
    assert "needs guardianflow 99.1 to be read" in shown[first.info.run_id]
