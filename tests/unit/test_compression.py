"""What is quantized and what is not, and what overflows where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.int8_plan import plan_of
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    detector = make_detector(DetectorShape(2, 4, 64))
    return ir.save(ir.convert_network(detector.eval(), ("a", "b")), tmp_path_factory.mktemp("fp32"))


def test_no_range_is_set_behind_the_last_convolutions(fp32):
    squares = [np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)] * 2
    quantized = compression.quantize_ir(fp32, squares, compression.Preset.PERFORMANCE)
    ignored = set(plan_of(fp32).ignored)
    assert ignored
    fed = [
        target.get_node().get_friendly_name()
        for node in quantized.get_ops()
        if node.get_type_name() == "FakeQuantize"
        for target in node.output(0).get_target_inputs()
    ]
    assert len(fed) > 50
    assert not ignored & set(fed)


def test_half_the_bits_half_the_size(fp32, tmp_path):
    halved = compression.halve(fp32, tmp_path)
    before, after = IrDetector(fp32), IrDetector(halved)
    assert (after.weights_precision, after.classes) == ("fp16", ("a", "b"))
    assert (halved / "model.bin").stat().st_size < 0.6 * (fp32 / "model.bin").stat().st_size
    frame = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    ours, theirs = (one.predict([frame], 0.0)[0]["scores"] for one in (before, after))
    assert np.allclose(ours, theirs, atol=2e-3)


_OVERFLOW = """
import sys, json
import numpy as np
from guardianflow.vision.ir import compression, ir
import nncf, openvino as ov
from openvino import opset15 as op
from nncf.quantization.advanced_parameters import OverflowFix
# Bright pixels under weights of one sign: two products of 255 x 127 do not fit into 16 bits.
rng = np.random.default_rng(0)
image = op.parameter([1, 32, 16, 16], np.uint8)
weights = op.constant((1 - 0.1 * rng.random((16, 32, 3, 3))).astype(np.float32))
layer = op.convolution(op.convert(image, "f32"), weights, [1, 1], [1, 1], [1, 1], [1, 1])
model = ov.Model([op.relu(layer).output(0)], [image], "bright")
frames = [np.clip(rng.normal(235, 20, (1, 32, 16, 16)), 0, 255).astype(np.uint8) for _ in range(4)]
bare = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(frames[0])[0]
lost = {}
for name in ("ours", "disable"):
    advanced = compression._advanced() if name == "ours" else nncf.AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.DISABLE)
    with compression._quiet():
        made = nncf.quantize(model.clone(), nncf.Dataset(frames), advanced_parameters=advanced)
    got = ov.Core().compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(frames[0])[0]
    lost[name] = float(np.abs(got - bare).mean() / np.abs(bare).mean())
print(json.dumps(lost))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is read on x86 Linux")
def test_the_first_layer_does_not_overflow_without_vnni():
    # oneDNN reads the variable once, at its start: as on a CPU of that kind.
    answer = subprocess.run(
        [sys.executable, "-c", _OVERFLOW],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    lost = json.loads(answer.stdout.splitlines()[-1])
    assert lost["ours"] < 0.02
    assert lost["disable"] > 5 * lost["ours"]
