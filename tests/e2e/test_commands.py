"""The command line on real servers: the mission's own lines, and every answer to a question."""

import os
import sys

import pytest
import yaml

from testbed.commands import run_command
from testbed.tiny import tiny_spec
from tests.e2e.plant import until

NAME = "donghwa-entec/busan-plant1/welding/ppe"
VARIANT = f"{NAME}__openvino_int8"


@pytest.fixture(scope="module")
def cli(embedded, tmp_path_factory):
    """Runs a command in a process of its own, as in a new terminal after `make up`."""
    home, _ = embedded
    scenarios = tmp_path_factory.mktemp("scenarios")
    # The mission's scenario by name, with data and training small enough for a test.
    tiny = tiny_spec("plant1")
    place = {"customer": "donghwa-entec", "region": "busan", "zone": "welding"}
    versions = {**tiny.versions, "v3": {"training": {"seed": 3}}}
    content = {**tiny.common, **place, "versions": versions}
    (scenarios / "donghwa-entec-ppe.yaml").write_text(yaml.safe_dump(content))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_"))}
    environment = {
        **clean,
        "GUARDIANFLOW_HOME": str(home),
        "GUARDIANFLOW_SCENARIOS": str(scenarios),
    }

    def run(*words, expect=0):
        return run_command(sys.executable, words, environment, expect=expect)

    return run


def champions(cli):
    return {m["name"]: m["aliases"].get("champion") for m in cli("models")}


def test_the_missions_lines_work_in_their_order(cli):
    first = cli("run", "donghwa-entec-ppe", "--type", "train", "--version", "v3")
    assert (first["model_name"], first["version"]) == (NAME, 1)
    assert cli("promote", NAME)["changed"]
    refused = cli("rollback", NAME, expect=3)["error"]
    assert refused["type"] == "NoRollbackTarget"
    assert "promote" in refused["remedy"]
    assert champions(cli)[NAME] == 1
    quantized = cli("run", "donghwa-entec-ppe", "--type", "quant", "--version", "v3")
    assert (quantized["model_name"], quantized["source_version"]) == (VARIANT, 1)

    # A variant that comes later joins the release by itself.
    assert cli("promote", VARIANT)["changed"]
    # After a second promotion there is a way back, and the twin comes along.
    cli("run", "donghwa-entec-ppe", "--type", "train", "--version", "v2")
    cli("run", "donghwa-entec-ppe", "--type", "quant", "--version", "v2")
    assert cli("promote", NAME, "--dry-run")["changed"] is False
    assert champions(cli)[NAME] == 1
    assert cli("promote", NAME)["changed"]
    assert (champions(cli)[NAME], champions(cli)[VARIANT]) == (2, 2)
    back = cli("rollback", NAME, "--reason", "misses at night")
    assert back["reason"] == "misses at night"
    assert (champions(cli)[NAME], champions(cli)[VARIANT]) == (1, 1)
    kinds = [operation["kind"] for operation in cli("history", NAME)]
    assert kinds == ["promote", "promote", "promote", "rollback"]
    # What was rolled back stays out until somebody insists, with a reason.
    quarantined = cli("promote", NAME, "--model-version", "2", expect=3)["error"]
    assert quarantined["type"] == "VersionQuarantined"
    forced = ("--model-version", "2", "--force", "--reason", "night shift ended")
    assert cli("promote", NAME, *forced)["changed"]


def test_training_again_says_that_there_is_nothing_to_do(cli):
    again = cli("run", "donghwa-entec-ppe", "--type", "train", "--version", "v3")
    assert again["reused"]


@pytest.mark.long
def test_a_question_is_asked_rejected_asked_again_and_approved(cli, plant):
    # Training on a worker, by the block of the server.
    done = cli("run", plant.spec.name, "--type", "train", "--version", "v1", "--submit")
    assert done["state"] == "Completed"
    assert plant.name not in {waiting["model"] for waiting in cli("status")["waiting"]}
    early = ("approve", plant.name, "--approver", "Kim", "--reason", "fine")
    assert cli(*early, expect=3)["error"]["type"] == "NothingWaiting"

    asked = cli("promote", plant.name, "--request", "--reason", "first")
    until(lambda: plant.asked(plant.name))
    assert asked["id"] in {waiting["id"] for waiting in cli("pending")}
    # Asked again while it waits, it is the same question.
    assert cli("promote", plant.name, "--request", "--reason", "in a hurry")["id"] == asked["id"]
    cli("reject", plant.name, "--approver", "Kim Minji", "--reason", "masks are missed")
    assert plant.orchestrator.follow(asked["id"], lambda _: None).state == "Rejected"
    version = cli("models", plant.name)[0]
    assert "champion" not in version["aliases"]
    assert version["tags"]["guardianflow.status"] == "rejected"

    again = cli("promote", plant.name, "--request", "--reason", "looked again")
    until(lambda: plant.asked(plant.name))
    cli("approve", again["id"], "--approver", "Kim Minji", "--reason", "saw the pictures")
    assert plant.orchestrator.follow(again["id"], lambda _: None).state == "Promoted"
    assert cli("models", plant.name)[0]["aliases"] == ["champion"]
    assert cli("history", plant.name)[0]["actor"] == "Kim Minji (declared)"


def test_a_scenario_that_the_server_does_not_know_is_refused(cli):
    words = ("run", "no-such-scenario", "--type", "train", "--version", "v1", "--submit")
    assert cli(*words, expect=2)["error"]["type"] == "ScenarioInvalid"
