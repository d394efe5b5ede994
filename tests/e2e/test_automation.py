"""Servers, workers, deployments and the automation as `make up` starts them, with real kills."""

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from deployments import local
from guardianflow.health.box_reports import BoxReport, post_report
from guardianflow.machine.servers import Keys
from guardianflow.prefect_api.prefect_yaml import described
from tests.e2e.plant import Plant, until

pytestmark = pytest.mark.long


def test_the_life_of_a_release(plant):
    """A question outlives kill -9 of the workers and the servers; failing health rolls back."""
    waiting = plant.release("v1")
    for part in (*(f"worker {pool}" for pool in described().pools), "prefect", "mlflow"):
        plant.kill(part)
    # Half a state on purpose: the next start mends it, at the same addresses.
    local.start(plant.state_dir)
    assert plant.asked(plant.name) == waiting
    assert plant.champion() is None
    plant.approve(waiting)
    good = plant.champion()
    assert good == waiting.version

    plant.approve(plant.release("v2"))
    bad = plant.champion()
    assert bad != good
    variant = f"{plant.name}__openvino_int8"
    bad_variant = plant.champion(variant)

    # An edge box says that it sees nothing: the next pass judges that, an automation acts on it.
    now = datetime.now(UTC)
    report = BoxReport(
        model=variant,
        version=bad_variant,
        camera="box-7",
        begin=now - timedelta(minutes=5),
        end=now,
        frames=600,
        metrics={"detections_per_frame": 0.0},
    )
    post_report(plant.registry.client, report)
    started = time.monotonic()
    until(lambda: plant.champion() == good)
    print(f"report of a box -> aliases back: {time.monotonic() - started:.1f} s")
    assert plant.champion(variant) != bad_variant
    history = plant.registry.history(plant.name)
    assert [op.kind for op in history] == ["promote", "promote", "rollback"]
    assert history[-1].actor == "automation"

    # The same request again, late, and one with a report that somebody made up: nothing moves.
    # Submitted, since the automation takes two events of a model within 30 s for one.
    report = history[-1].reason.rpartition("report ")[2].rstrip(")")
    again = {"model_name": variant, "failing_version": bad_variant, "report": report}
    assert plant.run("rollback", **again).state == "NothingToDo"
    made_up = {"model_name": plant.name, "failing_version": good, "report": "0" * 32}
    started = plant.orchestrator.submit("rollback/guardianflow", made_up)
    assert plant.orchestrator.follow(started.id, lambda _: None).state == "Failed"
    assert plant.champion() == good
    assert len(plant.registry.history(plant.name)) == 3


def test_a_shell_is_told_the_addresses(plant, capsys):
    assert local.main(["env"]) == 0
    lines, keys = capsys.readouterr().out.splitlines(), Keys.read(plant.state_dir)
    assert lines == [
        f"export MLFLOW_TRACKING_URI={local.State.read(plant.state_dir).mlflow}",
        f"export PREFECT_API_URL={plant.orchestrator.api_url}",
        "export MLFLOW_TRACKING_USERNAME=guardianflow",
        f"export MLFLOW_TRACKING_PASSWORD={keys.mlflow}",
        f"export PREFECT_API_AUTH_STRING=guardianflow:{keys.prefect}",
    ]


def test_starting_what_runs_changes_nothing(plant):
    before = local.State.read(plant.state_dir)
    local.start(plant.state_dir)
    assert local.State.read(plant.state_dir) == before


def test_a_training_whose_worker_was_killed_gives_its_slot_back(plant):
    started = plant.orchestrator.submit(
        "train/guardianflow", {"scenario": "donghwa-entec-ppe", "version": "v1"}
    )
    until(lambda: plant.orchestrator.read(started.id).state == "Running")
    # The other pool's worker lives on: what it executes is nobody's orphan.
    plant.kill("worker guardianflow-train")
    local.start(plant.state_dir)
    assert plant.orchestrator.read(started.id).state == "Crashed"
    plant.run("train", scenario=plant.spec.name, version="v1")


def test_a_lifecycle_whose_worker_was_killed_does_not_train_again(embedded):
    home, servers = embedded
    plant = Plant(home / "up", servers, f"e{uuid.uuid4().hex[:8]}")
    parameters = {"scenario": plant.spec.name, "version": "v1"}
    started = plant.orchestrator.submit("lifecycle/guardianflow", parameters)
    until(lambda: plant.name in {model.name for model in plant.registry.list_models()})
    plant.kill("worker guardianflow-train")
    local.start(plant.state_dir)
    assert plant.orchestrator.read(started.id).state == "Crashed"
    waiting = plant.release("v1")
    assert [version.version for version in plant.registry.list_versions(plant.name)] == [1]
    assert waiting.version == 1
    client = plant.registry.client
    experiment = client.get_experiment_by_name(plant.name)
    trained = client.search_runs([experiment.experiment_id], "tags.`guardianflow.kind` = 'train'")
    assert len(trained) == 1
    plant.orchestrator.answer(waiting.flow_run_id, "reject", "Lee", "the test is over")
