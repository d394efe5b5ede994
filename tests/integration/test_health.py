import json
import shutil
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from guardianflow.cli import main
from guardianflow.errors import (
    ArtifactMissing,
    DatasetInvalid,
    InputError,
    NoCandidate,
    Refused,
    SceneChanged,
)
from guardianflow.health.box_reports import BoxReport, judge_new, post_report
from guardianflow.health.reaction import CLOCK_SKEW, find_unanswered, roll_back_failing
from guardianflow.health.report import (
    BOX_MODEL_TAG,
    REASON_TAG,
    WINDOW_TAG,
    find_reports,
    note_answer,
    read_report,
)
from guardianflow.health.verdict import Verdict
from guardianflow.health.window import check_health
from guardianflow.names import ModelName
from guardianflow.scenario import GateSettings, HealthPolicy, HealthRule, Light
from guardianflow.vision.metrics.camera import FaultKind
from guardianflow.vision.synthetic import draw_window
from testbed.reports import keep_report
from tests.integration.release_kit import register_release

OPEN_GATE = GateSettings(min_map50=0.0, max_regression=1.0)
STRICT = HealthPolicy(min_map50=1.0, min_images=4, min_objects=4, consecutive=1, confidence=0.9)
EASY = HealthPolicy(min_map50=0.0, min_images=4, min_objects=4)


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


def two_champions(registry, learned, name, *, blind=True, **settings):
    """A champion that sees, and after it one that does not."""
    for blindly in (False, blind):
        register_release(learned, name, blind=blindly, gate=OPEN_GATE, **settings)
        registry.promote_to_champion(name)


def test_a_window_is_measured_once_and_kept(registry, learned, name, window):
    register_release(learned, name)
    registry.promote_to_champion(name)
    mine = token()
    report = check_health(registry, ModelName.parse(name), window, token=mine, policy=EASY)
    assert report.verdict is Verdict.HEALTHY
    assert (report.model_name, report.version, report.evaluation.images) == (name, 1, 6)
    assert (
        check_health(registry, ModelName.parse(name), window, token=mine, policy=STRICT) == report
    )
    assert read_report(registry, report.report_id) == report
    files = {file.path for file in registry.client.list_artifacts(report.report_id)}
    assert files == {"HealthReport.json", "window.png"}


def test_limits_come_from_the_scenario_of_the_champion(registry, learned, name, window):
    register_release(learned, name, health=STRICT)
    registry.promote_to_champion(name)
    report = check_health(registry, ModelName.parse(name), window, token=token())
    assert report.policy == STRICT
    assert report.verdict is Verdict.FAILING


def test_few_frames_blame_nobody(registry, learned, name, window):
    register_release(learned, name)
    registry.promote_to_champion(name)
    many = HealthPolicy(min_map50=1.0, min_images=7)
    report = check_health(registry, ModelName.parse(name), window, token=token(), policy=many)
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_failing_report_rolls_the_release_back_once(registry, learned, name, window):
    two_champions(registry, learned, name)
    variant = f"{name}__openvino_int8"
    report = check_health(registry, ModelName.parse(variant), window, token=token(), policy=STRICT)
    first = roll_back_failing(registry, ModelName.parse(variant), 2, report.report_id)
    assert first.operation.actor == "automation"
    assert report.reason in first.operation.reason
    for model in (name, variant):
        assert registry.get_champion(model).version == 1
    for _ in range(3):
        again = roll_back_failing(registry, ModelName.parse(variant), 2, report.report_id)
        assert again.operation is None or again.operation.seq == first.operation.seq
    assert [op.kind for op in registry.history(name)] == ["promote", "promote", "rollback"]


