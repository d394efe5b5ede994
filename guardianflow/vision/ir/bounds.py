"""Refuses a graph of which one picture could ask for far more time or memory than another.

What every frame takes, the few frames show on which it is tried. They do not show what a picture
decides: how often a loop runs, how large a tensor becomes, which branch is taken.
"""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.foreign import describe_port

if TYPE_CHECKING:
    import openvino as ov

_NOT_MADE = ("Constant", "Result")
# What has no more elements than its first input, though OpenVINO may lose the bounds of its shape.
_NO_MORE = ("Reshape", "Squeeze", "Unique")


def refuse_unbounded(model: "ov.Model", path: str, max_bytes: int) -> None:
    """Refuse what a few frames cannot show to be harmless.

    Args:
        model: The shape of its input is fixed.
        path: Of its file, for errors.
        max_bytes: What all tensors whose size a picture decides may have together.

    Raises:
        ModelInvalid: A loop runs as often as the picture says, or tensors grow as large.
    """
    total, largest, what = 0, 0, ""
    for op, chosen in _ops(_followed(model)):
        if op.get_type_name() == "Loop" and op.get_num_iterations() < 0:
            raise _open_loop(path)
        if op.get_type_name() in _NOT_MADE:
            continue
        for port in op.outputs():
            if not chosen and port.get_partial_shape().is_static:
                continue
            size = _most_bytes(port)
            if size is None:
                raise _open_size(path, _told(op, port))
            total += size
            if size > largest:
                largest, what = size, _told(op, port)
    if total > max_bytes:
        raise _too_large(path, total, max_bytes, what)


def _ops(model: "ov.Model", *, chosen: bool = False) -> Iterator[tuple[Any, bool]]:
    """All ops, also those within loops and branches, and whether a picture may leave them out."""
    for op in model.get_ordered_ops():
        within: Any = op
        yield within, chosen
        kind = op.get_type_name()
        if kind in ("Loop", "TensorIterator"):
            yield from _ops(within.get_function(), chosen=chosen)
        elif kind == "If":
            for branch in range(2):
                yield from _ops(within.get_function(branch), chosen=True)


def _followed(model: "ov.Model") -> "ov.Model":
    """A copy in which the bounds of shapes are known behind ops that lose them without need.

    Such an op is replaced by an input as large as it can become at most.
    """
    from openvino import opset13 as ops

    copy = model.clone()
    while lost := [(op, ports) for op in copy.get_ordered_ops() if (ports := _longest(op))]:
        for op, ports in lost:
            # What it is computed from has to stay in the copy, to be counted.
            copy.add_results([ops.result(source) for source in op.input_values()])
            for port, shape in zip(op.outputs(), ports, strict=True):
                largest = ops.parameter(shape, port.get_element_type(), op.get_friendly_name())
                port.replace(largest.output(0))
                copy.add_parameters([largest])
        copy.validate_nodes_and_infer_types()
    return copy


def _longest(op: Any) -> "list[ov.PartialShape]":
    """The largest shapes of the outputs of an op that lost their bounds; empty: it did not."""
    kind = op.get_type_name()
    if kind not in (*_NO_MORE, "Range") or None not in map(_most_elements, op.outputs()):
        return []
    most = _most_counted(op) if kind == "Range" else _most_elements(op.input_value(0))
    if most is None:
        return []
    shapes = [port.get_partial_shape() for port in op.outputs()]
    if any(shape.rank.is_dynamic for shape in shapes):
        if kind != "Squeeze":
            return []
        # It does not say which dimensions of one it takes away.
        given = op.input_value(0).get_partial_shape()
        shapes = [[size for size in given if size.is_dynamic or size.get_length() != 1]]
    return [_bounded(shape, most) for shape in shapes]


def _bounded(shape: "Iterable[ov.Dimension]", most: int) -> "ov.PartialShape":
    import openvino as ov

    return ov.PartialShape(
        [ov.Dimension(0, most) if size.get_max_length() < 0 else size for size in shape]
    )


def _most_counted(op: Any) -> int | None:
    """How long a Range that counts upwards can become, if its end is a bounded size."""
    from openvino import opset13 as ops

    begin, end, step = op.input_values()
    for port, least in ((begin, 0), (step, 1)):
        node = port.get_node()
        if node.get_type_name() != "Constant" or node.data.item() < least:
            return None
    if end.get_element_type().get_type_name() not in ("i32", "i64"):
        return None
    return _most_elements(ops.broadcast(np.int64(0), ops.unsqueeze(end, 0)).output(0))


def _most_bytes(port: "ov.Output") -> int | None:
    """What a tensor can have at most; None: it has no bound."""
    most, element = _most_elements(port), port.get_element_type()
    return None if most is None or element.is_dynamic() else most * element.size


def _most_elements(port: "ov.Output") -> int | None:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    longest = [size.get_max_length() for size in shape]
    return None if min(longest, default=0) < 0 else math.prod(longest)


def _told(op: "ov.Node", port: "ov.Output") -> str:
    kind = op.get_type_name()
    return describe_port(port) if kind == "Parameter" else f"{kind} {describe_port(port)}"


def _open_loop(path: str) -> ModelInvalid:
    return ModelInvalid(
        f"{path} holds a loop that runs as often as the picture tells it to: how long a frame "
        "takes cannot be known.",
        remedy="Export it without loops and without suppression inside.",
        file=path,
    )


def _open_size(path: str, what: str) -> ModelInvalid:
    return ModelInvalid(
        f"{path} holds a tensor whose size the picture decides, without an upper bound: {what}. "
        "How much memory a frame takes cannot be known.",
        remedy="Export it with a fixed number of boxes, or without suppression inside.",
        file=path,
    )


def _too_large(path: str, total: int, max_bytes: int, largest: str) -> ModelInvalid:
    gib, most = total / 2**30, max_bytes / 2**30
    return ModelInvalid(
        f"{path} holds tensors whose size the picture decides, of up to {gib:.1f} GiB together; "
        f"at most {most:g} are taken. The largest is {largest}.",
        remedy="Export it without suppression inside, or let it choose its best boxes before it "
        f"compares them. If you trust the file: --max-memory-gib {math.ceil(gib)}",
        file=path,
        memory_gib=gib,
    )
