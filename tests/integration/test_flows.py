"""The flows on a real Prefect API and a real MLflow server, answered through the API."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from blocks import MlflowCredentials
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from deployments.apply import apply
from flows.health import check_health
from flows.lifecycle import lifecycle
from flows.promotion import promote
from flows.quantization import quantize
from flows.rollback import roll_back, rollback
from flows.training import train
from guardianflow.errors import (
    AnswerInvalid,
    InputError,
    NoRollbackTarget,
    NothingWaiting,
    Refused,
    RegistryUnavailable,
    RollbackHeld,
    SceneChanged,
)
from guardianflow.health.reaction import roll_back_failing
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import TAG
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Light
from guardianflow.vision.synthetic import draw_window
from testbed.reports import keep_report
from testbed.tiny import CLASSES, save_scenario

SECRET = "planted-91d4-secret"
DEADLINE_S = 120


@pytest.fixture(scope="module")
def plant(prefect_server, mlflow_server, tmp_path_factory):
    """One scenario with one trained version; the credentials hold a planted password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
        for variable in ("USERNAME", "PASSWORD", "TOKEN"):
            # Flows set them from the block; the patch takes them away again at the end.
            patch.setenv(f"MLFLOW_TRACKING_{variable}", "")
            patch.delenv(f"MLFLOW_TRACKING_{variable}")
        MlflowCredentials(tracking_uri=mlflow_server, username="kim", password=SECRET).save(
            DEFAULT_DOCUMENT, overwrite=True
        )
        apply()
        spec = save_scenario(f"p{uuid.uuid4().hex[:8]}", MlflowCredentials.load(DEFAULT_DOCUMENT))
        yield Plant(prefect_server, mlflow_server, spec)


class Plant:
    def __init__(self, prefect_server, mlflow_server, spec):
        self.spec = spec
        self.name = spec.version("v1").model_name.public
        self.orchestrator = Orchestrator(prefect_server)
        self.registry = ModelRegistryManager(mlflow_server)

    def aliases(self):
        return next(m.aliases for m in self.registry.list_models() if m.name == self.name)

    def promote(self, *answers, version=None):
        """Run the promotion here and answer it from another thread, as the API's users do."""
        with ThreadPoolExecutor(1) as pool:
            given = pool.submit(self.answer_all, answers)
            state = promote(self.name, version, "a test", "looked again", return_state=True)
            given.result(DEADLINE_S)
        return state

    def answer_all(self, answers):
        for decision, approver, reason in answers:
            waiting = until(self.orchestrator.pending)
            self.orchestrator.answer(waiting[0].flow_run_id, decision, approver, reason)
            until(lambda w=waiting[0]: self.gone_or_asked_again(w))

    def gone_or_asked_again(self, answered):
        now = [w for w in self.orchestrator.pending() if w.flow_run_id == answered.flow_run_id]
        return not now or now[0].since != answered.since

    def window(self, folder):
        draw_window(folder, CLASSES, light=Light.NIGHT, images=4, seed=3, image_size=64)
        return str(folder)


def until(look):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came in time")


@pytest.fixture(scope="module")
def trained(plant):
    return train(plant.spec.name, "v1")


@pytest.fixture(scope="module")
def champion(plant, trained):
    """Version 1 and its variant in production, approved through the API."""
    quantize(plant.spec.name, "v1", trained)
    state = plant.promote(("approve", "Kim Minji", "first release"), version=trained)
    assert state.name == "Promoted", state.message
    return trained


def test_training_again_finds_what_was_trained(plant, trained):
    assert train(plant.spec.name, "v1") == trained
    assert len(plant.registry.list_versions(plant.name)) == 1


def test_an_unknown_scenario_or_version_is_named(plant):
    with pytest.raises(InputError, match="no Scenario Config block"):
        train("absent", "v1")
    with pytest.raises(InputError, match="no version 'v9'"):
        train(plant.spec.name, "v9")


def test_an_approval_makes_the_version_champion(plant, champion):
    assert plant.aliases()["champion"] == champion
    operation = plant.registry.history(plant.name)[-1]
    assert operation.actor == "Kim Minji (declared)"
    assert operation.reason == "first release"


def test_promoting_the_champion_again_asks_nobody(plant, champion):
    state = promote(plant.name, champion, return_state=True)
    assert state.name == "NothingToDo"


def test_a_rejection_leaves_every_alias_and_says_so_on_the_version(plant, champion):
    candidate = train(plant.spec.name, "v2")
    before = plant.aliases()
    state = plant.promote(("reject", "Lee", "gloves are missed"), version=candidate)
    assert state.name == "Rejected"
    assert plant.aliases() == before
    tags = plant.registry.get_version(plant.name, candidate).tags
    assert tags["guardianflow.status"] == "rejected"
    assert "gloves are missed" in tags["guardianflow.status_reason"]