def test_a_way_back_that_is_no_better_means_that_the_scene_has_changed(
    registry, learned, name, window
):
    two_champions(registry, learned, name, blind=False)
    report = check_health(registry, ModelName.parse(name), window, token=token(), policy=STRICT)
    assert report.verdict is Verdict.FAILING
    assert (report.fallback.version, report.fallback.better) == (1, False)
    with pytest.raises(SceneChanged, match="version 1 has"):
        roll_back_failing(registry, ModelName.parse(name), 2, report.report_id)
    assert registry.get_champion(name).version == 2


def test_failing_windows_have_to_come_in_a_row(registry, learned, name, tmp_path):
    two_champions(registry, learned, name)
    patient = STRICT.model_copy(update={"consecutive": 2})
    windows = [tmp_path / str(seed) for seed in (5, 6)]
    for seed, folder in enumerate(windows, start=5):
        draw_window(
            folder, learned.scenario.classes, light=Light.DAY, images=6, seed=seed, image_size=128
        )
    first, same, second = (
        check_health(
            registry, ModelName.parse(name), folder, token=token(), policy=patient, camera="gate-1"
        )
        for folder in (windows[0], windows[0], windows[1])
    )
    assert [one.window_verdict for one in (first, same, second)] == [Verdict.FAILING] * 3
    assert [one.in_a_row for one in (first, same, second)] == [1, 1, 2]
    assert [one.verdict for one in (first, same, second)] == [
        Verdict.INCONCLUSIVE,
        Verdict.INCONCLUSIVE,
        Verdict.FAILING,
    ]
    elsewhere = check_health(
        registry, ModelName.parse(name), windows[1], token=token(), policy=patient
    )
    assert elsewhere.in_a_row == 1
    reaction = roll_back_failing(registry, ModelName.parse(name), 2, first.report_id)
    assert reaction.operation is None
    assert (
        roll_back_failing(registry, ModelName.parse(name), 2, second.report_id).operation
        is not None
    )


