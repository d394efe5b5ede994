"""Runs an OpenVINO IR on the edge box: frames in, detections out.

This file is logged with every model ("models from code") and runs where neither torch nor
guardianflow is installed, so it imports only numpy, openvino, mlflow and pillow.

    frame --place_frame--> geometry --IR--> boxes, scores per cell --select--> boxes in frame pixels
    frame ------------------------ edge IR, with all of that inside ------> boxes in frame pixels

Training, quantization and evaluation use the same class, so they measure what is deployed.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypedDict, cast

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image

# Even `import openvino` sends an event, and only the environment variable `CI` prevents that.
# Without its telemetry package openvino falls back to a stub, so the package is hidden here.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]

import openvino as ov  # noqa: E402

# AP integrates over all scores, so measuring also keeps boxes that an operator never sees.
MEASURING_THRESHOLD = 0.01
# For a detector without operating thresholds.
SHOWN_THRESHOLD = 0.4
OVERLAP = 0.6
MAX_DETECTIONS = 100
PADDING = 114
# The constant in an edge IR with the lowest score of a detection, by class.
LIMITS = "guardianflow/limits"

_HINT = "INFERENCE_PRECISION_HINT"
# An edge IR is compiled once per set of thresholds: its own, MEASURING_THRESHOLD, a caller's.
_MAX_COMPILED = 4
_Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
"""Boxes in pixels of the frame, shape (N, 4), scores (N,) and class indices (N,), best first."""


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


class InputGeometry(NamedTuple):
    """A network's input, and where a frame is placed in it.

    Attributes:
        height: In pixels.
        width: In pixels.
        placement: "corner" or "centre": the frame keeps its proportions, and the rest is grey;
            "stretch": it fills the input. An IR that does not say it means "corner".
    """

    height: int
    width: int
    placement: str = "corner"


class PlacedFrame(NamedTuple):
    """A frame as a network's input.

    Attributes:
        picture: RGB, shape (height, width, 3) of the input, uint8.
        scale: Pixels of the input per pixel of the frame: x, y, x, y, shape (4,), float32.
        offset: Where the frame begins on the input: x, y, x, y in pixels, shape (4,), float32.
    """

    picture: NDArray[np.uint8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    def in_frame(self, boxes: NDArray[np.float32], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return boxes (N, 4), given in pixels of the input, in pixels of the frame, clipped."""
        height, width = frame.shape[:2]
        moved = (boxes - self.offset) / self.scale
        return np.clip(moved, 0, np.array([width, height, width, height], np.float32))


