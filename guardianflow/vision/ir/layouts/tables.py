"""Layouts with everything in one table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import openvino as ov

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


@dataclass(frozen=True)
class FinalRows:
    """Final detections, a row each: suppression is in the graph, or the network needs none.

    Attributes:
        name: See `Layout`.
        meaning: See `Layout`.
        box: The first of the four columns of the box.
        score: The column of the score.
        label: The column of the class index.
        ranks: How many dimensions the table may have; but for rows and columns they are 1.
        columns: Of the table.
        counted: Whether their number may come in an output of its own.
        spare: Whether class indices may count from 1, with 0 for background.
        usual: See `Layout`.
        background: See `Layout`.
    """

    name: LayoutName
    meaning: str
    box: int
    score: int
    label: int
    ranks: tuple[int, ...]
    columns: int = BOX + 2
    counted: bool = False
    spare: bool = False
    usual: BoxForm = BoxForm.CORNERS
    background: Background = Background.LAST

    @property
    def logits(self) -> bool:
        """They are final."""
        return False

    def fits(self, spec: OutputSpec) -> bool:
        """One table with these columns; a single row may be one score per class instead."""
        shape, *others = (port.shape for port in spec.ports)
        if len(shape) not in self.ranks or shape[-1] != self.columns:
            return False
        if math.prod(shape[:-2]) != 1 or shape == (1, spec.classes):
            return False
        return not others or (self.counted and all(math.prod(other) == 1 for other in others))

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """Its column contains class indices."""
        return are_labels(answers[0][..., self.label], spec.classes + self.spare)

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Give a detection its score for its own class, and 0 for the others."""
        table = reshape(outputs[0], 1, spec.ports[0].shape[-2], self.columns)
        label, score = take(table, [self.label]), take(table, [self.score])
        scores = scores_from_label(label, score, spec.classes + self.spare)
        return Split(take(table, range(self.box, self.box + BOX)), scores)


FINAL_ROWS = (
    FinalRows(
        LayoutName.END_TO_END,
        "(1, N, 6) or (N, 6): a box, score, class index",
        box=0,
        score=4,
        label=5,
        ranks=(2, 3),
    ),
    # YOLOv7's own export. Of a whole batch, all frames are the same: suppression keeps one.
    FinalRows(
        LayoutName.YOLOV7,
        "(N, 7): index in the batch, a box, class index, score",
        columns=7,
        box=1,
        label=5,
        score=6,
        ranks=(2,),
    ),
    FinalRows(
        LayoutName.PADDLE,
        "(N, 6): class index, score, a box",
        label=0,
        score=1,
        box=2,
        ranks=(2,),
        counted=True,
    ),
    # OpenVINO's and Caffe's operation `DetectionOutput`: SSD and its relatives.
    FinalRows(
        LayoutName.SSD,
        "(1, 1, N, 7): index in the batch, class index, score, a box",
        columns=7,
        label=1,
        score=2,
        box=3,
        ranks=(4,),
        spare=True,
        usual=BoxForm.CORNER_FRACTIONS,
        background=Background.FIRST,
    ),
)
