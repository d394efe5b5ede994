"""The judge of the chaos runs is judged: a planted violation is found and named, no other one is.

The clean history: two releases are promoted, a person rolls back, the second comes again by force,
a client is killed after its commit, an automation rolls back, and a reader looks at all times.
"""

from dataclasses import replace

import pytest

from tests.chaos.checker import Fault, check
from tests.chaos.evidence import (
    Answer,
    Call,
    Entry,
    Evidence,
    Intrusion,
    Journal,
    Sample,
    Version,
    calls_of,
    read_lines,
)

BASE = "a/b-c/d/e"
TWIN = f"{BASE}__openvino_int8"


def entry(seq, kind, before, after, rollback, *, name=BASE, token=None, automatic=False):
    """An operation; champions and ways back as (base, twin), None for none."""
    states = [
        {n: v for n, v in zip((BASE, TWIN), pair, strict=True) if v} for pair in (before, after)
    ]
    ways = {n: v for n, v in zip((BASE, TWIN), rollback, strict=True) if n in states[1]}
    return Entry(seq, kind, name, *states, ways, token or f"t{seq}", automatic)


def call_of(made, start, end, **fields):
    """The request that led to an operation, and was told so."""
    answer = Answer(made.seq, made.token, changed=True, after=made.after)
    call = Call(made.token, made.kind, made.name, start, end, "ok", answer=answer)
    return replace(call, automatic=made.automatic, **fields)


HISTORY = (
    entry(1, "promote", (None, None), (1, 1), (None, None)),
    entry(2, "promote", (1, 1), (2, 2), (1, 1)),
    entry(3, "rollback", (2, 2), (1, 1), (None, None)),
    entry(4, "promote", (1, 1), (2, 2), (1, 1)),
    entry(5, "promote", (2, 2), (3, 2), (2, 1)),
    entry(6, "rollback", (3, 2), (2, 2), (1, 1), automatic=True),
)
CALLS = (
    *(
        Call(f"r{version}", "register", BASE, 1.0, 2.0, "ok", answer=Answer(version=version))
        for version in (1, 2, 3)
    ),
    *(
        Call(
            *(f"v{version}", "register", TWIN, 2.0, 3.0, "ok"),
            source=version,
            answer=Answer(version=version),
        )
        for version in (1, 2)
    ),
    call_of(HISTORY[0], 10, 11),
    call_of(HISTORY[1], 20, 21, version=2, expected=1),
    call_of(HISTORY[2], 30, 31),
    call_of(HISTORY[3], 40, 41, force=True),
    # Killed after its commit: in the ledger, with nobody who was told.
    Call("t5", "promote", BASE, 50, lost_attempts=1),
    # Killed before its commit.
    Call("never", "rollback", BASE, 52, lost_attempts=1),
    call_of(HISTORY[5], 60, 61, expected=3),
    Call("late", "promote", BASE, 62, 63, "refused", actual=2, error="ChampionChanged"),
    Call("plan", "plan", BASE, 64, 65, "ok", answer=Answer(changed=False, after=HISTORY[5].after)),
    Call("again", "promote", BASE, 66, 67, "ok", answer=Answer(6, "", False, HISTORY[5].after)),
)
CLEAN = Evidence(
    base=BASE,
    calls=CALLS,
    history=HISTORY,
    aliases={
        BASE: {"champion": 2, "rollback": 1, "candidate": 3},
        TWIN: {"champion": 2, "rollback": 1},
    },
    versions=(
        *(Version(BASE, version, f"r{version}") for version in (1, 2, 3)),
        *(Version(TWIN, version, f"v{version}", version) for version in (1, 2)),
    ),
    samples=(
        Sample(BASE, 5.0, 5.1, None),
        Sample(BASE, 12.0, 12.1, 1),
        Sample(TWIN, 12.0, 12.1, 1),
        Sample(BASE, 55.0, 55.1, 3),
        Sample(BASE, 70.0, 70.1, 2),
    ),
)


def faults(evidence):
    return {violation.fault for violation in check(evidence)}


def with_entry(seq, **fields):
    history = [replace(e, **fields) if e.seq == seq else e for e in HISTORY]
    return replace(CLEAN, history=tuple(history))


def with_call(token, **fields):
    calls = [replace(c, **fields) if c.token == token else c for c in CALLS]
    return replace(CLEAN, calls=tuple(calls))


def with_last(made, call=None):
    """The clean history with one more operation, and the aliases that it wants."""
    aliases = {
        name: {"champion": made.after[name]}
        | ({"rollback": made.rollback[name]} if made.rollback[name] else {})
        for name in made.after
    }
    calls = (*CALLS, call or call_of(made, 70, 71))
    return replace(CLEAN, history=(*HISTORY, made), calls=calls, aliases=aliases)


