"""Rebuilds the graph of a foreign detector so that it takes and answers what our IR does.

    frames uint8 (1, S, S, 3) RGB --order, range, type--> its input ... its outputs --layout-->
    boxes (1, A, 4), scores (1, A, C)

What neither its file nor its shapes say, its answers to a few frames may. It is done once, at
import: from then on it is an IR like any other. What is added is named `guardianflow/...`, so that
quantization can leave it alone.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import numpy as np
from numpy.typing import NDArray

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.bounds import refuse_unbounded
from guardianflow.vision.ir.foreign import ForeignModel
from guardianflow.vision.ir.geometry import SCORED, tell_form
from guardianflow.vision.ir.layouts import Layout, Shape, choose_layout, corners
from guardianflow.vision.ir.reading import BoxForm, ChannelOrder, InputRange, LayoutName, Reading

if TYPE_CHECKING:
    import openvino as ov

PREFIX = "guardianflow/"
_MIN_SIDE, _MAX_SIDE = 32, 2048
_FLOATS = ("f32", "f16")
_WHITE = 255.0
# Scores are a sigmoid's or a product of two: this much is rounding.
_ROUNDING = 1e-3
_DRAWN = 4
# The inputs of DETR-like detectors that scale their boxes to the size of the picture.
_PICTURE_SIZES = ("orig_target_sizes", "target_sizes", "im_shape", "scale_factor", "pixel_mask")


@dataclass(frozen=True)
class Adapted:
    """A foreign detector as an IR of ours, and what was found.

    Attributes:
        model: Takes and answers what our IR does; not described yet.
        layout: Of its outputs.
        input_range: Of its own input.
        size: Side of its input in pixels.
        precision: Of its weights: fp32 or fp16.
        boxes: How its own boxes are written.
        usual: Whether most detectors with this layout write them so.
    """

    model: "ov.Model"
    layout: LayoutName
    input_range: InputRange
    size: int
    precision: str
    boxes: BoxForm
    usual: bool


@dataclass(frozen=True)
class _Input:
    """Its only input: where the colours are, and the type of its elements."""

    channels_first: bool
    element: str
    size: int


def adapt(
    foreign: ForeignModel,
    reading: Reading,
    squares: Sequence[NDArray[np.uint8]] = (),
    *,
    max_bytes: int = 8 * 2**30,
) -> Adapted:
    """Rebuild a foreign detector; its own graph is used up by it.

    Args:
        foreign: Opened.
        reading: What the caller knows of it.
        squares: Letterboxed frames, each of shape (S, S, 3), uint8, to tell by its answers what
            its file leaves open. Those of another side than its input are not looked at; without
            any, drawn ones are.
        max_bytes: What a picture may make of its tensors, as in `bounds.refuse_unbounded`.

    Raises:
        ModelInvalid: Its input or its outputs are nothing that is understood, it was quantized
            before, or a picture could ask for any time or too much memory.
    """
    found = foreign.describe()
    before = {op.get_friendly_name() for op in foreign.model.get_ops()}
    _refuse_quantized(foreign)
    given = _fix_input(foreign, reading, found)
    refuse_unbounded(foreign.model, str(foreign.path), max_bytes)
    input_range = _range(given, reading.input_range, found)
    shapes = [_shape(port) for port in foreign.model.outputs]
    if any(-1 in shape for shape in shapes):
        raise ModelInvalid(
            f"{foreign.describe()}. How many boxes it answers is still open for one frame of "
            f"{given.size} x {given.size} pixels.",
            remedy="Export it with a fixed number of boxes, or without suppression.",
            file=str(foreign.path),
        )
    fed = _feed(foreign.model, given, input_range, reading.channel_order)
    frames = frames_for(squares, given.size)
    layout = choose_layout(
        shapes, len(reading.classes), found, _layout(foreign, reading), lambda: _look(fed, frames)
    )
    form = reading.boxes
    if form is None:
        boxes, scores = _look(_split(fed.clone(), layout, reading.rows), frames)
        form = tell_form(boxes[:, 0], scores[:, 0], given.size, layout.usual)
    model = _rebuild(fed, layout, form, given.size, reading.rows)
    _name_what_was_added(model, before)
    return Adapted(
        model, layout.name, input_range, given.size, _precision(model), form, form == layout.usual
    )


def check_answers(model: "ov.Model", squares: Sequence[NDArray[np.uint8]], what: str) -> None:
    """Let an adapted detector look at a few frames and see whether its answers can be right.

    Args:
        model: Adapted.
        squares: Letterboxed frames of its size, each of shape (S, S, 3), uint8.
        what: The file, for errors.

    Raises:
        ModelInvalid: Its scores are no probabilities, or its boxes are no pixels.
    """
    boxes, scores = (answer[:, 0] for answer in _look(model, squares))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ModelInvalid(
            f"{what} answers with numbers that are none (NaN or infinite).",
            remedy="Export it again in float32; try it in its own trainer first.",
        )
    low, high = float(scores.min(initial=0)), float(scores.max(initial=0))
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ModelInvalid(
            f"{what} gives scores from {low:.2f} to {high:.2f}: these are no probabilities.",
            remedy="Export it with the sigmoid in the graph, or choose another --layout.",
        )
    size = model.input(0).shape[1]
    if tell_form(boxes, scores, size, BoxForm.CORNERS).fractions:
        top = np.abs(boxes[scores.max(axis=2, initial=0) > SCORED]).max()
        raise ModelInvalid(
            f"{what} gives boxes up to {top:.2f}: these are fractions of the image, not pixels of "
            "the input.",
            remedy="Leave out --boxes, or name a form in fractions.",
        )


def frames_for(squares: Sequence[NDArray[np.uint8]], size: int) -> Sequence[NDArray[np.uint8]]:
    """The squares of a size; where there are none, a few of coarse noise."""
    fitting = [square for square in squares if square.shape[0] == size]
    if fitting:
        return fitting
    cells = -(-size // 8)
    noise = np.random.default_rng(0).integers(0, 256, (_DRAWN, cells, cells, 3), dtype=np.uint8)
    return list(noise.repeat(8, 1).repeat(8, 2)[:, :size, :size])


def _look(model: "ov.Model", squares: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.float32]]:
    """What a model with frames as its input answers: an array per output, frames in front."""
    import openvino as ov

    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = [compiled(square[None]) for square in squares]
    return [np.stack([answer[i] for answer in answers]) for i in range(len(model.outputs))]


def _layout(foreign: ForeignModel, reading: Reading) -> LayoutName | None:
    """The layout that the caller names, or the file does."""
    if reading.layout or not foreign.end_to_end:
        return reading.layout
    seven = any(len(_shape(port)) == 2 for port in foreign.model.outputs)
    return LayoutName.YOLOV7 if seven else LayoutName.END_TO_END


def _refuse_quantized(foreign: ForeignModel) -> None:
    if any(op.get_type_name() == "FakeQuantize" for op in foreign.model.get_ops()):
        raise ModelInvalid(
            f"{foreign.path} is quantized already.",
            remedy="Import the float model; `guardianflow run SCENARIO --type quant --version vN` "
            "quantizes it on your own images.",
            file=str(foreign.path),
        )


def _fix_input(foreign: ForeignModel, reading: Reading, found: str) -> _Input:
    """Say what its input is, and fix what is open in its shape: one frame, square."""
    model = foreign.model
    ports = model.inputs
    shape = _shape(ports[0]) if len(ports) == 1 else ()
    if len(ports) > 1:
        raise _more_inputs(ports, found)
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ModelInvalid(
            f"{found}. One input with three colours is understood: (1, 3, S, S) or (1, S, S, 3).",
            remedy="Export it with images as its only input.",
        )
    channels_first = shape[1] == 3
    height, width = shape[2:] if channels_first else shape[1:3]
    if height != width:
        raise ModelInvalid(
            f"{found}. The input is {height} high and {width} wide; only squares are understood.",
            remedy="Export it with a square size, or with an open one (dynamic=True).",
        )
    element = ports[0].get_element_type().get_type_name()
    if element not in (*_FLOATS, "u8"):
        raise ModelInvalid(
            f"{found}. Elements of the input may be f32, f16 or u8.",
            remedy="Export it with a float32 input.",
        )
    size = height if height > 0 else foreign.size or reading.size
    if not _MIN_SIDE <= size <= _MAX_SIDE:
        raise ModelInvalid(
            f"{found}. An input of {size} pixels is not usable.",
            remedy=f"Export it for a side from {_MIN_SIDE} to {_MAX_SIDE} pixels.",
        )
    try:
        model.reshape([1, 3, size, size] if channels_first else [1, size, size, 3])
    except RuntimeError as error:
        raise ModelInvalid(
            f"{found}. It cannot be brought to one frame of {size} x {size} pixels.",
            remedy="Export it for batch 1 and a fixed size.",
        ) from error
    return _Input(channels_first, element, size)


def _more_inputs(ports: Sequence["ov.Output"], found: str) -> ModelInvalid:
    names = [name for port in ports for name in sorted(port.get_names())[:1]]
    sizes = [name for name in names if name in _PICTURE_SIZES]
    because = (
        f"{sizes[0]} is how D-FINE and RT-DETR are told the size of the picture with their "
        "post-processing inside; that is not read yet"
        if sizes
        else "only the picture itself is given to it"
    )
    return ModelInvalid(
        f"{found}. It has {len(ports)} inputs: {because}.",
        remedy="Export it with the picture as its only input and (1, N, 6) or (1, A, 4 + C) as its "
        "output (docs/import.md).",
    )


def _range(given: _Input, wanted: InputRange | None, found: str) -> InputRange:
    if given.element != "u8":
        return wanted or InputRange.UNIT
    if wanted not in (None, InputRange.BYTES):
        raise ModelInvalid(
            f"{found}. An input of bytes cannot have the range {wanted}.",
            remedy="Leave out --input-range.",
        )
    return InputRange.BYTES


def _feed(
    model: "ov.Model", given: _Input, input_range: InputRange, order: ChannelOrder
) -> "ov.Model":
    """The model with frames as its input, its own outputs as floats."""
    from openvino import Model
    from openvino import opset13 as ops

    frames = ops.parameter([1, given.size, given.size, 3], np.uint8, name=f"{PREFIX}frames")
    model.get_parameters()[0].output(0).replace(
        _pixels(frames.output(0), given, input_range, order)
    )
    ends = [ops.convert(end.input_value(0), "f32").output(0) for end in model.get_results()]
    return Model(  # pyright: ignore[reportGeneralTypeIssues] - openvino's own stubs disagree
        [ops.result(end) for end in ends], [frames], model.get_friendly_name()
    )


def _split(fed: "ov.Model", layout: Layout, rows: Sequence[int]) -> "ov.Model":
    """Its boxes, in the form that they have, and the scores of the wanted classes."""
    from openvino import Model
    from openvino import opset13 as ops

    cells, scores = layout.split([end.input_value(0) for end in fed.get_results()], rows)
    as_they_are = corners(cells, BoxForm.CORNERS, 1)
    return Model(  # pyright: ignore[reportGeneralTypeIssues]
        [ops.result(as_they_are), ops.result(scores)], fed.get_parameters(), "looked at"
    )


def _rebuild(
    fed: "ov.Model", layout: Layout, form: BoxForm, size: int, rows: Sequence[int]
) -> "ov.Model":
    """Takes and answers what our IR does."""
    from openvino import Model
    from openvino import opset13 as ops

    cells, scores = layout.split([end.input_value(0) for end in fed.get_results()], rows)
    boxes = corners(cells, form, size)
    boxes.set_names({"boxes"})
    scores.set_names({"scores"})
    rebuilt = Model(  # pyright: ignore[reportGeneralTypeIssues]
        [ops.result(boxes), ops.result(scores)], fed.get_parameters(), fed.get_friendly_name()
    )
    rebuilt.validate_nodes_and_infer_types()
    return rebuilt


def _name_what_was_added(model: "ov.Model", before: Collection[str]) -> None:
    for op in model.get_ops():
        name = op.get_friendly_name()
        if name not in before and not name.startswith(PREFIX):
            op.set_friendly_name(PREFIX + name)


def _pixels(
    frames: "ov.Output", given: _Input, input_range: InputRange, order: ChannelOrder
) -> "ov.Output":
    """Bytes of one frame, (1, S, S, 3) RGB, as the detector takes them."""
    from openvino import opset13 as ops

    match order:
        case ChannelOrder.RGB:
            fed = frames
        case ChannelOrder.BGR:
            turned = ops.constant(np.array([2, 1, 0], dtype=np.int64))
            fed = ops.gather(frames, turned, ops.constant(np.int64(3))).output(0)
        case _:
            assert_never(order)
    if given.element in _FLOATS:
        fed = ops.convert(fed, "f32").output(0)
        if input_range.white != _WHITE:
            divisor = np.float32(_WHITE / input_range.white)
            fed = ops.divide(fed, ops.constant(divisor)).output(0)
        fed = ops.convert(fed, given.element).output(0)
    if given.channels_first:
        fed = ops.transpose(fed, ops.constant(np.array([0, 3, 1, 2], dtype=np.int64))).output(0)
    return fed


def _precision(model: "ov.Model") -> str:
    """Of the weights: that of the type in which most numbers are kept."""
    kept: Counter[str] = Counter()
    for op in model.get_ops():
        if op.get_type_name() == "Constant":
            size = math.prod(op.get_output_shape(0))
            kept[op.get_output_element_type(0).get_type_name()] += size
    return "fp16" if kept["f16"] > kept["f32"] else "fp32"


def _shape(port: "ov.Output") -> Shape:
    dimensions = port.get_partial_shape()
    if dimensions.rank.is_dynamic:
        return ()
    return tuple(-1 if size.is_dynamic else size.get_length() for size in dimensions)
