"""Measures a variant and its source on the same labelled images, both as they are served."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.album import draw_album
from guardianflow.vision.metrics.comparison import PairedComparison, compare_seen
from guardianflow.vision.metrics.detections import Seen, detect
from guardianflow.vision.metrics.evaluation import Evaluation, evaluate
from guardianflow.vision.metrics.intervals import DRAWS
from guardianflow.vision.metrics.pictures import comparison_sheet

_PICTURED = 6


@dataclass(frozen=True, eq=False)
class SourceComparison:
    """The figures of both, and their detections: first the source's, then the variant's."""

    samples: Sequence[Sample]
    classes: Sequence[str]
    source: Evaluation
    variant: Evaluation
    seen: tuple[Seen, Seen]

    def difference(self) -> PairedComparison:
        """Return the paired differences: variant minus source."""
        return compare_seen(*self.seen, self.samples, self.classes)

    def draw(self, precision: str, folder: Path) -> None:
        """Draw the first images with both, and the album of the variant, into a folder."""
        columns = {
            f"{label} mAP50 {figures.map50:.3f}": seen.shown()[:_PICTURED]
            for label, figures, seen in zip(
                ("fp32", precision), (self.source, self.variant), self.seen, strict=True
            )
        }
        sheet = folder / f"fp32-{precision}.png"
        comparison_sheet(self.samples[:_PICTURED], columns, self.classes, sheet)
        draw_album(self.seen[1], self.samples, self.classes, folder)


def compare_with_source(
    source: Path,
    variant: Path,
    samples: Sequence[Sample],
    classes: Sequence[str],
    on_progress: Callable[[int, int], None],
) -> SourceComparison:
    """Run both on every image and evaluate them.

    The folders contain the IR that each of them serves. `on_progress` is called with images done
    and images in all, first for the source.
    """

    def measure(folder: Path) -> tuple[Evaluation, Seen]:
        detector = IrDetector(folder)
        seen = Seen(detect(detector, samples, on_progress=on_progress), detector.thresholds)
        figures = evaluate(seen.detections, samples, classes, seen.thresholds, draws=DRAWS)
        return figures, seen

    before, after = measure(source), measure(variant)
    return SourceComparison(samples, classes, before[0], after[0], (before[1], after[1]))
