"""A short chaos run on both databases: what `make chaos` does for minutes, with a fixed seed."""

import pytest

from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger import write_once
from tests.chaos.run import FORK, Plan, run

pytestmark = pytest.mark.forks


@pytest.mark.long
@pytest.mark.parametrize(
    "plan",
    [
        Plan("sqlite", operations=40, kills=12, restarts=1, minutes=6, seed=4),
        Plan("postgres", operations=15, kills=5, restarts=1, minutes=4, seed=4, releases=1),
        pytest.param(
            Plan("sqlite", operations=30, kills=10, restarts=1, minutes=5, seed=4, hands=True),
            marks=pytest.mark.chaos,
        ),
    ],
    ids=["sqlite", "postgres", "hands"],
)
def test_a_history_made_under_fire_is_serial_and_legal(plan, tmp_path):
    report = run(plan, tmp_path)
    assert report.defects == []
    assert [str(violation) for violation in report.violations] == []
    # How much happens in the time is the machine's business; that something did is the test's.
    assert report.operations >= plan.operations // 3, report.to_json()
    assert report.kills >= plan.kills // 3
    assert report.restarts >= 1
    assert report.counts["looks at a champion"] > plan.operations // 3


def test_several_that_try_out_a_server_at_once_do_not_hinder_each_other(
    factory, mlflow_server, monkeypatch
):
    client = factory.registry.client
    experiments = [client.create_experiment(factory.name()) for _ in range(12)]
    # The trial itself takes a second; here all write down at the same moment how it came out.
    monkeypatch.setattr(write_once, "_try_out", lambda client, experiment: "")
    barrier = FORK.Barrier(4)

    def work():
        mine = ModelRegistryManager(mlflow_server).client
        for experiment in experiments:
            barrier.wait(60)
            write_once.require_write_once(mine, experiment, {})

    children = [FORK.Process(target=work) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
