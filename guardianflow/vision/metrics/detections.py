"""Detections of one detector on labelled images, as arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.data.sample import Sample

if TYPE_CHECKING:
    # A rollback reads figures and runs no network: it does not wait for OpenVINO to load.
    from guardianflow.vision.ir.serving import FrameDetections, IrDetector

Thresholds = float | Sequence[float]
"""The lowest score of a shown box: one for all classes, or one per class in their order."""


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections in one image, best first.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels of the image, shape (N, 4), float32.
        scores: Probabilities, shape (N,), float32.
        classes: Class indices, shape (N,), int64.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def above(self, thresholds: Thresholds) -> "Detections":
        """Return the detections that reach the threshold of their class."""
        keep = self.scores >= limits(thresholds, self.classes)
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])


@dataclass(frozen=True, eq=False)
class Seen:
    """The detections of one detector in a set of images.

    Attributes:
        detections: One per image, low scores kept.
        thresholds: The lowest score of a shown box, by class.
    """

    detections: Sequence[Detections]
    thresholds: tuple[float, ...]

    def shown(self) -> list[Detections]:
        """Return the detections that an operator would be shown in each image."""
        return [found.above(self.thresholds) for found in self.detections]


def limits(thresholds: Thresholds, classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the threshold of each detection, shape (N,), from its class index, shape (N,)."""
    values = np.asarray(thresholds, dtype=np.float64)
    return values[classes] if values.ndim else np.full(len(classes), values)


def detections_of(frames: "Sequence[FrameDetections]") -> list[Detections]:
    """Convert the results of a detector to arrays."""
    return [
        Detections(
            boxes=np.asarray(frame["boxes"], dtype=np.float32).reshape(-1, 4),
            scores=np.asarray(frame["scores"], dtype=np.float32),
            classes=np.asarray(frame["class_ids"], dtype=np.int64),
        )
        for frame in frames
    ]


def detect(
    detector: "IrDetector",
    samples: Sequence[Sample],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Detections]:
    """Run a deployed detector over samples, low scores kept."""
    from guardianflow.vision.data.dataset import load_image

    found: list[Detections] = []
    for index, sample in enumerate(samples):
        found += detections_of(detector.predict([load_image(sample.image)]))
        if on_progress:
            on_progress(index + 1, len(samples))
    return found
