"""What weights trained on COCO are worth, and cost: `python -m benchmarks.pretrained_start`.

On the photographs of ppe-real-small (GUARDIANFLOW_REAL_DATA), from each seed:

    scratch   our network from random weights, 18 epochs
    coco      NanoDet-g from its trained weights, as `scenario init` writes it

Each training is a process of its own on one thread; its processor seconds are those of training
alone. FP32 and INT8 are measured on the test split as they are deployed. Trainings that are there
already are not done again. Three seeds of both take about an hour.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from benchmarks.edge_models import make_edge_models
from benchmarks.figures import RESULTS, Row, tell
from guardianflow.lifecycle.training.kept_weights import weights_folder
from guardianflow.lifecycle.training.starting import start_from_coco
from guardianflow.machine.servers import home
from guardianflow.names import ModelName
from guardianflow.scenario import Scenario, ScenarioSpec
from guardianflow.scenario.file import load_spec
from guardianflow.scenario.template import write_scenario
from guardianflow.vision.data.dataset import Dataset, prepare_dataset
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.detections import detect
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.intervals import DRAWS
from guardianflow.vision.network.fitting import fit

NAME = "pretrained-start"
SCENARIO = "openyard-helmets"
SCRATCH = {"epochs": 18}
WAYS = ("scratch", "coco")
_COMMAND = "`make bench-pretrained`"


def scenario_of(way: str, seed: int, epochs: int | None) -> Scenario:
    """The settings of one training."""
    spec: ScenarioSpec = load_spec(SCENARIO)
    scenario = spec.version("v1").check()
    more: dict[str, Any] = dict(SCRATCH)
    if way == "coco":
        text = write_scenario(ModelName.parse("a/b-c/d/e"), Path("photos"), scenario.classes)
        more = yaml.safe_load(text)["training"]
    more |= {"seed": seed} | ({"epochs": epochs} if epochs else {})
    training = {**scenario.training.model_dump(), **more}
    return scenario.model_copy(
        update={"training": type(scenario.training).model_validate(training)}
    )


def folder_of(folder: Path, way: str, scenario: Scenario) -> Path:
    """Where a training is kept: with other settings it is another one."""
    return folder / f"{way}-{scenario.training.seed}-{scenario.digest[:8]}"


def measure(scenario: Scenario, folder: Path) -> dict[str, Any]:
    """Train, quantize and measure one scenario."""
    dataset = prepare_dataset(scenario.dataset, scenario.classes)
    coco = scenario.training.start == "coco"
    start = start_from_coco(scenario.training, dataset).detector if coco else None
    train, val = dataset.samples("train"), dataset.samples("val")
    began = time.process_time()
    fitted = fit(scenario.training, train, val, dataset.classes, start=start)
    spent = time.process_time() - began
    models = make_edge_models(scenario, dataset, fitted.detector, folder)
    judgements = {precision: judged(model, dataset) for precision, model in models.items()}
    return {"processor_s": round(spent, 1), "best_epoch": fitted.best_epoch, **judgements}


def judged(model: Path, dataset: Dataset) -> dict[str, Any]:
    """What a deployed model reaches on the test split, with 95 % intervals over its images."""
    samples, detector = dataset.samples("test"), IrDetector(model)
    found = evaluate(
        detect(detector, samples), samples, dataset.classes, detector.thresholds, draws=DRAWS
    )
    return {
        "map50": found.map50,
        "map50_95": found.map50_95,
        "bounds": {
            key: bounds.model_dump()
            for key, bounds in (("map50", found.map50_bounds), ("map50_95", found.map50_95_bounds))
            if bounds
        },
        "ap50": {name: one.ap50 for name, one in found.per_class.items()},
        "recall": {name: one.recall for name, one in found.per_class.items()},
    }


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """Of each way the means over seeds, beside the goals; what it costs, and what INT8 loses."""
    runs, made = figures["runs"], list[Row]()
    around = _around(runs["coco"])
    goals = {"map50": ("mAP50", "≥ 0.62"), "map50_95": ("mAP50-95", "≥ 0.32")}
    for key, (words, goal) in goals.items():
        said = _both(runs, lambda one, key=key: one["fp32"][key])
        made.append((words, goal, f"{said}{around[key]}", _COMMAND))
    no_helmet = _both(runs, lambda one: one["fp32"]["ap50"]["no_helmet"])
    made.append(("AP50 of no_helmet", "≥ 0.45", no_helmet, _COMMAND))
    spent = {way: mean(one["processor_s"] for one in runs[way]) for way in WAYS}
    ratio = f"{spent['coco'] / spent['scratch']:.1f}×, {spent['coco']:.0f} s"
    made.append(("processor time of the training against scratch", "≤ 4.5×", ratio, _COMMAND))
    lost = [100 * (one["fp32"]["map50_95"] - one["int8"]["map50_95"]) for one in runs["coco"]]
    said = f"{mean(lost):+.1f} points ({min(lost):+.1f} to {max(lost):+.1f})"
    made.append(("what INT8 loses of mAP50-95", "≤ 0.5 points", said, _COMMAND))
    return made


def _around(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The widest 95 % interval over the images of the split, of the figures of all seeds."""
    told: dict[str, str] = {}
    for key in ("map50", "map50_95"):
        bounds = [one["fp32"]["bounds"][key] for one in runs]
        low, high = min(one["low"] for one in bounds), max(one["high"] for one in bounds)
        told[key] = f"; over images coco {low:.2f}–{high:.2f}"
    return told


def _both(runs: Mapping[str, Any], value: Any) -> str:
    told: list[str] = []
    for way in reversed(WAYS):
        found = [value(one) for one in runs[way]]
        told.append(f"{way} {mean(found):.3f} ({min(found):.3f}–{max(found):.3f})")
    return ", ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="instead of those of both ways")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=home() / NAME, help="of the trainings")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    if wanted.one:
        way, seed = wanted.one
        scenario = scenario_of(way, int(seed), wanted.epochs)
        folder = folder_of(wanted.folder, way, scenario)
        figures = measure(scenario, folder)
        (folder / "figures.json").write_text(json.dumps(figures))
        return
    weights = weights_folder()
    if not weights.is_dir():
        sys.exit(f"no weights in {weights}: run `guardianflow weights fetch`")
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for seed in wanted.seeds:
        for way in WAYS:
            scenario = scenario_of(way, seed, wanted.epochs)
            file = folder_of(wanted.folder, way, scenario) / "figures.json"
            if not file.is_file():
                print(f"{way}, seed {seed}: training", flush=True)
                words = ["--one", way, str(seed), "--folder", str(wanted.folder)]
                words += ["--epochs", str(wanted.epochs)] if wanted.epochs else []
                command = [sys.executable, "-m", "benchmarks.pretrained_start", *words]
                subprocess.run(command, check=True)
            runs[way].append({"seed": seed, **json.loads(file.read_text())})
    found = {"seeds": len(wanted.seeds), "runs": runs}
    tell(NAME, found, rows(found), wanted.out)


if __name__ == "__main__":
    main()
