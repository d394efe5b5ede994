"""Accuracy at equal budget: ours against YOLO11n, both from random weights, on real photographs.

    python -m benchmarks.equal_budget --budget 240 --seeds 0 1 2     thirteen trainings of 4 minutes
    python -m benchmarks.equal_budget --long 3600 --seeds 0          three of an hour
    python -m benchmarks.equal_budget                                judge again what is kept

Both sides learn from the same photographs at the same input size for as many processor seconds, on
one thread each; one evaluator judges both on the test split (decision 0015). Beside them ours from
weights trained on COCO, where these are on the machine (docs/weights.md); the rival's cannot be had
without a model hub. Needs GUARDIANFLOW_REAL_DATA; sets the rival's environment up itself. Runs that
are finished are kept in .guardianflow/equal-budget, so that a command that was killed goes on where
it was.
"""

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants import (
    OURS,
    PRETRAINED,
    Ours,
    Ultralytics,
    kept_runs,
    run_within,
    versions,
)
from benchmarks.figures import RESULTS, Row, tell, told
from benchmarks.judging import Judged, compare_latency, difference, judge, mean_of
from benchmarks.pretrained_start import scenario_of
from benchmarks.rival import Recipe, Rival, write_dataset
from guardianflow.errors import GuardianflowError
from guardianflow.lifecycle.training.kept_weights import weights_folder
from guardianflow.machine.servers import home
from guardianflow.scenario.file import load_scenario
from guardianflow.vision.data.dataset import Dataset, prepare_dataset

NAME = "equal-budget"
_TITLES = {"map50": "mAP50", "map50_95": "mAP50-95"}
SCENARIO, VERSION = "openyard-helmets", "v2"
# Options of Ultralytics' own command line; what a recipe does not name is its default.
RECIPES: Mapping[str, Recipe] = {
    "default": Recipe({}, "as it comes: batch 16, gradients summed over 64 images"),
    "batch-4": Recipe({"batch": 4}, "as it comes, but for batch 4"),
    "steps-of-16": Recipe({"batch": 16, "nbs": 16}, "a step every 16 images", short=True),
    "steps-of-4": Recipe({"batch": 4, "nbs": 4}, "a step every 4 images", short=True),
    "steps-of-4-sgd": Recipe(
        {"batch": 4, "nbs": 4, "optimizer": "SGD"}, "the same with SGD instead of auto", short=True
    ),
}
# Reported for the parent set of ppe-real-small, in the README beside it.
LITERATURE = {
    "detector": "YOLOv8n, COCO-pretrained, 50 epochs at 640 px",
    "on": "the validation split of the parent set, trained on its 675 images",
    "map50": 0.627,
    "map50_95": 0.357,
}


@dataclass(frozen=True)
class Bench:
    """Both sides, ready to train.

    Attributes:
        folder: Where runs are kept.
        data: The photographs.
        ours: Our side.
        pretrained: Our side from weights trained on COCO; None where they are not here.
        rivals: The other one, by its recipes.
    """

    folder: Path
    data: Dataset
    ours: Ours
    pretrained: Ours | None
    rivals: Mapping[str, Ultralytics]

    def race(self, budget_s: float, seeds: Sequence[int], recipes: Sequence[str]) -> list[Judged]:
        """The rival's recipes on the first seed; the best of them on the others, too."""
        first = [self._judged(self.rivals[name], budget_s, seeds[0]) for name in recipes]
        best = recipes[first.index(_best(first))]
        return first + [self._judged(self.rivals[best], budget_s, seed) for seed in seeds[1:]]

    def run_ours(self, one: Ours | None, budget_s: float, seeds: Sequence[int]) -> list[Judged]:
        """Ours on every seed; none without the weights to start from."""
        return [self._judged(one, budget_s, seed) for seed in seeds] if one else []

    def kept(self) -> list[Judged]:
        """All runs that are kept."""
        ours = [self.ours, *([self.pretrained] if self.pretrained else [])]
        runs = kept_runs([*ours, *self.rivals.values()], self.folder)
        return [judge(run, self.folder, self.data) for run in runs]

    def favourite(self, budget_s: float) -> list[str]:
        """The recipe that was best at a smaller budget; all of them if none was tried."""
        tried = [one for one in self.kept() if _is_rival(one.run)]
        smaller = [one for one in tried if one.run["budget_s"] < budget_s]
        return [_best(smaller).run["identity"]["recipe"]] if smaller else list(self.rivals)

    def _judged(self, one: Ours | Ultralytics, budget_s: float, seed: int) -> Judged:
        judged = judge(run_within(one, self.folder, budget_s, seed), self.folder, self.data)
        print(
            f"  val mAP50-95 {judged.val.map50_95:.3f}; test mAP50 {judged.test.map50:.3f}, "
            f"mAP50-95 {judged.test.map50_95:.3f}",
            flush=True,
        )
        return judged


