"""A detector built as RT-DETR is, quantized as its graph says, and as a CNN."""

import numpy as np
import openvino as ov
import pytest
from PIL import Image

from guardianflow.errors import QuantizationUnfit
from guardianflow.lifecycle.quantization import variants
from guardianflow.scenario import QuantizationSettings
from guardianflow.vision.data.dataset import Dataset
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.int8_plan import BiasCorrection, FloatPart, Int8Plan, ModelType
from tests import small_detr


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    model = ov.Core().read_model(small_detr.FILE)
    ir.describe(model, classes=small_detr.CLASSES, precision="fp32")
    return ir.save(model, tmp_path_factory.mktemp("fp32"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(7)

    def sample(index):
        frame, boxes, classes = small_detr.draw(random)
        Image.fromarray(frame).save(folder / f"{index}.png")
        size = (small_detr.SIDE, small_detr.SIDE)
        return Sample(folder / f"{index}.png", boxes, np.array(classes, np.int64), size)

    samples = [sample(index) for index in range(96)]
    splits = {"train": samples[:32], "val": samples[32:80], "test": samples[80:]}
    named = {key: tuple(value) for key, value in splits.items()}
    return Dataset(folder, small_detr.CLASSES, named, "")


def make(fp32, dataset, folder):
    settings = QuantizationSettings(calibration_images=32, preset="mixed")
    return variants.make_int8(settings, fp32, dataset, folder, lambda *_: None)


def test_a_transformer_keeps_its_accuracy_and_says_what_was_left_in_float(fp32, dataset, tmp_path):
    folder, making = make(fp32, dataset, tmp_path)
    assert making.kept.map50_95 > 0.7
    assert abs(making.kept.drop) < 0.015
    assert making.kept.agreement > 0.95
    assert {left.part for left in making.plan.left_in_float} == {
        FloatPart.ATTENTION,
        FloatPart.DECODER,
    }
    quantized = ov.Core().read_model(folder / ir.FILE)
    weights = [n for n in quantized.get_ops() if n.get_output_element_type(0) == ov.Type.i8]
    # four convolutions, and the six products with weights in the encoder
    assert len([node for node in weights if node.get_type_name() == "Constant"]) == 10


def test_a_transformer_that_is_quantized_as_a_cnn_collapses_and_is_refused(
    fp32, dataset, tmp_path, monkeypatch
):
    cnn = Int8Plan(model_type=ModelType.CNN, bias_correction=BiasCorrection.FAST, left_in_float=())
    monkeypatch.setattr(compression, "read_plan", lambda _: cnn)
    with pytest.raises(QuantizationUnfit, match="Nothing was registered") as refused:
        make(fp32, dataset, tmp_path)
    figures = refused.value.data
    assert figures["agreement"] < 0.2
    assert figures["map50_95"] < 0.2
    assert figures["drop"] > 0.5
    assert f"{figures['agreement']:.0%}" in refused.value.message


def test_the_file_is_the_network_that_stands_beside_it(fp32):
    """Other operations than `small_detr.py` exports would mean that one of them is stale."""
    network = small_detr.SmallDetr()
    shapes = sorted(tuple(one.shape) for one in network.parameters() if one.dim() == 4)
    model = ov.Core().read_model(fp32 / ir.FILE)
    kept = sorted(
        tuple(node.input_value(1).get_shape())
        for node in model.get_ops()
        if node.get_type_name() == "Convolution"
    )
    assert kept == shapes
