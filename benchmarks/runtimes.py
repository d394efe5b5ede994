"""One network in torch, ONNX Runtime and OpenVINO, to be timed by `latency`.

shape --make--> Made: weights that are drawn, in every form --contestants--> what can be timed
"""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from guardianflow.scenario import SyntheticData
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.serving import InputGeometry, IrDetector, place_frame, select
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import Architecture, DetectorShape, ExportedDetector
from guardianflow.vision.synthetic import draw_frame

CLASSES = ("person", "helmet", "mask", "vest", "gloves")
INT8, SYMMETRIC = "int8", "int8 performance"
PRESETS = {INT8: compression.Preset.MIXED, SYMMETRIC: compression.Preset.PERFORMANCE}
_CALIBRATION = 16
# So many boxes are left for the suppression, as in a busy frame.
_SHOWN = 40
_FRAME = (720, 1280)
_NANODET_WIDTH = 32

Look = Callable[[], object]
Frames = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Made:
    """One network in all its forms.

    Attributes:
        network: In torch, with decoding.
        limits: From which score of a class a box is shown.
        onnx: FP32 and INT8.
        plain: FP32 IR and INT8 IR of both presets.
        edge: The same with pre- and post-processing inside.
        size: Side of the input.
    """

    network: ExportedDetector
    limits: tuple[float, ...]
    onnx: Mapping[str, Path]
    plain: Mapping[str, Path]
    edge: Mapping[str, Path]
    size: int


def shape_of(size: str) -> DetectorShape:
    """The network of a size: `8x256` is ours, of width 8, at 256 px; `nanodet_g@320` the other."""
    network, nanodet, side = size.partition("@")
    if nanodet:
        kind = Architecture(network)
        return DetectorShape(len(CLASSES), _NANODET_WIDTH, int(side), kind)
    width, _, side = size.partition("x")
    return DetectorShape(len(CLASSES), int(width), int(side))


def make(shape: DetectorShape, folder: Path) -> Made:
    """Draw weights, and bring them into every form."""
    torch.manual_seed(0)
    detector, size = make_detector(shape).eval(), shape.image_size
    network = ExportedDetector(detector).eval()
    frames = frames_of(size, _CALIBRATION)
    plain = {"fp32": ir.save(ir.convert_network(detector, CLASSES), folder / "fp32")}
    with torch.inference_mode():
        _, scores = network(torch.from_numpy(frames[0][None]))
    best = np.sort(scores[0].numpy(), axis=0)[-_SHOWN // len(CLASSES)]
    limits = tuple(float(value) for value in best)
    for name, preset in PRESETS.items():
        quantized = compression.quantize_ir(plain["fp32"], frames, preset)
        plain[name] = ir.save(quantized, folder / name)
    for one in plain.values():
        ir.set_thresholds(one, limits)
    edge = {name: wrap(one, folder / f"edge-{name}") for name, one in plain.items()}
    return Made(network, limits, make_onnx(network, frames, folder), plain, edge, size)


def make_onnx(network: ExportedDetector, frames: Frames, folder: Path) -> dict[str, Path]:
    """The network for ONNX Runtime: FP32, and INT8 by its own static quantization."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static  # pyright: ignore[reportMissingImports]
    from onnxruntime.quantization.shape_inference import quant_pre_process  # pyright: ignore[reportMissingImports]

    fp32, ready, int8 = (folder / f"{name}.onnx" for name in ("fp32", "ready", "int8"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.from_numpy(frames[0][None]),),
            str(fp32),
            dynamo=False,
            opset_version=17,
            input_names=["frames"],
            output_names=["boxes", "scores"],
        )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(frames)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            frame = next(self.rest, None)
            return None if frame is None else {"frames": frame[None]}

    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        # The input is fixed, so ONNX's own inference of shapes is enough; the symbolic one
        # gives up at the distributions of NanoDet's distances.
        quant_pre_process(str(fp32), str(ready), skip_symbolic_shape=True)
        # Convolutions alone, as it advises for CPUs: the decoding stays as it is.
        quantize_static(str(ready), str(int8), Reader(), op_types_to_quantize=["Conv"])
    finally:
        logging.getLogger().setLevel(level)
    return {"fp32": fp32, "int8": int8}


def frames_of(size: int, count: int) -> Frames:
    """Drawn scenes as the network sees them."""
    return [
        draw_frame(SyntheticData(kind="synthetic", image_size=size, seed=seed))
        for seed in range(count)
    ]


def large_frame() -> NDArray[np.uint8]:
    """A scene of 720p."""
    scene = draw_frame(SyntheticData(kind="synthetic", image_size=_FRAME[1]))
    return np.ascontiguousarray(scene[: _FRAME[0]])


def contestants(
    made: Made, threads: int, *, compiled: bool, limited: bool = False
) -> tuple[dict[str, Look], dict[str, Look], str]:
    """Model only, whole frame, and what OpenVINO's default precision is here."""
    square, frame = frames_of(made.size, 1)[0][None], large_frame()
    models: dict[str, Callable[[NDArray[np.uint8]], Sequence[Any]]] = {
        "torch eager": _in_torch(made.network)
    }
    if compiled:
        models["torch.compile"] = _in_torch(torch.compile(made.network))
    for name, path in made.onnx.items():
        models[f"onnxruntime {name}"] = _in_onnxruntime(path, threads)
    only: dict[str, Look] = {name: lambda m=m: m(square) for name, m in models.items()}
    whole: dict[str, Look] = {
        name: lambda m=m: _processed(m, frame, made) for name, m in models.items()
    }
    default = "f32"
    for name, kind, precision in (
        ("openvino f32", "fp32", "f32"),
        ("openvino default", "fp32", "default"),
        *((f"openvino {name}", name, "f32") for name in PRESETS),
    ):
        if limited and precision == "default":
            continue
        only[name] = _in_openvino(made.plain[kind], precision, threads, square)
        outside = IrDetector(made.plain[kind], inference_precision=precision, threads=threads)
        inside = IrDetector(made.edge[kind], inference_precision=precision, threads=threads)
        whole[f"{name}, Python around it"] = lambda d=outside: d.predict([frame], d.thresholds)
        whole[name] = lambda d=inside: d.predict([frame], d.thresholds)
        default = inside.inference_precision if precision == "default" else default
    return only, whole, default


def _in_torch(network: Any) -> Callable[[NDArray[np.uint8]], Sequence[Any]]:
    def look(square: NDArray[np.uint8]) -> Sequence[Any]:
        with torch.inference_mode():
            return [part.numpy() for part in network(torch.from_numpy(square))]

    return look


def _in_onnxruntime(path: Path, threads: int) -> Callable[[NDArray[np.uint8]], Sequence[Any]]:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda square: session.run(None, {"frames": square})


def _in_openvino(folder: Path, precision: str, threads: int, square: NDArray[np.uint8]) -> Look:
    import openvino as ov

    config: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if precision != "default":
        config["INFERENCE_PRECISION_HINT"] = precision
    request = ov.Core().compile_model(folder / ir.FILE, "CPU", config).create_infer_request()
    return lambda: request.infer([square], share_inputs=True, share_outputs=True)


def _processed(
    model: Callable[[NDArray[np.uint8]], Sequence[Any]], frame: NDArray[np.uint8], made: Made
) -> object:
    placed = place_frame(frame, InputGeometry(made.size, made.size))
    boxes, scores = model(placed.picture[None])
    found, best, labels = select(boxes[0], scores[0], made.limits)
    return placed.in_frame(found, frame), best, labels
