"""Compares two detectors on the same images, with confidence intervals of the differences.

Both are measured on the same resampled sets of images (paired bootstrap). A difficult image is
difficult for both, so the difference is far more certain than either figure.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from guardianflow.stored import Strict
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.intervals import (
    CONFIDENCE,
    DRAWS,
    Draws,
    bootstrap,
    interval,
    measure_once,
)
from guardianflow.vision.metrics.matching import collect_overlaps


class Difference(Strict):
    """A figure of the second detector minus that of the first."""

    value: float = Field(description="On the images themselves, without resampling.")
    low: float = Field(description="Lower end of the interval.")
    high: float = Field(description="Upper end of the interval.")


class PairedComparison(Strict):
    """The differences between two detectors on the same images."""

    map50: Difference = Field(description="Of mAP50.")
    map50_95: Difference = Field(description="Of mAP50-95.")
    recall: dict[str, Difference] = Field(
        description="Of the recall of each class with objects, each detector at its own thresholds."
    )
    false_alarms_per_image: Difference = Field(description="At their own thresholds; + is worse.")
    found: Difference | None = Field(
        default=None, description="Of the recall of all classes together; older records lack it."
    )
    images: int = Field(description="Images in the set.")
    confidence: float = Field(description="Confidence level of each two-sided interval.")
    draws: int = Field(description="Number of bootstrap samples.")

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """Return the differences as flat metrics, e.g. `difference.map50_95_low`."""
        named = {
            "map50": self.map50,
            "map50_95": self.map50_95,
            "false_alarms_per_image": self.false_alarms_per_image,
            **{f"recall.{name}": difference for name, difference in self.recall.items()},
        }
        flat: dict[str, float] = {}
        for name, entry in named.items():
            flat[f"{prefix}{name}"] = entry.value
            flat[f"{prefix}{name}_low"] = entry.low
            flat[f"{prefix}{name}_high"] = entry.high
        return flat


def compare_seen(
    before: Seen,
    after: Seen,
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    draws: int = DRAWS,
) -> PairedComparison:
    """Compare the detections of two detectors on the same images.

    Args:
        before: Of the first: the champion, or FP32.
        after: Of the second: the candidate, or INT8.
        samples: At least one.
        classes: In the order of their indices.
        draws: Number of bootstrap samples.
    """
    layouts = [
        (collect_overlaps(seen.detections, samples), seen.thresholds) for seen in (before, after)
    ]
    plain = [measure_once(layout, len(classes), thresholds) for layout, thresholds in layouts]
    drawn = [
        bootstrap(layout, len(classes), thresholds, draws=draws) for layout, thresholds in layouts
    ]

    def of(figure: Callable[[Draws], NDArray[np.float64]]) -> Difference:
        return _difference(figure(plain[1]) - figure(plain[0]), figure(drawn[1]) - figure(drawn[0]))

    present = np.flatnonzero(~np.isnan(plain[0].recall[0])).tolist()
    return PairedComparison(
        map50=of(lambda d: d.map50()),
        map50_95=of(lambda d: d.map50_95()),
        recall={classes[c]: of(lambda d, c=c: d.recall[:, c]) for c in present},
        false_alarms_per_image=of(lambda d: d.false_alarms.sum(axis=1)),
        found=of(lambda d: d.found),
        images=len(samples),
        confidence=CONFIDENCE,
        draws=draws,
    )


def _difference(value: NDArray[np.float64], drawn: NDArray[np.float64]) -> Difference:
    ends = interval(drawn)
    # Without any object there is no precision (NaN), and so no difference.
    return Difference(value=float(np.nan_to_num(value[0])), low=ends.low, high=ends.high)
