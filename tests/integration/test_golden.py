"""Goes on with MLflow databases that the code of other days left: golden files, read for ever."""

import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guardianflow.approval import Answer, Choice
from guardianflow.approval.rules import read_rules
from guardianflow.care.alarms import AlarmBook
from guardianflow.care.drill import drill
from guardianflow.care.drill_report import read_last_drill
from guardianflow.care.notes import Notes, Topic
from guardianflow.evaluation.measurement import recorded_scenario
from guardianflow.health.box import judge_new
from guardianflow.health.report import find_reports, read_report
from guardianflow.health.verdict import Verdict
from guardianflow.names import ModelName
from guardianflow.promotion import decide, steps
from guardianflow.promotion.question import Question, open_questions
from guardianflow.registry import ModelRegistryManager
from guardianflow.release.ledger import Ledger
from guardianflow.release.state import Kind
from tests.golden.make import LONG, REQUEST
from tests.servers import mlflow_server_on

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
    assert [op.kind for op in history] == [Kind.PROMOTE, Kind.PROMOTE, Kind.ROLLBACK]
    assert history[2].reason == "blind at night"
    drilled = read_last_drill(models[NAME].tags)
    assert drilled is not None
    assert drilled.ok
    scenario = recorded_scenario(registry, registry.get_version(INT8, 2))
    assert scenario is not None
    assert (scenario.name, scenario.version) == ("golden-ppe", "v2")


def test_a_ledger_of_two_runs_is_read_and_goes_on(registry):
    head = Ledger(registry.client, ModelName.parse(LONG)).verify()
    assert (head.seq, head.segment) == (52, 1)
    assert registry.drift(LONG) == ()
    again = registry.promote_to_champion(LONG, 1, actor="kim", token="turn-0")
    assert again.seq == 1
    promoted = registry.promote_to_champion(LONG, 1, actor="kim", reason="goes on")
    assert promoted.seq == 53
    assert Ledger(registry.client, ModelName.parse(LONG)).verify().seq == 53


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
    assert Notes(client, Topic.WATCHED).read()


def test_the_question_that_waits_is_answered_and_the_way_back_works(registry, monkeypatch):
    [waiting] = open_questions(registry.client)
    assert waiting.request == REQUEST
    assert read_rules(registry.client)[0].approvals_needed == 2
    begun = waiting.asked.time
    assert begun is not None
    question = Question(registry, REQUEST, begun, 1)
    asked = question.ask(lambda: pytest.fail("asked anew"))
    assert [given.approver for given in question.standing(asked).counted] == ["Kim Minji"]
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
    assert drill(registry, NAME).ok
    registry.rollback(INT8, actor="lee", reason="too dark")
    assert {registry.get_champion(name).version for name in (NAME, INT8)} == {1}
