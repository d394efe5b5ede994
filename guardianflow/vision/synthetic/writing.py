"""Writes drawn welding-zone scenes as a data set in YOLO format.

    draw_dataset   train, val, test   from the settings of a scenario
    draw_window    test               "recent frames" with labels, for a health check
    draw_frame     one frame          the first one of the evaluation set, for a test run

Every scene has its own random stream (seed, split, index). So the test split does not depend on the
train split, and a scene has the same workers by day and at night.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario import Light, SyntheticData
from guardianflow.vision.synthetic.scene import DRAWABLE, Scene, draw_scene

_STREAM = {"train": 1, "val": 2, "test": 3}
_WINDOW_STREAM = 9


def draw_dataset(folder: Path, settings: SyntheticData, classes: Sequence[str]) -> None:
    """Draw the data set of a scenario into a folder; the same settings give the same bytes.

    Raises:
        ScenarioInvalid: A class cannot be drawn.
    """
    _check_classes(classes)
    plan = {
        "train": (settings.train_images, settings.train_light),
        "val": (settings.val_images, settings.train_light),
        "test": (settings.test_images, settings.test_light),
    }
    for split, (images, lights) in plan.items():
        for index in range(images):
            light = lights[index % len(lights)]
            scene = _scene(settings.seed, _STREAM[split], index, light, settings.image_size)
            _write_scene(folder, split, index, scene, classes)
    _write_description(folder, tuple(plan), classes)


def draw_window(
    folder: Path,
    classes: Sequence[str],
    *,
    light: Light,
    images: int,
    seed: int,
    image_size: int,
) -> None:
    """Draw recent labelled frames in one light: a data set with only the split `test`.

    Its scenes are in no data set of `draw_dataset`, whatever the seeds.

    Raises:
        ScenarioInvalid: A class cannot be drawn.
    """
    _check_classes(classes)
    for index in range(images):
        scene = _scene(seed, _WINDOW_STREAM, index, light, image_size)
        _write_scene(folder, "test", index, scene, classes)
    _write_description(folder, ("test",), classes)


def draw_frame(settings: SyntheticData) -> NDArray[np.uint8]:
    """Draw only the first frame of a scenario's frozen evaluation set.

    Returns:
        RGB, shape (size, size, 3), uint8.
    """
    light = settings.test_light[0]
    return _scene(settings.seed, _STREAM["test"], 0, light, settings.image_size).picture


@cache
def drawing_digest() -> str:
    """Return the sha256 of the drawing code: data sets drawn by other code are not reused."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _check_classes(classes: Sequence[str]) -> None:
    for name in classes:
        if name not in DRAWABLE:
            raise ScenarioInvalid(
                f"The synthetic data set cannot draw the class {name!r}.",
                remedy=f"Choose from {', '.join(DRAWABLE)}, or use a data set of kind: folder.",
                key="classes",
                value=name,
            )


def _scene(seed: int, stream: int, index: int, light: Light, size: int) -> Scene:
    geometry = np.random.default_rng((seed, stream, index, 0))
    lighting = np.random.default_rng((seed, stream, index, 1))
    return draw_scene(geometry, lighting, light, size)


def _write_scene(
    folder: Path, split: str, index: int, scene: Scene, classes: Sequence[str]
) -> None:
    image = folder / "images" / split / f"{index:06d}.png"
    label = folder / "labels" / split / f"{index:06d}.txt"
    for file in (image, label):
        file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.picture).save(image, compress_level=1)
    rows: list[str] = []
    for found in scene.objects:
        if found.name not in classes:
            continue
        x1, y1, x2, y2 = found.box
        numbers = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        row = " ".join(f"{number:.6f}" for number in numbers)
        rows.append(f"{list(classes).index(found.name)} {row}\n")
    label.write_text("".join(rows), encoding="utf-8")


def _write_description(folder: Path, splits: Sequence[str], classes: Sequence[str]) -> None:
    content = {split: f"images/{split}" for split in splits}
    text = yaml.safe_dump({**content, "names": list(classes)}, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
