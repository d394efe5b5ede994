"""Brings in a detector that another trainer made, and registers it as @candidate, once.

    file --open, rebuild--> FP32 IR --val: does it see at all? thresholds--> test: figures
                                                                                 |
                                             @candidate <-- registry <-- MLflow run + model

From there on it is a version like those that are trained here: quantized, judged, promoted and
rolled back by the same code. The same file for the same scenario is not brought in twice.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from guardianflow.data.dataset import Dataset, Sample, load_image, prepare_dataset
from guardianflow.edge import ir
from guardianflow.edge.adaptation import Adapted, adapt, check_answers
from guardianflow.edge.foreign import open_foreign
from guardianflow.edge.processing import wrap
from guardianflow.edge.reading import ChannelOrder, InputRange, LayoutName, Reading, match_classes
from guardianflow.edge.serving import IrDetector, letterbox
from guardianflow.errors import ModelInvalid
from guardianflow.measuring.detections import Detections, Seen, detect
from guardianflow.measuring.evaluation import Evaluation, evaluate
from guardianflow.measuring.intervals import DRAWS
from guardianflow.measuring.thresholds import choose_thresholds
from guardianflow.progress import Progress, Reporter
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario
from guardianflow.tracking.origin import Origin
from guardianflow.tracking.papers import write_papers
from guardianflow.tracking.runs import (
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

# Part of an import's identity: raise it when the same file would now give another IR.
RECIPE = "1"
_ORIGIN_FILE = "origin.json"
_PROBED = 4
# Below the first nothing is seen; below the second it is worth trying whether a wrong range is why.
_BLIND, _DIM = 0.01, 0.15
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportOptions:
    """What the caller knows about a foreign model that its file may not say.

    Attributes:
        classes: Its class names in the order of their indices; empty: the file names them.
        mapping: What a class of the scenario is called in the file, where that differs.
        layout: What its outputs mean; None: their shapes say.
        input_range: What it takes a white pixel to be; None: 1 for floats, 255 for bytes.
        channel_order: In which order it takes colours.
        source: Where the file came from, if not from this machine, e.g. `models:/ppe-by-hand/3`.
    """

    classes: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict[str, str])
    layout: LayoutName | None = None
    input_range: InputRange | None = None
    channel_order: ChannelOrder = ChannelOrder.RGB
    source: str = ""


@dataclass(frozen=True)
class ImportedModel:
    """What an import left in MLflow.

    Attributes:
        run_id: The MLflow run.
        artifact_path: Name of the run's LoggedModel.
        evaluation: The IR on the held-out test split.
        origin: Where it comes from.
        version: The registered version, once it is registered.
        reused: Whether an earlier import was found instead.
    """

    run_id: str
    artifact_path: str
    evaluation: Evaluation
    origin: Origin
    version: int | None = None
    reused: bool = False


class ImportRunner:
    """Imports one model file for one scenario version.

    Args:
        scenario: Says what it is to detect, and on which images it is measured.
        registry: Where runs and versions are kept.
        path: The .onnx file, or the .xml of an OpenVINO IR.
        options: What the file does not say.
        on_progress: Told how far it is, at most twice a second.
    """

    def __init__(
        self,
        scenario: Scenario,
        registry: ModelRegistryManager,
        path: Path,
        options: ImportOptions | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.registry = registry
        self.path = path
        self.options = options or ImportOptions()
        self._report = Reporter(on_progress)

    def run(self) -> ImportedModel:
        """Import and register; what was done before is not done again.

        Raises:
            ModelInvalid: The file cannot be read, is no detector that is understood, or sees
                nothing of what is labelled.
            ScenarioInvalid: A path or a class of the scenario is wrong.
            DatasetInvalid: The data set cannot be trusted.
            ScenarioFrozen: The scenario version was edited after it had been trained.
            RegistryUnavailable: MLflow does not answer.
        """
        return self.register(self.bring_in())

    def bring_in(self) -> ImportedModel:
        """Import without registering; raises what `run` raises."""
        # The file first: it takes a second, and a large data set minutes.
        self._report("open", 0, 1)
        adapted, origin = self._open(self.options.input_range)
        self._report("open", 1, 1, f"{origin.layout}, {origin.size} px")
        self._report("data", 0, 1)
        needs = ("val", "test")
        dataset = prepare_dataset(self.scenario.dataset, self.scenario.classes, needs)
        self._report("data", 1, 1)
        refuse_edited(self.registry.client, self.scenario)
        return self._find(dataset, origin) or self._import(dataset, adapted, origin)

    def register(self, imported: ImportedModel) -> ImportedModel:
        """Register an import as @candidate; again gives the same version."""
        scenario, origin = self.scenario, imported.origin
        name = scenario.get_registered_model_name()
        tags = {
            **version_tags(scenario),
            "guardianflow.map50": f"{imported.evaluation.map50:.4f}",
            **origin.tags(),
        }
        info = self.registry.register_model(
            imported.run_id, imported.artifact_path, name, tags=tags
        )
        log.info("%s -> %s version %d", origin.file, name, info.version)
        return replace(imported, version=info.version)

    def _open(self, input_range: InputRange | None) -> tuple[Adapted, Origin]:
        """The file as an IR of ours that says what it is."""
        options, wanted = self.options, self.scenario.classes
        foreign = open_foreign(self.path)
        names = options.classes or foreign.names
        if not names:
            raise ModelInvalid(
                f"{self.path} does not name its classes.",
                remedy="Name them in the order of their indices: --classes " + ",".join(wanted),
                file=str(self.path),
            )
        rows = match_classes(names, wanted, options.mapping, str(self.path))
        reading = Reading(
            classes=names,
            rows=rows,
            size=self.scenario.training.image_size,
            layout=options.layout,
            input_range=input_range,
            channel_order=options.channel_order,
        )
        adapted = adapt(foreign, reading)
        origin = Origin.of(
            foreign,
            adapted,
            channel_order=options.channel_order,
            classes={name: names[row] for name, row in zip(wanted, rows, strict=True)},
            source=options.source,
        )
        ir.describe(adapted.model, classes=wanted, precision=adapted.precision)
        said = f"{origin.file} sha256:{origin.sha256}"
        adapted.model.set_rt_info(said, ["guardianflow", "origin"])
        return adapted, origin

    def _tags(self, dataset: Dataset, origin: Origin) -> dict[str, str]:
        return {
            **scenario_tags(self.scenario, dataset, "import"),
            "guardianflow.recipe": RECIPE,
            "guardianflow.origin_identity": origin.identity(),
        }

    def _find(self, dataset: Dataset, origin: Origin) -> ImportedModel | None:
        """A finished import of the same content, read in the same way, for the same settings."""
        client = self.registry.client
        for run in find_same_work(client, self.scenario, self._tags(dataset, origin)):
            if ready_model(client, run):
                run_id = run.info.run_id
                log.info("found the import again: run %s", run_id)
                figures = read_evaluation(client, run_id)
                return ImportedModel(run_id, MODEL, figures, origin, reused=True)
        return None

    def _import(self, dataset: Dataset, adapted: Adapted, origin: Origin) -> ImportedModel:
        scenario, client = self.scenario, self.registry.client
        tags = self._tags(dataset, origin)
        name = f"import {origin.file} for {scenario.name} {scenario.version}"
        with TemporaryDirectory() as text:
            folder = Path(text)
            check_answers(adapted.model, _squares(dataset, adapted.size), str(self.path))
            saved = ir.save(adapted.model, folder / "ir")
            thresholds = self._choose_thresholds(dataset, saved, origin)
            with open_run(client, scenario, name, dataset, tags) as run:
                run.log_params(origin.model_dump(mode="json"))
                run.log_params({"beta": scenario.evaluation.beta, "thresholds": thresholds})
                run.log_splits({"val": "validation", "test": "evaluation"})
                evaluation = self._keep(run, dataset, saved, origin, tags)
        return ImportedModel(run.run_id, MODEL, evaluation, origin)

    def _choose_thresholds(
        self, dataset: Dataset, saved: Path, origin: Origin
    ) -> tuple[float, ...]:
        """Let the IR say from which score a box is shown, as the val split has it best.

        Raises:
            ModelInvalid: It sees nothing of what is labelled there.
        """
        val, classes = dataset.samples("val"), dataset.classes
        found = self._detect("thresholds", IrDetector(saved), val)
        reached = evaluate(found, val, classes).map50
        if reached < _DIM:
            self._refuse_blind(dataset, reached, origin)
        thresholds = choose_thresholds(found, val, classes, beta=self.scenario.evaluation.beta)
        ir.set_thresholds(saved, thresholds)
        return thresholds

    def _refuse_blind(self, dataset: Dataset, reached: float, origin: Origin) -> None:
        """A wrong range is no error for a network: it is only blind. So the other one is tried."""
        val = dataset.samples("val")
        said = f"{self.path} reaches mAP50 {reached:.3f} on the {len(val)} images of val"
        other = InputRange.BYTES if origin.input_range == InputRange.UNIT else InputRange.UNIT
        with TemporaryDirectory() as text:
            try:
                saved = ir.save(self._open(other)[0].model, Path(text))
            except ModelInvalid:
                # An input of bytes has one range.
                better = 0.0
            else:
                found = self._detect("try the other range", IrDetector(saved), val)
                better = evaluate(found, val, dataset.classes).map50
        if better > max(2 * reached, reached + 0.05):
            raise ModelInvalid(
                f"{said} with pixels as {origin.input_range}, and {better:.3f} as {other.value}.",
                remedy=f"Add --input-range {other.value}",
                reached=reached,
                other=better,
            )
        if reached < _BLIND:
            raise ModelInvalid(
                f"{said}: it sees nothing of what is labelled.",
                remedy="Look whether its classes are named in the right order (--classes), whether "
                "it wants blue first (--channels bgr) or pixels less a mean, and whether it was "
                "trained for such images.",
                reached=reached,
            )

    def _keep(
        self, run: OpenRun, dataset: Dataset, saved: Path, origin: Origin, tags: Mapping[str, str]
    ) -> Evaluation:
        """Measure on the test split as deployed, and bring everything to MLflow."""
        samples = dataset.samples("test")
        deployed = IrDetector(wrap(saved, saved.parent / "edge"))
        found = self._detect("evaluate", deployed, samples)
        evaluation = evaluate(found, samples, dataset.classes, deployed.thresholds, draws=DRAWS)
        self._report("upload", 0, 1)
        seen = Seen(found, deployed.thresholds)
        papers = write_papers(saved.parent / "papers", dataset, seen, evaluation)
        (papers / _ORIGIN_FILE).write_text(origin.model_dump_json(indent=1), "utf-8")
        run.log_files(papers)
        model_id = run.log_model(saved, None, tags)
        run.log_metrics(evaluation.metrics("test."), split="test", model_id=model_id)
        self._report("upload", 1, 1, f"mAP50 {evaluation.map50:.3f} on {len(samples)} images")
        return evaluation

    def _detect(
        self, step: str, detector: IrDetector, samples: Sequence[Sample]
    ) -> list[Detections]:
        def show(done: int, total: int) -> None:
            self._report(step, done, total)

        return detect(detector, samples, on_progress=show)


def _squares(dataset: Dataset, size: int) -> list[NDArray[np.uint8]]:
    return [letterbox(load_image(s.image), size)[0] for s in dataset.samples("val")[:_PROBED]]
