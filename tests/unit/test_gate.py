import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardianflow.evaluation.gate import (
    GateOutcome,
    GateReport,
    GateRule,
    Leaks,
    Subject,
    judge,
    judge_variant,
)
from guardianflow.evaluation.gate.report import GateReason
from guardianflow.evaluation.gate.sampling import (
    BoundedFigure,
    against_ceiling,
    against_floor,
    drawn,
)
from guardianflow.evaluation.speed import SpeedReport, SpeedVerdict, VariantCost
from guardianflow.scenario import GateSettings, Precision
from guardianflow.vision.metrics.comparison import Difference, PairedComparison
from guardianflow.vision.metrics.evaluation import ClassFigures, Evaluation
from guardianflow.vision.metrics.intervals import (
    Interval,
    rate_at_least,
    rate_at_most,
    share_at_least,
)
from guardianflow.vision.metrics.latency import Latency

NAME = "a/b-c/d/e"
SETTINGS = GateSettings(min_map50=0.4, max_regression=0.05)
PASSED, FAILED, INCONCLUSIVE = GateOutcome.PASSED, GateOutcome.FAILED, GateOutcome.INCONCLUSIVE
CLEAN = Leaks(exact=0, near=0)


def around(figure: float, doubt: float) -> Interval:
    return Interval(low=figure - doubt, high=figure + doubt)


def of_class(hits: int, objects: int, *, by_image: float = 0.0) -> ClassFigures:
    recall = hits / objects
    return ClassFigures(
        ap50=0.8,
        recall=recall,
        precision=0.9,
        objects=objects,
        recall_bounds=around(recall, by_image),
        recall_at_least=share_at_least(hits, objects),
    )


def figures(map50: float, *, doubt: float = 0.01, **other: object) -> Evaluation:
    values: dict[str, object] = {
        "map50": map50,
        "map50_95": map50 / 2,
        "per_class": {"person": of_class(40, 50)},
        "thresholds": {"person": 0.4},
        "false_alarms_per_image": 0.5,
        "false_alarms_bounds": around(0.5, 0.1),
        "images": 100,
        "objects": 50,
        "score_threshold": 0.4,
        "map50_bounds": around(map50, doubt),
        "map50_95_bounds": around(map50 / 2, doubt),
    }
    return Evaluation.model_validate(values | other)


def paired(map50: float, *, doubt: float = 0.01, **recall: Difference) -> PairedComparison:
    return PairedComparison(
        map50=difference(map50, doubt),
        map50_95=difference(map50 / 2, doubt),
        recall=recall,
        false_alarms_per_image=difference(0.0, 0.1),
        images=100,
        confidence=0.95,
        draws=1000,
    )


def difference(value: float, doubt: float) -> Difference:
    return Difference(value=value, low=value - doubt, high=value + doubt)


def subject(
    candidate: float | None, champion: float | None, version: int | None = 1, doubt: float = 0.01
) -> Subject:
    both = candidate is not None and champion is not None
    return Subject(
        model_name=NAME,
        version=2,
        champion_version=version,
        candidate=None if candidate is None else figures(candidate),
        champion=None if champion is None else figures(champion),
        difference=paired(candidate - champion, doubt=doubt) if both else None,
        leaks=CLEAN,
        way_back=version,
    )


def measured(**other: object) -> Subject:
    """A first champion with these figures."""
    return subject(0.6, None, None).model_copy(update={"candidate": figures(0.6, **other)})


def asked(found: Subject, rule: GateRule, settings: GateSettings = SETTINGS) -> GateReason:
    """What one rule says; it is asked once."""
    (reason,) = (r for r in judge([found], settings).reasons if r.rule is rule)
    return reason


@pytest.mark.parametrize(
    ("candidate", "champion", "expected"),
    [
        (0.60, 0.60, PASSED),
        (0.57, 0.60, PASSED),  # at least 0.04 behind, at most 0.02
        (0.55, 0.60, INCONCLUSIVE),  # 0.05 behind, give or take 0.01
        (0.53, 0.60, FAILED),  # more than 0.05 behind the champion for sure
        (0.30, 0.31, FAILED),  # below the floor, although near the champion
        (0.395, 0.40, INCONCLUSIVE),  # at the floor, give or take 0.01
        (0.42, 0.42, PASSED),
        (0.60, None, INCONCLUSIVE),  # the champion cannot be measured
        (None, 0.60, INCONCLUSIVE),
    ],
)
def test_floor_and_regression_decide(candidate, champion, expected):
    assert judge([subject(candidate, champion)], SETTINGS).outcome is expected


