"""One image with the objects in it: what everything that learns or measures is given."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with the objects in it.

    Attributes:
        image: The image file.
        boxes: x1, y1, x2, y2 in pixels of the upright image, shape (N, 4), float32.
        classes: Index into the data set's classes, shape (N,), int64.
        size: Width and height of the upright image in pixels.
        digest: sha256 of the image's bytes, a colon, sha256 of its objects.
        picture_hash: What the picture looks like, as hex; '' where nobody looked yet.
    """

    image: Path
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: tuple[int, int]
    digest: str = ""
    picture_hash: str = ""
