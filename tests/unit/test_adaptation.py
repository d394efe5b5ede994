import warnings

import numpy as np
import onnx
import openvino as ov
import pytest
import torch
from openvino import opset13 as ops

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.adaptation import PREFIX, adapt, check_answers
from guardianflow.vision.ir.families import BYTES_RGB
from guardianflow.vision.ir.foreign import open_foreign
from guardianflow.vision.ir.layouts import LAYOUTS, choose_layout
from guardianflow.vision.ir.layouts.protocol import InputSize, OutputSpec, Port
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.reading import (
    BoxForm,
    ChannelOrder,
    InputRange,
    LayoutName,
    OpenQuestion,
    Reading,
    ScoreForm,
)
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape
from tests import bombs
from tests.foreign import Export, export_onnx

CLASSES = ("person", "helmet", "vest")
SIZE = 64
ROWS = (0, 1, 2)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    detector = make_detector(DetectorShape(len(CLASSES), 4, SIZE))
    # a fresh network says 0.01 everywhere: make its answers differ
    for head in detector.heads:
        torch.nn.init.normal_(head.logits.weight, std=2.0)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    for _ in range(8):
        detector(torch.rand(4, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3))
    return detector.eval()


@pytest.fixture(scope="module")
def frame():
    blocks = np.random.default_rng(0).integers(0, 255, (1, 8, 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="module")
def fp32(network, tmp_path_factory):
    """The same network by our own way to the IR."""
    return ir.save(ir.convert_network(network, CLASSES), tmp_path_factory.mktemp("fp32")) / ir.FILE


@pytest.fixture(scope="module")
def ours(fp32, frame):
    """Boxes and scores of the same network by our own way to the IR."""
    return answers(ov.Core().read_model(fp32), frame)


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """Makes an ONNX file of the network, once for each way of exporting it."""
    folder, made = tmp_path_factory.mktemp("onnx"), {}

    def export(layout=LayoutName.RAW, options=None, **how):
        key = (layout, repr(options), repr(how))
        if key not in made:
            path = folder / f"{len(made)}.onnx"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = Export(network, layout, **how)
                made[key] = export_onnx(module, path, {"task": "detect"}, **(options or {}))
        return made[key]

    return export


def answers(model, frame):
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(frame)
    return found[0][0], found[1][0]


def read(path, *, classes=CLASSES, rows=ROWS, size=SIZE, **changes):
    return adapt(open_foreign(path, classes=classes), rows, Reading(size=size, **changes))


def graph(outputs, element=np.float32, shape=(1, 3, SIZE, SIZE)):
    """A graph whose outputs are constants that are not: each adds the mean of the input."""
    frames = ops.parameter(list(shape), element, name="images")
    mean = ops.reduce_mean(ops.convert(frames, "f32"), np.arange(len(shape)), keep_dims=False)
    return ov.Model([ops.add(ops.constant(o.astype(np.float32)), mean) for o in outputs], [frames])


def saved(model, tmp_path):
    ov.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    return tmp_path / "model.xml"


def test_a_raw_grid_means_the_same_as_our_own_ir(exported, frame, ours):
    adapted = read(exported())
    assert (adapted.layout, adapted.side, adapted.precision) == (
        LayoutName.RAW,
        (SIZE, SIZE),
        "fp32",
    )
    boxes, scores = answers(adapted.model, frame)
    assert np.allclose(boxes, ours[0], atol=1e-3)
    assert np.allclose(scores, ours[1], atol=1e-5)


def test_objectness_is_multiplied_into_the_scores(exported, frame, ours):
    adapted = read(exported(LayoutName.OBJECTNESS))
    assert adapted.layout is LayoutName.OBJECTNESS
    boxes, scores = answers(adapted.model, frame)
    assert np.allclose(boxes, ours[0], atol=1e-3)
    assert np.allclose(scores, ours[1], atol=1e-5)


def test_finished_detections_score_for_their_own_class_alone(exported, frame, ours):
    adapted = read(exported(LayoutName.END_TO_END))
    assert adapted.layout is LayoutName.END_TO_END
    boxes, scores = answers(adapted.model, frame)
    best = np.argsort(-ours[1].max(1), kind="stable")[: len(boxes)]
    assert np.allclose(scores.max(1), ours[1].max(1)[best], atol=1e-5)
    assert np.array_equal(scores.argmax(1), ours[1].argmax(1)[best])
    assert ((scores > 0).sum(1) == 1).all()
    assert np.allclose(boxes, ours[0][best], atol=1e-3)


@pytest.mark.parametrize("layout", [LayoutName.RAW, LayoutName.OBJECTNESS, LayoutName.END_TO_END])
def test_classes_are_selected_and_put_in_order_within_the_graph(exported, frame, layout):
    whole = answers(read(exported(layout)).model, frame)
    boxes, scores = answers(read(exported(layout), rows=(2, 0)).model, frame)
    assert np.allclose(scores, whole[1][:, [2, 0]], atol=1e-6)
    assert np.allclose(boxes, whole[0])


def test_our_own_ir_passes_as_it_is(fp32, frame, ours):
    assert open_foreign(fp32).names == CLASSES
    adapted = read(fp32, rows=(1, 2))
    assert adapted.layout is LayoutName.CANONICAL
    assert adapted.pixels == BYTES_RGB
    boxes, scores = answers(adapted.model, frame)
    assert np.allclose(boxes, ours[0], atol=1e-4)
    assert np.allclose(scores, ours[1][:, 1:], atol=1e-6)


def test_pixels_up_to_255_are_taken_as_they_are_when_that_is_said(exported, frame, ours):
    path = exported(scale=255.0)
    _, scores = answers(read(path, input_range=InputRange.BYTES).model, frame)
    assert np.allclose(scores, ours[1], atol=1e-5)
    _, dark = answers(read(path).model, frame)
    assert not np.allclose(dark, ours[1], atol=1e-2)


def test_colours_are_turned_round_when_that_is_said(exported, frame, ours):
    path = exported(order=(2, 1, 0))
    _, scores = answers(read(path, channel_order=ChannelOrder.BGR).model, frame)
    assert np.allclose(scores, ours[1], atol=1e-5)
    _, wrong = answers(read(path).model, frame)
    assert not np.allclose(wrong, ours[1], atol=1e-2)


def test_an_open_batch_is_fixed_at_one_frame(exported, frame, ours):
    path = exported(options={"dynamic_axes": {"images": {0: "batch"}, "output0": {0: "batch"}}})
    assert open_foreign(path).model.inputs[0].partial_shape.is_dynamic
    adapted = read(path)
    assert adapted.model.inputs[0].shape == [1, SIZE, SIZE, 3]
    assert np.allclose(answers(adapted.model, frame)[1], ours[1], atol=1e-5)


def test_an_open_size_is_that_of_the_file_else_of_the_scenario(tmp_path):
    frames = ops.parameter([-1, 3, -1, -1], np.float32, name="images")
    pooled = ops.reduce_mean(frames, np.array([1, 2, 3]), keep_dims=True)
    row = ops.reshape(pooled, np.array([1, 1, 1]), special_zero=False)
    table = ops.add(row, ops.constant(np.full((1, 7, 5), 0.5, np.float32)))
    path = saved(ov.Model([table], [frames]), tmp_path)
    assert read(path, size=96).side == (96, 96)
    (tmp_path / "metadata.yaml").write_text("imgsz: [160, 192]\n")
    assert read(path, size=96).side == (160, 192)


@pytest.mark.parametrize("element", [np.float16, np.uint8])
@pytest.mark.parametrize("shape", [(1, 3, SIZE, SIZE), (1, SIZE, SIZE, 3)])
def test_other_elements_and_orders_of_axes_are_fed_rightly(element, shape, frame, tmp_path):
    path = saved(graph([np.zeros((1, 7, 20))], element, shape), tmp_path)
    # its scores are means of pixels
    adapted = read(path, scores=ScoreForm.PROBABILITIES)
    _, scores = answers(adapted.model, frame)
    unit = element != np.uint8
    assert adapted.pixels.input_range == ("0..1" if unit else "0..255")
    assert np.allclose(scores, frame.mean() / (255 if unit else 1), rtol=1e-2)


def test_bytes_have_one_range(tmp_path):
    path = saved(graph([np.zeros((1, 7, 20))], np.uint8), tmp_path)
    with pytest.raises(ModelInvalid, match=r"input of bytes cannot have the range 0\.\.1"):
        read(path, input_range=InputRange.UNIT)


def test_what_was_added_can_be_told_by_its_name(exported):
    foreign = open_foreign(exported(), classes=CLASSES)
    before = {op.get_friendly_name() for op in foreign.model.get_ops()}
    model = adapt(foreign, ROWS, Reading(size=SIZE)).model
    added = [n for op in model.get_ops() if (n := op.get_friendly_name()) not in before]
    assert added
    assert all(name.startswith(PREFIX) for name in added)
    assert any(not op.get_friendly_name().startswith(PREFIX) for op in model.get_ops())


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 1, SIZE, SIZE), "It must have one input with three channels"),
        ((1, 3, 16, 16), "An input of 16 x 16 pixels"),
        ((1, 3, 4096, 4096), "An input of 4096 x 4096 pixels"),
        ((3, SIZE, SIZE), "It must have one input with three channels"),
    ],
)
def test_an_input_that_is_not_understood_is_described(shape, said, tmp_path):
    path = saved(graph([np.zeros((1, 7, 20))], shape=shape), tmp_path)
    with pytest.raises(ModelInvalid, match=said) as refused:
        read(path)
    assert "images f32 (" in refused.value.message
    assert refused.value.remedy


