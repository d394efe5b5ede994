"""The figures of a window of labelled frames with their confidence bounds, by metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardianflow.health.verdict import WindowFigure
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.intervals import Draws, bootstrap, measure_once
from guardianflow.vision.metrics.matching import collect_overlaps
from guardianflow.vision.metrics.precision import ALL

_DRAWS = 1000
_WHOLE = ("map50", "map50_95", "false_alarms_per_image")
_PER_CLASS = ("recall.", "ap50.")


@dataclass(frozen=True, eq=False)
class SampledFigures:
    """The figures of one version on one window.

    Attributes:
        values: As measured, by metric.
        drawn: The same for resamples of the window's frames, shape (B,), float64 each; NaN where
            a resample holds no such object. Two versions on one window get the same resamples.
    """

    values: Mapping[str, float]
    drawn: Mapping[str, NDArray[np.float64]]

    def figures(self, confidence: float) -> dict[str, WindowFigure]:
        """Each figure with its one-sided confidence bounds."""
        return {
            metric: _figure(value, self.drawn[metric], confidence)
            for metric, value in self.values.items()
        }


def is_measured(metric: str) -> bool:
    """Whether a metric is measured on labelled frames; all others only boxes can report."""
    return metric in _WHOLE or metric.startswith(_PER_CLASS)


def sample_figures(seen: Seen, samples: Sequence[Sample], classes: Sequence[str]) -> SampledFigures:
    """Measure what a version detected, with resamples for the bounds."""
    layout = collect_overlaps(seen.detections, samples)
    measured = _named(measure_once(layout, len(classes), seen.thresholds, sizes=(ALL,)), classes)
    drawn = bootstrap(layout, len(classes), seen.thresholds, draws=_DRAWS, sizes=(ALL,))
    values = {metric: float(found[0]) for metric, found in measured.items()}
    known = {metric: value for metric, value in values.items() if np.isfinite(value)}
    return SampledFigures(known, _named(drawn, classes))


def surely_better(
    metric: str, ours: SampledFigures, theirs: SampledFigures, *, confidence: float, higher: bool
) -> bool:
    """Whether the second version's figure is better on the same frames, beyond chance."""
    if metric not in ours.values or metric not in theirs.values:
        return False
    gain = theirs.drawn[metric] - ours.drawn[metric]
    gain = gain[np.isfinite(gain)] * (1 if higher else -1)
    return bool(len(gain)) and float(np.quantile(gain, 1 - confidence)) > 0


def _named(draws: Draws, classes: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    per_class = {
        f"{metric}.{name}": table[:, index]
        for metric, table in (("recall", draws.recall), ("ap50", draws.precision[ALL][:, :, 0]))
        for index, name in enumerate(classes)
    }
    return {
        "map50": draws.map50(),
        "map50_95": draws.map50_95(),
        "false_alarms_per_image": draws.false_alarms.sum(axis=1),
        **per_class,
    }


def _figure(value: float, drawn: NDArray[np.float64], confidence: float) -> WindowFigure:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return WindowFigure(value=value)
    low, high = np.quantile(known, [1 - confidence, confidence])
    return WindowFigure(value=value, low=float(low), high=float(high))
