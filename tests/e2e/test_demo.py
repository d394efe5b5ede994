"""The demo where its story does not go as told; the story itself is `make demo`."""

import pytest

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
        assert demo.main() == 3
    assert "Another demo" in capsys.readouterr().out
    assert (tmp_path / "demo").is_dir()


def test_the_end_of_input_means_that_the_ui_answers(embedded, plant, monkeypatch):
    _, servers = embedded

    def ended(*_):
        raise EOFError

    story = demo.Story(servers, plant.state_dir)
    monkeypatch.setattr(demo, "at_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", ended)
    waiting = plant.release("v1")
    plant.orchestrator.answer(waiting.flow_run_id, "reject", "Lee", "the test is over")
    story.answer(waiting)
