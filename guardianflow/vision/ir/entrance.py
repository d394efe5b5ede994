"""Gives a foreign detector the input of our own IR: one frame of bytes, RGB.

    frame uint8 (1, H, W, 3) RGB --order, range, mean, deviation, type--> its input

Sizes of the picture as a second input become constants, and a fixed batch is filled with the same
frame, of which only the first answer is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.families import OTHER_INPUTS, PICTURE_SIZES
from guardianflow.vision.ir.foreign import ForeignModel, describe_port
from guardianflow.vision.ir.layouts.protocol import InputSize, Shape
from guardianflow.vision.ir.reading import ChannelOrder, InputRange, Pixels, Reading

PREFIX = "guardianflow/"
_MIN_SIDE, _MAX_SIDE = 32, 2048
_FLOATS = ("f32", "f16")
_WHITE = 255.0
# A larger batch costs an edge box too much for one frame.
_MOST_FRAMES = 8
# More rows of detections than any frame has; without suppression they are in no order.
_MOST_ROWS = 10_000


@dataclass(frozen=True)
class ImageInput:
    """The input for images, fixed to one size.

    Attributes:
        name: Of the port.
        channels_first: Whether it is (B, 3, H, W); otherwise it is (B, H, W, 3).
        element: Element type, e.g. `f32`.
        side: Its size.
        frames: The batch; more than 1 if the graph allows no other.
    """

    name: str
    channels_first: bool
    element: str
    side: InputSize
    frames: int


def fix_input(foreign: ForeignModel, reading: Reading) -> ImageInput:
    """Check the inputs and fix their open dimensions: one frame.

    The graph is modified. Sizes of the picture become constants: those of the input.

    Raises:
        ModelInvalid: There is no such input, or another one that nobody can fill.
    """
    description = foreign.describe()
    if not foreign.model.outputs:
        raise ModelInvalid(
            f"{description}none.", remedy="Export it with its boxes and scores as outputs."
        )
    port = _image_port(foreign, description)
    shape = shape_of(port)
    channels_first = shape[1] == 3
    element = port.get_element_type().get_type_name()
    if element not in (*_FLOATS, "u8"):
        raise ModelInvalid(
            f"{description}. The element type of the input must be f32, f16 or u8.",
            remedy="Export it with a float32 input.",
        )
    side = _side(shape[2:] if channels_first else shape[1:3], foreign, reading, description)
    frames = _fix_batch(foreign.model, port, shape, side, description)
    _fill_sizes(foreign.model, port, side, description)
    name = min(port.get_names(), default="")
    return ImageInput(name, channels_first, element, side, frames)


def pixels_of(model_input: ImageInput, reading: Reading, usual: Pixels, description: str) -> Pixels:
    """Return what the input takes pixels to be, if such detectors usually take them to be `usual`.

    Raises:
        ModelInvalid: A range is wanted that bytes cannot have.
    """
    if model_input.element != "u8":
        return reading.pixels(usual)
    if reading.input_range not in (None, InputRange.BYTES):
        raise ModelInvalid(
            f"{description}. An input of bytes cannot have the range {reading.input_range}.",
            remedy="Leave out --input-range.",
        )
    order = reading.channel_order or usual.channel_order
    return Pixels(input_range=InputRange.BYTES, channel_order=order)


def take_frames(model: ov.Model, model_input: ImageInput, pixels: Pixels) -> ov.Model:
    """Return the model with one frame as its input, and its outputs as float32 for that frame.

    Outputs with an open number of rows get a fixed one: missing rows are zero.
    """
    side = model_input.side
    frames = ops.parameter([1, side.height, side.width, 3], np.uint8, name=f"{PREFIX}frames")
    model.get_parameters()[0].output(0).replace(_as_input(frames.output(0), model_input, pixels))
    ends = [ops.convert(end.input_value(0), "f32").output(0) for end in model.get_results()]
    if model_input.frames > 1:
        ends = [_first(end, model_input.frames) for end in ends]
    return ov.Model(  # pyright: ignore[reportGeneralTypeIssues] - openvino's own stubs disagree
        [ops.result(_fixed_rows(end)) for end in ends], [frames], model.get_friendly_name()
    )


def shape_of(port: ov.Output) -> Shape:
    """Return the shape of a port; -1 for an open dimension, () for an unknown rank."""
    dimensions = port.get_partial_shape()
    if dimensions.rank.is_dynamic:
        return ()
    return tuple(-1 if size.is_dynamic else size.get_length() for size in dimensions)


def _image_port(foreign: ForeignModel, description: str) -> ov.Output:
    """The input for images; all others must be sizes of the picture."""
    ports = foreign.model.inputs
    others = [port for port in ports if port.get_names() & {*PICTURE_SIZES, *OTHER_INPUTS}]
    images = [port for port in ports if all(port.node != other.node for other in others)]
    if len(images) != 1:
        raise ModelInvalid(
            f"{description}. It has {len(images)} inputs besides sizes of the picture: only the "
            "image itself is passed to it.",
            remedy="Export it with the image as its only input (docs/import.md).",
        )
    shape = shape_of(images[0])
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ModelInvalid(
            f"{description}. It must have one input with three channels: (1, 3, H, W) or "
            "(1, H, W, 3).",
            remedy="Export it with images as its only input.",
        )
    return images[0]


def _side(given: Shape, foreign: ForeignModel, reading: Reading, description: str) -> InputSize:
    """The size of the input; open sides are as the file says, else as the scenario does."""
    said = foreign.side or (reading.size, reading.size)
    side = InputSize(*(one if one > 0 else other for one, other in zip(given, said, strict=True)))
    if not all(_MIN_SIDE <= one <= _MAX_SIDE for one in side):
        raise ModelInvalid(
            f"{description}. An input of {side.height} x {side.width} pixels is not supported.",
            remedy=f"Export it with sides of {_MIN_SIDE} to {_MAX_SIDE} pixels.",
        )
    return side


def _fix_batch(
    model: ov.Model, port: ov.Output, shape: Shape, side: InputSize, description: str
) -> int:
    """Fix the input to one frame, or to as many as the graph insists on."""
    for frames in (1, shape[0]):
        if not 1 <= frames <= _MOST_FRAMES:
            continue
        wanted = {port: [frames, 3, *side] if shape[1] == 3 else [frames, *side, 3]}
        for other in model.inputs:
            if other.node != port.node:
                wanted[other] = _other_shape(other, side, frames)
        try:
            model.reshape(wanted)
        except RuntimeError:
            continue
        return frames
    raise ModelInvalid(
        f"{description}. Its input cannot be set to one frame of {side.height} x {side.width} "
        "pixels.",
        remedy=f"Export it for batch 1 (at most {_MOST_FRAMES}) and a fixed size.",
    )


def _other_shape(port: ov.Output, side: InputSize, frames: int) -> list[int]:
    """The shape of a size of the picture, (B, 2) or (2,), or of a mask, (B, H, W)."""
    given = shape_of(port)
    if len(given) < 2:
        return list(given)
    usual = (frames, *side) if len(given) == 3 else (frames, 2)
    return [
        frames,
        *(one if one > 0 else other for one, other in zip(given[1:], usual[1:], strict=False)),
    ]


def _fill_sizes(model: ov.Model, image: ov.Output, side: InputSize, description: str) -> None:
    """Replace the other inputs by constants: then boxes come in pixels of the input."""
    for port in model.inputs:
        if port.node == image.node:
            continue
        shape, names = shape_of(port), port.get_names()
        filled = bool(names & {"pixel_mask", "scale_factor"})
        if -1 in shape or not (filled or shape[-1:] == (2,)):
            raise ModelInvalid(
                f"{description}. {describe_port(port)} cannot be filled: two numbers for each "
                "image are understood, its height and width.",
                remedy="Export it with the image as its only input (docs/import.md).",
            )
        if filled:
            values = np.ones(shape)
        elif "im_shape" in names:
            values = np.broadcast_to([side.height, side.width], shape)
        else:
            # D-FINE and RT-DETR take the width first.
            values = np.broadcast_to([side.width, side.height], shape)
        element = port.get_element_type().to_dtype()
        port.replace(ops.constant(values.astype(element)).output(0))
        model.remove_parameter(port.node)
    model.validate_nodes_and_infer_types()


def _as_input(frames: ov.Output, model_input: ImageInput, pixels: Pixels) -> ov.Output:
    """Convert one frame, (1, H, W, 3) uint8 RGB, to the detector's own input."""
    prepared = frames
    if pixels.channel_order is ChannelOrder.BGR:
        turned = ops.constant(np.array([2, 1, 0], dtype=np.int64))
        prepared = ops.gather(frames, turned, ops.constant(np.int64(3))).output(0)
    if model_input.element in _FLOATS:
        prepared = _normalised(ops.convert(prepared, "f32").output(0), pixels)
        prepared = ops.convert(prepared, model_input.element).output(0)
    if model_input.channels_first:
        prepared = ops.transpose(
            prepared, ops.constant(np.array([0, 3, 1, 2], dtype=np.int64))
        ).output(0)
    if model_input.frames > 1:
        prepared = ops.concat([prepared] * model_input.frames, 0).output(0)
    return prepared


