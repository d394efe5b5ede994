"""Labelled images without pixels and detections that nearly fit them, for tests of measuring."""

from pathlib import Path

import numpy as np

from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.detections import Detections

LEFT, RIGHT = [10, 10, 40, 60], [55, 10, 90, 60]


def sample(*objects, size=(100, 100)):
    """An image with (box, class) each."""
    return Sample(
        Path("unused.png"),
        np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
        np.array([label for _, label in objects], np.int64),
        size,
    )


def found(*entries):
    """Detections of (box, class, score) each."""
    return Detections(
        np.array([box for box, _, _ in entries], np.float32).reshape(-1, 4),
        np.array([score for _, _, score in entries], np.float32),
        np.array([label for _, label, _ in entries], np.int64),
    )


def random_set(random, *, images, classes, side=640, objects=6, strays=6, distinct=False):
    """Images with objects of all sizes, most of them found more or less, and wrong detections."""
    detections, samples = [], []
    for _ in range(images):
        truth = _boxes(random, random.integers(0, objects + 1), side)
        labels = random.integers(0, classes, len(truth))
        again = random.random(len(truth)) < 0.4
        near = np.concatenate([truth, truth[again]])
        shift = random.normal(0, 0.08, near.shape) * np.tile(near[:, 2:] - near[:, :2], 2)
        near = np.sort((near + shift).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        swapped = np.where(
            random.random(len(near)) < 0.1,
            random.integers(0, classes, len(near)),
            np.concatenate([labels, labels[again]]),
        )
        wrong = _boxes(random, random.integers(0, strays + 1), side)
        boxes = np.concatenate([near, wrong]).clip(0, side).astype(np.float32)
        label = np.concatenate([swapped, random.integers(0, classes, len(wrong))])
        # few values, unless asked otherwise: equal scores are the interesting ones
        steps = 2**20 if distinct else 40
        scores = np.sort(random.integers(1, steps, len(boxes)) / steps)[::-1].astype(np.float32)
        order = random.permutation(len(boxes))
        detections.append(Detections(boxes[order], scores, label[order].astype(np.int64)))
        samples.append(
            Sample(
                Path("unused.png"),
                truth.astype(np.float32),
                labels.astype(np.int64),
                (side, side * 3 // 4),
            )
        )
    return detections, samples


def _boxes(random, count, side):
    corner = random.random((count, 2)) * side * 0.8
    size = np.exp(random.uniform(np.log(6), np.log(side * 0.5), (count, 2)))
    return np.concatenate([corner, np.minimum(corner + size, side)], axis=1)