def test_a_clean_history_has_no_violation():
    assert check(CLEAN) == []


def test_a_release_that_nobody_used_has_no_violation():
    assert check(Evidence(BASE, (), (), {}, ())) == []


def test_a_gap_is_found():
    assert faults(replace(CLEAN, history=(*HISTORY[:3], *HISTORY[4:]))) == {Fault.GAP}


def test_an_operation_on_another_state_than_the_last_one_is_found():
    assert Fault.BROKEN_CHAIN in faults(with_entry(4, before={BASE: 2, TWIN: 1}))


def test_a_name_that_loses_its_champion_is_found():
    assert Fault.EMPTIED in faults(with_entry(6, after={BASE: 2}))


def test_a_lost_operation_is_found():
    shorter = replace(CLEAN, history=HISTORY[:5])
    assert Fault.LOST in faults(shorter)


def test_a_success_that_was_never_made_is_found():
    invented = Answer(6, "invented", after=HISTORY[5].after)
    call = Call("invented", "rollback", BASE, 68, 69, "ok", answer=invented)
    assert faults(replace(CLEAN, calls=(*CALLS, call))) == {Fault.LOST}


def test_another_kind_of_operation_told_as_the_success_is_found():
    others = Answer(6, "t6", after=HISTORY[5].after)
    call = Call("mine", "promote", BASE, 60, 62, "ok", answer=others)
    assert faults(replace(CLEAN, calls=(*CALLS, call))) == {Fault.LOST}
    # A rollback that was finished for somebody else, who asked for the same, is a fair answer.
    assert faults(replace(CLEAN, calls=(*CALLS, replace(call, kind="rollback")))) == set()


def test_a_finished_operation_told_to_a_later_request_is_found():
    others = Answer(3, "t3", after=HISTORY[2].after)
    call = Call("mine", "rollback", BASE, 34, 35, "ok", answer=others)
    assert faults(replace(CLEAN, calls=(*CALLS, call))) == {Fault.NEVER_SO}


def test_a_doubled_operation_is_found():
    twice = entry(7, "rollback", (2, 2), (1, 1), (None, None), token="t3")
    assert Fault.DOUBLED in faults(with_last(twice, Call("other", "plan", BASE, 70, 71)))


def test_an_operation_that_nobody_asked_for_is_found():
    made = entry(7, "rollback", (2, 2), (1, 1), (None, None))
    assert faults(with_last(made, Call("other", "plan", BASE, 70, 71))) == {Fault.UNASKED}


def test_an_operation_of_another_kind_than_was_asked_for_is_found():
    assert Fault.UNASKED in faults(with_call("t5", kind="rollback"))


def test_an_operation_that_was_refused_is_found():
    assert faults(with_call("t5", outcome="refused", end=51, lost_attempts=0)) == {
        Fault.NOT_REFUSED
    }
    # Killed after its commit, asked for again, refused: then it may be there.
    assert faults(with_call("t5", outcome="refused", end=51, lost_attempts=1)) == set()


@pytest.mark.parametrize(
    "asked",
    [
        {"version": 1},
        {"expected": 2},
        {"expected": None},
        {"name": TWIN},
        {"automatic": True},
        {"answer": Answer(2, "t2", after={BASE: 2, TWIN: 1})},
        {"answer": Answer(3, "t3", after=HISTORY[2].after), "kind": "rollback"},
    ],
)
def test_an_effect_unlike_what_was_asked_or_told_is_found(asked):
    assert faults(with_call("t2", **asked)) & {Fault.OTHER_EFFECT, Fault.UNASKED}


def test_more_names_moved_than_asked_for_is_found():
    assert Fault.OTHER_EFFECT in faults(with_call("t3", only=True))


def test_a_swapped_order_is_found():
    # The second promotion is said to have begun after the rollback behind it had ended.
    assert Fault.SWAPPED in faults(with_call("t2", start=32, end=33))
    # Both at the same time: any order will do.
    assert Fault.SWAPPED not in faults(with_call("t2", start=30.5, end=33))


def test_a_refusal_about_a_champion_that_never_was_is_found():
    assert faults(with_call("late", actual=3)) == {Fault.NEVER_SO}


@pytest.mark.parametrize("token", ["plan", "again"])
def test_an_answer_about_a_state_long_gone_is_found(token):
    gone = Answer(1, "", False, HISTORY[0].after)
    assert faults(with_call(token, answer=gone)) == {Fault.NEVER_SO}


