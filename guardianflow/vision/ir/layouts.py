"""The meaning of a detector's outputs: one `Layout` for each supported family.

    its outputs --Layout.split--> cells (1, A, 4 or more) a box in the first four columns
                                  scores (1, A, C) probabilities, the wanted classes in their order
    cells --corners--> boxes (1, A, 4) x1 y1 x2 y2 in input pixels

To support another family, add its name to `LayoutName` in `reading.py`, a class here with `fits`,
`agrees` and `split`, and an instance to `LAYOUTS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.reading import BoxForm, LayoutName

Shape = tuple[int, ...]
"""Of a tensor; -1 for an open dimension."""

_Split = tuple[ov.Output, ov.Output]
"""A table (1, A, 4 or more) whose first four columns are the box, and scores (1, A, C)."""
_BOX = 4


class Layout(Protocol):
    """The meaning of the outputs of a family of detectors.

    Attributes:
        name: Its name for `--layout`.
        meaning: The shape with its meaning, for messages.
        usual: The usual box form of such detectors.
    """

    @property
    def name(self) -> LayoutName: ...  # noqa: D102 - see the attributes above

    @property
    def meaning(self) -> str: ...  # noqa: D102

    @property
    def usual(self) -> BoxForm: ...  # noqa: D102

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """Return whether outputs of these shapes can have this layout."""
        ...

    def agrees(self, answers: Sequence[NDArray[np.float32]], classes: int) -> bool:
        """Return whether the values of outputs that fit can have this layout.

        Args:
            answers: Outputs on a few frames: for each output an array of shape (frames, ...).
            classes: Number of the detector's classes.
        """
        ...

    def split(self, outputs: Sequence[ov.Output], rows: Sequence[int]) -> _Split:
        """Split outputs into boxes in the detector's form, and scores as in our IR.

        Args:
            outputs: Float32.
            rows: Indices of the wanted classes, in the wanted order.
        """
        ...


@dataclass(frozen=True)
class _Cells:
    """A box and a probability per class for each cell of the grids.

    Attributes:
        name: See `Layout`.
        meaning: See `Layout`.
        in_columns: Whether each column is a cell; otherwise each row.
        objectness: Whether an objectness precedes the probabilities.
    """

    name: LayoutName
    meaning: str
    in_columns: bool = False
    objectness: bool = False
    usual: BoxForm = BoxForm.CENTRE

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """One output with 4 + C, or 5 + C values for each cell."""
        (shape, *others) = shapes
        values = _BOX + self.objectness + classes
        return not others and len(shape) == 3 and shape[1 if self.in_columns else 2] == values

    def agrees(self, answers: Sequence[NDArray[np.float32]], classes: int) -> bool:
        """Probabilities are not whole numbers."""
        table = answers[0]
        last = table[:, :, -1, :] if self.in_columns else table[..., -1]
        return not _are_labels(last, classes)

    def split(self, outputs: Sequence[ov.Output], rows: Sequence[int]) -> _Split:
        """Transpose columns to rows, and multiply objectness and class probability."""
        cells = _transpose(outputs[0]) if self.in_columns else outputs[0]
        scores = _take(cells, [_BOX + self.objectness + row for row in rows])
        if self.objectness:
            scores = ops.multiply(scores, _take(cells, [_BOX])).output(0)
        return cells, scores


class _EndToEnd:
    """Final detections: suppression is in the graph, or the network needs none."""

    name = LayoutName.END_TO_END
    meaning = "(1, N, 6): a box, score, class index"
    usual = BoxForm.CORNERS

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:  # noqa: ARG002
        """One output with six columns, for any number of classes."""
        (shape, *others) = shapes
        return not others and len(shape) == 3 and shape[2] == _BOX + 2

    def agrees(self, answers: Sequence[NDArray[np.float32]], classes: int) -> bool:
        """The last column contains class indices."""
        return _are_labels(answers[0][..., _BOX + 1], classes)

    def split(self, outputs: Sequence[ov.Output], rows: Sequence[int]) -> _Split:
        """Give a detection its score for its own class, and 0 for the others."""
        found = outputs[0]
        scores = _scores_from_label(_take(found, [_BOX + 1]), _take(found, [_BOX]), rows)
        return found, scores


class _Yolov7:
    """Final detections of a batch in one table: YOLOv7's own export."""

    name = LayoutName.YOLOV7
    meaning = "(N, 7): index in the batch, a box, class index, score"
    usual = BoxForm.CORNERS

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """One output with seven columns; a single row of seven would be one score per class."""
        (shape, *others) = shapes
        return (
            not others
            and len(shape) == 2
            and shape[1] == _BOX + 3
            and not (shape[0] == 1 and classes == shape[1])
        )

    def agrees(self, answers: Sequence[NDArray[np.float32]], classes: int) -> bool:
        """The column after the box contains class indices."""
        return _are_labels(answers[0][..., _BOX + 1], classes)

    def split(self, outputs: Sequence[ov.Output], rows: Sequence[int]) -> _Split:
        """Drop the index in the batch: there is only one frame."""
        table = ops.unsqueeze(outputs[0], ops.constant(np.int64(0))).output(0)
        found = _take(table, range(1, _BOX + 1))
        return found, _scores_from_label(_take(table, [_BOX + 1]), _take(table, [_BOX + 2]), rows)


