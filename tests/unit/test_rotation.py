"""The rules of the rotation, one by one, on a made-up release; no server."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardianflow.errors import (
    AliasDrift,
    ChampionChanged,
    InputError,
    NoCandidate,
    NoRollbackTarget,
    ReleaseOnHold,
    RollbackHeld,
    SourceNotChampion,
    VersionNotReady,
    VersionQuarantined,
)
from guardianflow.registry.release_state import (
    Aliases,
    Attribution,
    ModelAlias,
    Move,
    OperationKind,
    OperationRecord,
    ProductionEntry,
    champion_moves,
    find_drift,
    find_installation,
)
from guardianflow.registry.rotation.rules import (
    adopt,
    all_quarantined,
    check_expected,
    find_hold,
    is_quarantined,
    plan_promotion,
    plan_repair,
    plan_rollback,
    projected,
    rescue,
    unguarded,
)
from tests.unit.rotation_world import BASE, INT4, INT8, World


@pytest.fixture
def world():
    return World()


def test_first_promotion_has_no_way_back_and_says_so(world):
    world.register(BASE)
    decision = world.promote()
    assert world.aliases[BASE] == {"champion": 1}
    assert "no way back" in decision.warnings[0]


def test_second_promotion_keeps_the_former_champion_for_rollback(world):
    world.release()
    world.release()
    assert world.aliases == {
        BASE: {"champion": 2, "rollback": 1},
        INT8: {"champion": 2, "rollback": 1},
    }


def test_a_base_takes_along_only_twins_made_from_exactly_that_version(world):
    world.release()
    world.register(BASE)
    world.register(INT4, 1)
    decision = world.promote()
    assert world.champions == {BASE: 2, INT8: 1}
    assert any(INT8 in warning and "older model" in warning for warning in decision.warnings)


def test_promoting_the_champion_again_changes_nothing(world):
    world.release()
    world.release()
    assert not world.promote(BASE, 2).changed
    assert world.aliases[BASE]["rollback"] == 1


def test_what_a_promotion_decides_says_of_what(world):
    world.release()
    world.release()
    with pytest.raises(InputError) as unreasoned:
        world.promote(BASE, 1, force=True)
    assert str(unreasoned.value) == (
        'A forced promotion needs a reason. Add --reason "why it is right now".'
    )
    idle = world.promote(BASE, 2)
    assert (idle.kind, idle.name, idle.changed) == (OperationKind.PROMOTE, BASE, False)
    world.promote(BASE, 1)
    assert world.state[BASE] == ProductionEntry(1, 2, 2, None)
    world.roll_back()
    with pytest.raises(VersionQuarantined) as refused:
        world.promote(BASE, 1)
    assert refused.value.data == {"name": BASE, "version": 1}
    world.register(BASE)
    world.register(INT8, 1)
    with pytest.raises(SourceNotChampion) as unfit:
        world.promote(INT8, 3)
    assert unfit.value.data == {"name": INT8, "version": 3, "source_version": 1}


def test_a_decision_says_where_the_candidate_goes(world):
    world.release()
    world.register(BASE)
    world.register(INT8, 2)
    decision = plan_promotion(world.inputs, world.past, BASE)
    assert [(m.name, m.alias.value, m.before, m.after) for m in decision.moves] == [
        (BASE, "champion", 1, 2),
        (BASE, "rollback", None, 1),
        (BASE, "candidate", 2, None),
        (INT8, "champion", 1, 2),
        (INT8, "rollback", None, 1),
        (INT8, "candidate", 2, None),
    ]


def test_the_warnings_in_full(world):
    world.release()
    world.register(BASE)
    decision = world.promote()
    world.sources.clear()
    world.aliases[INT8] = {"champion": 1}
    unknown = adopt(replace(world.inputs, sources={}), world.past)
    lone = (
        f"{INT8} has no way back: version 1 has no earlier good champion until the next promotion."
    )
    older = (
        f"{INT8} stays at version 1, made from version %s of {BASE}: the floor still runs the "
        "older model until `guardianflow run SCENARIO --type quant --version vN` and a promotion "
        "of it."
    )
    assert decision.warnings == (lone, older % 1)
    assert unknown.warnings == (lone, older % "unknown")


def test_a_variant_that_stays_behind_an_older_base_is_named_with_the_way_to_follow(world):
    world.register(BASE)
    world.register(INT8, 1)
    world.register(BASE)
    world.register(INT8, 2)
    # Never in production: the newer INT8 is what waits.
    first = world.promote(BASE, 1)
    assert (
        f"{INT8} is not promoted with it and has no champion until `guardianflow promote {INT8} "
        "--model-version 1`, made from that version." in first.warnings
    )
    world.promote(BASE, 2)
    back = world.promote(BASE, 1)
    assert world.champions == {BASE: 1, INT8: 2}
    assert any(
        f"{INT8} stays at version 2, made from version 2 of {BASE}: the floor still runs the newer "
        f"model until `guardianflow promote {INT8} --model-version 1`" in said
        for said in back.warnings
    )
    world.promote(INT8, 1)
    assert world.champions == {BASE: 1, INT8: 1}


def test_nothing_waiting_is_refused_and_names_what_waits_elsewhere(world):
    with pytest.raises(NoCandidate, match="--type train"):
        world.promote()
    world.register(BASE)
    world.promote()
    world.register(INT8, 1)
    with pytest.raises(NoCandidate) as refused:
        world.promote()
    assert refused.value.data["waiting"] == [INT8]


def test_a_variant_of_the_champion_is_promoted_by_itself(world):
    world.register(BASE)
    world.promote()
    world.register(INT8, 1)
    world.promote(INT8)
    assert world.champions == {BASE: 1, INT8: 1}
    assert world.state[INT8].source == 1


def test_a_variant_of_the_candidate_brings_the_base_and_the_other_twins(world):
    world.register(BASE)
    world.register(INT8, 1)
    world.register(INT4, 1)
    world.promote(INT8)
    assert world.champions == {BASE: 1, INT8: 1, INT4: 1}


@pytest.mark.parametrize("source", [1, None])
def test_a_variant_of_anything_else_is_refused(world, source):
    for _ in range(2):
        world.register(BASE)
        world.promote()
    world.register(INT8, source)
    with pytest.raises(SourceNotChampion, match="guardianflow") as refused:
        world.promote(INT8)
    assert refused.value.data["source_version"] == source


def test_a_rollback_moves_the_release_back_and_quarantines_what_it_removed(world):
    world.release()
    world.release()
    world.roll_back()
    assert world.aliases == {
        BASE: {"champion": 1, "candidate": 2},
        INT8: {"champion": 1, "candidate": 2},
    }
    for name in (BASE, INT8):
        assert is_quarantined(world.state, world.past, name, 2)
        assert not is_quarantined(world.state, world.past, name, 1)
        assert not is_quarantined(world.state, world.past, name, 3)
    with pytest.raises(VersionQuarantined, match="--force"):
        world.promote()
    with pytest.raises(InputError, match="reason"):
        world.promote(force=True)
    world.promote(force=True, reason="the camera was dirty")
    assert world.champions == {BASE: 2, INT8: 2}
    assert not is_quarantined(world.state, world.past, BASE, 2)


def test_a_quarantined_twin_stays_while_its_base_moves_on(world):
    world.release()
    world.release()
    world.roll_back(INT8)
    assert world.champions == {BASE: 1, INT8: 1}
    world.promote(BASE, 2, force=True, reason="the base was fine")
    world.roll_back(INT8, only=True, reason="slow")
    world.register(BASE)
    world.sources[INT8, 2] = 3
    world.promote(BASE)
    assert world.champions == {BASE: 3, INT8: 1}


def test_a_rollback_skips_states_with_a_quarantined_version(world):
    for _ in range(3):
        world.release()
    world.roll_back()
    world.release()
    assert world.champions == {BASE: 4, INT8: 4}
    world.roll_back()
    assert world.champions == {BASE: 2, INT8: 2}
    assert world.aliases[BASE]["rollback"] == 1


def test_a_rollback_goes_further_back_for_a_person_and_ends_where_nothing_is_known(world):
    for _ in range(3):
        world.release()
    world.roll_back()
    world.roll_back()
    assert world.champions == {BASE: 1, INT8: 1}
    with pytest.raises(NoRollbackTarget, match="second promotion"):
        world.roll_back()


def test_a_rollback_of_what_was_never_champion_is_refused(world):
    world.register(BASE)
    with pytest.raises(NoRollbackTarget, match="promote"):
        world.roll_back()


def test_a_rollback_never_empties_a_name_that_had_no_champion_then(world):
    world.register(BASE)
    world.promote()
    world.release()
    with pytest.raises(NoRollbackTarget, match="--only") as refused:
        world.roll_back()
    assert refused.value.data == {"name": BASE, "missing": [INT8]}
    assert "When version 1 of" in refused.value.message
    with pytest.raises(InputError, match="reason"):
        world.roll_back(only=True)
    decision = world.roll_back(only=True, reason="the base is worse")
    assert world.champions == {BASE: 1, INT8: 1}
    assert any("newer model" in warning for warning in decision.warnings)


def test_what_was_quarantined_and_forced_back_is_good_again_wherever_it_stands(world):
    world.register(BASE)
    world.promote()
    world.register(BASE)
    world.register(INT8, 2)
    world.promote()
    world.roll_back(only=True, reason="dark")
    world.register(INT8, 2)
    world.promote(BASE, 2, force=True, reason="the camera was dirty")
    assert world.champions == {BASE: 2, INT8: 2}
    # The state between, with version 1 of the base, is no way back any more.
    world.gone.add((BASE, 1))
    world.roll_back(INT8)
    assert world.champions == {BASE: 2, INT8: 1}


def test_an_automation_leaves_what_a_person_brought_back_even_where_no_way_leads_on(world):
    world.release()
    world.release()
    world.roll_back()
    with pytest.raises(RollbackHeld):
        world.roll_back(automatic=True)
    with pytest.raises(NoRollbackTarget):
        world.roll_back()


def test_a_refused_rollback_says_of_what(world):
    with pytest.raises(NoRollbackTarget) as refused:
        world.roll_back()
    assert refused.value.data == {"name": BASE}
    for _ in range(2):
        world.release()
    with pytest.raises(InputError) as unreasoned:
        world.roll_back(only=True, reason=" ")
    assert (
        str(unreasoned.value) == 'A rollback of one name alone needs a reason. Add --reason "why".'
    )
    assert unreasoned.value.data == {"name": BASE}
    world.roll_back(automatic=True)
    with pytest.raises(RollbackHeld) as held:
        world.roll_back(automatic=True)
    assert held.value.data == {"name": BASE, "version": 1}
    with pytest.raises(NoRollbackTarget) as ended:
        world.roll_back()
    assert ended.value.data == {"name": BASE, "champion": 1}


def test_a_rollback_keeps_a_newer_candidate_waiting(world):
    world.release()
    world.release()
    world.register(BASE)
    world.roll_back()
    assert world.aliases[BASE]["candidate"] == 3
    assert world.aliases[INT8]["candidate"] == 2


def test_an_automation_goes_back_once_and_leaves_the_rest_to_a_person(world):
    for _ in range(3):
        world.release()
    world.roll_back(automatic=True)
    with pytest.raises(RollbackHeld, match="person"):
        world.roll_back(automatic=True)
    assert world.champions == {BASE: 2, INT8: 2}
    version = world.register(BASE)
    world.register(INT8, version)
    world.promote(force=True, reason="looked at it")
    world.roll_back(automatic=True)
    assert world.champions == {BASE: 2, INT8: 2}


def rolled_back_by_an_automation(world, at="2026-11-23T10:00:00.000+00:00"):
    for _ in range(3):
        world.release()
    world.roll_back(automatic=True)
    world.records[-1] = replace(world.records[-1], time=at)
    world.register(BASE)


def test_an_automation_leaves_a_release_on_hold_alone_whichever_name_fails(world):
    for _ in range(2):
        world.release()
    world.register(BASE)
    world.promote()
    world.roll_back(automatic=True)
    assert world.champions == {BASE: 2, INT8: 2}
    # INT8 was never rolled back itself, but its way back takes the restored base along.
    with pytest.raises(RollbackHeld, match="on hold"):
        world.roll_back(INT8, automatic=True)
    a_day_later = replace(world.inputs, now=datetime(2030, 1, 1, tzinfo=UTC))
    world.records[-1] = replace(world.records[-1], time="2026-11-23T10:00:00+00:00")
    with pytest.raises(RollbackHeld, match=f"{BASE} version 2"):
        plan_rollback(a_day_later, world.past, INT8, automatic=True)
    assert world.roll_back(INT8).changed


def test_after_an_automatic_rollback_nothing_is_promoted_by_the_way(world):
    rolled_back_by_an_automation(world)
    with pytest.raises(ReleaseOnHold, match="--force") as refused:
        world.promote()
    assert refused.value.data["held_by"] == 4
    world.promote(force=True, reason="looked at it")
    world.register(BASE)
    assert world.promote().changed


@pytest.mark.parametrize(("hours", "held"), [(23.9, True), (24, False)])
def test_a_hold_ends_by_itself_after_a_day(world, hours, held):
    rolled_back_by_an_automation(world)
    now = datetime(2026, 11, 23, 10, tzinfo=UTC) + timedelta(hours=hours)
    assert bool(find_hold(world.past(), now)) is held


def test_a_promotion_a_day_after_an_automatic_rollback_needs_no_force(world):
    rolled_back_by_an_automation(world)
    for hour, held in ((9, True), (11, False)):
        now = datetime(2026, 11, 24, hour, tzinfo=UTC)
        inputs = replace(world.inputs, now=now)
        if held:
            with pytest.raises(ReleaseOnHold):
                plan_promotion(inputs, world.past, BASE)
        else:
            assert plan_promotion(inputs, world.past, BASE).changed


def test_a_persons_act_ends_a_hold_but_what_is_put_back_by_itself_does_not(world):
    rolled_back_by_an_automation(world)
    state = world.state
    mended = OperationRecord(
        5, OperationKind.REPAIR, BASE, state, state, Attribution("a", automatic=True), "c"
    )
    world.records.append(mended)
    assert find_hold(world.past(), None) is not None
    world.records.append(replace(mended, seq=6, by=Attribution("a")))
    assert find_hold(world.past(), None) is None
    world.records.pop()
    world.roll_back()
    assert find_hold(world.past(), None) is None


def test_what_installed_a_version_is_the_last_operation_that_made_it_champion(world):
    for _ in range(2):
        world.release()
    assert find_installation(world.past(), BASE, 1).seq == 1
    world.roll_back()
    assert find_installation(world.past(), BASE, 1).seq == 3
    assert find_installation(world.past(), INT8, 2).seq == 2
    assert find_installation(world.past(), INT4, 1) is None
    assert find_installation(world.past(), BASE, 3) is None


def test_the_moves_of_champion_are_by_name_from_which_version_to_which(world):
    world.release()
    version = world.register(BASE)
    world.register(INT8, version)
    decision = plan_promotion(world.inputs, world.past, BASE)
    assert champion_moves(decision.moves) == decision.moved() == {BASE: (1, 2), INT8: (1, 2)}
    emptied = Move(INT8, ModelAlias.CHAMPION, 1, None)
    assert champion_moves([emptied, Move(BASE, ModelAlias.CHAMPION, None, 1)]) == {BASE: (None, 1)}


def repaired(world, **changes):
    return plan_repair(replace(world.inputs, **changes), world.past)


def test_a_repair_moves_the_aliases_and_no_champion(world):
    for _ in range(2):
        world.release()
    assert not repaired(world).mends
    world.aliases[BASE]["champion"] = 1
    decision = repaired(world)
    assert (decision.kind, decision.name, decision.changed) == (OperationKind.REPAIR, BASE, False)
    assert decision.moves == (Move(BASE, ModelAlias.CHAMPION, 1, 2),)
    assert decision.mends == f"@champion of {BASE} is version 1, the ledger says 2"
    world.aliases[INT8].pop("rollback")
    assert repaired(world).mends.split("; ")[1] == (
        f"@rollback of {INT8} is version none, the ledger says 1"
    )
    world.apply(decision)
    assert find_drift(world.state, world.aliases) == ()


def test_a_repair_writes_a_mirror_that_was_edited(world):
    world.release()
    decision = repaired(world, mirrored=False)
    assert (decision.mends, decision.moves) == ("the tag guardianflow.head differed", ())
    world.aliases[BASE]["champion"] = 3
    assert "the tag" not in repaired(world, mirrored=False).mends


def test_a_repair_begins_nothing_that_cannot_end(world):
    with pytest.raises(AliasDrift, match=f"knows no operation of {BASE}"):
        repaired(world)
    for _ in range(2):
        world.release()
    world.aliases[INT8].pop("rollback")
    assert repaired(world, gone=frozenset({(INT8, 2)})).mends
    with pytest.raises(VersionNotReady, match="no version 1") as lost:
        repaired(world, gone=frozenset({(INT8, 1)}))
    assert lost.value.data == {"name": INT8, "version": 1}
    assert f"`guardianflow rollback {BASE} --reason" in lost.value.remedy
    world.aliases[INT4] = {"champion": 1}
    with pytest.raises(AliasDrift, match="knows no champion") as unknown:
        repaired(world)
    assert unknown.value.data == {"name": INT4, "version": 1}


def test_a_repair_takes_away_a_way_back_that_the_ledger_does_not_know(world):
    world.release()
    world.aliases[BASE]["rollback"] = 2
    decision = repaired(world)
    assert decision.moves == (Move(BASE, ModelAlias.ROLLBACK, 2, None),)
    assert decision.mends == f"@rollback of {BASE} is version 2, the ledger says none"


def rescued(world, *gone):
    inputs = replace(world.inputs, gone=frozenset(gone))
    return world.apply(rescue(inputs, world.past))


def test_a_lost_champion_whose_version_exists_is_put_back(world):
    world.release()
    del world.aliases[INT8]["champion"]
    assert unguarded(world.inputs, world.past) == (INT8,)
    decision = rescued(world)
    assert (decision.kind, decision.name, decision.changed) == (OperationKind.REPAIR, BASE, False)
    assert decision.moves == (Move(INT8, ModelAlias.CHAMPION, None, 1),)
    assert decision.mends == f"@champion of {INT8} is version none, the ledger says 1"
    nothing = rescued(world)
    assert (nothing.kind, nothing.name, nothing.mends) == (OperationKind.REPAIR, BASE, "")


def test_a_lost_champion_whose_version_is_gone_takes_the_release_back(world):
    for _ in range(3):
        world.release()
    del world.aliases[INT8]["champion"]
    decision = rescued(world, (INT8, 3))
    assert decision.name == INT8
    assert decision.mends == f"@champion of {INT8} is version none, the ledger says 3"
    assert world.champions == {BASE: 2, INT8: 2}
    assert world.state[INT8].rollback == 1


def test_a_rescue_never_leads_to_a_version_that_is_gone_or_quarantined(world):
    for _ in range(4):
        world.release()
    world.roll_back()
    del world.aliases[BASE]["champion"]
    rescued(world, (BASE, 3), (BASE, 2))
    assert world.champions == {BASE: 1, INT8: 1}
    assert world.state[BASE].rollback is None
    del world.aliases[BASE]["champion"]
    with pytest.raises(NoRollbackTarget, match="no earlier good") as refused:
        rescued(world, (BASE, 1), (BASE, 2))
    assert refused.value.data == {"name": BASE, "version": 1}


def test_where_no_release_state_is_left_the_name_goes_back_alone(world):
    world.register(BASE)
    world.promote()
    world.release()
    del world.aliases[BASE]["champion"]
    assert rescued(world, (BASE, 2)).name == BASE
    assert world.champions == {BASE: 1, INT8: 1}


def test_a_rescue_leads_to_no_state_with_a_quarantined_twin(world):
    for _ in range(3):
        world.release()
    for _ in range(2):
        world.roll_back(INT8, only=True, reason="slow")
    assert world.champions == {BASE: 3, INT8: 1}
    # So does the way back that people see; the name alone could go to 2.
    assert world.state[BASE].rollback == 1
    alone = plan_rollback(world.inputs, world.past, BASE, only=True, reason="dark")
    assert alone.moved() == {BASE: (3, 2)}
    assert alone.name == BASE
    del world.aliases[BASE]["champion"]
    rescued(world, (BASE, 3))
    assert world.champions == {BASE: 1, INT8: 1}


def test_a_name_that_goes_back_alone_goes_to_its_last_version_whatever_the_twin_was(world):
    world.register(BASE)
    world.promote()
    world.release()
    world.release()
    assert world.champions == {BASE: 3, INT8: 2}
    del world.aliases[BASE]["champion"]
    rescued(world, (BASE, 3), (INT8, 1))
    assert world.champions == {BASE: 2, INT8: 2}


def test_a_model_that_was_deleted_as_a_whole_is_drift_and_is_not_adopted(world):
    world.release()
    del world.aliases[INT8]
    found = find_drift(world.state, world.aliases)
    assert [(d.name, d.alias, d.expected, d.actual) for d in found] == [(INT8, "champion", 1, None)]
    assert unguarded(world.inputs, world.past) == (INT8,)
    with pytest.raises(AliasDrift, match="--keep ledger"):
        adopt(world.inputs, world.past)


def test_a_quarantined_version_that_came_back_by_hand_is_taken_out_again(world):
    for _ in range(3):
        world.release()
    world.roll_back()
    world.aliases[BASE]["champion"] = 1
    assert unguarded(world.inputs, world.past) == ()
    world.aliases[BASE]["champion"] = 3
    assert unguarded(world.inputs, world.past) == (BASE,)
    decision = rescued(world)
    assert (decision.kind, decision.changed) == (OperationKind.REPAIR, False)


def test_a_variant_whose_model_was_deleted_is_given_up_where_a_person_adopts(world):
    for _ in range(2):
        world.release()
    del world.aliases[INT8]
    inputs = replace(world.inputs, gone=frozenset({(INT8, 2)}))
    world.apply(adopt(inputs, world.past))
    assert world.champions == {BASE: 2}
    world.register(BASE)
    world.promote()
    assert world.champions == {BASE: 3}
    del world.aliases[BASE]
    with pytest.raises(AliasDrift, match="doctor"):
        adopt(replace(world.inputs, gone=frozenset({(BASE, 3)})), world.past)


def test_a_rollback_passes_over_states_with_a_deleted_version(world):
    for _ in range(3):
        world.release()
    inputs = replace(world.inputs, gone=frozenset({(INT8, 2)}))
    world.apply(plan_rollback(inputs, world.past, BASE))
    assert world.champions == {BASE: 1, INT8: 1}


def test_a_candidate_that_names_the_champion_counts_as_none(world):
    world.release()
    world.aliases[BASE]["candidate"] = 1
    with pytest.raises(NoCandidate):
        world.promote()
    world.register(INT8, 1)
    world.newest[BASE] = 2
    decision = world.promote(BASE, 2)
    assert not any(move.alias == "candidate" and move.name == BASE for move in decision.moves)
    assert "candidate" not in world.aliases[BASE]


def test_a_promotion_leaves_a_candidate_that_came_meanwhile(world):
    world.register(BASE)
    world.register(BASE)
    world.promote(BASE, 1)
    assert world.aliases[BASE] == {"champion": 1, "candidate": 2}


def test_the_expected_champion_is_compared(world):
    world.release()
    check_expected(world.state, BASE, 1)
    check_expected(world.state, INT4, None)
    for expected in (2, None):
        with pytest.raises(ChampionChanged) as refused:
            check_expected(world.state, BASE, expected)
        assert (refused.value.expected, refused.value.actual) == (expected, 1)
        assert BASE in refused.value.message


def test_drift_names_each_alias_that_is_not_what_it_was_made(world):
    world.release()
    world.release()
    assert find_drift(world.state, world.aliases) == ()
    world.aliases[BASE] = {"champion": 1, "rollback": 2}
    world.aliases[INT4] = {"champion": 5}
    found = [
        (d.name, d.alias, d.expected, d.actual) for d in find_drift(world.state, world.aliases)
    ]
    assert found == [
        (BASE, "champion", 2, 1),
        (BASE, "rollback", 1, 2),
        (INT4, "champion", None, 5),
    ]


def test_a_rollback_alias_that_names_the_champion_counts_as_none(world):
    world.release()
    world.aliases[BASE]["rollback"] = 1
    assert find_drift(world.state, world.aliases) == ()


def test_aliases_moved_by_hand_can_be_adopted_but_never_to_an_empty_production(world):
    world.release()
    world.release()
    world.aliases[BASE] = {"champion": 1, "rollback": 2}
    world.apply(adopt(world.inputs, world.past))
    assert find_drift(world.state, world.aliases) == ()
    assert world.state[BASE] == ProductionEntry(1, 2, 2, None)
    del world.aliases[INT8]["champion"]
    with pytest.raises(AliasDrift, match="--keep ledger"):
        adopt(world.inputs, world.past)


def test_what_cannot_be_adopted_says_which_version_it_was(world):
    world.release()
    del world.aliases[INT8]["champion"]
    with pytest.raises(AliasDrift, match="to version 1 again") as refused:
        adopt(world.inputs, world.past)
    assert refused.value.data == {"name": INT8}


def test_adopting_remembers_the_highest_version_that_was_ever_named(world):
    for _ in range(3):
        world.release()
    world.aliases[BASE] = {"champion": 1}
    decision = world.apply(adopt(world.inputs, world.past))
    assert decision.name == BASE
    assert world.state[BASE] == ProductionEntry(1, None, 3, None)
    world.roll_back(INT8, only=True, reason="slow")
    # What was rolled back before an adoption of older versions is quarantined still.
    world.aliases[INT8] = {"champion": 1}
    world.apply(adopt(world.inputs, world.past))
    assert world.state[INT8].newest == 3
    assert is_quarantined(world.state, world.past, INT8, 3)


def test_adopting_aliases_of_a_variant_alone_leaves_the_others_out(world):
    world.aliases = {BASE: {"candidate": 1}, INT8: {"champion": 2, "rollback": 4}}
    world.sources = {(INT8, 2): 1}
    world.apply(adopt(world.inputs, world.past))
    assert world.state == {INT8: ProductionEntry(2, 4, 4, 1)}


def test_a_rollback_alias_on_the_champion_is_adopted_as_none(world):
    world.aliases = {BASE: {"champion": 2, "rollback": 2}}
    world.apply(adopt(world.inputs, world.past))
    assert world.state == {BASE: ProductionEntry(2, None, 2, None)}


def test_a_rollback_knows_the_sources_of_what_was_in_production(world):
    world.release()
    world.release()
    # No server was asked: the ledger says it.
    decision = plan_rollback(replace(world.inputs, sources={}), world.past, BASE)
    assert decision.after[INT8] == ProductionEntry(1, None, 2, 1)


def test_what_was_taken_out_by_hand_is_no_way_back(world):
    for _ in range(2):
        world.register(BASE)
        world.promote()
    world.aliases[BASE] = {"champion": 1}
    world.apply(adopt(world.inputs, world.past))
    assert world.state[BASE].rollback is None
    for automatic in (False, True):
        with pytest.raises(NoRollbackTarget):
            world.roll_back(automatic=automatic)
    world.promote(version=2)
    assert (world.champions, world.state[BASE].rollback) == ({BASE: 2}, 1)


def test_a_rollback_goes_where_the_adopted_alias_says(world):
    for _ in range(3):
        world.release()
    world.aliases[BASE] = {"champion": 1, "rollback": 2}
    world.apply(adopt(world.inputs, world.past))
    world.roll_back()
    assert world.champions == {BASE: 2, INT8: 2}
    assert world.state[BASE].rollback is None


def test_an_adopted_way_back_says_from_what_it_was_made(world):
    world.release()
    world.register(INT8, 1)
    world.register(INT8, 1)
    world.aliases[INT8] = {"champion": 3, "rollback": 2}
    world.apply(adopt(world.inputs, world.past))
    unknown = plan_rollback(replace(world.inputs, sources={}), world.past, INT8)
    assert unknown.after[INT8].source is None
    decision = world.roll_back(INT8)
    assert world.state[INT8] == ProductionEntry(2, None, 3, 1)
    assert not any("older model" in warning for warning in decision.warnings)


def test_a_repair_takes_a_rollback_away_that_was_set_on_a_name_without_a_champion(world):
    world.release()
    wanted = projected(
        OperationKind.REPAIR, world.state, world.state, {BASE: 2, INT8: None, INT4: 1}
    )
    assert wanted[INT4] == Aliases(None, None, 1)
    assert wanted[BASE] == Aliases(1, None, 2)
    for kind in (OperationKind.PROMOTE, OperationKind.ROLLBACK, OperationKind.ADOPT):
        assert INT4 not in projected(kind, world.state, world.state, {INT4: 1})


def test_a_promotion_made_by_hand_keeps_its_way_back(world):
    world.register(BASE)
    world.promote()
    world.register(BASE)
    world.aliases[BASE] = {"champion": 2, "rollback": 1}
    world.apply(adopt(world.inputs, world.past))
    world.roll_back()
    assert world.champions == {BASE: 1}


def test_a_quarantined_version_is_never_adopted_as_the_way_back(world):
    for _ in range(3):
        world.register(BASE)
        world.promote()
    world.roll_back()
    world.aliases[BASE] = {"champion": 1, "rollback": 3}
    world.apply(adopt(world.inputs, world.past))
    assert world.aliases[BASE] == {"champion": 1}
    with pytest.raises(NoRollbackTarget):
        world.roll_back()


def test_aliases_from_before_the_ledger_are_adopted(world):
    world.aliases = {BASE: {"champion": 4, "rollback": 2}, INT8: {"candidate": 1}}
    world.apply(adopt(world.inputs, world.past))
    assert world.champions == {BASE: 4}
    assert world.state[BASE].newest == 4
    world.roll_back()
    assert world.champions == {BASE: 2}


@given(st.booleans(), st.booleans())
def test_projecting_again_after_any_part_was_written_gives_the_same(base_written, twin_written):
    world = World()
    for _ in range(3):
        world.release()
    world.register(BASE)
    decision = plan_rollback(world.inputs, world.past, BASE)
    candidates = {n: a.get("candidate") for n, a in world.aliases.items()}
    wanted = projected(OperationKind.ROLLBACK, decision.before, decision.after, candidates)
    half = dict(candidates)
    for name, written in ((BASE, base_written), (INT8, twin_written)):
        if written:
            half[name] = wanted[name].candidate
    assert projected(OperationKind.ROLLBACK, decision.before, decision.after, half) == wanted


@pytest.mark.parametrize("name", [BASE, INT8])
def test_every_run_in_a_remedy_can_be_typed(world, name):
    world.register(BASE)
    world.promote()
    with pytest.raises(NoCandidate) as refused:
        world.promote(name)
    assert "--version vN" in refused.value.remedy
    world.register(INT8)
    with pytest.raises(SourceNotChampion) as unknown:
        world.promote(INT8)
    assert "--version vN" in unknown.value.remedy


def test_a_plan_says_each_alias_that_moves(world):
    world.release()
    world.release()
    decision = plan_rollback(world.inputs, world.past, BASE)
    told = {(move.name, move.alias.value, move.before, move.after) for move in decision.moves}
    assert told == {
        (name, alias, before, after)
        for name in (BASE, INT8)
        for alias, before, after in (
            ("champion", 2, 1),
            ("rollback", 1, None),
            ("candidate", None, 2),
        )
    }


def test_all_that_is_quarantined_is_what_each_question_alone_says(world):
    for _ in range(4):
        world.release()
    world.roll_back()
    world.roll_back()
    world.promote(BASE, 4, force=True, reason="looked at it")
    expected = {
        (name, version)
        for name in (BASE, INT8)
        for version in range(1, 5)
        if is_quarantined(world.state, world.past, name, version)
    }
    assert all_quarantined(world.past()) == expected
    assert (BASE, 3) in expected
    assert (BASE, 4) not in expected
