"""The two sides of the accuracy benchmark: each trains within a budget and leaves a canonical IR.

    cost (two short trainings, once) --> epochs --> train (charged) --> ir/ --> RUN.json

A run that is finished is kept as one file and not done again; a killed one begins anew.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.figures import CHECKOUT, machine
from benchmarks.our_training import write_request
from benchmarks.processor_time import Cost, Spent, charged, probe
from benchmarks.rival import MODEL, ULTRALYTICS, Recipe, Rival, canonical_ir
from guardianflow.scenario import TrainingSettings
from guardianflow.vision.ir import ir
from guardianflow.vision.metrics.latency import cpu_name
from guardianflow.vision.network import weights
from guardianflow.vision.network.fitting import RECIPE

OURS, PRETRAINED = "guardianflow", "guardianflow-coco"


class Contestant(Protocol):
    """One side, with one way to train."""

    @property
    def name(self) -> str:
        """Who it is, as the results say it."""
        ...

    @property
    def probes(self) -> tuple[int, int]:
        """The two numbers of epochs that tell how long one takes."""
        ...

    def identity(self) -> dict[str, object]:
        """What makes its runs what they are, but for budget and seed."""
        ...

    def train(self, run: Path, epochs: int, seed: int) -> Spent:
        """Train in a process of its own, from random weights unless it says otherwise."""
        ...

    def finish(self, run: Path) -> dict[str, object]:
        """Leave the canonical IR in ir/, at nobody's charge; more to be kept of the run."""
        ...


@dataclass(frozen=True)
class Ours:
    """The embedded detector with the settings of a scenario, of which the start is one."""

    data: Path
    settings: TrainingSettings
    name: str = OURS
    # The val split is looked at eight times in a training of eight epochs and in one of sixteen.
    probes: tuple[int, int] = (8, 16)

    def identity(self) -> dict[str, object]:
        settings = self.settings.model_dump(mode="json", exclude={"epochs", "seed"})
        return {"recipe": RECIPE, "settings": settings}

    def train(self, run: Path, epochs: int, seed: int) -> Spent:
        settings = self.settings.model_copy(update={"epochs": epochs, "seed": seed})
        write_request(run, self.data, settings)
        return charged(
            [sys.executable, "-m", "benchmarks.our_training", str(run)],
            log=run / "train.log",
            environment={**os.environ, "OMP_NUM_THREADS": "1"},
            folder=CHECKOUT,
        )

    def finish(self, run: Path) -> dict[str, object]:
        detector, classes = weights.load_weights(run / weights.FILE)
        ir.save(ir.convert_network(detector, classes), run / "ir")
        return {"parameters": sum(value.numel() for value in detector.parameters())}


@dataclass(frozen=True)
class Ultralytics:
    """The rival with one recipe."""

    rival: Rival
    data: Path
    classes: tuple[str, ...]
    image_size: int
    recipe_name: str
    recipe: Recipe
    probes: tuple[int, int] = (1, 3)

    @property
    def name(self) -> str:
        return f"{MODEL}-{self.recipe_name}"

    def identity(self) -> dict[str, object]:
        return {
            "recipe": self.recipe_name,
            "what": self.recipe.what,
            "options": dict(self.recipe.options),
            "image_size": self.image_size,
            "ultralytics": ULTRALYTICS,
        }

    def train(self, run: Path, epochs: int, seed: int) -> Spent:
        return self.rival.train(
            self.data,
            self.recipe.within(epochs),
            epochs=epochs,
            seed=seed,
            image_size=self.image_size,
            folder=run,
        )

    def finish(self, run: Path) -> dict[str, object]:
        onnx = self.rival.export(run, self.image_size)
        ir.save(canonical_ir(onnx, self.classes, self.image_size), run / "ir")
        return {"own_evaluator": self.rival.own_figures(self.data, run, self.image_size)}


def run_within(one: Contestant, folder: Path, budget_s: float, seed: int) -> dict:
    """Train one side within a budget, or find that it was done before.

    Args:
        one: Who.
        folder: Where its runs are kept.
        budget_s: Processor seconds of the whole training process.
        seed: Of weights, order and augmentation.
    """
    cost = _cost(one, folder)
    epochs = cost.epochs_within(budget_s)
    name = f"{one.name}-{budget_s:g}s-seed{seed}"

    def make() -> dict:
        spent = _train(one, folder / name, epochs, seed)
        return {
            "contestant": one.name,
            "run": name,
            "seed": seed,
            "budget_s": budget_s,
            "epochs": epochs,
            "cost": asdict(cost),
            "spent": asdict(spent),
            **one.finish(folder / name),
            "versions": versions(),
            "machine": machine(),
        }

    return _kept(folder, name, identity_of(one), make)


def identity_of(one: Contestant) -> dict[str, object]:
    """What a kept run has to agree with: a budget of seconds is one of this processor."""
    return json.loads(json.dumps({**one.identity(), "processor": cpu_name()}))


def versions() -> dict[str, str]:
    """What computed it."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--abbrev=10", "--dirty"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "guardianflow": commit.stdout.strip() or "unknown",
        "torch": importlib.metadata.version("torch"),
        "OpenVINO": importlib.metadata.version("openvino"),
        "Ultralytics": ULTRALYTICS,
    }


def kept_runs(those: Sequence[Contestant], folder: Path) -> list[dict]:
    """The finished runs of some contestants; those of another recipe or version are left out."""
    runs = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*-seed*.json"))]
    wanted = {one.name: identity_of(one) for one in those}
    return [run for run in runs if wanted.get(run["contestant"]) == run["identity"]]


def _cost(one: Contestant, folder: Path) -> Cost:
    def make() -> dict:
        cost, runs = probe(
            lambda epochs: _train(one, folder / f"probe-{one.name}-{epochs}", epochs, 0),
            one.probes,
        )
        return {**asdict(cost), "probes": runs, "machine": machine()}

    found = _kept(folder, f"cost-{one.name}", identity_of(one), make)
    return Cost(found["start_s"], found["epoch_s"])


def _train(one: Contestant, run: Path, epochs: int, seed: int) -> Spent:
    print(f"{run.name}: {epochs} epochs", flush=True)
    return one.train(run, epochs, seed)


def _kept(
    folder: Path, name: str, identity: Mapping[str, object], make: Callable[[], dict]
) -> dict:
    """What was made under this name with this identity, or now; whole, or not at all."""
    file = folder / f"{name}.json"
    if file.is_file():
        content = json.loads(file.read_text("utf-8"))
        if content["identity"] == identity:
            return content
    content = {"identity": identity, **make()}
    folder.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draft.rename(file)
    return content
