"""Layouts whose boxes are still to be computed from the cells of the grids."""

from collections.abc import Sequence

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from guardianflow.vision.ir.layouts.operations import make_cells, product, reshape, take
from guardianflow.vision.ir.layouts.protocol import BOX, Answers, InputSize, OutputSpec, Split
from guardianflow.vision.ir.reading import Background, BoxForm, LayoutName

_STRIDES = (8, 16, 32)
# NanoDet-Plus has a fourth grid.
_MORE_STRIDES = (*_STRIDES, 64)
# Decoded centres follow their cells almost exactly; offsets have nothing to do with them.
_FOLLOWS = 0.5
_FEWEST_BINS, _MOST_BINS = 4, 33


def is_undecoded(table: NDArray[np.float32], side: InputSize) -> bool:
    """Return whether boxes are offsets from their cells.

    Args:
        table: Outputs on a few frames, shape (frames, 1, A, 4 or more).
        side: Size of the detector's input.
    """
    cells = make_cells(side, _STRIDES)
    if table.shape[2] != len(cells) or not np.isfinite(table).all():
        return False
    if (table[..., 2:4] < 0).any():
        # The logarithm of a size, then: a size is never negative.
        return True
    column, stride = cells[:, 0], cells[:, 2]
    centres = table[:, 0, :, 0]
    mean = centres.mean(0)
    middle = (column + 0.5) * stride
    together = float(((mean - mean.mean()) * (middle - middle.mean())).mean())
    if together > _FOLLOWS * float(mean.std() * middle.std()):
        return False
    # Offsets from cells vary less than what remains of them after the cell is subtracted.
    return bool(centres.std() < (centres / stride - column).std())


class Yolox:
    """YOLOX as it is usually exported: without `--decode_in_inference`."""

    name = LayoutName.YOLOX
    meaning = (
        "(1, A, 5 + C): offset of the centre from a cell, logarithm of the size, objectness, then "
        "a probability per class"
    )
    usual = BoxForm.CENTRE
    logits = False
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """One row of 5 + C values for each cell of three grids."""
        wanted = (1, len(make_cells(spec.side, _STRIDES)), BOX + 1 + spec.classes)
        return [port.shape for port in spec.ports] == [wanted]

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """The boxes do not lie where their cells are."""
        return is_undecoded(answers[0], spec.side)

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Centre: (offset + cell) * stride; size: exp(value) * stride (Ge et al., YOLOX, 2021)."""
        table, cells = outputs[0], make_cells(spec.side, _STRIDES)[None]
        stride = cells[..., 2:]
        centre = product(ops.add(take(table, (0, 1)), cells[..., :2]).output(0), stride)
        size = product(ops.exp(take(table, (2, 3))).output(0), stride)
        scores = take(table, range(BOX + 1, BOX + 1 + spec.classes))
        return Split(ops.concat([centre, size], 2).output(0), product(scores, take(table, [BOX])))


class NanoDet:
    """NanoDet and NanoDet-Plus: a distribution over distances for each side of a box."""

    name = LayoutName.NANODET
    meaning = "(1, A, C + 4 B): a probability per class, then B values for each side of the box"
    usual = BoxForm.CORNERS
    logits = False
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """One row for each cell of three or four grids."""
        shape = spec.ports[0].shape
        if len(spec.ports) > 1 or len(shape) != 3 or _strides(shape[1], spec.side) is None:
            return False
        bins, rest = divmod(shape[2] - spec.classes, BOX)
        return rest == 0 and _FEWEST_BINS <= bins <= _MOST_BINS

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:  # noqa: ARG002
        """No other layout has so many columns for this number of classes."""
        return True

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """A distance is the mean of its distribution, in strides (Li et al., GFL, 2020)."""
        _, rows, columns = spec.ports[0].shape
        strides = _strides(rows, spec.side) or _STRIDES
        cells = make_cells(spec.side, strides)[None]
        # NanoDet-Plus measures from the corner of a cell, its predecessor from the centre.
        shift = np.float32(0.0 if strides == _MORE_STRIDES else 0.5)
        points, stride = (cells[..., :2] + shift) * cells[..., 2:], cells[..., 2:]
        bins = (columns - spec.classes) // BOX
        sides = reshape(take(outputs[0], range(spec.classes, columns)), 1, rows, BOX, bins)
        steps = np.arange(bins, dtype=np.float32)
        mean = ops.reduce_sum(
            product(ops.softmax(sides, 3).output(0), steps), ops.constant(np.int64(3))
        )
        distances = product(mean.output(0), stride)
        low = ops.subtract(points, take(distances, (0, 1)))
        high = ops.add(points, take(distances, (2, 3)))
        return Split(ops.concat([low, high], 2).output(0), take(outputs[0], range(spec.classes)))


def _strides(rows: int, side: InputSize) -> Sequence[int] | None:
    """The strides of grids that have so many cells together."""
    for strides in (_STRIDES, _MORE_STRIDES):
        if rows == len(make_cells(side, strides)):
            return strides
    return None