class _Canonical:
    """An IR made by guardianflow, e.g. on another server."""

    name = LayoutName.CANONICAL
    meaning = "(1, A, 4) and (1, A, C): a box; a probability per class"
    usual = BoxForm.CORNERS

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """Two outputs, for the same cells."""
        return (
            len(shapes) == 2
            and all(len(shape) == 3 for shape in shapes)
            and [shape[2] for shape in shapes] == [_BOX, classes]
        )

    def agrees(self, answers: Sequence[NDArray[np.float32]], classes: int) -> bool:  # noqa: ARG002
        """No other layout has two such outputs."""
        return True

    def split(self, outputs: Sequence[ov.Output], rows: Sequence[int]) -> _Split:
        """Reorder only the classes."""
        return outputs[0], _take(outputs[1], rows)


LAYOUTS: tuple[Layout, ...] = (
    # YOLOv8 and YOLO11 without suppression.
    _Cells(LayoutName.RAW, "(1, 4 + C, A): a box, then a probability per class", in_columns=True),
    # RT-DETR, and exports that end in a transposition.
    _Cells(LayoutName.ROWS, "(1, A, 4 + C): a box, then a probability per class"),
    _EndToEnd(),
    _Yolov7(),
    # Older YOLO versions.
    _Cells(
        LayoutName.OBJECTNESS,
        "(1, A, 5 + C): a box, objectness, then a probability per class",
        objectness=True,
    ),
    _Canonical(),
)


def choose_layout(
    shapes: Sequence[Shape],
    classes: int,
    description: str,
    wanted: LayoutName | None = None,
    run: Callable[[], Sequence[NDArray[np.float32]]] | None = None,
) -> Layout:
    """Choose the layout of outputs of these shapes.

    Args:
        shapes: One per output.
        classes: Number of the detector's classes.
        description: The file with its inputs and outputs, for errors.
        wanted: The layout, if the caller or the file knows it.
        run: Returns the outputs on a few frames, as `Layout.agrees` takes them; called only if
            several layouts fit the shapes.

    Raises:
        ModelInvalid: No layout fits, several do and none is wanted, or the wanted one does not.
    """
    fitting = [layout for layout in LAYOUTS if layout.fits(shapes, classes)]
    chosen = [layout for layout in fitting if wanted in (None, layout.name)]
    if len(chosen) > 1 and run is not None:
        answers = run()
        chosen = [layout for layout in chosen if layout.agrees(answers, classes)] or chosen
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise ModelInvalid(
            f"{description}. With {classes} class{'' if classes == 1 else 'es'} that can mean "
            + ", or ".join(f"{layout.name} {layout.meaning}" for layout in chosen)
            + ".",
            remedy="Choose one: " + " or ".join(f"--layout {layout.name}" for layout in chosen),
        )
    raise ModelInvalid(
        f"{description}. {_diagnosis(shapes, classes)}",
        remedy="Supported layouts: "
        + "; ".join(f"{entry.name} {entry.meaning}" for entry in LAYOUTS),
    )


