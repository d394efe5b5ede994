"""Turns a registered FP32 version into the INT8 variant for the edge box, and measures both.

    version N --download, verified--> FP32 IR --NNCF, calibrated on train--> INT8 IR
                                         |                                     |
                                         +---- held-out test split, latency ---+--> @candidate

It measures; whether the figures suffice is the gate's business.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from guardianflow.data.dataset import Dataset, load_image, prepare_dataset
from guardianflow.edge import ir
from guardianflow.edge.processing import wrap
from guardianflow.edge.serving import IrDetector, letterbox
from guardianflow.errors import ModelUnknown, NoCandidate, ScenarioInvalid
from guardianflow.measuring.album import draw_album
from guardianflow.measuring.comparison import PairedComparison, compare
from guardianflow.measuring.detections import Seen, detect
from guardianflow.measuring.evaluation import Evaluation, evaluate
from guardianflow.measuring.intervals import DRAWS
from guardianflow.measuring.latency import Latency, instruction_set, measure_latency
from guardianflow.measuring.measurement import deployed_folder, ir_folder
from guardianflow.measuring.pictures import comparison_sheet
from guardianflow.measuring.thresholds import settle_thresholds
from guardianflow.progress import Progress, Reporter
from guardianflow.registry import ModelAlias, ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import Scenario
from guardianflow.tracking import (
    EVALUATION_FILE,
    MODEL,
    OpenRun,
    find_finished,
    open_run,
    read_text,
    ready_model,
    refuse_edited,
    same_work,
    scenario_tags,
)

# Part of a quantization's identity: raise it when the same source would now give another IR.
RECIPE = "3"
_FIGURES_FILE = "quantization.json"
_PICTURED = 6
_TIMED_FRAMES = 16
_DIGEST_TAG = "guardianflow.scenario_digest"
_QUARANTINED = "rolled_back"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantizedModel:
    """What a quantization left in MLflow.

    Attributes:
        run_id: The MLflow run.
        artifact_path: Name of the run's LoggedModel.
        fp32: The source on the held-out test split.
        int8: The variant on the same images.
        difference: What quantization cost on them, paired.
        fp32_latency: The source, computed in float32.
        default_latency: The source in the precision that OpenVINO would choose on this CPU: what
            INT8 has to beat.
        int8_latency: The variant.
        source_version: Version of the base that it was made from.
        version: The registered version of the variant, once it is registered.
        reused: Whether an earlier quantization was found instead.
    """

    run_id: str
    artifact_path: str
    fp32: Evaluation
    int8: Evaluation
    difference: PairedComparison
    fp32_latency: Latency
    default_latency: Latency
    int8_latency: Latency
    source_version: int
    version: int | None = None
    reused: bool = False


class QuantizationRunner:
    """Quantizes one registered version.

    Args:
        scenario: Says how, and on which data set.
        registry: Where runs and versions are kept.
        source_version: Version of the base model; see `choose_source`.
        on_progress: Told how far it is, at most twice a second.
    """

    def __init__(
        self,
        scenario: Scenario,
        registry: ModelRegistryManager,
        source_version: int,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.registry = registry
        self.source_version = source_version
        self._report = Reporter(on_progress)

    def run(self) -> QuantizedModel:
        """Quantize and register; what was done before is not done again.

        Raises:
            VersionNotReady: There is no such source version.
            ArtifactMissing: The source holds no IR, or a file of it is gone or differs.
            ScenarioInvalid: The source detects other classes than the scenario has.
            ScenarioFrozen: The scenario version was edited after it had been trained.
            DatasetInvalid: The data set cannot be trusted.
            RegistryUnavailable: MLflow does not answer.
        """
        return self.register(self.quantize())

    def quantize(self) -> QuantizedModel:
        """Quantize without registering; raises what `run` raises."""
        self._report("data", 0, 1)
        dataset = prepare_dataset(self.scenario.dataset, self.scenario.classes)
        for split in ("train", "val", "test"):
            dataset.samples(split)
        self._report("data", 1, 1)
        refuse_edited(self.registry.client, self.scenario)
        source = self.registry.get_version(self.scenario.model_name, self.source_version)
        return self._find(dataset, source) or self._quantize(dataset, source)

    def register(self, quantized: QuantizedModel) -> QuantizedModel:
        """Register a quantization as @candidate of the variant; again gives the same version."""
        settings = self.scenario.quantization
        source = self.registry.get_version(self.scenario.model_name, self.source_version)
        name = self.scenario.get_registered_model_name(settings.flavour)
        info = self.registry.register_model(
            quantized.run_id,
            quantized.artifact_path,
            name,
            tags={
                "guardianflow.scenario": self.scenario.name,
                "guardianflow.scenario_version": self.scenario.version,
                "guardianflow.scenario_digest": self.scenario.digest,
                "guardianflow.source_version": str(self.source_version),
                "guardianflow.map50": f"{quantized.int8.map50:.4f}",
                "guardianflow.instruction_set": quantized.int8_latency.instruction_set,
                "backend": settings.backend,
                "precision": settings.precision,
                "source_run_id": source.run_id or "",
            },
        )
        log.info("version %d -> %s version %d", self.source_version, name, info.version)
        return replace(quantized, version=info.version)

    def _tags(self, dataset: Dataset, source: RegisteredModelInfo) -> dict[str, str]:
        return {
            **scenario_tags(self.scenario, dataset, "quant"),
            "guardianflow.recipe": RECIPE,
            "guardianflow.source_version": str(source.version),
            "guardianflow.source_run_id": source.run_id or "",
            "guardianflow.instruction_set": instruction_set(),
        }

    def _find(self, dataset: Dataset, source: RegisteredModelInfo) -> QuantizedModel | None:
        """A finished quantization of the same source, settings and data, measured on such a CPU."""
        client = self.registry.client
        tags = same_work(self._tags(dataset, source))
        for run in find_finished(client, self.scenario, tags):
            if ready_model(client, run):
                figures = json.loads(read_text(client, run.info.run_id, _FIGURES_FILE))
                log.info("found the quantization again: run %s", run.info.run_id)
                return self._result(run.info.run_id, figures, reused=True)
        return None

    def _quantize(self, dataset: Dataset, source: RegisteredModelInfo) -> QuantizedModel:
        scenario = self.scenario
        fp32 = ir_folder(self.registry, scenario.model_name.public, source.version)
        known = IrDetector(fp32).classes
        if known != dataset.classes:
            raise ScenarioInvalid(
                f"Version {source.version} of {scenario.model_name} detects {', '.join(known)}; "
                f"scenario {scenario.name} {scenario.version} has {', '.join(dataset.classes)}.",
                remedy="Quantize it with the scenario version that it was trained from.",
                scenario=scenario.name,
                version=source.version,
            )
        name = f"quant {scenario.name} {scenario.version} of version {source.version}"
        tags = self._tags(dataset, source)
        with (
            open_run(self.registry.client, scenario, name, dataset, tags) as run,
            TemporaryDirectory() as text,
        ):
            folder = Path(text)
            run.log_params(scenario.quantization.model_dump())
            run.log_splits({"train": "calibration", "val": "validation", "test": "evaluation"})
            int8 = self._calibrate(dataset, fp32, folder / "ir")
            self._choose_thresholds(run, dataset, int8)
            source_edge = deployed_folder(self.registry, scenario.model_name.public, source.version)
            edge = wrap(int8, folder / "edge")
            figures = self._measure(run, dataset, source_edge, edge, folder / "papers")
            self._report("upload", 0, 1)
            run.log_files(folder / "papers")
            model_id = run.log_model(int8, None, tags)
            result = self._result(run.run_id, figures)
            run.log_metrics(_metrics(result, fp32, int8), split="test", model_id=model_id)
            self._report("upload", 1, 1)
        return result

    def _calibrate(self, dataset: Dataset, fp32: Path, folder: Path) -> Path:
        settings = self.scenario.quantization
        size = IrDetector(fp32).image_size
        samples = dataset.samples("train")
        # Spread over the split: its order may follow light or camera.
        count = min(settings.calibration_images, len(samples))
        chosen = np.linspace(0, len(samples) - 1, count).round().astype(int)
        squares: list[NDArray[np.uint8]] = []
        for index in chosen:
            squares.append(letterbox(load_image(samples[index].image), size)[0])
            self._report("calibrate", len(squares), count)
        self._report("quantize", 0, 1)
        preset = ir.Preset(settings.preset)
        saved = ir.save(ir.quantize(fp32, squares, count, preset), folder)
        self._report("quantize", 1, 1)
        return saved

    def _choose_thresholds(self, run: OpenRun, dataset: Dataset, int8: Path) -> None:
        """Thresholds of the variant's own: quantization moves scores."""
        beta = self.scenario.evaluation.beta
        thresholds = settle_thresholds(
            int8,
            dataset.samples("val"),
            beta=beta,
            on_progress=lambda done, total: self._report("thresholds", done, total),
        )
        run.log_params({"beta": beta, "thresholds": thresholds})

    def _measure(
        self, run: OpenRun, dataset: Dataset, fp32: Path, int8: Path, folder: Path
    ) -> dict[str, object]:
        """Accuracy and latency before and after; the figures as they are kept in MLflow."""
        detectors = {
            "fp32": IrDetector(fp32),
            "default": IrDetector(fp32, inference_precision="default"),
            "int8": IrDetector(int8),
        }
        samples = dataset.samples("test")
        seen: dict[str, Seen] = {}
        evaluations: dict[str, Evaluation] = {}
        for name in ("fp32", "int8"):
            detector = detectors[name]
            found = detect(
                detector,
                samples,
                on_progress=lambda done, total: self._report("evaluate", done, total),
            )
            evaluations[name] = evaluate(
                found, samples, dataset.classes, detector.thresholds, draws=DRAWS
            )
            seen[name] = Seen(found, detector.thresholds)
        self._report("latency", 0, 1)
        frames = [load_image(sample.image) for sample in samples[:_TIMED_FRAMES]]
        latencies = measure_latency(detectors, frames)
        self._report("latency", 1, 1)
        comparison_sheet(
            samples[:_PICTURED],
            {
                f"{name} mAP50 {evaluations[name].map50:.3f}": seen[name].shown()[:_PICTURED]
                for name in seen
            },
            dataset.classes,
            folder / "pictures" / "fp32-int8.png",
        )
        draw_album(seen["int8"], samples, dataset.classes, folder / "pictures")
        figures: dict[str, object] = {
            **{key: value.model_dump() for key, value in evaluations.items()},
            **{f"{key}_latency": value.model_dump() for key, value in latencies.items()},
            "difference": compare(
                seen["fp32"], seen["int8"], samples, dataset.classes
            ).model_dump(),
        }
        (folder / _FIGURES_FILE).write_text(json.dumps(figures, indent=1), "utf-8")
        (folder / EVALUATION_FILE).write_text(
            evaluations["int8"].model_dump_json(indent=1), "utf-8"
        )
        run.log_params(
            {
                "instruction_set": latencies["int8"].instruction_set,
                "cpu": latencies["int8"].cpu,
                "default_precision": latencies["default"].precision,
            }
        )
        return figures

    def _result(
        self, run_id: str, figures: Mapping[str, object], *, reused: bool = False
    ) -> QuantizedModel:
        return QuantizedModel(
            run_id=run_id,
            artifact_path=MODEL,
            fp32=Evaluation.model_validate(figures["fp32"]),
            int8=Evaluation.model_validate(figures["int8"]),
            difference=PairedComparison.model_validate(figures["difference"]),
            fp32_latency=Latency.model_validate(figures["fp32_latency"]),
            default_latency=Latency.model_validate(figures["default_latency"]),
            int8_latency=Latency.model_validate(figures["int8_latency"]),
            source_version=self.source_version,
            reused=reused,
        )