def test_an_unusable_answer_is_asked_again(plant, champion):
    candidate = train(plant.spec.name, "v2")
    before = plant.aliases()
    # Spaces satisfy the server's schema; that they name nobody only the flow can tell.
    state = plant.promote(
        ("approve", "   ", "because it is good"), ("reject", "Lee", "not now"), version=candidate
    )
    assert state.name == "Rejected"
    assert plant.aliases() == before


def test_an_answer_without_a_choice_is_refused_and_the_run_waits_on(plant, champion):
    candidate = train(plant.spec.name, "v2")
    failures = []

    def answer():
        waiting = until(plant.orchestrator.pending)[0]
        assert waiting.version == candidate
        assert waiting.model_name == plant.name
        assert "pictures" in waiting.headline
        for decision, approver, reason in (
            ("", "Kim", "because"),
            ("maybe", "Kim", "because"),
            ("approve", "", "because"),
            ("approve", "Kim", ""),
        ):
            try:
                plant.orchestrator.answer(waiting.flow_run_id, decision, approver, reason)
                failures.append(decision)
            except AnswerInvalid:
                pass
        assert plant.orchestrator.pending() == [waiting]
        plant.orchestrator.answer(waiting.flow_run_id, "reject", "Kim", "enough")
        with pytest.raises(NothingWaiting):
            plant.orchestrator.answer(waiting.flow_run_id, "approve", "Kim", "too late")

    with ThreadPoolExecutor(1) as pool:
        given = pool.submit(answer)
        state = promote(plant.name, candidate, reason="looked again", return_state=True)
        given.result(DEADLINE_S)
    assert failures == []
    assert state.name == "Rejected"


def test_a_lifecycle_ends_with_a_submitted_promotion(plant, champion):
    promotion = lifecycle(plant.spec.name, "v2")
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(uuid.UUID(promotion))
        assert run.parameters["model_name"] == plant.name
        assert run.parameters["requested_by"] == "lifecycle"
        client.delete_flow_run(run.id)
        # By which a pass knows, a year later, that they are ours.
        names = [f"{flow} {plant.spec.name} v2" for flow in ("train", "quantize")]
        wanted = FlowRunFilter(name=FlowRunFilterName(any_=names))
        runs = client.read_flow_runs(flow_run_filter=wanted)
        assert [run.tags for run in runs if run.parent_task_run_id] == [[TAG]] * 2
    variant = plant.spec.version("v2").get_registered_model_name("openvino_int8")
    assert plant.registry.list_versions(variant)


def test_failing_health_rolls_back_once_and_trusts_only_the_report(plant, champion, tmp_path):
    candidate = train(plant.spec.name, "v2")
    state = plant.promote(("approve", "Lee", "second release"), version=candidate)
    assert state.name == "Promoted", state.message
    assert check_health(plant.name, plant.window(tmp_path / "night")) == "FAILING"
    report = until(lambda: failing_report(plant))

    with pytest.raises(Refused):
        rollback(plant.name, failing_version=champion, report=report)
    # Both versions see next to nothing, whatever they look at: that is no reason to go back.
    with pytest.raises(SceneChanged):
        rollback(plant.name, candidate, report)
    assert plant.aliases()["champion"] == candidate
    assert until(lambda: alarms(plant.name))[0]["report"] == report

    report = keep_report(plant.registry.client, plant.name, candidate)
    first = rollback(plant.name, candidate, report, "incident-1", return_state=True)
    assert first.name == "RolledBack", first.message
    assert plant.aliases()["champion"] == champion
    again = rollback(plant.name, candidate, report, "incident-1", return_state=True)
    assert again.name == "NothingToDo", again.message
    assert plant.aliases()["champion"] == champion


def failing_report(plant):
    found = events("guardianflow.health.failing", plant.name)
    return found[0]["report"] if found else None


def events(event, model_name):
    """What the payloads of the events about a model say."""
    wanted = {"event": {"name": [event]}}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json={"filter": wanted}).json()
    return [
        found["payload"]
        for found in answer["events"]
        if found["resource"].get("guardianflow.model.name") == model_name
    ]


def alarms(model_name):
    return events("guardianflow.model.alarm", model_name)