def test_a_second_input_is_refused(tmp_path):
    model = graph([np.zeros((1, 7, 20))])
    sizes = ops.parameter([1, 2], np.float32, name="sizes")
    both = ops.multiply(model.outputs[0].node.input_value(0), ops.reduce_mean(sizes, [0, 1]))
    path = saved(ov.Model([both], [*model.get_parameters(), sizes]), tmp_path)
    with pytest.raises(
        ModelInvalid, match="2 inputs besides sizes of the picture: only the image itself"
    ):
        read(path)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([(1, 84, 200)], "84 values for a box it would have 80 classes, or 79 and objectness, but"),
        ([(1, 1000)], "a classification model"),
        ([(1, 39, 20), (1, 32, 16, 16)], "a segmentation model"),
        ([(1, 20, 4), (1, 20, 9)], "but there are 9"),
    ],
)
def test_outputs_that_are_not_understood_are_described_beside_what_is(shapes, said, tmp_path):
    path = saved(graph([np.zeros(shape) for shape in shapes]), tmp_path)
    with pytest.raises(ModelInvalid, match=said) as refused:
        read(path)
    assert f"({', '.join(map(str, shapes[0]))})" in refused.value.message
    for layout in LAYOUTS:
        assert layout.meaning in refused.value.remedy


