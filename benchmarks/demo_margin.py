"""How far the demo's story is from going otherwise: v1 and v2 at night, from several seeds.

    python -m benchmarks.demo_margin                       ten seeds, a quarter of an hour
    python -m benchmarks.demo_margin --seeds 0 --epochs 1  a smoke test

Seeded trainings differ from processor to processor as they do from seed to seed, so seeds stand for
processors; other numbers of threads, whose sums are rounded in another order, do the same. Each
version is trained and quantized as the demo does, and judged by the rule of the scenario on the
demo's night window; INT8 once as this processor computes it and once limited to AVX2, where sums of
products saturate. Trainings that are there already are not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.edge_models import make_edge_models
from benchmarks.figures import RESULTS, Row, tell
from deployments.demo import WINDOW_IMAGES, WINDOW_SEED, demo_spec
from guardianflow.health.figures import sample_figures
from guardianflow.health.verdict import judge_window, rules_of
from guardianflow.machine.servers import home
from guardianflow.scenario import Light, Scenario
from guardianflow.vision.data.dataset import Dataset, open_dataset, prepare_dataset
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.detections import Seen, detect
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.synthetic import draw_window

NAME = "demo-margin"
WANTED = {"v1": "HEALTHY", "v2": "FAILING"}
# What oneDNN, and so OpenVINO's CPU plugin, takes as its limit.
LIMITED = {"ONEDNN_MAX_CPU_ISA": "AVX2"}


def make(scenario: Scenario, folder: Path) -> None:
    """Train and quantize one version as the demo does; `done` is written last."""
    if (folder / "done").is_file():
        return
    dataset = prepare_dataset(scenario.dataset, scenario.classes)
    fitted = fit(
        scenario.training, dataset.samples("train"), dataset.samples("val"), dataset.classes
    )
    make_edge_models(scenario, dataset, fitted.detector, folder)
    (folder / "done").touch()


def night(folder: Path, scenario: Scenario) -> Dataset:
    """The demo's first night window."""
    if not folder.is_dir():
        draw_window(
            folder,
            scenario.classes,
            light=Light.NIGHT,
            images=WINDOW_IMAGES[0],
            seed=WINDOW_SEED,
            image_size=scenario.training.image_size,
        )
    return open_dataset(folder, scenario.classes)


def look(folder: Path, models: Sequence[str]) -> list[dict[str, Any]]:
    """What each model reaches at night, and what the scenario's rule says of it."""
    scenario = demo_spec().version("v1")
    policy, window = scenario.health, night(folder / "night", scenario)
    samples = window.samples("test")
    found: list[dict[str, Any]] = []
    for model in models:
        for flavour in ("fp32", "int8"):
            detector = IrDetector(folder / model / f"edge-{flavour}")
            seen = Seen(detect(detector, samples), detector.thresholds)
            figures = sample_figures(seen, samples, window.classes).figures(policy.confidence)
            objects = sum(len(sample.classes) for sample in samples)
            said = judge_window(
                policy, rules_of(policy), figures, images=len(samples), objects=objects
            )
            map50 = figures["map50"].model_dump()
            found.append({"model": model, "flavour": flavour, "verdict": said.verdict, **map50})
    return found


def looked_at(folder: Path, models: Sequence[str], limit: Mapping[str, str]) -> Any:
    """The same in a process of its own: the limit has to be there before OpenVINO starts."""
    command = [sys.executable, "-m", "benchmarks.demo_margin", "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--look", *models],
        env={**os.environ, **limit},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """The version nearest to the other verdict, and how many verdicts are what the story needs."""
    made: list[Row] = []
    limit = figures["limit"]
    # The first results did not say it.
    threads = sorted({one["threads"] for one in figures["results"] if "threads" in one})
    trained = f"trained with {' and '.join(map(str, threads))} threads, " if threads else ""
    for version, wanted in WANTED.items():
        ends = [
            (one["high"] - limit if wanted == "FAILING" else limit - one["low"], one)
            for one in figures["results"]
            if one["model"].startswith(version)
        ]
        nearest = max(ends, key=lambda end: end[0])[1]
        right = sum(one["verdict"] == wanted for _, one in ends)
        made.append(
            (
                f"the demo's {version} at night, {figures['seeds']} seeds, {trained}FP32 and INT8, "
                "with and without VNNI",
                f"{wanted} in all, surely beyond {limit:.2f}",
                f"{right} of {len(ends)}; the nearest has mAP50 {nearest['value']:.3f} "
                f"({nearest['low']:.3f}–{nearest['high']:.3f})",
                "`make bench-demo`",
            )
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="of each training")
    parser.add_argument("--epochs", type=int, help="instead of those of the scenario")
    parser.add_argument("--folder", type=Path, default=home() / NAME, help="of the trainings")
    parser.add_argument("--look", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    if wanted.look:
        print(json.dumps(look(wanted.folder, wanted.look)))
        return
    models: dict[str, int] = {}
    seeds: list[int] = wanted.seeds
    numbers: list[int] = wanted.threads
    for version, seed, threads in product(WANTED, seeds, numbers):
        scenario = demo_spec().version(version)
        update = {"seed": seed, "threads": threads}
        update |= {"epochs": wanted.epochs} if wanted.epochs else {}
        training = scenario.training.model_copy(update=update)
        model = f"{version}-{seed}-threads-{threads}"
        models[model] = threads
        print(f"{model}: training and quantizing", flush=True)
        make(scenario.model_copy(update={"training": training}), wanted.folder / model)
    results = [
        {**one, "threads": models[one["model"]], "limited": bool(limit)}
        for limit in ({}, LIMITED)
        for one in looked_at(wanted.folder, list(models), limit)
    ]
    found = {
        "seeds": len(wanted.seeds),
        "limit": demo_spec().version("v1").health.min_map50,
        "frames": WINDOW_IMAGES[0],
        "results": results,
    }
    tell(NAME, found, rows(found), wanted.out)


if __name__ == "__main__":
    main()
