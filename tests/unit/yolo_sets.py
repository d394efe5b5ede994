"""Small YOLO data sets for tests, drawn on the spot, and ways to ask what a check says of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from guardianflow.vision.data.checker import CheckResult, check_dataset
from guardianflow.vision.data.findings import DataFinding
from guardianflow.vision.data.rules import FaultCode

ROW = "0 0.5 0.5 0.25 0.5\n"
CLEAN = ROW + "1 0.2 0.2 0.1 0.2\n"


def draw(path: Path, seed: int, size: tuple[int, int] = (80, 60), **options: object) -> Path:
    """Coloured blocks, never twice the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)
    picture.save(path, **options)
    return path


def make(folder: Path, images: int = 12) -> Path:
    """A data set of which nothing can be said."""
    plan = {"train": images, "val": 2, "test": 2}
    for number, (split, count) in enumerate(plan.items()):
        for index in range(count):
            draw(folder / f"images/{split}/{split}{index}.png", 1000 * number + index)
            label = folder / f"labels/{split}/{split}{index}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(CLEAN)
    (folder / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\ntest: images/test\n"
        "nc: 2\nnames: [person, helmet]\n"
    )
    return folder


def edit(root: Path, old: str, new: str) -> None:
    file = root / "data.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def found(checked: CheckResult, code: FaultCode) -> list[DataFinding]:
    return [finding for finding in checked.findings if finding.code == code]


def codes(root: Path, classes: Sequence[str] | None = None) -> list[str]:
    """The codes that a check finds, each once, sorted."""
    return sorted({finding.code.value for finding in check_dataset(root, classes).findings})