ONE_CLASS = OutputSpec([Port((1, 300, 6))], 1, InputSize(64, 64))


def test_what_may_mean_two_things_has_to_be_said():
    with pytest.raises(ModelInvalid, match=r"that can mean end2end .* or objectness") as refused:
        choose_layout(ONE_CLASS, "x.onnx")
    assert refused.value.remedy == "Choose one: --layout end2end or --layout objectness"
    chosen = choose_layout(ONE_CLASS, "x.onnx", LayoutName.OBJECTNESS)
    assert chosen.name is LayoutName.OBJECTNESS
    with pytest.raises(ModelInvalid):
        choose_layout(ONE_CLASS, "x.onnx", LayoutName.RAW)


def test_a_quantized_model_is_refused(tmp_path):
    model = graph([np.zeros((1, 7, 20))])
    low, high = np.float32(0), np.float32(1)
    faked = ops.fake_quantize(model.outputs[0].node.input_value(0), low, high, low, high, 256)
    path = saved(ov.Model([faked], model.get_parameters()), tmp_path)
    with pytest.raises(ModelInvalid, match="quantized already"):
        read(path)


def test_half_precision_weights_are_told(tmp_path):
    model = graph([np.zeros((1, 7, 2000))])
    ov.save_model(model, tmp_path / "model.xml", compress_to_fp16=True)
    assert read(tmp_path / "model.xml").precision == "fp16"


