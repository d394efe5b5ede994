"""A trainer of another project, from scenario to variant: `python -m benchmarks.foreign_trainer`.

Ultralytics YOLO11n (benchmarks/rival.py, an environment of its own) trains on drawn scenes by the
entry of docs/trainers.md, from random weights on one thread. It is killed in the middle, with the
command that started it, and the command is given again. Then: import, quantize, register.
About a quarter of an hour.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figures import CHECKOUT, RESULTS
from benchmarks.rival import Rival
from guardianflow.machine.servers import home
from testbed.servers import mlflow_server_on

NAME, SCENARIO = "foreign-trainer", "drawn-ppe"
_LISTED_AS = "/opt/ultralytics"
_SETTINGS = {
    "customer": "bench",
    "region": "drawn",
    "plant": "hall",
    "zone": "welding",
    "task": "ppe",
    "classes": ["person", "helmet", "vest"],
    "dataset": {"kind": "synthetic", "image_size": 192, "train_images": 160, "val_images": 32},
    "training": {"trainer": "yolo11n", "image_size": 192, "batch_size": 8},
    "quantization": {"calibration_images": 32},
}


def recipe(environment: Path) -> str:
    """The entry of the documentation, for another place of the environment."""
    page = (CHECKOUT / "docs" / "trainers.md").read_text("utf-8")
    found = re.search(r"```yaml\n(trainers:\n  yolo11n:\n.*?)```", page, re.DOTALL)
    assert found
    return found[1].replace(_LISTED_AS, str(environment))


def command(*words: str, variables: Mapping[str, str]) -> "subprocess.Popen[str]":
    """Start a command of guardianflow."""
    return subprocess.Popen(
        [sys.executable, "-m", "guardianflow.cli", *words, "--json"],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(started: "subprocess.Popen[str]") -> dict[str, Any]:
    said, _ = started.communicate()
    if started.returncode:
        sys.exit(f"it ended with {started.returncode}: {said}")
    return json.loads(said)


def kill_after(started: "subprocess.Popen[str]", epochs: int, place: Path) -> None:
    """Kill a command as soon as the trainer has finished some epochs."""
    while started.poll() is None:
        done = max(
            (len(f.read_text().splitlines()) - 1 for f in place.rglob("results.csv")), default=0
        )
        if done >= epochs:
            started.send_signal(signal.SIGKILL)
            started.wait()
            return
        time.sleep(0.5)
    sys.exit(f"it ended with {started.returncode} before epoch {epochs}")


def measure(folder: Path, environment: Path, epochs: int, uri: str) -> dict[str, Any]:
    """Train, killed once, quantize, and say what came of it."""
    place = folder / "home"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / "trainers.yaml").write_text(recipe(environment), encoding="utf-8")
    (place / "trainers.yaml").chmod(0o600)
    scenarios = folder / "scenarios"
    scenarios.mkdir(exist_ok=True)
    versions = {"v1": {"training": {"epochs": epochs}}}
    text = yaml.safe_dump({**_SETTINGS, "versions": versions})
    (scenarios / f"{SCENARIO}.yaml").write_text(text, encoding="utf-8")
    variables = {
        "GUARDIANFLOW_HOME": str(place),
        "GUARDIANFLOW_SCENARIOS": str(scenarios),
        "MLFLOW_TRACKING_URI": uri,
    }
    train = ("run", SCENARIO, "--type", "train", "--version", "v1")
    began = time.monotonic()
    kill_after(command(*train, variables=variables), epochs // 2, place / "trainers")
    killed = time.monotonic()
    trained = answer(command(*train, variables=variables))
    ended = time.monotonic()
    again = answer(command(*train, variables=variables))
    quant = ("run", SCENARIO, "--type", "quant", "--version", "v1")
    made = answer(command(*quant, variables=variables))
    figures = trained["evaluation"]
    return {
        "epochs": epochs,
        "killed_after_s": round(killed - began, 1),
        "second_run_s": round(ended - killed, 1),
        "version": trained["version"],
        "reused": again["reused"],
        "fp32": {key: figures[key] for key in ("map50", "map50_95", "images")},
        "int8": {key: made["int8"][key] for key in ("map50", "map50_95")},
        "gate": made["outcome"]["outcome"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--folder", type=Path, default=home() / NAME)
    parser.add_argument("--rival", type=Path, help="the environment of Ultralytics")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    folder = wanted.folder.absolute()
    rival = Rival((wanted.rival or folder / "ultralytics").absolute(), folder / "state")
    rival.install()
    (folder / "mlflow").mkdir(parents=True, exist_ok=True)
    with mlflow_server_on(folder / "mlflow") as server:
        found = measure(folder, rival.folder, wanted.epochs, server.uri)
    (wanted.out / f"{NAME}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
