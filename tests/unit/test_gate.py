import pytest

from guardianflow.gate import GateOutcome, Subject, judge
from guardianflow.measuring.evaluation import ClassFigures, Evaluation
from guardianflow.scenario import GateSettings

SETTINGS = GateSettings(min_map50=0.4, max_regression=0.05)


def figures(map50: float) -> Evaluation:
    person = ClassFigures(ap50=map50, recall=0.8, precision=0.9, objects=50)
    return Evaluation(
        map50=map50,
        map50_95=map50 / 2,
        per_class={"person": person},
        false_alarms_per_image=0.5,
        images=20,
        objects=50,
        score_threshold=0.4,
    )


def subject(candidate: float | None, champion: float | None, version: int | None = 1) -> Subject:
    return Subject(
        model_name="a/b-c/d/e",
        version=2,
        champion_version=version,
        candidate=None if candidate is None else figures(candidate),
        champion=None if champion is None else figures(champion),
    )


@pytest.mark.parametrize(
    ("candidate", "champion", "expected"),
    [
        (0.60, 0.60, GateOutcome.PASSED),
        (0.56, 0.60, GateOutcome.PASSED),
        (0.54, 0.60, GateOutcome.FAILED),  # more than 0.05 behind the champion
        (0.39, 0.40, GateOutcome.FAILED),  # below the floor, although near the champion
        (0.40, 0.40, GateOutcome.PASSED),
        (0.60, None, GateOutcome.INCONCLUSIVE),  # the champion cannot be measured
        (None, 0.60, GateOutcome.INCONCLUSIVE),
    ],
)
def test_floor_and_regression_decide(candidate, champion, expected):
    assert judge([subject(candidate, champion)], SETTINGS).outcome is expected


def test_first_champion_needs_the_floor_alone():
    assert judge([subject(0.41, None, None)], SETTINGS).outcome is GateOutcome.PASSED
    assert judge([subject(0.39, None, None)], SETTINGS).outcome is GateOutcome.FAILED


def test_one_failing_variant_fails_the_release():
    report = judge([subject(0.7, 0.7), subject(0.2, 0.7)], SETTINGS)
    assert report.outcome is GateOutcome.FAILED
    assert "0.200" in report.summary()


def test_nothing_measured_never_passes():
    assert judge([], SETTINGS).outcome is GateOutcome.INCONCLUSIVE


def test_failed_outweighs_inconclusive():
    report = judge([subject(None, 0.7), subject(0.1, 0.7)], SETTINGS)
    assert report.outcome is GateOutcome.FAILED


@pytest.mark.parametrize(("candidate", "champion"), [(None, 0.7), (0.7, None)])
def test_why_something_could_not_be_measured_is_said(candidate, champion):
    problem = "version 1 detects helmet, person"
    found = subject(candidate, champion).model_copy(update={"problem": problem})
    assert problem in judge([found], SETTINGS).summary()