def place_frame(frame: NDArray[np.uint8], geometry: InputGeometry) -> PlacedFrame:
    """Resize a frame to fit an input.

    `frame` is RGB, shape (H, W, 3), uint8.
    """
    height, width = frame.shape[:2]
    if geometry.placement == "stretch":
        inner = (geometry.width, geometry.height)
        scale = (geometry.width / width, geometry.height / height)
    else:
        # The side that fills the input decides the scale. Integer arithmetic that rounds half up,
        # exactly as in the edge IR.
        wide = width * geometry.height >= height * geometry.width
        full, whole = (geometry.width, width) if wide else (geometry.height, height)
        inner = (
            max(1, (2 * width * full + whole) // (2 * whole)),
            max(1, (2 * height * full + whole) // (2 * whole)),
        )
        scale = (full / whole, full / whole)
    if inner != (width, height):
        # Pillow's bilinear filter widens its support, so that large frames shrink without aliasing.
        frame = np.asarray(Image.fromarray(frame).resize(inner, Image.Resampling.BILINEAR))
    left, top = 0, 0
    if geometry.placement == "centre":
        left, top = (geometry.width - inner[0]) // 2, (geometry.height - inner[1]) // 2
    picture = np.full((geometry.height, geometry.width, 3), PADDING, dtype=np.uint8)
    picture[top : top + inner[1], left : left + inner[0]] = frame
    return PlacedFrame(picture, _pairs(scale), _pairs((left, top)))


def _pairs(pair: tuple[float, float]) -> NDArray[np.float32]:
    """Values for x and y, for the two corners of a box."""
    return np.array([*pair, *pair], np.float32)


def select(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float | Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Apply thresholds and non-maximum suppression within each class.

    Args:
        boxes: x1, y1, x2, y2 of every cell, shape (A, 4), float32.
        scores: One probability per class, shape (A, C), float32.
        threshold: The lowest score of a kept box; one for all classes, or one per class.

    Returns:
        Boxes (N, 4) float32, scores (N,) float32 and class indices (N,) int64, best first.
    """
    cells, labels = np.nonzero(scores >= np.asarray(threshold, np.float32))
    found = scores[cells, labels]
    order = np.argsort(-found, kind="stable")
    cells, labels, found = cells[order], labels[order], found[order]
    kept_boxes = boxes[cells]
    x1, y1, x2, y2 = kept_boxes.T
    area = (x2 - x1) * (y2 - y1)
    keep: list[int] = []
    rest = np.arange(len(found))
    while len(rest) and len(keep) < MAX_DETECTIONS:
        best, rest = rest[0], rest[1:]
        keep.append(int(best))
        wide = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        high = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        common = np.maximum(wide, 0) * np.maximum(high, 0)
        double = common > OVERLAP * (area[best] + area[rest] - common)
        rest = rest[~(double & (labels[rest] == labels[best]))]
    return kept_boxes[keep], found[keep], labels[keep].astype(np.int64)


class IrDetector:
    """Detects objects with an OpenVINO IR, one frame at a time, as a camera delivers them.

    Args:
        ir: The folder with model.xml and model.bin of a plain IR, or of an edge IR, which takes
            whole frames. The IR contains the class names and the lowest score of a shown box of
            each class (`thresholds`).
        inference_precision: "f32", "bf16" or "default". OpenVINO's default is bf16 on some
            processors and f32 on others; a fixed one makes figures comparable.
        threads: CPU threads; 0 lets OpenVINO choose.
    """

    def __init__(self, ir: Path, *, inference_precision: str = "f32", threads: int = 1) -> None:
        model = ov.Core().read_model(ir / "model.xml")
        self.classes = split_names(read_rt_info(model, "classes"))
        self.weights_precision = read_rt_info(model, "precision")
        self.thresholds = read_thresholds(model)
        # The input of a plain IR has a fixed size; an edge IR takes frames of any size.
        self.takes_frames = model.has_rt_info(["guardianflow", "image_size"])
        self.geometry = read_geometry(model)
        self.threads = threads
        self._config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            self._config["INFERENCE_NUM_THREADS"] = threads
        if inference_precision != "default":
            self._config["INFERENCE_PRECISION_HINT"] = inference_precision
        self._model = model
        self._lock = Lock()
        # By thresholds, which are constants in an edge IR.
        self._requests: dict[tuple[float, ...], ov.InferRequest] = {}
        hint = str(self._open(self.thresholds).get_compiled_model().get_property(_HINT))
        self.inference_precision = "bf16" if "bfloat16" in hint else "f32"

    @property
    def image_size(self) -> int:
        """The longer side of the network's input in pixels."""
        return max(self.geometry.height, self.geometry.width)

    def predict(
        self,
        frames: Sequence[NDArray[np.uint8]],
        score_threshold: float | Sequence[float] = MEASURING_THRESHOLD,
    ) -> list[FrameDetections]:
        """Detect in each frame.

        Args:
            frames: RGB, each of shape (H, W, 3), uint8.
            score_threshold: The lowest score of a detection; one for all classes, or one per class.
        """
        limits = np.broadcast_to(np.asarray(score_threshold, np.float64), len(self.classes))
        look = self._look_inside if self.takes_frames else self._look
        return [self._answer(*look(frame, tuple(limits.tolist()))) for frame in frames]

    def _open(self, limits: tuple[float, ...]) -> ov.InferRequest:
        """Return the request for these thresholds; a plain IR has one request for all."""
        key = limits if self.takes_frames else ()
        if key not in self._requests:
            if self.takes_frames:
                _set_limits(self._model, limits)
            if len(self._requests) == _MAX_COMPILED:
                del self._requests[next(iter(self._requests))]
            compiled = ov.Core().compile_model(self._model, "CPU", self._config)
            self._requests[key] = compiled.create_infer_request()
        return self._requests[key]

    def _look_inside(self, frame: NDArray[np.uint8], limits: tuple[float, ...]) -> _Found:
        # A server answers several calls at once, but an infer request can serve only one.
        with self._lock:
            request = self._open(limits)
            request.infer([np.ascontiguousarray(frame[None])], share_inputs=True)
            rows = cast("NDArray[np.float32]", request.get_output_tensor(0).data.copy())
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)

    def _look(self, frame: NDArray[np.uint8], limits: tuple[float, ...]) -> _Found:
        placed = place_frame(frame, self.geometry)
        with self._lock:
            request = self._open(limits)
            request.infer([placed.picture[None]], share_inputs=True)
            boxes, scores = (
                cast("NDArray[np.float32]", request.get_output_tensor(index).data[0].copy())
                for index in (0, 1)
            )
        found, kept, labels = select(boxes, scores, limits)
        return placed.in_frame(found, frame), kept, labels

    def _answer(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> FrameDetections:
        return FrameDetections(
            boxes=boxes.round(2).tolist(),
            scores=scores.round(5).tolist(),
            classes=[self.classes[label] for label in labels],
            class_ids=labels.tolist(),
        )


def split_names(text: str) -> tuple[str, ...]:
    """Return the class names that `ir.join_names` joined."""
    return tuple(json.loads(text) if text.startswith("[") else text.split(","))


def read_rt_info(model: ov.Model, key: str) -> str:
    """Return what `ir.describe` wrote into an IR under a key."""
    return str(model.get_rt_info(["guardianflow", key]).value)


def read_geometry(model: ov.Model) -> InputGeometry:
    """Return the input of a plain IR, or the one inside of an edge IR."""
    if model.has_rt_info(["guardianflow", "geometry"]):
        height, width, placement = read_rt_info(model, "geometry").split(" ")
        return InputGeometry(int(height), int(width), placement)
    if model.has_rt_info(["guardianflow", "image_size"]):
        size = int(read_rt_info(model, "image_size"))
        return InputGeometry(size, size)
    _, height, width, _ = model.inputs[0].shape
    return InputGeometry(height, width)


def read_thresholds(model: ov.Model) -> tuple[float, ...]:
    """Return the threshold of each class in an IR; `SHOWN_THRESHOLD` if it contains none."""
    if not model.has_rt_info(["guardianflow", "thresholds"]):
        return (SHOWN_THRESHOLD,) * len(split_names(read_rt_info(model, "classes")))
    return tuple(float(part) for part in read_rt_info(model, "thresholds").split(","))


def _set_limits(model: ov.Model, limits: Sequence[float]) -> None:
    """Change the thresholds in an edge IR."""
    old = next(node for node in model.get_ops() if node.get_friendly_name() == LIMITS)
    new = ov.opset13.constant(np.asarray(limits, dtype=np.float32))
    new.set_friendly_name(LIMITS)
    old.output(0).replace(new.output(0))


class ServedDetector(PythonModel):
    """The pyfunc model for `mlflow.pyfunc.load_model` and `mlflow models serve`.

    `model_config` may set `inference_precision`, `threads` and `score_threshold`; the default of
    the last are the thresholds in the IR.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Open the edge IR among the artifacts, or the plain IR if there is none."""
        config = context.model_config or {}
        artifacts = context.artifacts
        self.detector = IrDetector(
            Path(str(artifacts["edge" if "edge" in artifacts else "ir"])),
            inference_precision=str(config.get("inference_precision", "f32")),
            threads=int(config.get("threads", 1)),
        )
        wanted = config.get("score_threshold")
        self.score_threshold = self.detector.thresholds if wanted is None else float(wanted)

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] - MLflow declares None
        self,
        context: PythonModelContext,  # noqa: ARG002
        # Not NDArray: MLflow reads the type hint and knows only np.ndarray.
        model_input: np.ndarray,  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
        params: dict[str, object] | None = None,  # noqa: ARG002
    ) -> list[FrameDetections]:
        """Detect in each frame.

        Args:
            context: Unused.
            model_input: RGB frames, shape (N, H, W, 3), uint8.
            params: Unused.
        """
        return self.detector.predict(list(model_input), self.score_threshold)


set_model(ServedDetector())
