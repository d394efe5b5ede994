"""Refuses a graph in which an image could cause far more time or memory than others.

A trial on a few frames shows the cost that all frames have. It does not show what depends on the
image: how often a loop runs, how large a tensor becomes, which branch is taken.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.foreign import describe_port

_NO_TENSOR = ("Constant", "Result")
# Their output has no more elements than their first input, though OpenVINO may lose its bounds.
_NEVER_LARGER = ("Reshape", "Squeeze", "Unique")


def refuse_unbounded(model: ov.Model, path: str, max_bytes: int) -> None:
    """Refuse a graph whose cost per frame has no acceptable upper bound.

    The shape of its input must be fixed. `max_bytes` limits all tensors together whose size depends
    on the image.

    Raises:
        ModelInvalid: The image decides how often a loop runs, or tensors may exceed the limit.
    """
    total, largest, what = 0, 0, ""
    for op, in_branch in _all_ops(_with_bounds(model)):
        if op.get_type_name() == "Loop" and op.get_num_iterations() < 0:
            raise _unbounded_loop(path)
        if op.get_type_name() in _NO_TENSOR:
            continue
        for port in op.outputs():
            if not in_branch and port.get_partial_shape().is_static:
                continue
            size = _max_tensor_bytes(port)
            if size is None:
                raise _unbounded_size(path, _describe_output(op, port))
            total += size
            if size > largest:
                largest, what = size, _describe_output(op, port)
    if total > max_bytes:
        raise _too_large(path, total, max_bytes, what)


def _all_ops(model: ov.Model, *, in_branch: bool = False) -> Iterator[tuple[Any, bool]]:
    """All ops, also in loops and branches, and whether each one is in a branch."""
    op: Any
    for op in model.get_ordered_ops():
        yield op, in_branch
        kind = op.get_type_name()
        if kind in ("Loop", "TensorIterator"):
            yield from _all_ops(op.get_function(), in_branch=in_branch)
        elif kind == "If":
            for branch in range(2):
                yield from _all_ops(op.get_function(branch), in_branch=True)


def _with_bounds(model: ov.Model) -> ov.Model:
    """Return a copy in which shapes have bounds that OpenVINO's shape inference loses.

    An op that loses them is replaced by an input of its largest possible shape.
    """
    copy = model.clone()
    while lost := [(op, ports) for op in copy.get_ordered_ops() if (ports := _largest_shapes(op))]:
        for op, ports in lost:
            # Its sources must stay in the copy: they are counted, too.
            copy.add_results([ops.result(source) for source in op.input_values()])
            for port, shape in zip(op.outputs(), ports, strict=True):
                largest = ops.parameter(shape, port.get_element_type(), op.get_friendly_name())
                port.replace(largest.output(0))
                copy.add_parameters([largest])
        copy.validate_nodes_and_infer_types()
    return copy


def _largest_shapes(op: Any) -> list[ov.PartialShape]:
    """The largest output shapes of an op that lost its bounds; empty if it did not."""
    kind = op.get_type_name()
    if kind not in (*_NEVER_LARGER, "Range") or None not in map(_max_elements, op.outputs()):
        return []
    most = _max_range_length(op) if kind == "Range" else _max_elements(op.input_value(0))
    if most is None:
        return []
    shapes = [port.get_partial_shape() for port in op.outputs()]
    if any(shape.rank.is_dynamic for shape in shapes):
        if kind != "Squeeze":
            return []
        # It does not say which dimensions of size 1 it removes.
        given = op.input_value(0).get_partial_shape()
        shapes = [[size for size in given if size.is_dynamic or size.get_length() != 1]]
    return [_bounded(shape, most) for shape in shapes]


def _bounded(shape: Iterable[ov.Dimension], most: int) -> ov.PartialShape:
    return ov.PartialShape(
        [ov.Dimension(0, most) if size.get_max_length() < 0 else size for size in shape]
    )


def _max_range_length(op: Any) -> int | None:
    """The largest length of a Range that counts upwards to a bounded size; None if unknown."""
    begin, end, step = op.input_values()
    for port, least in ((begin, 0), (step, 1)):
        node = port.get_node()
        if node.get_type_name() != "Constant" or node.data.item() < least:
            return None
    if end.get_element_type().get_type_name() not in ("i32", "i64"):
        return None
    return _max_elements(ops.broadcast(np.int64(0), ops.unsqueeze(end, 0)).output(0))


def _max_tensor_bytes(port: ov.Output) -> int | None:
    """The largest size of a tensor in bytes; None if it has no bound."""
    most, element = _max_elements(port), port.get_element_type()
    return None if most is None or element.is_dynamic() else most * element.size


def _max_elements(port: ov.Output) -> int | None:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    longest = [size.get_max_length() for size in shape]
    return None if min(longest, default=0) < 0 else math.prod(longest)


def _describe_output(op: ov.Node, port: ov.Output) -> str:
    kind = op.get_type_name()
    return describe_port(port) if kind == "Parameter" else f"{kind} {describe_port(port)}"


def _unbounded_loop(path: str) -> ModelInvalid:
    return ModelInvalid(
        f"{path} contains a loop that runs as often as the image decides, so the time for a frame "
        "has no limit.",
        remedy="Export it without loops and without non-maximum suppression.",
        file=path,
    )


def _unbounded_size(path: str, what: str) -> ModelInvalid:
    return ModelInvalid(
        f"{path} contains a tensor whose size depends on the image, without an upper bound: "
        f"{what}. The memory for a frame has no limit.",
        remedy="Export it with a fixed number of boxes, or without non-maximum suppression.",
        file=path,
    )


def _too_large(path: str, total: int, max_bytes: int, largest: str) -> ModelInvalid:
    gib, most = total / 2**30, max_bytes / 2**30
    return ModelInvalid(
        f"{path} contains tensors whose size depends on the image, of up to {gib:.1f} GiB "
        f"together; at most {most:g} are allowed. The largest is {largest}.",
        remedy="Export it without non-maximum suppression, or with a limit on the boxes that it "
        f"compares. If you trust the file: --max-memory-gib {math.ceil(gib)}",
        file=path,
        memory_gib=gib,
    )
