"""What runs on the edge box: frames in, detections out, from an OpenVINO IR and nothing else.

This file is logged beside every model ("models from code") and runs where neither torch nor
guardianflow is installed, so it imports only numpy, openvino, mlflow and pillow.

    frame --letterbox--> S x S --IR--> boxes, scores per cell --select--> boxes in frame pixels

Training, quantization and evaluation use the same functions: what is measured is what is deployed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TypedDict, cast

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image

# `import openvino` alone sends an event to its makers, and no environment variable but `CI`
# prevents it. Where the telemetry package is missing, it falls back to a stub: so here it is.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]

import openvino as ov  # noqa: E402

# AP integrates over all scores, so measuring keeps also what an operator would never be shown.
MEASURING_THRESHOLD = 0.01
# For a detector that carries no thresholds of its own.
SHOWN_THRESHOLD = 0.4
OVERLAP = 0.6
MAX_DETECTIONS = 100
_MAX_COMPARED = 400
_PADDING = 114


class FrameDetections(TypedDict):
    """What was found in one frame, best first.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels of the frame.
        scores: Probabilities in 0..1.
        classes: Class names.
        class_ids: Their indices.
    """

    boxes: list[list[float]]
    scores: list[float]
    classes: list[str]
    class_ids: list[int]


def letterbox(frame: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], float]:
    """Fit a frame into a grey square's upper left corner, with its proportions kept.

    Args:
        frame: RGB, shape (H, W, 3), uint8.
        size: Side of the square.

    Returns:
        The square, shape (size, size, 3), uint8, and input pixels per frame pixel.
    """
    height, width = frame.shape[:2]
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    if inner != (width, height):
        # Bilinear with support: no aliasing when a large frame shrinks.
        frame = np.asarray(Image.fromarray(frame).resize(inner, Image.Resampling.BILINEAR))
    square = np.full((size, size, 3), _PADDING, dtype=np.uint8)
    square[: inner[1], : inner[0]] = frame
    return square, scale


def select(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float | Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Non-maximum suppression within each class.

    Args:
        boxes: x1, y1, x2, y2 of every cell, shape (A, 4).
        scores: One probability per class, shape (A, C).
        threshold: Scores below it are nothing; one for all classes, or one per class.

    Returns:
        Boxes (N, 4), scores (N,) and class indices (N,), best first.
    """
    cells, labels = np.nonzero(scores >= np.asarray(threshold))
    found = scores[cells, labels]
    order = np.argsort(-found, kind="stable")[:_MAX_COMPARED]
    cells, labels, found = cells[order], labels[order], found[order]
    kept_boxes = boxes[cells]
    x1, y1, x2, y2 = kept_boxes.T
    area = (x2 - x1) * (y2 - y1)
    keep: list[int] = []
    alive = np.ones(len(found), dtype=bool)
    for index in range(len(found)):
        if not alive[index]:
            continue
        keep.append(index)
        if len(keep) == MAX_DETECTIONS:
            break
        rest = slice(index + 1, None)
        wide = np.minimum(x2[index], x2[rest]) - np.maximum(x1[index], x1[rest])
        high = np.minimum(y2[index], y2[rest]) - np.maximum(y1[index], y1[rest])
        common = np.maximum(wide, 0) * np.maximum(high, 0)
        double = common > OVERLAP * (area[index] + area[rest] - common)
        alive[rest] &= ~(double & (labels[rest] == labels[index]))
    return kept_boxes[keep], found[keep], labels[keep].astype(np.int64)