def test_a_dark_camera_blames_no_model(registry, learned, name, window, tmp_path):
    two_champions(registry, learned, name)
    dark = tmp_path / "dark"
    shutil.copytree(window, dark)
    for file in (dark / "images" / "test").iterdir():
        Image.open(file).point(lambda level: level // 20).save(file)
    report = check_health(registry, ModelName.parse(name), dark, token=token(), policy=STRICT)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert [fault.kind for fault in report.faults] == [FaultKind.DARK]
    assert "camera: 6 of 6 frames are dark" in report.reason


def test_a_window_without_colour_says_so(registry, learned, name, window, tmp_path):
    two_champions(registry, learned, name)
    grey = tmp_path / "infra-red"
    shutil.copytree(window, grey)
    for file in (grey / "images" / "test").iterdir():
        Image.open(file).convert("L").convert("RGB").save(file)
    report = check_health(registry, ModelName.parse(name), grey, token=token(), policy=STRICT)
    assert report.verdict is Verdict.FAILING
    assert not report.faults
    assert report.reason.endswith("the frames are grey, without colour (infra-red at night?)")
    coloured = check_health(registry, ModelName.parse(name), window, token=token(), policy=STRICT)
    assert "grey" not in coloured.reason


def box_report(name, version, **fields):
    now = datetime.now(UTC)
    given = {
        "model": name,
        "version": version,
        "camera": "box-7",
        "begin": now - timedelta(minutes=5),
        "end": now,
        "frames": 600,
        "metrics": {"detections_per_frame": 0.1},
    }
    return BoxReport(**given | fields)


def test_a_box_reports_and_is_judged_once(registry, learned, name):
    floor = HealthRule(metric="detections_per_frame", at_least=0.5)
    policy = HealthPolicy(rules=(floor,), consecutive=2)
    two_champions(registry, learned, name, health=policy)
    first = post_report(registry.client, box_report(name, 2))
    stale = post_report(registry.client, box_report(name, 1))
    assert post_report(registry.client, box_report(name, 2, frames=601)) != first
    judged = [one for one in judge_new(registry) if one.model_name == name]
    assert [one.verdict for one in judged] == [Verdict.INCONCLUSIVE, Verdict.FAILING]
    assert [one.in_a_row for one in judged] == [1, 2]
    assert judge_new(registry) == []
    assert registry.client.get_run(stale).data.tags["guardianflow.judged"] == "about no champion"
    assert judged[1].reason.startswith("detections_per_frame 0.100 on 601 frames is below 0.500")

    [lost] = find_unanswered(registry, {name: 2}, grace=timedelta(0))
    assert (lost.version, lost.report_id) == (2, judged[1].report_id)
    assert find_unanswered(registry, {name: 1}, grace=timedelta(0)) == []
    assert find_unanswered(registry, {name: 2}, grace=timedelta(hours=1)) == []
    note_answer(registry, lost.report_id, "seen to")
    assert find_unanswered(registry, {name: 2}, grace=timedelta(0)) == []
    assert (
        roll_back_failing(registry, ModelName.parse(name), 2, lost.report_id).operation is not None
    )


def test_a_box_says_the_same_twice_and_is_heard_once(registry, learned, name):
    register_release(learned, name)
    report = box_report(name, 1)
    assert post_report(registry.client, report) == post_report(registry.client, report)


def test_a_report_that_nobody_could_judge_is_refused(registry, learned, name):
    register_release(learned, name)
    now = datetime.now(UTC)
    for fields, words in (
        ({"model": f"{name}-x"}, "No model"),
        ({"end": now - timedelta(hours=1)}, "before it begins"),
        ({"begin": now, "end": now + timedelta(days=365)}, "in the future"),
    ):
        with pytest.raises(InputError, match=words):
            post_report(registry.client, box_report(name, 1, **fields))
    assert find_reports(registry.client, {BOX_MODEL_TAG: name}) == []


def test_the_reports_are_shown_with_time_window_and_reason(
    registry, learned, name, window, capsys, monkeypatch
):
    register_release(learned, name)
    registry.promote_to_champion(name)
    report = check_health(registry, ModelName.parse(name), window, token=token(), policy=EASY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.client.tracking_uri)

    def shown():
        with pytest.raises(SystemExit) as ended:
            main(["health", "show", name, "--json"])
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out)

    [row] = shown()
    assert (row["window"], row["reason"]) == (str(window), report.reason)
    assert abs(datetime.fromisoformat(row["time"]) - report.time) < timedelta(minutes=1)
    # A report of before the tags said it.
    for tag in (WINDOW_TAG, REASON_TAG):
        registry.client.delete_tag(report.report_id, tag)
    assert shown() == [row]


def test_a_recording_faster_than_its_camera_gets_a_verdict(
    registry, learned, name, window, tmp_path
):
    register_release(learned, name)
    registry.promote_to_champion(name)
    twice = tmp_path / "window"
    shutil.copytree(window, twice)
    for folder in ("images", "labels"):
        for file in sorted((twice / folder / "test").iterdir()):
            shutil.copy(file, file.with_stem(f"{file.stem}b"))
    report = check_health(registry, ModelName.parse(name), twice, token=token(), policy=EASY)
    assert (report.verdict, report.faults) == (Verdict.HEALTHY, ())
    assert report.evaluation.images == 6
    assert report.reason.endswith("; 6 of 12 frames only repeat the one before: left out")


def test_a_healthy_report_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, ModelName.parse(name), window, token=token(), policy=EASY)
    reaction = roll_back_failing(registry, ModelName.parse(name), 2, report.report_id)
    assert reaction.operation is None
    assert "nothing to roll back" in reaction.message
    assert registry.get_champion(name).version == 2


def test_a_late_report_about_a_former_champion_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, ModelName.parse(name), window, token=token(), policy=STRICT)
    register_release(learned, name, gate=OPEN_GATE)
    registry.promote_to_champion(name)
    reaction = roll_back_failing(registry, ModelName.parse(name), 2, report.report_id)
    assert reaction.operation is None
    assert registry.get_champion(name).version == 3