def choose_source(registry: ModelRegistryManager, scenario: Scenario) -> int:
    """Which FP32 version to quantize: the scenario version's @candidate, else its @champion.

    Settings are compared, not labels: a version that says the same as an earlier one reuses its
    training, which keeps the earlier label.

    Raises:
        NoCandidate: Neither was trained from this scenario version, or the candidate was rolled
            back and the champion is another.
    """
    name = scenario.model_name
    try:
        versions = registry.list_versions(name)
    except ModelUnknown:
        versions = []
    mine = [v for v in versions if v.tags.get(_DIGEST_TAG) == scenario.digest]
    for alias in (ModelAlias.CANDIDATE, ModelAlias.CHAMPION):
        for info in mine:
            if alias.value in info.aliases and info.status != _QUARANTINED:
                return info.version
    raise NoCandidate(
        f"{name} has no @candidate and no @champion that was trained from scenario "
        f"{scenario.name} {scenario.version} and not rolled back.",
        remedy=f"Train it: `guardianflow run {scenario.name} --type train --version "
        f"{scenario.version}`; or name one with --model-version.",
        name=name.public,
        scenario=scenario.name,
        version=scenario.version,
    )


def _metrics(result: QuantizedModel, fp32: Path, int8: Path) -> dict[str, float]:
    return {
        **result.int8.metrics("test."),
        **result.fp32.metrics("test.fp32."),
        **result.difference.metrics("difference."),
        **result.fp32_latency.metrics("latency.fp32."),
        **result.default_latency.metrics("latency.default."),
        **result.int8_latency.metrics("latency.int8."),
        "size.fp32_kib": _size_kib(fp32),
        "size.int8_kib": _size_kib(int8),
    }


def _size_kib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1024
