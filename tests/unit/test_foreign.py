import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir import foreign
from guardianflow.vision.ir.foreign import open_foreign
from guardianflow.vision.ir.onnx_file import read_header
from guardianflow.vision.ir.reading import match_classes

WEIGHTS = np.arange(7 * 9, dtype=np.float32).reshape(1, 7, 9)


def write(path, metadata=None, *, location=None, node=None, domain="", **model):
    """The smallest model with an input of images and an output of boxes."""
    tensor = numpy_helper.from_array(WEIGHTS, "weights")
    if location is not None:
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "one"], ["row"]),
        node or helper.make_node("Add", ["row", "weights"], ["output0"]),
    ]
    built = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 7, 9])],
        [tensor, numpy_helper.from_array(np.array([1, 1, 1]), "one")],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    proto = helper.make_model(built, opset_imports=opsets, ir_version=8, **model)
    helper.set_model_props(proto, {k: str(v) for k, v in (metadata or {}).items()})
    path.write_bytes(proto.SerializeToString())
    return path


def test_what_an_onnx_file_says_of_itself_is_known(tmp_path):
    path = write(
        tmp_path / "best.onnx",
        {"names": {0: "person", 1: "it's"}, "imgsz": [320, 320], "license": "AGPL-3.0"},
        producer_name="pytorch",
        producer_version="2.13.0",
    )
    found = open_foreign(path)
    assert (found.producer, found.opset, found.format) == ("pytorch 2.13.0", 17, "onnx")
    assert (found.names, found.side, found.licence) == (("person", "it's"), (320, 320), "AGPL-3.0")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.describe() == (
        f"{path} has inputs images f32 (1, 3, 32, 32) and outputs output0 f32 (1, 7, 9)"
    )


def test_names_of_a_stranger_are_shown_shortened(tmp_path):
    found = open_foreign(write(tmp_path / "best.onnx"))
    found.model.output(0).set_names({"x" * 1_000_000})
    found.model.add_outputs([node.output(0) for node in found.model.get_ops()[:-1]] * 3)
    assert "xxx..." in found.describe()
    assert len(found.describe()) < 4_000


def test_an_ir_made_of_an_onnx_file_still_says_it(tmp_path):
    write(tmp_path / "best.onnx", {"names": ["person", "helmet"], "imgsz": 640})
    ov.save_model(ov.Core().read_model(tmp_path / "best.onnx"), tmp_path / "best.xml")
    found = open_foreign(tmp_path / "best.xml")
    assert (found.names, found.side, found.format) == (("person", "helmet"), (640, 640), "openvino")


def test_what_lies_beside_an_ir_is_read_and_the_weights_count(tmp_path):
    write(tmp_path / "best.onnx")
    ov.save_model(ov.Core().read_model(tmp_path / "best.onnx"), tmp_path / "best.xml")
    (tmp_path / "metadata.yaml").write_text("names: {1: helmet, 0: person}\ntask: detect\n")
    found = open_foreign(tmp_path / "best.xml")
    assert found.names == ("person", "helmet")
    weights = tmp_path / "best.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert open_foreign(tmp_path / "best.xml").sha256 != found.sha256


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'person', 1: 'helmet'}", ("person", "helmet")),
        ('{"1": "helmet", "0": "person"}', ("person", "helmet")),
        ('["작업자", "helmet"]', ("작업자", "helmet")),
        ("person, helmet", ("person", "helmet")),
        ("('person')", ("person",)),
        ('"person"', ("person",)),
        ("", ()),
    ],
)
def test_names_are_read_in_the_forms_that_trainers_write(text, names, tmp_path):
    assert open_foreign(write(tmp_path / "best.onnx", {"names": text})).names == names


@pytest.mark.parametrize(
    "text",
    [
        "{0: 'person', 2: 'helmet'}",
        "{0: __import__('os').system('touch /tmp/owned')}",
        "[" * 20_000,
        "{0: 'person'",
        "['x', " * 30_000,
        "(lambda: 0)()",
        "[1] * 10**9",
        "(1)",
        "3",
        "{'person', 'helmet'}",
        "['person', ['helmet']]",
        "(None)",
    ],
)
def test_names_that_are_no_names_are_refused_and_never_run(text, tmp_path):
    with pytest.raises(ModelInvalid, match=r"class names .* cannot be read") as refused:
        open_foreign(write(tmp_path / "best.onnx", {"names": text}))
    assert "--classes" in refused.value.remedy
    # and what the remedy names helps
    path = tmp_path / "best.onnx"
    assert open_foreign(path, classes=("person", "helmet")).names == ("person", "helmet")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(1)", "is a number"),
        ("{'a', 'b'}", "is a set, which has no order"),
        ("{0: 'a', '0': 'b'}", "has an index twice"),
    ],
)
def test_why_names_cannot_be_read_is_said(text, said, tmp_path):
    with pytest.raises(ModelInvalid, match=said):
        open_foreign(write(tmp_path / "best.onnx", {"names": text}))


