"""Every layout and every way of preparing frames, by detectors that see coloured squares."""

from dataclasses import replace

import numpy as np
import pytest

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.adaptation import adapt, check_answers
from guardianflow.vision.ir.families import (
    BYTES_BGR,
    COMMON_PIXELS,
    IMAGENET_BGR,
    UNIT_RGB,
)
from guardianflow.vision.ir.foreign import open_foreign
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.reading import (
    Background,
    LayoutName,
    OpenQuestion,
    Placement,
    Reading,
    ScoreForm,
)
from guardianflow.vision.ir.serving import InputGeometry, IrDetector, place_frame
from tests.planted import CLASSES, RECTANGLE, Planted, plant, save_planted


def read(planted, folder, rows=(0, 1, 2), **said):
    """Adapt a planted detector; save it, and check what it sees in a frame."""
    pictures = [
        place_frame(plant(planted.geometry, 360, 640, seed)[0], planted.geometry).picture
        for seed in range(3)
    ]
    reading = Reading(size=320, **{"placement": planted.geometry.placement, **said})
    foreign = open_foreign(save_planted(planted, folder), classes=CLASSES)
    adapted = adapt(foreign, rows, reading, pictures)
    check_answers(adapted.model, pictures, "planted")
    names = [CLASSES[row] for row in rows]
    geometry = InputGeometry(*adapted.side, adapted.placement)
    ir.describe(adapted.model, classes=names, precision="fp32", geometry=geometry)
    ir.save(adapted.model, folder / "ir")
    return adapted


def sees_the_squares(folder, geometry):
    detectors = [IrDetector(folder / "ir"), IrDetector(wrap(folder / "ir", folder / "edge"))]
    for seed, (height, width) in enumerate([(360, 640), (640, 360), (192, 320)]):
        frame, boxes, classes = plant(geometry, height, width, seed)
        for detector in detectors:
            (found,) = detector.predict([frame], 0.6)
            if len(found["boxes"]) != 3:
                return False
            for box, label in zip(boxes, classes, strict=True):
                gaps = np.abs(np.array(found["boxes"]) - box).max(1)
                nearest = int(gaps.argmin())
                if gaps[nearest] > 2 or found["classes"][nearest] != CLASSES[label]:
                    return False
    return True


WRITTEN = {
    "raw": Planted(LayoutName.RAW),
    "raw-fractions": Planted(LayoutName.RAW, fractions=True),
    "raw-logits": Planted(LayoutName.RAW, logits=True),
    "rows": Planted(LayoutName.ROWS),
    "rows-fractions": Planted(LayoutName.ROWS, fractions=True),
    "objectness": Planted(LayoutName.OBJECTNESS),
    "end2end": Planted(LayoutName.END_TO_END),
    "end2end-fractions": Planted(LayoutName.END_TO_END, fractions=True),
    "yolov7": Planted(LayoutName.YOLOV7),
    "yolox": Planted(LayoutName.YOLOX, pixels=BYTES_BGR),
    "nanodet": Planted(LayoutName.NANODET, pixels=IMAGENET_BGR),
    "paddle": Planted(LayoutName.PADDLE),
    "ssd": Planted(LayoutName.SSD, background=Background.FIRST, fractions=True),
    "ssd-from-0": Planted(LayoutName.SSD, fractions=True),
    "heads": Planted(LayoutName.HEADS, logits=True, fractions=True),
    "heads-swapped": Planted(LayoutName.HEADS, logits=True, fractions=True, swapped=True),
    "heads-softmax": Planted(
        LayoutName.HEADS,
        logits=True,
        fractions=True,
        background=Background.LAST,
        outputs=("logits", "pred_boxes"),
    ),
    "detections": Planted(LayoutName.DETECTIONS),
    "detections-swapped": Planted(LayoutName.DETECTIONS, swapped=True),
    "detections-from-1": Planted(LayoutName.DETECTIONS, background=Background.FIRST),
    "detections-sizes": Planted(LayoutName.DETECTIONS, sizes="orig_target_sizes"),
    "canonical": Planted(LayoutName.CANONICAL),
}


def said_of(planted, adapted):
    """What a person has to say where values do not tell."""
    if OpenQuestion.BACKGROUND not in adapted.questions:
        return {}
    return {"background": planted.background or Background.LAST}


@pytest.mark.parametrize("name", WRITTEN)
def test_squares_come_out_as_boxes_whatever_the_layout(name, tmp_path):
    planted = WRITTEN[name]
    adapted = read(planted, tmp_path / "first")
    said = said_of(planted, adapted)
    if said:
        read(planted, tmp_path / "said", **said)
    assert adapted.layout is planted.layout
    assert adapted.side == (192, 320)
    assert sees_the_squares(tmp_path / ("said" if said else "first"), RECTANGLE)


