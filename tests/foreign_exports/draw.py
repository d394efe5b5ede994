"""Draws the frames that every trainer looks at: smooth and colourful, none of them square.

Smooth, because trainers shrink and enlarge pictures with different filters; colourful, because a
mistaken order of channels has to show.
"""

from pathlib import Path

import numpy as np
from PIL import Image

# Inputs are 160 pixels square, one is 320 wide and 192 high: a letterbox leaves these as they are.
SIZES = {"wide": (120, 160), "tall": (160, 96), "large": (180, 320)}
_BLOBS = 14


def draw(height: int, width: int, seed: int) -> np.ndarray:
    """Return blobs of colour on a slope of grey: RGB, (height, width, 3), uint8."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.full((height, width, 3), 70.0) + 60 * (columns / width)[..., None]
    for _ in range(_BLOBS):
        row, column = random.uniform(0, height), random.uniform(0, width)
        tall, broad = random.uniform(0.06, 0.2, 2) * height
        colour = random.uniform(-140, 140, 3)
        distance = ((rows - row) / tall) ** 2 + ((columns - column) / broad) ** 2
        picture += np.exp(-distance)[..., None] * colour
    return np.clip(picture, 0, 255).round().astype(np.uint8)


if __name__ == "__main__":
    folder = Path(__file__).with_name("frames")
    folder.mkdir(exist_ok=True)
    for seed, (name, (height, width)) in enumerate(SIZES.items()):
        Image.fromarray(draw(height, width, seed)).save(folder / f"{name}.png", optimize=True)
