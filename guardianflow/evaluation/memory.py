"""How much memory a version takes, as a process that loads nothing else tells.

    python -m guardianflow.evaluation.memory FOLDER      prints MiB

Run by `measure_memory` once for each version: what one leaves behind would help the next.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

_TIMEOUT_S = 120
_FRAME = (720, 1280, 3)
_LOOKS = 3


def measure_memory(ir: Path) -> float | None:
    """Return the MiB that loading an IR and detecting with it take; None where nothing tells.

    Python and its libraries, which every version needs, do not count. The frame is 720p.
    """
    command = [sys.executable, "-P", "-m", __name__, str(ir)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        return float(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None


def main(ir: Path) -> None:
    """Print by how many MiB this process grows to use a version."""
    import openvino as ov

    from guardianflow.vision.ir.serving import IrDetector

    # Its plugin is loaded when the first model is, and is the same for all.
    _ = ov.Core().available_devices
    before = _resident_mib()
    detector = IrDetector(ir)
    frame = np.random.default_rng(0).integers(0, 255, _FRAME, np.uint8)
    for _ in range(_LOOKS):
        detector.predict([frame], detector.thresholds)
    print(_resident_mib() - before)


def _resident_mib() -> float:
    """The memory of this process that is in use; Linux alone tells."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    pairs = (line.partition(":") for line in lines)
    return next(int(rest.split()[0]) for key, _, rest in pairs if key == "VmRSS") / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