@pytest.mark.parametrize("name", ["detections-from-1", "ssd"])
def test_class_indices_beyond_the_last_class_count_from_one(name, tmp_path):
    adapted = read(WRITTEN[name], tmp_path)
    assert adapted.background is Background.FIRST
    assert OpenQuestion.BACKGROUND not in adapted.questions


@pytest.mark.parametrize("name", ["raw", "end2end", "yolov7", "detections-sizes", "heads"])
def test_a_batch_that_cannot_be_changed_is_filled_with_the_same_frame(name, tmp_path):
    planted = replace(WRITTEN[name], batch=3)
    said = said_of(planted, read(planted, tmp_path / "first"))
    read(planted, tmp_path, **said)
    assert sees_the_squares(tmp_path, RECTANGLE)


@pytest.mark.parametrize("pixels", COMMON_PIXELS, ids=lambda pixels: pixels.describe())
def test_pixels_are_given_as_they_are_taken(pixels, tmp_path):
    said = pixels.model_dump(exclude_none=True)
    read(Planted(pixels=pixels), tmp_path / "right", **said)
    assert sees_the_squares(tmp_path / "right", RECTANGLE)
    other = IMAGENET_BGR if pixels == UNIT_RGB else UNIT_RGB
    read(Planted(pixels=pixels), tmp_path / "wrong", **other.model_dump(exclude_none=True))
    assert not sees_the_squares(tmp_path / "wrong", RECTANGLE)


@pytest.mark.parametrize("placement", list(Placement))
@pytest.mark.parametrize(("height", "width"), [(192, 320), (320, 192), (256, 256)])
def test_frames_are_placed_where_the_detector_expects_them(placement, height, width, tmp_path):
    geometry = InputGeometry(height, width, placement)
    adapted = read(Planted(geometry=geometry), tmp_path)
    assert adapted.placement is placement
    assert sees_the_squares(tmp_path, geometry)


def test_classes_are_put_in_the_wanted_order_also_behind_one_for_no_object(tmp_path):
    planted = WRITTEN["heads-softmax"]
    read(planted, tmp_path, rows=(2, 0), background="last", scores="softmax")
    frame, boxes, classes = plant(RECTANGLE, 360, 640)
    (found,) = IrDetector(tmp_path / "ir").predict([frame], 0.6)
    assert sorted(found["classes"]) == ["person", "vest"]
    for box, name in zip(found["boxes"], found["classes"], strict=True):
        (here,) = boxes[classes == CLASSES.index(name)]
        assert np.abs(np.array(box) - here).max() <= 2


@pytest.mark.parametrize(
    ("metadata", "placement", "order"),
    [
        ({"author": "Ultralytics", "stride": "32"}, Placement.CENTRE, "rgb"),
        ({"stride": "32"}, Placement.CENTRE, "rgb"),
        (
            {
                "model_info resize_type": "standard",
                "model_info mean_values": "103.53 116.28 123.675",
                "model_info scale_values": "57.375 57.12 58.395",
                "model_info reverse_input_channels": "True",
            },
            Placement.STRETCH,
            "bgr",
        ),
    ],
)
def test_a_family_says_what_the_shapes_do_not(metadata, placement, order, tmp_path):
    pixels = IMAGENET_BGR if order == "bgr" else UNIT_RGB
    geometry = InputGeometry(192, 320, placement)
    planted = Planted(geometry=geometry, pixels=pixels, metadata=metadata)
    adapted = read(planted, tmp_path, placement=None)
    assert (adapted.placement, adapted.pixels) == (placement, pixels)
    assert adapted.family
    assert not adapted.questions
    assert sees_the_squares(tmp_path, geometry)


def test_what_nothing_says_is_left_open(tmp_path):
    adapted = read(Planted(), tmp_path, placement=None)
    assert adapted.questions == (OpenQuestion.PIXELS, OpenQuestion.PLACEMENT)
    heads = read(WRITTEN["heads-softmax"], tmp_path / "heads", placement=None)
    assert set(heads.questions) == set(OpenQuestion)
    assert heads.scores is ScoreForm.SOFTMAX
    assert heads.background is Background.LAST


def test_sizes_that_are_no_sizes_of_the_picture_are_refused(tmp_path):
    with pytest.raises(ModelInvalid, match="2 inputs besides sizes of the picture"):
        read(replace(WRITTEN["detections-sizes"], sizes="threshold"), tmp_path)


def test_a_batch_that_is_too_large_is_refused(tmp_path):
    with pytest.raises(ModelInvalid, match="cannot be set to one frame"):
        read(Planted(batch=9), tmp_path)
