"""What a person should know about a release, and whether the remedy leads anywhere."""

from datetime import UTC, datetime

import pytest

from guardianflow.monitoring.caveats import quarantined_candidate, release_caveats
from guardianflow.monitoring.findings import FindingCode
from guardianflow.names import ModelName
from tests.unit.rotation_world import BASE, INT8, World

NOW = datetime(2030, 6, 1, tzinfo=UTC)


def remedy(world, **known):
    past = tuple(world.past())
    findings = release_caveats(ModelName.parse(BASE), world.state, past, NOW, **known)
    return next(f.remedy for f in findings if f.code is FindingCode.NO_WAY_BACK)


@pytest.fixture
def world():
    made = World()
    made.register(BASE)
    made.promote()
    return made


def candidates(world):
    return world.inputs.candidates


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


def test_a_floor_that_runs_another_model_is_told_how_its_twin_follows(world):
    world.register(INT8, 1)
    world.promote(INT8)
    world.release()
    world.promote(BASE, 1)
    past = tuple(world.past())

    def floor(**known):
        findings = release_caveats(ModelName.parse(BASE), world.state, past, NOW, **known)
        return next(f for f in findings if f.code is FindingCode.FLOOR_RUNS_OLDER)

    assert floor().message.startswith("The floor runs a newer model")
    assert "--type quant" in floor().remedy
    assert floor(twins={INT8: 1}).remedy == f"`guardianflow promote {INT8} --model-version 1`"
    assert "people are asked about version 2 of it" in floor(asked={INT8: 2}).remedy.lower()
    assert "promote" not in floor(twins={INT8: 1}, asked={INT8: 2}).remedy


def test_a_candidate_in_quarantine_is_made_better_as_what_it_is():
    assert "--type train" in quarantined_candidate(BASE, 2).remedy
    assert "--type quant" in quarantined_candidate(INT8, 2).remedy
    assert "--force" in quarantined_candidate(BASE, 2, asked=3).remedy
    assert quarantined_candidate(BASE, 2, asked=2).remedy.startswith("People are asked about it: ")
