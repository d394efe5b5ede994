"""What the graph of a detector says about its quantization."""

import warnings
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset15 as op

from guardianflow.vision.ir import ir
from guardianflow.vision.ir.int8_plan import (
    BiasCorrection,
    FloatPart,
    ModelType,
    read_plan,
)
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import Architecture, DetectorShape
from tests import small_detr


def left(plan):
    return {part.part: set(part.operations) for part in plan.left_in_float}


def kinds(model, names):
    return {n.get_type_name() for n in model.get_ops() if n.get_friendly_name() in names}


def convolved(node, outputs, rng):
    channels = node.get_output_shape(0)[1]
    weights = rng.normal(size=(outputs, channels, 1, 1)).astype(np.float32)
    return op.convolution(node, op.constant(weights), [1, 1], [0, 0], [0, 0], [1, 1])


def linear(node, outputs, rng):
    weights = rng.normal(size=(node.get_output_shape(0)[-1], outputs)).astype(np.float32)
    return op.matmul(node, op.constant(weights), False, False)


@pytest.mark.parametrize("kind", list(Architecture))
def test_our_own_networks_are_quantized_as_before(kind):
    detector = make_detector(DetectorShape(2, 8, 64, kind))
    found = read_plan(ir.convert_network(detector.eval(), ("a", "b")))
    assert found.model_type is ModelType.CNN
    assert found.bias_correction is BiasCorrection.EXACT
    assert set(left(found)) <= {FloatPart.DECODING, FloatPart.DISTRIBUTION}
    # The versions that were made before are found again.
    assert found.recipe == ""


