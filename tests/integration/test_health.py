import uuid

import pytest

from guardianflow.errors import ArtifactMissing, DatasetInvalid, NoCandidate, Refused
from guardianflow.health import Verdict, check_health, read_report
from guardianflow.reaction import CLOCK_SKEW, roll_back_failing
from guardianflow.scenario import GateSettings, HealthSettings, Light
from guardianflow.synthetic import draw_window
from tests.integration.release_kit import register_release
from tests.integration.reports import keep_report

OPEN_GATE = GateSettings(min_map50=0.0, max_regression=1.0)
STRICT = HealthSettings(min_map50=1.0, min_images=4, min_objects=4)
EASY = HealthSettings(min_map50=0.0, min_images=4, min_objects=4)


@pytest.fixture
def registry(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))
    return learned.registry


@pytest.fixture
def name():
    return f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"


@pytest.fixture(scope="module")
def window(learned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("window")
    draw_window(
        folder, learned.scenario.classes, light=Light.NIGHT, images=6, seed=5, image_size=128
    )
    return folder


def token():
    return f"test-{uuid.uuid4()}"


def two_champions(registry, learned, name):
    for _ in range(2):
        register_release(learned, name, gate=OPEN_GATE)
        registry.promote_to_champion(name)


def test_a_window_is_measured_once_and_kept(registry, learned, name, window):
    register_release(learned, name)
    registry.promote_to_champion(name)
    mine = token()
    report = check_health(registry, name, window, token=mine, settings=EASY)
    assert report.verdict is Verdict.HEALTHY
    assert (report.model_name, report.version, report.evaluation.images) == (name, 1, 6)
    assert check_health(registry, name, window, token=mine, settings=STRICT) == report
    assert read_report(registry, report.report_id) == report
    files = {file.path for file in registry.client.list_artifacts(report.report_id)}
    assert files == {"HealthReport.json", "window.png"}


def test_thresholds_come_from_the_scenario_of_the_champion(registry, learned, name, window):
    register_release(learned, name, health=STRICT)
    registry.promote_to_champion(name)
    report = check_health(registry, name, window, token=token())
    assert report.settings == STRICT
    assert report.verdict is Verdict.FAILING


def test_few_frames_blame_nobody(registry, learned, name, window):
    register_release(learned, name)
    registry.promote_to_champion(name)
    many = HealthSettings(min_map50=1.0, min_images=7)
    report = check_health(registry, name, window, token=token(), settings=many)
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_failing_report_rolls_the_release_back_once(registry, learned, name, window):
    two_champions(registry, learned, name)
    variant = f"{name}__openvino_int8"
    report = check_health(registry, variant, window, token=token(), settings=STRICT)
    first = roll_back_failing(registry, variant, 2, report.report_id)
    assert first.operation.actor == "automation"
    assert report.reason in first.operation.reason
    for model in (name, variant):
        assert registry.get_champion(model).version == 1
    for _ in range(3):
        again = roll_back_failing(registry, variant, 2, report.report_id)
        assert again.operation is None or again.operation.seq == first.operation.seq
    assert [op.kind for op in registry.history(name)] == ["promote", "promote", "rollback"]


def test_a_healthy_report_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, name, window, token=token(), settings=EASY)
    reaction = roll_back_failing(registry, name, 2, report.report_id)
    assert reaction.operation is None
    assert "nothing to roll back" in reaction.message
    assert registry.get_champion(name).version == 2


def test_a_late_report_about_a_former_champion_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, name, window, token=token(), settings=STRICT)
    register_release(learned, name, gate=OPEN_GATE)
    registry.promote_to_champion(name)
    reaction = roll_back_failing(registry, name, 2, report.report_id)
    assert reaction.operation is None
    assert registry.get_champion(name).version == 3


def test_a_report_from_before_a_person_insisted_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    early, late = (
        check_health(registry, name, window, token=token(), settings=STRICT) for _ in range(2)
    )
    roll_back_failing(registry, name, 2, early.report_id)
    registry.promote_to_champion(name, 2, force=True, reason="the lamp was mended")
    reaction = roll_back_failing(registry, name, 2, late.report_id)
    assert reaction.operation is None
    assert "older than the decision" in reaction.message
    assert registry.get_champion(name).version == 2


def test_a_report_says_what_was_decided_before_it_was_measured(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, name, window, token=token(), settings=STRICT)
    assert report.operation == registry.history(name)[-1].seq == 2


def two_champions_of_bytes(registry, factory, name):
    for _ in range(2):
        factory.base(name)
        registry.promote_to_champion(name)


def test_a_slow_clock_does_not_silence_a_report(registry, factory, name):
    two_champions_of_bytes(registry, factory, name)
    slow = keep_report(registry.client, name, 2, age=10 * CLOCK_SKEW, operation=2)
    assert roll_back_failing(registry, name, 2, slow).operation is not None
    assert registry.get_champion(name).version == 1


def test_a_fast_clock_does_not_make_an_old_report_speak_of_what_came_after(registry, factory, name):
    two_champions_of_bytes(registry, factory, name)
    fast = keep_report(registry.client, name, 2, age=-CLOCK_SKEW / 2, operation=2)
    registry.rollback(name, reason="a test")
    registry.promote_to_champion(name, 2, force=True, reason="the lamp was mended")
    reaction = roll_back_failing(registry, name, 2, fast)
    assert reaction.operation is None
    assert "(operation 4)" in reaction.message
    assert "clocks" not in reaction.message
    assert registry.get_champion(name).version == 2


@pytest.mark.parametrize(("age", "doubtful"), [(CLOCK_SKEW / 2, True), (4 * CLOCK_SKEW, False)])
def test_a_report_that_knows_only_its_time_is_judged_by_it_and_doubts_the_clocks(
    registry, factory, name, caplog, age, doubtful
):
    two_champions_of_bytes(registry, factory, name)
    reaction = roll_back_failing(registry, name, 2, keep_report(registry.client, name, 2, age=age))
    assert reaction.operation is None
    assert "older than the decision" in reaction.message
    assert ("clocks of the two machines may differ" in reaction.message) is doubtful
    assert any("clocks" in record.message for record in caplog.records) is doubtful
    assert registry.get_champion(name).version == 2


def test_an_invented_event_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, name, window, token=token(), settings=STRICT)
    with pytest.raises(ArtifactMissing):
        roll_back_failing(registry, name, 2, "0123456789abcdef0123456789abcdef")
    with pytest.raises(Refused):
        roll_back_failing(registry, name, 1, report.report_id)
    with pytest.raises(Refused):
        roll_back_failing(registry, "another/test-model/welding/ppe", 2, report.report_id)
    assert registry.get_champion(name).version == 2


def test_a_model_without_champion_and_a_window_without_frames_are_named(
    registry, learned, name, window, tmp_path
):
    register_release(learned, name)
    with pytest.raises(NoCandidate, match="no @champion"):
        check_health(registry, name, window, token=token())
    registry.promote_to_champion(name)
    with pytest.raises(DatasetInvalid, match=r"data\.yaml"):
        check_health(registry, name, tmp_path, token=token())