class IrDetector:
    """An OpenVINO IR that looks at frames, one at a time, as a camera delivers them.

    Args:
        ir: The folder with model.xml and model.bin; the IR itself carries the class names, and
            the score from which a box of each class is shown (`thresholds`).
        inference_precision: "f32", "bf16" or "default". OpenVINO's own default is bf16 on some
            processors and f32 on others, silently: pinned, a figure means the same everywhere.
        threads: CPU threads; 0 leaves it to OpenVINO.
    """

    def __init__(self, ir: Path, *, inference_precision: str = "f32", threads: int = 1) -> None:
        core = ov.Core()
        model = core.read_model(ir / "model.xml")
        self.classes = tuple(str(model.get_rt_info(["guardianflow", "classes"]).value).split(","))
        self.weights_precision = str(model.get_rt_info(["guardianflow", "precision"]).value)
        self.thresholds = _thresholds(model, len(self.classes))
        self.image_size = int(model.inputs[0].shape[1])
        self.threads = threads
        config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        if inference_precision != "default":
            config["INFERENCE_PRECISION_HINT"] = inference_precision
        compiled = core.compile_model(model, "CPU", config)
        hint = str(compiled.get_property("INFERENCE_PRECISION_HINT"))
        self.inference_precision = "bf16" if "bfloat16" in hint else "f32"
        self._request = compiled.create_infer_request()
        self._lock = Lock()

    def predict(
        self,
        frames: Sequence[NDArray[np.uint8]],
        score_threshold: float | Sequence[float] = MEASURING_THRESHOLD,
    ) -> list[FrameDetections]:
        """Detect in each frame.

        Args:
            frames: RGB, each of shape (H, W, 3), uint8.
            score_threshold: Scores below it are left out; one for all classes, or one per class.
        """
        return [self._detect(frame, score_threshold) for frame in frames]

    def _detect(
        self, frame: NDArray[np.uint8], threshold: float | Sequence[float]
    ) -> FrameDetections:
        square, scale = letterbox(frame, self.image_size)
        # A server answers several requests at once, and an infer request serves one of them.
        with self._lock:
            self._request.infer([square[None]], share_inputs=True)
            boxes, scores = (
                cast("NDArray[np.float32]", self._request.get_output_tensor(index).data[0].copy())
                for index in (0, 1)
            )
        found, kept, labels = select(boxes, scores, threshold)
        height, width = frame.shape[:2]
        found = np.clip(found / scale, 0, [width, height, width, height])
        return FrameDetections(
            boxes=found.round(2).tolist(),
            scores=kept.round(5).tolist(),
            classes=[self.classes[label] for label in labels],
            class_ids=labels.tolist(),
        )


def _thresholds(model: ov.Model, count: int) -> tuple[float, ...]:
    """What the IR carries; `SHOWN_THRESHOLD` for every class where it carries nothing."""
    key = ["guardianflow", "thresholds"]
    if not model.has_rt_info(key):
        return (SHOWN_THRESHOLD,) * count
    return tuple(float(part) for part in str(model.get_rt_info(key).value).split(","))


class ServedDetector(PythonModel):
    """The pyfunc of `mlflow.pyfunc.load_model` and `mlflow models serve`.

    `model_config` may override `inference_precision`, `threads` and `score_threshold` at loading;
    without the last, a box is shown from the score that the IR carries for its class.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Open the IR among the artifacts."""
        config = context.model_config or {}
        self.detector = IrDetector(
            Path(str(context.artifacts["ir"])),
            inference_precision=str(config.get("inference_precision", "f32")),
            threads=int(config.get("threads", 1)),
        )
        wanted = config.get("score_threshold")
        self.score_threshold = self.detector.thresholds if wanted is None else float(wanted)

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] - MLflow declares None
        self,
        context: PythonModelContext,  # noqa: ARG002
        # bare, not NDArray: MLflow reads the hint and knows only this spelling
        model_input: np.ndarray,  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
        params: dict[str, object] | None = None,  # noqa: ARG002
    ) -> list[FrameDetections]:
        """Detect.

        Args:
            context: What MLflow knows about the model.
            model_input: RGB frames, shape (N, H, W, 3), uint8.
            params: None are used.
        """
        return self.detector.predict(list(model_input), self.score_threshold)


set_model(ServedDetector())
