"""Latency of one frame: torch, ONNX Runtime and OpenVINO, the same weights, in turns.

    python -m benchmarks.latency                       three sizes, 1 and 2 threads, half an hour
    python -m benchmarks.latency --isa AVX2            as on a processor without VNNI
    python -m benchmarks.latency --rounds 5 --sizes 8x256 --threads 1 --no-compile     a smoke test

Model only is a letterboxed square to boxes and scores of every cell. A whole frame is 720p to
detections: outside of OpenVINO with the letterbox and suppression in Python that the network was
made with, inside with the edge IR. Weights are drawn: they decide nothing about time.
With `--isa`, OpenVINO and torch keep to the instructions of that set: both are built on oneDNN,
which knows such a limit. ONNX Runtime does not, and has no row; nor has the precision that OpenVINO
would choose, since it chooses by the real processor. Clock and caches are the real ones too: a hint
of what an older processor does, no measurement of it.
INT8 in OpenVINO runs with either of NNCF's presets, mixed being the one of the plain name: where
activations may be asymmetric, some processors pay for it.
Needs the extra `bench` (ONNX Runtime), which nothing but this file imports.
"""

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.figures import RESULTS, Row, machine, ratio, summary, tell, told
from guardianflow.scenario import SyntheticData
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.serving import InputGeometry, IrDetector, place_frame, select
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape, ExportedDetector
from guardianflow.vision.synthetic import draw_frame

# A result file for each kind of processor: what holds for one says nothing about another.
NAME, AMX_NAME, LIMITED_NAME = "latency", "latency-amx", "latency-limited"
LIMITS = ("AVX2", "AVX512_CORE")
"""Instruction sets without VNNI, as oneDNN calls them."""
CLASSES = ("person", "helmet", "mask", "vest", "gloves")
SIZES = ("8x256", "16x320", "32x640")
_INT8, _SYMMETRIC = "int8", "int8 performance"
_PRESETS = {_INT8: compression.Preset.MIXED, _SYMMETRIC: compression.Preset.PERFORMANCE}
_CALIBRATION = 16
_WARM_UP = 3
# So many boxes are left for the suppression, as in a busy frame.
_SHOWN = 40
_FRAME = (720, 1280)

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


def make(width: int, size: int, folder: Path) -> Made:
    """Draw weights, and bring them into every form."""
    torch.manual_seed(0)
    detector = make_detector(DetectorShape(len(CLASSES), width, size)).eval()
    network = ExportedDetector(detector).eval()
    frames = frames_of(size, _CALIBRATION)
    plain = {"fp32": ir.save(ir.convert_network(detector, CLASSES), folder / "fp32")}
    with torch.inference_mode():
        _, scores = network(torch.from_numpy(frames[0][None]))
    best = np.sort(scores[0].numpy(), axis=0)[-_SHOWN // len(CLASSES)]
    limits = tuple(float(value) for value in best)
    for name, preset in _PRESETS.items():
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
        quant_pre_process(str(fp32), str(ready))
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
        *((f"openvino {name}", name, "f32") for name in _PRESETS),
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


def race(looks: Mapping[str, Look], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round; who begins changes from round to round."""
    times: dict[str, list[float]] = {name: [] for name in looks}
    names = list(looks)
    for index in range(_WARM_UP + rounds):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            start = time.perf_counter()
            looks[name]()
            if index >= _WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


def judged(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians, and how many times as fast INT8 in OpenVINO is as each of the others."""
    return {
        "latency": {name: summary(values) for name, values in times.items()},
        **{
            f"{preset} against": {
                name: ratio(values, times[f"openvino {preset}"], 0.5)
                for name, values in times.items()
                if name != f"openvino {preset}"
            }
            for preset in _PRESETS
        },
    }


def measure(
    sizes: Sequence[str],
    threads: Sequence[int],
    rounds: int,
    *,
    compiled: bool,
    limited: bool = False,
) -> dict[str, Any]:
    """All sizes with all numbers of threads."""
    results: list[dict[str, Any]] = []
    before = torch.get_num_threads()
    for size in sizes:
        width, side = (int(part) for part in size.split("x"))
        with tempfile.TemporaryDirectory() as text:
            made = make(width, side, Path(text))
            for count in threads:
                torch.set_num_threads(count)
                torch.compiler.reset()
                only, whole, default = contestants(made, count, compiled=compiled, limited=limited)
                for kind, looks in (("model", only), ("frame", whole)):
                    found = judged(race(looks, rounds))
                    about = {"size": size, "threads": count, "kind": kind, "default": default}
                    results.append({**about, **found})
                    print(f"{size}, {count} threads, {kind}: done", flush=True)
    torch.set_num_threads(before)
    names = {
        "OpenVINO": "openvino",
        "NNCF": "nncf",
        "PyTorch": "torch",
        "ONNX Runtime": "onnxruntime",
    }
    return {
        "versions": {name: version(package) for name, package in names.items()},
        "rounds": rounds,
        "results": results,
    }


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """What the page says: one thread; every number is in the result file."""
    isa = figures.get("limited_to")
    command = f"`python -m benchmarks.latency --isa {isa}`" if isa else "`make bench-latency`"
    known = figures["machine"]["instructions"]
    vnni = not isa and any("vnni" in one or "amx" in one for one in known)
    made: list[Row] = []
    for one in figures["results"]:
        if one["threads"] != 1:
            continue
        large = one["size"] == SIZES[-1]
        what = "model only" if one["kind"] == "model" else "720p frame to boxes"
        where = f"INT8 in OpenVINO, {one['size']} px, {what}, 1 thread"
        where += f", limited to {isa}" if isa else ", AMX" if _has_amx(figures["machine"]) else ""
        best = "openvino default" if one["default"] == "bf16" else "openvino f32"
        goals: dict[str, float | None] = {
            "openvino f32": (2.5 if vnni else 1.6) if large else 1.0,
            "torch eager": 3.0 if large else None,
        }
        if not isa:
            goals["onnxruntime int8"] = None
        if best == "openvino default":
            goals[best] = 1.3 if large else 1.0
        for name, goal in goals.items():
            label = f"{name} (bf16)" if name == "openvino default" else name
            wanted = f">= {goal:.1f}×" if goal else "-"
            figure = told(one[f"{_INT8} against"][name])
            # Files of before were taken with the preset mixed alone.
            if symmetric := one.get(f"{_SYMMETRIC} against"):
                figure += f"; preset performance {told(symmetric[name])}"
            made.append((f"{where}, against {label}", wanted, figure, command))
    return made


def _has_amx(where: Mapping[str, Any]) -> bool:
    return any("amx" in one for one in where["instructions"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="width x input side")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--isa", choices=LIMITS, help="use no instructions beyond these")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    if wanted.isa:
        # Read by oneDNN when the first network is made.
        os.environ["ONEDNN_MAX_CPU_ISA"] = wanted.isa
    found = measure(
        wanted.sizes,
        wanted.threads,
        wanted.rounds,
        compiled=not wanted.no_compile,
        limited=bool(wanted.isa),
    )
    if wanted.isa:
        found["limited_to"] = wanted.isa
    here = machine()
    name = LIMITED_NAME if wanted.isa else AMX_NAME if _has_amx(here) else NAME
    tell(name, found, rows({"machine": here, **found}), wanted.out)


if __name__ == "__main__":
    main()
