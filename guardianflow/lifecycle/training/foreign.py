"""Trains with a trainer of another project, and brings in the detector that it leaves.

    data set --train, val--> the trainer's own process --ONNX--> import --> FP32 IR, figures on test
                                      |                             |
                             run `train`: its words,          run `import`, below it: the model
                             environment, ONNX file                 |
                                                         @candidate <-- registry

Nothing of the trainer runs in this process, and it never gets the test split. What it makes is
an import like any other. The same scenario, data and entry of trainers.yaml are trained once;
killed, the next run goes on in the same folder (`workshop.py`).
"""

import hashlib
import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from guardianflow.errors import GuardianflowError, ModelInvalid
from guardianflow.evaluation.import_source import Origin
from guardianflow.lifecycle.importing import ImportedModel, ImportRunner
from guardianflow.lifecycle.making import Work
from guardianflow.lifecycle.training.continuation import Continuation, clean_up
from guardianflow.lifecycle.training.trained import TrainedModel
from guardianflow.lifecycle.training.trainers import (
    ClassNames,
    DataForm,
    Trainer,
    trainers_file,
)
from guardianflow.lifecycle.training.workshop import Workshop, files_of
from guardianflow.machine.disk import scratch
from guardianflow.machine.servers import private_home
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.runs import (
    TRAINER_DIGEST_TAG,
    TRAINER_RUN_TAG,
    TRAINER_TAG,
    OpenRun,
    has_model,
    read_evaluation,
    read_run_text,
)
from guardianflow.mlflow_store.same_work import find_same_work
from guardianflow.progress import Progress, Reporter
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario
from guardianflow.stored import read_stored
from guardianflow.vision.data.handover import write_coco, write_yolo
from guardianflow.vision.data.sample import Dataset
from guardianflow.vision.network.checkpoint import remove_abandoned, sole_process

RECIPE = "trainer 1"
_IMPORT_RUN_TAG = "guardianflow.import_run"
_TAGS = (TRAINER_TAG, TRAINER_DIGEST_TAG, TRAINER_RUN_TAG)
# MLflow's own: its UI shows the one run below the other.
_PARENT_TAG = "mlflow.parentRunId"
_TOLD = ("epochs", "image_size", "batch_size", "seed", "threads", "device")
_WRITE = {DataForm.YOLO: write_yolo, DataForm.COCO: write_coco}
log = logging.getLogger(__name__)


