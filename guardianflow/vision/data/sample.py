"""One image with its objects: the input of everything that trains or measures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its objects.

    Attributes:
        image: The image file.
        boxes: x1, y1, x2, y2 in pixels of the upright image, shape (N, 4), float32.
        classes: Index into the data set's classes, shape (N,), int64.
        size: Width and height of the upright image in pixels.
        digest: sha256 of the image's bytes, a colon, sha256 of its objects.
        picture_hash: Perceptual hash as hex; '' if there is none.
    """

    image: Path
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: tuple[int, int]
    digest: str = ""
    picture_hash: str = ""
