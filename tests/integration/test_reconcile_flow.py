"""The flow `reconcile` on a real Prefect API: an alarm once, its end once, one page, one line."""

import time

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client

from flows.reconcile import PAGE, reconcile
from guardianflow.prefect_api.control import Orchestrator
from tests.integration.releases import registered

DEADLINE_S = 60


@pytest.fixture
def single(releases):
    return releases.release()


def run(name):
    return reconcile(name, return_state=True)


def events(name, kind):
    """The events of a kind about a model; they reach the list a moment after they are sent."""
    about = f"guardianflow.model.{registered(name)}" if name else "guardianflow.server"
    wanted = {
        "event": {"name": [f"guardianflow.model.{kind}"]},
        "resource": {"id": [about]},
    }
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json={"filter": wanted}).json()
    return answer["events"]


def until(look):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came in time")


def test_an_alias_moved_by_hand_is_told_once_and_once_more_when_it_is_mended(releases, single):
    assert run(single).name == "AllWell"
    releases.client.set_registered_model_alias(registered(single), "champion", "1")
    state = run(single)
    assert (state.name, state.type) == ("Alarm", "COMPLETED")
    assert f"@champion of {single} was moved by hand to version 1" in state.message
    page = Artifact.get(PAGE)
    assert f"guardianflow repair {single} --keep ledger" in page.data
    assert run(single).name == "Alarm"
    assert Artifact.get(PAGE).id == page.id

    releases.registry.repair(single, "ledger", reason="a slip")
    assert run(single).name == "AllWell"
    (settled,) = until(lambda: events(single, "settled"))
    (alarm,) = events(single, "alarm")
    assert alarm["payload"]["version"] == 1
    assert "guardianflow repair" in alarm["payload"]["message"]
    assert settled["payload"]["version"] == 2
    assert "All is well" in Artifact.get(PAGE).data


def test_what_was_interrupted_is_finished_and_said(prefect_server, releases, single):
    version = releases.interrupt(single)
    state = run(single)
    assert state.name == "Mended"
    assert "was interrupted and is finished now" in state.message
    assert releases.registry.get_champion(single).version == version
    # It was no pass over all releases.
    last = Orchestrator(prefect_server).last_ended("reconcile")
    assert last is None or last.message != state.message


def test_a_champion_that_was_deleted_is_told_as_the_rollback_that_it_makes(releases, single):
    releases.client.delete_model_version(registered(single), "2")
    assert run(single).name == "Mended"
    (event,) = until(lambda: events(single, "rolled-back"))
    assert event["payload"]["version"] == 1
    (alarm,) = until(lambda: events(single, "alarm"))
    assert alarm["payload"]["incident"] == event["payload"]["incident"] == "operation-3"


def test_a_rescue_is_told_with_all_that_it_moved(releases, single):
    releases.client.set_registered_model_alias(registered(single), "rollback", "2")
    releases.client.delete_registered_model_alias(registered(single), "champion")
    assert run(single).name == "Mended"
    (alarm,) = until(lambda: events(single, "alarm"))
    said = alarm["payload"]["message"]
    assert f"@champion of {single} from none to 2" in said
    assert f"@rollback of {single} from 2 to 1" in said
    assert alarm["payload"]["version"] == 2
    assert not events(single, "rolled-back")


def test_a_renamed_ledger_is_told_once_and_of_the_server(releases, single):
    where = releases.client.get_experiment_by_name("guardianflow.ledger").experiment_id
    releases.client.rename_experiment(where, "old stuff")
    for _ in range(2):
        state = run(single)
        assert state.name == "Alarm"
    assert "the MLflow server" in Artifact.get(PAGE).data
    releases.client.rename_experiment(where, "guardianflow.ledger")
    assert run(single).name == "AllWell"
    (settled,) = until(lambda: events("", "settled"))
    (alarm,) = events("", "alarm")
    assert (alarm["payload"]["model"], alarm["payload"]["version"]) == ("", None)
    assert "mlflow experiments rename" in alarm["payload"]["message"]
    assert settled["payload"]["message"] == "What was reported about the MLflow server is over."
    assert not events(single, "alarm")
