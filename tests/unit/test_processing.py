"""The edge IR against the functions in Python that it has to agree with, on real OpenVINO."""

import re

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from guardianflow.vision.ir import ir
from guardianflow.vision.ir.processing import with_processing, wrap
from guardianflow.vision.ir.serving import InputGeometry as Input
from guardianflow.vision.ir.serving import IrDetector, place_frame, select

# Height and width: odd, portrait, smaller than the input, lines, exact, ties of rounding.
FRAMES = [
    *[(48, 100), (100, 48), (33, 17), (1, 57), (57, 1), (1, 1), (64, 64), (63, 64), (427, 640)],
    *[(425, 640), (721, 1279), (1279, 721), (3, 2000), (2000, 3), (128, 128), (32, 31)],
]
SIDE = 64
SQUARE = Input(SIDE, SIDE)
GEOMETRIES = [
    *[SQUARE, Input(320, 320), Input(192, 320), Input(96, 64, "centre")],
    *[
        Input(64, 64, "centre"),
        Input(64, 64, "stretch"),
        Input(192, 320, "stretch"),
    ],
]


def described(results, parameters, thresholds, geometry=SQUARE):
    model = ov.Model(results, parameters, "plain")
    classes = ["a", "b", "c"]
    ir.describe(model, classes=classes, precision="fp32", thresholds=thresholds, geometry=geometry)
    return model


def seeing(geometry):
    """A plain IR whose boxes tell what it was shown: one cell for each pixel of the input."""
    shown = op.parameter([1, geometry.height, geometry.width, 3], np.uint8)
    cells = geometry.height * geometry.width
    pixels = op.reshape(op.convert(shown, "f32"), np.array([1, cells, 3]), False)
    boxes = op.concat([pixels, op.constant(np.ones((1, cells, 1), np.float32))], 2)
    scores = op.multiply(pixels, op.constant(np.zeros(1, np.float32)))
    return described([boxes.output(0), scores.output(0)], [shown], [0.5] * 3, geometry)


def answering(boxes, scores, thresholds, geometry=SQUARE):
    """A plain IR that answers the same whatever it is shown."""
    square = op.parameter([1, geometry.height, geometry.width, 3], np.uint8)
    # Not foldable, so that it is computed as everything else is.
    zero = op.multiply(
        op.reduce_max(op.convert(square, "f32"), np.array([0, 1, 2, 3])), np.float32(0)
    )
    outputs = [op.add(op.constant(part[None]), zero).output(0) for part in (boxes, scores)]
    return described(outputs, [square], thresholds, geometry)


def placing(geometry):
    """The placement of an edge IR alone, as a function."""
    edge = with_processing(seeing(geometry), [0.5] * 3)
    name = "Reshape"
    inside = next(
        node.output(0)
        for node in edge.get_ordered_ops()
        if node.get_type_name() == name
        and node.get_output_partial_shape(0) == ov.PartialShape([1, *geometry[:2], 3])
    )
    alone = ov.Model([inside], edge.get_parameters(), "placement")
    request = ov.Core().compile_model(alone, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda frame: request([frame[None]])[0][0]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_the_placement_inside_is_pillows(geometry):
    place, random = placing(geometry), np.random.default_rng(0)
    for height, width in FRAMES:
        frame = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = place_frame(frame, geometry)
        gap = np.abs(place(frame).astype(int) - expected.picture)
        # noise, the hardest: halves that Pillow rounds upwards go to the even number here
        assert gap.max() <= 2, (height, width)
        assert gap.mean() < 0.3, (height, width)
        if (expected.scale == 1).all():
            assert gap.max() == 0


@pytest.mark.parametrize("geometry", [Input(96, 96), Input(64, 96, "centre")], ids=str)
def test_the_placement_has_the_same_size_for_every_frame(geometry):
    place = placing(geometry)
    for longest in (1, 5, 95, 97, 192, 193, 640, 4001):
        for other in {longest, longest * 9 // 16 or 1}:
            for height, width in ((longest, other), (other, longest)):
                frame = np.zeros((height, width, 3), np.uint8)
                expected = place_frame(frame, geometry).picture
                assert np.array_equal(place(frame), expected), (height, width)


@pytest.mark.parametrize("limits", [[0.01] * 3, [0.2, 0.5, 0.8], [0.0] * 3, [1.0] * 3])
def test_suppression_inside_is_that_of_select(limits, tmp_path):
    random = np.random.default_rng(1)
    for crowded in (False, True):
        # Whole numbers make boxes and scores that are equal, and overlaps of exactly 0.6.
        corner = random.integers(0, 20, (400, 2)) if crowded else random.random((400, 2)) * 50
        sides = random.integers(1, 11, (400, 2)) if crowded else random.random((400, 2)) * 20
        boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
        scores = random.random((400, 3)).astype(np.float32) ** 3
        if crowded:
            scores = (scores * 20).round().astype(np.float32) / np.float32(20)
        wanted = select(boxes, scores, limits)
        folder = ir.save(with_processing(answering(boxes, scores, limits), limits), tmp_path)
        (found,) = IrDetector(folder).predict([np.zeros((SIDE, SIDE, 3), np.uint8)], limits)
        assert len(found["scores"]) == len(wanted[1])
        clipped = np.clip(wanted[0], 0, SIDE).round(2)
        assert np.array_equal(np.float32(found["boxes"]).reshape(-1, 4), clipped)
        assert found["class_ids"] == wanted[2].tolist()
        assert np.array_equal(np.float32(found["scores"]), wanted[1].round(5))


@pytest.mark.parametrize("height", [5, 6, 7])
def test_boxes_that_overlap_by_exactly_the_limit_both_stay(height, tmp_path):
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, height]], np.float32)
    scores = np.array([[0.9, 0, 0], [0.8, 0, 0]], np.float32)
    wanted = select(boxes, scores, 0.5)
    assert len(wanted[1]) == (2 if height <= 6 else 1)
    folder = ir.save(with_processing(answering(boxes, scores, [0.5] * 3), [0.5] * 3), tmp_path)
    (found,) = IrDetector(folder).predict([np.zeros((SIDE, SIDE, 3), np.uint8)])
    assert len(found["scores"]) == len(wanted[1])


