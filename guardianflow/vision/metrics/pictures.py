"""Pictures for people: detections and labels, versions side by side, similar images.

Each class has its own colour in all pictures; labels are thin white boxes, detections thick ones.
All given detections are drawn; `Detections.above` selects those that an operator would see.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from guardianflow.errors import DatasetInvalid
from guardianflow.vision.data.contamination import DuplicatePair
from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Detections
from guardianflow.vision.metrics.lettering import drawn_names, font_for

_TILE = 320
_MAX_COLUMNS = 4
_MAX_PAIRS = 24
_GAP = 6
_HEADER = 26
_BACKGROUND = (24, 26, 30)
_INK = (235, 235, 235)
# After Okabe and Ito's palette for colour-blind readers.
_COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 200, 140),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (120, 160, 255),
    (180, 180, 180),
)


def draw_detections(
    frame: NDArray[np.uint8],
    found: Detections,
    classes: Sequence[str],
    truth: Sample,
) -> Image.Image:
    """Draw one frame with its boxes, its longer side 320 pixels.

    Args:
        frame: RGB, shape (H, W, 3), uint8.
        found: Detections in pixels of the frame.
        classes: Class names in the order of their indices.
        truth: The labels, drawn thin and white.
    """
    height, width = frame.shape[:2]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(picture)
    for box in truth.boxes * scale:
        pen.rectangle(_corners(box), outline=(255, 255, 255), width=1)
    names = drawn_names(classes)
    for box, score, label in zip(found.boxes * scale, found.scores, found.classes, strict=True):
        colour = _COLOURS[int(label) % len(_COLOURS)]
        pen.rectangle(_corners(box), outline=colour, width=2)
        text = f"{names[int(label)]} {score:.2f}"
        font = font_for(11, text)
        corner = (float(box[0]), max(0.0, float(box[1]) - 12))
        pen.rectangle(pen.textbbox(corner, text, font=font), fill=colour)
        pen.text(corner, text, fill=(0, 0, 0), font=font)
    return picture


def contact_sheet(
    samples: Sequence[Sample],
    detections: Sequence[Detections],
    classes: Sequence[str],
    path: Path,
    *,
    title: str = "",
) -> Path:
    """Write frames with detections and labels, four in a row, as PNG."""
    tiles = [
        draw_detections(load_image(sample.image), found, classes, sample)
        for sample, found in zip(samples, detections, strict=True)
    ]
    columns = max(1, min(_MAX_COLUMNS, len(tiles)))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return _write_grid(rows, [""] * columns, path, title)


def comparison_sheet(
    samples: Sequence[Sample],
    columns: Mapping[str, Sequence[Detections]],
    classes: Sequence[str],
    path: Path,
) -> Path:
    """Write the same frames with the detections of several detectors, one column each, as PNG."""
    rows = [
        [
            draw_detections(load_image(sample.image), found[index], classes, sample)
            for found in columns.values()
        ]
        for index, sample in enumerate(samples)
    ]
    return _write_grid(rows, list(columns), path)


def pairs_sheet(pairs: Sequence[DuplicatePair], path: Path) -> Path:
    """Write pairs of similar images, two in a row, as PNG; at most 24 pairs, the first ones."""
    shown = pairs[:_MAX_PAIRS]
    rows = [[_tile(pair.first, pair), _tile(pair.second, pair)] for pair in shown]
    title = f"{len(pairs)} images are in two splits"
    return _write_grid(rows, ["", ""], path, title)


def _tile(image: str, pair: DuplicatePair) -> Image.Image:
    try:
        picture = Image.fromarray(load_image(Path(image)))
    except DatasetInvalid:
        # It was moved since it was compared, or its name is not valid text.
        picture = Image.new("RGB", (_TILE, _TILE), _BACKGROUND)
    picture.thumbnail((_TILE, _TILE))
    group = pair.first_group if image == pair.first else pair.second_group
    words = f"{group}: {Path(image).name} ({pair.likeness})"
    pen, font = ImageDraw.Draw(picture), font_for(12, words)
    pen.rectangle(pen.textbbox((2, 2), words, font=font), fill=_BACKGROUND)
    pen.text((2, 2), words, fill=_INK, font=font)
    return picture


def _corners(box: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, max(x1, x2), max(y1, y2)


def _write_grid(
    rows: Sequence[Sequence[Image.Image]], headings: Sequence[str], path: Path, title: str = ""
) -> Path:
    columns = max(1, len(headings))
    heights = [max((tile.height for tile in row), default=0) for row in rows]
    head = _HEADER * (bool(title) + any(headings))
    width = columns * (_TILE + _GAP) + _GAP
    height = head + _GAP + sum(heights) + _GAP * len(rows)
    sheet = Image.new("RGB", (width, max(1, math.ceil(height))), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, 4), title, fill=_INK, font=font_for(15, title))
    for column, heading in enumerate(headings):
        corner = (_GAP + column * (_TILE + _GAP), head - _HEADER + 4)
        pen.text(corner, heading, fill=_INK, font=font_for(15, heading))
    top = head + _GAP
    for row, tall in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (_GAP + column * (_TILE + _GAP), top))
        top += tall + _GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "PNG")
    return path
