"""Layouts with everything in one table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from guardianflow.vision.ir.layouts.grids import is_undecoded
from guardianflow.vision.ir.layouts.operations import (
    are_labels,
    product,
    reshape,
    scores_from_label,
    take,
    transpose,
)
from guardianflow.vision.ir.layouts.protocol import BOX, Answers, OutputSpec, Split
from guardianflow.vision.ir.reading import Background, BoxForm, LayoutName


@dataclass(frozen=True)
class Cells:
    """A box and a score per class for each cell of the grids.

    Attributes:
        name: See `Layout`.
        meaning: See `Layout`.
        in_columns: Whether each column is a cell; otherwise each row.
        objectness: Whether an objectness precedes the scores.
        usual: See `Layout`.
        background: See `Layout`.
    """

    name: LayoutName
    meaning: str
    in_columns: bool = False
    objectness: bool = False
    usual: BoxForm = BoxForm.CENTRE
    background: Background = Background.LAST

    @property
    def logits(self) -> bool:
        """Objectness times probability is no logit."""
        return not self.objectness

    def fits(self, spec: OutputSpec) -> bool:
        """One output with 4 + C, or 5 + C values for each cell."""
        shape = spec.ports[0].shape
        values = BOX + self.objectness + spec.classes
        return (
            len(spec.ports) == 1
            and len(shape) == 3
            and shape[1 if self.in_columns else 2] == values
        )

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """Scores are not whole numbers, and boxes lie where their cells are."""
        table = answers[0]
        last = table[:, :, -1, :] if self.in_columns else table[..., -1]
        return not are_labels(last, spec.classes) and not (
            self.objectness and is_undecoded(table, spec.side)
        )

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Transpose columns to rows, and multiply objectness and class probability."""
        cells = transpose(outputs[0]) if self.in_columns else outputs[0]
        first = BOX + self.objectness
        scores = take(cells, range(first, first + spec.classes))
        return Split(cells, product(scores, take(cells, [BOX])) if self.objectness else scores)


class EndToEnd:
    """Final detections: suppression is in the graph, or the network needs none."""

    name = LayoutName.END_TO_END
    meaning = "(1, N, 6) or (N, 6): a box, score, class index"
    usual = BoxForm.CORNERS
    logits = False
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """One output with six columns, for any number of classes."""
        shape = spec.ports[0].shape
        return len(spec.ports) == 1 and len(shape) in (2, 3) and shape[-1] == BOX + 2

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """The last column contains class indices."""
        return are_labels(answers[0][..., BOX + 1], spec.classes)

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Give a detection its score for its own class, and 0 for the others."""
        found = reshape(outputs[0], 1, spec.ports[0].shape[-2], BOX + 2)
        label, score = take(found, [BOX + 1]), take(found, [BOX])
        return Split(found, scores_from_label(label, score, spec.classes))


class Yolov7:
    """Final detections of a batch in one table: YOLOv7's own export."""

    name = LayoutName.YOLOV7
    meaning = "(N, 7): index in the batch, a box, class index, score"
    usual = BoxForm.CORNERS
    logits = False
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """One output with seven columns; a single row of seven would be one score per class."""
        shape = spec.ports[0].shape
        return (
            len(spec.ports) == 1
            and len(shape) == 2
            and shape[1] == BOX + 3
            and not (shape[0] == 1 and spec.classes == shape[1])
        )

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """The column after the box contains class indices."""
        return are_labels(answers[0][..., BOX + 1], spec.classes)

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Keep the first frame of the batch: all are the same."""
        table = ops.unsqueeze(outputs[0], ops.constant(np.int64(0))).output(0)
        first = ops.convert(ops.equal(take(table, [0]), np.float32(0)), "f32").output(0)
        label, score = take(table, [BOX + 1]), product(take(table, [BOX + 2]), first)
        return Split(take(table, range(1, BOX + 1)), scores_from_label(label, score, spec.classes))


class Paddle:
    """Final detections of PaddleDetection, with or without their number in a second output."""

    name = LayoutName.PADDLE
    meaning = "(N, 6): class index, score, a box"
    usual = BoxForm.CORNERS
    logits = False
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """A table with six columns, and perhaps one number."""
        shape = spec.ports[0].shape
        return (
            len(shape) == 2
            and shape[1] == BOX + 2
            and all(math.prod(port.shape) == 1 for port in spec.ports[1:])
        )

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """The first column contains class indices."""
        return are_labels(answers[0][..., 0], spec.classes)

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Give a detection its score for its own class, and 0 for the others."""
        table = reshape(outputs[0], 1, spec.ports[0].shape[0], BOX + 2)
        scores = scores_from_label(take(table, [0]), take(table, [1]), spec.classes)
        return Split(take(table, range(2, BOX + 2)), scores)


class DetectionOutput:
    """The table of OpenVINO's and Caffe's operation `DetectionOutput`: SSD and its relatives."""

    name = LayoutName.SSD
    meaning = "(1, 1, N, 7): index in the batch, class index, score, a box"
    usual = BoxForm.CORNER_FRACTIONS
    logits = False
    background = Background.FIRST

    def fits(self, spec: OutputSpec) -> bool:
        """One output with four dimensions and seven columns."""
        shape = spec.ports[0].shape
        return (
            len(spec.ports) == 1 and len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == BOX + 3
        )

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """The second column contains class indices, perhaps with one for background."""
        return are_labels(answers[0][..., 1], spec.classes + 1)

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """The table may have a class 0 for background: there is a column for one class more."""
        table = reshape(outputs[0], 1, spec.ports[0].shape[2], BOX + 3)
        scores = scores_from_label(take(table, [1]), take(table, [2]), spec.classes + 1)
        return Split(take(table, range(3, BOX + 3)), scores)