def test_first_champion_needs_the_floor_alone():
    assert judge([subject(0.42, None, None)], SETTINGS).outcome is PASSED
    assert judge([subject(0.38, None, None)], SETTINGS).outcome is FAILED


def test_a_loss_within_what_is_allowed_passes_only_when_that_is_sure():
    sure, unsure = subject(0.59, 0.6, doubt=0.02), subject(0.59, 0.6, doubt=0.2)
    assert asked(sure, GateRule.REGRESSION).outcome is PASSED
    reason = asked(unsure, GateRule.REGRESSION)
    assert reason.outcome is INCONCLUSIVE
    # 0.04 to the limit of 0.05, 0.2 of doubt: 100 * (0.2 / 0.04) ** 2
    assert "100 images decide too little; about 2" in reason.message
    assert "-0.010 (-0.210 to +0.190 with 95 %), 0.050 may be lost" in reason.message


def test_a_loss_against_a_champion_that_may_have_learned_from_the_images_is_no_proof():
    lost = subject(0.5, 0.6)
    assert asked(lost, GateRule.REGRESSION).outcome is FAILED
    unfair = lost.model_copy(update={"champion_held_out": False})
    reason = asked(unfair, GateRule.REGRESSION)
    assert reason.outcome is INCONCLUSIVE
    assert "may have learned from these" in reason.message
    # What is no loss even against such a champion is none.
    gained = subject(0.7, 0.6).model_copy(update={"champion_held_out": False})
    assert asked(gained, GateRule.REGRESSION).outcome is PASSED


def test_a_class_that_is_lost_is_not_hidden_by_the_mean():
    hidden = subject(0.6, 0.6).model_copy(
        update={"difference": paired(0.0, person=difference(0.2, 0.1), mask=difference(-0.4, 0.1))}
    )
    assert judge([hidden], SETTINGS).outcome is PASSED
    strict = SETTINGS.model_copy(update={"max_recall_regression": 0.1})
    report = judge([hidden], strict)
    assert report.outcome is FAILED
    assert "recall of mask" in report.summary()
    assert "recall of person" not in report.summary()


def test_map50_95_has_a_floor_where_one_is_set():
    assert GateRule.FLOOR in {r.rule for r in judge([measured()], SETTINGS).reasons}
    strict = SETTINGS.model_copy(update={"min_map50_95": 0.32})
    report = judge([measured()], strict)
    assert report.outcome is FAILED
    assert "mAP50-95 0.300 (0.290 to 0.310 with 95 %), at least 0.320" in report.summary()


def test_few_images_neither_pass_nor_fail():
    for map50 in (0.1, 0.9):
        few = subject(0.6, None, None).model_copy(update={"candidate": figures(map50, images=19)})
        report = judge([few], SETTINGS)
        assert report.outcome is INCONCLUSIVE
        assert "19 images" in report.summary()
        assert "1 are missing" in report.summary()
    enough = few.model_copy(update={"candidate": figures(0.9, images=20)})
    assert judge([enough], SETTINGS).outcome is PASSED


MISSES = SETTINGS.model_copy(update={"max_miss_rate": 0.2})


@pytest.mark.parametrize(
    ("hits", "objects", "expected"),
    [
        (50, 50, PASSED),  # 0 missed, at most 5.8 %
        (44, 50, INCONCLUSIVE),  # 12 %, at most 22 %
        (35, 50, INCONCLUSIVE),  # 30 %, at least 19.6 %
        (34, 50, FAILED),  # 32 %, at least 21.4 %
        (29, 29, INCONCLUSIVE),  # one object too few
        (30, 30, PASSED),
    ],
)
def test_the_miss_rate_of_a_class_is_judged_by_its_bound(hits, objects, expected):
    found = measured(per_class={"person": of_class(hits, objects)})
    assert asked(found, GateRule.MISSES, MISSES).outcome is expected


