"""The checker against bare decoding of the same files: `python -m benchmarks.checker`.

A few thousand photographs-to-be are drawn once; then, in turn and in processes of their own:

    bare     every image read and decoded to RGB by as many threads
    first    the check with an empty cache: decoding, hashes, labels, everything
    second   the check of the unchanged folder with a full cache

Rounds keep the three side by side, so that a slow moment of the machine is slow for all. The
interval is a bootstrap over rounds.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import PIL
from PIL import Image

from benchmarks.figures import RESULTS, Row, ratio, tell
from guardianflow.scenario import Light, SyntheticData
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.examination import hash_picture
from guardianflow.vision.synthetic import draw_dataset

FIRST_GOAL = 0.7
SECOND_GOAL = 20.0
_CLASSES = ("person", "helmet", "vest")
# Drawn at the training size, and enlarged: what cameras deliver is larger than what is learned.
_DRAWN = 320
_ENLARGED = 640


def prepare(folder: Path, images: int, distinct: int) -> None:
    """Draw scenes and write each of them several times, no two files with the same bytes.

    Args:
        folder: Where to write.
        images: How many images.
        distinct: How many scenes are drawn; the others are these, enlarged in other ways.
    """
    val = max(2, distinct // 10)
    settings = SyntheticData(
        kind="synthetic",
        image_size=_DRAWN,
        train_images=distinct - 2 * val,
        val_images=val,
        test_images=val,
        train_light=tuple(Light),
    )
    draw_dataset(folder, settings, list(_CLASSES))
    drawn = sorted((folder / "images").rglob("*.*"))
    for index in range(images):
        source = drawn[index % len(drawn)]
        label = _label(source)
        shift = index // len(drawn)
        with Image.open(source) as picture:
            large = picture.convert("RGB").resize((_ENLARGED, _ENLARGED + 8 * shift))
        image = source.with_name(f"{source.stem}-{shift}.jpg")
        large.save(image, quality=90)
        shutil.copy(label, _label(image))
    for path in drawn:
        path.unlink()
        _label(path).unlink()


def _label(image: Path) -> Path:
    parts = ["labels" if part == "images" else part for part in image.parts]
    return Path(*parts).with_suffix(".txt")


def decode_all(folder: Path, workers: int) -> int:
    """Decode every image, as training does; returns how many there were."""
    paths = sorted((folder / "images").rglob("*.jpg"))
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(_decode, paths))


def _decode(path: Path) -> bool:
    with Image.open(path) as image:
        return bool(np.asarray(image.convert("RGB")).size)


def timed(folder: Path, what: str, workers: int) -> float:
    """Seconds of one step, without the start of the interpreter and the imports."""
    hash_picture(Image.effect_noise((64, 64), 90))
    began = time.perf_counter()
    if what == "bare":
        decode_all(folder, workers)
    else:
        findings = check_dataset(folder, workers=workers).findings
        assert not [finding for finding in findings if finding.severity == "ERROR"], findings[:3]
    return time.perf_counter() - began


def measure(folder: Path, rounds: int, workers: int) -> dict[str, list[float]]:
    """Seconds of each step in each round."""
    seconds: dict[str, list[float]] = {"bare": [], "first": [], "second": []}
    with TemporaryDirectory() as text:
        for _ in range(rounds):
            home = Path(text) / "home"
            shutil.rmtree(home, ignore_errors=True)
            for what, taken in seconds.items():
                taken.append(_in_process(folder, what, workers, home))
    return seconds


def _in_process(folder: Path, what: str, workers: int, home: Path) -> float:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.checker", "--step", what),
            *("--folder", str(folder), "--workers", str(workers)),
        ],
        env={**os.environ, "GUARDIANFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout))


def figures(seconds: Mapping[str, Sequence[float]], images: int, workers: int) -> dict[str, object]:
    """Images per second, and the speed of the checks as multiples of bare decoding."""
    rates = {what: [images / one for one in taken] for what, taken in seconds.items()}
    return {
        "versions": {"Python": platform.python_version(), "Pillow": PIL.__version__},
        "images": images,
        "workers": workers,
        "rounds": len(seconds["bare"]),
        "images_per_s": {what: round(float(np.median(r)), 1) for what, r in rates.items()},
        "first": ratio(rates["first"], rates["bare"], 0.5),
        "second": ratio(rates["second"], rates["bare"], 0.5),
        "seconds": {what: [round(one, 3) for one in taken] for what, taken in seconds.items()},
    }


def rows(content: Mapping[str, object]) -> list[Row]:
    """What the page says of the figures."""
    command = "`python -m benchmarks.checker`"
    rates: Mapping[str, float] = content["images_per_s"]  # type: ignore[assignment]
    lines: list[Row] = []
    for what, goal, words in (
        ("first", FIRST_GOAL, "with nothing known"),
        ("second", SECOND_GOAL, "of an unchanged folder"),
    ):
        value: Mapping[str, float] = content[what]  # type: ignore[assignment]
        figure = f"{value['ratio']:.2f}× ({value['low']:.2f}–{value['high']:.2f}), "
        figure += f"{rates[what]:.0f} images/s against {rates['bare']:.0f}"
        title = f"check of {content['images']} images {words}, {content['workers']} threads, "
        lines.append((f"{title}speed against bare decoding", f"≥ {goal:g}×", figure, command))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--distinct", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--step", choices=("bare", "first", "second"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(timed(given.folder, given.step, given.workers)))
        return
    with TemporaryDirectory() as text:
        folder = Path(text) / "scenes"
        prepare(folder, given.images, given.distinct)
        # A file at rest for two seconds is trusted by its stat.
        time.sleep(2.5)
        seconds = measure(folder, given.rounds, given.workers)
    content = figures(seconds, given.images, given.workers)
    tell("checker", content, rows(content), given.results)


if __name__ == "__main__":
    main()
