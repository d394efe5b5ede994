"""Rebuilds the graph of a foreign detector with the inputs and outputs of our own IR.

    frame uint8 (1, H, W, 3) RGB --entrance--> its input ... its outputs --layout, score form-->
    boxes (1, A, 4), scores (1, A, C)

What the file does not say, its family of detectors or its outputs on a few frames do; what is still
open after that is named, and the import tries it on labelled images. Added operations are named
`guardianflow/...`, so that quantization can skip them.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.bounds import refuse_unbounded
from guardianflow.vision.ir.box_form import MIN_SCORE, infer_box_form
from guardianflow.vision.ir.entrance import (
    PREFIX,
    ImageInput,
    fix_input,
    pixels_of,
    shape_of,
    take_frames,
)
from guardianflow.vision.ir.families import UNIT_RGB, Family, recognise_family
from guardianflow.vision.ir.foreign import ForeignModel
from guardianflow.vision.ir.layouts import choose_layout, corners
from guardianflow.vision.ir.layouts.operations import are_probabilities, take
from guardianflow.vision.ir.layouts.protocol import (
    Answers,
    InputSize,
    Layout,
    OutputSpec,
    Port,
    Split,
)
from guardianflow.vision.ir.reading import (
    Background,
    BoxForm,
    LayoutName,
    OpenQuestion,
    Pixels,
    Placement,
    Reading,
    ScoreForm,
)

_NOISE_FRAMES = 4
_UNKNOWN = Family("")
Pictures = Sequence[NDArray[np.uint8]]
"""Frames as the detector's input, each of shape (H, W, 3), RGB, uint8."""


@dataclass(frozen=True)
class Adapted:
    """A foreign detector rebuilt as our IR, and what was found in its file.

    Attributes:
        model: Has the inputs and outputs of our IR; `ir.describe` was not called yet.
        layout: Of its original outputs.
        family: Its name; "" if it was not recognised.
        pixels: What its original input takes pixels to be.
        side: Size of its input.
        placement: Of a frame in its input.
        precision: Of its weights: fp32 or fp16.
        boxes: The box form of its original outputs.
        usual: Whether this form is the usual one of the layout.
        scores: The form of its original scores.
        background: The place of the class for no object; None if it has none.
        questions: What nothing answered: there the usual was taken.
    """

    model: ov.Model
    layout: LayoutName
    family: str
    pixels: Pixels
    side: InputSize
    placement: Placement
    precision: str
    boxes: BoxForm
    usual: bool
    scores: ScoreForm
    background: Background | None
    questions: tuple[OpenQuestion, ...]


@dataclass(frozen=True)
class _Scores:
    """How a detector's scores are read."""

    split: Split
    form: ScoreForm
    form_is_open: bool
    background: Background | None
    background_is_open: bool


def adapt(
    foreign: ForeignModel,
    rows: Sequence[int],
    reading: Reading,
    pictures: Pictures = (),
    *,
    max_bytes: int = 8 * 2**30,
) -> Adapted:
    """Rebuild a foreign detector; its graph is modified and cannot be used afterwards.

    Args:
        foreign: The opened file.
        rows: Indices of the wanted classes, in the wanted order.
        reading: What a person says about the file.
        pictures: Outputs on them decide what the file leaves open. Those of another size than the
            input are ignored; without any, noise is used.
        max_bytes: Limit for tensors whose size depends on the image, as in
            `bounds.refuse_unbounded`.

    Raises:
        ModelInvalid: Its input or outputs are not supported, it is quantized already, or an image
            could make it take unlimited time or too much memory.
    """
    description = foreign.describe()
    before = {op.get_friendly_name() for op in foreign.model.get_ops()}
    _refuse_quantized(foreign)
    model_input = fix_input(foreign, reading)
    refuse_unbounded(foreign.model, str(foreign.path), max_bytes)
    frames = pictures_for(pictures, model_input.side)
    spec, layout = _read_outputs(foreign, reading, model_input, frames, description)
    family = recognise_family(foreign, layout.name) or _UNKNOWN
    pixels = pixels_of(model_input, reading, family.pixels or UNIT_RGB, description)
    prepared = take_frames(foreign.model, model_input, pixels)
    read = _read_scores(prepared, spec, layout, reading, family, frames)
    columns = [row + (read.background is Background.FIRST) for row in rows]
    scores = take(_probabilities(read), columns)
    form = reading.boxes
    if form is None:
        # As corners of side 1 the boxes stay as they are.
        as_they_are = corners(read.split.cells, BoxForm.CORNERS, InputSize(1, 1))
        seen, best = run_on(_ending_in(prepared, as_they_are, scores).clone(), frames)
        form = infer_box_form(seen[:, 0], best[:, 0], model_input.side, layout.usual)
    model = _ending_in(prepared, corners(read.split.cells, form, model_input.side), scores)
    _name_added_operations(model, before)
    return Adapted(
        model,
        layout.name,
        family.name,
        pixels,
        model_input.side,
        reading.placement or family.placement or Placement.CORNER,
        _precision(model),
        form,
        form == layout.usual,
        read.form,
        read.background,
        _questions(reading, family, read),
    )


