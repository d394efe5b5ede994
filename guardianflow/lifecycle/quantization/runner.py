"""Turns a registered FP32 version into a variant for the edge box, and measures both.

    version N --download, verified--> FP32 IR --INT8 or FP16--> IR of the variant
                                         |                            |
                                         +-- test split, latency -----+--> @candidate

It measures, and keeps the gate's judgement of the figures; they are judged again when the variant
is to be promoted.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import assert_never

from mlflow.entities import Run

from guardianflow.errors import ScenarioInvalid
from guardianflow.evaluation.gate import GateReport, judge_variant
from guardianflow.evaluation.import_source import is_imported
from guardianflow.evaluation.measurement import deployed_folder, ir_folder
from guardianflow.evaluation.speed import SpeedReport, VariantCost, compare_speed
from guardianflow.evaluation.variant_records import COST_FILE, SPEED_FOLDER, read_cost
from guardianflow.lifecycle.making import Made, Work, register_made
from guardianflow.lifecycle.quantization.remeasuring import SPEED_TAG, measure_speed
from guardianflow.lifecycle.quantization.variants import make_int8
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.runs import EVALUATION_FILE, OpenRun, read_evaluation
from guardianflow.mlflow_store.same_work import refuse_edited
from guardianflow.progress import Progress, Reporter
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import Precision, Scenario
from guardianflow.vision.data.dataset import load_image, prepare_dataset
from guardianflow.vision.data.sample import Dataset, Sample
from guardianflow.vision.data.yaml_file import SPLITS
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.int8_plan import plan_of
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.evaluation import Evaluation
from guardianflow.vision.metrics.source_comparison import compare_with_source

# Part of a quantization's identity: raise it when the same source would give another IR; what
# changes for one architecture only is in `Int8Plan.recipe`.
RECIPE = "4"
_MAKING_FILE = "making.json"
_OUTCOME_FILE = "outcome.json"
_SOURCE_EVALUATION_FILE = "fp32-evaluation.json"
_TIMED_FRAMES = 16
_OUTCOME_TAG = "guardianflow.variant_outcome"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantizedModel(Made):
    """What a quantization left in MLflow.

    Attributes:
        fp32: The source on the held-out test split.
        variant: The variant on the same images.
        cost: Its speed is None where only another kind of machine has measured it and it is not
            registered yet.
        outcome: The gate's judgement of the cost.
    """

    fp32: Evaluation
    variant: Evaluation
    cost: VariantCost
    outcome: GateReport
    source_version: int

    @property
    def speed(self) -> SpeedReport:
        """The speed on this kind of machine.

        Raises:
            ValueError: It was never measured here; `register` measures it.
        """
        if self.cost.speed is None:
            raise ValueError(f"run {self.run_id} holds no speed of such a machine")
        return self.cost.speed


class QuantizationRunner:
    """Quantizes one registered version of a base, see `choose_source`.

    Without a precision it makes the first variant of the scenario.
    """

    def __init__(
        self,
        scenario: Scenario,
        registry: ModelRegistryManager,
        source_version: int,
        *,
        precision: Precision | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self.registry = registry
        self.source_version = source_version
        self.precision = precision or scenario.quantization.variants[0]
        flavour = scenario.quantization.flavour(self.precision)
        self._name = scenario.get_registered_model_name(flavour)
        self._report = Reporter(on_progress)

    def run(self) -> QuantizedModel:
        """Quantize and register; finished work is reused.

        Raises:
            VersionNotReady: There is no such source version.
            ArtifactMissing: The source holds no IR, or a file of it is gone or differs.
            ScenarioInvalid: The source detects other classes than the scenario has.
            ScenarioFrozen: The scenario version was edited after it had been trained.
            DatasetInvalid: The data set cannot be trusted.
            CalibrationUnfit: Train is unlike the evaluation set, or holds images of it.
            QuantizationUnfit: INT8 answers unlike the source.
            RegistryUnavailable: MLflow does not answer.
        """
        return self.register(self.quantize())

    def quantize(self) -> QuantizedModel:
        """Quantize without registering; raises what `run` raises."""
        self._report("data", 0, 1)
        dataset = prepare_dataset(self.scenario.dataset, self.scenario.classes, SPLITS)
        self._report("data", 1, 1)
        refuse_edited(self.registry.client, self.scenario)
        source = self.registry.get_version(self.scenario.model_name, self.source_version)
        inputs = {
            "guardianflow.precision": self.precision.value,
            "guardianflow.source_version": str(source.version),
            "guardianflow.source_run_id": source.run_id or "",
        }
        recipe = self._recipe(source)
        work = Work(self.registry, self.scenario, dataset, "quant", recipe, inputs)
        return work.find(self._read) or self._quantize(work, source)

    def register(self, quantized: QuantizedModel) -> QuantizedModel:
        """Register a quantization as the variant's @candidate; repeated calls change nothing."""
        source = self.registry.get_version(self.scenario.model_name, self.source_version)
        name, speed = self._name, quantized.cost.speed
        tags = {
            "guardianflow.source_version": str(self.source_version),
            _OUTCOME_TAG: quantized.outcome.outcome.value,
            **({SPEED_TAG + speed.machine: speed.sentence()} if speed else {}),
            "backend": self.scenario.quantization.backend,
            "precision": self.precision.value,
            "source_run_id": source.run_id or "",
        }
        quantized = register_made(
            self.registry, self.scenario, quantized, name, quantized.variant, tags
        )
        if speed is None and quantized.version is not None:
            # It was made, and measured, on another kind of machine.
            speed = measure_speed(self.registry, name, quantized.version).report
            everywhere = tuple(sorted({*quantized.cost.measured_on, speed.machine}))
            here = {"speed": speed, "measured_on": everywhere}
            cost = quantized.cost.model_copy(update=here)
            outcome = judge_variant(name, cost, self.scenario.gate)
            quantized = replace(quantized, cost=cost, outcome=outcome)
        return quantized

    def _read(self, run: Run) -> QuantizedModel | None:
        """Read what a finished quantization of the same source, settings and data made."""
        client, run_id = self.registry.client, run.info.run_id
        cost = read_cost(client, run_id)
        if cost is None:
            return None
        fp32 = read_evaluation(client, run_id, _SOURCE_EVALUATION_FILE)
        return self._result(run_id, fp32, read_evaluation(client, run_id), cost, reused=True)

    def _recipe(self, source: RegisteredModelInfo) -> str:
        """Return the version of the procedure for this source and precision."""
        # Our own networks are quantized alike; only the graph of another trainer has to be read.
        if self.precision is not Precision.INT8 or not is_imported(source):
            return RECIPE
        name = self.scenario.model_name.public
        return RECIPE + plan_of(ir_folder(self.registry, name, source.version)).recipe

    def _quantize(self, work: Work, source: RegisteredModelInfo) -> QuantizedModel:
        scenario, dataset = self.scenario, work.dataset
        fp32 = self._source_ir(dataset, source)
        name = f"quant {scenario.name} {scenario.version} of version {source.version}"
        with work.open_run(name) as run, scratch() as folder:
            settings = scenario.quantization.model_dump(mode="json")
            run.log_params({**settings, "precision": self.precision.value})
            run.log_splits({"train": "calibration", "val": "validation", "test": "evaluation"})
            papers = folder / "papers"
            papers.mkdir()
            made = self._make(run, dataset, fp32, folder, papers)
            thresholds = IrDetector(fp32).thresholds
            ir.set_thresholds(made, thresholds)
            run.log_params({"thresholds": thresholds})
            served = deployed_folder(self.registry, scenario.model_name.public, source.version)
            edge = wrap(made, folder / "edge")
            beside = compare_with_source(
                served,
                edge,
                dataset.samples("test"),
                dataset.classes,
                partial(self._report, "evaluate"),
            )
            beside.draw(self.precision.value, papers / "pictures")
            speed = self._time(dataset.samples("test"), served, edge)
            cost = VariantCost(
                precision=self.precision,
                difference=beside.difference(),
                size_kib=_size_kib(made),
                source_size_kib=_size_kib(fp32),
                speed=speed,
                measured_on=(speed.machine,),
            )
            result = self._result(run.run_id, beside.source, beside.variant, cost)
            self._keep(run, result, made, papers, work.tags)
        return result

    def _source_ir(self, dataset: Dataset, source: RegisteredModelInfo) -> Path:
        """Return the folder of the source's plain IR."""
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
        return fp32

    def _make(self, run: OpenRun, dataset: Dataset, fp32: Path, folder: Path, papers: Path) -> Path:
        """Make the plain IR of the variant, and keep a record of how it was made."""
        match self.precision:
            case Precision.INT8:
                settings = self.scenario.quantization
                run.log_params(plan_of(fp32).params())
                made, making = make_int8(settings, fp32, dataset, folder, self._report)
                (papers / _MAKING_FILE).write_text(making.model_dump_json(indent=1), "utf-8")
                log.info("kept %s: mAP50-95 %.4f on val", making.kept.preset, making.kept.map50_95)
                # The artifact is named after its folder.
                return made.rename(folder / "ir")
            case Precision.FP16:
                return compression.halve(fp32, folder / "ir")
            case _:
                assert_never(self.precision)

    def _time(self, samples: Sequence[Sample], source: Path, variant: Path) -> SpeedReport:
        self._report("latency", 0, 1)
        frames = [load_image(sample.image) for sample in samples[:_TIMED_FRAMES]]
        speed = compare_speed(source, variant, frames)
        self._report("latency", 1, 1)
        return speed

    def _keep(
        self,
        run: OpenRun,
        result: QuantizedModel,
        made: Path,
        papers: Path,
        tags: dict[str, str],
    ) -> None:
        """Bring figures, outcome and model to MLflow."""
        self._report("upload", 0, 1)
        speed, precision = result.speed, self.precision.value
        (papers / SPEED_FOLDER).mkdir()
        for file, record in {
            EVALUATION_FILE: result.variant,
            _SOURCE_EVALUATION_FILE: result.fp32,
            _OUTCOME_FILE: result.outcome,
            # Speed has its own report for each kind of machine.
            COST_FILE: result.cost.model_copy(update={"speed": None, "measured_on": ()}),
            f"{SPEED_FOLDER}/{speed.machine}.json": speed,
        }.items():
            (papers / file).write_text(record.model_dump_json(indent=1), "utf-8")
        run.log_files(papers)
        run.log_params(
            {
                "instruction_set": speed.variant.instruction_set,
                "cpu": speed.variant.cpu,
                "default_precision": speed.default.precision,
                "speed_verdict": speed.verdict,
                "outcome": result.outcome.outcome,
            }
        )
        model_id = run.log_model(made, None, tags)
        metrics = {
            **result.variant.metrics("test."),
            **result.fp32.metrics("test.fp32."),
            **result.cost.difference.metrics("difference."),
            **speed.fp32.metrics("latency.fp32."),
            **speed.default.metrics("latency.default."),
            **speed.variant.metrics(f"latency.{precision}."),
            **speed.metrics("latency."),
            "size.fp32_kib": result.cost.source_size_kib,
            f"size.{precision}_kib": result.cost.size_kib,
        }
        run.log_metrics(metrics, split="test", model_id=model_id)
        self._report("upload", 1, 1)

    def _result(
        self,
        run_id: str,
        fp32: Evaluation,
        variant: Evaluation,
        cost: VariantCost,
        *,
        reused: bool = False,
    ) -> QuantizedModel:
        return QuantizedModel(
            run_id=run_id,
            fp32=fp32,
            variant=variant,
            cost=cost,
            outcome=judge_variant(self._name, cost, self.scenario.gate),
            source_version=self.source_version,
            reused=reused,
        )


def _size_kib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1024
