"""The one evaluator of the accuracy benchmark: what both sides' IRs find on the same photographs.

    RUN.json, ir/ --detect--> val: which recipe is the rival's best; test: figures with intervals

Both are canonical IRs: the same letterbox, the same suppression, the same definition of average
precision, and the same draws of the bootstrap, so that a difference is one of pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import ratio
from guardianflow.vision.data.dataset import Dataset, load_image
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.detections import detect
from guardianflow.vision.metrics.evaluation import Evaluation, evaluate
from guardianflow.vision.metrics.intervals import Draws, bootstrap, interval
from guardianflow.vision.metrics.latency import measure_latency
from guardianflow.vision.metrics.matching import collect_overlaps
from guardianflow.vision.metrics.thresholds import choose_thresholds

_ROUNDS, _REPEATS, _FRAMES = 12, 20, 24
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class Judged:
    """One kept run and what its detector does.

    Attributes:
        run: What was kept of its training.
        ir: Folder of its IR.
        val: On the split that may choose.
        test: On the split that is reported, at thresholds chosen on val.
        draws: Of the test split.
    """

    run: dict
    ir: Path
    val: Evaluation
    test: Evaluation
    draws: Draws

    def figures(self) -> dict[str, object]:
        """All that is written about it."""
        return {
            **self.run,
            "val": _figures(self.val),
            "test": {
                **_figures(self.test),
                "map50_interval": _ends(self.draws.map50()),
                "map50_95_interval": _ends(self.draws.map50_95()),
            },
        }


def judge(run: dict, folder: Path, data: Dataset) -> Judged:
    """Look at val and test with what a run left."""
    ir = folder / run["run"] / "ir"
    detector = IrDetector(ir)
    val, test = data.samples("val"), data.samples("test")
    seen = detect(detector, val)
    thresholds = choose_thresholds(seen, val, data.classes, beta=1.0)
    found = detect(detector, test)
    return Judged(
        run=run,
        ir=ir,
        val=evaluate(seen, val, data.classes, thresholds),
        test=evaluate(found, test, data.classes, thresholds),
        draws=bootstrap(collect_overlaps(found, test), len(data.classes), thresholds),
    )


def mean_of(side: Sequence[Judged]) -> dict[str, object]:
    """The mean over seeds, its interval, and the least and the most of a seed.

    The interval is that of the photographs: each draw takes the same ones for all seeds.
    """
    found: dict[str, object] = {"seeds": [one.run["seed"] for one in side]}
    for name, values, draws in (
        ("map50", [one.test.map50 for one in side], [one.draws.map50() for one in side]),
        ("map50_95", [one.test.map50_95 for one in side], [one.draws.map50_95() for one in side]),
    ):
        found[name] = {
            "mean": round(float(np.mean(values)), _DIGITS),
            **_ends(np.mean(draws, axis=0)),
            "least": round(min(values), _DIGITS),
            "most": round(max(values), _DIGITS),
        }
    return found


def difference(ours: Sequence[Judged], rivals: Sequence[Judged]) -> dict[str, object]:
    """How far ours is ahead in the mean over seeds, with its paired interval."""
    found: dict[str, object] = {}
    for name in ("map50", "map50_95"):
        ahead = np.mean([getattr(one.test, name) for one in ours])
        ahead -= np.mean([getattr(one.test, name) for one in rivals])
        mine = np.mean([getattr(one.draws, name)() for one in ours], axis=0)
        other = np.mean([getattr(one.draws, name)() for one in rivals], axis=0)
        found[name] = {"mean": round(float(ahead), _DIGITS), **_ends(mine - other)}
    return found


def compare_latency(ours: Path, rival: Path, data: Dataset) -> dict[str, object]:
    """Time both on the same frames, in turns: f32 pinned, one thread, from frame to detections."""
    detectors = {"ours": IrDetector(ours), "rival": IrDetector(rival)}
    frames = [load_image(sample.image) for sample in data.samples("test")[:_FRAMES]]
    rounds = [measure_latency(detectors, frames, repeats=_REPEATS) for _ in range(_ROUNDS)]
    middle = {name: [one[name].p50_ms for one in rounds] for name in detectors}
    return {
        **{name: rounds[-1][name].model_dump() for name in detectors},
        **{f"{name}_p50_ms": round(float(np.median(middle[name])), 2) for name in detectors},
        "p50": ratio(middle["ours"], middle["rival"], 0.5),
        "rounds": _ROUNDS,
    }


def _figures(evaluation: Evaluation) -> dict[str, object]:
    return {
        "map50": round(evaluation.map50, _DIGITS),
        "map50_95": round(evaluation.map50_95, _DIGITS),
        "false_alarms_per_image": round(evaluation.false_alarms_per_image, _DIGITS),
        "per_class": {
            name: {"ap50": round(one.ap50, _DIGITS), "recall": round(one.recall, _DIGITS)}
            for name, one in evaluation.per_class.items()
        },
    }


def _ends(draws: NDArray[np.float64]) -> dict[str, float]:
    ends = interval(draws)
    return {"low": round(ends.low, _DIGITS), "high": round(ends.high, _DIGITS)}