def _questions(reading: Reading, family: Family, read: _Scores) -> tuple[OpenQuestion, ...]:
    """What neither the person nor the file nor its family says."""
    is_open = {
        OpenQuestion.PIXELS: not (family.pixels or reading.says_pixels()),
        OpenQuestion.PLACEMENT: not (family.placement or reading.placement),
        OpenQuestion.SCORES: read.form_is_open,
        OpenQuestion.BACKGROUND: read.background_is_open,
    }
    return tuple(question for question in OpenQuestion if is_open[question])


def check_answers(model: ov.Model, pictures: Pictures, what: str) -> None:
    """Run an adapted detector on a few frames and check that its outputs are plausible.

    The pictures have the size of its input. Errors name the file as `what`.

    Raises:
        ModelInvalid: Its scores are not probabilities, or its boxes are not in pixels.
    """
    boxes, scores = (answer[:, 0] for answer in run_on(model, pictures))
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ModelInvalid(
            f"{what} outputs NaN or infinite values.",
            remedy="Export it again in float32; try it in its own trainer first.",
        )
    if not are_probabilities(scores):
        low, high = float(scores.min(initial=0)), float(scores.max(initial=0))
        raise ModelInvalid(
            f"{what} outputs scores from {low:.2f} to {high:.2f}: these are not probabilities.",
            remedy="Export it with the sigmoid in the graph, or choose another --layout, or say "
            "--scores logits.",
        )
    _, height, width, _ = model.input(0).shape
    if infer_box_form(boxes, scores, InputSize(height, width), BoxForm.CORNERS).fractions:
        top = np.abs(boxes[scores.max(axis=2, initial=0) > MIN_SCORE]).max()
        raise ModelInvalid(
            f"{what} outputs boxes up to {top:.2f}: these are fractions of the image, not pixels "
            "of the input.",
            remedy="Leave out --boxes, or choose a form with fractions.",
        )