@pytest.mark.parametrize("weighing", ["convolution", "product"])
def test_boxes_from_distributions_are_left_in_float(weighing):
    """As other trainers do it: sides as distributions over 16 bins, and their mean."""
    rng = np.random.default_rng(0)
    image = op.parameter([1, 3, 8, 8], np.float32)
    features = op.relu(convolved(image, 8, rng))
    features.set_friendly_name("features")
    bins = op.reshape(convolved(features, 64, rng), np.array([1, 4, 16, 64]), False)
    steps = np.arange(16, dtype=np.float32)
    if weighing == "convolution":
        soft = op.softmax(op.transpose(bins, np.array([0, 2, 1, 3])), 1)
        weights = op.constant(steps.reshape(1, 16, 1, 1))
        mean = op.convolution(soft, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    else:
        soft = op.softmax(op.transpose(bins, np.array([0, 1, 3, 2])), 3)
        mean = op.matmul(soft, op.constant(steps.reshape(16, 1)), False, False)
    soft.set_friendly_name("soft")
    mean.set_friendly_name("mean")
    pixels = op.multiply(mean, op.constant(np.float32(8)))
    pixels.set_friendly_name("pixels")
    scores = op.sigmoid(convolved(features, 3, rng))
    scores.set_friendly_name("scores")
    model = ov.Model([pixels.output(0), scores.output(0)], [image], "foreign")
    found = read_plan(model)
    assert {"soft", "mean"} <= left(found)[FloatPart.DISTRIBUTION]
    assert {"pixels", "scores"} <= left(found)[FloatPart.DECODING]
    assert "features" not in found.ignored
    assert (found.model_type, found.recipe) == (ModelType.CNN, "")
    weighted = [n for n in model.get_ops() if n.get_type_name() == "Convolution"]
    ignored = {n.get_friendly_name() for n in weighted} & set(found.ignored)
    assert ignored == ({"mean"} if weighing == "convolution" else set())


def exported(way, folder):
    """An untrained transformer detector, by the way that exporters go."""
    torch.manual_seed(0)
    network = small_detr.SmallDetr().eval()
    frames = torch.zeros(1, small_detr.SIDE, small_detr.SIDE, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "onnx":
            return ov.Core().read_model(small_detr.export(network, folder / "x.onnx"))
        return ov.convert_model(small_detr.Exported(network), example_input=frames)


@pytest.mark.parametrize("way", ["onnx", "torch"])
def test_attention_and_decoder_of_a_transformer_are_left_in_float(way, tmp_path):
    model = exported(way, tmp_path)
    found = read_plan(model)
    assert (found.model_type, found.bias_correction) == (
        ModelType.TRANSFORMER,
        BiasCorrection.FAST,
    )
    assert found.recipe
    parts = left(found)
    within = [n for n in model.get_ops() if n.get_friendly_name() in parts[FloatPart.ATTENTION]]
    # OpenVINO keeps torch's attention whole; ONNX has two products around a softmax.
    fused, product = "ScaledDotProductAttention", "MatMul"
    whole = [node.get_type_name() for node in within if node.get_type_name() in (fused, product)]
    assert whole == ([product] * 2 if way == "onnx" else [fused])
    softmax = {"Softmax"} if way == "onnx" else {fused}
    assert {"TopK", "GatherElements", "MatMul", *softmax} <= kinds(model, parts[FloatPart.DECODER])
    quantized = [
        node.get_type_name()
        for node in model.get_ops()
        if node.get_friendly_name() not in found.ignored
    ]
    assert quantized.count("Convolution") == 4
    # queries, keys, values and output of the encoder's attention, and its two hidden layers
    assert quantized.count("MatMul") == 6
    assert "Softmax" not in quantized
    assert "attention, " in found.params()["left_in_float"]
    assert "products of queries" in found.params()["left_in_float"]


def test_attention_that_torch_keeps_whole_is_found():
    rng = np.random.default_rng(0)
    tokens = op.parameter([1, 16, 8], np.float32)
    query, key, value = (linear(tokens, 8, rng) for _ in range(3))
    attention = op.scaled_dot_product_attention(query, key, value)
    attention.set_friendly_name("whole")
    head = linear(attention, 6, rng)
    head.set_friendly_name("head")
    found = read_plan(ov.Model([head.output(0)], [tokens], "encoder"))
    assert left(found) == {FloatPart.ATTENTION: {"whole"}, FloatPart.DECODING: {"head"}}
    assert found.model_type is ModelType.TRANSFORMER


def test_a_decoder_begins_where_learned_queries_ask():
    """As in the first DETR: nothing is chosen, and convolutions follow the decoder."""
    rng = np.random.default_rng(0)
    cells = op.parameter([1, 16, 8], np.float32)
    encoded = linear(cells, 8, rng)
    encoded.set_friendly_name("encoded")
    learned = op.constant(rng.normal(size=(1, 4, 8)).astype(np.float32))
    scores = op.matmul(learned, linear(encoded, 8, rng), False, True)
    answer = op.matmul(op.softmax(scores, 2), linear(encoded, 8, rng), False, False)
    answer.set_friendly_name("answer")
    boxes = convolved(op.reshape(answer, np.array([1, 4, 8, 1]), False), 4, rng)
    boxes.set_friendly_name("boxes")
    within = op.relu(convolved(op.reshape(encoded, np.array([1, 16, 8, 1]), False), 4, rng))
    model = ov.Model([boxes.output(0), within.output(0)], [cells], "detr")
    found = read_plan(model)
    assert {"answer", "boxes"} <= left(found)[FloatPart.DECODER]
    assert "encoded" not in found.ignored


def test_attention_among_convolutions_does_not_make_a_transformer():
    """As in YOLO11: queries, keys and values are made by a convolution, and one follows."""
    rng = np.random.default_rng(0)
    image = op.parameter([1, 3, 4, 4], np.float32)
    query, key, value = (
        op.reshape(convolved(image, 8, rng), np.array([1, 1, 8, 16]), False) for _ in range(3)
    )
    scores = op.multiply(op.matmul(query, key, True, False), op.constant(np.float32(0.3)))
    scores.set_friendly_name("scaled")
    answer = op.matmul(value, op.softmax(scores, 3), False, True)
    answer.set_friendly_name("answer")
    out = convolved(op.reshape(answer, np.array([1, 8, 4, 4]), False), 8, rng)
    found = read_plan(ov.Model([op.sigmoid(out).output(0)], [image], "yolo"))
    assert (found.model_type, found.bias_correction) == (ModelType.CNN, BiasCorrection.EXACT)
    assert {"scaled", "answer"} <= left(found)[FloatPart.ATTENTION]
    assert found.recipe


def test_names_do_not_matter(tmp_path):
    """The same graph with other names, and without any of attention or decoders."""
    model = exported("onnx", tmp_path)
    before = read_plan(model)
    renamed = {}
    for index, node in enumerate(model.get_ordered_ops()):
        renamed[node.get_friendly_name()] = f"n{index}"
        node.set_friendly_name(f"n{index}")
    after = read_plan(model)
    assert {part: {renamed[name] for name in names} for part, names in left(before).items()} == (
        left(after)
    )


def test_a_graph_without_anything_to_quantize_is_read():
    image = op.parameter([1, 3, 4, 4], np.float32)
    found = read_plan(ov.Model([op.relu(image).output(0)], [image], "bare"))
    assert found.ignored == []
    assert found.recipe == ""


EXPORTS = Path("tests/foreign_exports")
TRANSFORMERS = {
    "rtdetrv2-deploy": {FloatPart.ATTENTION, FloatPart.DECODER},
    # Its encoder samples places, too.
    "transformers-deformable-detr": {FloatPart.DECODER},
    "transformers-detr": {FloatPart.ATTENTION, FloatPart.DECODER},
    "transformers-dfine": {FloatPart.ATTENTION, FloatPart.DECODER},
    "transformers-rtdetrv2": {FloatPart.ATTENTION, FloatPart.DECODER},
    "ultralytics-rtdetr": {FloatPart.ATTENTION, FloatPart.DECODER},
}
ATTENDING = {FloatPart.ATTENTION, FloatPart.DECODING}
CNNS = {
    "ultralytics-yolo11-nms": ATTENDING | {FloatPart.DISTRIBUTION},
    "ultralytics-yolo26-end2end": ATTENDING,
    "ultralytics-yolov10": ATTENDING | {FloatPart.DISTRIBUTION},
    "ultralytics-yolov5u": {FloatPart.DECODING, FloatPart.DISTRIBUTION},
    "ultralytics-yolov8": {FloatPart.DECODING, FloatPart.DISTRIBUTION},
}


@pytest.mark.parametrize("name", [*TRANSFORMERS, *CNNS])
def test_real_exports_are_understood(name):
    model = ov.Core().read_model(EXPORTS / f"{name}.onnx")
    found = read_plan(model)
    assert set(left(found)) == {**TRANSFORMERS, **CNNS}[name]
    assert found.model_type is (ModelType.TRANSFORMER if name in TRANSFORMERS else ModelType.CNN)
    assert bool(found.recipe) == (FloatPart.ATTENTION in left(found) or name in TRANSFORMERS)
    quantized = [node for node in model.get_ops() if node.get_friendly_name() not in found.ignored]
    # Whatever lies between its softmax and its products, all of attention stays in float.
    after = follow(model.get_parameters())
    products = [
        node.get_friendly_name()
        for node in quantized
        if node.get_type_name() == "MatMul"
        and all(name_of(entry) in after for entry in node.inputs())
    ]
    assert products == []
    convolutions = [n for n in model.get_ops() if n.get_type_name() == "Convolution"]
    kept = [n for n in convolutions if n.get_friendly_name() in found.ignored]
    # All but the mean of the bins.
    assert len(kept) <= 1 < len(convolutions)


def name_of(entry):
    return entry.get_source_output().get_node().get_friendly_name()


def follow(starts):
    """The names of all that depends on a picture's values."""
    reached, waiting = set(), list(starts)
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in reached and node.get_type_name() != "ShapeOf":
            reached.add(node.get_friendly_name())
            waiting += [t.get_node() for o in node.outputs() for t in o.get_target_inputs()]
    return reached