def test_a_name_that_is_no_utf_8_is_asked_to_be_another(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.onnx"))
    write(path)
    with pytest.raises(ModelInvalid, match=r"is not UTF-8") as refused:
        open_foreign(path)
    assert "Rename" in refused.value.remedy
    assert str(refused.value).encode()


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ('{"label_names": ["no helmet", "person"]}', ("no helmet", "person")),
        ("[1]", ("no_helmet", "person")),
        ("{broken", ("no_helmet", "person")),
        ('{"label_names": 3}', ("no_helmet", "person")),
        (None, ("no_helmet", "person")),
    ],
)
def test_names_are_read_from_model_info(told, names, tmp_path):
    info = {"model_info labels": "no_helmet person"}
    if told:
        info["model_info label_info"] = told
    assert open_foreign(write(tmp_path / "best.onnx", info)).names == names


def test_a_side_of_thousands_of_digits_is_none(tmp_path):
    assert open_foreign(write(tmp_path / "best.onnx", {"imgsz": "9" * 5000})).side is None


def test_a_suffix_may_be_in_capitals(tmp_path):
    assert open_foreign(write(tmp_path / "BEST.ONNX")).format == "onnx"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("best.pt", b"PK\x03\x04rest", "zip archive, as torch.save writes"),
        ("best.pth", pickle.dumps({"epoch": 1}), "is a pickle"),
        ("renamed.onnx", pickle.dumps({"epoch": 1}), "is a pickle"),
        ("renamed.onnx", b"PK\x03\x04rest", "zip archive"),
        ("best.h5", b"\x89HDF\r\n", "an HDF5 file"),
        ("best.engine", b"ftrt", "neither a .onnx file nor the .xml"),
    ],
)
def test_what_could_run_code_is_never_opened_and_the_way_to_onnx_is_named(
    name, content, said, tmp_path
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelInvalid, match=said) as refused:
        open_foreign(tmp_path / name)
    assert "Export it to ONNX" in refused.value.remedy


def test_a_pointer_of_git_lfs_is_told(tmp_path):
    (tmp_path / "best.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha")
    with pytest.raises(ModelInvalid, match="pointer") as refused:
        open_foreign(tmp_path / "best.onnx")
    assert "git lfs pull" in refused.value.remedy


def test_pipes_and_devices_are_no_files_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "zero.onnx"):
        with pytest.raises(ModelInvalid, match=f"{name} is not a file"):
            open_foreign(tmp_path / name)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ModelInvalid, match="There is no file"):
        open_foreign(tmp_path / "best.onnx")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08", b"\x00" * 100])
def test_what_is_no_onnx_is_said(content, tmp_path):
    (tmp_path / "best.onnx").write_bytes(content)
    with pytest.raises(ModelInvalid, match="not an ONNX model"):
        open_foreign(tmp_path / "best.onnx")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = write(tmp_path / "whole.onnx").read_bytes()
    for length in range(0, len(whole) - 1, 37):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        with pytest.raises(ModelInvalid):
            open_foreign(tmp_path / "cut.onnx")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_header_or_an_error_of_ours(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelInvalid):
        read_header(path)


def test_weights_may_lie_beside_the_file_and_count(tmp_path):
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    path = write(tmp_path / "best.onnx", location="w.bin")
    found = open_foreign(path)
    assert found.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "w.bin").write_bytes((WEIGHTS + 1).tobytes())
    assert open_foreign(path).sha256 != found.sha256


@pytest.mark.parametrize(
    "place", ["../outside.bin", "{absolute}", "link.bin", "sub/../../outside.bin"]
)
def test_weights_outside_of_the_folder_are_refused(place, tmp_path):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(WEIGHTS.tobytes())
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "link.bin").symlink_to(outside)
    path = write(folder / "best.onnx", location=place.format(absolute=outside))
    with pytest.raises(ModelInvalid, match="outside its own folder"):
        open_foreign(path)
    # and if that check were gone, OpenVINO would still refuse
    with pytest.raises(RuntimeError, match="outside the base directory"):
        ov.Core().read_model(path)


@pytest.mark.parametrize("place", ["a\0b", "a" * 5000, "/".join(["a" * 200] * 30)])
def test_a_place_that_can_be_no_file_is_refused(place, tmp_path):
    with pytest.raises(ModelInvalid, match="which cannot be a file"):
        open_foreign(write(tmp_path / "best.onnx", location=place))


