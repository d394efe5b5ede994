"""A trainer of another project, run by the scenario that names it, on a real MLflow server."""

import json
import subprocess
import sys
import uuid
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
import psutil
import pytest
import yaml

from guardianflow.cli import main
from guardianflow.errors import ModelInvalid, ScenarioInvalid, TrainerFailed
from guardianflow.lifecycle.quantization import QuantizationRunner
from guardianflow.lifecycle.training import TrainingRunner
from guardianflow.lifecycle.training.continuation import CONTINUED_BY_TAG, CONTINUES_TAG, WORK_TAG
from guardianflow.machine.polling import look_until
from guardianflow.mlflow_store.runs import TRAINER_RUN_TAG, read_run_text
from guardianflow.promotion.evidence.lineage import read_lineage
from guardianflow.scenario import Scenario, ScenarioSpec
from guardianflow.vision.network.weights import load_weights
from tests.foreign import Export, export_onnx
from tests.integration.learned import SETTINGS

SCRIPT = Path(__file__).parents[1] / "strange_trainer.py"
DEADLINE_S = 240


@pytest.fixture(scope="module")
def detector(learned, tmp_path_factory):
    """What was really trained, as another trainer would export it."""
    folder = learned.registry.download(learned.name, learned.trained.version)
    network = load_weights(folder / "artifacts" / "weights" / "best.pt")[0]
    path = tmp_path_factory.mktemp("foreign") / "best.onnx"
    about = {"names": {0: "person", 1: "helmet"}, "imgsz": [128, 128], "license": "AGPL-3.0"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export_onnx(Export(network), path, about)


@dataclass
class Plant:
    """A scenario that names a trainer, and the machine that lists it."""

    registry: object
    home: Path
    scenario: Scenario
    entry: dict[str, object]
    file: Path

    def list(self, **changes):
        """Write trainers.yaml."""
        self.entry |= changes
        self.file.write_text(yaml.safe_dump({"trainers": {"strange": self.entry}}))

    def train(self):
        """Train and register; the result and what was said meanwhile."""
        said = []
        runner = TrainingRunner(
            self.scenario, self.registry, on_progress=lambda p: said.append(p.remark)
        )
        return runner.run(), [line for line in said if line]

    def start(self):
        """The same by the command, in a process of its own."""
        words = ["run", "strange-ppe", "--type", "train", "--version", "v1", "--json"]
        command = [sys.executable, "-m", "guardianflow.cli", *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def runs(self):
        """All runs of the model, the oldest first."""
        client = self.registry.client
        found = client.get_experiment_by_name(self.scenario.model_name.public)
        order = ["attributes.start_time ASC"]
        return client.search_runs([found.experiment_id], order_by=order) if found else []

    def folders(self):
        """The folders of trainings of this scenario that are not finished."""
        tags = [run.data.tags.get(WORK_TAG, "") for run in self.runs()]
        places = {self.home / "trainers" / tag for tag in tags if tag}
        return [place for place in places if place.is_dir()]


def settings(plant):
    more = {"region": "plant", "plant": plant, "versions": {"v1": {}}}
    return SETTINGS | more | {"training": {"image_size": 128, "epochs": 3, "trainer": "strange"}}


@pytest.fixture
def plant(learned, detector, tmp_path, monkeypatch):
    """A machine with a trainer, and a scenario that nobody else uses."""
    # With the data set that is drawn and checked there already.
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))
    monkeypatch.setenv("GUARDIANFLOW_TRAINERS", str(tmp_path / "trainers.yaml"))
    monkeypatch.setenv("GUARDIANFLOW_SCENARIOS", str(tmp_path / "scenarios"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", learned.registry.client.tracking_uri)
    content = settings(uuid.uuid4().hex[:10])
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "strange-ppe.yaml").write_text(yaml.safe_dump(content))
    scenario = ScenarioSpec.from_mapping("strange-ppe", content).version("v1")
    python = [sys.executable, str(SCRIPT)]
    train = [*python, "train", "--data", "{data}", "--out", "{out}", "--epochs", "{epochs}"]
    train += ["--onnx", str(detector)]
    entry = {
        "data": "yolo",
        "steps": [
            {"run": train, "resume": [*train, "--resume"], "resume_needs": "last.json"},
            {"run": [*python, "export", "--out", "{out}", "--to", "{out}/best.onnx"]},
        ],
        "onnx": "best.onnx",
        "record": [[sys.executable, "-c", "print('strange 1.0')"]],
    }
    made = Plant(learned.registry, learned.home, scenario, entry, tmp_path / "trainers.yaml")
    made.list()
    return made


def test_what_a_trainer_leaves_becomes_a_version_and_a_variant(plant, learned):
    trained, said = plant.train()
    assert (trained.version, trained.reused) == (1, False)
    assert trained.evaluation.map50 == pytest.approx(learned.trained.evaluation.map50, abs=1e-3)
    assert "strange: new, from epoch 1" in said
    assert said.index("strange: epoch 3 of 3") < said.index("strange: exported")

    version = plant.registry.get_version(plant.scenario.model_name, 1)
    assert version.tags["guardianflow.trainer"] == "strange"
    assert version.tags["guardianflow.origin"] == "trainer strange"
    assert version.tags["guardianflow.licence"] == "AGPL-3.0"
    client, run_id = plant.registry.client, version.tags[TRAINER_RUN_TAG]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["trainer"] == "strange"
    assert "strange 1.0" in read_run_text(client, run_id, "environment.txt")
    assert "epoch 2 of 3" in read_run_text(client, run_id, "trainer.log")
    assert json.loads(read_run_text(client, run_id, "trainer.json"))["onnx"] == "best.onnx"
    assert [file.path for file in client.list_artifacts(run_id, "onnx")] == ["onnx/best.onnx"]
    assert not plant.folders()

    assert plant.train()[0].reused
    assert len(plant.runs()) == 2
    made = QuantizationRunner(plant.scenario, plant.registry, 1).run()
    name = plant.scenario.get_registered_model_name("openvino_int8")
    lineage = read_lineage(plant.registry, plant.registry.get_version(name, made.version))
    assert (lineage.run_id, lineage.trainer) == (trained.run_id, "strange")
    assert {data.use: data.images for data in lineage.data} == {
        "training": 64,
        "validation": 8,
        "evaluation": 12,
    }


def test_killed_with_its_command_it_ends_and_the_next_run_goes_on(plant):
    plant.list(steps=[waiting(plant.entry["steps"][0]), plant.entry["steps"][1]])
    process = plant.start()
    place = look_until(plant.folders, every_s=0.2, timeout_s=DEADLINE_S)[0]
    assert look_until((place / "out" / "pids.json").exists, every_s=0.2, timeout_s=DEADLINE_S)
    pids = json.loads((place / "out" / "pids.json").read_text())
    process.kill()
    process.wait()
    look_until(lambda: not any(map(alive, pids[:2])), every_s=0.1, timeout_s=10)
    assert not any(map(alive, pids[:2]))
    seen = json.loads((place / "out" / "seen.json").read_text())
    splits = Counter(path.split("/")[1] for path in seen if path.startswith("images/"))
    assert splits == {"train": 64, "val": 8}
    assert not [path for path in seen if "test" in path]

    # What it may use is no part of the work: it is resumed, and waits no more.
    plant.list(max_hours=1)
    trained, said = plant.train()
    assert "strange: step 1 of trainer strange did not finish, it resumes" in said
    assert "strange: resumed at epoch 3" in said
    assert "strange: epoch 1 of 3" not in said
    assert not alive(pids[2])
    killed, run, imported = plant.runs()
    assert imported.info.run_id == trained.run_id
    assert [one.info.status for one in (killed, run)] == ["KILLED", "FINISHED"]
    assert killed.data.tags[CONTINUED_BY_TAG] == run.info.run_id
    assert run.data.tags[CONTINUES_TAG] == killed.info.run_id
    assert not place.exists()


def waiting(step):
    """The step, which waits in its second epoch until it is killed."""
    return {**step, "run": [*step["run"], "--wait"], "resume": [*step["run"], "--resume", "--wait"]}


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_unlisted_trainer_is_refused_before_anything_is_done(plant):
    plant.file.write_text("trainers: {}")
    said = []
    with pytest.raises(ScenarioInvalid, match="'strange': this machine has no such trainer"):
        TrainingRunner(plant.scenario, plant.registry, on_progress=said.append).run()
    assert not said
    assert not plant.runs()


def test_a_trainer_that_fails_leaves_a_failed_run_with_its_words(plant):
    plant.list(steps=[{"run": [sys.executable, "-c", "print('no GPU'); raise SystemExit(1)"]}])
    with pytest.raises(TrainerFailed, match="ended with 1, and said: no GPU"):
        plant.train()
    (run,) = plant.runs()
    assert run.info.status == "FAILED"
    client = plant.registry.client
    assert read_run_text(client, run.info.run_id, "trainer.log") == "no GPU\n"


def test_what_cannot_be_imported_is_kept_until_the_entry_says_how(plant, detector, tmp_path):
    nameless = onnx.load(detector)
    del nameless.metadata_props[:]
    onnx.save(nameless, tmp_path / "nameless.onnx")
    run = [str(tmp_path / "nameless.onnx") if w == str(detector) else w for w in first(plant)]
    plant.list(steps=[{"run": run}], onnx="learned.onnx")
    with pytest.raises(ModelInvalid, match="classes") as refused:
        plant.train()
    assert "`class_names` and `reading` of strange in" in refused.value.remedy
    assert len(plant.folders()) == 1
    plant.list(class_names="scenario")
    trained, said = plant.train()
    assert trained.version == 1
    assert not [line for line in said if "epoch" in line]
    assert not plant.folders()


def first(plant):
    """What the first step runs."""
    return plant.entry["steps"][0]["run"]


def test_the_flow_trains_with_it_and_repeats_no_failure(plant, prefect_server):
    from blocks import MlflowCredentials, ScenarioConfig
    from blocks.mlflow_credentials import DEFAULT_DOCUMENT
    from flows.training import train

    assert prefect_server
    credentials = MlflowCredentials(tracking_uri=plant.registry.client.tracking_uri)
    credentials.save(DEFAULT_DOCUMENT, overwrite=True)
    content = settings(plant.scenario.plant)
    versions = content.pop("versions")
    saved = MlflowCredentials.load(DEFAULT_DOCUMENT)
    block = ScenarioConfig(name="strange-ppe", common=content, versions=versions, credentials=saved)
    block.save("strange-ppe", overwrite=True)

    good = plant.entry["steps"]
    plant.list(steps=[{"run": [sys.executable, "-c", "raise SystemExit(1)"]}])
    with pytest.raises(TrainerFailed, match="ended with 1, and said: nothing"):
        train("strange-ppe", "v1")
    assert len(plant.runs()) == 1
    plant.list(steps=good)
    assert train("strange-ppe", "v1") == 1
    assert train("strange-ppe", "v1") == 1
    assert plant.registry.get_version(plant.scenario.model_name, 1).tags[TRAINER_RUN_TAG]


@pytest.mark.long
def test_of_two_at_once_one_trains_and_the_other_takes_what_it_made(plant):
    processes = [plant.start(), plant.start()]
    answers = [json.loads(process.communicate(timeout=DEADLINE_S)[0]) for process in processes]
    assert sorted(answer["reused"] for answer in answers) == [False, True]
    assert answers[0]["run_id"] == answers[1]["run_id"]
    assert [answer["version"] for answer in answers] == [1, 1]
    assert [run.data.tags["guardianflow.kind"] for run in plant.runs()] == ["train", "import"]


def test_the_command_lists_what_the_machine_has_and_what_it_lacks(plant, capsys):
    def listed():
        with pytest.raises(SystemExit) as ended:
            main(["trainer", "list", "--json"])
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out)

    assert listed()["trainers"]["strange"]["programs"] == [sys.executable]
    assert listed()["missing"] == {}
    plant.file.unlink()
    assert listed()["missing"] == {"strange": ["strange-ppe v1"]}
