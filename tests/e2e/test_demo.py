"""The demo where its story does not go as told; the story itself is `make demo`."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks import ScenarioConfig
from deployments import demo
from deployments.local import locked
from guardianflow.errors import GuardianflowError
from guardianflow.orchestration.control import promotion_key


def test_a_promotion_that_asks_nobody_is_explained(embedded, plant):
    _, servers = embedded
    story = demo.Story(servers, plant.state_dir)
    with pytest.raises(GuardianflowError, match="has submitted no promotion"):
        story._await_question("none")
    asked = story.orchestrator.submit(
        "promote/guardianflow", {"model_name": plant.name}, idempotency_key=promotion_key("one")
    )
    # Nothing was trained: the promotion is refused before anybody is asked.
    with pytest.raises(GuardianflowError, match=r"ended as Failed.*NoCandidate") as said:
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