def test_a_restored_version_that_fails_too_is_an_alarm(plant, factory, monkeypatch):
    name, client = factory.name(), plant.registry.client
    for _ in range(2):
        factory.base(name)
        factory.registry.promote_to_champion(name)
    first = keep_report(client, name, 2)
    assert rollback(name, 2, first, "incident-1", return_state=True).name == "RolledBack"
    assert alarms(name) == []

    # However often the task is tried, the flow run alarms once.
    answers = iter([RegistryUnavailable("MLflow server does not answer")])
    monkeypatch.setattr("flows.rollback.roll_back", roll_back.with_options(retry_delay_seconds=0))
    monkeypatch.setattr("flows.rollback.roll_back_failing", lost_once(answers))
    second = keep_report(client, name, 1)
    state = rollback(name, 1, second, "incident-2", return_state=True)
    assert state.is_failed()
    with pytest.raises(RollbackHeld):
        state.result()
    assert next(answers, None) is None
    [alarm] = until(lambda: alarms(name))
    assert (alarm["model"], alarm["version"]) == (name, 1)
    assert (alarm["report"], alarm["incident"]) == (second, "incident-2")
    assert "restored by a rollback" in alarm["message"]
    assert f"guardianflow rollback {name}" in alarm["message"]
    # Events come in the order in which they were sent: a second alarm would be here before this.
    rollback(name, 1, second, "incident-3", return_state=True)
    until(lambda: any(found["incident"] == "incident-3" for found in alarms(name)))
    assert [found["incident"] for found in alarms(name)] == ["incident-3", "incident-2"]


def lost_once(errors):
    """The real reaction, whose first answers are lost."""

    def react(*arguments):
        for error in errors:
            raise error
        return roll_back_failing(*arguments)

    return react


def test_a_failing_champion_without_a_way_back_is_an_alarm(plant, factory):
    name = factory.name()
    factory.base(name)
    factory.registry.promote_to_champion(name)
    report = keep_report(plant.registry.client, name, 1)
    with pytest.raises(NoRollbackTarget) as refused:
        rollback(name, failing_version=1, report=report)
    [alarm] = until(lambda: alarms(name))
    assert (alarm["version"], alarm["report"], alarm["incident"]) == (1, report, report)
    assert alarm["message"] == str(refused.value)
    # A person is told by the refusal itself.
    with pytest.raises(NoRollbackTarget):
        rollback(name, failing_version=1, reason="a test")
    rollback(name, 1, report, "later", return_state=True)
    until(lambda: any(found["incident"] == "later" for found in alarms(name)))
    assert len(alarms(name)) == 2


def test_a_rollback_by_hand_needs_a_reason(plant, champion):
    with pytest.raises(InputError, match="needs a reason"):
        rollback(plant.name)


def test_a_scenario_on_another_server_is_refused(plant):
    elsewhere = MlflowCredentials(tracking_uri="http://127.0.0.1:5998")
    elsewhere.save("elsewhere", overwrite=True)
    spec = save_scenario(f"q{uuid.uuid4().hex[:8]}", MlflowCredentials.load("elsewhere"))
    with pytest.raises(InputError, match=r"promotions and rollbacks use http://127\.0\.0\.1"):
        train(spec.name, "v1")


def test_no_secret_is_in_any_parameter_log_artifact_or_event(plant, champion, tmp_path):
    check_health(plant.name, plant.window(tmp_path / "night"))
    paths = ("flow_runs", "task_runs", "logs", "artifacts", "block_documents", "deployments")
    with get_client(sync_client=True) as client:
        found = {path: everything(client, path) for path in paths}
        found["events"] = every_event(client)
    found["mlflow"] = everything_in_mlflow(plant.registry.client, tmp_path / "artifacts")
    # Logs and events are sent in the background: they must have come for the search to count.
    assert "mAP50" in found["logs"]
    for path in ("events", "artifacts", "mlflow", "flow_runs"):
        assert plant.name in found[path], path
    assert [path for path, text in found.items() if SECRET in text] == []


def everything(client, path):
    """Every row of a list, page by page."""
    pages = []
    while True:
        body = {"limit": 200, "offset": 200 * len(pages)}
        page = client.request("POST", f"/{path}/filter", json=body)
        pages.append(page.text)
        if len(page.json()) < 200:
            return "".join(pages)


def every_event(client):
    page = client.request("POST", "/events/filter", json={"limit": 50})
    pages = [page.text]
    while following := page.json()["next_page"]:
        page = client.request("GET", following.partition("/api")[2])
        pages.append(page.text)
    return "".join(pages)


def everything_in_mlflow(client, folder):
    """Parameters, tags and files of every run, and the tags of every version."""
    said = []
    for experiment in client.search_experiments():
        said.append(repr(dict(experiment)))
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            said.append(repr(run.to_dictionary()))
            target = folder / run.info.run_id
            target.mkdir(parents=True)
            client.download_artifacts(run.info.run_id, "", str(target))
    said += [repr(dict(version)) for version in client.search_model_versions(max_results=1000)]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert files
    return "".join(said) + b"".join(files).decode("latin-1")
