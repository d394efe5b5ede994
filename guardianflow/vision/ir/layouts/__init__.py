"""The meaning of a detector's outputs: one `Layout` for each supported family.

    its outputs --Layout.split--> cells (1, A, 4 or more) a box in the first four columns
                                  scores (1, A, C or C + 1)
    cells --corners--> boxes (1, A, 4) x1 y1 x2 y2 in input pixels

protocol    what a layout is
tables      everything in one table
grids       one table whose boxes are still to be computed from cells
parts       boxes and scores in outputs of their own
operations  of the graph

To support another family, add its name to `LayoutName` in `reading.py`, a class here with `fits`,
`agrees` and `split`, and an instance to `LAYOUTS`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.layouts.grids import NanoDet, Yolox
from guardianflow.vision.ir.layouts.operations import product, take
from guardianflow.vision.ir.layouts.parts import Canonical, Heads, SeparateDetections
from guardianflow.vision.ir.layouts.protocol import (
    BOX,
    Answers,
    InputSize,
    Layout,
    OutputSpec,
    Shape,
)
from guardianflow.vision.ir.layouts.tables import FINAL_ROWS, Cells
from guardianflow.vision.ir.reading import BoxForm, LayoutName

LAYOUTS: tuple[Layout, ...] = (
    # YOLOv8 and YOLO11 without suppression.
    Cells(LayoutName.RAW, "(1, 4 + C, A): a box, then a score per class", in_columns=True),
    # RT-DETR, and exports that end in a transposition.
    Cells(LayoutName.ROWS, "(1, A, 4 + C): a box, then a score per class"),
    *FINAL_ROWS,
    # Older YOLO versions.
    Cells(
        LayoutName.OBJECTNESS,
        "(1, A, 5 + C): a box, objectness, then a probability per class",
        objectness=True,
    ),
    Yolox(),
    NanoDet(),
    Heads(),
    SeparateDetections(),
    Canonical(),
)


def choose_layout(
    spec: OutputSpec,
    description: str,
    wanted: LayoutName | None = None,
    run: Callable[[], Answers] | None = None,
) -> Layout:
    """Choose the layout of such outputs.

    Args:
        spec: The outputs.
        description: The file with its inputs and outputs, for errors.
        wanted: The layout, if the caller or the file knows it.
        run: Returns the outputs on a few frames; called only if several layouts fit the shapes.

    Raises:
        ModelInvalid: No layout fits, several do and none is wanted, or the wanted one does not.
    """
    fitting = [layout for layout in LAYOUTS if layout.fits(spec)]
    chosen = [layout for layout in fitting if wanted in (None, layout.name)]
    if len(chosen) > 1 and run is not None:
        answers = run()
        agreeing = [one for one in chosen if one.agrees(spec, answers)]
        chosen = agreeing or chosen
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        counted = f"{spec.classes} class{'' if spec.classes == 1 else 'es'}"
        raise ModelInvalid(
            f"{description}. With {counted} that can mean "
            + ", or ".join(f"{layout.name} {layout.meaning}" for layout in chosen)
            + ".",
            remedy="Choose one: " + " or ".join(f"--layout {layout.name}" for layout in chosen),
        )
    if fitting:
        raise ModelInvalid(
            f"{description}. The layout {wanted} does not fit that.",
            remedy="Leave out --layout. What fits: "
            + "; ".join(f"{layout.name} {layout.meaning}" for layout in fitting),
        )
    raise ModelInvalid(
        f"{description}. {_diagnosis([port.shape for port in spec.ports], spec.classes)}",
        remedy="Supported layouts: "
        + "; ".join(f"{entry.name} {entry.meaning}" for entry in LAYOUTS),
    )


def corners(cells: ov.Output, form: BoxForm, side: InputSize) -> ov.Output:
    """Convert the first four columns of a table to x1, y1, x2, y2 in pixels.

    The table has shape (1, A, 4 or more), float32, the result (1, A, 4). `side` is the size of the
    input.
    """
    if form.centred:
        boxes = _from_centre(cells)
    elif cells.get_partial_shape()[2].get_length() == BOX:
        boxes = cells
    else:
        boxes = take(cells, range(BOX))
    if form.fractions:
        sides = np.array([side.width, side.height] * 2, np.float32)
        boxes = product(boxes, sides.reshape(1, 1, BOX))
    return boxes


def _from_centre(cells: ov.Output) -> ov.Output:
    """Convert cx, cy, w, h in the first four columns to x1, y1, x2, y2."""
    centre, size = take(cells, (0, 1)), take(cells, (2, 3))
    half = ops.multiply(size, ops.constant(np.float32(0.5)))
    return ops.concat([ops.subtract(centre, half), ops.add(centre, half)], 2).output(0)


def _diagnosis(shapes: Sequence[Shape], classes: int) -> str:
    """What outputs probably are if no layout fits them."""
    if any(len(shape) in (4, 5) for shape in shapes):
        return (
            "An output with four dimensions or more contains masks or bare grids: a segmentation "
            "model, or a detector exported without its decoding."
        )
    if len(shapes) == 1 and len(shapes[0]) == 2:
        if shapes[0][0] in (1, -1) and shapes[0][1] != BOX + 3:
            return "One score per class and no boxes: a classification model."
        return "A table without a batch dimension is supported only with 7 columns."
    lasts = sorted(shape[-1] for shape in shapes if shape)
    if len(shapes) == 2 and BOX in lasts and all(len(shape) == 3 for shape in shapes):
        columns = next((last for last in lasts if last != BOX), BOX)
        return (
            f"Boxes and scores in two outputs need {classes} columns of scores for the {classes} "
            f"classes that are named, or one more for background, but there are {columns}."
        )
    if len(shapes) == 1 and len(shapes[0]) == 3:
        values = min(value for value in shapes[0][1:] if value > 0)
        return (
            f"With {values} values for a box it would have {values - BOX} classes, or "
            f"{values - BOX - 1} and objectness, but {classes} are named; other values (key "
            "points, masks, angles) are not supported."
        )
    return "This layout of outputs is not supported."