def pictures_for(pictures: Pictures, side: InputSize) -> Pictures:
    """Return the pictures of this size; if there are none, a few of noise."""
    fitting = [picture for picture in pictures if picture.shape[:2] == side]
    if fitting:
        return fitting
    height, width = (-(-one // 8) for one in side)
    noise = np.random.default_rng(0).integers(
        0, 256, (_NOISE_FRAMES, height, width, 3), dtype=np.uint8
    )
    return list(noise.repeat(8, 1).repeat(8, 2)[:, : side.height, : side.width])


def run_on(model: ov.Model, pictures: Pictures) -> Answers:
    """Return one array per output, shape (frames, ...), float32."""
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = [compiled(picture[None]) for picture in pictures]
    return [np.stack([answer[i] for answer in answers]) for i in range(len(model.outputs))]


def _refuse_quantized(foreign: ForeignModel) -> None:
    if any(op.get_type_name() == "FakeQuantize" for op in foreign.model.get_ops()):
        raise ModelInvalid(
            f"{foreign.path} is quantized already.",
            remedy="Import the float model; `guardianflow run SCENARIO --type quant --version vN` "
            "quantizes it on your own images.",
            file=str(foreign.path),
        )


def _read_outputs(
    foreign: ForeignModel,
    reading: Reading,
    model_input: ImageInput,
    frames: Pictures,
    description: str,
) -> tuple[OutputSpec, Layout]:
    """Find the layout of the outputs."""
    family = recognise_family(foreign, reading.layout) or _UNKNOWN
    pixels = pixels_of(model_input, reading, family.pixels or UNIT_RGB, description)
    whole = [port.get_element_type().is_integral() for port in foreign.model.outputs]
    # A trial: the family, and with it what pixels are, may depend on the layout.
    trial = take_frames(foreign.model.clone(), model_input, pixels)
    ports = [
        Port(shape_of(end), name, integral)
        for end, name, integral in zip(trial.outputs, foreign.output_names, whole, strict=True)
    ]
    if any(-1 in port.shape for port in ports):
        raise ModelInvalid(
            f"{foreign.describe()}. The number of boxes is still open for one frame of "
            f"{model_input.side.height} x {model_input.side.width} pixels.",
            remedy="Export it with a fixed number of boxes, or without suppression.",
            file=str(foreign.path),
        )
    spec = OutputSpec(ports, len(foreign.names), model_input.side)
    wanted = _layout(foreign, reading, ports)
    return spec, choose_layout(spec, description, wanted, lambda: run_on(trial, frames))


def _layout(foreign: ForeignModel, reading: Reading, ports: Sequence[Port]) -> LayoutName | None:
    """The layout that the caller or the file names, if any."""
    if reading.layout or not foreign.end_to_end or len(ports) > 1:
        return reading.layout
    return LayoutName.YOLOV7 if len(ports[0].shape) == 2 else LayoutName.END_TO_END


def _read_scores(
    prepared: ov.Model,
    spec: OutputSpec,
    layout: Layout,
    reading: Reading,
    family: Family,
    frames: Pictures,
) -> _Scores:
    """Tell boxes and scores apart; find the form of the scores and the class for no object."""
    ends = [end.input_value(0) for end in prepared.get_results()]
    split = layout.split(spec, ends)
    has_background = split.scores.get_shape()[2] > spec.classes
    (values,) = run_on(_ending_in(prepared, split.scores).clone(), frames)
    are_logits = layout.logits and not are_probabilities(values)
    usual = ScoreForm.SOFTMAX if has_background else ScoreForm.LOGITS
    known = reading.scores or (family.scores if are_logits else ScoreForm.PROBABILITIES)
    form, form_is_open = known or usual, known is None and has_background
    if not has_background:
        return _Scores(split, form, form_is_open, None, background_is_open=False)
    place = reading.background or family.background
    # Class indices beyond the last one: they count from 1.
    if place is None and not layout.logits and values[..., -1].any():
        place = Background.FIRST
    return _Scores(split, form, form_is_open, place or layout.background, place is None)


def _probabilities(read: _Scores) -> ov.Output:
    match read.form:
        case ScoreForm.PROBABILITIES:
            return read.split.scores
        case ScoreForm.LOGITS:
            return ops.sigmoid(read.split.scores).output(0)
        case ScoreForm.SOFTMAX:
            return ops.softmax(read.split.scores, 2).output(0)


def _ending_in(prepared: ov.Model, *ends: ov.Output) -> ov.Model:
    """Return the model with these outputs; two of them are boxes and scores."""
    if len(ends) > 1:
        for end, name in zip(ends, ("boxes", "scores"), strict=True):
            end.set_names({name})
    rebuilt = ov.Model(  # pyright: ignore[reportGeneralTypeIssues]
        [ops.result(end) for end in ends], prepared.get_parameters(), prepared.get_friendly_name()
    )
    rebuilt.validate_nodes_and_infer_types()
    return rebuilt


def _name_added_operations(model: ov.Model, before: Collection[str]) -> None:
    for op in model.get_ops():
        name = op.get_friendly_name()
        if name not in before and not name.startswith(PREFIX):
            op.set_friendly_name(PREFIX + name)


def _precision(model: ov.Model) -> str:
    """The precision of the weights: the type of most constants, by number of elements."""
    kept: Counter[str] = Counter()
    for op in model.get_ops():
        if op.get_type_name() == "Constant":
            size = math.prod(op.get_output_shape(0))
            kept[op.get_output_element_type(0).get_type_name()] += size
    return "fp16" if kept["f16"] > kept["f32"] else "fp32"
