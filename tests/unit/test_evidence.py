from datetime import UTC, datetime

import pytest

from guardianflow.approval import ApprovalRule
from guardianflow.binding import Binding
from guardianflow.evidence import evidence_markdown, false_alarms_per_100, headline, missed_per_100
from guardianflow.gate import Subject, judge
from guardianflow.measuring.evaluation import ClassFigures, Evaluation
from guardianflow.proposal import Proposal
from guardianflow.registry import ModelAlias, Move
from guardianflow.scenario import GateSettings

NAME = "donghwa-entec/busan-plant1/welding/ppe"


def figures(recall: float, false_alarms: float) -> Evaluation:
    return Evaluation(
        map50=0.8,
        map50_95=0.5,
        per_class={
            "person": ClassFigures(ap50=0.9, recall=1.0, precision=0.9, objects=30),
            "mask": ClassFigures(ap50=0.7, recall=recall, precision=0.9, objects=10),
        },
        false_alarms_per_image=false_alarms,
        images=20,
        objects=40,
        score_threshold=0.4,
    )


def subjects() -> tuple[Subject, ...]:
    return tuple(
        Subject(
            model_name=name,
            version=2,
            champion_version=1,
            candidate=figures(recall, 0.09),
            champion=figures(0.8, 0.14),
        )
        for name, recall in ((NAME, 0.9), (f"{NAME}__openvino_int8", 0.6))
    )


def proposal() -> Proposal:
    found = subjects()
    gate = judge(found, GateSettings())
    return Proposal(
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


def test_missed_and_false_alarms_are_counted_per_hundred():
    # 4 of the 10 masks of 40 objects are missed: 10 of 100
    assert missed_per_100(figures(0.6, 0.0)) == pytest.approx(10.0)
    assert false_alarms_per_100(figures(0.6, 0.14)) == pytest.approx(14.0)


def test_the_headline_speaks_of_what_the_edge_box_runs():
    found = subjects()
    line = headline(found, judge(found, GateSettings()))
    assert "openvino_int8" in line
    assert "missed per 100 objects 5.0 → 10.0" in line
    assert "false alarms per 100 images 14 → 9" in line


def test_a_first_champion_has_nothing_before_the_arrow():
    first = [s.model_copy(update={"champion": None, "champion_version": None}) for s in subjects()]
    assert "→" not in headline(first, judge(first, GateSettings()))


def test_the_page_shows_both_versions_what_moves_and_the_warnings():
    page = evidence_markdown(proposal())
    assert page.startswith(f"**{proposal().headline}**")
    assert "champion (version 1) | candidate (version 2)" in page
    assert "| recall: mask | 0.800 | 0.900 |" in page
    assert "| @champion | ppe | 1 | 2 |" in page
    assert "the floor still runs version 1" in page
    assert "Requested by lee@laptop (new helmets)." in page
    assert "An approval needs one person, by name, until 2026-01-09 00:00 UTC" in page
    assert f"bound to `{proposal().binding.digest[:12]}`" in page
    # The champion may come from another scenario version, with other images to learn from.
    assert "20 images that version 2 has not learned from" in page
    assert "\n# " not in page


def test_of_an_import_nobody_claims_what_it_has_learned_from():
    imported = proposal().model_copy(update={"origin": "best.onnx (licence: AGPL-3.0)"})
    page = evidence_markdown(imported)
    assert "Imported from best.onnx (licence: AGPL-3.0) for scenario donghwa-entec-ppe v3" in page
    assert "not learned from" not in page
    assert "nobody here knows" in page


def test_the_digest_covers_every_figure():
    one = proposal()
    other = one.model_copy(update={"version": 3})
    assert one.digest != other.digest
    assert one.digest == proposal().digest
