import pytest

from guardianflow.gate import GateOutcome, Subject, judge, judge_variant
from guardianflow.measuring.comparison import Difference, PairedComparison
from guardianflow.measuring.cost import VariantCost
from guardianflow.measuring.evaluation import ClassFigures, Evaluation
from guardianflow.measuring.latency import Latency
from guardianflow.measuring.speed import SpeedReport, SpeedVerdict
from guardianflow.scenario import GateSettings, Precision

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


def speed(low: float, high: float) -> SpeedReport:
    latency = Latency(
        p50_ms=4.0,
        p95_ms=5.0,
        precision="f32",
        instruction_set="AVX512-VNNI",
        cpu="Some CPU",
        threads=1,
        image_size=256,
        repeats=60,
    )
    return SpeedReport(
        verdict=SpeedVerdict.INCONCLUSIVE,
        speedup=(low + high) / 2,
        low=low,
        high=high,
        against="bf16",
        machine="AVX512-VNNI--Some-CPU",
        fp32=latency,
        default=latency,
        variant=latency,
    )


def cost(lost: Difference, measured: SpeedReport | None, precision=Precision.INT8) -> VariantCost:
    nothing = Difference(value=0.0, low=-0.01, high=0.01)
    return VariantCost(
        precision=precision,
        difference=PairedComparison(
            map50=nothing,
            map50_95=nothing,
            recall={"person": nothing, "mask": lost},
            false_alarms_per_image=nothing,
            images=20,
            confidence=0.95,
            draws=1000,
        ),
        size_kib=500,
        source_size_kib=1800,
        speed=measured,
        measured_on=("AVX2--Other",),
    )


NOTHING_LOST = Difference(value=-0.01, low=-0.03, high=0.01)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.2, 1.4, GateOutcome.PASSED),
        (0.7, 0.9, GateOutcome.FAILED),
        (0.9, 1.1, GateOutcome.INCONCLUSIVE),
    ],
)
def test_a_variant_has_to_be_faster_for_sure(low, high, expected):
    found = judge_variant(
        "a/b-c/d/e__openvino_int8", cost(NOTHING_LOST, speed(low, high)), SETTINGS
    )
    assert found.outcome is expected
    assert f"({low:.2f} to {high:.2f}) against bf16 on AVX512-VNNI" in found.reasons[-1].message


def test_speed_is_allowed_to_be_worse_where_the_settings_say_so():
    slow = cost(NOTHING_LOST, speed(0.7, 0.9))
    for allowed in (0, 0.5):
        settings = SETTINGS.model_copy(update={"min_speedup": allowed})
        assert judge_variant("m", slow, settings).outcome is GateOutcome.PASSED


def test_speed_that_was_measured_elsewhere_says_nothing_here():
    found = judge_variant("m", cost(NOTHING_LOST, None), SETTINGS)
    assert found.outcome is GateOutcome.INCONCLUSIVE
    assert "(but AVX2--Other); `guardianflow measure m`" in found.summary()


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (Difference(value=-0.2, low=-0.3, high=-0.15), GateOutcome.FAILED),
        (Difference(value=-0.2, low=-0.5, high=0.0), GateOutcome.INCONCLUSIVE),
        (Difference(value=-0.09, low=-0.5, high=0.0), GateOutcome.PASSED),
    ],
)
def test_recall_lost_in_one_class_is_no_chance_where_the_interval_says_so(lost, expected):
    found = judge_variant("m", cost(lost, speed(1.2, 1.4)), SETTINGS)
    assert found.outcome is expected
    guilty = [reason for reason in found.reasons if reason.outcome is expected]
    assert any("recall of mask" in reason.message for reason in guilty)


def test_fp16_need_not_be_faster():
    half = cost(NOTHING_LOST, None, Precision.FP16)
    assert judge_variant("m", half, SETTINGS).outcome is GateOutcome.PASSED


def test_the_cost_of_a_variant_is_judged_with_the_release():
    variant = subject(0.7, 0.7).model_copy(update={"cost": cost(NOTHING_LOST, speed(0.7, 0.9))})
    report = judge([subject(0.7, 0.7), variant], SETTINGS)
    assert report.outcome is GateOutcome.FAILED
    assert "0.80x (0.70 to 0.90)" in report.summary()
