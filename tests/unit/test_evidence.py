from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt

from guardianflow.approval import Answer, ApprovalRule, Choice, Proof
from guardianflow.evidence.lineage import DataUse, Lineage
from guardianflow.evidence.numbers import Span, false_alarms_per_100, missed_per_100, rounded
from guardianflow.evidence.pictures import Picture, Pictures, without_pictures
from guardianflow.evidence.sentences import deciding, floor_sentence, headline, worse_sentence
from guardianflow.gate import Subject, judge
from guardianflow.measuring.comparison import Difference, PairedComparison
from guardianflow.measuring.disagreement import Disagreement
from guardianflow.measuring.evaluation import ClassFigures, Evaluation
from guardianflow.measuring.intervals import Interval
from guardianflow.promotion.binding import Binding
from guardianflow.promotion.page import Links, evidence_page, form_text
from guardianflow.promotion.proposal import Proposal
from guardianflow.registry import ModelAlias, Move
from guardianflow.scenario import GateSettings
from guardianflow.wording import Language

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
    lost = Picture(
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
    [(0.0, 1, "0.0"), (0.04, 1, "<0.1"), (0.06, 1, "0.1"), (0.4, 0, "<1"), (36.14, 1, "36.1")],
)
def test_what_is_more_than_nought_never_reads_as_nought(value, digits, shown):
    assert rounded(value, digits) == shown


def test_a_difference_keeps_its_sign_and_its_ends_in_order():
    change = Span.between(Difference(value=0.2, low=0.1, high=0.3)).scaled(-100)
    assert change.text(1, EN, signed=True) == "-20.0 (-30.0 to -10.0)"


def test_the_headline_speaks_of_what_the_edge_box_runs():
    found = subjects()
    line = headline(found, judge(found, GateSettings()))
    assert "openvino_int8" in line
    assert "missed per 100 objects 5.0 → 10.0" in line
    assert "false alarms per 100 images 14 → 9" in line
    assert "객체 100개당 미검출 5.0 → 10.0" in headline(found, judge(found, GateSettings()), KO)


def test_a_first_champion_has_nothing_before_the_arrow():
    first = subjects(champion=None, champion_version=None, difference=None)
    assert "→" not in headline(first, judge(first, GateSettings()))
    sentence = floor_sentence(deciding(first), EN)
    assert "of 100 objects 10.0 are missed" in sentence
    assert "no champion to compare with" in sentence


@pytest.mark.parametrize(
    ("found", "alarms", "says"),
    [
        ((0.1, 0.05, 0.2), (0.1, 0.05, 0.2), ("clearly fewer objects", "clearly **more** (")),
        ((-0.1, -0.2, -0.05), (-0.1, -0.2, -0.05), ("clearly **more** obj", "clearly fewer (")),
        ((-0.1, -0.2, 0.05), (0.1, -0.1, 0.2), ("images do not tell", "do not tell either way")),
    ],
)
def test_clearly_is_said_where_the_whole_interval_is_on_one_side(found, alarms, says):
    one, two = (Difference(value=value, low=low, high=high) for value, low, high in (found, alarms))
    subject = deciding(subjects(difference=difference(one, two)))
    sentence = floor_sentence(subject, EN)
    assert all(words in sentence for words in says), sentence
    assert floor_sentence(subject, KO).startswith("현장에서는 ")


def test_a_class_that_is_clearly_found_less_often_is_named():
    worse = Difference(value=-0.3, low=-0.4, high=-0.1)
    named = worse_sentence(deciding(subjects(difference=difference(mask=worse))), EN)
    assert named == "Clearly found less often than now: mask (-0.300 (-0.400 to -0.100))."
    assert worse_sentence(deciding(subjects()), EN) == ""
    doubtful = Difference(value=-0.3, low=-0.7, high=0.1)
    assert worse_sentence(deciding(subjects(difference=difference(mask=doubtful))), EN) == ""


