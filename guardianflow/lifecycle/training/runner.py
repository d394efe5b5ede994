"""Trains what a scenario describes and registers it as @candidate, once.

    data set --check--> fit --> best.pt --> FP32 IR --> held-out test split --> MLflow run + model
                                                                                    |
                                                         @candidate <-- registry <--+

A scenario version is trained once; if it was edited after its training, it is refused. A killed
training resumes after its last epoch: its checkpoints are on this machine and, every few minutes,
in MLflow (`continuation.py`). Where the scenario names a trainer of another project, that one
trains (`foreign.py`).
"""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mlflow.entities import Run

from guardianflow.evaluation.run_reports import PICTURES
from guardianflow.lifecycle.making import Work, keep_measured, register_made
from guardianflow.lifecycle.training.continuation import (
    WORK_TAG,
    Continuation,
    clean_up,
    fit_in_run,
)
from guardianflow.lifecycle.training.foreign import ForeignTraining, trainer_tags
from guardianflow.lifecycle.training.starting import Start, find_start
from guardianflow.lifecycle.training.trained import TrainedModel
from guardianflow.lifecycle.training.trainers import find_trainer
from guardianflow.machine.disk import scratch
from guardianflow.machine.servers import private_home
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.runs import OpenRun, foreign_start, read_evaluation
from guardianflow.mlflow_store.same_work import refuse_edited
from guardianflow.progress import Progress, Reporter
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario
from guardianflow.vision.data.dataset import prepare_dataset, refuse_alike
from guardianflow.vision.data.sample import Dataset
from guardianflow.vision.data.yaml_file import SPLITS
from guardianflow.vision.ir import ir
from guardianflow.vision.metrics.curves import training_curves
from guardianflow.vision.metrics.evaluation import Evaluation
from guardianflow.vision.metrics.thresholds import settle_thresholds
from guardianflow.vision.network import weights
from guardianflow.vision.network.checkpoint import (
    Checkpoints,
    remove_abandoned,
    sole_process,
    work_identity,
)
from guardianflow.vision.network.fitting import RECIPE, FittedDetector

log = logging.getLogger(__name__)


