"""What families of detectors do that no shape tells: pixels, placement of the frame, background.

    file, layout --recognise_family--> Family: from the file's words, its ports, or its layout

To support another family, add a function that recognises it to `_BY_FILE`. What is not known of it
stays None: then the import tries what is common on the val split.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from guardianflow.vision.ir.foreign import ForeignModel
from guardianflow.vision.ir.reading import (
    Background,
    ChannelOrder,
    Channels,
    InputRange,
    LayoutName,
    Pixels,
    Placement,
    ScoreForm,
)

UNIT_RGB = Pixels(input_range=InputRange.UNIT, channel_order=ChannelOrder.RGB)
UNIT_BGR = Pixels(input_range=InputRange.UNIT, channel_order=ChannelOrder.BGR)
BYTES_RGB = Pixels(input_range=InputRange.BYTES, channel_order=ChannelOrder.RGB)
BYTES_BGR = Pixels(input_range=InputRange.BYTES, channel_order=ChannelOrder.BGR)
# Mean and deviation of ImageNet's photographs, as torchvision states them.
IMAGENET_RGB = Pixels(
    input_range=InputRange.UNIT,
    channel_order=ChannelOrder.RGB,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
# The same in bytes and for blue first, as NanoDet and MMDetection state them.
IMAGENET_BGR = Pixels(
    input_range=InputRange.BYTES,
    channel_order=ChannelOrder.BGR,
    mean=(103.53, 116.28, 123.675),
    std=(57.375, 57.12, 58.395),
)
COMMON_PIXELS = (UNIT_RGB, BYTES_BGR, IMAGENET_RGB, IMAGENET_BGR, BYTES_RGB, UNIT_BGR)
COMMON_PLACEMENTS = (Placement.CENTRE, Placement.STRETCH, Placement.CORNER)

# The keys of Geti and its model API begin with this in an ONNX file.
_MODEL_INFO = "model_info "
# Means and deviations of bytes have at most 255; not a number is not at most anything.
_MOST = 1000.0
_RESIZE_TYPES = {
    "standard": Placement.STRETCH,
    "fit_to_window": Placement.CORNER,
    "fit_to_window_letterbox": Placement.CENTRE,
}
# The inputs of DETR-like detectors that scale their boxes to the size of the picture.
PICTURE_SIZES = ("orig_target_sizes", "target_sizes")
# Those of PaddleDetection, and the one of a DETR for the part of the input that is no padding.
OTHER_INPUTS = ("im_shape", "scale_factor", "pixel_mask")


@dataclass(frozen=True)
class Family:
    """What is known of a family; None is not known.

    Attributes:
        name: For messages.
        pixels: What it takes pixels to be.
        placement: Of a frame in its input.
        scores: The form of its scores, where values do not tell.
        background: The place of the class for no object, if it has one.
    """

    name: str
    pixels: Pixels | None = None
    placement: Placement | None = None
    scores: ScoreForm | None = None
    background: Background | None = None


def recognise_family(foreign: ForeignModel, layout: LayoutName | None) -> Family | None:
    """Return the family of a detector; None if nothing in its file tells."""
    told = next((family for recognise in _BY_FILE if (family := recognise(foreign))), None)
    return told or _by_layout(foreign, layout)


def _ours(foreign: ForeignModel) -> Family | None:
    """An IR of ours says so; outputs like ours are no proof."""
    if foreign.own_placement is None:
        return None
    return Family("guardianflow", BYTES_RGB, foreign.own_placement)


def _model_info(foreign: ForeignModel) -> Family | None:
    """Geti, getitune, OpenVINO Training Extensions: the file says all of it."""
    told = {
        key.removeprefix(_MODEL_INFO): value.strip()
        for key, value in foreign.metadata.items()
        if key.startswith(_MODEL_INFO)
    }
    if "resize_type" not in told:
        return None
    embedded = told.get("embedded_processing", "").lower() == "true"
    return Family(
        "Geti (model_info)",
        None if embedded else _model_info_pixels(told),
        _RESIZE_TYPES.get(told["resize_type"]),
        background=Background.LAST,
    )


def _model_info_pixels(told: Mapping[str, str]) -> Pixels | None:
    """What it says of pixels; None if that cannot be: then it is tried like what is not said."""
    mean = _channels(told.get("mean_values") or "0 0 0")
    std = _channels(told.get("scale_values") or "1 1 1")
    if mean is None or std is None or min(std) <= 0:
        return None
    turned = told.get("reverse_input_channels", "").lower() in ("true", "yes", "1")
    unit = told.get("intensity_mode", "") == "scale_to_unit"
    return Pixels(
        input_range=InputRange.UNIT if unit else InputRange.BYTES,
        channel_order=ChannelOrder.BGR if turned else ChannelOrder.RGB,
        mean=mean if any(mean) else None,
        std=std if set(std) != {1.0} else None,
    )


def _channels(text: str) -> Channels | None:
    """Three numbers in a text such as `123.675 116.28 103.53` or `[0.0, 0.0, 0.0]`."""
    try:
        values = [float(part) for part in re.split(r"[\s,]+", text.strip("[]() ")) if part]
    except ValueError:
        return None
    if len(values) != 3 or not all(abs(value) <= _MOST for value in values):
        return None
    return values[0], values[1], values[2]


def _ultralytics(foreign: ForeignModel) -> Family | None:
    """Ultralytics, and the YOLOv5 and YOLOv7 before it, which state a stride."""
    told = foreign.metadata
    if "ultralytics" not in f"{told.get('author')} {told.get('description')}".lower():
        return Family("YOLO", UNIT_RGB, Placement.CENTRE) if "stride" in told else None
    stretched = "detr" in f"{told.get('head')} {told.get('description')}".lower()
    return Family("Ultralytics", UNIT_RGB, Placement.STRETCH if stretched else Placement.CENTRE)


def _picture_sizes(foreign: ForeignModel) -> Family | None:
    """RT-DETR, D-FINE and DEIM with their post-processing."""
    if not any(name in PICTURE_SIZES for name in foreign.input_names):
        return None
    return Family("D-FINE or RT-DETR", UNIT_RGB, Placement.STRETCH, background=Background.LAST)


def _paddle(foreign: ForeignModel) -> Family | None:
    if "scale_factor" not in foreign.input_names:
        return None
    # PP-YOLOE subtracts ImageNet's mean, PP-YOLOE+ and its RT-DETR do not.
    return Family("PaddleDetection", None, Placement.STRETCH, background=Background.LAST)


def _by_layout(foreign: ForeignModel, layout: LayoutName | None) -> Family | None:
    """Layouts that only one family has, or only one with these names."""
    match layout:
        case LayoutName.YOLOX:
            return Family("YOLOX", BYTES_BGR, Placement.CORNER)
        case LayoutName.NANODET:
            # Placement depends on `keep_ratio` in its configuration.
            return Family("NanoDet", IMAGENET_BGR)
        case LayoutName.HEADS if set(foreign.output_names) == {"dets", "labels"}:
            # MMDetection has these names too, for final detections.
            return Family("RF-DETR", IMAGENET_RGB, Placement.STRETCH, ScoreForm.LOGITS)
        case _:
            return None


_BY_FILE: tuple[Callable[[ForeignModel], Family | None], ...] = (
    _ours,
    _model_info,
    _ultralytics,
    _picture_sizes,
    _paddle,
)
