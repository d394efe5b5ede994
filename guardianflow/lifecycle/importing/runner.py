"""Brings in a detector that another trainer made, and registers it as @candidate, once.

    file --a child opens, rebuilds, tries it--> FP32 IR --val: how is it read? does it see?-->
                                                               thresholds    test: figures
                                                                                 |
                                             @candidate <-- registry <-- MLflow run + model

From then on it is a version like those that are trained here: quantized, judged, promoted and
rolled back by the same code. The same file is imported only once for a scenario.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from mlflow.entities import Run
from numpy.typing import NDArray

from guardianflow.errors import ModelInvalid
from guardianflow.evaluation.import_source import Origin
from guardianflow.lifecycle.importing.options import ImportOptions
from guardianflow.lifecycle.importing.trials import Trials
from guardianflow.lifecycle.making import Made, Work, keep_measured, register_made
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.runs import read_evaluation
from guardianflow.mlflow_store.same_work import refuse_edited
from guardianflow.progress import Progress, Reporter
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario
from guardianflow.vision.data.dataset import load_image, prepare_dataset
from guardianflow.vision.data.sample import Dataset
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.confined import IR, ReadingAnswer, ReadingRequest
from guardianflow.vision.ir.confinement import read_confined
from guardianflow.vision.ir.serving import InputGeometry, IrDetector, place_frame
from guardianflow.vision.metrics.detections import detect
from guardianflow.vision.metrics.evaluation import Evaluation, evaluate
from guardianflow.vision.metrics.thresholds import choose_thresholds

# Part of an import's identity: raise it when the same file would give another IR.
RECIPE = "1"
_ORIGIN_FILE = "origin.json"
_PROBED = 8
# Below the first mAP50 it sees nothing; below the second, other ways of reading it are tried.
_BLIND, _DIM = 0.01, 0.15


@dataclass(frozen=True)
class ImportedModel(Made):
    """What an import left in MLflow, with the figures of its IR on the held-out test split."""

    evaluation: Evaluation
    origin: Origin


class ImportRunner:
    """Imports one model file for one scenario version: .onnx, or the .xml of an OpenVINO IR."""

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
        """Import and register; finished work is reused.

        Raises:
            ModelInvalid: The file cannot be read, needs too much memory or time, is no detector
                that is understood, or detects nothing that is labelled.
            ScenarioInvalid: A path or a class of the scenario is wrong.
            DatasetInvalid: The data set cannot be trusted.
            ScenarioFrozen: The scenario version was edited after it had been trained.
            RegistryUnavailable: MLflow does not answer.
        """
        return self.register(self.bring_in())

    def bring_in(self) -> ImportedModel:
        """Import without registering; raises what `run` raises."""
        with scratch() as folder:
            # The file first: it takes a second, a large data set takes minutes.
            self._report("open", 0, 1)
            found = self._read(folder / "first", self.options)
            self._report("open", 1, 1, f"{found.layout}, {found.width} x {found.height} px")
            self._report("data", 0, 1)
            needs = ("val", "test")
            dataset = prepare_dataset(self.scenario.dataset, self.scenario.classes, needs)
            self._report("data", 1, 1)
            refuse_edited(self.registry.client, self.scenario)
            trials, options, found = self._settle(folder, dataset, found)
            origin = self._origin(found, trials.notes)
            inputs = {"guardianflow.origin_identity": origin.identity()}
            work = Work(self.registry, self.scenario, dataset, "import", RECIPE, inputs)
            saved = folder / "settled" / IR
            return work.find(partial(self._made_by, origin)) or self._import(
                work, saved, origin, partial(self._refuse_blind, trials, options, found)
            )

    def register(self, imported: ImportedModel) -> ImportedModel:
        """Register an import as @candidate; repeated calls return the same version."""
        name, origin = self.scenario.get_registered_model_name(), imported.origin
        return register_made(
            self.registry, self.scenario, imported, name, imported.evaluation, origin.tags()
        )

    def _settle(
        self, folder: Path, dataset: Dataset, first: ReadingAnswer
    ) -> tuple[Trials, ImportOptions, ReadingAnswer]:
        """Find out on val how the file is read, and read it into `settled/` in the folder."""
        # It detects little in noise; its outputs on real frames tell more.
        pictures = _pictures(dataset, first)
        self._report("read", 0, 1)
        found = self._read(folder / "again", self.options, pictures)
        trials = Trials(self.path, partial(self._read, pictures=pictures), dataset, self._report)
        options = trials.answer(self.options, found)
        if options == self.options:
            (folder / "again").rename(folder / "settled")
        else:
            found = self._read(folder / "settled", options, pictures)
        self._report("read", 1, 1, f"boxes as {found.boxes}")
        return trials, options, found

    def _read(
        self, folder: Path, options: ImportOptions, pictures: Sequence[NDArray[np.uint8]] = ()
    ) -> ReadingAnswer:
        """Read the file in a child process, which writes our IR to `ir/` in the folder."""
        request = ReadingRequest(
            **options.model_dump(exclude={"max_memory_gib", "max_minutes", "source"}),
            wanted=self.scenario.classes,
            size=self.scenario.training.image_size,
            memory_bytes=int(options.max_memory_gib * 2**30),
            seconds=int(options.max_minutes * 60),
        )
        return read_confined(self.path, folder, request, pictures)

    def _origin(self, found: ReadingAnswer, notes: Sequence[str]) -> Origin:
        return Origin(
            file=self.path.name,
            source=self.options.source,
            sha256=found.sha256,
            format=found.format,
            producer=found.producer,
            opset=found.opset,
            licence=found.licence,
            layout=found.layout,
            input_range=found.pixels.input_range,
            channel_order=found.pixels.channel_order,
            mean=found.pixels.mean,
            std=found.pixels.std,
            size=max(found.height, found.width),
            shape=None if found.height == found.width else (found.height, found.width),
            placement=found.placement,
            precision=found.precision,
            classes=found.called,
            boxes=None if found.usual else found.boxes,
            scores=found.scores,
            background=found.background,
            family=found.family,
            tried=tuple(notes),
        )

    def _made_by(self, origin: Origin, run: Run) -> ImportedModel:
        """Read what a finished import of the same content, read in the same way, made."""
        run_id = run.info.run_id
        figures = read_evaluation(self.registry.client, run_id)
        return ImportedModel(run_id, figures, origin, reused=True)

    def _import(
        self, work: Work, saved: Path, origin: Origin, refuse_blind: Callable[[float], None]
    ) -> ImportedModel:
        scenario = self.scenario
        name = f"import {origin.file} for {scenario.name} {scenario.version}"
        thresholds = self._choose_thresholds(work.dataset, saved, refuse_blind)
        papers = saved.parent / "papers"
        papers.mkdir()
        (papers / _ORIGIN_FILE).write_text(origin.model_dump_json(indent=1), "utf-8")
        with work.open_run(name) as run:
            run.log_params(origin.as_params())
            run.log_params({"beta": scenario.evaluation.beta, "thresholds": thresholds})
            run.log_splits({"val": "validation", "test": "evaluation"})
            evaluation = keep_measured(work, run, saved, papers, self._report)
        return ImportedModel(run.run_id, evaluation, origin)

    def _choose_thresholds(
        self, dataset: Dataset, saved: Path, refuse_blind: Callable[[float], None]
    ) -> tuple[float, ...]:
        """Write the score thresholds that work best on the val split into the IR."""
        val, classes = dataset.samples("val"), dataset.classes
        found = detect(IrDetector(saved), val, on_progress=partial(self._report, "thresholds"))
        reached = evaluate(found, val, classes).map50
        if reached < _DIM:
            refuse_blind(reached)
        thresholds = choose_thresholds(found, val, classes, beta=self.scenario.evaluation.beta)
        ir.set_thresholds(saved, thresholds)
        return thresholds

    def _refuse_blind(
        self, trials: Trials, options: ImportOptions, found: ReadingAnswer, reached: float
    ) -> None:
        """Refuse what sees nothing, and what sees clearly more when it is read otherwise."""
        said = f"{self.path} reaches mAP50 {reached:.3f} on val, read as {found.describe()}"
        if better := trials.better(options, found, reached):
            raise ModelInvalid(
                f"{said}, and {better.map50:.3f} with {better.way.words}.",
                remedy=f"Add {better.way.flags}",
                reached=reached,
                other=better.map50,
            )
        if reached < _BLIND:
            raise ModelInvalid(
                f"{said}: it detects nothing that is labelled, and with other usual pixels, boxes "
                "and placements no more.",
                remedy="Check whether its classes are named in the right order (--classes), and "
                "whether it was trained for such images.",
                reached=reached,
            )


def _pictures(dataset: Dataset, found: ReadingAnswer) -> list[NDArray[np.uint8]]:
    """A few frames of val as the input of the detector."""
    geometry = InputGeometry(found.height, found.width, found.placement)
    frames = (load_image(sample.image) for sample in dataset.samples("val")[:_PROBED])
    return [place_frame(frame, geometry).picture for frame in frames]
