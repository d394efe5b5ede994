"""Detectors that see coloured squares: their answers can be checked without any training.

A frame is grey, with squares in red, blue and green: classes 0, 1 and 2. The detector looks at each
cell of 32 x 32 pixels of its input; its score for a class is how much the cell has that colour and
no other. So geometry, order of channels, range, mean, order of classes and scores are all checked
by what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from guardianflow.vision.ir.families import UNIT_RGB
from guardianflow.vision.ir.layouts.operations import make_cells
from guardianflow.vision.ir.layouts.protocol import InputSize
from guardianflow.vision.ir.reading import Background, ChannelOrder, LayoutName, Pixels
from guardianflow.vision.ir.serving import InputGeometry, place_frame

CLASSES = ("person", "helmet", "vest")
COLOURS = np.array([(255, 0, 0), (0, 0, 255), (0, 255, 0)], np.uint8)
RECTANGLE = InputGeometry(192, 320)
_CELL = 32
_GREY = 128
# A logit that is as good as certain.
_SURE = 12.0


@dataclass(frozen=True)
class Planted:
    """How a planted detector is exported.

    Attributes:
        layout: Of its outputs.
        geometry: Of its input.
        pixels: What it takes pixels to be.
        batch: Of its input.
        fractions: Whether boxes are fractions of the input.
        background: Place of a class for no object, where a layout has one.
        logits: Whether its scores are logits.
        swapped: Whether outputs come in the opposite order.
        sizes: The name of a second input, the size of the picture; "" for none.
        outputs: Names of its outputs.
        metadata: Written to `metadata.yaml` beside it.
    """

    layout: LayoutName = LayoutName.RAW
    geometry: InputGeometry = RECTANGLE
    pixels: Pixels = UNIT_RGB
    batch: int = 1
    fractions: bool = False
    background: Background | None = None
    logits: bool = False
    swapped: bool = False
    sizes: str = ""
    outputs: Sequence[str] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def side(self) -> InputSize:
        return InputSize(*self.geometry[:2])


def save_planted(planted: Planted, folder: Path) -> Path:
    """Write it as an IR, and return the .xml."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = planted.side
    images = ops.parameter([planted.batch, 3, height, width], np.float32, name="images")
    images.output(0).set_names({"images"})
    scores = _scores(images.output(0), planted)
    inputs, boxes = [images], _boxes(planted)
    if planted.sizes:
        sizes = ops.parameter([planted.batch, 2], np.int64, name=planted.sizes)
        sizes.output(0).set_names({planted.sizes})
        inputs.append(sizes)
        twice = ops.convert(ops.concat([sizes, sizes], 1), "f32")
        fractions = boxes / np.array([width, height] * 2, np.float32)
        boxes = ops.multiply(fractions, ops.unsqueeze(twice, np.int64(1)))
    ends = _written(planted, boxes, scores)
    if planted.swapped:
        ends.reverse()
    for end, name in zip(ends, planted.outputs, strict=False):
        end.output(0).set_names({name})
    ov.save_model(ov.Model(ends, inputs, "planted"), folder / "model.xml", compress_to_fp16=False)
    if planted.metadata:
        told = "".join(f"{key}: '{value}'\n" for key, value in planted.metadata.items())
        (folder / "metadata.yaml").write_text(told)
    return folder / "model.xml"


