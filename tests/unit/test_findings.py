"""What a person should know about a release, and whether the remedy leads anywhere."""

from datetime import UTC, datetime

import pytest

from guardianflow.care.findings import Code, of_state
from tests.unit.rotation_world import BASE, World

NOW = datetime(2030, 6, 1, tzinfo=UTC)


def remedy(world, **known):
    past = tuple(world.past())
    findings = of_state(BASE, world.state, past, NOW, **known)
    return next(f.remedy for f in findings if f.code is Code.NO_WAY_BACK)


@pytest.fixture
def world():
    made = World()
    made.register(BASE)
    made.promote()
    return made


def candidates(world):
    return world.situation.candidates


def test_what_waits_makes_the_way_back(world):
    world.register(BASE)
    assert remedy(world, candidates=candidates(world)).endswith(f"`guardianflow promote {BASE}`")
    assert "--type train" not in remedy(world, candidates=candidates(world))


def test_an_open_question_is_answered_before_anything_else_is_asked(world):
    world.register(BASE)
    said = remedy(world, candidates=candidates(world), asked={BASE: 2})
    assert "people are asked about version 2" in said
    assert "promote" not in said


def test_where_nothing_waits_something_is_made_first(world):
    said = remedy(world, candidates=candidates(world))
    assert said.index("--type train") < said.index(f"promote {BASE}")


def test_a_quarantined_candidate_is_not_promoted(world):
    world.register(BASE)
    world.promote()
    world.roll_back()
    assert candidates(world) == {BASE: 2}
    said = remedy(world, candidates=candidates(world))
    assert "version 2, was rolled back" in said
    assert said.index("--type train") < said.index(f"promote {BASE}")