def test_boxes_are_in_pixels_of_the_frame_and_none_leaves_it(tmp_path):
    boxes = np.array([[-5, 8, 32, 70], [16, 0, 80, 16]], np.float32)
    scores = np.array([[0.9, 0, 0], [0, 0, 0.7]], np.float32)
    folder = ir.save(with_processing(answering(boxes, scores, [0.5] * 3), [0.5] * 3), tmp_path)
    (found,) = IrDetector(folder).predict([np.zeros((64, 128, 3), np.uint8)])
    assert found["boxes"] == [[0, 16, 64, 64], [32, 0, 128, 32]]
    assert found["classes"] == ["a", "c"]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_boxes_leave_the_edge_ir_where_the_plain_one_puts_them(geometry, tmp_path):
    boxes = np.array([[10, 12, 40, 44], [30, 20, 60, 60], [-9, 50, 90, 95]], np.float32)
    scores = np.eye(3, dtype=np.float32) * 0.9
    plain = IrDetector(ir.save(answering(boxes, scores, [0.5] * 3, geometry), tmp_path / "ir"))
    edge = IrDetector(wrap(tmp_path / "ir", tmp_path / "edge"))
    assert edge.geometry == plain.geometry == geometry
    for height, width in ((90, 160), (160, 90), (50, 51)):
        frame = np.zeros((height, width, 3), np.uint8)
        (inside,), (outside,) = edge.predict([frame]), plain.predict([frame])
        assert inside["classes"] == outside["classes"] == ["a", "b", "c"]
        assert np.allclose(inside["boxes"], outside["boxes"], atol=0.02)


def test_an_ir_that_does_not_say_how_frames_are_placed_means_the_corner(tmp_path):
    boxes, scores = np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float32)
    plain = ir.save(answering(boxes, scores, [0.5] * 3, SQUARE), tmp_path / "ir")
    text = (plain / ir.FILE).read_text()
    (plain / ir.FILE).write_text(re.sub(r"<geometry [^>]*/>", "", text))
    assert "geometry" not in (plain / ir.FILE).read_text()
    assert IrDetector(plain).geometry == SQUARE


def test_the_edge_ir_says_what_it_is_and_answers_from_the_limits_it_carries(tmp_path):
    boxes = np.array([[0, 0, 8, 8], [20, 20, 30, 30]], np.float32)
    scores = np.array([[0.6, 0, 0], [0, 0.6, 0]], np.float32)
    plain = ir.save(answering(boxes, scores, [0.5, 0.7, 0.5]), tmp_path / "ir")
    edge = wrap(plain, tmp_path / "edge")
    model = ov.Core().read_model(edge / ir.FILE)
    assert model.inputs[0].partial_shape == ov.PartialShape([1, -1, -1, 3])
    assert model.get_rt_info(["guardianflow", "batch"]).value == "1"
    bare = ov.Core().compile_model(model, "CPU")([np.zeros((1, SIDE, SIDE, 3), np.uint8)])[0]
    assert bare.tolist() == [pytest.approx([0, 0, 8, 8, 0.6, 0])]
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    for folder in (plain, edge):
        detector = IrDetector(folder)
        assert detector.thresholds == (0.5, 0.7, 0.5)
        assert (detector.image_size, detector.classes) == (SIDE, ("a", "b", "c"))
        assert detector.predict([frame], detector.thresholds)[0]["classes"] == ["a"]
        assert detector.predict([frame])[0]["classes"] == ["a", "b"]
        assert detector.predict([frame], 0.65)[0]["classes"] == []


def test_thresholds_may_change_from_call_to_call(tmp_path):
    boxes = np.array([[0, 0, 8, 8], [20, 20, 30, 30]], np.float32)
    scores = np.array([[0.6, 0, 0], [0, 0.3, 0]], np.float32)
    plain = ir.save(answering(boxes, scores, [0.5] * 3), tmp_path / "ir")
    detector = IrDetector(wrap(plain, tmp_path / "edge"))
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    for limit in (0.1, 0.2, 0.35, 0.4, 0.7, 0.1, 0.35):
        found = detector.predict([frame], limit)[0]["classes"]
        assert found == [name for name, score in (("a", 0.6), ("b", 0.3)) if score >= limit]
    assert len(detector._requests) == 4


def test_a_plain_ir_without_thresholds_gets_those_for_everything(tmp_path):
    boxes, scores = np.zeros((1, 4), np.float32), np.zeros((1, 3), np.float32)
    plain = ir.save(answering(boxes, scores, None), tmp_path / "ir")
    assert IrDetector(wrap(plain, tmp_path / "edge")).thresholds == (0.4, 0.4, 0.4)
