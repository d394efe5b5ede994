"""Health events that come twice, late, in any order and from several processes: one rollback.

The reports are real records in MLflow. What they say is written here: nobody measures windows for
this.
"""

import random
import uuid
from collections import Counter
from datetime import timedelta

import pytest

from guardianflow.errors import ArtifactMissing, InputError, Refused, RollbackHeld
from guardianflow.health.reaction import CLOCK_SKEW, MAX_AGE, roll_back_failing
from guardianflow.health.verdict import Verdict
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from testbed.reports import keep_report
from tests.integration.faults import (
    FORK,
    VARIANTS,
    Again,
    Death,
    Phase,
    Plant,
    Promote,
    Reader,
    RollBack,
)

pytestmark = pytest.mark.forks
EVENTS = 950
LATER_EVENTS = 50
SENDERS = 4
DEADLINE_S = 300


class Incidents:
    """A release of two names whose version 3 is champion, and reports about it."""

    def __init__(self, factory, server):
        self.plant = Plant(factory, server, VARIANTS[:1]).started()
        self.registry = factory.registry
        self.base, self.twin = self.plant.names
        self.plant.writes_of(Promote())

    def report(self, name, version, verdict=Verdict.FAILING, **said) -> str:
        return keep_report(self.registry.client, name, version, verdict, **said)

    def rollbacks(self) -> list[int]:
        return [op.seq for op in self.registry.history(self.base) if op.kind == "rollback"]


@pytest.fixture
def incidents(factory, mlflow_server):
    return Incidents(factory, mlflow_server)


def send(server, events, answers):
    """Deliver events as an automation does; say what came of each."""
    registry = ModelRegistryManager(server)
    said = Counter()
    for event in events:
        try:
            name, version, report = event
            reaction = roll_back_failing(registry, ModelName.parse(name), version, report)
            said["nothing" if reaction.operation is None else reaction.operation.seq] += 1
        except (ArtifactMissing, Refused) as error:
            said[type(error).__name__] += 1
    answers.put(said)


def deliver(server, events):
    """Deliver events from several processes at once, each its share."""
    answers = FORK.Queue()
    shares = [events[number::SENDERS] for number in range(SENDERS)]
    senders = [FORK.Process(target=send, args=(server, share, answers)) for share in shares]
    for sender in senders:
        sender.start()
    said = sum((answers.get(timeout=DEADLINE_S) for _ in senders), Counter())
    for sender in senders:
        sender.join(DEADLINE_S)
    assert said.total() == len(events)
    return said


@pytest.mark.long
def test_a_thousand_events_roll_back_once(incidents: Incidents, mlflow_server):
    plant, base, twin = incidents.plant, incidents.base, incidents.twin
    # Version 3 failed, was mended, and a person promoted it again.
    former = incidents.report(base, 3)
    plant.writes_of(RollBack())
    early = incidents.report(base, 2)
    plant.writes_of(Promote())
    before = incidents.rollbacks()
    failing = [incidents.report(name, 3) for name in (base, base, twin)]
    healthy = incidents.report(base, 3, Verdict.HEALTHY)
    events = [
        *((base, 3, failing[0]), (base, 3, failing[1]), (twin, 3, failing[2])),
        *((base, 3, former), (base, 2, early), (base, 3, healthy)),
        # Invented: no such report, about another name, about another version.
        *((base, 3, uuid.uuid4().hex), (twin, 3, failing[0]), (base, 2, failing[0])),
    ]
    dice = random.Random(4)
    with Reader(mlflow_server, plant.names) as reader:
        said = deliver(mlflow_server, dice.choices(events, k=EVENTS))
        assert len(incidents.rollbacks()) == len(before) + 1
        made = incidents.rollbacks()[-1]
        assert set(said) == {"nothing", "ArtifactMissing", "Refused", made}
        plant.has_seen(RollBack())
        # What was restored fails too: that is an alarm, and moves nothing.
        again = incidents.report(base, 2)
        events += [(base, 2, again)]
        said = deliver(mlflow_server, [(base, 2, again), *dice.choices(events, k=LATER_EVENTS - 1)])
        assert said["RollbackHeld"] >= 1
        assert {seq for seq in said if isinstance(seq, int)} <= {made}
        plant.check()
    reader.confirm(EVENTS // 10)


def test_an_old_report_and_one_of_the_future_move_nothing(incidents: Incidents):
    registry, base = incidents.registry, incidents.base
    report = incidents.report(base, 3)
    reaction = roll_back_failing(registry, ModelName.parse(base), 3, report, max_age=timedelta(0))
    assert reaction.operation is None
    assert "is older than 0:00:00: nothing to roll back" in reaction.message
    future = incidents.report(base, 3, age=-2 * CLOCK_SKEW)
    with pytest.raises(Refused, match="of the future"):
        roll_back_failing(registry, ModelName.parse(base), 3, future)
    incidents.plant.check()
    # A clock that is a little ahead is no reason to leave a failing champion.
    ahead = incidents.report(base, 3, age=-CLOCK_SKEW / 2)
    assert roll_back_failing(registry, ModelName.parse(base), 3, ahead).operation is not None
    # Once done, it was done: also for the attempt that comes after the cut-off.
    late = roll_back_failing(registry, ModelName.parse(base), 3, ahead, max_age=timedelta(0))
    assert late.operation is not None
    assert "was done before" in late.message
    incidents.plant.has_seen(RollBack())
    assert timedelta(minutes=10) < MAX_AGE <= timedelta(hours=1)


def test_a_restored_version_that_fails_is_left_to_a_person(incidents: Incidents):
    registry, base = incidents.registry, incidents.base
    assert (
        roll_back_failing(registry, ModelName.parse(base), 3, incidents.report(base, 3)).operation
        is not None
    )
    incidents.plant.has_seen(RollBack())
    for _ in range(2):
        with pytest.raises(RollbackHeld):
            roll_back_failing(registry, ModelName.parse(base), 2, incidents.report(base, 2))
    incidents.plant.check()


def test_what_a_killed_rollback_began_its_next_event_finishes(incidents: Incidents):
    plant, base = incidents.plant, incidents.base
    report = incidents.report(base, 3)

    class Automation(RollBack):
        def run(self, registry, plant, token):
            # The second time as late as it may be: what is decided is finished all the same.
            return roll_back_failing(
                registry, ModelName.parse(base), 3, report, max_age=self.max_age
            )

    command = Automation()
    command.max_age = MAX_AGE
    assert plant.dies(command, "", Death(2, Phase.AFTER, Again.WITH_TOKEN))
    plant.look()
    command.max_age = timedelta(0)
    assert command.run(incidents.registry, plant, "").operation is not None
    plant.has_seen(command)


def test_an_automation_has_to_say_which_champion_failed(incidents: Incidents):
    with pytest.raises(InputError, match="which champion failed"):
        incidents.registry.rollback(incidents.base, automatic=True, reason="a test")
    incidents.plant.check()
