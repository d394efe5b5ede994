"""Makes the exports of foreign trainers, each in an environment of its own: `make foreign-exports`.

    .venv-foreign/torch                    torch and ONNX, 5.6 GB, once for all
    .venv-foreign/NAME -- sees it -------- one trainer --recipes/from_NAME.py--> NAME-*.onnx, .json

Nothing of it comes into `.venv`, and no test needs it: what it writes is committed. Names of
trainers as arguments make those alone. Needs the package registries and no other network.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ENVIRONMENTS = FOLDER.parents[1] / ".venv-foreign"
# torchvision's operators load only beside the torch that they were built with.
SHARED = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "numpy==2.4.6",
    "onnx==1.22.0",
    "onnxruntime==1.26.0",
    "onnxscript==0.6.2",
    "pillow==13.0.0",
)

_OPENCV = ("opencv-python-headless==5.0.0.93", "pyyaml==6.0.4", "requests==2.34.2", "tqdm==4.70.1")


@dataclass(frozen=True)
class Trainer:
    """The packages of a trainer's environment.

    Attributes:
        packages: With their versions.
        loose: Packages whose own requirements are left out: too old for this Python, or too many.
        inside: The folder for `loose`, below site-packages; for wheels that unpack without one.
    """

    packages: tuple[str, ...]
    loose: tuple[str, ...] = ()
    inside: str = ""


TRAINERS = {
    "ultralytics": Trainer(("ultralytics==8.4.190", "onnxslim==0.1.98")),
    "transformers": Trainer(("transformers==5.24.0",)),
    "getitune": Trainer(("getitune==0.4.0",)),
    "rfdetr": Trainer(("rfdetr[onnx]==1.11.2",)),
    "yolox": Trainer(("pixeltable-yolox==0.4.3",)),
    "yolov7": Trainer((*_OPENCV, "scipy==1.17.1"), loose=("sas-yolov7==1.0.7",)),
    "yolov5": Trainer(
        (
            *_OPENCV,
            "ultralytics==8.4.190",
            "pandas==3.1.1",
            "seaborn==0.13.2",
            "gitpython==3.2.1",
            # The last that has pkg_resources.
            "setuptools==80.9.0",
        ),
        loose=("yolov5==7.0.14",),
    ),
    "dfine": Trainer(
        (
            *_OPENCV,
            "faster-coco-eval==1.8.0",
            "tensorboard==2.21.0",
            "calflops==0.3.2",
            "scipy==1.17.1",
            "loguru==0.7.3",
            "transformers==5.24.0",
        ),
        loose=("d-fine-project==1.0.0",),
        inside="dfine",
    ),
}


def main() -> None:
    """Make the exports of the named trainers, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # argparse looks for the empty list among the choices, too.
    parser.add_argument("trainers", nargs="*", choices=[*TRAINERS, []], metavar="TRAINER")
    for name in parser.parse_args().trainers or TRAINERS:
        recipe = FOLDER / "recipes" / f"from_{name}.py"
        print(f"{name}: {recipe.relative_to(FOLDER.parents[1])}", flush=True)
        # Threads change the order of sums, and with them the last bits of what is written.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        subprocess.run([_python(name), recipe, FOLDER], check=True, env=environment)


def _python(name: str) -> Path:
    """Return the Python of a trainer's environment, which is made if it is not there."""
    trainer = TRAINERS[name]
    shared = _environment("torch", SHARED)
    place = _environment(name, trainer.packages, sees=shared)
    if trainer.loose and not (marker := place / ".loose").exists():
        target = _site_packages(place) / trainer.inside
        _pip(place, "--no-deps", "--target", str(target), *trainer.loose)
        marker.touch()
    return place / "bin" / "python"


def _environment(name: str, packages: tuple[str, ...], sees: Path | None = None) -> Path:
    place = ENVIRONMENTS / name
    # Written last: an interrupted set-up is done again.
    marker = place / ".ready"
    if not marker.exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        if sees:
            (_site_packages(place) / "shared.pth").write_text(f"{_site_packages(sees)}\n")
        _pip(place, *packages)
        marker.touch()
    return place


def _pip(place: Path, *arguments: str) -> None:
    command = [place / "bin" / "python", "-m", "pip", "install", "-q"]
    subprocess.run([*command, "--disable-pip-version-check", *arguments], check=True)


def _site_packages(place: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return place / "lib" / version / "site-packages"


if __name__ == "__main__":
    main()