def test_too_few_objects_are_named_with_how_many_are_missing():
    found = measured(
        per_class={"person": of_class(50, 50), "mask": of_class(7, 7)},
        thresholds={"person": 0.4, "mask": 0.4, "vest": 0.4},
    )
    summary = judge([found], MISSES).summary()
    assert "mask: 0.0% of 7 objects missed" in summary
    assert "23 are missing" in summary
    # Of a class that no image shows there are no figures at all.
    assert "vest: 0.0% of 0 objects missed" in summary
    assert "30 are missing" in summary
    assert "person" not in summary


def test_misses_that_come_together_in_one_image_are_doubted():
    alone = measured(per_class={"person": of_class(47, 50)})
    assert asked(alone, GateRule.MISSES, MISSES).outcome is PASSED
    together = measured(per_class={"person": of_class(47, 50, by_image=0.15)})
    reason = asked(together, GateRule.MISSES, MISSES)
    assert reason.outcome is INCONCLUSIVE
    assert "50 objects decide too little; about 58 would" in reason.message


def test_a_class_can_have_a_limit_of_its_own():
    both = {"person": of_class(44, 50), "mask": of_class(44, 50)}
    settings = SETTINGS.model_copy(update={"max_miss_rates": {"mask": 0.01}})
    report = judge([measured(per_class=both)], settings)
    assert report.outcome is FAILED
    assert "mask" in report.summary()
    assert "person" not in report.summary()


@pytest.mark.parametrize(
    ("rate", "budget", "expected"),
    [
        (0.5, 0.7, PASSED),
        (0.5, 0.55, INCONCLUSIVE),
        (0.5, 0.3, FAILED),
        (0.0, 0.03, PASSED),  # none in 100 images: at most 0.02996
        (0.0, 0.029, INCONCLUSIVE),
    ],
)
def test_false_alarms_have_a_budget(rate, budget, expected):
    doubt = 0.1 if rate else 0.0
    found = measured(false_alarms_per_image=rate, false_alarms_bounds=around(rate, doubt))
    settings = SETTINGS.model_copy(update={"max_false_alarms_per_image": budget})
    assert asked(found, GateRule.FALSE_ALARMS, settings).outcome is expected
    assert judge([found], SETTINGS).outcome is PASSED


@pytest.mark.parametrize(
    ("p50", "p95", "expected"),
    [(5.0, 10.0, PASSED), (5.0, 10.1, INCONCLUSIVE), (10.1, 12.0, FAILED)],
)
def test_latency_fails_where_half_of_the_frames_are_too_slow(p50, p95, expected):
    settings = SETTINGS.model_copy(update={"max_latency_ms": 10.0})
    timed = measured().model_copy(update={"latency": latency(p50, p95)})
    assert asked(timed, GateRule.LATENCY, settings).outcome is expected
    assert asked(measured(), GateRule.LATENCY, settings).outcome is INCONCLUSIVE
    assert judge([measured()], SETTINGS).outcome is PASSED


def test_what_was_learned_from_is_no_evidence():
    leaking = measured().model_copy(update={"leaks": Leaks(exact=2, near=1)})
    reason = asked(leaking, GateRule.DATA)
    assert reason.outcome is FAILED
    assert "3 images of the evaluation set are in train or val (2 the same, 1 nearly)" in (
        reason.message
    )
    tolerant = SETTINGS.model_copy(update={"max_contaminated": 3})
    assert asked(leaking, GateRule.DATA, tolerant).outcome is PASSED


def test_data_that_nobody_compared_are_missing_evidence_but_for_an_import():
    unknown = measured().model_copy(update={"leaks": None})
    assert asked(unknown, GateRule.DATA).outcome is INCONCLUSIVE
    imported = unknown.model_copy(update={"imported": True})
    assert GateRule.DATA not in {r.rule for r in judge([imported], SETTINGS).reasons}
    # What its thresholds were chosen on is known all the same.
    leaking = imported.model_copy(update={"leaks": Leaks(exact=1, near=0)})
    assert asked(leaking, GateRule.DATA).outcome is FAILED


