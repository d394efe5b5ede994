"""What spoils a window of labelled frames: a camera that fails, or a scene that has changed.

    window --change of a frame and its boxes--> another window, in a folder of its own

Boxes are those of YOLO: class, middle and size as fractions of the picture.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

Boxes = NDArray[np.float64]
"""One row per object: class index, x, y, width, height; shape (N, 5)."""
Change = Callable[[Image.Image, Boxes], tuple[Image.Image, Boxes]]


def changed(window: Path, folder: Path, change: Change) -> Path:
    """A window whose every frame was changed."""
    shutil.copytree(window, folder)
    for image in sorted((folder / "images" / "test").iterdir()):
        label = folder / "labels" / "test" / f"{image.stem}.txt"
        boxes = np.loadtxt(label, ndmin=2) if label.stat().st_size else np.zeros((0, 5))
        with Image.open(image) as opened:
            picture, moved = change(opened.convert("RGB"), boxes)
        picture.save(image, compress_level=1)
        rows = [f"{int(row[0])} {' '.join(f'{value:.6f}' for value in row[1:])}\n" for row in moved]
        label.write_text("".join(rows), encoding="utf-8")
    return folder


def frozen(window: Path, folder: Path, share: float) -> Path:
    """A window in which the camera stops: people move on, its picture does not."""
    shutil.copytree(window, folder)
    images = sorted((folder / "images" / "test").iterdir())
    first = len(images) - round(share * len(images))
    for image in images[first + 1 :]:
        shutil.copy(images[first], image)
    return folder


def dark(light: float) -> Change:
    """Hardly any light is left: a lens that is covered, an exposure that fails."""
    return lambda picture, boxes: (ImageEnhance.Brightness(picture).enhance(light), boxes)


def hazed(share: float) -> Change:
    """Steam or grease on the lens."""

    def change(picture: Image.Image, boxes: Boxes) -> tuple[Image.Image, Boxes]:
        return Image.blend(picture, Image.new("RGB", picture.size, (180, 180, 180)), share), boxes

    return change


def blurred(share: float) -> Change:
    """Out of focus, over so much of the longer side."""

    def change(picture: Image.Image, boxes: Boxes) -> tuple[Image.Image, Boxes]:
        return picture.filter(ImageFilter.GaussianBlur(share * max(picture.size))), boxes

    return change


def recoloured(picture: Image.Image, boxes: Boxes) -> tuple[Image.Image, Boxes]:
    """Other clothes and other paint: red and blue change places."""
    return Image.fromarray(np.asarray(picture)[:, :, ::-1].copy()), boxes


def turned(picture: Image.Image, boxes: Boxes) -> tuple[Image.Image, Boxes]:
    """The camera was hung up the other way round."""
    moved = boxes.copy()
    moved[:, 1:3] = 1 - moved[:, 1:3]
    return picture.transpose(Image.Transpose.ROTATE_180), moved


def farther(picture: Image.Image, boxes: Boxes) -> tuple[Image.Image, Boxes]:
    """The camera hangs twice as far away, before a grey wall."""
    width, height = picture.size
    wall = Image.new("RGB", picture.size, (150, 150, 146))
    small = picture.resize((width // 2, height // 2), Image.Resampling.BOX)
    wall.paste(small, (width // 4, height // 4))
    moved = boxes.copy()
    moved[:, 1:3] = 0.25 + moved[:, 1:3] / 2
    moved[:, 3:] /= 2
    return wall, moved
