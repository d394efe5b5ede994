"""The skeleton of all ways to make a version: find what was made before, make it, register it.

    Work --tags--> a finished run of the same work?  yes: read what it made
                                                     no:  open a run, make it, keep it
                                                     --> register_made --> @candidate

Each way brings its kind, its recipe, its inputs, and two functions: one makes the model in an open
run, the other reads what an earlier run made.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Run

from guardianflow.evaluation.run_reports import write_papers
from guardianflow.mlflow_store.runs import MODEL, OpenRun, has_model, open_run
from guardianflow.mlflow_store.same_work import find_same_work, scenario_tags, version_tags
from guardianflow.progress import Reporter
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario
from guardianflow.vision.data.sample import Dataset
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.detections import Seen, detect
from guardianflow.vision.metrics.evaluation import Evaluation, evaluate
from guardianflow.vision.metrics.intervals import DRAWS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """What every way of making a version leaves in MLflow.

    Attributes:
        version: The registered version, once it is registered.
        reused: Whether an earlier run was found instead.
    """

    run_id: str
    version: int | None = field(default=None, kw_only=True)
    reused: bool = field(default=False, kw_only=True)

    @property
    def artifact_path(self) -> str:
        """Name of the run's model, as `ModelRegistryManager.register_model` takes it."""
        return MODEL


MadeT = TypeVar("MadeT", bound=Made)


@dataclass(frozen=True)
class Work:
    """What a model is made from; work with the same tags is done once.

    Attributes:
        kind: `train`, `quant` or `import`.
        recipe: Version of the procedure; raised when the same inputs would give another model.
        inputs: Tags of whatever else the result depends on.
    """

    registry: ModelRegistryManager
    scenario: Scenario
    dataset: Dataset
    kind: str
    recipe: str
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def attempt_tags(self) -> dict[str, str]:
        """The tags of all attempts at this work, whatever the recipe."""
        return {**scenario_tags(self.scenario, self.dataset, self.kind), **self.inputs}

    @property
    def tags(self) -> dict[str, str]:
        """The tags by which the work is found again."""
        return {**self.attempt_tags, "guardianflow.recipe": self.recipe}

    def find(self, read: Callable[[Run], MadeT | None]) -> MadeT | None:
        """Find what a finished run of the same work made; `read` gives None if that is not all."""
        client = self.registry.client
        for run in find_same_work(client, self.scenario, self.tags):
            if has_model(client, run) and (found := read(run)):
                log.info("found what an earlier %s made: run %s", self.kind, run.info.run_id)
                return found
        return None

    def open_run(
        self, name: str, tags: Mapping[str, str] | None = None
    ) -> AbstractContextManager[OpenRun]:
        """Open a run with the tags of this work, and more."""
        client, more = self.registry.client, tags or {}
        return open_run(client, self.scenario, name, self.dataset, {**self.tags, **more})


def keep_measured(
    work: Work,
    run: OpenRun,
    folder: Path,
    papers: Path,
    progress: Reporter,
    *,
    weights: Path | None = None,
) -> Evaluation:
    """Measure an FP32 IR on the test split as it is deployed, and bring everything to MLflow.

    The report of the measurement is added to `papers`, the other files for the run.
    """
    dataset, samples = work.dataset, work.dataset.samples("test")
    deployed = IrDetector(wrap(folder, folder.parent / "edge"))
    found = detect(deployed, samples, on_progress=partial(progress, "evaluate"))
    evaluation = evaluate(found, samples, dataset.classes, deployed.thresholds, draws=DRAWS)
    progress("upload", 0, 1)
    run.log_files(write_papers(papers, dataset, Seen(found, deployed.thresholds), evaluation))
    if weights:
        run.log_files(weights, "weights")
    model_id = run.log_model(folder, weights, work.tags)
    run.log_metrics(evaluation.metrics("test."), split="test", model_id=model_id)
    progress("upload", 1, 1, f"mAP50 {evaluation.map50:.3f} on {len(samples)} images")
    return evaluation


def register_made(
    registry: ModelRegistryManager,
    scenario: Scenario,
    made: MadeT,
    name: str,
    figures: Evaluation,
    tags: Mapping[str, str] | None = None,
) -> MadeT:
    """Register what was made as @candidate; repeated calls return the same version.

    `figures` are those of the held-out test split.
    """
    map50 = {"guardianflow.map50": f"{figures.map50:.4f}"}
    every = {**version_tags(scenario), **map50, **(tags or {})}
    info = registry.register_model(made.run_id, made.artifact_path, name, tags=every)
    log.info("run %s -> %s version %d", made.run_id, name, info.version)
    return replace(made, version=info.version)