def test_an_empty_place_is_no_file(tmp_path):
    with pytest.raises(ModelInvalid, match="no such file beside"):
        open_foreign(write(tmp_path / "best.onnx", location=""))


def test_weights_of_a_graph_within_a_graph_are_found_too(tmp_path):
    tensor = numpy_helper.from_array(WEIGHTS, "inner")
    onnx.external_data_helper.set_external_data(tensor, "../outside.bin")
    tensor.ClearField("raw_data")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7, 9])
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["y"])], "branch", [], [output], [tensor]
    )
    node = helper.make_node("If", ["row"], ["output0"], then_branch=branch, else_branch=branch)
    (tmp_path / "outside.bin").write_bytes(b"x")
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelInvalid, match="outside its own folder"):
        open_foreign(write(tmp_path / "model" / "best.onnx", node=node))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelInvalid, match=r"'w\.bin', but there is no such file"):
        open_foreign(write(tmp_path / "best.onnx", location="w.bin"))
    (tmp_path / "best.xml").write_text("<net/>")
    with pytest.raises(ModelInvalid, match=r"no best\.bin beside it"):
        open_foreign(tmp_path / "best.xml")


def test_an_operation_that_nobody_knows_is_named(tmp_path):
    node = helper.make_node("Frobnicate", ["row", "weights"], ["output0"], domain="my.ops")
    path = write(tmp_path / "best.onnx", node=node, domain="my.ops")
    with pytest.raises(ModelInvalid, match=r"my\.ops\.Frobnicate") as refused:
        open_foreign(path)
    assert "Custom operations are not supported" in refused.value.remedy


def test_a_damaged_ir_is_refused(tmp_path):
    (tmp_path / "best.xml").write_text("<net name='x' version='11'><layers><layer")
    (tmp_path / "best.bin").write_bytes(b"")
    with pytest.raises(ModelInvalid, match="OpenVINO cannot read"):
        open_foreign(tmp_path / "best.xml")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "best.onnx")
    monkeypatch.setattr(foreign, "MAX_BYTES", path.stat().st_size - 1)
    monkeypatch.setattr(foreign, "read_header", None)
    with pytest.raises(ModelInvalid, match="at most 0 are allowed"):
        open_foreign(path)


def test_a_sparse_file_of_40_gib_is_refused_by_its_size(tmp_path):
    path = tmp_path / "best.onnx"
    with path.open("wb") as file:
        file.truncate(40 * 2**30)
    with pytest.raises(ModelInvalid, match="have 40960 MiB"):
        open_foreign(path)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("segment", "segmentation"),
        ("classify", "classification"),
        ("pose", "pose"),
        ("obb", "rotated"),
    ],
)
def test_a_model_for_another_task_is_named(task, said, tmp_path):
    with pytest.raises(ModelInvalid, match=f"model for {said}"):
        open_foreign(write(tmp_path / "best.onnx", {"task": task}))


def test_classes_are_matched_by_name_whatever_their_order():
    names = ("vest", "Hard-Hat", "Person ", "no helmet")
    assert match_classes(names, ("person", "no_helmet"), {}, "x") == (2, 3)
    assert match_classes(names, ("helmet",), {"helmet": "Hard-Hat"}, "x") == (1,)


def test_an_exact_name_goes_before_one_that_only_looks_alike():
    assert match_classes(("Person", "person"), ("person",), {}, "x") == (1,)


@pytest.mark.parametrize(
    ("names", "mapping", "said"),
    [
        (("worker", "helmet"), {}, "no class 'person', which the scenario wants as 'person'"),
        (("worker", "helmet"), {"person": "man"}, "no class 'man', which"),
        (("person", "person", "helmet"), {}, "'person' more than once"),
        (
            ("person", "helmet"),
            {"helmet": "person"},
            "only once, but the scenario wants it twice",
        ),
        (("person", "helmet"), {"mask": "person"}, "the scenario has no class 'mask'"),
    ],
)
def test_a_class_that_cannot_be_told_is_asked_for(names, mapping, said):
    with pytest.raises(ModelInvalid, match=said) as refused:
        match_classes(names, ("person", "helmet"), mapping, "x.onnx")
    assert "--map" in refused.value.remedy


def test_opening_a_file_loads_neither_torch_nor_onnx_nor_ultralytics(tmp_path):
    path = write(tmp_path / "best.onnx")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from guardianflow.vision.ir.foreign import open_foreign\n"
        f"open_foreign(Path({str(path)!r}))\n"
        "print([m for m in ('torch', 'onnx', 'ultralytics', 'pickle5') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
