"""Whether health does the right thing: `python -m benchmarks.right_action`, half an hour.

Two detectors are trained for real: the way back, and the champion, another seed. Then, case by
case, windows of drawn frames are checked by `check_health`, and a FAILING report is given to
`roll_back_failing`, on a real MLflow server:

    bad model       the champion is one that was broken     right: rolled back
    camera          the frames are spoiled                  right: an alarm about the camera
    changed scene   neither version knows it                right: an alarm, or nothing if HEALTHY

The policy is the default one, but for its limit: a tenth below what the way back shows by day, as a
scenario would set it. A case ends with the first FAILING report or fault, or after six windows.
"""

import argparse
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks import frames
from benchmarks.figures import RESULTS, Row, tell
from benchmarks.plant import plant_on
from benchmarks.spoiled import (
    Files,
    Trained,
    blinded,
    half_blind,
    kept,
    learn,
    noisy,
    released,
    scenario,
    swapped,
)
from guardianflow.errors import Refused, SceneChanged
from guardianflow.health.reaction import roll_back_failing
from guardianflow.health.verdict import Verdict
from guardianflow.health.window import check_health
from guardianflow.mlflow_store.runs import read_evaluation
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import HealthPolicy, Light, Scenario
from guardianflow.vision.synthetic import draw_window

NAME = "right-action"
_BELOW = 0.1
_MOST_WINDOWS = 6
BACK, CAMERA, SCENE, HEALTHY, OPEN = "rolled back", "camera alarm", "scene alarm", "healthy", "open"
RIGHT = {"bad model": {BACK}, "camera": {CAMERA}, "changed scene": {SCENE, HEALTHY}}
Spoil = Callable[[Path, Path], Path]
"""Makes a spoiled window of a window, in a folder."""
# Of several strengths, from what nobody could work with to what an eye still sees through.
CAMERAS: Mapping[str, Spoil] = {
    **{
        f"dark {light:g}": partial(frames.changed, change=frames.dark(light))
        for light in (0.02, 0.05, 0.1)
    },
    **{
        f"washed out {share:g}": partial(frames.changed, change=frames.hazed(share))
        for share in (0.94, 0.87, 0.8)
    },
    **{
        f"blurred {share:g}": partial(frames.changed, change=frames.blurred(share))
        for share in (0.03, 0.02, 0.012)
    },
    **{f"frozen {share:g}": partial(frames.frozen, share=share) for share in (1.0, 0.8, 0.6)},
}
SCENES: Mapping[str, Spoil | None] = {
    "night for detectors of the day": None,
    "other colours": partial(frames.changed, change=frames.recoloured),
    "camera turned": partial(frames.changed, change=frames.turned),
    "camera farther away": partial(frames.changed, change=frames.farther),
}
MODELS: Mapping[str, Callable[[Trained], Files]] = {
    "blind": blinded,
    "noise 0.6": partial(noisy, share=0.6),
    "noise 1": partial(noisy, share=1.0),
    "classes swapped": swapped,
    "blind on the left": half_blind,
    "blind on the right": partial(half_blind, left=False),
}


@dataclass(frozen=True)
class Detectors:
    """The way back, the champion, and the policy under which they are judged."""

    way_back: Trained
    champion: Trained
    policy: HealthPolicy

    @property
    def registry(self) -> ModelRegistryManager:
        """Where they are."""
        return self.way_back.registry


class Windows:
    """Windows of fresh frames by day and at night, each drawn once."""

    def __init__(self, folder: Path, trained: Trained, many: int, images: int, seed: int) -> None:
        self._folder = folder
        self._drawn: dict[Light, list[Path]] = {}
        for light in Light:
            self._drawn[light] = [folder / f"{light}-{number}" for number in range(many)]
            for number, window in enumerate(self._drawn[light]):
                draw_window(
                    window,
                    trained.scenario.classes,
                    light=light,
                    images=images,
                    seed=seed + number,
                    image_size=trained.scenario.training.image_size,
                )

    def of_case(self, light: Light, number: int, spoil: Spoil | None) -> Iterator[Path]:
        """As many as a case may need, other ones for each case, spoiled where it is wanted."""
        start = number * _MOST_WINDOWS % len(self._drawn[light])
        for window in islice(cycle(self._drawn[light]), start, start + _MOST_WINDOWS):
            yield spoil(window, self._folder / uuid.uuid4().hex) if spoil else window


def outcome(detectors: Detectors, name: ModelName, windows: Iterator[Path]) -> str:
    """What health does with the champion, version 2 of a name, on these windows."""
    registry, camera = detectors.registry, uuid.uuid4().hex[:12]
    report = None
    for window in windows:
        report = check_health(
            registry,
            name,
            window,
            token=f"{camera}-{window.name}",
            camera=camera,
            policy=detectors.policy,
        )
        if report.faults:
            return CAMERA
        if report.verdict is Verdict.FAILING:
            break
    assert report is not None
    if report.verdict is not Verdict.FAILING:
        return HEALTHY if report.verdict is Verdict.HEALTHY else OPEN
    try:
        reaction = roll_back_failing(registry, name, 2, report.report_id)
    except SceneChanged:
        return SCENE
    except Refused as error:
        return type(error).__name__
    return BACK if reaction.operation else reaction.message


