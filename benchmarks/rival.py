"""The rival of the accuracy benchmark: Ultralytics YOLO11n, in an environment of its own.

    pip --> ULTRALYTICS/bin/yolo detect train --> best.pt --> yolo export --> ONNX --> canonical IR

Ultralytics is AGPL and its weights are a pickle: nothing of it is imported or unpickled here, its
command line is all that is used, and what comes over is an ONNX file. It starts from random weights
(`yolo11n.yaml`), fetches nothing, and runs on one thread as ours does.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processor_time import Spent, charged
from guardianflow.errors import GuardianflowError
from guardianflow.vision.ir.adaptation import adapt
from guardianflow.vision.ir.foreign import open_foreign
from guardianflow.vision.ir.ir import describe
from guardianflow.vision.ir.reading import Reading, match_classes

if TYPE_CHECKING:
    import openvino as ov

MODEL = "yolo11n"
ULTRALYTICS, TORCHVISION = "8.4.190", "0.28.0"
# Ultralytics and torchvision come without what they ask for: a window system's OpenCV, a CUDA
# build of torch and a client of a web service are not needed to train.
_BARE = (f"ultralytics=={ULTRALYTICS}", f"torchvision=={TORCHVISION}", "ultralytics-thop>=2.2.3")
_NEEDED = (
    "numpy",
    "matplotlib",
    "opencv-python-headless",
    "pillow",
    "pyyaml",
    "requests",
    "psutil",
    "polars",
    "scipy",
    "onnx",
)
_OPERATORS = Path(__file__).with_name("torchvision_ops.py")
_INSTALLED_AS = "guardianflow_torchvision_ops"
_TOTAL = re.compile(r"^\s*all\s+\d+\s+\d+\s+\S+\s+\S+\s+(\S+)\s+(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """A way to train the rival.

    Attributes:
        options: Of its command line, beside its own defaults.
        what: In words.
        short: Shrink its warm-up of 3 epochs and its 10 last ones without mosaics to a seventh and
            a quarter of a training that is too short for them.
    """

    options: Mapping[str, object]
    what: str
    short: bool = False

    def within(self, epochs: int) -> dict[str, object]:
        """The options of a training of so many epochs."""
        if not self.short:
            return dict(self.options)
        shrunk = {
            "warmup_epochs": min(3.0, round(epochs / 7, 2)),
            "close_mosaic": min(10, max(1, round(epochs / 4))),
        }
        return {**self.options, **shrunk}


@dataclass(frozen=True)
class Rival:
    """An installed rival.

    Args:
        folder: Its virtual environment.
        state: Where it keeps its settings.
    """

    folder: Path
    state: Path

    def install(self) -> None:
        """Set the environment up where it is missing; the stamp is written last."""
        stamp = self.folder / ".ready"
        wanted = f"{ULTRALYTICS} {TORCHVISION} {_torch()}\n"
        if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
            print(f"installing Ultralytics into {self.folder}", flush=True)
            _run([sys.executable, "-m", "venv", str(self.folder)])
            pip = [str(self.folder / "bin" / "python"), "-m", "pip", "install", "-q"]
            pip += ["--disable-pip-version-check"]
            _run([*pip, "--no-deps", *_BARE])
            _run([*pip, f"torch=={_torch()}", *_NEEDED])
        packages = next((self.folder / "lib").glob("python3*")) / "site-packages"
        shutil.copyfile(_OPERATORS, packages / f"{_INSTALLED_AS}.py")
        (packages / f"{_INSTALLED_AS}.pth").write_text(
            f"import {_INSTALLED_AS}; {_INSTALLED_AS}.install()\n", encoding="utf-8"
        )
        stamp.write_text(wanted, "utf-8")

    def environment(self) -> dict[str, str]:
        """One thread, no network, no packages installed behind our back."""
        return {
            **os.environ,
            "YOLO_CONFIG_DIR": str(self.state),
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_VERBOSE": "true",
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def train(
        self,
        data: Path,
        more: Mapping[str, object],
        *,
        epochs: int,
        seed: int,
        image_size: int,
        folder: Path,
    ) -> Spent:
        """Train from random weights; weights/best.pt and results.csv are then in the folder."""
        options: dict[str, object] = {
            "model": f"{MODEL}.yaml",
            "data": data,
            "imgsz": image_size,
            "epochs": epochs,
            "seed": seed,
            # Decoded images stay in memory, as ours do.
            "cache": "ram",
            "device": "cpu",
            "workers": 0,
            # Its check of mixed precision would fetch weights; on a CPU it changes nothing else.
            "amp": False,
            "plots": False,
            "project": folder.parent,
            "name": folder.name,
            "exist_ok": True,
            **more,
        }
        return self._command("train", options, folder)

    def export(self, folder: Path, image_size: int) -> Path:
        """Write best.onnx beside weights/best.pt, by the rival's own exporter."""
        weights = folder / "weights" / "best.pt"
        options = {"model": weights, "format": "onnx", "imgsz": image_size, "simplify": False}
        self._command("export", {**options, "device": "cpu"}, folder)
        return weights.with_suffix(".onnx")

    def own_figures(self, data: Path, folder: Path, image_size: int) -> dict[str, float]:
        """What the rival's own evaluator says about the test split: mAP50 and mAP50-95."""
        options: dict[str, object] = {
            "model": folder / "weights" / "best.pt",
            "data": data,
            "split": "test",
            "imgsz": image_size,
            "device": "cpu",
            "workers": 0,
            "plots": False,
            "project": folder,
            "name": "own",
            "exist_ok": True,
        }
        self._command("val", options, folder)
        found = _TOTAL.findall((folder / "val.log").read_text("utf-8", errors="replace"))
        if not found:
            raise GuardianflowError(f"{folder / 'val.log'} holds no figures of all classes.")
        return {"map50": float(found[-1][0]), "map50_95": float(found[-1][1])}

    def _command(self, mode: str, options: Mapping[str, object], folder: Path) -> Spent:
        words = [f"{key}={value}" for key, value in options.items()]
        return charged(
            [str(self.folder / "bin" / "yolo"), "detect", mode, *words],
            log=folder / f"{mode}.log",
            environment=self.environment(),
            folder=folder,
        )


