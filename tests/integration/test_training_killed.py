"""Trainings that are killed at any write to MLflow, and begun again here or on another machine."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import uuid

import faster_coco_eval  # noqa: F401 - these here, not again in every forked process
import matplotlib.figure  # noqa: F401
import mlflow.pyfunc  # noqa: F401
import openvino  # noqa: F401
import pytest
from mlflow import MlflowClient

from guardianflow.lifecycle.training import TrainingRunner, continuation
from guardianflow.registry import ModelRegistryManager
from guardianflow.vision.network.optimization import MuonAdamW
from testbed.tiny import tiny_spec
from tests.integration.faults import Death, Phase, recorded_writes

# The parent never runs a backward pass: torch forbids one in a process forked after it.
pytestmark = pytest.mark.forks

FORK = multiprocessing.get_context("fork")
EPOCHS = 3
STEPS = 2
DEADLINE_S = 120


class Site:
    """A model of its own on the server, and the processes that train it."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        spec = tiny_spec(f"k{uuid.uuid4().hex[:8]}")
        scenario = spec.version("v1")
        longer = scenario.training.model_copy(update={"epochs": EPOCHS, "device": "cpu"})
        self.scenario = scenario.model_copy(update={"training": longer})
        self.client = MlflowClient(server)

    def start(self, disturb=lambda: None, home="home"):
        """Train in a process of its own, which keeps its checkpoint in MLflow after each epoch."""
        answer = self.folder / f"{uuid.uuid4().hex}.json"

        def work():
            os.environ["GUARDIANFLOW_HOME"] = str(self.folder / home)
            continuation._EVERY_S = continuation._PAUSE_PER_COST = 0.0
            disturb()
            remarks = []
            with recorded_writes() as writes:
                trained = TrainingRunner(
                    self.scenario,
                    ModelRegistryManager(self.server),
                    on_progress=lambda p: remarks.append(p.remark),
                ).run()
            facts = {"run_id": trained.run_id, "version": trained.version, "writes": writes}
            facts |= {"reused": trained.reused, "resumed_at": trained.resumed_at}
            answer.write_text(json.dumps({**facts, "remarks": sorted({*remarks} - {""})}))

        process = FORK.Process(target=work)
        process.start()
        return process, answer

    def train(self, disturb=lambda: None, home="home"):
        """What the process said, or None if it was killed."""
        process, answer = self.start(disturb, home)
        process.join(DEADLINE_S)
        if not answer.exists():
            assert process.exitcode == -signal.SIGKILL
            return None
        return json.loads(answer.read_text())

    def made(self, said):
        """What came out, in a form that two trainings can be compared by."""
        registry = ModelRegistryManager(self.server)
        version = registry.get_version(self.scenario.model_name, said["version"])
        run = self.client.get_run(said["run_id"])
        keys = ["train.loss", "train.learning_rate", "val.map50"]
        curves = {
            key: [(m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, key)]
            for key in keys
        }
        assert [step for step, _ in curves["train.loss"]] == list(range(1, EPOCHS + 1))
        return {
            "weights": version.tags["guardianflow.sha256.artifacts/weights/best.pt"],
            "best_epoch": run.data.params["best_epoch"],
            "curves": curves,
        }

    def runs(self):
        """The runs of all attempts, the oldest first."""
        name = self.scenario.model_name.public
        experiment = self.client.get_experiment_by_name(name)
        return self.client.search_runs(
            [experiment.experiment_id], order_by=["attributes.start_time ASC"]
        )

    def assert_tidy(self, said):
        """Nothing is left running, and no checkpoint is left anywhere."""
        for run in self.runs():
            finished = run.info.run_id == said["run_id"]
            assert run.info.status == ("FINISHED" if finished else "KILLED")
            assert continuation.CHECKPOINT_TAG not in run.data.tags
            assert not self.client.list_artifacts(run.info.run_id, "checkpoint")
        assert not [path for path in self.folder.glob("*/training/*") if path.is_dir()]


@pytest.fixture(scope="module")
def undisturbed(mlflow_server, tmp_path_factory):
    """What a training that nobody kills makes, and the writes that it takes."""
    site = Site(mlflow_server, tmp_path_factory.mktemp("undisturbed"))
    said = site.train()
    site.assert_tidy(said)
    return site.made(said), said["writes"]


@pytest.fixture
def site(mlflow_server, tmp_path):
    return Site(mlflow_server, tmp_path)


def in_step(number):
    """Die in a step of the optimizer."""

    def disturb():
        original, calls = MuonAdamW.step, []

        def step(*args, **kwargs):
            calls.append(None)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        MuonAdamW.step = step

    return disturb


def find(writes, *words):
    """The number of the first write that has all these words, counted from 1."""
    found = (n for n, write in enumerate(writes, 1) if all(word in write for word in words))
    return next(found)


MOMENTS = {
    "the second checkpoint is sent, but not named": ("PUT", "checkpoint/epoch-000002"),
    "the model is being written": ("PUT", "artifacts/ir/"),
    "the run is FINISHED, its checkpoint not removed": ("runs/update",),
}


@pytest.mark.parametrize(
    "moment",
    [
        "the model is being written",
        *(pytest.param(one, marks=pytest.mark.long) for one in (*MOMENTS,)[::2]),
    ],
)
def test_killed_between_two_writes_it_ends_in_the_same_bits(site, undisturbed, moment):
    expected, writes = undisturbed
    assert site.train(Death(find(writes, *MOMENTS[moment]), Phase.AFTER, None).arm) is None
    again = site.train()
    assert site.made(again) == expected
    site.assert_tidy(again)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_killed_at_any_write_it_ends_in_the_same_bits(undisturbed, mlflow_server, tmp_path):
    expected, writes = undisturbed
    for number in range(1, len(writes) + 1):
        for phase in Phase:
            site = Site(mlflow_server, tmp_path / f"{number}-{phase}")
            site.folder.mkdir()
            site.train(Death(number, phase, None).arm)
            again = site.train()
            assert site.made(again) == expected, (number, phase)
            site.assert_tidy(again)


def test_another_machine_goes_on_from_the_checkpoint_in_mlflow(site, undisturbed):
    expected, _ = undisturbed
    assert site.train(in_step(2 * STEPS + 1)) is None
    (killed,) = site.runs()
    assert killed.data.tags[continuation.CHECKPOINT_TAG] == "2"

    def elsewhere():
        socket.gethostname = lambda: "elsewhere"

    again = site.train(elsewhere, home="its home")
    assert (again["resumed_at"], again["remarks"]) == (2, ["resumed at epoch 2 of 3"])
    assert site.made(again) == expected
    killed, run = site.runs()
    assert killed.data.tags[continuation.CONTINUED_BY_TAG] == run.info.run_id
    assert run.data.tags[continuation.CONTINUES_TAG] == killed.info.run_id
    shutil.rmtree(site.folder / "home")
    site.assert_tidy(again)


def test_of_two_at_once_one_trains_and_the_other_takes_what_it_made(site, undisturbed):
    expected, _ = undisturbed
    (first, one), (second, two) = site.start(), site.start()
    for process in (first, second):
        process.join(DEADLINE_S)
    answers = sorted(
        (json.loads(answer.read_text()) for answer in (one, two)), key=lambda said: said["reused"]
    )
    assert [said["reused"] for said in answers] == [False, True]
    assert answers[0]["run_id"] == answers[1]["run_id"]
    assert "trains the same" in answers[1]["remarks"][0]
    assert site.made(answers[1]) == expected
    site.assert_tidy(answers[0])