def test_a_champion_missing_at_one_moment_is_found():
    missing = Sample(TWIN, 45.0, 45.1, None)
    assert faults(replace(CLEAN, samples=(*CLEAN.samples, missing))) == {Fault.MISSING_CHAMPION}
    # Also where the reader had not seen one yet, but a promotion was reported.
    assert faults(replace(CLEAN, samples=(missing,))) == {Fault.MISSING_CHAMPION}
    # Somebody deleted it by hand: not ours.
    by_hand = Intrusion(TWIN, "champion", None, 44.0)
    assert faults(replace(CLEAN, samples=(missing,), intrusions=(by_hand,))) == set()


def test_a_champion_missing_before_the_deletion_by_hand_is_found():
    missing = Sample(TWIN, 45.0, 45.1, None)
    for hands in (Intrusion(TWIN, "champion", None, 46.0), Intrusion(TWIN, "rollback", None, 40.0)):
        spoiled = replace(CLEAN, samples=(missing,), intrusions=(hands,))
        assert faults(spoiled) == {Fault.MISSING_CHAMPION}


def test_a_champion_that_no_operation_made_is_found():
    for strange in (Sample(TWIN, 45.0, 45.1, 3), Sample(BASE, 15.0, 15.1, 2)):
        assert faults(replace(CLEAN, samples=(strange,))) == {Fault.STRANGE_CHAMPION}


def test_an_alias_unlike_the_last_state_is_found():
    for aliases in (
        {"champion": 1, "rollback": 1},
        {"champion": 2, "rollback": 3},
        {"champion": 2},
        {},
    ):
        spoiled = replace(CLEAN, aliases={**CLEAN.aliases, TWIN: aliases})
        assert faults(spoiled) == {Fault.OTHER_ALIAS}


def test_an_alias_of_a_release_without_operations_is_found():
    strange = Evidence(BASE, (), (), {BASE: {"champion": 1}}, ())
    assert faults(strange) == {Fault.OTHER_ALIAS}


def test_two_versions_of_one_registration_are_found():
    twice = (*CLEAN.versions, Version(BASE, 4, "r3"))
    assert faults(replace(CLEAN, versions=twice)) == {Fault.OTHER_VERSIONS}


def test_a_registration_without_its_version_is_found():
    assert faults(replace(CLEAN, versions=CLEAN.versions[1:])) == {Fault.OTHER_VERSIONS}
    assert faults(with_call("r3", answer=Answer(version=4))) == {Fault.OTHER_VERSIONS}


def test_a_rollback_to_what_was_never_in_production_is_found():
    made = entry(7, "rollback", (2, 2), (5, 2), (None, 1))
    assert faults(with_last(made)) == {Fault.ILLEGAL}


def test_a_rollback_to_a_quarantined_version_is_found():
    made = entry(7, "rollback", (2, 2), (3, 2), (2, 1))
    assert faults(with_last(made)) == {Fault.ILLEGAL}


def test_a_rollback_past_the_last_good_state_is_found():
    # From 3 straight to 1, although 2 was good.
    history = (*HISTORY[:5], entry(6, "rollback", (3, 2), (1, 1), (None, None), automatic=True))
    aliases = {BASE: {"champion": 1}, TWIN: {"champion": 1}}
    calls = (*CALLS[:-4], call_of(history[5], 60, 61, expected=3))
    skipping = replace(CLEAN, history=history, aliases=aliases, calls=calls)
    assert faults(replace(skipping, samples=())) == {Fault.ILLEGAL}


def test_an_automation_that_undoes_a_rollback_is_found():
    made = entry(7, "rollback", (2, 2), (1, 1), (None, None), automatic=True)
    assert faults(with_last(made)) == {Fault.ILLEGAL}
    # A person may go further back.
    assert faults(with_last(replace(made, automatic=False))) == set()


def test_a_quarantined_version_promoted_without_force_is_found():
    assert faults(with_call("t4", force=False)) == {Fault.ILLEGAL}


def test_a_promotion_during_the_hold_is_found():
    made = entry(7, "promote", (2, 2), (4, 2), (2, 1))
    assert faults(with_last(made)) == {Fault.ILLEGAL}
    assert faults(with_last(made, call_of(made, 70, 71, force=True))) == set()
    # Put back by itself, it is on hold still.
    mended = entry(7, "repair", (2, 2), (2, 2), (1, 1), automatic=True)
    again = entry(8, "promote", (2, 2), (4, 2), (2, 1))
    spoiled = with_last(mended, call_of(mended, 70, 71, kind="rescue"))
    spoiled = replace(
        spoiled,
        history=(*spoiled.history, again),
        calls=(*spoiled.calls, call_of(again, 72, 73)),
        aliases={BASE: {"champion": 4, "rollback": 2}, TWIN: {"champion": 2, "rollback": 1}},
    )
    assert faults(spoiled) == {Fault.ILLEGAL}