def open_bench(folder: Path, environment: Path) -> Bench:
    """Read the photographs and set up the rival's environment where it is missing.

    Raises:
        InputError: The photographs are not there, or not usable.
        GuardianflowError: The environment cannot be set up.
    """
    scenario = load_scenario(SCENARIO, VERSION)
    data = prepare_dataset(scenario.dataset, scenario.classes)
    settings = scenario.training.model_copy(update={"threads": 1, "device": "cpu"})
    rival = Rival(environment, folder / "settings")
    rival.install()
    copied = write_dataset(data.root, data.classes, folder / "data")
    rivals = {
        name: Ultralytics(rival, copied, data.classes, settings.image_size, name, recipe)
        for name, recipe in RECIPES.items()
    }
    pretrained = None
    if weights_folder().is_dir():
        coco = scenario_of("coco", 0, None).training
        coco = coco.model_copy(update={"threads": 1, "device": "cpu"})
        pretrained = Ours(data.root, coco, PRETRAINED, probes=(2, 4))
    else:
        print(f"without ours pretrained: no weights in {weights_folder()}", flush=True)
    return Bench(folder, data, Ours(data.root, settings), pretrained, rivals)


def compared(runs: Sequence[Judged], data: Dataset) -> dict[str, Any]:
    """The figures of all runs: by budget, each side's mean and who is ahead."""
    budgets: dict[str, dict[str, Any]] = {}
    for budget in sorted({one.run["budget_s"] for one in runs}):
        mine = [one for one in runs if one.run["budget_s"] == budget]
        ours = [one for one in mine if one.run["contestant"] == OURS]
        coco = [one for one in mine if one.run["contestant"] == PRETRAINED]
        rivals = [one for one in mine if _is_rival(one.run)]
        found: dict[str, Any] = {"runs": [one.figures() for one in mine]}
        if rivals:
            best = _best(rivals)
            rivals = [one for one in rivals if one.run["contestant"] == best.run["contestant"]]
            found["rival"] = {"recipe": best.run["identity"]["recipe"], **mean_of(rivals)}
        if ours and coco:
            found["pretrained"] = mean_of(coco)
            found["gained"] = difference(*_on_the_same_seeds(coco, ours))
        if ours and rivals:
            ours, rivals = _on_the_same_seeds(ours, rivals)
            found |= {"ours": mean_of(ours), "ahead": difference(ours, rivals)}
            found["rival"] |= mean_of(rivals)
            found["latency"] = compare_latency(ours[0].ir, rivals[0].ir, data)
        budgets[f"{budget:g}"] = found
    return {"versions": versions(), "budgets": budgets, "literature": LITERATURE}


def _is_rival(run: Mapping[str, Any]) -> bool:
    return run["contestant"] not in (OURS, PRETRAINED)


def _best(runs: Sequence[Judged]) -> Judged:
    """Of the runs with the first seed the one that did best on the split that may choose."""
    first = min(one.run["seed"] for one in runs)
    those = [one for one in runs if one.run["seed"] == first]
    return max(those, key=lambda one: one.val.map50_95)


def _on_the_same_seeds(
    ours: Sequence[Judged], rivals: Sequence[Judged]
) -> tuple[list[Judged], list[Judged]]:
    """Both sides' runs with the seeds that both have; all of them where they share none."""
    seeds = {one.run["seed"] for one in ours} & {one.run["seed"] for one in rivals}
    if not seeds:
        return list(ours), list(rivals)
    return (
        [one for one in ours if one.run["seed"] in seeds],
        [one for one in rivals if one.run["seed"] in seeds],
    )


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """What the page says of the figures."""
    found: list[Row] = []
    for budget, one in figures["budgets"].items():
        flag = "--budget" if float(budget) < 1000 else "--long"
        command = f"`python -m benchmarks.equal_budget {flag} {budget}`"
        if "ahead" in one:
            found += [_accuracy(budget, one, name, command) for name in ("map50_95", "map50")]
            found.append(_latency(one, command))
        if "pretrained" in one:
            found += [_gained(budget, one, name, command) for name in ("map50_95", "map50")]
        found.append(_recipes(budget, one, command))
    other = figures["literature"]
    figure = f"mAP50 {other['map50']:.3f}, mAP50-95 {other['map50_95']:.3f} on {other['on']}"
    found.append((f"reported by others: {other['detector']}", "not comparable", figure, "none"))
    return found