def plant(
    geometry: InputGeometry, height: int, width: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a frame; return it with its boxes in pixels of the frame (N, 4) and classes (N,).

    Each square covers one cell of the input of a detector with this geometry.
    """
    random = np.random.default_rng(seed)
    frame = np.full((height, width, 3), _GREY, np.uint8)
    placed = place_frame(frame, geometry)
    cells = cell_boxes(InputSize(*geometry[:2]))
    inside = (cells - placed.offset) / placed.scale
    limits = np.array([width, height] * 2)
    fitting = inside[((inside >= -0.01) & (inside <= limits + 0.01)).all(1)]
    chosen = fitting[random.choice(len(fitting), 3, replace=False)]
    classes = random.permutation(3)
    for (x1, y1, x2, y2), label in zip(chosen.round().astype(int), classes, strict=True):
        frame[y1:y2, x1:x2] = COLOURS[label]
    return frame, chosen, classes


def cell_boxes(side: InputSize) -> np.ndarray:
    """Corners of the cells of an input in its pixels, shape (A, 4), float32."""
    cells = make_cells(side, [_CELL])
    low = cells[:, :2] * _CELL
    return np.concatenate([low, low + _CELL], 1).astype(np.float32)


def _scores(images: ov.Output, planted: Planted) -> ov.Node:
    """(B, A, 3): 1 where a cell has the colour of the class, 0 where it is grey."""
    pixels = planted.pixels
    shape = (1, 3, 1, 1)
    if pixels.std:
        images = ops.multiply(images, np.float32(pixels.std).reshape(shape)).output(0)
    if pixels.mean:
        images = ops.add(images, np.float32(pixels.mean).reshape(shape)).output(0)
    images = ops.divide(images, np.float32(pixels.input_range.white)).output(0)
    height, width = planted.side
    rows, columns = height // _CELL, width // _CELL
    cells = ops.reshape(
        images, np.array([planted.batch, 3, rows, _CELL, columns, _CELL]), special_zero=False
    )
    means = ops.reduce_mean(cells, np.array([3, 5]))
    mixed = COLOURS.astype(np.float32) / 255 * 1.5 - 0.5
    if pixels.channel_order is ChannelOrder.BGR:
        mixed = mixed[:, ::-1]
    weights = np.ascontiguousarray(mixed).reshape(3, 3, 1, 1)
    seen = ops.convolution(means, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    # What is brighter than white was not prepared for this detector: there it sees nothing.
    bright = ops.greater(ops.reduce_max(means, np.array([1]), keep_dims=True), np.float32(1.05))
    seen = ops.select(bright, np.float32(0), ops.clamp(seen, 0.0, 1.0))
    flat = ops.reshape(seen, np.array([planted.batch, 3, rows * columns]), special_zero=False)
    return ops.transpose(flat, np.array([0, 2, 1]))


def _boxes(planted: Planted) -> np.ndarray:
    return np.repeat(cell_boxes(planted.side)[None], planted.batch, 0)


def _written(planted: Planted, boxes: np.ndarray | ov.Node, scores: ov.Node) -> list[ov.Node]:
    """The outputs in the layout."""
    height, width = planted.side
    unit = np.array([width, height] * 2, np.float32) if planted.fractions else np.float32(1)
    corners = ops.divide(boxes, unit)
    low, high = (ops.gather(corners, np.array(part), np.int64(2)) for part in ((0, 1), (2, 3)))
    centre = ops.concat(
        [ops.multiply(ops.add(low, high), np.float32(0.5)), ops.subtract(high, low)], 2
    )
    best = ops.reduce_max(scores, np.int64(2), keep_dims=True)
    label = ops.convert(ops.topk(scores, np.int64(1), 2, "max", "value", "i64").output(1), "f32")
    if planted.background is Background.FIRST and not planted.logits:
        label = ops.add(label, np.float32(1))
    many = [planted.batch, -1, 1]
    first = ops.multiply(best, np.float32(0))
    match planted.layout:
        case LayoutName.RAW:
            table = ops.concat([centre, _formed(scores, planted)], 2)
            return [ops.transpose(table, np.array([0, 2, 1]))]
        case LayoutName.ROWS:
            return [ops.concat([centre, _formed(scores, planted)], 2)]
        case LayoutName.OBJECTNESS:
            return [ops.concat([centre, ops.add(first, np.float32(1)), scores], 2)]
        case LayoutName.END_TO_END:
            return [ops.concat([corners, best, label], 2)]
        case LayoutName.YOLOV7:
            rows = ops.concat([first, corners, label, best], 2)
            return [ops.reshape(rows, np.array([-1, 7]), special_zero=False)]
        case LayoutName.PADDLE:
            rows = ops.reshape(
                ops.concat([label, best, corners], 2), np.array([-1, 6]), special_zero=False
            )
            count = ops.convert(ops.reduce_max(label, [0, 1, 2]), "i32")
            return [rows, ops.reshape(count, np.array([1]), special_zero=False)]
        case LayoutName.SSD:
            rows = ops.concat([first, label, best, corners], 2)
            return [ops.unsqueeze(rows, np.int64(1))]
        case LayoutName.HEADS:
            return [_formed(scores, planted), centre]
        case LayoutName.DETECTIONS:
            whole = ops.convert(ops.squeeze(label, [2]), "i64")
            return [whole, corners, ops.squeeze(best, [2])]
        case LayoutName.CANONICAL:
            return [corners, scores]
        case LayoutName.YOLOX:
            return [_on_grids(planted, scores, many)]
        case LayoutName.NANODET:
            return [_on_grids(planted, scores, many)]


def _formed(scores: ov.Node, planted: Planted) -> ov.Node:
    """Scores as probabilities or logits, perhaps with one more for no object."""
    if not planted.logits:
        return scores
    logits = ops.multiply(ops.subtract(scores, np.float32(0.5)), np.float32(_SURE))
    if planted.background is None:
        return logits
    none = ops.multiply(ops.reduce_max(logits, np.int64(2), keep_dims=True), np.float32(-1))
    ends = [none, logits] if planted.background is Background.FIRST else [logits, none]
    return ops.concat(ends, 2)


def _on_grids(planted: Planted, scores: ov.Node, many: Sequence[int]) -> ov.Node:
    """The cells of the grid of stride 32, among others in which nothing is seen."""
    strides = (8, 16, 32) if planted.layout is LayoutName.YOLOX else (8, 16, 32, 64)
    cells = make_cells(planted.side, strides)
    here = cells[:, 2] == _CELL
    before, after = int(here.argmax()), int(len(cells) - here.argmax() - here.sum())
    padded = ops.pad(scores, [0, before, 0], [0, after, 0], "constant", np.float32(0))
    if planted.layout is LayoutName.YOLOX:
        # The box of a cell is the cell: half a cell from its corner, as large as the stride.
        boxes = np.tile(np.float32([0.5, 0.5, 0, 0, 1]), (planted.batch, len(cells), 1))
        return ops.concat([boxes, padded], 2)
    # From its corner, a cell ends nothing to the left and above, one stride to the right and below.
    bins = np.full((planted.batch, len(cells), 4, 8), -40, np.float32)
    bins[:, :, (0, 1), 0] = bins[:, :, (2, 3), 1] = 40
    return ops.concat([padded, bins.reshape(planted.batch, len(cells), 32)], 2)