def test_a_report_from_before_a_person_insisted_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    early, late = (
        check_health(registry, ModelName.parse(name), window, token=token(), policy=STRICT)
        for _ in range(2)
    )
    roll_back_failing(registry, ModelName.parse(name), 2, early.report_id)
    registry.promote_to_champion(name, 2, force=True, reason="the lamp was mended")
    reaction = roll_back_failing(registry, ModelName.parse(name), 2, late.report_id)
    assert reaction.operation is None
    assert "older than the decision" in reaction.message
    assert registry.get_champion(name).version == 2


def test_a_report_says_what_was_decided_before_it_was_measured(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, ModelName.parse(name), window, token=token(), policy=STRICT)
    assert report.operation == registry.history(name)[-1].seq == 2


def two_champions_of_bytes(registry, factory, name):
    for _ in range(2):
        factory.base(name)
        registry.promote_to_champion(name)


def test_a_slow_clock_does_not_silence_a_report(registry, factory, name):
    two_champions_of_bytes(registry, factory, name)
    slow = keep_report(registry.client, name, 2, age=10 * CLOCK_SKEW, operation=2)
    assert roll_back_failing(registry, ModelName.parse(name), 2, slow).operation is not None
    assert registry.get_champion(name).version == 1


def test_a_fast_clock_does_not_make_an_old_report_speak_of_what_came_after(registry, factory, name):
    two_champions_of_bytes(registry, factory, name)
    fast = keep_report(registry.client, name, 2, age=-CLOCK_SKEW / 2, operation=2)
    registry.rollback(name, reason="a test")
    registry.promote_to_champion(name, 2, force=True, reason="the lamp was mended")
    reaction = roll_back_failing(registry, ModelName.parse(name), 2, fast)
    assert reaction.operation is None
    assert "(operation 4)" in reaction.message
    assert "clocks" not in reaction.message
    assert registry.get_champion(name).version == 2


@pytest.mark.parametrize(("age", "doubtful"), [(CLOCK_SKEW / 2, True), (4 * CLOCK_SKEW, False)])
def test_a_report_that_knows_only_its_time_is_judged_by_it_and_doubts_the_clocks(
    registry, factory, name, caplog, age, doubtful
):
    two_champions_of_bytes(registry, factory, name)
    reaction = roll_back_failing(
        registry, ModelName.parse(name), 2, keep_report(registry.client, name, 2, age=age)
    )
    assert reaction.operation is None
    assert "older than the decision" in reaction.message
    assert ("clocks of the two machines may differ" in reaction.message) is doubtful
    assert any("clocks" in record.message for record in caplog.records) is doubtful
    assert registry.get_champion(name).version == 2


def test_an_invented_event_moves_nothing(registry, learned, name, window):
    two_champions(registry, learned, name)
    report = check_health(registry, ModelName.parse(name), window, token=token(), policy=STRICT)
    with pytest.raises(ArtifactMissing):
        roll_back_failing(registry, ModelName.parse(name), 2, "0123456789abcdef0123456789abcdef")
    with pytest.raises(Refused):
        roll_back_failing(registry, ModelName.parse(name), 1, report.report_id)
    with pytest.raises(Refused):
        roll_back_failing(
            registry, ModelName.parse("another/test-model/welding/ppe"), 2, report.report_id
        )
    assert registry.get_champion(name).version == 2


def test_a_model_without_champion_and_a_window_without_frames_are_named(
    registry, learned, name, window, tmp_path
):
    register_release(learned, name)
    with pytest.raises(NoCandidate, match="no @champion"):
        check_health(registry, ModelName.parse(name), window, token=token())
    registry.promote_to_champion(name)
    with pytest.raises(DatasetInvalid, match=r"data\.yaml"):
        check_health(registry, ModelName.parse(name), tmp_path, token=token())