class Standing:
    """A good champion with its way back; another name once it was moved, which is wrong."""

    def __init__(self, detectors: Detectors) -> None:
        self._detectors = detectors
        self._name: ModelName | None = None

    def outcome(self, windows: Iterator[Path]) -> str:
        """What health does with it on these windows."""
        if self._name is None:
            self._name = released(self._detectors.way_back, self._detectors.champion.run_id)
        found = outcome(self._detectors, self._name, windows)
        if found == BACK:
            self._name = None
        return found


def bad_models(detectors: Detectors, windows: Windows, cases: int) -> Iterator[tuple[str, str]]:
    """Champions that are broken, each on frames of the day, which it once knew."""
    runs = {
        what: kept(detectors.champion, spoil(detectors.champion)) for what, spoil in MODELS.items()
    }
    for number, what in enumerate(islice(cycle(MODELS), cases)):
        name = released(detectors.way_back, runs[what])
        yield what, outcome(detectors, name, windows.of_case(Light.DAY, number, None))


def cameras(detectors: Detectors, windows: Windows, cases: int) -> Iterator[tuple[str, str]]:
    """A good champion behind a camera that fails, by day and at night."""
    standing = Standing(detectors)
    for number, what in enumerate(islice(cycle(CAMERAS), cases)):
        light = Light.DAY if number // len(CAMERAS) % 2 == 0 else Light.NIGHT
        spoiled = windows.of_case(light, number, CAMERAS[what])
        yield f"{what} ({light})", standing.outcome(spoiled)


def scenes(detectors: Detectors, windows: Windows, cases: int) -> Iterator[tuple[str, str]]:
    """A good champion before a scene that neither version knows."""
    standing = Standing(detectors)
    for number, what in enumerate(islice(cycle(SCENES), cases)):
        spoil = SCENES[what]
        light = Light.DAY if spoil else Light.NIGHT
        yield what, standing.outcome(windows.of_case(light, number, spoil))


def measure(
    way_back: Scenario, champion: Scenario, *, cases: int, windows: int, seed: int
) -> dict[str, Any]:
    """All figures of this benchmark.

    Args:
        way_back: What the way back is trained from.
        champion: And the champion.
        cases: Of each group.
        windows: How many windows are drawn of each light; cases share them.
        seed: Of the windows.
    """
    with plant_on() as plant, tempfile.TemporaryDirectory() as text:
        trained = [learn(plant.registry, wanted) for wanted in (way_back, champion)]
        shown = read_evaluation(plant.client, trained[0].run_id).map50
        policy = HealthPolicy(min_map50=round(max(0.0, shown - _BELOW), 3))
        detectors = Detectors(trained[0], trained[1], policy)
        drawn = Windows(Path(text), trained[0], windows, policy.min_images, seed)
        groups = {"bad model": bad_models, "camera": cameras, "changed scene": scenes}
        found = {
            group: tally(run(detectors, drawn, cases), RIGHT[group])
            for group, run in groups.items()
        }
    return {
        "way_back_map50": round(shown, 3),
        "limit": policy.min_map50,
        "frames_of_a_window": policy.min_images,
        "groups": found,
    }


def tally(cases: Iterator[tuple[str, str]], right: set[str]) -> dict[str, Any]:
    """How often the right thing was done, and what was done for each kind."""
    counted: dict[str, Counter[str]] = {}
    for what, done in cases:
        print(f"{what}: {done}", flush=True)
        counted.setdefault(what, Counter())[done] += 1
    total = sum(one.total() for one in counted.values())
    good = sum(times for one in counted.values() for done, times in one.items() if done in right)
    return {
        "cases": total,
        "right": good,
        "done": {what: dict(one) for what, one in counted.items()},
    }


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    found: list[Row] = []
    for group, one in content["groups"].items():
        done: Counter[str] = Counter()
        for kind in one["done"].values():
            done.update(kind)
        told = ", ".join(f"{what} {times}" for what, times in done.most_common())
        found.append(
            (
                f"right action, {group}, limit {content['limit']:.2f} "
                f"({_BELOW} below the way back)",
                "≥ 95 %",
                f"{100 * one['right'] / one['cases']:.0f} % of {one['cases']} ({told})",
                "`python -m benchmarks.right_action`",
            )
        )
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.right_action", description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="of each group")
    parser.add_argument("--windows", type=int, default=60, help="drawn of each light")
    parser.add_argument("--seed", type=int, default=90_000, help="of the windows")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    day = (Light.DAY,)
    figures = measure(
        scenario(light=day, seed=0),
        scenario(light=day, seed=1),
        cases=options.cases,
        windows=options.windows,
        seed=options.seed,
    )
    tell(NAME, figures, rows(figures), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
