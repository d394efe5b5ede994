"""The mirror says of the aliases what the rules say; whatever else stands in its tag is none."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from guardianflow.mlflow_store.registered_models import ModelSummary
from guardianflow.names import ModelName
from guardianflow.registry.ledger.head import LedgerHead
from guardianflow.registry.ledger.mirror import (
    HEAD_TAG,
    Mirror,
    MirrorStatus,
    compare_mirror,
    encode_mirror,
    read_mirror,
)
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
    find_drift,
)
from tests.unit.rotation_world import BASE, INT4, INT8

NAMES = (BASE, INT8, INT4)
VERSIONS = st.integers(1, 2)


@st.composite
def releases(draw):
    """What the ledger says, and aliases that differ from it in a few places or in none."""
    state, aliases = {}, {}
    for name in NAMES:
        if draw(st.booleans()):
            champion = draw(VERSIONS)
            rollback = draw(st.sampled_from([3 - champion, None]))
            state[name] = ProductionEntry(champion, rollback, champion)
            aliases[name] = {"champion": champion}
            if rollback is not None:
                aliases[name]["rollback"] = rollback
        elif draw(st.booleans()):
            aliases[name] = {}
    hands = st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["rollback", "champion", "candidate", None]),
        VERSIONS | st.none(),
    )
    for name, alias, version in draw(st.lists(hands, max_size=3)):
        if alias is None:
            aliases.pop(name, None)
        elif version is None:
            aliases.get(name, {}).pop(alias, None)
        else:
            aliases.setdefault(name, {})[alias] = version
    return state, aliases


def mirror_of(text):
    return read_mirror(ModelSummary(BASE, {}, tags={HEAD_TAG: text}))


@given(releases())
def test_the_mirror_agrees_where_the_rules_find_no_drift(release):
    state, aliases = release
    mirror = mirror_of(encode_mirror(ModelName.parse(BASE), 7, "d", state))
    models = {name: ModelSummary(name, present) for name, present in aliases.items()}
    assert mirror.agrees(models) == (not find_drift(state, aliases))


def record(seq):
    state = {BASE: ProductionEntry(3, 2, 3)}
    return OperationRecord(seq, OperationKind.PROMOTE, BASE, {}, state, Attribution(), "")


def test_a_mirror_is_compared_with_the_head_of_its_ledger():
    head = LedgerHead((record(7),), frozenset({7}), 0, "d")
    mirror = Mirror.of(head)
    assert mirror == mirror_of(encode_mirror(ModelName.parse(BASE), 7, "d", head.state))
    for changes, status in (
        ({}, MirrorStatus.CURRENT),
        ({"seq": 6}, MirrorStatus.BEHIND),
        ({"seq": 8, "digest": "e"}, MirrorStatus.AHEAD),
        ({"digest": "e"}, MirrorStatus.OTHER),
        ({"state": {BASE: (2, 2)}}, MirrorStatus.EDITED),
        ({"state": {BASE: (3, None)}}, MirrorStatus.EDITED),
    ):
        assert compare_mirror(replace(mirror, **changes), head) is status
    assert compare_mirror(None, head) is MirrorStatus.ABSENT
    empty = LedgerHead((), frozenset({0}), -1, "")
    assert compare_mirror(None, empty) is MirrorStatus.CURRENT
    assert compare_mirror(mirror, empty) is MirrorStatus.AHEAD


def test_a_way_back_moved_by_hand_onto_the_champion_is_no_agreement():
    state = {BASE: ProductionEntry(3, 2, 3)}
    mirror = mirror_of(encode_mirror(ModelName.parse(BASE), 7, "d", state))
    moved = {BASE: ModelSummary(BASE, {"champion": 3, "rollback": 3})}
    assert not mirror.agrees(moved)


def test_what_somebody_wrote_there_is_no_mirror_and_stops_nobody():
    for state in ("[]", '{"": 3}', '{"": [null, null]}', '{"": [Infinity, 1]}', '{"": ["x", 1]}'):
        assert mirror_of(f'{{"seq": 1, "digest": "d", "state": {state}}}') is None
    for text in ("", "7", "null", "[" * 5000, '{"seq": 1}', '{"seq": 1, "digest": "d"}'):
        assert mirror_of(text) is None