def _normalised(values: ov.Output, pixels: Pixels) -> ov.Output:
    """Bring bytes to the range, subtract the mean, divide by the deviation."""
    if pixels.input_range.white != _WHITE:
        divisor = np.float32(_WHITE / pixels.input_range.white)
        values = ops.divide(values, ops.constant(divisor)).output(0)
    if pixels.mean:
        values = ops.subtract(values, _per_channel(pixels.mean)).output(0)
    if pixels.std:
        values = ops.divide(values, _per_channel(pixels.std)).output(0)
    return values


def _per_channel(values: Sequence[float]) -> ov.Output:
    return ops.constant(np.asarray(values, np.float32).reshape(1, 1, 1, 3)).output(0)


def _first(end: ov.Output, frames: int) -> ov.Output:
    """The answer to the first of several frames."""
    shape = shape_of(end)
    if not shape or shape[0] != frames:
        return end
    zero = ops.constant(np.int64(0))
    return ops.gather(end, ops.constant(np.array([0], np.int64)), zero).output(0)


def _fixed_rows(end: ov.Output) -> ov.Output:
    """An output with at most one open dimension, with as many rows as it can have."""
    partial = end.get_partial_shape()
    shape = shape_of(end)
    if shape.count(-1) != 1:
        return end
    axis = shape.index(-1)
    bound = partial[axis].get_max_length()
    rows = min(bound, _MOST_ROWS) if bound >= 0 else _MOST_ROWS
    missing = [rows if index == axis else size for index, size in enumerate(shape)]
    padded = ops.concat([end, ops.constant(np.zeros(missing, np.float32))], axis)
    start, stop, step, axes = (ops.constant(np.array([n], np.int64)) for n in (0, rows, 1, axis))
    cut = ops.slice(padded, start, stop, step, axes)
    return ops.reshape(cut, ops.constant(np.array(missing, np.int64)), special_zero=False).output(0)
