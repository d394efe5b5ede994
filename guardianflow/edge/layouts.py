"""What the outputs of a detector mean: one `Layout` for each family that is understood.

    its outputs --Layout.split--> boxes (1, A, 4) x1 y1 x2 y2 in input pixels
                                  scores (1, A, C) probabilities, the wanted classes in their order

To understand another family: one more class here with `fits` and `split`, and a line in `LAYOUTS`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from guardianflow.edge.reading import LayoutName
from guardianflow.errors import ModelInvalid

if TYPE_CHECKING:
    import openvino as ov

Shape = tuple[int, ...]
"""Of a tensor; -1 where a dimension is open."""

_BOX = 4


class Layout(Protocol):
    """What the outputs of a family of detectors mean.

    Attributes:
        name: What `--layout` calls it.
        meaning: The shape with its meaning, for people.
    """

    @property
    def name(self) -> LayoutName: ...  # noqa: D102 - see the attributes above

    @property
    def meaning(self) -> str: ...  # noqa: D102

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """Whether outputs of these shapes could be such, for a detector of so many classes."""
        ...

    def split(
        self, outputs: Sequence["ov.Output"], rows: Sequence[int]
    ) -> tuple["ov.Output", "ov.Output"]:
        """Boxes and scores as our IR has them.

        Args:
            outputs: Float32.
            rows: Which of its classes are wanted, in the order in which they are wanted.
        """
        ...


class RawGrid:
    """Every cell of the grids in a column: what YOLOv8 and YOLO11 export without suppression."""

    name = LayoutName.RAW
    meaning = "(1, 4 + C, A): cx cy w h in input pixels, then a probability per class"

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """One output with 4 + C rows."""
        (shape, *others) = shapes
        return not others and len(shape) == 3 and shape[1] == _BOX + classes

    def split(
        self, outputs: Sequence["ov.Output"], rows: Sequence[int]
    ) -> tuple["ov.Output", "ov.Output"]:
        """Columns become rows; centre and size become corners."""
        cells = _transpose(outputs[0])
        return _corners(cells), _take(cells, [_BOX + row for row in rows])


class Objectness:
    """As the older YOLO export it: that there is something, and what it would be."""

    name = LayoutName.OBJECTNESS
    meaning = "(1, A, 5 + C): cx cy w h in input pixels, objectness, then a probability per class"

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """One output with 5 + C columns."""
        (shape, *others) = shapes
        return not others and len(shape) == 3 and shape[2] == _BOX + 1 + classes

    def split(
        self, outputs: Sequence["ov.Output"], rows: Sequence[int]
    ) -> tuple["ov.Output", "ov.Output"]:
        """A score is the product of the two probabilities."""
        from openvino import opset13 as ops

        cells = outputs[0]
        labels = _take(cells, [_BOX + 1 + row for row in rows])
        return _corners(cells), ops.multiply(labels, _take(cells, [_BOX])).output(0)


class EndToEnd:
    """Finished detections: suppression is in the graph, or the network needs none."""

    name = LayoutName.END_TO_END
    meaning = "(1, N, 6): x1 y1 x2 y2 in input pixels, score, class index"

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:  # noqa: ARG002
        """One output with six columns, whatever the classes."""
        (shape, *others) = shapes
        return not others and len(shape) == 3 and shape[2] == _BOX + 2

    def split(
        self, outputs: Sequence["ov.Output"], rows: Sequence[int]
    ) -> tuple["ov.Output", "ov.Output"]:
        """A detection scores for its own class, and nothing for the others."""
        from openvino import opset13 as ops

        found = outputs[0]
        wanted = np.asarray(rows, dtype=np.float32).reshape(1, 1, -1)
        own = ops.equal(ops.round(_take(found, [_BOX + 1])), ops.constant(wanted))
        scores = ops.multiply(ops.convert(own, "f32"), _take(found, [_BOX]))
        return _take(found, range(_BOX)), scores.output(0)


class Canonical:
    """Our own: an IR that guardianflow made, perhaps on another server."""

    name = LayoutName.CANONICAL
    meaning = "(1, A, 4) and (1, A, C): x1 y1 x2 y2 in input pixels; a probability per class"

    def fits(self, shapes: Sequence[Shape], classes: int) -> bool:
        """Two outputs, for the same cells."""
        return len(shapes) == 2 and [shape[-1] for shape in shapes] == [_BOX, classes]

    def split(
        self, outputs: Sequence["ov.Output"], rows: Sequence[int]
    ) -> tuple["ov.Output", "ov.Output"]:
        """Only the classes may be others."""
        return outputs[0], _take(outputs[1], rows)


LAYOUTS: tuple[Layout, ...] = (RawGrid(), EndToEnd(), Objectness(), Canonical())


def choose_layout(
    shapes: Sequence[Shape], classes: int, found: str, wanted: LayoutName | None = None
) -> Layout:
    """The layout of outputs of these shapes.

    Args:
        shapes: One per output.
        classes: How many classes the detector has.
        found: The file with its inputs and outputs, for errors.
        wanted: The layout, where the caller knows it.

    Raises:
        ModelInvalid: None fits, or more than one and none is wanted, or the wanted one does not.
    """
    fitting = [layout for layout in LAYOUTS if layout.fits(shapes, classes)]
    chosen = [layout for layout in fitting if wanted in (None, layout.name)]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise ModelInvalid(
            f"{found}. With {classes} class{'' if classes == 1 else 'es'} that can mean "
            + ", or ".join(f"{layout.name} {layout.meaning}" for layout in chosen)
            + ".",
            remedy="Say which: " + " or ".join(f"--layout {layout.name}" for layout in chosen),
        )
    raise ModelInvalid(
        f"{found}. {_diagnosis(shapes, classes)}",
        remedy="Understood are " + "; ".join(f"{entry.name} {entry.meaning}" for entry in LAYOUTS),
    )


def _diagnosis(shapes: Sequence[Shape], classes: int) -> str:
    """What outputs of these shapes probably are, when they are nothing that is understood."""
    if any(len(shape) == 4 for shape in shapes):
        return (
            "An output with four dimensions holds masks or bare grids: a segmentation model, "
            "or a detector exported without its decoding."
        )
    if len(shapes) == 1 and len(shapes[0]) == 2:
        return "One figure per class and no boxes: a classification model."
    if len(shapes) == 1 and len(shapes[0]) == 3:
        values = min(value for value in shapes[0][1:] if value > 0)
        return (
            f"With {values} values for a box it would have {values - _BOX} classes, or "
            f"{values - _BOX - 1} and objectness, but {classes} are named; what else the values "
            "may be (key points, masks, angles) is not understood."
        )
    return "That is no layout of outputs that is understood."


def _corners(cells: "ov.Output") -> "ov.Output":
    """cx, cy, w, h in the first four columns to x1, y1, x2, y2."""
    from openvino import opset13 as ops

    centre, size = _take(cells, (0, 1)), _take(cells, (2, 3))
    half = ops.multiply(size, ops.constant(np.float32(0.5)))
    return ops.concat([ops.subtract(centre, half), ops.add(centre, half)], 2).output(0)


def _take(table: "ov.Output", columns: Sequence[int]) -> "ov.Output":
    """Some columns of (1, A, D), in this order."""
    from openvino import opset13 as ops

    indices = ops.constant(np.asarray(columns, dtype=np.int64))
    return ops.gather(table, indices, ops.constant(np.int64(2))).output(0)


def _transpose(table: "ov.Output") -> "ov.Output":
    from openvino import opset13 as ops

    return ops.transpose(table, ops.constant(np.array([0, 2, 1], dtype=np.int64))).output(0)
