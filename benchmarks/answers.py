"""The answers of docs/benchmarks.md: of each question the few figures that decide it.

    result files --answers--> question, goal, answer, command; everything else is in docs/results/

A question whose result file is missing has no answer; one with a goal begins with yes or **no**.
Here those about detectors; `operation_answers` has those about releases and servers.
"""

from collections.abc import Mapping
from statistics import mean
from typing import Any

from benchmarks import accuracy_drop, latency
from benchmarks.figures import Results, Row, answer

_PRETRAINED = "make bench-pretrained"
_BUDGET = "make bench-accuracy"
_SIZES = {"8x256": "ours, width 8, 256 px", "16x320": "ours, width 16, 320 px"}
_SIZES |= {"32x640": "ours, width 32, 640 px"}
_SIZES |= {f"nanodet_g@{side}": f"NanoDet-g, {side} px" for side in (320, 416)}


def good(results: Results) -> list[Row]:
    """How good is it?"""
    found: list[Row] = []
    if one := results.get("pretrained-start"):
        found += _pretrained(one["runs"])
    if one := results.get("equal-budget"):
        for budget, at in one["budgets"].items():
            found += _equal(budget, at)
    return found


def _pretrained(runs: Mapping[str, Any]) -> list[Row]:
    def of(way: str, *keys: str) -> float:
        values: list[Any] = [one["fp32"] for one in runs[way]]
        for key in keys:
            values = [one[key] for one in values]
        return mean(values)

    missed = [f"{100 * (1 - of(way, 'recall', 'no_helmet')):.0f}" for way in ("coco", "scratch")]
    said = f"{missed[0]}; from random weights {missed[1]}"
    question = "Of 100 workers without a helmet, how many does it miss?"
    found = [answer(question, "-", said, _PRETRAINED)]
    for words, goal, keys in (
        ("mAP50", 0.62, ("map50",)),
        ("mAP50-95", 0.32, ("map50_95",)),
        ("AP50 of `no_helmet`", 0.45, ("ap50", "no_helmet")),
    ):
        value = of("coco", *keys)
        said = f"{value:.3f}; from random weights {of('scratch', *keys):.3f}"
        question = f"{words} on real photographs, from weights trained on COCO?"
        found.append(answer(question, f"≥ {goal}", said, _PRETRAINED, met=value >= goal))
    return found


def _equal(budget: str, at: Mapping[str, Any]) -> list[Row]:
    command = f"python -m benchmarks.equal_budget --budget {budget}"
    found: list[Row] = []
    if "ahead" in at:
        ours, rival = (at[side]["map50_95"]["mean"] for side in ("ours", "rival"))
        question = f"Ahead of YOLO11n, both from random weights, after {budget} processor seconds?"
        said = f"mAP50-95 {ours:.3f} against {rival:.3f}"
        met = at["ahead"]["map50_95"]["low"] > 0
        found.append(answer(question, "ahead", said, command, met=met))
    if "pretrained" in at:
        question = f"And ours from weights trained on COCO, after {budget}?"
        said = f"mAP50-95 {at['pretrained']['map50_95']['mean']:.3f}"
        met = at["gained"]["map50_95"]["low"] > 0
        found.append(answer(question, "ahead", said, command, met=met))
    return found


def training(results: Results) -> list[Row]:
    """What does a training cost?"""
    found: list[Row] = []
    if one := results.get("pretrained-start"):
        spent = {way: mean(run["processor_s"] for run in runs) for way, runs in one["runs"].items()}
        ratio = spent["coco"] / spent["scratch"]
        question = (
            "Processor time from weights trained on COCO, against 18 epochs from random ones?"
        )
        said = f"{ratio:.1f}×, {spent['coco'] / 60:.0f} minutes"
        found.append(answer(question, "≤ 4.5×", said, _PRETRAINED, met=ratio <= 4.5))
    for name, where in (("training-throughput", "CPU"), ("training-throughput-gpu", "H200")):
        for threads in (1, 2):
            slowest = _slowest(results.get(name, {}), threads)
            if slowest is not None:
                question = "Share of the bare step's speed, with loading and augmentation"
                question += f" ({where}, {threads} thread{'s' if threads > 1 else ''})?"
                said = f"{slowest:.2f}× or more"
                command = "python -m benchmarks.training_throughput"
                found.append(answer(question, "≥ 0.9×", said, command, met=slowest >= 0.9))
    return found


def _slowest(content: Mapping[str, Any], threads: int) -> float | None:
    sizes = [one for one in content.values() if isinstance(one, Mapping) and "later_epoch" in one]
    mine = [one for one in sizes if one["threads"] == threads]
    return min((one["later_epoch"]["to_bare"]["ratio"] for one in mine), default=None)


def speed(results: Results) -> list[Row]:
    """How fast is it on a box?"""
    found: list[Row] = []
    for size, words in _SIZES.items():
        parts: list[str] = []
        for kind, where in (("", "VNNI"), ("-amx", "AMX"), ("-limited", "AVX2")):
            for name in (latency.NAME, latency.NANODET_NAME):
                for one in _frames(results.get(name + kind, {}), size):
                    parts.append(_frame_ms(one, where))
        if parts:
            nanodet = " --nanodet" if "@" in size else ""
            question = f"ms from a frame of 720p to boxes, one thread: {words}?"
            command = f"python -m benchmarks.latency{nanodet}"
            found.append(answer(question, "-", "; ".join(parts), command))
    found += _int8_faster(results) + _against_onnxruntime(results)
    times = next(
        (
            at["latency"]
            for at in results.get("equal-budget", {}).get("budgets", {}).values()
            if "latency" in at
        ),
        None,
    )
    if times:
        said = f"{times['p50']['ratio']:.2f}×, {times['ours_p50_ms']:.0f} ms against "
        said += f"{times['rival_p50_ms']:.0f}"
        question = "Ours (width 8, 320 px) against YOLO11n, f32?"
        found.append(answer(question, "≤ 1×", said, _BUDGET, met=times["p50"]["ratio"] <= 1))
    return found


