"""Latency of one frame: torch, ONNX Runtime and OpenVINO, the same weights, in turns.

    python -m benchmarks.latency                       ours in three sizes, half an hour
    python -m benchmarks.latency --nanodet             NanoDet-g at 320 and 416 px, ten minutes
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
With `--shared` processor time is counted, in one thread the same as the clock's on a quiet machine:
other work then costs no more than its share of caches and hyperthreads.
Needs the extra `bench` (ONNX Runtime), which nothing but this file imports.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import RESULTS, Row, machine, ratio, summary, tell, told
from benchmarks.runtimes import INT8, PRESETS, SYMMETRIC, Look, contestants, make, shape_of

# A result file for each kind of processor: what holds for one says nothing about another.
NAME, AMX_NAME, LIMITED_NAME = "latency", "latency-amx", "latency-limited"
NANODET_NAME = "latency-nanodet"
"""The same of NanoDet-g, likewise with -amx and -limited behind it."""
LIMITS = ("AVX2", "AVX512_CORE")
"""Instruction sets without VNNI, as oneDNN calls them."""
SIZES = ("8x256", "16x320", "32x640")
"""Width and input side of our network: the demo's, a middle one, production."""
NANODET_SIZES = ("nanodet_g@320", "nanodet_g@416")
"""The network that starts from trained weights (docs/weights.md), at its usual input sides."""
# What each form in OpenVINO is compared with in ONNX Runtime, on the same weights.
_PEERS = {"openvino f32": "fp32", "openvino default": "fp32", "openvino int8": "int8"}
_WARM_UP = 3


def race(
    looks: Mapping[str, Look], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round; who begins changes from round to round."""
    times: dict[str, list[float]] = {name: [] for name in looks}
    names = list(looks)
    for index in range(_WARM_UP + rounds):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            start = clock()
            looks[name]()
            if index >= _WARM_UP:
                times[name].append(clock() - start)
    return times


def judged(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians, and how many times as fast INT8 in OpenVINO is as each of the others.

    Also how many times as fast each form is as the same one in ONNX Runtime.
    """
    return {
        "latency": {name: summary(values) for name, values in times.items()},
        **{
            f"{preset} against": {
                name: ratio(values, times[f"openvino {preset}"], 0.5)
                for name, values in times.items()
                if name != f"openvino {preset}"
            }
            for preset in PRESETS
        },
        "against onnxruntime": {
            name: ratio(times[f"onnxruntime {peer}"], times[name], 0.5)
            for name, peer in _PEERS.items()
            if name in times
        },
    }


def measure(
    sizes: Sequence[str],
    threads: Sequence[int],
    rounds: int,
    *,
    compiled: bool,
    limited: bool = False,
    shared: bool = False,
) -> dict[str, Any]:
    """All sizes with all numbers of threads."""
    clock = time.process_time if shared else time.perf_counter
    results: list[dict[str, Any]] = []
    before = torch.get_num_threads()
    for size in sizes:
        with tempfile.TemporaryDirectory() as text:
            made = make(shape_of(size), Path(text))
            for count in threads:
                torch.set_num_threads(count)
                torch.compiler.reset()
                only, whole, default = contestants(made, count, compiled=compiled, limited=limited)
                for kind, looks in (("model", only), ("frame", whole)):
                    found = judged(race(looks, rounds, clock))
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
        "clock": "processor" if shared else "wall",
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
            figure = told(one[f"{INT8} against"][name])
            # Files of before were taken with the preset mixed alone.
            if symmetric := one.get(f"{SYMMETRIC} against"):
                figure += f"; preset performance {told(symmetric[name])}"
            made.append((f"{where}, against {label}", wanted, figure, command))
    return made


def nanodet_rows(figures: Mapping[str, Any]) -> list[Row]:
    """Of NanoDet-g in one thread: INT8 against f32, and each form against ONNX Runtime's."""
    isa = figures.get("limited_to")
    command = "`python -m benchmarks.latency --nanodet" + (f" --isa {isa}`" if isa else "`")
    made: list[Row] = []
    for one in figures["results"]:
        if one["threads"] != 1:
            continue
        what = "model only" if one["kind"] == "model" else "720p frame to boxes"
        where = f"{one['size']} px, {what}, 1 thread" + (f", limited to {isa}" if isa else "")
        pairs = [("openvino int8", "openvino f32", one[f"{INT8} against"]["openvino f32"])]
        # ONNX Runtime knows no limit.
        for name, found in ({} if isa else one["against onnxruntime"]).items():
            pairs.append((name, f"onnxruntime {_PEERS[name]}", found))
        for name, other, found in pairs:
            ours, theirs = (one["latency"][key]["p50_ms"] for key in (name, other))
            label = f"{name} ({one['default']})" if name == "openvino default" else name
            figure = f"{ours:g} ms against {theirs:g}: {told(found)}"
            made.append((f"{label}, {where}, against {other}", ">= 1.0×", figure, command))
    return made


def _has_amx(where: Mapping[str, Any]) -> bool:
    return any("amx" in one for one in where["instructions"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", nargs="+", help="instead of the usual: width x input side")
    parser.add_argument("--nanodet", action="store_true", help="NanoDet-g instead of ours")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--shared", action="store_true", help="count processor time, in one thread")
    parser.add_argument("--isa", choices=LIMITS, help="use no instructions beyond these")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    if wanted.shared and wanted.threads != [1]:
        parser.error("--shared counts processor time, which is that of one thread: --threads 1")
    if wanted.isa:
        # Read by oneDNN when the first network is made.
        os.environ["ONEDNN_MAX_CPU_ISA"] = wanted.isa
    found = measure(
        wanted.sizes or (NANODET_SIZES if wanted.nanodet else SIZES),
        wanted.threads,
        wanted.rounds,
        compiled=not wanted.no_compile,
        limited=bool(wanted.isa),
        shared=wanted.shared,
    )
    if wanted.isa:
        found["limited_to"] = wanted.isa
    here = machine()
    name = LIMITED_NAME if wanted.isa else AMX_NAME if _has_amx(here) else NAME
    say = nanodet_rows if wanted.nanodet else rows
    if wanted.nanodet:
        name = name.replace(NAME, NANODET_NAME)
    tell(name, found, say({"machine": here, **found}), wanted.out)


if __name__ == "__main__":
    main()
