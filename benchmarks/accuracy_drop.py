"""What INT8 costs in accuracy: against FP32 on the same images, paired, with intervals.

    python -m benchmarks.accuracy_drop                     5000 drawn images, and the photographs
    python -m benchmarks.accuracy_drop --images 40 --epochs 1 --drawn-only      a smoke test

Trains as the scenarios say, quantizes as `guardianflow run --type quant` does (calibration on
train, the choice of the preset on val), and looks at both edge IRs on images that neither saw.
The photographs need GUARDIANFLOW_REAL_DATA; without it they are left out, and the file says so.
So is NanoDet-g, as `scenario init` starts it, without its weights (docs/weights.md).
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, Row, machine, tell
from benchmarks.pretrained_start import scenario_of
from guardianflow.lifecycle.quantization.variants import make_int8
from guardianflow.lifecycle.training.kept_weights import weights_folder
from guardianflow.lifecycle.training.starting import start_from_coco
from guardianflow.scenario import Scenario, StartingPoint, SyntheticData
from guardianflow.scenario.file import load_scenario
from guardianflow.vision.data.dataset import Dataset, prepare_dataset
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.comparison import compare_seen
from guardianflow.vision.metrics.detections import Seen, detect
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.latency import instruction_set
from guardianflow.vision.metrics.thresholds import settle_thresholds
from guardianflow.vision.network.fitting import fit

NAME = "accuracy-drop"
DRAWN, REAL = ("donghwa-entec-ppe", "v3"), ("openyard-helmets", "v2")
LARGE = 1000
"""So many images show a tenth of a point."""


def drawn(images: int, epochs: int | None) -> Scenario:
    """The seed scenario with a test split that is large enough to see a tenth of a point."""
    scenario = shortened(load_scenario(*DRAWN), epochs)
    assert isinstance(scenario.dataset, SyntheticData)
    data = scenario.dataset.model_copy(update={"test_images": images})
    return scenario.model_copy(update={"dataset": data})


def shortened(scenario: Scenario, epochs: int | None) -> Scenario:
    """Trained for fewer epochs, for a test of the benchmark itself."""
    if epochs is None:
        return scenario
    training = scenario.training.model_copy(update={"epochs": epochs})
    return scenario.model_copy(update={"training": training})


def measure(scenario: Scenario, folder: Path) -> dict[str, Any]:
    """Train, quantize, and compare on the test split."""
    dataset = prepare_dataset(scenario.dataset, scenario.classes)
    training = scenario.training
    coco = training.start is StartingPoint.COCO
    fitted = fit(
        training,
        dataset.samples("train"),
        dataset.samples("val"),
        dataset.classes,
        start=start_from_coco(training, dataset).detector if coco else None,
    )
    plain = ir.save(ir.convert_network(fitted.detector, dataset.classes), folder / "fp32")
    settings = scenario.quantization
    int8, making = make_int8(settings, plain, dataset, folder, lambda *_: None)
    beta = scenario.evaluation.beta
    ir.set_thresholds(int8, settle_thresholds(plain, dataset.samples("val"), beta=beta))
    before, after = (look(dataset, one, folder) for one in (plain, int8))
    samples = dataset.samples("test")
    found = compare_seen(before, after, samples, dataset.classes)
    return {
        "scenario": f"{scenario.name} {scenario.version}",
        "start": training.start.value,
        "images": found.images,
        "fp32_map50_95": evaluate(before.detections, samples, dataset.classes).map50_95,
        "preset": making.kept.preset.value,
        "controlled": making.kept.controlled,
        "difference": found.model_dump(mode="json"),
    }


def look(dataset: Dataset, plain: Path, folder: Path) -> Seen:
    """What the edge IR of a plain one sees."""
    deployed = IrDetector(wrap(plain, folder / f"edge-{plain.name}"))
    return Seen(detect(deployed, dataset.samples("test")), deployed.thresholds)


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """mAP50-95 and the class that lost most recall, in points."""
    command = "`make bench-drop`"
    made: list[Row] = []
    for one in figures["results"]:
        difference = one["difference"]
        label, worst = min(difference["recall"].items(), key=lambda item: item[1]["value"])
        network = "NanoDet-g, " if one.get("start") == StartingPoint.COCO else ""
        on = f"{network}{one['images']} images of {one['scenario']} ({one['preset']})"
        for what, lost, goal in (
            ("mAP50-95", difference["map50_95"], map_goal(one)),
            (f"recall of {label}, the class that lost most", worst, recall_goal(one)),
        ):
            wanted = f"loses <= {goal} points" if goal else "the interval stated"
            made.append((f"INT8 against FP32, {what}, {on}", wanted, points(lost), command))
    return made


def map_goal(one: Mapping[str, Any]) -> float | None:
    """How many points of mAP50-95 may be lost; None where so few images decide nothing."""
    if one["images"] >= LARGE:
        return 0.2
    return 0.5 if one.get("start") == StartingPoint.COCO else None


def recall_goal(one: Mapping[str, Any]) -> float | None:
    """How many points of recall may be lost in any class; None where nothing is decided."""
    return 0.5 if one["images"] >= LARGE else None


def points(lost: Mapping[str, float]) -> str:
    """A difference with its interval, for people."""
    value, low, high = (100 * lost[key] for key in ("value", "low", "high"))
    return f"{value:+.2f} points ({low:+.2f} to {high:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=5000, help="drawn test images")
    parser.add_argument("--epochs", type=int, help="instead of those of the scenario")
    parser.add_argument("--drawn-only", action="store_true", help="without the photographs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    scenarios = [drawn(wanted.images, wanted.epochs)]
    real = bool(os.environ.get("GUARDIANFLOW_REAL_DATA")) and not wanted.drawn_only
    if real:
        scenarios.append(shortened(load_scenario(*REAL), wanted.epochs))
        if weights_folder().is_dir():
            scenarios.append(scenario_of("coco", 0, wanted.epochs))
    results: list[dict[str, Any]] = []
    for scenario in scenarios:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(scenario, Path(folder)))
    found = {
        "versions": {"OpenVINO": version("openvino"), "NNCF": version("nncf")},
        "instruction_set": instruction_set(),
        "photographs": "measured" if real else "left out: GUARDIANFLOW_REAL_DATA is not set",
        "results": results,
    }
    tell(NAME, found, rows({"machine": machine(), **found}), wanted.out)


if __name__ == "__main__":
    main()
