"""Whether a variant is faster, said of times that are given."""

import os
import subprocess
import sys

import numpy as np
import pytest

from guardianflow.evaluation import speed
from guardianflow.evaluation.speed import SpeedVerdict, compare_speed
from guardianflow.vision.ir import ir
from guardianflow.vision.metrics.latency import Latency
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape

LIMITED = """
import sys
from pathlib import Path
import numpy as np
from guardianflow.evaluation.speed import compare_speed
frame = np.zeros((64, 64, 3), np.uint8)
report = compare_speed(Path(sys.argv[1]), Path(sys.argv[1]), [frame])
print(report.default.precision)
"""


class Timed:
    """A detector of which only the times matter."""

    def __init__(self, folder, *, inference_precision="f32", threads=1):
        self.name = (folder.name, inference_precision)


def summarized(detector, times):
    precision = {"default": "bf16"}.get(detector.name[1], "f32")
    return Latency(
        p50_ms=float(np.median(times)),
        p95_ms=float(np.quantile(times, 0.95)),
        precision=precision,
        instruction_set="AVX2",
        cpu="a CPU",
        threads=1,
        image_size=64,
        repeats=len(times),
    )


@pytest.mark.parametrize(
    ("fp32", "default", "variant", "verdict", "against"),
    [
        (4.0, 3.0, 2.0, SpeedVerdict.FASTER, "bf16"),
        (4.0, 1.0, 2.0, SpeedVerdict.SLOWER, "bf16"),
        (3.0, 4.0, 2.0, SpeedVerdict.FASTER, "f32"),
        (2.0, 2.5, 2.0, SpeedVerdict.INCONCLUSIVE, "f32"),
    ],
)
def test_a_variant_has_to_beat_the_faster_form_of_its_base_for_sure(
    monkeypatch, tmp_path, fp32, default, variant, verdict, against
):
    noise = np.random.default_rng(0).normal(0, 0.1, size=(3, 60))
    given = dict(zip(("fp32", "default", "variant"), (fp32, default, variant), strict=True))
    times = {name: value + noise[row] for row, (name, value) in enumerate(given.items())}
    monkeypatch.setattr("guardianflow.vision.ir.serving.IrDetector", Timed)
    monkeypatch.setattr(speed, "time_in_turns", lambda *_: times)
    monkeypatch.setattr(speed, "summarize", summarized)
    report = compare_speed(tmp_path / "base", tmp_path / "int8", [])
    assert (report.verdict, report.against) == (verdict, against)
    assert report.low <= report.speedup <= report.high
    assert report.speedup == pytest.approx(min(fp32, default) / variant, rel=0.05)


def test_it_is_measured_where_onednn_is_limited_below_what_the_processor_has(tmp_path):
    # On a processor with bf16 OpenVINO chooses bf16, for which oneDNN then has no pooling.
    ir.save(
        ir.convert_network(make_detector(DetectorShape(2, 8, 64)).eval(), ("person", "helmet")),
        tmp_path,
    )
    limited = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, env=limited, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] in {"f32", "bf16"}