def test_a_variant_not_made_from_the_champion_is_found():
    spoiled = [replace(v, source=1) if v.name == TWIN else v for v in CLEAN.versions]
    assert faults(replace(CLEAN, versions=tuple(spoiled))) == {Fault.ILLEGAL}


def test_a_promotion_that_forgets_the_way_back_is_found():
    made = entry(7, "promote", (2, 2), (4, 2), (1, 1))
    assert faults(with_last(made, call_of(made, 70, 71, force=True))) == {Fault.ILLEGAL}


def test_a_way_back_to_a_quarantined_version_is_found():
    made = entry(7, "repair", (2, 2), (2, 2), (3, 1))
    assert faults(with_last(made)) == {Fault.ILLEGAL}


def test_a_repair_that_moves_a_champion_is_found():
    made = entry(7, "repair", (2, 2), (1, 2), (1, 1))
    assert faults(with_last(made)) == {Fault.ILLEGAL}


def test_what_was_adopted_by_hand_is_where_a_rollback_goes():
    adopted = entry(7, "adopt", (2, 2), (1, 2), (3, 1))
    back = entry(8, "rollback", (1, 2), (3, 1), (None, None))
    evidence = with_last(adopted)
    evidence = replace(
        evidence,
        history=(*evidence.history, back),
        calls=(*evidence.calls, call_of(back, 72, 73)),
        aliases={BASE: {"champion": 3}, TWIN: {"champion": 1}},
    )
    assert faults(evidence) == {Fault.ILLEGAL}
    sound = entry(7, "adopt", (2, 2), (1, 2), (2, 1))
    back = entry(8, "rollback", (1, 2), (2, 1), (None, None))
    history = (*HISTORY, sound, back)
    calls = (*CALLS, call_of(sound, 70, 71), call_of(back, 72, 73))
    aliases = {BASE: {"champion": 2}, TWIN: {"champion": 1}}
    assert check(replace(CLEAN, history=history, calls=calls, aliases=aliases)) == []
    # 2 was taken out of production by hand, and @rollback was not left on it.
    left = replace(sound, rollback={BASE: None, TWIN: 1})
    assert faults(replace(evidence, history=(*HISTORY, left, back))) >= {Fault.ILLEGAL}


def test_a_journal_keeps_every_finished_line(tmp_path):
    path = tmp_path / "client.jsonl"
    journal = Journal(path)
    journal.write(event="invoke", token="a", kind="promote", name=BASE, start=1.0, expected=None)
    journal.write(event="invoke", token="b", kind="rollback", name=BASE, start=2.0, only=True)
    journal.write(
        event="answer",
        token="b",
        end=3.0,
        outcome="ok",
        answer={"seq": 1, "token": "b", "after": {BASE: 1}},
    )
    with path.open("a") as file:
        file.write('{"event": "answer", "tok')
    first, second = calls_of(read_lines(path))
    assert (first.outcome, first.end, first.lost_attempts, first.expected) == (
        *("unknown", None, 1),
        None,
    )
    assert (second.outcome, second.end, second.lost_attempts) == ("ok", 3.0, 0)
    assert second.only
    assert second.expected == "any"
    assert second.answer == Answer(1, "b", after={BASE: 1})


def test_the_attempts_of_one_token_are_one_call(tmp_path):
    lines = [
        {"event": "invoke", "token": "a", "kind": "promote", "name": BASE, "start": 1.0},
        {"event": "answer", "token": "a", "end": 2.0, "outcome": "unknown", "error": "away"},
        {"event": "invoke", "token": "a", "kind": "promote", "name": BASE, "start": 5.0},
        {"event": "answer", "token": "a", "end": 6.0, "outcome": "refused", "error": "no"},
    ]
    (call,) = calls_of(lines)
    assert (call.start, call.end, call.outcome, call.error) == (1.0, 6.0, "refused", "no")
    assert call.lost_attempts == 1


def test_a_success_that_is_asked_for_again_stays_the_success_that_it_was():
    asked = {"event": "invoke", "token": "a", "kind": "promote", "name": BASE}
    told = {"event": "answer", "token": "a", "outcome": "ok"}
    lines = [
        {**asked, "start": 1.0},
        {**told, "end": 2.0, "answer": {"seq": 1, "token": "a", "after": {BASE: 1}}},
        {**asked, "start": 5.0},
        {**told, "end": 6.0, "outcome": "refused", "error": "no"},
    ]
    (call,) = calls_of(lines)
    assert (call.end, call.outcome, call.lost_attempts) == (2.0, "ok", 0)
