"""What the rules of health do in months of windows: `python -m benchmarks.false_rollbacks`.

Two detectors are trained for real, the champion and its way back, and look at drawn frames by day
and at night. Windows are frames drawn from these. Each is measured by `sample_figures`, judged by
`judge`, and with the windows before it by `conclude`; whether the way back does better is asked of
`surely_better`: the code that judges in production, without its server.

    frames, detections -> windows, measured once -> months drawn from them -> rolled back or not

Worse champions are the same one of which objects are lost by chance (`windows.py`). Twenty
minutes on one core.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import RESULTS, Row, quantile, tell
from benchmarks.spoiled import scenario
from benchmarks.windows import METRIC, Champion, Champions, pools
from guardianflow.health.verdict import Judgement, PastWindow, Verdict, conclude
from guardianflow.scenario import HealthPolicy, Light, Scenario
from guardianflow.vision.metrics.intervals import rate_at_most

NAME = "false-rollbacks"
EVERY_MINUTES = 10
DAYS = 30
_DAY_HOURS = range(6, 18)
_LOOKED_BACK = 200
"""Windows in a row that matter: as many as `past_windows` reads."""
MARGINS = (0.0, 0.02, 0.05, 0.10)
"""How far above the limit the true mAP50 of a healthy champion is, in its worse light."""
FAULTS = (0.1, 0.2, 0.4)
"""By how much the recall of a good champion falls."""
_TIGHT = 0.1
"""A limit that a scenario may set: so far below what the champion shows in its worse light."""
_CODES = tuple(Verdict)
_FAILED = Judgement(Verdict.FAILING, "a window that failed", METRIC)


class Judged:
    """The windows of a champion under a policy, to draw months from."""

    def __init__(self, champion: Champion, policy: HealthPolicy) -> None:
        self.policy = policy
        self.codes = {
            light: np.array([_CODES.index(one.verdict(policy)) for one in windows])
            for light, windows in champion.windows.items()
        }
        self.better = {
            light: np.array([one.way_back_is_better(policy) for one in windows])
            for light, windows in champion.windows.items()
        }

    def failing(self) -> float:
        """Which share of all windows fails by itself."""
        every = np.concatenate(list(self.codes.values()))
        return float(np.mean(every == _CODES.index(Verdict.FAILING)))

    def run(self, runs: int, length: int, seed: int) -> tuple[list[int | None], list[int]]:
        """Draw runs of windows, each from a random hour on, until a rollback.

        Args:
            runs: How many.
            length: Windows of each.
            seed: Of what is drawn.

        Returns:
            Of each run the number of its window that rolled back, from 1; and how often it was
            FAILING without one, because the way back was no better.
        """
        random = np.random.default_rng(seed)
        ended: list[int | None] = []
        alarms: list[int] = []
        for _ in range(runs):
            codes, better = self._draw(length, random)
            end, alarmed = self._first(codes, better)
            ended.append(end)
            alarms.append(alarmed)
        return ended, alarms

    def _draw(
        self, length: int, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        begin = int(random.integers(24 * 60 // EVERY_MINUTES))
        hours = (begin + np.arange(length)) * EVERY_MINUTES // 60 % 24
        by_day = np.isin(hours, _DAY_HOURS)
        codes = np.empty(length, dtype=np.int64)
        better = np.empty(length, dtype=bool)
        for light, where in ((Light.DAY, by_day), (Light.NIGHT, ~by_day)):
            rows = random.integers(len(self.codes[light]), size=int(where.sum()))
            codes[where] = self.codes[light][rows]
            better[where] = self.better[light][rows]
        return codes, better

    def _first(self, codes: NDArray[np.int64], better: NDArray[np.bool_]) -> tuple[int | None, int]:
        alarms = 0
        for place in np.flatnonzero(codes == _CODES.index(Verdict.FAILING)).tolist():
            # No two windows of a month hold the same frames: each has its place for a name.
            concluded, _ = conclude(_FAILED, self.policy, str(place), _before(codes, place))
            if concluded.verdict is not Verdict.FAILING:
                continue
            if better[place]:
                return place + 1, alarms
            alarms += 1
        return None, alarms


def _before(codes: NDArray[np.int64], place: int) -> Iterator[PastWindow]:
    """The windows before a place, the newest first."""
    for earlier in range(place - 1, max(-1, place - 1 - _LOOKED_BACK), -1):
        yield PastWindow(str(earlier), _CODES[codes[earlier]])


def healthy(champion: Champion, policy: HealthPolicy, months: int) -> dict[str, Any]:
    """False rollbacks of a champion that is as good as it always was."""
    judged = Judged(champion, policy)
    ended, alarms = judged.run(months, DAYS * 24 * 60 // EVERY_MINUTES, seed=3)
    wrong = sum(end is not None for end in ended)
    return {
        "map50": {light.value: round(value, 3) for light, value in champion.map50.items()},
        "limit": policy.min_map50,
        "consecutive": policy.consecutive,
        "windows_that_fail": round(judged.failing(), 5),
        "months": months,
        "false_rollbacks": wrong,
        # One-sided, 95 %: three months where none was seen.
        "percent_at_most": round(min(100.0, 100 * rate_at_most(wrong, months)), 3),
        "alarms_per_month": round(sum(alarms) / months, 3),
    }


def detected(champion: Champion, policy: HealthPolicy, runs: int) -> dict[str, Any]:
    """How many windows go by until a champion that has become worse is rolled back."""
    week = 7 * 24 * 60 // EVERY_MINUTES
    ended, _ = Judged(champion, policy).run(runs, week, seed=4)
    seen = [end for end in ended if end is not None]
    return {
        "map50": {light.value: round(value, 3) for light, value in champion.map50.items()},
        "limit": policy.min_map50,
        "rolled_back_within_a_week": round(len(seen) / runs, 3),
        "windows_p50": quantile(seen, 0.5) if seen else None,
        "windows_p95": quantile(seen, 0.95) if seen else None,
    }


def measure(
    champion: Scenario, way_back: Scenario, *, frames: int, windows: int, months: int
) -> dict[str, Any]:
    """All figures of this benchmark.

    Args:
        champion: What the champion is trained from.
        way_back: And the version before it.
        frames: Frames of each light to draw windows from.
        windows: Windows of each champion and light that are measured.
        months: How many months are drawn of each.

    Raises:
        RuntimeError: The champion has not learned enough to be called healthy.
    """
    policy = HealthPolicy()
    with tempfile.TemporaryDirectory() as text:
        champions = Champions(
            pools(Path(text), frames, champion, way_back),
            champion.classes,
            windows,
            policy.min_images,
        )
    good = champions.champion(0.0)
    least = policy.min_map50 + max(MARGINS)
    if good.worse < least:
        raise RuntimeError(f"the champion shows {good.map50}, not {least}: train it for longer")
    own = policy.model_copy(update={"min_map50": round(good.worse - _TIGHT, 3)})
    margins = {
        margin: champions.champion(champions.loss_for(policy.min_map50 + margin))
        for margin in MARGINS
    }
    worse = {points: champions.champion(champions.loss_of_recall(points)) for points in FAULTS}
    return {
        "versions": {"OpenVINO": version("openvino"), "NumPy": version("numpy")},
        "window": {"frames": policy.min_images, "every_minutes": EVERY_MINUTES},
        "windows_measured": windows,
        "healthy": {
            **{
                f"{margin:.2f}": [
                    healthy(one, policy.model_copy(update={"consecutive": row}), months)
                    for row in (1, 2, policy.consecutive)
                ]
                for margin, one in margins.items()
            },
            "as_trained": [healthy(good, policy, months)],
            "own_limit": [healthy(good, own, months)],
        },
        "faults": {
            f"{points:.1f}": {
                "default_limit": detected(one, policy, min(months, 500)),
                "own_limit": detected(one, own, min(months, 500)),
            }
            for points, one in worse.items()
        },
    }


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    command = "`python -m benchmarks.false_rollbacks`"
    every = content["window"]["every_minutes"]
    found: list[Row] = []
    for margin, tried in content["healthy"].items():
        what = {
            "as_trained": "as it was trained, default limit",
            "own_limit": f"limit {_TIGHT:.2f} below what it shows",
        }.get(margin, f"mAP50 {margin} above the limit in its worse light")
        others = [f"{_rate(one)} with {one['consecutive']} in a row" for one in tried[:-1]]
        found.append(
            (
                f"false rollbacks of a healthy champion, {what}, a window of "
                f"{content['window']['frames']} frames every {every} minutes",
                "≤ 0.1 % of months",
                f"{_rate(tried[-1])}, alarms a month: {tried[-1]['alarms_per_month']:.2f}"
                + (f" ({'; '.join(others)})" if others else ""),
                command,
            )
        )
    for points, limits in content["faults"].items():
        for key, words in (
            ("default_limit", "default limit"),
            ("own_limit", f"limit {_TIGHT:.2f} below what it showed"),
        ):
            found.append(
                (
                    f"recall falls by {100 * float(points):.0f} points → rolled back, {words}",
                    "stated",
                    _delay(limits[key], every),
                    command,
                )
            )
    return found


def _rate(one: Mapping[str, Any]) -> str:
    percent = 100 * one["false_rollbacks"] / one["months"]
    return f"{percent:.2f} % (at most {one['percent_at_most']:.2f} %) of {one['months']:,} months"


def _delay(one: Mapping[str, Any], every: int) -> str:
    within = f"{100 * one['rolled_back_within_a_week']:.0f} % within a week"
    if one["windows_p50"] is None:
        return within
    p50, p95 = one["windows_p50"], one["windows_p95"]
    return f"{within}; {p50:.0f} windows p50, {p95:.0f} p95 ({p50 * every / 60:.1f} h p50)"


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.false_rollbacks", description=__doc__
    )
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--windows", type=int, default=500)
    parser.add_argument("--months", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    figures = measure(
        scenario(seed=0),
        scenario(seed=1),
        frames=options.frames,
        windows=options.windows,
        months=options.months,
    )
    tell(NAME, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
