"""Operations on tables of boxes in an OpenVINO graph, and the grids that detectors use."""

from collections.abc import Sequence

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from guardianflow.vision.ir.layouts.protocol import InputSize


def take(table: ov.Output, columns: Sequence[int]) -> ov.Output:
    """Select columns of (1, A, D), in this order."""
    indices = ops.constant(np.asarray(columns, dtype=np.int64))
    return ops.gather(table, indices, ops.constant(np.int64(2))).output(0)


def transpose(table: ov.Output) -> ov.Output:
    """(1, D, A) to (1, A, D)."""
    return ops.transpose(table, ops.constant(np.array([0, 2, 1], dtype=np.int64))).output(0)


def reshape(table: ov.Output, *sides: int) -> ov.Output:
    """Reshape; -1 is inferred."""
    return ops.reshape(table, ops.constant(np.asarray(sides, np.int64)), special_zero=False).output(
        0
    )


def product(table: ov.Output, factor: ov.Output | NDArray[np.float32]) -> ov.Output:
    """Multiply, with broadcasting."""
    return ops.multiply(table, factor).output(0)


def scores_from_label(label: ov.Output, score: ov.Output, classes: int) -> ov.Output:
    """Scores per class (1, N, classes) from a class index and a score, both (1, N, 1)."""
    indices = np.arange(classes, dtype=np.float32).reshape(1, 1, -1)
    own = ops.equal(ops.round(label), ops.constant(indices))
    return ops.multiply(ops.convert(own, "f32"), score).output(0)


def are_labels(column: NDArray[np.float32], classes: int) -> bool:
    """Return whether all values are class indices; -1 stands for none."""
    return bool(np.isin(column, np.arange(-1, classes, dtype=np.float32)).all())


def are_probabilities(values: NDArray[np.float32]) -> bool:
    """Return whether all values lie in 0..1; rounding may exceed it a little."""
    # Scores come from a sigmoid or a product of two.
    tolerance = 1e-3
    return bool((values >= -tolerance).all() and (values <= 1 + tolerance).all())


def make_cells(side: InputSize, strides: Sequence[int]) -> NDArray[np.float32]:
    """Return column, row and stride of every cell of the grids, shape (A, 3), row by row."""
    parts: list[NDArray[np.float32]] = []
    for stride in strides:
        height, width = -(-side.height // stride), -(-side.width // stride)
        rows, columns = np.divmod(np.arange(height * width, dtype=np.float32), np.float32(width))
        parts.append(np.stack([columns, rows, np.full_like(rows, stride)], 1))
    return np.concatenate(parts)