def test_the_page_shows_both_versions_what_moves_and_the_warnings():
    shown = page()
    assert shown.startswith(f"**{proposal().headline}**")
    assert "champion (version 1) | candidate (version 2) | difference" in shown
    assert "| mAP50 | 0.800 (0.750 to 0.850) | 0.800 (0.750 to 0.850) | +0.000 (" in shown
    assert "| mask | 10 | 0.800 (0.600 to 0.900) | 0.900 (0.700 to 1.000) |" in shown
    assert "| @champion | ppe | 1 | 2 |" in shown
    assert "the floor still runs version 1" in shown
    assert "Requested by lee@laptop (new helmets)." in shown
    assert "An approval needs one person, by name, until 2026-01-09 00:00 UTC" in shown
    assert f"bound to `{proposal().binding.digest[:12]}`" in shown
    # The champion may come from another scenario version, with other images to learn from.
    assert "20 images that version 2 has not learned from" in shown
    assert "| images to learn from | ppe-train, 240 images, digest `dddddddddddd` |" in shown
    assert "`c0ffeec0ffee`" in shown
    assert "\n# " not in shown


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
    assert "nobody here knows" in shown


def test_what_cannot_be_judged_is_said_in_words():
    none = {"candidate": None, "champion": None, "difference": None}
    found = subjects(problem="its IR is gone", way_back=1, **none)
    gate = judge(found, GateSettings())
    shown = page(proposal(subjects=found, gate=gate))
    assert shown.startswith("**Gate INCONCLUSIVE: nothing could be measured.**")
    assert "What is missing:" in shown
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
    assert "finds it, the candidate misses it: 7 (2 are shown)**" in shown
    assert f"![mask]({address})" in shown
    assert "version 1 shows it, version 2 does not (score 0.31, shown from 0.40)" in shown
    assert "version 2 does not (not even with a low score)" in shown
    later = without_pictures(shown, EN, 30)
    assert "(deleted after 30 days)" in later
    assert "get-artifact" not in later
    assert "version 1 shows it, version 2 does not (score 0.31, shown from 0.40)" in later
    assert without_pictures(later, EN, 30) == later


def test_a_scenario_that_keeps_no_pictures_says_so_and_counts_them_all_the_same():
    shown = page(proposal(pictures=pictures(days=0)))
    assert "the candidate misses it: 7**" in shown
    assert "keeps no pictures" in shown


def test_the_form_begins_with_the_figures_and_leads_to_the_page():
    text = form_text(proposal(), ["Asked anew: the champion moved."], "http://prefect/page")
    first, note, floor = text.split("\n\n")[:3]
    assert first == f"**{proposal().headline}**"
    assert note == "**Asked anew: the champion moved.**"
    assert floor.startswith("For the floor:")
    assert "(http://prefect/page)" in text
    assert "the floor still runs version 1" in text
    # The box in the UI is small: tables are on the page.
    assert "|---" not in text


def test_the_form_asks_in_the_language_of_the_floor():
    from flows.approval_form import answer_form
    from guardianflow.promotion.question import Standing

    said = {}
    for language in Language:
        asked = proposal(language=language, policy=ApprovalRule(proof=Proof.TOTP))
        schema = answer_form(asked, Standing((), None)).model_json_schema()["properties"]
        said[language] = {name: schema[name] for name in ("decision", "approver", "reason", "code")}
    assert said[EN]["approver"]["title"] == "Approver"
    assert said[KO]["approver"]["title"] == "승인자"
    assert said[KO]["decision"]["title"] == "결정"
    for fields in said.values():
        # What the server checks is the same in both.
        assert (fields["approver"]["minLength"], fields["reason"]["maxLength"]) == (2, 500)
        assert fields["code"]["pattern"] == "^[0-9]{6}$"
    asked = answer_form(proposal(), Standing((), None)).model_json_schema()
    assert set(asked["required"]) == {"decision", "approver", "reason"}
    assert set(Answer.model_fields) > {"decision", "approver", "reason"}
    assert {choice.value for choice in Choice} == {"approve", "reject"}


def test_a_korean_page_names_the_time_of_korea():
    shown = page(proposal(language=KO))
    assert "2026-01-09 09:00(한국 시간, 2026-01-09 00:00 UTC)" in shown
    assert "현재 모델 (버전 1)" in shown


def test_the_digest_covers_every_figure():
    one = proposal()
    other = one.model_copy(update={"version": 3})
    assert one.digest != other.digest
    assert one.digest == proposal().digest