def canonical_ir(onnx: Path, classes: Sequence[str], image_size: int) -> "ov.Model":
    """The rival's network as `guardianflow import` would take it."""
    foreign = open_foreign(onnx)
    rows = match_classes(foreign.names, classes, {}, str(onnx))
    adapted = adapt(foreign, rows, Reading(size=image_size))
    geometry = (adapted.side.height, adapted.side.width, adapted.placement)
    describe(adapted.model, classes=classes, precision=adapted.precision, geometry=geometry)
    return adapted.model


def write_dataset(root: Path, classes: Sequence[str], folder: Path) -> Path:
    """Copy a data set to where the rival may write beside it, and return its data.yaml.

    The rival keeps caches beside labels and rewrites images that it takes for damaged: never let it
    near the original.
    """
    if not (folder / "data.yaml").is_file():
        for part in ("images", "labels"):
            shutil.copytree(
                root / part, folder / part, dirs_exist_ok=True, copy_function=shutil.copyfile
            )
        names = "\n".join(f"  {index}: {name}" for index, name in enumerate(classes))
        splits = "\n".join(f"{split}: images/{split}" for split in ("train", "val", "test"))
        text = f"path: {folder}\n{splits}\nnames:\n{names}\n"
        (folder / "data.yaml").write_text(text, encoding="utf-8")
    return folder / "data.yaml"


def _torch() -> str:
    return importlib.metadata.version("torch").partition("+")[0]


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GuardianflowError(
            f"`{' '.join(command[:5])} ...` ended with {done.returncode}, and said: "
            f"{done.stderr.strip()[-800:]}",
            remedy="Delete the folder of the rival's environment and begin again.",
        )
