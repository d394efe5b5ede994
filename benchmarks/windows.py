"""Windows of champions of every quality, made of what two trained detectors really saw.

    scenario -> trained -> frames of both lights, looked at -> thinned -> windows with their figures

A champion of another quality is the trained one of which objects are lost by chance: all boxes that
overlap a lost object by half are taken away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guardianflow.health.figures import SampledFigures, sample_figures, surely_better
from guardianflow.health.verdict import Verdict, judge_window, rules_of
from guardianflow.scenario import HealthPolicy, Light, Scenario
from guardianflow.vision.data.dataset import open_dataset, prepare_dataset
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.detections import Detections, Seen, detect
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.matching import iou_matrix
from guardianflow.vision.metrics.thresholds import settle_thresholds
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.synthetic import draw_window

METRIC = "map50"
_LEAST_SCORE = 0.05


@dataclass(frozen=True)
class Pool:
    """Labelled frames of one light, and what the two detectors saw in them."""

    samples: Sequence[Sample]
    champion: Seen
    way_back: Seen


@dataclass(frozen=True)
class Window:
    """One window of a champion of some quality: its figures, and those of the way back."""

    images: int
    objects: int
    ours: SampledFigures
    theirs: SampledFigures

    def verdict(self, policy: HealthPolicy) -> Verdict:
        """What it says by itself."""
        return judge_window(
            policy,
            rules_of(policy),
            self.ours.figures(policy.confidence),
            images=self.images,
            objects=self.objects,
        ).verdict

    def way_back_is_better(self, policy: HealthPolicy) -> bool:
        """Whether a rollback would be allowed."""
        return surely_better(
            METRIC, self.ours, self.theirs, confidence=policy.confidence, higher=True
        )


@dataclass(frozen=True)
class Champion:
    """Windows of one champion, by light."""

    windows: Mapping[Light, Sequence[Window]]
    map50: Mapping[Light, float]

    @property
    def worse(self) -> float:
        """Its mAP50 in its worse light, over the whole pool."""
        return min(self.map50.values())


def trained(wanted: Scenario, folder: Path) -> IrDetector:
    """A detector as it is deployed, from a scenario, without any server."""
    data = prepare_dataset(wanted.dataset, wanted.classes)
    fitted = fit(wanted.training, data.samples("train"), data.samples("val"), data.classes)
    plain = ir.save(ir.convert_network(fitted.detector, data.classes), folder / "plain")
    settle_thresholds(plain, data.samples("val"), beta=wanted.evaluation.beta)
    return IrDetector(wrap(plain, folder / "edge"))


def pools(folder: Path, frames: int, champion: Scenario, way_back: Scenario) -> dict[Light, Pool]:
    """Frames of both lights, looked at by two detectors."""
    detectors = [
        trained(wanted, folder / str(number)) for number, wanted in enumerate((champion, way_back))
    ]
    found: dict[Light, Pool] = {}
    for light in Light:
        place = folder / light
        size = champion.training.image_size
        draw_window(place, champion.classes, light=light, images=frames, seed=71, image_size=size)
        samples = open_dataset(place, champion.classes).samples("test")
        seen = [Seen(_confident(detect(one, samples)), one.thresholds) for one in detectors]
        found[light] = Pool(samples, *seen)
    return found


def _confident(found: Sequence[Detections]) -> list[Detections]:
    """Without the boxes that hardly anything rests on: they cost most of the time."""
    return [one.above(_LEAST_SCORE) for one in found]


def thinned(seen: Seen, samples: Sequence[Sample], lost: float, seed: int) -> Seen:
    """What is left where each object is lost with a chance, with all boxes that are about it."""
    random = np.random.default_rng(seed)
    left: list[Detections] = []
    for found, sample in zip(seen.detections, samples, strict=True):
        gone = random.random(len(sample.boxes)) < lost
        about = iou_matrix(found.boxes, sample.boxes) >= 0.5
        keep = ~(about & gone).any(axis=1)
        left.append(Detections(found.boxes[keep], found.scores[keep], found.classes[keep]))
    return Seen(left, seen.thresholds)


def map50_of(seen: Seen, samples: Sequence[Sample], classes: Sequence[str]) -> float:
    """mAP50 over a whole pool."""
    return evaluate(seen.detections, samples, classes, seen.thresholds).map50


class Champions:
    """Makes champions of every quality out of one that was trained.

    Args:
        pools: Frames and detections by light.
        classes: In order.
        windows: How many windows are measured of each champion and light.
        frames: Frames of a window.
    """

    def __init__(
        self, pools: Mapping[Light, Pool], classes: Sequence[str], windows: int, frames: int
    ) -> None:
        self._pools, self._classes = pools, classes
        random = np.random.default_rng(5)
        self._drawn = {
            light: [random.choice(len(pool.samples), frames, replace=False) for _ in range(windows)]
            for light, pool in pools.items()
        }
        self._way_back = {
            light: [self._sampled(pool.way_back, pool.samples, rows) for rows in self._drawn[light]]
            for light, pool in pools.items()
        }

    def champion(self, lost: float) -> Champion:
        """The champion when this share of what is to be seen is lost."""
        windows: dict[Light, list[Window]] = {}
        map50: dict[Light, float] = {}
        for light, pool in self._pools.items():
            seen = thinned(pool.champion, pool.samples, lost, seed=11)
            map50[light] = map50_of(seen, pool.samples, self._classes)
            windows[light] = [
                Window(
                    images=len(rows),
                    objects=sum(len(pool.samples[row].boxes) for row in rows),
                    ours=self._sampled(seen, pool.samples, rows),
                    theirs=theirs,
                )
                for rows, theirs in zip(self._drawn[light], self._way_back[light], strict=True)
            ]
        return Champion(windows, map50)

    def loss_for(self, map50: float) -> float:
        """Which share has to be lost so that the worse light shows this mAP50."""
        low, high = 0.0, 1.0
        for _ in range(12):
            middle = (low + high) / 2
            shown = min(
                map50_of(
                    thinned(pool.champion, pool.samples, middle, 11), pool.samples, self._classes
                )
                for pool in self._pools.values()
            )
            low, high = (middle, high) if shown > map50 else (low, middle)
        return low

    def loss_of_recall(self, points: float) -> float:
        """Which share has to be lost so that mean recall falls by so much."""
        recall = np.mean(
            [
                one.recall
                for pool in self._pools.values()
                for one in evaluate(
                    pool.champion.detections,
                    pool.samples,
                    self._classes,
                    pool.champion.thresholds,
                ).per_class.values()
            ]
        )
        return min(1.0, points / float(recall))

    def _sampled(
        self, seen: Seen, samples: Sequence[Sample], rows: NDArray[np.int64]
    ) -> SampledFigures:
        chosen = Seen([seen.detections[row] for row in rows], seen.thresholds)
        found = sample_figures(chosen, [samples[row] for row in rows], self._classes)
        return SampledFigures({METRIC: found.values[METRIC]}, {METRIC: found.drawn[METRIC]})
