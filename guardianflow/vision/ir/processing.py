"""The edge IR: one OpenVINO model from a camera's frame to its detections.

    frame (1, H, W, 3) uint8 --placement--> plain IR --thresholds, suppression, clipping--> (N, 6)

H and W may be any size and may change from frame to frame; the batch is fixed at one frame. The
resizing equals Pillow's up to rounding (`serving.place_frame`), the suppression is that of
`serving.select`, and the thresholds are those in the plain IR.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as op

from guardianflow.vision.ir import ir
from guardianflow.vision.ir.serving import (
    LIMITS,
    MAX_DETECTIONS,
    OVERLAP,
    PADDING,
    InputGeometry,
    read_geometry,
    read_rt_info,
    read_thresholds,
    split_names,
)

_NOTHING = -1.0


def wrap(plain: Path, folder: Path) -> Path:
    """Write the edge IR of a plain IR into a folder, and return the folder."""
    model = ov.Core().read_model(plain / ir.FILE)
    return ir.save(with_processing(model, read_thresholds(model)), folder)


def with_processing(model: ov.Model, thresholds: Sequence[float]) -> ov.Model:
    """Wrap a plain IR so that it takes whole frames and outputs detections.

    Args:
        model: A plain IR: an input (1, H, W, 3) uint8 in; boxes (1, A, 4) in its pixels and scores
            (1, A, C) out. It is modified and cannot be used afterwards.
        thresholds: The lowest score of a detection, one per class.

    Returns:
        A model that outputs detections of shape (N, 6), float32, best first: x1, y1, x2, y2 in
        pixels of the frame, score, class index.
    """
    geometry = read_geometry(model)
    known = {node.get_friendly_name() for node in model.get_ops()}
    frame = op.parameter([1, -1, -1, 3], np.uint8, name="frame")
    shape = op.shape_of(frame, output_type="i32")
    # Height and width, shape (2,).
    sides = op.gather(shape, _whole([1, 2]), _whole(0))
    entrance = model.get_parameters()[0]
    for target in list(entrance.output(0).get_target_inputs()):
        target.replace_source_output(_place(frame, sides, geometry).output(0))
    boxes, scores = (result.input_value(0) for result in model.get_results())
    found = _select(boxes, scores, thresholds)
    detections = _in_frame(found, sides, geometry)
    detections.output(0).set_names({"detections"})
    edge = ov.Model([detections.output(0)], [frame], "edge")  # pyright: ignore[reportGeneralTypeIssues]
    # OpenVINO numbers new nodes per process; fixed names give the same file for the same model.
    new = (node for node in edge.get_ordered_ops() if node.get_friendly_name() not in known)
    for index, node in enumerate(new):
        if node.get_friendly_name() not in (LIMITS, "frame"):
            node.set_friendly_name(f"edge/{index}")
    ir.describe(
        edge,
        classes=split_names(read_rt_info(model, "classes")),
        precision=read_rt_info(model, "precision"),
        thresholds=thresholds,
        geometry=geometry,
    )
    edge.set_rt_info(str(max(geometry.height, geometry.width)), ["guardianflow", "image_size"])
    edge.set_rt_info("1", ["guardianflow", "batch"])
    return edge


def _place(frame: ov.Node, sides: ov.Node, geometry: InputGeometry) -> ov.Node:
    """The frame as placed by `serving.place_frame`, shape (1, height, width, 3), uint8.

    Pillow resizes along the rows first, rounds to bytes, and then along the columns. OpenVINO's
    kernel computes all channels of a pixel at once: with three channels it takes 5 times as long as
    with a whole column as channels, so each direction is reshaped that way.
    """
    inner = _inner(sides, geometry)
    height, width = (op.gather(sides, _whole([i]), _whole(0)) for i in (0, 1))
    inner_height, inner_width = (op.gather(inner, _whole([i]), _whole(0)) for i in (0, 1))
    columns = _resize(op.transpose(frame, _whole([0, 2, 1, 3])), width, inner_width)
    rows = op.transpose(_reshape(columns, inner_width, height, 3), _whole([1, 0, 2]))
    picture = _reshape(_resize(rows, height, inner_height), inner_height, inner_width, 3)
    before = op.concat([_before(inner, geometry), _whole([0])], 0)
    covered = op.add(before, op.concat([inner, _whole([3])], 0))
    after = op.subtract(_whole([geometry.height, geometry.width, 3]), covered)
    grey = op.constant(PADDING, np.uint8)
    placed = op.pad(picture, before, after, "constant", grey)
    return _reshape(placed, 1, geometry.height, geometry.width, 3)


def _scale(sides: ov.Node, geometry: InputGeometry) -> tuple[ov.Node, ov.Node]:
    """Pixels of the input, and of the frame that they show, for height and width: shape (2,)."""
    full = _whole([geometry.height, geometry.width])
    if geometry.placement == "stretch":
        return full, sides
    # As fractions: the side with the smaller one fills the input.
    crossed = op.multiply(sides, _whole([geometry.width, geometry.height]))
    wide = op.greater_equal(*(op.gather(crossed, _whole([i]), _whole(0)) for i in (1, 0)))
    first, second = _whole([1, 1]), _whole([0, 0])
    filling = op.select(wide, first, second)
    return op.gather(full, filling, _whole(0)), op.gather(sides, filling, _whole(0))


def _inner(sides: ov.Node, geometry: InputGeometry) -> ov.Node:
    """Height and width of the frame on the input, shape (2,)."""
    full, whole = _scale(sides, geometry)
    doubled = op.add(op.multiply(op.multiply(sides, full), _whole([2])), whole)
    return op.maximum(op.divide(doubled, op.multiply(whole, _whole([2]))), _whole([1]))


def _before(inner: ov.Node, geometry: InputGeometry) -> ov.Node:
    """The rows above and the columns left of the frame on the input, shape (2,)."""
    if geometry.placement != "centre":
        return _whole([0, 0])
    return op.divide(op.subtract(_whole([geometry.height, geometry.width]), inner), _whole([2]))


def _resize(lines: ov.Node, before: ov.Node, after: ov.Node) -> ov.Node:
    """Resize the first dimension from `before` to `after` lines as Pillow does."""
    picture = _reshape(lines, 1, before, 1, -1)
    size = op.concat([after, _whole([1])], 0)
    return op.interpolate(picture, size, "bilinear_pillow", "sizes", axes=_whole([1, 2]))


def _select(boxes: ov.Output, scores: ov.Output, thresholds: Sequence[float]) -> ov.Node:
    """The result of `serving.select`: box, score and class of each kept box, shape (N, 6)."""
    cells, classes = (int(scores.get_shape()[i]) for i in (1, 2))
    limits = op.constant(np.asarray(thresholds, dtype=np.float32))
    limits.set_friendly_name(LIMITS)
    known = op.select(op.greater_equal(scores, limits), scores, _real(_NOTHING))
    # OpenVINO suppresses overlaps equal to the limit, too; `select` only larger ones.
    overlap = np.nextafter(np.float32(OVERLAP), np.float32(1))
    kept = op.non_max_suppression(
        boxes,
        op.transpose(known, _whole([0, 2, 1])),
        op.constant(np.int64(MAX_DETECTIONS)),
        _real(overlap),
        _real(_NOTHING / 2),
        box_encoding="corner",
        sort_result_descending=False,
        output_type="i32",
    ).output(0)
    label, cell = (op.gather(kept, _whole(i), _whole(1)) for i in (1, 2))
    place = op.add(op.multiply(cell, _whole(classes)), label)
    # Restore the order of cells and classes, so that of equal scores the first one leads.
    marks = op.scatter_elements_update(
        _whole(np.zeros(cells * classes)),
        place,
        op.broadcast(_whole(1), op.shape_of(place, "i32")),
        _whole(0),
    )
    place = _reshape(op.non_zero(marks, "i32"), -1)
    count = op.minimum(op.squeeze(op.shape_of(place, "i32")), _whole(MAX_DETECTIONS))
    values = op.gather(_reshape(scores, -1), place, _whole(0))
    best = op.topk(values, count, 0, "max", "value", "i32", stable=True)
    place = op.gather(place, best.output(1), _whole(0))
    corners = op.gather(
        op.squeeze(boxes, _whole([0])), op.divide(place, _whole(classes)), _whole(0)
    )
    label = op.convert(op.mod(place, _whole(classes)), "f32")
    return op.concat(
        [corners, *(op.unsqueeze(column, _whole(1)) for column in (best.output(0), label))], 1
    )


def _in_frame(found: ov.Node, sides: ov.Node, geometry: InputGeometry) -> ov.Node:
    """Detections with boxes in pixels of the frame instead of the input, clipped to it."""
    boxes = op.slice(found, _whole([0]), _whole([4]), _whole([1]), _whole([1]))
    rest = op.slice(found, _whole([4]), _whole([6]), _whole([1]), _whole([1]))
    full, whole = (_corners(part) for part in _scale(sides, geometry))
    moved = op.subtract(boxes, _corners(_before(_inner(sides, geometry), geometry)))
    inside = op.maximum(op.divide(moved, op.divide(full, whole)), _real(0.0))
    return op.concat([op.minimum(inside, _corners(sides)), rest], 1)


def _corners(pair: ov.Node) -> ov.Node:
    """Values for height and width, shape (2,), as float32 for x1, y1, x2, y2: shape (4,)."""
    return op.convert(op.gather(pair, _whole([1, 0, 1, 0]), _whole(0)), "f32")


def _reshape(node: ov.Node | ov.Output, *sides: ov.Node | int) -> ov.Node:
    """Reshape to sides given as numbers or as nodes of shape (1,); -1 is inferred."""
    parts = [_whole([side]) if isinstance(side, int) else side for side in sides]
    return op.reshape(node, op.concat(parts, 0), special_zero=False)


def _whole(values: object) -> ov.Node:
    return op.constant(np.asarray(values, dtype=np.int32))


def _real(values: object) -> ov.Node:
    return op.constant(np.asarray(values, dtype=np.float32))
