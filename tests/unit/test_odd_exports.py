"""Files that are odd or hostile: each is read rightly, or refused with its value and a remedy."""

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.adaptation import adapt
from guardianflow.vision.ir.confinement import read_confined
from guardianflow.vision.ir.foreign import open_foreign
from guardianflow.vision.ir.layouts import choose_layout
from guardianflow.vision.ir.layouts.parts import Heads
from guardianflow.vision.ir.layouts.protocol import InputSize, OutputSpec, Port
from guardianflow.vision.ir.reading import (
    LayoutName,
    OpenQuestion,
    Placement,
    Reading,
    match_classes,
)
from tests.unit.test_confinement import request

SIZE, CLASSES = 64, ("helmet", "person")
NUMBERS = np.random.default_rng(0).uniform(0.1, 0.9, (1, 20, 6)).astype(np.float32)


def write(path, outputs=None, sizes=None, metadata=None):
    """An ONNX file that gives these tables for any image; `sizes` is a second input."""
    outputs = {"output0": NUMBERS.transpose(0, 2, 1)} if outputs is None else outputs
    inputs = {"images": (TensorProto.FLOAT, [1, 3, SIZE, SIZE]), **(sizes or {})}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(helper.make_node("Add", [f"{name} values", "nothing"], [name]) for name in outputs),
    ]
    values = {"zero": np.float32(0), **{f"{name} values": one for name, one in outputs.items()}}
    built = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(one), name) for name, one in values.items()],
    )
    proto = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(proto, metadata or {})
    onnx.save(proto, path)
    return path


def read(path, classes=CLASSES, **said):
    rows = tuple(range(len(classes)))
    return adapt(open_foreign(path, classes=classes), rows, Reading(size=SIZE, **said))


@pytest.mark.parametrize("placement", list(Placement))
def test_an_ir_of_ours_keeps_the_placement_that_it_was_made_for(placement, tmp_path):
    adapted = read(write(tmp_path / "best.onnx"), placement=placement)
    ir.describe(
        adapted.model, classes=CLASSES, precision="fp32", geometry=(SIZE, SIZE, adapted.placement)
    )
    again = read(ir.save(adapted.model, tmp_path / "ir") / ir.FILE)
    assert (again.family, again.placement, again.questions) == ("guardianflow", placement, ())


def test_an_ir_of_ours_with_a_geometry_that_there_is_not_is_refused(tmp_path):
    adapted = read(write(tmp_path / "best.onnx"))
    ir.describe(adapted.model, classes=CLASSES, precision="fp32", geometry=(1, 1, "upside down"))
    with pytest.raises(ModelInvalid, match="'1 1 upside down'"):
        read(ir.save(adapted.model, tmp_path / "ir") / ir.FILE)


def test_outputs_like_ours_do_not_make_a_file_ours(tmp_path):
    outputs = {"boxes": NUMBERS[..., :4], "scores": NUMBERS[..., 4:]}
    adapted = read(write(tmp_path / "best.onnx", outputs, metadata={"placement": "nowhere"}))
    assert adapted.layout is LayoutName.CANONICAL
    assert OpenQuestion.PIXELS in adapted.questions


@pytest.mark.parametrize("shape", [[1, 5], [], [3], None])
@pytest.mark.parametrize("name", ["orig_target_sizes", "im_shape"])
def test_a_size_that_is_no_height_and_width_is_refused(name, shape, tmp_path):
    path = write(tmp_path / "best.onnx", sizes={name: (TensorProto.INT64, shape)})
    with pytest.raises(ModelInvalid, match=f"{name} i64 .* cannot be filled") as refused:
        read(path)
    assert str(path) in refused.value.message


def test_a_size_may_lack_the_batch(tmp_path):
    sizes = {"orig_target_sizes": (TensorProto.INT64, [2])}
    assert read(write(tmp_path / "best.onnx", sizes=sizes)).layout is LayoutName.RAW


def test_a_file_without_outputs_is_refused(tmp_path):
    with pytest.raises(ModelInvalid, match="and outputs none"):
        read(write(tmp_path / "best.onnx", {}))