def test_a_way_back_is_wanted_but_of_the_first_champion():
    whole = subject(0.6, 0.6)
    assert asked(whole, GateRule.WAY_BACK).outcome is PASSED
    assert asked(measured(), GateRule.WAY_BACK).outcome is PASSED
    none = whole.model_copy(update={"way_back": None})
    assert asked(none, GateRule.WAY_BACK).outcome is FAILED
    damaged = whole.model_copy(update={"way_back_problem": "its file model.bin is gone"})
    reason = asked(damaged, GateRule.WAY_BACK)
    assert reason.outcome is FAILED
    assert "version 1, but its file model.bin is gone" in reason.message


def test_a_release_that_gains_a_name_cannot_go_back_as_a_whole():
    base = subject(0.6, 0.6)
    twin = measured().model_copy(update={"model_name": f"{NAME}__openvino_int8"})
    reasons = [r for r in judge([base, twin], SETTINGS).reasons if r.rule is GateRule.WAY_BACK]
    assert [r.outcome for r in reasons] == [INCONCLUSIVE, PASSED]
    assert "__openvino_int8 without a champion" in reasons[0].message


def test_one_failing_variant_fails_the_release():
    report = judge([subject(0.7, 0.7), subject(0.2, 0.7)], SETTINGS)
    assert report.outcome is FAILED
    assert "0.200" in report.summary()


def test_nothing_measured_never_passes():
    assert judge([], SETTINGS).outcome is INCONCLUSIVE
    assert GateReport.of([]).outcome is INCONCLUSIVE


def test_failed_outweighs_inconclusive_and_is_said_first():
    report = judge([subject(None, 0.7), subject(0.1, 0.7)], SETTINGS)
    assert report.outcome is FAILED
    assert report.summary().startswith(f"FAILED: {NAME}: mAP50 0.100")
    assert "could not be measured" in report.summary()


@pytest.mark.parametrize(("candidate", "champion"), [(None, 0.7), (0.7, None)])
def test_why_something_could_not_be_measured_is_said(candidate, champion):
    problem = "version 1 detects helmet, person"
    found = subject(candidate, champion).model_copy(update={"problem": problem})
    assert problem in judge([found], SETTINGS).summary()


def test_a_figure_without_bounds_decides_nothing():
    found = measured(map50_bounds=None)
    reason = asked(found, GateRule.FLOOR)
    assert reason.outcome is INCONCLUSIVE
    assert "how sure that is was not measured" in reason.message


@given(
    st.floats(0, 1),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 1),
    st.integers(2, 5000),
)
def test_a_figure_passes_and_fails_only_as_its_bounds_say(value, below, above, limit, count):
    figure = BoundedFigure(value, value - below, value + above)
    guess = drawn(figure, count)
    up, down = (
        against(guess, count, "images", limit).outcome
        for against in (against_floor, against_ceiling)
    )
    assert (up is PASSED) == (figure.low >= limit)
    assert (up is FAILED) == (figure.high < limit)
    assert (down is PASSED) == (figure.high <= limit)
    assert (down is FAILED) == (figure.low > limit)


@given(st.floats(0.01, 0.5), st.floats(0.02, 0.4), st.integers(20, 2000))
def test_what_is_said_to_suffice_would_decide(gap, doubt, count):
    limit = 0.5
    figure = BoundedFigure(limit + gap, limit + gap - doubt, limit + gap + doubt)
    judged = against_floor(drawn(figure, count), count, "images", limit)
    if judged.outcome is PASSED:
        return
    _, _, said = judged.missing.partition("about ")
    if not said:
        # Beyond a hundred times as many.
        assert doubt / gap > 9.7
        return
    enough = int(said.split()[0])
    assert drawn(figure, count)(enough).low >= limit
    # Not wastefully many: it is rounded up to two digits, by steps of 5 %.
    assert enough <= 1.2 * count * (doubt / gap) ** 2 + 2


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_exact_bounds_of_a_rate_hold_it(events, over):
    assert rate_at_least(events, over) <= events / over < rate_at_most(events, over)


def latency(p50: float = 4.0, p95: float = 5.0) -> Latency:
    return Latency(
        p50_ms=p50,
        p95_ms=p95,
        precision="f32",
        instruction_set="AVX512-VNNI",
        cpu="Some CPU",
        threads=1,
        image_size=256,
        repeats=60,
    )