def corners(cells: ov.Output, form: BoxForm, size: int) -> ov.Output:
    """Convert the first four columns of a table to x1, y1, x2, y2 in pixels.

    The table has shape (1, A, 4 or more), float32, the result (1, A, 4). `size` is the side of the
    input in pixels.
    """
    if form.centred:
        boxes = _from_centre(cells)
    elif cells.get_partial_shape()[2].get_length() == _BOX:
        boxes = cells
    else:
        boxes = _take(cells, range(_BOX))
    if form.fractions:
        boxes = ops.multiply(boxes, ops.constant(np.float32(size))).output(0)
    return boxes


def _diagnosis(shapes: Sequence[Shape], classes: int) -> str:
    """What outputs probably are if no layout fits them."""
    if any(len(shape) == 4 for shape in shapes):
        return (
            "An output with four dimensions contains masks or bare grids: a segmentation model, "
            "or a detector exported without its decoding."
        )
    if len(shapes) == 1 and len(shapes[0]) == 2:
        if shapes[0][0] in (1, -1) and shapes[0][1] != _BOX + 3:
            return "One score per class and no boxes: a classification model."
        return "A table without a batch dimension is supported only with 7 columns."
    if len(shapes) == 2 and _are_bare_heads([shape[-1:] for shape in shapes], classes):
        return (
            "Logits and boxes in two outputs are the bare heads of a DETR, without the "
            "post-processing to probabilities and pixels; such heads are not supported yet."
        )
    if len(shapes) == 1 and len(shapes[0]) == 3:
        values = min(value for value in shapes[0][1:] if value > 0)
        return (
            f"With {values} values for a box it would have {values - _BOX} classes, or "
            f"{values - _BOX - 1} and objectness, but {classes} are named; other values (key "
            "points, masks, angles) are not supported."
        )
    return "This layout of outputs is not supported."


def _are_bare_heads(lasts: Sequence[Shape], classes: int) -> bool:
    """Whether two outputs are a box and a score per class, perhaps with one for background."""
    return any(
        one == (_BOX,) and other in ((classes,), (classes + 1,))
        for one, other in (lasts, lasts[::-1])
    )


def _are_labels(column: NDArray[np.float32], classes: int) -> bool:
    """Whether all values are class indices; -1 stands for none."""
    return bool(np.isin(column, np.arange(-1, classes, dtype=np.float32)).all())


def _scores_from_label(label: ov.Output, score: ov.Output, rows: Sequence[int]) -> ov.Output:
    """Scores of the wanted classes (1, N, C) from a class index and a score, both (1, N, 1)."""
    wanted = np.asarray(rows, dtype=np.float32).reshape(1, 1, -1)
    own = ops.equal(ops.round(label), ops.constant(wanted))
    return ops.multiply(ops.convert(own, "f32"), score).output(0)


def _from_centre(cells: ov.Output) -> ov.Output:
    """Convert cx, cy, w, h in the first four columns to x1, y1, x2, y2."""
    centre, size = _take(cells, (0, 1)), _take(cells, (2, 3))
    half = ops.multiply(size, ops.constant(np.float32(0.5)))
    return ops.concat([ops.subtract(centre, half), ops.add(centre, half)], 2).output(0)


def _take(table: ov.Output, columns: Sequence[int]) -> ov.Output:
    """Select columns of (1, A, D), in this order."""
    indices = ops.constant(np.asarray(columns, dtype=np.int64))
    return ops.gather(table, indices, ops.constant(np.int64(2))).output(0)


def _transpose(table: ov.Output) -> ov.Output:
    return ops.transpose(table, ops.constant(np.array([0, 2, 1], dtype=np.int64))).output(0)