def _accuracy(budget: str, one: Mapping[str, Any], name: str, command: str) -> Row:
    ours, rival, ahead = one["ours"], one["rival"], one["ahead"][name]
    title, seeds = _TITLES[name], len(ours["seeds"])
    what = (
        f"{title} after {budget} processor seconds, ours against YOLO11n ({rival['recipe']}), "
        f"seeds: {seeds}"
    )
    figure = (
        f"{_mean(ours[name])} against {_mean(rival[name])}; difference {ahead['mean']:+.3f} "
        f"({ahead['low']:+.3f} to {ahead['high']:+.3f})"
    )
    return what, "ahead", figure, command


def _gained(budget: str, one: Mapping[str, Any], name: str, command: str) -> Row:
    pretrained, gained = one["pretrained"], one["gained"][name]
    what = (
        f"{_TITLES[name]} after {budget} processor seconds, ours pretrained (NanoDet-g from COCO)"
    )
    figure = (
        f"{_mean(pretrained[name])}; against ours from random weights {gained['mean']:+.3f} "
        f"({gained['low']:+.3f} to {gained['high']:+.3f})"
    )
    return f"{what}, seeds: {len(pretrained['seeds'])}", "ahead", figure, command


def _mean(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.3f} ({value['low']:.3f}–{value['high']:.3f})"


def _latency(one: Mapping[str, Any], command: str) -> Row:
    times = one["latency"]
    size = times["ours"]["image_size"]
    what = f"one frame of ours at {size} px against one of YOLO11n, f32 pinned, 1 thread, p50"
    figure = f"{told(times['p50'])}, {times['ours_p50_ms']} ms and {times['rival_p50_ms']} ms"
    return what, "≤ 1×", figure, command


def _recipes(budget: str, one: Mapping[str, Any], command: str) -> Row:
    """The rival's recipes: the reader sees that the better one was taken."""
    tried = [run for run in one["runs"] if _is_rival(run)]
    seed = min((run["seed"] for run in tried), default=0)
    figure = "; ".join(
        f"{run['identity']['recipe']} {run['test']['map50']:.3f} and "
        f"{run['test']['map50_95']:.3f} ({run['own_evaluator']['map50']:.3f} and "
        f"{run['own_evaluator']['map50_95']:.3f})"
        for run in tried
        if run["seed"] == seed
    )
    what = (
        f"YOLO11n's recipes after {budget} processor seconds, seed {seed}, mAP50 and mAP50-95 "
        "(by its own evaluator)"
    )
    return what, "the best is taken", figure, command


def main(words: Sequence[str] | None = None) -> int:
    options = _options(words)
    try:
        bench = open_bench(options.out.absolute(), options.environment.absolute())
        for budget in options.budget + options.long:
            if options.side in ("all", "rival"):
                long = budget in options.long
                recipes = options.recipes or (bench.favourite(budget) if long else list(RECIPES))
                bench.race(budget, options.seeds, recipes)
            if options.side in ("all", "ours"):
                bench.run_ours(bench.ours, budget, options.seeds)
            if options.side in ("all", "pretrained"):
                bench.run_ours(bench.pretrained, budget, options.seeds)
        figures = compared(bench.kept(), bench.data)
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; finished runs are kept.", file=sys.stderr)
        return 130
    tell(NAME, figures, rows(figures), options.results)
    return 0


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equal_budget")
    parser.add_argument("--budget", type=float, nargs="*", default=[], help="processor seconds")
    parser.add_argument("--long", type=float, nargs="*", default=[], help="... of long runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--side", choices=("all", "ours", "pretrained", "rival"), default="all")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, help="the rival's to try")
    parser.add_argument("--out", type=Path, default=home() / NAME, help="where runs are kept")
    parser.add_argument("--environment", type=Path, default=home() / NAME / "ultralytics")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(words)


if __name__ == "__main__":
    # Ended by a signal of any kind, the training that runs is ended as after Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