class ForeignTraining:
    """Trains one scenario version with a trainer of another project."""

    def __init__(
        self,
        scenario: Scenario,
        registry: ModelRegistryManager,
        name: str,
        trainer: Trainer,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.scenario, self.registry = scenario, registry
        self.name, self.trainer = name, trainer
        self._on_progress, self._report = on_progress, Reporter(on_progress)

    def work(self, dataset: Dataset) -> Work:
        """Return what the model is made from."""
        inputs = {TRAINER_TAG: self.name, TRAINER_DIGEST_TAG: self.trainer.digest}
        return Work(self.registry, self.scenario, dataset, "train", RECIPE, inputs)

    def find(self, work: Work) -> TrainedModel | None:
        """Find what a finished run of the same work made."""
        client = self.registry.client
        for run in find_same_work(client, self.scenario, work.tags):
            made = _find_import(client, run)
            if made is not None:
                figures = read_evaluation(client, made.info.run_id)
                return TrainedModel(made.info.run_id, figures, reused=True)
        return None

    def train(self, work: Work) -> TrainedModel:
        """Let it train and import the result, or wait for the process here that does.

        Raises:
            TrainerFailed: The trainer failed, passed a limit, or left no model.
            ModelInvalid: What it left cannot be imported, or detects nothing that is labelled.
        """
        place = private_home("trainers")
        remove_abandoned(place)
        lock = f"{self.scenario.digest[:16]}-{work.dataset.fingerprint[:16]}.lock"
        with sole_process(place / lock, self._wait):
            if found := self.find(work):
                return found
            with scratch() as folder:
                environment = self._workshop(folder / "ask").record()
            workshop = self._workshop(place / self._identity(work.dataset, environment))
            made = self._attempt(work, workshop, environment)
            workshop.remove()
            clean_up(self.registry.client, self.scenario, work.attempt_tags)
        return made

    def _identity(self, dataset: Dataset, environment: str) -> str:
        """What goes on in the same folder: the same work, in the same environment."""
        parts = [self.scenario.digest, dataset.fingerprint, RECIPE, self.name]
        content = json.dumps([*parts, self.trainer.training_digest, environment])
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def _workshop(self, folder: Path) -> Workshop:
        told = self.scenario.training.model_dump(mode="json", include=set(_TOLD))
        values = {**told, "classes": list(self.scenario.classes)}
        return Workshop(folder, self.name, self.trainer, values, self._say)

    def _attempt(self, work: Work, workshop: Workshop, environment: str) -> TrainedModel:
        scenario, client = self.scenario, self.registry.client
        before = Continuation.find(client, scenario, work.attempt_tags, workshop.folder.name)
        title = f"train {scenario.name} {scenario.version} with {self.name}"
        with work.open_run(title, before.tags()) as run:
            before.take_over(run.run_id)
            params = scenario.training.model_dump(mode="json", include={*_TOLD, "trainer"})
            run.log_params(params)
            run.log_splits({"train": "training", "val": "validation"})
            self._report("train", 0, 1)
            try:
                onnx = workshop.work(partial(_WRITE[self.trainer.data], work.dataset))
            finally:
                self._keep(run, workshop, environment)
            self._report("train", 1, 1)
            with border(f"run {run.run_id}"):
                for file in files_of(onnx):
                    client.log_artifact(run.run_id, str(file), "onnx")
            imported = self._import(onnx)
            with border(f"run {run.run_id}"):
                made = {**work.inputs, TRAINER_RUN_TAG: run.run_id, _PARENT_TAG: run.run_id}
                for key, value in made.items():
                    client.set_tag(imported.run_id, key, value)
                client.set_tag(run.run_id, _IMPORT_RUN_TAG, imported.run_id)
            run.log_metrics(imported.evaluation.metrics("test."))
        return TrainedModel(imported.run_id, imported.evaluation)

    def _keep(self, run: OpenRun, workshop: Workshop, environment: str) -> None:
        """Bring what the trainer is and said to its run; a failure is only logged."""
        entry = self.trainer.model_dump(mode="json", exclude={"environment"}, exclude_defaults=True)
        # Its variables may be secrets.
        entry["environment"] = sorted(self.trainer.environment)
        try:
            with scratch() as papers, border(f"run {run.run_id}"):
                text = json.dumps(entry, indent=1, ensure_ascii=False)
                (papers / "trainer.json").write_text(text, encoding="utf-8")
                (papers / "environment.txt").write_text(environment, encoding="utf-8")
                if workshop.words.exists():
                    said = workshop.words.read_text(encoding="utf-8", errors="replace")
                    (papers / "trainer.log").write_text(said, encoding="utf-8")
                run.log_files(papers)
        except (GuardianflowError, OSError) as error:
            log.warning("what the trainer said is only on this machine: %s", error)

    def _import(self, onnx: Path) -> ImportedModel:
        options = self.trainer.reading.model_copy(update={"source": f"trainer {self.name}"})
        if self.trainer.class_names is ClassNames.SCENARIO:
            options = options.model_copy(update={"classes": self.scenario.classes})
        show = self._on_progress
        runner = ImportRunner(self.scenario, self.registry, onnx, options, on_progress=show)
        try:
            return runner.bring_in()
        except ModelInvalid as error:
            raise ModelInvalid(
                error.message,
                remedy=f"{error.remedy} Such options are `class_names` and `reading` of "
                f"{self.name} in {trainers_file()}; the next run takes the file that is there.",
                **error.data,
            ) from error

    def _say(self, line: str) -> None:
        log.info("%s: %s", self.name, line)
        self._report("train", 0, 1, line, remark=f"{self.name}: {line}")

    def _wait(self, other: str) -> None:
        self._report("wait", 0, 1, remark=f"waiting for {other}, which trains the same")


def _find_import(client: MlflowClient, run: Run) -> Run | None:
    """The run with the model that a trainer's run led to, if it is still there."""
    if not (run_id := run.data.tags.get(_IMPORT_RUN_TAG)):
        return None
    with border(f"run {run_id}"):
        made = client.get_run(run_id)
    return made if made.info.lifecycle_stage == "active" and has_model(client, made) else None


def trainer_tags(client: MlflowClient, run: Run) -> dict[str, str]:
    """Return the tags of a version that a trainer made: the file's origin, and the trainer."""
    text = read_run_text(client, run.info.run_id, "origin.json")
    origin = read_stored(Origin, text, f"origin of MLflow run {run.info.run_id}")
    return {**origin.tags(), **{key: run.data.tags[key] for key in _TAGS if key in run.data.tags}}
