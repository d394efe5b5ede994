"""Trains what a scenario describes and registers it as @candidate, once.

    data set --check--> fit --> best.pt --> FP32 IR --> held-out test split --> MLflow run + model
                                                                                    |
                                                         @candidate <-- registry <--+

A scenario version that was trained is found again and not trained twice; one that was edited
after its training is refused. A training that was killed goes on after its last epoch: its
checkpoints are on this machine and, every few minutes, in MLflow (`continuation.py`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from guardianflow.evaluation.run_reports import PICTURES, write_papers
from guardianflow.lifecycle.training.attempt import fit_in_run
from guardianflow.lifecycle.training.continuation import WORK_TAG, Continuation, clean_up
from guardianflow.lifecycle.training.starting import Start, find_start
from guardianflow.machine.disk import scratch
from guardianflow.machine.servers import private_home
from guardianflow.mlflow_store.runs import (
    MODEL,
    OpenRun,
    find_same_work,
    open_run,
    read_evaluation,
    ready_model,
    refuse_edited,
    scenario_tags,
    version_tags,
)
from guardianflow.progress import Progress, Reporter
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario
from guardianflow.vision.data.dataset import Dataset, prepare_dataset, refuse_alike
from guardianflow.vision.data.yaml_file import SPLITS
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.detections import Seen, detect
from guardianflow.vision.metrics.evaluation import Evaluation, evaluate
from guardianflow.vision.metrics.intervals import DRAWS
from guardianflow.vision.metrics.pictures import training_curves
from guardianflow.vision.metrics.thresholds import settle_thresholds
from guardianflow.vision.network import weights
from guardianflow.vision.network.checkpoint import (
    Checkpoints,
    identify,
    remove_abandoned,
    sole_process,
)
from guardianflow.vision.network.fitting import RECIPE, FittedDetector

_RECIPE_TAG = "guardianflow.recipe"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedModel:
    """What a training left in MLflow.

    Attributes:
        run_id: The MLflow run.
        artifact_path: Name of the run's LoggedModel.
        evaluation: The FP32 IR on the held-out test split.
        version: The registered version, once it is registered.
        reused: Whether an earlier training was found instead.
        resumed_at: After how many epochs it went on, where a process before it was killed.
    """

    run_id: str
    artifact_path: str
    evaluation: Evaluation
    version: int | None = None
    reused: bool = False
    resumed_at: int = 0


class TrainingRunner:
    """Trains one scenario version.

    Args:
        scenario: What to train.
        registry: Where runs and versions are kept.
        on_progress: Told how far it is, at most twice a second.
    """

    def __init__(
        self,
        scenario: Scenario,
        registry: ModelRegistryManager,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.registry = registry
        self._report = Reporter(on_progress)

    def run(self) -> TrainedModel:
        """Train and register; what was done before is not done again.

        Raises:
            ScenarioInvalid: A path or a class of the scenario is wrong.
            DatasetInvalid: The data set cannot be trusted.
            ScenarioFrozen: The scenario version was edited after it had been trained.
            NoCandidate: It is to begin with the champion, and there is none.
            RegistryUnavailable: MLflow does not answer.
        """
        return self.register(self.train())

    def train(self) -> TrainedModel:
        """Train without registering.

        Raises:
            ScenarioInvalid: A path or a class of the scenario is wrong.
            DatasetInvalid: The data set cannot be trusted.
            ScenarioFrozen: The scenario version was edited after it had been trained.
            NoCandidate: It is to begin with the champion, and there is none.
            RegistryUnavailable: MLflow does not answer.
        """
        self._report("data", 0, 1)
        dataset = prepare_dataset(self.scenario.dataset, self.scenario.classes, SPLITS)
        for note in dataset.warnings:
            log.warning("%s", note)
        self._report("data", 1, 1, f"{len(dataset.samples('train'))} images to learn from")
        refuse_edited(self.registry.client, self.scenario)
        if found := self._find(dataset):
            return found
        refuse_alike(dataset, self.scenario.dataset)
        return self._train(dataset)

    def register(self, trained: TrainedModel) -> TrainedModel:
        """Register a training as @candidate; again gives the same version."""
        name = self.scenario.get_registered_model_name()
        tags = {
            **version_tags(self.scenario),
            "guardianflow.map50": f"{trained.evaluation.map50:.4f}",
        }
        info = self.registry.register_model(trained.run_id, trained.artifact_path, name, tags=tags)
        log.info("scenario %s -> %s version %d", self.scenario.version, name, info.version)
        return replace(trained, version=info.version)

    def _tags(self, dataset: Dataset) -> dict[str, str]:
        return {
            **scenario_tags(self.scenario, dataset, "train"),
            _RECIPE_TAG: RECIPE,
        }

    def _attempt_tags(self, dataset: Dataset) -> dict[str, str]:
        """The tags of all attempts at this work, also by other code."""
        tags = self._tags(dataset)
        del tags[_RECIPE_TAG]
        return tags

    def _find(self, dataset: Dataset) -> TrainedModel | None:
        """A finished training of the same settings, data and recipe."""
        client = self.registry.client
        for run in find_same_work(client, self.scenario, self._tags(dataset)):
            if ready_model(client, run):
                run_id = run.info.run_id
                log.info("found the training again: run %s", run_id)
                self._forget(dataset, run.data.tags.get(WORK_TAG, ""))
                return TrainedModel(run_id, MODEL, read_evaluation(client, run_id), reused=True)
        return None

    def _train(self, dataset: Dataset) -> TrainedModel:
        """Train, or wait for the process of this machine that does, and take what it made."""
        tags = self._attempt_tags(dataset)
        folder = private_home("training")
        remove_abandoned(folder)
        lock = f"{self.scenario.digest[:16]}-{dataset.fingerprint[:16]}.lock"
        with sole_process(folder / lock, self._wait):
            if found := self._find(dataset):
                return found
            start = find_start(self.registry, self.scenario, dataset, tags)
            work = identify(self.scenario.digest, dataset.fingerprint, RECIPE, dict(start.tags))
            trained = self._attempt(dataset, Checkpoints(folder / work, work), start)
            self._forget(dataset, work)
        return trained

    def _attempt(self, dataset: Dataset, checkpoints: Checkpoints, start: Start) -> TrainedModel:
        scenario, client = self.scenario, self.registry.client
        before = Continuation.find(client, scenario, self._attempt_tags(dataset), checkpoints.work)
        before.fetch(checkpoints)
        name = f"train {scenario.name} {scenario.version}"
        tags = {**self._tags(dataset), **before.tags(), **start.tags}
        with open_run(client, scenario, name, dataset, tags) as run:
            before.take_over(run.run_id)
            run.log_params({**scenario.training.model_dump(mode="json"), **start.params()})
            run.log_splits({"train": "training", "val": "validation", "test": "evaluation"})
            fitted, resumed_at = fit_in_run(
                run, scenario.training, checkpoints, start.detector, self._report
            )
            with scratch() as folder:
                evaluation = self._keep(run, dataset, fitted, folder)
        return TrainedModel(run.run_id, MODEL, evaluation, resumed_at=resumed_at)

    def _forget(self, dataset: Dataset, work: str) -> None:
        """The work is finished: nobody will go on with it."""
        if work:
            Checkpoints(private_home("training") / work, work).remove()
        clean_up(self.registry.client, self.scenario, self._attempt_tags(dataset))

    def _wait(self, other: str) -> None:
        self._report("wait", 0, 1, remark=f"waiting for {other}, which trains the same")

    def _keep(
        self, run: OpenRun, dataset: Dataset, fitted: FittedDetector, folder: Path
    ) -> Evaluation:
        """Export, measure on the test split as deployed, and bring everything to MLflow."""
        best = weights.save_weights(fitted.detector, dataset.classes, folder / "weights")
        # Exported from what is kept: the IR and best.pt of a version can never disagree.
        detector, classes = weights.load_weights(best)
        exported = ir.save(ir.convert_network(detector, classes), folder / "ir")
        self._choose_thresholds(run, dataset, exported)
        samples = dataset.samples("test")
        deployed = IrDetector(wrap(exported, folder / "edge"))
        found = detect(
            deployed,
            samples,
            on_progress=lambda done, total: self._report("evaluate", done, total),
        )
        evaluation = evaluate(found, samples, dataset.classes, deployed.thresholds, draws=DRAWS)
        self._report("upload", 0, 1)
        seen = Seen(found, deployed.thresholds)
        papers = write_papers(folder / "papers", dataset, seen, evaluation)
        training_curves(fitted.history, papers / PICTURES / "curves.png")
        run.log_files(papers)
        run.log_files(best.parent, "weights")
        model_id = run.log_model(exported, best.parent, self._tags(dataset))
        run.log_metrics(evaluation.metrics("test."), split="test", model_id=model_id)
        self._report("upload", 1, 1, f"mAP50 {evaluation.map50:.3f} on {len(samples)} images")
        return evaluation

    def _choose_thresholds(self, run: OpenRun, dataset: Dataset, exported: Path) -> None:
        """Let the IR say from which score a box is shown, as the val split has it best."""
        beta = self.scenario.evaluation.beta
        thresholds = settle_thresholds(
            exported,
            dataset.samples("val"),
            beta=beta,
            on_progress=lambda done, total: self._report("thresholds", done, total),
        )
        run.log_params({"beta": beta, "thresholds": thresholds})
