"""Writes small ONNX files that need more memory or time than a machine has."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
NAMES = "['person', 'helmet', 'vest']"


def save(path: Path, nodes, constants) -> Path:
    """Save a graph from `images` to `output0` (1, 7, 9).

    Nodes may use `row`, the mean of the images (1, 1, 1), and `table`, (1, 7, 9) of 0.4.
    """
    constants = {"one": np.array([1, 1, 1]), "table": np.full((1, 7, 9), 0.4, "f4"), **constants}
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Reshape", ["mean", "one"], ["row"]),
            *nodes,
        ],
        "bomb",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 7, 9])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": NAMES})
    onnx.save(model, path)
    return path


def harmless(path: Path) -> Path:
    return save(path, [helper.make_node("Add", ["row", "table"], ["output0"])], {})


def loop(path: Path, rounds: int | None) -> Path:
    """Add zeros in a loop; without `rounds` the brightness of the image decides how often."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["x", "step"], ["y"]),
            helper.make_node("Identity", ["goes"], ["on"]),
        ],
        "body",
        [
            value("round", TensorProto.INT64, []),
            value("goes", TensorProto.BOOL, []),
            value("x", TensorProto.FLOAT, [1, 1, 1]),
        ],
        [value("on", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, [1, 1, 1])],
        [numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "step")],
    )
    counted = [
        helper.make_node("Mul", ["row", "many"], ["bright"]),
        helper.make_node("Reshape", ["bright", "scalar"], ["count"]),
        helper.make_node("Cast", ["count"], ["rounds"], to=TensorProto.INT64),
    ]
    nodes = [
        helper.make_node("Loop", ["rounds", "true", "row"], ["sum"], body=body),
        helper.make_node("Add", ["sum", "table"], ["output0"]),
    ]
    constants = {"true": np.bool_(True)}
    if rounds is None:
        more = {"many": np.float32(1e18), "scalar": np.array([], np.int64)}
        return save(path, counted + nodes, constants | more)
    return save(path, nodes, constants | {"rounds": np.int64(rounds)})


def filled(path: Path, side: int) -> Path:
    """Add the mean of a square of zeros, which is generated at run time."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceMean", ["zeros"], ["none"], axes=[0, 1], keepdims=0),
        helper.make_node("Add", ["row", "none"], ["sum"]),
        helper.make_node("Add", ["sum", "table"], ["output0"]),
    ]
    return save(path, nodes, {"shape": np.array([side, side])})


def tiled(path: Path, times: int) -> Path:
    """Average a tensor that repeats the image's mean."""
    nodes = [
        helper.make_node("Tile", ["row", "times"], ["tiles"]),
        helper.make_node("ReduceMean", ["tiles"], ["same"], axes=[0, 1, 2], keepdims=1),
        helper.make_node("Add", ["same", "table"], ["output0"]),
    ]
    return save(path, nodes, {"times": np.array([1, times, times])})


def matched(path: Path) -> Path:
    """Count similar pairs of pixels, but only in an image that is nearly white."""
    nodes = [
        helper.make_node("Greater", ["mean", "white"], ["is white"]),
        helper.make_node("Cast", ["is white"], ["factor"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["images", "factor"], ["seen"]),
        helper.make_node("NonZero", ["seen"], ["where"]),
        helper.make_node("Cast", ["where"], ["places"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["places"], ["rows"], perm=[1, 0]),
        helper.make_node("MatMul", ["rows", "places"], ["pairs"]),
        helper.make_node("Greater", ["pairs", "white"], ["alike"]),
        helper.make_node("NonZero", ["alike"], ["found"]),
        helper.make_node("ReduceSum", ["found", "both"], ["count"], keepdims=0),
        helper.make_node("Cast", ["count"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "nothing"], ["none"]),
        helper.make_node("Add", ["none", "table"], ["output0"]),
    ]
    constants = {"white": np.float32(0.95), "both": np.array([0, 1]), "nothing": np.float32(0)}
    return save(path, nodes, constants)
