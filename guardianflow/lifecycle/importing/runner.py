"""Brings in a detector that another trainer made, and registers it as @candidate, once.

    file --a child opens, rebuilds, tries it--> FP32 IR --val: does it see at all? thresholds-->
                                                                      test: figures
                                                                                 |
                                             @candidate <-- registry <-- MLflow run + model

From then on it is a version like those that are trained here: quantized, judged, promoted and
rolled back by the same code. The same file is imported only once for a scenario.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from mlflow.entities import Run
from numpy.typing import NDArray

from guardianflow.errors import ModelInvalid
from guardianflow.evaluation.import_source import Origin
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
from guardianflow.vision.ir.reading import BoxForm, ChannelOrder, InputRange, LayoutName
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
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportOptions:
    """What the caller knows about a foreign model that its file may not say.

    Attributes:
        classes: Its class names in the order of their indices; empty: the file names them.
        mapping: What a class of the scenario is called in the file, where that differs.
        layout: What its outputs mean; None: decided by their shapes.
        input_range: Its input value of a white pixel; None: 1 for floats, 255 for bytes.
        channel_order: The order of its colour channels.
        boxes: How its boxes are written; None: decided by its answers.
        max_memory_gib: Memory limit for reading it and running it once.
        max_minutes: Time limit for that.
        source: Where the file came from, if not from this machine, e.g. `models:/ppe-by-hand/3`.
    """

    classes: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict[str, str])
    layout: LayoutName | None = None
    input_range: InputRange | None = None
    channel_order: ChannelOrder = ChannelOrder.RGB
    boxes: BoxForm | None = None
    max_memory_gib: float = 8.0
    max_minutes: float = 10.0
    source: str = ""


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
            self._report("open", 1, 1, f"{found.layout}, {found.size} px")
            self._report("data", 0, 1)
            needs = ("val", "test")
            dataset = prepare_dataset(self.scenario.dataset, self.scenario.classes, needs)
            self._report("data", 1, 1)
            refuse_edited(self.registry.client, self.scenario)
            # It detects little on drawn frames; its answers to real ones say how to read it.
            self._report("try", 0, 1)
            squares = _squares(dataset, found.size)
            found = self._read(folder / "tried", self.options, squares)
            self._report("try", 1, 1, f"boxes as {found.boxes}")
            origin = self._origin(found)
            inputs = {"guardianflow.origin_identity": origin.identity()}
            work = Work(self.registry, self.scenario, dataset, "import", RECIPE, inputs)
            saved = folder / "tried" / IR
            return work.find(partial(self._made_by, origin)) or self._import(
                work, saved, origin, found
            )

    def register(self, imported: ImportedModel) -> ImportedModel:
        """Register an import as @candidate; repeated calls return the same version."""
        name, origin = self.scenario.get_registered_model_name(), imported.origin
        return register_made(
            self.registry, self.scenario, imported, name, imported.evaluation, origin.tags()
        )

    def _read(
        self, folder: Path, options: ImportOptions, squares: Sequence[NDArray[np.uint8]] = ()
    ) -> ReadingAnswer:
        """Read the file in a child process, which writes our IR to `ir/` in the folder."""
        request = ReadingRequest(
            wanted=self.scenario.classes,
            classes=options.classes,
            mapping=dict(options.mapping),
            size=self.scenario.training.image_size,
            layout=options.layout,
            input_range=options.input_range,
            channel_order=options.channel_order,
            boxes=options.boxes,
            memory_bytes=int(options.max_memory_gib * 2**30),
            seconds=int(options.max_minutes * 60),
        )
        return read_confined(self.path, folder, request, squares)

    def _origin(self, found: ReadingAnswer) -> Origin:
        return Origin(
            file=self.path.name,
            source=self.options.source,
            channel_order=self.options.channel_order,
            classes=found.called,
            boxes=None if found.usual else found.boxes,
            **found.model_dump(exclude={"called", "usual", "boxes"}),
        )

    def _made_by(self, origin: Origin, run: Run) -> ImportedModel:
        """Read what a finished import of the same content, read in the same way, made."""
        run_id = run.info.run_id
        figures = read_evaluation(self.registry.client, run_id)
        return ImportedModel(run_id, figures, origin, reused=True)

    def _import(
        self, work: Work, saved: Path, origin: Origin, found: ReadingAnswer
    ) -> ImportedModel:
        scenario = self.scenario
        name = f"import {origin.file} for {scenario.name} {scenario.version}"
        thresholds = self._choose_thresholds(work.dataset, saved, found)
        papers = saved.parent / "papers"
        papers.mkdir()
        (papers / _ORIGIN_FILE).write_text(origin.model_dump_json(indent=1), "utf-8")
        with work.open_run(name) as run:
            run.log_params(origin.model_dump(mode="json", exclude_none=True))
            run.log_params({"beta": scenario.evaluation.beta, "thresholds": thresholds})
            run.log_splits({"val": "validation", "test": "evaluation"})
            evaluation = keep_measured(work, run, saved, papers, self._report)
        return ImportedModel(run.run_id, evaluation, origin)

    def _choose_thresholds(
        self, dataset: Dataset, saved: Path, read: ReadingAnswer
    ) -> tuple[float, ...]:
        """Write the score thresholds that work best on the val split into the IR."""
        val, classes = dataset.samples("val"), dataset.classes
        found = detect(IrDetector(saved), val, on_progress=partial(self._report, "thresholds"))
        reached = evaluate(found, val, classes).map50
        if reached < _DIM:
            self._refuse_blind(dataset, reached, read)
        thresholds = choose_thresholds(found, val, classes, beta=self.scenario.evaluation.beta)
        ir.set_thresholds(saved, thresholds)
        return thresholds

    def _refuse_blind(self, dataset: Dataset, reached: float, read: ReadingAnswer) -> None:
        """Try other ways of reading: a network that is read wrongly gives no error, only noise."""
        val = dataset.samples("val")
        said = f"{self.path} reaches mAP50 {reached:.3f} on the {len(val)} images of val"
        for now, other, option, options in self._other_readings(read):
            better = self._try(dataset, read.size, f"try {option}", options)
            if better > max(2 * reached, reached + 0.05):
                raise ModelInvalid(
                    f"{said} with {now}, and {better:.3f} as {other}.",
                    remedy=f"Add {option} {other}",
                    reached=reached,
                    other=better,
                )
        if reached < _BLIND:
            raise ModelInvalid(
                f"{said}: it detects nothing that is labelled.",
                remedy="Check whether its classes are named in the right order (--classes), "
                "whether it expects blue first (--channels bgr) or pixels less a mean, and whether "
                "it was trained for such images.",
                reached=reached,
            )

    def _other_readings(self, read: ReadingAnswer) -> Iterator[tuple[str, str, str, ImportOptions]]:
        """Yield how it was read, an alternative, the option for that, and all options."""
        for pixels in InputRange:
            if pixels is not read.input_range:
                options = replace(self.options, input_range=pixels)
                yield f"pixels as {read.input_range}", pixels, "--input-range", options
        form = BoxForm.of(centred=not read.boxes.centred, fractions=read.boxes.fractions)
        yield f"boxes as {read.boxes}", form, "--boxes", replace(self.options, boxes=form)

    def _try(self, dataset: Dataset, size: int, step: str, options: ImportOptions) -> float:
        """Return the mAP50 on val with other options; 0 where it cannot be read with them."""
        with scratch() as place:
            folder = place / "otherwise"
            try:
                self._read(folder, options, _squares(dataset, size))
            except ModelInvalid:
                # An input of bytes has only one range.
                return 0.0
            val = dataset.samples("val")
            found = detect(IrDetector(folder / IR), val, on_progress=partial(self._report, step))
            return evaluate(found, val, dataset.classes).map50


def _squares(dataset: Dataset, size: int) -> list[NDArray[np.uint8]]:
    return [
        place_frame(load_image(s.image), InputGeometry(size, size)).picture
        for s in dataset.samples("val")[:_PROBED]
    ]
