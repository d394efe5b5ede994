"""A command whose answer was lost is given again: nobody wants it twice."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from guardianflow.cli.app import main
from guardianflow.cli.output import actor
from guardianflow.errors import RegistryUnavailable
from guardianflow.names import ModelName
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
)
from guardianflow.registry.rotation.repetition import REPEATED_WITHIN, may_repeat
from guardianflow.registry.rotation.request import RotationRequest

NAME = "a/b-c/d/e"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def plant(factory):
    """A base with three champions one after the other."""
    name = factory.name()
    for _ in range(3):
        factory.base(name)
        factory.registry.promote_to_champion(name)
    return name


@pytest.fixture
def cli(capsys, mlflow_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)

    def run(*words, expect=0):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--json"])
        assert ended.value.code == expect
        return json.loads(capsys.readouterr().out)

    return run


def test_a_rollback_whose_answer_was_lost_is_not_done_twice(registry, plant, cli):
    # Killed right after its last write, or finished by the reconcile flow: nothing is open.
    registry.rollback(plant, actor=actor(), reason="the answer to this one was lost")
    again = cli("rollback", plant, "--reason", "misses at night")
    assert again["changed"] is False
    assert "--expected-champion 2" in again["message"]
    assert registry.get_champion(plant).version == 2
    back = cli("rollback", plant, "--expected-champion", "2", "--reason", "further")
    assert back["after"] == {plant: 1}
    # The way ends here, but whoever repeats the last command is told that it was done.
    assert "operation 5" in cli("rollback", plant)["warnings"][0]
    assert len(registry.history(plant)) == 5


def test_a_token_that_finished_anothers_rollback_stands_for_it(registry, plant, monkeypatch):
    def cut(*_arguments):
        raise RegistryUnavailable("the connection is cut")

    with monkeypatch.context() as patch:
        patch.setattr("guardianflow.registry.rotation.projection.write_production", cut)
        with pytest.raises(RegistryUnavailable):
            registry.rollback(plant, token="first", reason="blind")
        # The second one dies as well, after it has said what it stands for.
        with pytest.raises(RegistryUnavailable):
            registry.rollback(plant, token="second", reason="blind")
    for token in ("second", "second", "first"):
        assert registry.rollback(plant, token=token, reason="blind").seq == 4
    assert len(registry.history(plant)) == 4


def test_somebody_elses_rollback_goes_further_back(registry, plant, cli):
    registry.rollback(plant, actor="the shift before", reason="blind")
    assert cli("rollback", plant, "--reason", "blind too")["after"] == {plant: 1}


def test_a_promotion_whose_answer_was_lost_is_said_to_be_done(registry, plant, factory):
    factory.base(plant)
    registry.promote_to_champion(plant, actor="kim")
    plan = registry.plan_promotion(plant, actor="kim")
    assert (plan.moves, plan.version) == ((), 4)
    assert "operation 4" in plan.warnings[0]
    factory.base(plant)
    assert registry.plan_promotion(plant, actor="kim").warnings == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"by": Attribution("lee")}, False),
        ({"kind": OperationKind.PROMOTE}, False),
        ({"name": ModelName.parse(f"{NAME}__openvino_int8")}, False),
        ({"expected_champion": 2}, True),
        ({"expected_champion": 1}, False),
    ],
)
def test_only_the_same_request_of_the_same_actor_is_a_repetition(change, expected):
    state = {NAME: ProductionEntry(2, 1, 2)}
    record = OperationRecord(
        4,
        OperationKind.ROLLBACK,
        NAME,
        state,
        {NAME: ProductionEntry(1, None, 2)},
        Attribution("kim", token="t"),
        NOW.isoformat(),
    )
    request = replace(
        RotationRequest(OperationKind.ROLLBACK, ModelName.parse(NAME), by=Attribution("kim")),
        **change,
    )
    assert may_repeat(record, request, NOW + timedelta(minutes=1)) is expected
    assert not may_repeat(record, request, NOW + REPEATED_WITHIN)
    assert not may_repeat(None, request, NOW)
