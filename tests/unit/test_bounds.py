import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from openvino import opset15

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.bounds import refuse_unbounded
from tests import bombs

KIB, GIB = 2**10, 2**30
CELLS = 200


def beside(make):
    """A table beside a tensor that is made of the mean of a picture."""
    frames = ops.parameter([1, 3, 64, 64], np.float32, name="images")
    mean = ops.reduce_mean(frames, [0, 1, 2, 3])
    made = ops.reshape(ops.convert(make(mean), "f32"), [-1], special_zero=False)
    none = ops.multiply(ops.reduce_sum(made, [0]), np.float32(0))
    return ov.Model([ops.add(np.full((1, 7, 20), 0.4, np.float32), none)], [frames])


def refusal(model, gib=8.0):
    with pytest.raises(ModelInvalid) as refused:
        refuse_unbounded(model, "best.onnx", int(gib * GIB))
    assert refused.value.remedy
    return refused.value


def likely(mean):
    """Rows (1, 0 to 200) of the cells that are brighter than the picture."""
    cells = np.linspace(0, 1, CELLS, dtype=np.float32)
    return ops.non_zero(ops.greater(cells, mean), "i64")


def count(mean):
    return ops.gather(ops.shape_of(likely(mean)), 1, 0)


def tiles(mean):
    return ops.tile(ops.unsqueeze(mean, 0), ops.unsqueeze(ops.convert(mean, "i64"), 0))


def counted(mean):
    return ops.range(np.int64(0), ops.convert(mean, "i64"), np.int64(1), "i64")


def counted_down(mean):
    return ops.range(np.int64(2**40), count(mean), np.int64(-1), "i64")


def one_branch_of_two(mean):
    """A fixed square of 1.5 GiB that only bright pictures want."""
    bodies = []
    for side in (20_000, 1):
        one = ops.parameter([], np.float32)
        square = ops.broadcast(one, np.array([side, side]))
        bodies.append((one, ov.Model([ops.reduce_mean(square, [1])], [one])))
    (bright, yes), (dark, no) = bodies
    chosen = ops.if_op(ops.greater(mean, np.float32(0.95)))
    chosen.set_then_body(yes)
    chosen.set_else_body(no)
    chosen.set_input(mean.output(0), bright, dark)
    return chosen.set_output(yes.results[0], no.results[0])


def test_tensors_as_large_as_the_picture_is_bright_are_bounded_together(tmp_path):
    model = ov.Core().read_model(bombs.matched(tmp_path / "pairs.onnx"))
    refused = refusal(model, 2)
    assert "of up to 3.0 GiB together; at most 2 are allowed" in refused.message
    assert "The largest is NonZero found i64 (2, ..150994944)" in refused.message
    assert "--max-memory-gib 3" in refused.remedy
    refuse_unbounded(model, "best.onnx", 3 * GIB)


@pytest.mark.parametrize("make", [tiles, counted, counted_down])
def test_a_tensor_without_an_upper_bound_is_refused(make):
    refused = refusal(beside(make))
    kind = "Tile" if make is tiles else "Range"
    assert f"without an upper bound: {kind} " in refused.message
    assert "(?)" in refused.message


def test_a_branch_that_a_picture_chooses_counts_as_a_whole():
    assert "of up to 1.5 GiB together" in refusal(beside(one_branch_of_two), 1).message


@pytest.mark.parametrize(
    "make",
    [
        lambda mean: ops.range(np.int64(0), count(mean), np.int64(1), "i64"),
        lambda mean: opset15.squeeze(likely(mean)),
        lambda mean: ops.reshape(
            likely(mean),
            ops.concat([ops.unsqueeze(ops.convert(mean, "i64"), 0), np.array([1])], 0),
            special_zero=False,
        ),
    ],
    ids=["arange", "squeeze", "reshape"],
)
def test_bounds_that_openvino_loses_are_found_again(make):
    model = beside(make)
    before = {op.get_friendly_name() for op in model.get_ops()}
    shapes = [port.get_partial_shape() for op in model.get_ops() for port in op.outputs()]
    assert any("?" in str(shape) or "..." in str(shape) for shape in shapes)
    refuse_unbounded(model, "best.onnx", 1000 * KIB)
    assert {op.get_friendly_name() for op in model.get_ops()} == before


def test_what_a_bound_is_found_from_is_counted_too():
    def pairs(mean):
        places = ops.convert(likely(mean), "f32")
        squares = ops.matmul(ops.transpose(places, [1, 0]), places, False, False)
        return ops.range(np.int64(0), ops.gather(ops.shape_of(squares), 1, 0), np.int64(1), "i64")

    with pytest.raises(ModelInvalid, match=r"largest is MatMul .* f32 \(\.\.200, \.\.200\)"):
        refuse_unbounded(beside(pairs), "best.onnx", 40 * KIB)


def test_suppression_inside_with_a_fixed_number_of_boxes_is_taken():
    # as Ultralytics exports it with nms=True: likely boxes, suppression, filled up to a number
    def detections(mean):
        rows = ops.add(ops.constant(np.ones((CELLS, 6), np.float32)), mean)
        rows = ops.gather_nd(rows, ops.transpose(likely(mean), [1, 0]))
        boxes = ops.unsqueeze(ops.gather(rows, [0, 1, 2, 3], 1), 0)
        scores = ops.unsqueeze(ops.transpose(ops.gather(rows, [4], 1), [1, 0]), 0)
        kept = ops.non_max_suppression(boxes, scores, np.int64(2**62), np.float32(0.5))
        kept = ops.slice(ops.gather(kept.output(0), 2, 1), [0], [50], [1], [0])
        rows = ops.gather(rows, kept, 0)
        short = ops.subtract(np.array([50, 6]), ops.shape_of(rows))
        filled = ops.pad(rows, [0, 0], short, "constant", np.float32(0))
        return ops.reshape(filled, [1, 50, 6], special_zero=False)

    model = beside(detections)
    assert any(op.get_output_partial_shape(0).is_dynamic for op in model.get_ops() if op.outputs())
    refuse_unbounded(model, "best.onnx", 100 * KIB)
