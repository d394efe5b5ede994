"""The demo where its story does not go as told; the story itself is `make demo`."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import ScenarioConfig
from deployments import demo
from deployments.local import locked
from guardianflow.errors import GuardianflowError
from guardianflow.events import EventName, ModelEvent
from guardianflow.health.report import Fallback
from guardianflow.prefect_api.run_tokens import promotion_key
from testbed.reports import keep_report
from tests.integration.releases import Releases

pytestmark = pytest.mark.long


def test_a_promotion_that_asks_nobody_is_explained(embedded, plant):
    _, servers = embedded
    story = demo.Story(servers, plant.state_dir)
    with pytest.raises(GuardianflowError, match="has submitted no promotion"):
        story._await_question("none")
    asked = story.orchestrator.submit(
        "promote/guardianflow", {"model_name": plant.name}, idempotency_key=promotion_key("one")
    )
    # Nothing was trained: the promotion is refused before anybody is asked.
    with pytest.raises(GuardianflowError, match=r"ended as Failed.*ModelUnknown") as said:
        story._await_question("one")
    assert asked.url in said.value.remedy


def test_two_demos_do_not_take_each_others_state(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path))
    monkeypatch.setattr(demo, "stop_on_termination", lambda: None)
    (tmp_path / "demo").mkdir()
    with locked(tmp_path / "demo.lock", "held by the test"):
        assert demo.main([]) == 3
    assert "Another demo" in capsys.readouterr().out
    assert (tmp_path / "demo").is_dir()


def test_a_gate_that_refuses_does_not_end_the_demo(embedded, plant, monkeypatch, capsys):
    _, servers = embedded
    with temporary_settings({PREFECT_API_URL: servers.prefect}):
        block = ScenarioConfig.load(plant.spec.name)
        block.common["gate"] |= {"min_map50": 0.99, "min_images": 1}
        block.save(plant.spec.name, overwrite=True)
    story = demo.Story(servers, plant.state_dir)
    story.name = plant.name
    lifecycle = plant.run("lifecycle", scenario=plant.spec.name, version="v1")
    waiting = story._await_question(lifecycle.id)
    assert waiting.model_name == plant.name
    assert "On this machine the gate refuses" in capsys.readouterr().out

    def ended(*_):
        raise EOFError

    # The end of input means that the person answers in the UI.
    monkeypatch.setattr(demo, "at_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", ended)
    plant.orchestrator.answer(waiting.flow_run_id, "reject", "Lee", "the test is over")
    story.answer(waiting)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["FAILING"], "FAILING"),
        (["INCONCLUSIVE", "FAILING"], "FAILING"),
        (["INCONCLUSIVE", "INCONCLUSIVE", "HEALTHY"], "HEALTHY"),
        (["INCONCLUSIVE"] * 3, "INCONCLUSIVE"),
    ],
)
def test_a_verdict_in_doubt_is_settled_by_a_longer_window(
    embedded, plant, monkeypatch, verdicts, said
):
    _, servers = embedded
    story = demo.Story(servers, plant.state_dir)
    frames, left = [], list(verdicts)

    def check(window):
        frames.append(len(list((window / "images" / "test").iterdir())))
        return left.pop(0)

    monkeypatch.setattr(story, "_check", check)
    assert story._watch() == said
    assert frames == [32, 64, 128][: len(verdicts)]
    assert not left


def told(embedded, plant, monkeypatch, tmp_path, better):
    """Version 2 fails at night; a story that was told of it, and who rolled it back."""
    _, servers = embedded
    story = demo.Story(servers, plant.state_dir)
    story.name = Releases(servers.mlflow, tmp_path).release(variant=True)
    story.variant = f"{story.name}__openvino_int8"
    releases = [{story.name: number, story.variant: number} for number in (1, 2)]
    verdicts = ["FAILING", "HEALTHY"]

    def watch():
        if len(verdicts) == 2:
            way_back = Fallback(version=1, value=0.3, better=better, message="version 1 has 0.3")
            report = keep_report(
                plant.registry.client, story.variant, 2, operation=2, fallback=way_back
            )
            payload = ModelEvent(model=story.variant, version=2, report=report, incident=report)
            plant.orchestrator.emit(EventName.HEALTH_FAILING, payload)
        return verdicts.pop(0)

    monkeypatch.setattr(story, "_release", lambda version, _: releases[int(version[1:]) - 1])
    monkeypatch.setattr(story, "_watch", watch)
    monkeypatch.setattr(story, "_night_window", lambda _: tmp_path)
    monkeypatch.setattr(story, "_close", lambda *_: None)
    # Other models of this server are marked otherwise.
    listed = plant.registry.list_models
    monkeypatch.setattr(
        story.registry, "list_models", lambda: [m for m in listed() if m.name in releases[0]]
    )
    story.tell()
    assert story._champions() == releases[0]
    return plant.registry.history(story.name)[-1].actor


def test_a_rollback_that_the_automation_refuses_is_made_by_hand_and_explained(
    embedded, plant, monkeypatch, tmp_path, capsys
):
    assert told(embedded, plant, monkeypatch, tmp_path, better=False) == "Prefect"
    said = " ".join(capsys.readouterr().out.split())
    assert "The automation does not go back: " in said
    assert "but version 1 has 0.3: the scene has changed, not the model" in said
    assert "s after it was asked for" in said


def test_a_rollback_of_the_automation_needs_no_hand(embedded, plant, monkeypatch, tmp_path, capsys):
    assert told(embedded, plant, monkeypatch, tmp_path, better=True) == "automation"
    said = capsys.readouterr().out
    assert "A person may go back" not in said
    assert "s after the report" in said
