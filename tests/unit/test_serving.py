import ast
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.ir import compression, ir, serving
from guardianflow.vision.ir.serving import InputGeometry, IrDetector, place_frame, select
from guardianflow.vision.metrics.detections import detections_of
from guardianflow.vision.metrics.latency import instruction_set, measure_latency
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.batches import Batches
from guardianflow.vision.network.detector import DetectorShape
from guardianflow.vision.network.fitting import detect_samples

CLASSES = ("person", "helmet", "vest")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    # tiny networks on two contended threads take ten times as long (measured)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    detector = make_detector(DetectorShape(len(CLASSES), 4, 64))
    # a fresh network says 0.01 everywhere: make its answers differ
    for head in detector.heads:
        torch.nn.init.normal_(head.logits.weight, std=2.0)
    for _ in range(20):
        detector(torch.rand(4, 3, 64, 64))
    return detector.eval()


@pytest.fixture(scope="module")
def fp32(network, tmp_path_factory):
    return ir.save(ir.convert_network(network, CLASSES), tmp_path_factory.mktemp("fp32"))


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 255, (48, 100, 3), dtype=np.uint8)


def test_a_letterbox_keeps_proportions_and_starts_at_the_corner(frame):
    placed = place_frame(frame, InputGeometry(64, 64))
    assert placed.picture.shape == (64, 64, 3)
    assert placed.scale == pytest.approx([0.64] * 4)
    assert not placed.offset.any()
    assert (placed.picture[31:] == 114).all()
    assert not (placed.picture[:30] == 114).all()


def test_a_letterbox_may_lie_in_the_centre(frame):
    # 48 x 100 becomes 31 x 64: of the 33 grey rows, 16 are above it
    placed = place_frame(frame, InputGeometry(64, 64, "centre"))
    corner = place_frame(frame, InputGeometry(64, 64)).picture
    assert placed.offset.tolist() == [0, 16, 0, 16]
    assert (placed.picture[:16] == 114).all()
    assert (placed.picture[47:] == 114).all()
    assert np.array_equal(placed.picture[16:47], corner[:31])


def test_a_stretched_frame_fills_the_canvas(frame):
    placed = place_frame(frame, InputGeometry(32, 64, "stretch"))
    assert placed.picture.shape == (32, 64, 3)
    assert placed.scale == pytest.approx([0.64, 32 / 48] * 2)
    assert not (placed.picture == 114).all(2).any(1).any()


@pytest.mark.parametrize("placement", ["corner", "centre", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 64), (96, 40)])
def test_boxes_come_back_to_the_pixels_of_the_frame(placement, height, width, frame):
    placed = place_frame(frame, InputGeometry(height, width, placement))
    boxes = np.float32([[10, 5, 60, 40], [0, 0, 100, 48]])
    seen = boxes * placed.scale + placed.offset
    assert (seen >= -1e-3).all()
    assert (seen <= np.float32([width, height] * 2) + 1).all()
    assert np.allclose(placed.in_frame(seen, frame), boxes, atol=1e-3)
    beyond = np.float32([[-50, -50, 500, 500]])
    assert placed.in_frame(beyond, frame).tolist() == [[0, 0, 100, 48]]


def test_a_frame_of_the_right_size_is_left_alone():
    frame = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    placed = place_frame(frame, InputGeometry(64, 64))
    assert placed.scale.tolist() == [1.0] * 4
    assert np.array_equal(placed.picture, frame)


def test_suppression_keeps_the_best_of_each_class():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [30, 0, 40, 10]], np.float32)
    scores = np.array([[0.6, 0.5], [0.9, 0.0], [0.0, 0.3]], np.float32)
    kept, best, labels = select(boxes, scores, 0.2)
    assert best.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert labels.tolist() == [0, 1, 1]
    assert kept[0].tolist() == [0, 0, 10, 9]


def test_suppression_of_nothing_is_nothing():
    kept, best, labels = select(np.zeros((5, 4), np.float32), np.zeros((5, 2), np.float32), 0.1)
    assert kept.shape == (0, 4)
    assert len(best) == len(labels) == 0


def test_the_ir_answers_like_the_network(network, fp32, frame, tmp_path):
    from PIL import Image

    path = tmp_path / "frame.png"
    Image.fromarray(frame).save(path)
    sample = Sample(path, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (100, 48))
    (torch_found,) = detect_samples(network, [sample], Batches([sample], 64))
    (ir_found,) = detections_of(IrDetector(fp32).predict([frame]))
    assert len(ir_found.scores) == len(torch_found.scores) > 0
    assert np.allclose(ir_found.scores, torch_found.scores, atol=1e-3)
    assert np.allclose(ir_found.boxes, torch_found.boxes, atol=0.1)