@pytest.mark.parametrize("name", ["scores", "logits", "pred_classes"])
def test_scores_of_four_classes_are_not_taken_for_boxes(name):
    ports = [Port((1, 20, 4), name), Port((1, 20, 4), "output1")]
    spec = OutputSpec(ports, 4, InputSize(SIZE, SIZE))
    assert Heads().split(spec, ["first", "second"]).cells == "second"


def test_a_layout_that_is_said_and_does_not_fit_is_named_with_what_does():
    spec = OutputSpec([Port((1, 6, 84))], 2, InputSize(SIZE, SIZE))
    with pytest.raises(ModelInvalid, match="layout heads does not fit") as refused:
        choose_layout(spec, "best.onnx", LayoutName.HEADS)
    assert "raw (1, 4 + C, A)" in refused.value.remedy


@pytest.mark.parametrize(
    "values", ["nan nan nan", "inf 1 1", "1e308 1 1", "1e400 1 1", "1 2", "a b c"]
)
@pytest.mark.parametrize("key", ["mean_values", "scale_values"])
def test_pixels_that_cannot_be_are_tried_as_if_nothing_was_said(key, values, tmp_path):
    said = {"model_info resize_type": "standard", f"model_info {key}": values}
    assert OpenQuestion.PIXELS in read(write(tmp_path / "best.onnx", metadata=said)).questions


@pytest.mark.parametrize("values", ["0 0 0", "1 0 1", "-1 -1 -1"])
def test_nothing_is_divided_by_zero(values, tmp_path):
    said = {"model_info resize_type": "standard", "model_info scale_values": values}
    assert OpenQuestion.PIXELS in read(write(tmp_path / "best.onnx", metadata=said)).questions


def test_labels_of_megabytes_are_refused(tmp_path):
    said = {"model_info labels": "helmet " + "x" * 10_000_000}
    with pytest.raises(ModelInvalid, match="is too long"):
        open_foreign(write(tmp_path / "best.onnx", metadata=said))


def test_a_message_shows_no_endless_name():
    with pytest.raises(ModelInvalid) as refused:
        match_classes(["x" * 90_000], CLASSES, {}, "best.onnx")
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    "text", ["date: 2024-99-99", f"n: {'9' * 5000}", "x: !!timestamp zz", "x: !!bool zz"]
)
def test_yaml_that_only_its_parser_refuses_is_refused(text, tmp_path):
    model = ov.Core().read_model(write(tmp_path / "best.onnx"))
    ov.save_model(model, tmp_path / "best.xml")
    (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(ModelInvalid, match="is not YAML"):
        open_foreign(tmp_path / "best.xml")


def test_words_that_are_no_utf_8_are_shown_as_such(tmp_path):
    path = write(tmp_path / "best.onnx", metadata={"names": "QQQQ,person"})
    path.write_bytes(path.read_bytes().replace(b"QQQQ", b"\xff\xfe\xff\xff"))
    assert open_foreign(path).names == ("\ufffd" * 4, "person")


def test_a_port_whose_name_is_no_utf_8_is_refused_with_a_reason(tmp_path):
    path = write(tmp_path / "best.onnx")
    path.write_bytes(path.read_bytes().replace(b"images", b"\xff\xfeages"))
    with pytest.raises(ModelInvalid, match="not UTF-8"):
        read_confined(path, tmp_path / "read", request(classes=CLASSES))


def test_words_of_a_file_move_no_cursor(tmp_path):
    said = {"names": '["helmet\\u001b[2J", "person"]', "license": "MIT\nforged line"}
    found = open_foreign(write(tmp_path / "best.onnx", metadata=said))
    assert found.names == ("helmet[2J", "person")
    assert found.licence == "MIT forged line"


def test_an_onnx_file_that_is_called_xml_is_not_opened(tmp_path):
    write(tmp_path / "best.onnx").rename(tmp_path / "best.xml")
    (tmp_path / "best.bin").touch()
    with pytest.raises(ModelInvalid, match="is no XML"):
        open_foreign(tmp_path / "best.xml")