def speed(low: float, high: float, source_ms: float = 20.0) -> SpeedReport:
    return SpeedReport(
        verdict=SpeedVerdict.INCONCLUSIVE,
        speedup=(low + high) / 2,
        low=low,
        high=high,
        against="bf16",
        machine="AVX512-VNNI--Some-CPU",
        fp32=latency(1.5 * source_ms),
        default=latency(source_ms),
        variant=latency(source_ms * 2 / (low + high)),
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
        (1.2, 1.4, PASSED),
        (0.7, 0.9, FAILED),
        (0.9, 1.1, INCONCLUSIVE),
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
        assert judge_variant("m", slow, settings).outcome is PASSED


@pytest.mark.parametrize(
    ("source_ms", "wanted", "expected"),
    [
        # 2.5 ms instead of 2: a camera never notices.
        (2.0, 1.0, INCONCLUSIVE),
        (3.9, 1.0, INCONCLUSIVE),
        (4.1, 1.0, FAILED),
        # Half of 1 ms was wanted: that is no question of "slower".
        (1.0, 2.0, FAILED),
        (2.0, 0.5, PASSED),
    ],
)
def test_less_than_a_millisecond_per_frame_does_not_decide_that_a_variant_is_slow(
    source_ms, wanted, expected
):
    slow = cost(NOTHING_LOST, speed(0.7, 0.9, source_ms))
    settings = SETTINGS.model_copy(update={"min_speedup": wanted})
    reason = judge_variant("m", slow, settings).reasons[-1]
    assert reason.outcome is expected
    too_little = "ms more per frame are too little to decide that it is too slow"
    assert (too_little in reason.message) == (expected is INCONCLUSIVE)


def test_speed_that_was_measured_elsewhere_says_nothing_here():
    found = judge_variant("m", cost(NOTHING_LOST, None), SETTINGS)
    assert found.outcome is INCONCLUSIVE
    assert "(but AVX2--Other); `guardianflow measure m`" in found.summary()


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        (Difference(value=-0.2, low=-0.3, high=-0.15), FAILED),
        (Difference(value=-0.2, low=-0.5, high=0.0), INCONCLUSIVE),
        (Difference(value=-0.09, low=-0.5, high=0.0), PASSED),
    ],
)
def test_recall_lost_in_one_class_is_no_chance_where_the_interval_says_so(lost, expected):
    found = judge_variant("m", cost(lost, speed(1.2, 1.4)), SETTINGS)
    assert found.outcome is expected
    guilty = [reason for reason in found.reasons if reason.outcome is expected]
    assert any("recall of mask" in reason.message for reason in guilty)


def test_a_loss_of_a_variant_on_few_images_is_no_proof_but_its_speed_is():
    lost, slow = Difference(value=-0.2, low=-0.3, high=-0.15), speed(0.7, 0.9)
    few = SETTINGS.model_copy(update={"min_images": 21})
    _, _, mask, faster = judge_variant("m", cost(lost, slow), few).reasons
    assert (mask.label, mask.outcome) == ("mask", INCONCLUSIVE)
    assert mask.message.endswith("on so few images that is no proof")
    assert (faster.rule, faster.outcome) == (GateRule.SOURCE_SPEED, FAILED)


def test_fp16_need_not_be_faster():
    half = cost(NOTHING_LOST, None, Precision.FP16)
    assert judge_variant("m", half, SETTINGS).outcome is PASSED


def test_a_precision_that_is_not_known_yet_is_not_judged_as_int8():
    unknown = cost(NOTHING_LOST, speed(1.2, 1.4)).model_copy(update={"precision": "int4"})
    with pytest.raises(AssertionError, match="int4"):
        judge_variant("m", unknown, SETTINGS)


def test_the_cost_of_a_variant_is_judged_with_the_release():
    variant = subject(0.7, 0.7).model_copy(update={"cost": cost(NOTHING_LOST, speed(0.7, 0.9))})
    report = judge([subject(0.7, 0.7), variant], SETTINGS)
    assert report.outcome is FAILED
    assert "0.80x (0.70 to 0.90)" in report.summary()