def test_detections_are_json_and_lie_in_the_frame(fp32, frame):
    (found,) = IrDetector(fp32).predict([frame])
    assert json.loads(json.dumps(found)) == found
    boxes = np.array(found["boxes"])
    assert (boxes >= 0).all()
    assert (boxes <= [100, 48, 100, 48]).all()
    assert found["scores"] == sorted(found["scores"], reverse=True)
    assert found["classes"] == [CLASSES[label] for label in found["class_ids"]]


def test_several_requests_at_once_get_their_own_answers(fp32):
    random = np.random.default_rng(1)
    frames = [random.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(24)]
    detector = IrDetector(fp32)
    alone = [detector.predict([frame])[0] for frame in frames]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda frame: detector.predict([frame])[0], frames))
    assert together == alone


def test_the_precision_is_pinned_unless_asked_otherwise(fp32):
    assert IrDetector(fp32).inference_precision == "f32"
    assert IrDetector(fp32, inference_precision="default").inference_precision in ("f32", "bf16")


def test_the_ir_carries_from_which_score_a_box_is_shown(fp32, frame, tmp_path):
    folder = tmp_path / "ir"
    shutil.copytree(fp32, folder)
    before = IrDetector(folder)
    assert before.thresholds == (serving.SHOWN_THRESHOLD,) * len(CLASSES)
    (found,) = detections_of(before.predict([frame]))
    limits = [0.875] * len(CLASSES)
    limits[int(found.classes[0])] = round(float(np.median(found.scores)), 4)
    ir.set_thresholds(folder, limits)
    after = IrDetector(folder)
    assert after.thresholds == tuple(limits)
    assert (after.classes, after.weights_precision) == (CLASSES, "fp32")
    assert after.predict([frame]) == before.predict([frame])
    assert sorted(file.name for file in folder.iterdir()) == ["model.bin", "model.xml"]
    (shown,) = detections_of(after.predict([frame], after.thresholds))
    assert shown.scores.tolist() == found.above(after.thresholds).scores.tolist()
    assert 0 < len(shown.scores) < len(found.scores)


def test_int8_answers_nearly_like_fp32_and_says_what_it_is(fp32, frame, tmp_path):
    squares = [place_frame(frame, InputGeometry(64, 64)).picture] * 4
    quantized = ir.save(compression.quantize_ir(fp32, squares, compression.Preset.MIXED), tmp_path)
    detector = IrDetector(quantized)
    assert detector.weights_precision == "int8"
    assert detector.classes == CLASSES
    assert IrDetector(fp32).weights_precision == "fp32"
    assert (quantized / "model.bin").stat().st_size < (fp32 / "model.bin").stat().st_size / 2
    assert detector.predict([frame])[0]["scores"]


def test_latency_says_on_what_it_was_measured(fp32, frame):
    figures = measure_latency({"a": IrDetector(fp32), "b": IrDetector(fp32)}, [frame], repeats=5)
    assert set(figures) == {"a", "b"}
    assert 0 < figures["a"].p50_ms <= figures["a"].p95_ms
    assert figures["a"].precision == "f32"
    assert figures["a"].instruction_set == instruction_set() != ""


def test_the_served_file_needs_neither_torch_nor_guardianflow():
    tree = ast.parse(Path(serving.__file__).read_text("utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    allowed = {"numpy", "openvino", "mlflow", "PIL"}
    assert imported - allowed <= set(sys.stdlib_module_names)


def test_neither_openvino_nor_nncf_can_phone_home(fp32, tmp_path):
    # A fresh process: pytest's own presence already silences nncf.
    script = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)) if event in (
    "socket.connect", "socket.getaddrinfo", "socket.sendto") else None)
from guardianflow import quantization, training
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape
model = ir.convert_network(make_detector(DetectorShape(2, 4, 64)).eval(), ("a", "b"))
folder = ir.save(model, Path({str(tmp_path)!r}))
compression.quantize_ir(folder, [np.zeros((64, 64, 3), np.uint8)] * 2, compression.Preset.MIXED)
import nncf.telemetry.wrapper, openvino.tools.ovc.telemetry_utils as ovc
assert sys.modules["openvino_telemetry"] is None
assert ovc.tm.__name__.endswith("telemetry_stub"), ovc.tm
assert type(nncf.telemetry.wrapper.telemetry).__name__ != "NNCFTelemetry"
assert not seen, seen
print("silent")
"""
    # MLflow has a switch of its own, which the commands set.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home")}
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        cwd=Path(serving.__file__).parent.parent.parent,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert answer.stdout == "silent\n"
    assert not (tmp_path / "home" / "intel").exists()