class TrainingRunner:
    """Trains one scenario version."""

    def __init__(
        self,
        scenario: Scenario,
        registry: ModelRegistryManager,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.registry = registry
        self._on_progress = on_progress
        self._report = Reporter(on_progress)

    def run(self) -> TrainedModel:
        """Train and register; finished work is reused.

        Raises:
            ScenarioInvalid: A path or a class of the scenario is wrong.
            DatasetInvalid: The data set cannot be trusted.
            ScenarioFrozen: The scenario version was edited after it had been trained.
            NoCandidate: It has to start from the champion, and there is none.
            ArtifactMissing: It has to start from weights that are not there.
            InputError: The trainer that it names cannot be run on this machine.
            TrainerFailed: That trainer failed, passed a limit, or left no model.
            ModelInvalid: What that trainer left cannot be imported.
            RegistryUnavailable: MLflow does not answer.
        """
        return self.register(self.train())

    def train(self) -> TrainedModel:
        """Train without registering; raises what `run` raises."""
        # Before the data are checked, which may take minutes.
        foreign = self._foreign()
        self._report("data", 0, 1)
        dataset = prepare_dataset(self.scenario.dataset, self.scenario.classes, SPLITS)
        for note in dataset.warnings:
            log.warning("%s", note)
        self._report("data", 1, 1, f"{len(dataset.samples('train'))} images to learn from")
        refuse_edited(self.registry.client, self.scenario)
        if foreign:
            return self._hand_over(foreign, dataset)
        work = Work(self.registry, self.scenario, dataset, "train", RECIPE)
        if found := work.find(partial(self._read, work)):
            return found
        refuse_alike(dataset, self.scenario.dataset)
        return self._train(work)

    def register(self, trained: TrainedModel) -> TrainedModel:
        """Register a training as @candidate; repeated calls return the same version."""
        name, client = self.scenario.get_registered_model_name(), self.registry.client
        with border(f"run {trained.run_id}"):
            run = client.get_run(trained.run_id)
        foreign = self.scenario.training.trainer is not None
        tags = trainer_tags(client, run) if foreign else foreign_start(run.data.tags)
        return register_made(self.registry, self.scenario, trained, name, trained.evaluation, tags)

    def _foreign(self) -> ForeignTraining | None:
        """The trainer of another project that the scenario names; None: ours trains."""
        if (name := self.scenario.training.trainer) is None:
            return None
        trainer = find_trainer(name)
        return ForeignTraining(self.scenario, self.registry, name, trainer, self._on_progress)

    def _hand_over(self, foreign: ForeignTraining, dataset: Dataset) -> TrainedModel:
        work = foreign.work(dataset)
        if found := foreign.find(work):
            return found
        refuse_alike(dataset, self.scenario.dataset)
        return foreign.train(work)

    def _read(self, work: Work, run: Run) -> TrainedModel:
        """Read what a finished training of the same settings, data and recipe made."""
        run_id = run.info.run_id
        self._forget(work, run.data.tags.get(WORK_TAG, ""))
        return TrainedModel(run_id, read_evaluation(self.registry.client, run_id), reused=True)

    def _train(self, work: Work) -> TrainedModel:
        """Train, or wait for the process on this machine that does and take its result."""
        folder = private_home("training")
        remove_abandoned(folder)
        lock = f"{self.scenario.digest[:16]}-{work.dataset.fingerprint[:16]}.lock"
        with sole_process(folder / lock, self._wait):
            if found := work.find(partial(self._read, work)):
                return found
            start = find_start(self.registry, self.scenario, work.dataset, work.attempt_tags)
            identity = work_identity(
                self.scenario.digest, work.dataset.fingerprint, RECIPE, dict(start.tags)
            )
            trained = self._attempt(work, Checkpoints(folder / identity, identity), start)
            self._forget(work, identity)
        return trained

    def _attempt(self, work: Work, checkpoints: Checkpoints, start: Start) -> TrainedModel:
        scenario, client = self.scenario, self.registry.client
        before = Continuation.find(client, scenario, work.attempt_tags, checkpoints.work)
        before.fetch(checkpoints)
        name = f"train {scenario.name} {scenario.version}"
        with work.open_run(name, {**before.tags(), **start.tags, **start.notes}) as run:
            before.take_over(run.run_id)
            run.log_params({**scenario.training.model_dump(mode="json"), **start.params()})
            run.log_splits({"train": "training", "val": "validation", "test": "evaluation"})
            fitted, resumed_at = fit_in_run(
                run, scenario.training, checkpoints, start.detector, self._report
            )
            with scratch() as folder:
                evaluation = self._keep(work, run, fitted, folder)
        return TrainedModel(run.run_id, evaluation, resumed_at=resumed_at)

    def _forget(self, work: Work, identity: str) -> None:
        """Remove the checkpoints: the work is finished and will not be resumed."""
        if identity:
            Checkpoints(private_home("training") / identity, identity).remove()
        clean_up(self.registry.client, self.scenario, work.attempt_tags)

    def _wait(self, other: str) -> None:
        self._report("wait", 0, 1, remark=f"waiting for {other}, which trains the same")

    def _keep(self, work: Work, run: OpenRun, fitted: FittedDetector, folder: Path) -> Evaluation:
        """Export, measure on the test split as deployed, and bring everything to MLflow."""
        classes = work.dataset.classes
        best = weights.save_weights(fitted.detector, classes, folder / "weights")
        # Exported from the file that is kept, so that IR and best.pt cannot disagree.
        detector, classes = weights.load_weights(best)
        exported = ir.save(ir.convert_network(detector, classes), folder / "ir")
        # The score thresholds that work best on val are written into the IR.
        val, beta = work.dataset.samples("val"), self.scenario.evaluation.beta
        show = partial(self._report, "thresholds")
        thresholds = settle_thresholds(exported, val, beta=beta, on_progress=show)
        run.log_params({"beta": beta, "thresholds": thresholds})
        papers = folder / "papers"
        training_curves(fitted.history, papers / PICTURES / "curves.png")
        return keep_measured(work, run, exported, papers, self._report, weights=best.parent)