def _frames(content: Mapping[str, Any], size: str, kind: str = "frame") -> list[Mapping[str, Any]]:
    """The results of a size in one thread."""
    return [
        one
        for one in content.get("results", ())
        if (one["size"], one["threads"], one["kind"]) == (size, 1, kind)
    ]


def _frame_ms(one: Mapping[str, Any], where: str) -> str:
    times = one["latency"]
    said = f"{where}: f32 {times['openvino f32']['p50_ms']:.0f}"
    if one["default"] != "f32":
        said += f", {one['default']} {times['openvino default']['p50_ms']:.0f}"
    # A site takes the better preset, and quantization chooses it.
    int8 = min(value["p50_ms"] for name, value in times.items() if name in _INT8)
    return f"{said}, INT8 {int8:.0f}"


_INT8 = ("openvino int8", "openvino int8 performance")


def _int8_faster(results: Results) -> list[Row]:
    found: list[Row] = []
    for goal, names, more in (
        (2.5, {"VNNI": latency.NAME, "AMX": latency.AMX_NAME}, ""),
        (1.6, {"AVX2": latency.LIMITED_NAME}, " --isa AVX2"),
    ):
        ratios = {
            where: one["int8 against"]["openvino f32"]["ratio"]
            for where, name in names.items()
            for one in _frames(results.get(name, {}), latency.SIZES[-1])
        }
        if ratios:
            said = ", ".join(f"{where} {ratio:.1f}×" for where, ratio in ratios.items())
            question = f"INT8 against f32 at production size, with {' or '.join(ratios)}?"
            command, met = f"python -m benchmarks.latency{more}", min(ratios.values()) >= goal
            found.append(answer(question, f"≥ {goal}×", said, command, met=met))
    return found


def _against_onnxruntime(results: Results) -> list[Row]:
    """Of NanoDet-g: the network alone, and whole frames."""
    found: list[Row] = []
    content = results.get(latency.NANODET_NAME, {})
    for kind, what in (("model", "alone"), ("frame", "with a frame of 720p")):
        each: dict[str, list[float]] = {}
        for size in latency.NANODET_SIZES:
            for one in _frames(content, size, kind):
                for name, value in one["against onnxruntime"].items():
                    each.setdefault(name.removeprefix("openvino "), []).append(value["ratio"])
        if each:
            said = ", ".join(
                f"{name} {' and '.join(f'{ratio:.1f}×' for ratio in ratios)}"
                for name, ratios in each.items()
            )
            question = f"NanoDet-g {what}, 320 and 416 px, against ONNX Runtime's f32 and INT8?"
            command, met = (
                "python -m benchmarks.latency --nanodet",
                min(map(min, each.values())) >= 1,
            )
            found.append(answer(question, "≥ 1×", said, command, met=met))
    return found


def int8(results: Results) -> list[Row]:
    """What does INT8 lose?"""
    found: list[Row] = []
    for one in results.get(accuracy_drop.NAME, {}).get("results", ()):
        difference = one["difference"]
        label, worst = min(difference["recall"].items(), key=lambda item: item[1]["value"])
        drawn = one["images"] >= accuracy_drop.LARGE
        network = "NanoDet-g from COCO, " if one.get("start") == "coco" else ""
        on = f"{network}{one['images']} {'drawn scenes' if drawn else 'photographs'}"
        for what, lost, goal in (
            ("mAP50-95", difference["map50_95"], accuracy_drop.map_goal(one)),
            (f"Recall of {label}, which lost most", worst, accuracy_drop.recall_goal(one)),
        ):
            said = accuracy_drop.points(lost)
            met = None if goal is None else -100 * lost["value"] <= goal
            wanted = "-" if goal is None else f"≤ {goal} points"
            found.append(answer(f"{what}, {on}?", wanted, said, "make bench-drop", met=met))
    if one := results.get("pretrained-start"):
        runs = one["runs"]["coco"]
        lost = mean(100 * (run["fp32"]["map50_95"] - run["int8"]["map50_95"]) for run in runs)
        question = "mAP50-95, 72 photographs, NanoDet-g from COCO, three seeds?"
        said = f"{-lost:+.2f} points"
        found.append(answer(question, "≤ 0.5 points", said, _PRETRAINED, met=lost <= 0.5))
    return found


def data(results: Results) -> list[Row]:
    """How long does the check of a data set take?"""
    found: list[Row] = []
    if one := results.get("checker"):
        for key, goal, words in (
            ("first", 0.7, "The first check"),
            ("second", 20, "The check of an unchanged folder"),
        ):
            ratio, rate = one[key]["ratio"], one["images_per_s"][key]
            question = f"{words}: speed against decoding the pictures?"
            said = f"{ratio:.1f}×, {rate:.0f} pictures a second"
            command = "make bench-data"
            found.append(answer(question, f"≥ {goal}×", said, command, met=ratio >= goal))
    return found


def demo(results: Results) -> list[Row]:
    """Does the demo always tell its story?"""
    found: list[Row] = []
    if one := results.get("demo-margin"):
        for version, wanted in (("v1", "HEALTHY"), ("v2", "FAILING")):
            mine = [each for each in one["results"] if each["model"].startswith(version)]
            fits = sum(each["verdict"] == wanted for each in mine)
            question = f"Is {version} {wanted} at night, from {one['seeds']} seeds?"
            said = f"{fits} of {len(mine)}"
            met = fits == len(mine)
            found.append(answer(question, "always", said, "make bench-demo", met=met))
    return found
