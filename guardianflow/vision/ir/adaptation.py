"""Rebuilds the graph of a foreign detector with the inputs and outputs of our own IR.

    frames uint8 (1, S, S, 3) RGB --order, range, type--> its input ... its outputs --layout-->
    boxes (1, A, 4), scores (1, A, C)

What neither the file nor the shapes say is inferred from its outputs on a few frames. This is done
once, at import; afterwards it is an IR like any other. Added operations are named
`guardianflow/...`, so that quantization can skip them.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.bounds import refuse_unbounded
from guardianflow.vision.ir.box_form import MIN_SCORE, infer_box_form
from guardianflow.vision.ir.foreign import ForeignModel
from guardianflow.vision.ir.layouts import Layout, Shape, choose_layout, corners
from guardianflow.vision.ir.reading import BoxForm, ChannelOrder, InputRange, LayoutName, Reading

PREFIX = "guardianflow/"
_MIN_SIDE, _MAX_SIDE = 32, 2048
_FLOATS = ("f32", "f16")
_WHITE = 255.0
# Scores come from a sigmoid or a product of two: rounding may exceed 0..1 by this much.
_SCORE_TOLERANCE = 1e-3
_NOISE_FRAMES = 4
# The inputs of DETR-like detectors that scale their boxes to the size of the picture.
_PICTURE_SIZES = ("orig_target_sizes", "target_sizes", "im_shape", "scale_factor", "pixel_mask")


@dataclass(frozen=True)
class Adapted:
    """A foreign detector rebuilt as our IR, and what was found in its file.

    Attributes:
        model: Has the inputs and outputs of our IR; `ir.describe` was not called yet.
        layout: Of its original outputs.
        input_range: Of its original input.
        size: Side of its input in pixels.
        precision: Of its weights: fp32 or fp16.
        boxes: The box form of its original outputs.
        usual: Whether this form is the usual one of the layout.
    """

    model: ov.Model
    layout: LayoutName
    input_range: InputRange
    size: int
    precision: str
    boxes: BoxForm
    usual: bool


@dataclass(frozen=True)
class _Input:
    """The only input: position of the channels, element type and side in pixels."""

    channels_first: bool
    element: str
    size: int


def adapt(
    foreign: ForeignModel,
    rows: Sequence[int],
    reading: Reading,
    squares: Sequence[NDArray[np.uint8]] = (),
    *,
    max_bytes: int = 8 * 2**30,
) -> Adapted:
    """Rebuild a foreign detector; its graph is modified and cannot be used afterwards.

    Args:
        foreign: The opened file.
        rows: Indices of the wanted classes, in the wanted order.
        reading: What the caller knows about the file.
        squares: Letterboxed frames, each of shape (S, S, 3), uint8. Outputs on them decide what
            the file leaves open. Frames of another size than the input are ignored; without any,
            noise is used.
        max_bytes: Limit for tensors whose size depends on the image, as in
            `bounds.refuse_unbounded`.

    Raises:
        ModelInvalid: Its input or outputs are not supported, it is quantized already, or an image
            could make it take unlimited time or too much memory.
    """
    description = foreign.describe()
    before = {op.get_friendly_name() for op in foreign.model.get_ops()}
    _refuse_quantized(foreign)
    model_input = _fix_input(foreign, reading, description)
    refuse_unbounded(foreign.model, str(foreign.path), max_bytes)
    input_range = _input_range(model_input, reading.input_range, description)
    shapes = [_shape(port) for port in foreign.model.outputs]
    if any(-1 in shape for shape in shapes):
        raise ModelInvalid(
            f"{foreign.describe()}. The number of boxes is still open for one frame of "
            f"{model_input.size} x {model_input.size} pixels.",
            remedy="Export it with a fixed number of boxes, or without suppression.",
            file=str(foreign.path),
        )
    prepared = _take_frames(foreign.model, model_input, input_range, reading.channel_order)
    frames = frames_for(squares, model_input.size)
    layout = choose_layout(
        shapes,
        len(foreign.names),
        description,
        _layout(foreign, reading),
        lambda: _run(prepared, frames),
    )
    form = reading.boxes
    if form is None:
        # As corners of side 1 the boxes stay as they are.
        as_they_are = _rebuild(prepared.clone(), layout, BoxForm.CORNERS, 1, rows)
        boxes, scores = _run(as_they_are, frames)
        form = infer_box_form(boxes[:, 0], scores[:, 0], model_input.size, layout.usual)
    model = _rebuild(prepared, layout, form, model_input.size, rows)
    _name_added_operations(model, before)
    return Adapted(
        model,
        layout.name,
        input_range,
        model_input.size,
        _precision(model),
        form,
        form == layout.usual,
    )


def check_answers(model: ov.Model, squares: Sequence[NDArray[np.uint8]], what: str) -> None:
    """Run an adapted detector on a few frames and check that its outputs are plausible.

    The squares are letterboxed frames of its size S, each of shape (S, S, 3), uint8. Errors name
    the file as `what`.

    Raises:
        ModelInvalid: Its scores are not probabilities, or its boxes are not in pixels.
    """
    boxes, scores = (answer[:, 0] for answer in _run(model, squares))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ModelInvalid(
            f"{what} outputs NaN or infinite values.",
            remedy="Export it again in float32; try it in its own trainer first.",
        )
    low, high = float(scores.min(initial=0)), float(scores.max(initial=0))
    if low < -_SCORE_TOLERANCE or high > 1 + _SCORE_TOLERANCE:
        raise ModelInvalid(
            f"{what} outputs scores from {low:.2f} to {high:.2f}: these are not probabilities.",
            remedy="Export it with the sigmoid in the graph, or choose another --layout.",
        )
    size = model.input(0).shape[1]
    if infer_box_form(boxes, scores, size, BoxForm.CORNERS).fractions:
        top = np.abs(boxes[scores.max(axis=2, initial=0) > MIN_SCORE]).max()
        raise ModelInvalid(
            f"{what} outputs boxes up to {top:.2f}: these are fractions of the image, not pixels "
            "of the input.",
            remedy="Leave out --boxes, or choose a form with fractions.",
        )


def frames_for(squares: Sequence[NDArray[np.uint8]], size: int) -> Sequence[NDArray[np.uint8]]:
    """Return the squares with a side of so many pixels; if there are none, a few of noise."""
    fitting = [square for square in squares if square.shape[0] == size]
    if fitting:
        return fitting
    cells = -(-size // 8)
    noise = np.random.default_rng(0).integers(
        0, 256, (_NOISE_FRAMES, cells, cells, 3), dtype=np.uint8
    )
    return list(noise.repeat(8, 1).repeat(8, 2)[:, :size, :size])


def _run(model: ov.Model, squares: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.float32]]:
    """Return one array per output, shape (frames, ...), float32."""
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = [compiled(square[None]) for square in squares]
    return [np.stack([answer[i] for answer in answers]) for i in range(len(model.outputs))]


def _layout(foreign: ForeignModel, reading: Reading) -> LayoutName | None:
    """The layout that the caller or the file names, if any."""
    if reading.layout or not foreign.end_to_end:
        return reading.layout
    is_yolov7 = any(len(_shape(port)) == 2 for port in foreign.model.outputs)
    return LayoutName.YOLOV7 if is_yolov7 else LayoutName.END_TO_END


def _refuse_quantized(foreign: ForeignModel) -> None:
    if any(op.get_type_name() == "FakeQuantize" for op in foreign.model.get_ops()):
        raise ModelInvalid(
            f"{foreign.path} is quantized already.",
            remedy="Import the float model; `guardianflow run SCENARIO --type quant --version vN` "
            "quantizes it on your own images.",
            file=str(foreign.path),
        )


def _fix_input(foreign: ForeignModel, reading: Reading, description: str) -> _Input:
    """Check the input and fix its open dimensions: one square frame."""
    model = foreign.model
    ports = model.inputs
    shape = _shape(ports[0]) if len(ports) == 1 else ()
    if len(ports) > 1:
        raise _too_many_inputs(ports, description)
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ModelInvalid(
            f"{description}. It must have one input with three channels: (1, 3, S, S) or "
            "(1, S, S, 3).",
            remedy="Export it with images as its only input.",
        )
    channels_first = shape[1] == 3
    height, width = shape[2:] if channels_first else shape[1:3]
    if height != width:
        raise ModelInvalid(
            f"{description}. The input is {height} high and {width} wide, but it must be square.",
            remedy="Export it with a square size, or with an open one (dynamic=True).",
        )
    element = ports[0].get_element_type().get_type_name()
    if element not in (*_FLOATS, "u8"):
        raise ModelInvalid(
            f"{description}. The element type of the input must be f32, f16 or u8.",
            remedy="Export it with a float32 input.",
        )
    size = height if height > 0 else foreign.size or reading.size
    if not _MIN_SIDE <= size <= _MAX_SIDE:
        raise ModelInvalid(
            f"{description}. An input of {size} pixels is not supported.",
            remedy=f"Export it with a side of {_MIN_SIDE} to {_MAX_SIDE} pixels.",
        )
    try:
        model.reshape([1, 3, size, size] if channels_first else [1, size, size, 3])
    except RuntimeError as error:
        raise ModelInvalid(
            f"{description}. Its input cannot be set to one frame of {size} x {size} pixels.",
            remedy="Export it for batch 1 and a fixed size.",
        ) from error
    return _Input(channels_first, element, size)


def _too_many_inputs(ports: Sequence[ov.Output], description: str) -> ModelInvalid:
    names = [name for port in ports for name in sorted(port.get_names())[:1]]
    sizes = [name for name in names if name in _PICTURE_SIZES]
    because = (
        f"{sizes[0]} gives the image size to the post-processing of D-FINE and RT-DETR, which is "
        "not supported yet"
        if sizes
        else "only the image itself is passed to it"
    )
    return ModelInvalid(
        f"{description}. It has {len(ports)} inputs: {because}.",
        remedy="Export it with the image as its only input and (1, N, 6) or (1, A, 4 + C) as its "
        "output (docs/import.md).",
    )


def _input_range(model_input: _Input, wanted: InputRange | None, description: str) -> InputRange:
    if model_input.element != "u8":
        return wanted or InputRange.UNIT
    if wanted not in (None, InputRange.BYTES):
        raise ModelInvalid(
            f"{description}. An input of bytes cannot have the range {wanted}.",
            remedy="Leave out --input-range.",
        )
    return InputRange.BYTES


def _take_frames(
    model: ov.Model, model_input: _Input, input_range: InputRange, order: ChannelOrder
) -> ov.Model:
    """Return the model with frames as its input and its outputs as float32."""
    frames = ops.parameter(
        [1, model_input.size, model_input.size, 3], np.uint8, name=f"{PREFIX}frames"
    )
    model.get_parameters()[0].output(0).replace(
        _as_input(frames.output(0), model_input, input_range, order)
    )
    ends = [ops.convert(end.input_value(0), "f32").output(0) for end in model.get_results()]
    return ov.Model(  # pyright: ignore[reportGeneralTypeIssues] - openvino's own stubs disagree
        [ops.result(end) for end in ends], [frames], model.get_friendly_name()
    )


def _rebuild(
    prepared: ov.Model, layout: Layout, form: BoxForm, size: int, rows: Sequence[int]
) -> ov.Model:
    """Return a model with the inputs and outputs of our IR."""
    cells, scores = layout.split([end.input_value(0) for end in prepared.get_results()], rows)
    boxes = corners(cells, form, size)
    boxes.set_names({"boxes"})
    scores.set_names({"scores"})
    rebuilt = ov.Model(  # pyright: ignore[reportGeneralTypeIssues]
        [ops.result(boxes), ops.result(scores)],
        prepared.get_parameters(),
        prepared.get_friendly_name(),
    )
    rebuilt.validate_nodes_and_infer_types()
    return rebuilt


def _name_added_operations(model: ov.Model, before: Collection[str]) -> None:
    for op in model.get_ops():
        name = op.get_friendly_name()
        if name not in before and not name.startswith(PREFIX):
            op.set_friendly_name(PREFIX + name)


def _as_input(
    frames: ov.Output, model_input: _Input, input_range: InputRange, order: ChannelOrder
) -> ov.Output:
    """Convert one frame, (1, S, S, 3) uint8 RGB, to the detector's own input."""
    match order:
        case ChannelOrder.RGB:
            prepared = frames
        case ChannelOrder.BGR:
            turned = ops.constant(np.array([2, 1, 0], dtype=np.int64))
            prepared = ops.gather(frames, turned, ops.constant(np.int64(3))).output(0)
        case _:
            assert_never(order)
    if model_input.element in _FLOATS:
        prepared = ops.convert(prepared, "f32").output(0)
        if input_range.white != _WHITE:
            divisor = np.float32(_WHITE / input_range.white)
            prepared = ops.divide(prepared, ops.constant(divisor)).output(0)
        prepared = ops.convert(prepared, model_input.element).output(0)
    if model_input.channels_first:
        prepared = ops.transpose(
            prepared, ops.constant(np.array([0, 3, 1, 2], dtype=np.int64))
        ).output(0)
    return prepared


def _precision(model: ov.Model) -> str:
    """The precision of the weights: the type of most constants, by number of elements."""
    kept: Counter[str] = Counter()
    for op in model.get_ops():
        if op.get_type_name() == "Constant":
            size = math.prod(op.get_output_shape(0))
            kept[op.get_output_element_type(0).get_type_name()] += size
    return "fp16" if kept["f16"] > kept["f32"] else "fp32"


def _shape(port: ov.Output) -> Shape:
    dimensions = port.get_partial_shape()
    if dimensions.rank.is_dynamic:
        return ()
    return tuple(-1 if size.is_dynamic else size.get_length() for size in dimensions)