def test_right_answers_pass(exported, frame):
    check_answers(read(exported()).model, [frame[0]], "x.onnx")


def test_scores_without_a_sigmoid_get_one(exported, frame, ours):
    adapted = read(exported(logits=True))
    assert adapted.scores is ScoreForm.LOGITS
    _, scores = answers(adapted.model, frame)
    assert np.allclose(scores, ours[1], atol=1e-5)


def test_scores_that_are_said_to_be_probabilities_and_are_none_are_found(exported, frame):
    model = read(exported(logits=True), scores=ScoreForm.PROBABILITIES).model
    with pytest.raises(ModelInvalid, match="not probabilities"):
        check_answers(model, [frame[0]], "x.onnx")


@pytest.mark.parametrize(
    ("value", "boxes", "said"),
    [(np.nan, None, "NaN"), (0.4, BoxForm.CENTRE, "fractions of the image, not pixels")],
)
def test_boxes_that_are_no_pixels_are_found(value, boxes, said, frame, tmp_path):
    path = saved(graph([np.full((1, 7, 20), value)]), tmp_path)
    with pytest.raises(ModelInvalid, match=said):
        check_answers(read(path, boxes=boxes).model, [frame[0] // 4], "x.onnx")


def test_as_many_boxes_as_the_frame_has_are_padded_to_the_most(frame, tmp_path):
    frames = ops.parameter([1, 3, SIZE, SIZE], np.float32, name="images")
    bright = ops.non_zero(ops.greater(ops.reduce_mean(frames, [1, 3]), np.float32(0.5)), "i64")
    # one row of boxes for each bright row of the frame
    boxes = np.tile(np.float32([8, 8, 32, 40, 0.9, 1]), (1, SIZE, 1))
    rows = ops.gather(boxes, ops.gather(bright, 1, 0), 1)
    path = saved(ov.Model([rows], [frames]), tmp_path)
    adapted = read(path)
    half = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    half[:, : SIZE // 2] = 255
    for shown, count in ((half, SIZE // 2), (half * 0, 0), (half * 0 + 255, SIZE)):
        found, scores = answers(adapted.model, shown)
        assert found.shape == (SIZE, 4)
        assert (scores.max(1) > 0.5).sum() == count
        assert (found[:count] == [8, 8, 32, 40]).all()


def test_an_edge_ir_is_told_from_a_plain_one(fp32, tmp_path):
    wrap(fp32.parent, tmp_path)
    with pytest.raises(ModelInvalid, match="an edge IR of guardianflow"):
        open_foreign(tmp_path / ir.FILE)


def test_an_adapted_ir_can_be_wrapped_for_the_edge(exported, tmp_path):
    model = read(exported(LayoutName.END_TO_END)).model
    ir.describe(model, classes=CLASSES, precision="fp32", thresholds=(0.1, 0.1, 0.1))
    plain = ir.save(model, tmp_path / "ir")
    photo = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    (outside,) = IrDetector(plain).predict([photo], 0.1)
    (inside,) = IrDetector(wrap(plain, tmp_path / "edge")).predict([photo], 0.1)
    assert outside["class_ids"] == inside["class_ids"]
    assert np.allclose(outside["boxes"], inside["boxes"], atol=0.5)


def test_finding_nothing_in_a_frame_is_no_fault(tmp_path):
    path = saved(graph([np.zeros((1, 20, 6))]), tmp_path)
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    check_answers(read(path).model, [black], "x.onnx")


def test_onnx_itself_finds_no_fault_with_the_files_of_these_tests(exported):
    onnx.checker.check_model(onnx.load(exported()), full_check=True)


def table(layout, boxes, scores):
    """Outputs of a layout with one table, for boxes (A, 4) and scores (A, C)."""
    label, best = scores.argmax(1)[:, None], scores.max(1)[:, None]
    match layout:
        case LayoutName.RAW:
            return np.concatenate([boxes, scores], 1).T[None]
        case LayoutName.ROWS:
            return np.concatenate([boxes, scores], 1)[None]
        case LayoutName.OBJECTNESS:
            return np.concatenate([boxes, best, scores / best], 1)[None]
        case LayoutName.END_TO_END:
            return np.concatenate([boxes, best, label], 1)[None]
        case LayoutName.YOLOV7:
            return np.concatenate([np.zeros_like(best), boxes, label, best], 1)
        case _:
            raise AssertionError(layout)


def fixed(values):
    """A graph that answers the same whatever it sees."""
    frames = ops.parameter([1, 3, SIZE, SIZE], np.float32, name="images")
    none = ops.multiply(ops.reduce_mean(frames, [0, 1, 2, 3]), np.float32(0))
    return ov.Model([ops.add(ops.constant(values.astype(np.float32)), none)], [frames])


LAID_OUT = [
    *(LayoutName.RAW, LayoutName.ROWS, LayoutName.OBJECTNESS, LayoutName.END_TO_END),
    LayoutName.YOLOV7,
]


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("form", list(BoxForm))
@pytest.mark.parametrize("layout", LAID_OUT)
def test_layout_and_form_of_the_boxes_are_told_by_shapes_and_answers(
    layout, form, classes, frame, tmp_path
):
    random = np.random.default_rng(5)
    low = random.uniform(0, 0.7, (50, 2))
    corners = np.concatenate([low, low + random.uniform(0.05, 0.3, (50, 2))], 1)
    scores = random.uniform(0.01, 0.9, (50, classes))
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    boxes = np.concatenate([centre, corners[:, 2:] - corners[:, :2]], 1)
    written = (boxes if form.centred else corners) * (1 if form.fractions else SIZE)
    path = saved(fixed(table(layout, written, scores)), tmp_path)
    names = CLASSES[:classes]
    adapted = read(path, classes=names, rows=tuple(range(classes)))
    assert (adapted.layout, adapted.boxes) == (layout, form)
    found, given = answers(adapted.model, frame)
    assert np.allclose(found, corners * SIZE, atol=1e-2)
    if layout in (LayoutName.END_TO_END, LayoutName.YOLOV7):
        scores = scores * (scores == scores.max(1, keepdims=True))
    assert np.allclose(given, scores, atol=1e-5)


def test_a_form_that_is_said_is_not_judged(frame, tmp_path):
    values = np.full((1, 20, 6), 0.5)
    path = saved(fixed(values), tmp_path)
    assert read(path, boxes=BoxForm.CENTRE).boxes is BoxForm.CENTRE


def test_detections_that_the_file_calls_finished_are_taken_for_that(tmp_path):
    # one class: six columns could also be objectness and a probability
    path = saved(graph([np.full((1, 20, 6), 0.5)]), tmp_path)
    one = {"classes": ("person",), "rows": (0,)}
    assert read(path, **one).layout is LayoutName.OBJECTNESS
    (tmp_path / "metadata.yaml").write_text("end2end: true\n")
    assert read(path, **one).layout is LayoutName.END_TO_END


def test_scores_for_another_number_of_classes_are_told(tmp_path):
    path = saved(graph([np.zeros((1, 20, 9)), np.zeros((1, 20, 4))]), tmp_path)
    with pytest.raises(ModelInvalid, match=r"need 3 columns .* or one more .* but there are 9"):
        read(path)


def test_a_loop_as_long_as_the_picture_is_bright_is_refused(tmp_path):
    # as many rounds as its mean: nobody can try all pictures
    with pytest.raises(ModelInvalid, match="runs as often as the image decides"):
        read(bombs.loop(tmp_path / "loop.onnx", None))


@pytest.mark.parametrize(
    ("boxes", "labels", "family"), [((1, 20, 4), (1, 20, 4), "RF-DETR"), ((1, 20, 5), (1, 20), "")]
)
def test_names_that_two_families_share_tell_one_only_by_the_layout(boxes, labels, family, tmp_path):
    model = graph([np.full(boxes, 0.4), np.zeros(labels)])
    for output, name in zip(model.outputs, ("dets", "labels"), strict=True):
        output.set_names({name})
    adapted = read(saved(model, tmp_path))
    assert adapted.family == family
    assert (OpenQuestion.PIXELS in adapted.questions) == (not family)
