"""Curves of a detector: of its training, its precision and recall, its false alarms.

Colours are from Okabe and Ito's palette for colour-blind readers; each class also has a dash
pattern. A dot marks the operating threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.lettering import plotted_names, set_fonts
from guardianflow.vision.metrics.matching import OverlapTable, collect_overlaps, match_boxes
from guardianflow.vision.metrics.mistakes import SortedCases

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from guardianflow.vision.network.history import EpochFigures

# Dark enough for a white page.
_INKS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
# More curves cannot be told apart; the tables have all classes.
_MAX_CLASSES = 14
_STEPS = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """The detections of a class that has objects, best first.

    Attributes:
        label: Index of the class.
        name: The text of the legend.
        scores: Descending, shape (D,), float64.
        right: Which of them are right at IoU 0.5, shape (D,), bool.
        objects: Number of labelled objects of the class.
        ink, dash: Colour and dash pattern of its line.
    """

    label: int
    name: str
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    objects: int

    @property
    def ink(self) -> str:
        return _INKS[self.label % len(_INKS)]

    @property
    def dash(self) -> str:
        return _DASHES[self.label % len(_DASHES)]


def precision_recall(
    seen: Seen, samples: Sequence[Sample], classes: Sequence[str], path: Path
) -> Path:
    """Plot precision over recall of each class at IoU 0.5, as PNG; dots: operating thresholds."""
    figure = _figure(7.5, 5.0)
    axes = figure.subplots()
    for entry in _rank(collect_overlaps(seen.detections, samples), classes):
        hits = np.cumsum(entry.right)
        recall, precision = hits / entry.objects, hits / np.arange(1, len(hits) + 1)
        axes.plot(recall, precision, entry.dash, color=entry.ink, lw=1.6, label=entry.name)
        if shown := int((entry.scores >= seen.thresholds[entry.label]).sum()):
            axes.plot(recall[shown - 1], precision[shown - 1], "o", color=entry.ink, ms=8)
    axes.set(
        title="Precision and recall at IoU 0.5; dots: operating thresholds",
        xlabel="recall: share of the objects that were found",
        ylabel="precision: share of the boxes that are right",
        xlim=(0, 1.01),
        ylim=(0, 1.02),
    )
    return _finish(figure, axes, path)


def threshold_curves(
    seen: Seen, samples: Sequence[Sample], classes: Sequence[str], path: Path
) -> Path:
    """Plot recall and false alarms over the threshold, as PNG; dots: operating thresholds."""
    figure = _figure(10, 5.0)
    left, right = figure.subplots(1, 2)
    images = max(1, len(samples))
    for entry in _rank(collect_overlaps(seen.detections, samples), classes):
        at = np.append(_STEPS, seen.thresholds[entry.label])
        recall = _above(entry.scores[entry.right], at) / entry.objects
        alarms = _above(entry.scores[~entry.right], at) / images
        for axes, values in ((left, recall), (right, alarms)):
            axes.plot(_STEPS, values[:-1], entry.dash, color=entry.ink, lw=1.6, label=entry.name)
            axes.plot(at[-1], values[-1], "o", color=entry.ink, ms=8)
    left.set(title="Found", xlabel="threshold", ylabel="recall", xlim=(0, 1), ylim=(0, 1.02))
    right.set(title="False alarms", xlabel="threshold", ylabel="per image", xlim=(0, 1))
    # Linear near zero, logarithmic above.
    right.set_yscale("symlog", linthresh=0.1)
    right.set_ylim(bottom=0)
    return _finish(figure, left, path)


def confusion_table(judged: SortedCases, classes: Sequence[str], path: Path) -> Path:
    """Draw the confusion matrix as PNG: counts, shaded by their share of the row."""
    table = judged.confusion
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.62 * len(table)
    figure = _figure(side + 0.8, side)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = plotted_names(classes)
    axes.set_xticks(range(len(table)), [*names, "no box"], rotation=40, ha="right")
    axes.set_yticks(range(len(table)), [*names, "no object"])
    axes.set(xlabel="shown as", ylabel="labelled as", title="Confusion matrix")
    last = len(table) - 1
    for (row, column), count in np.ndenumerate(table):
        if (row, column) != (last, last):
            ink = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=ink)
    return _finish(figure, None, path)


def training_curves(history: Sequence["EpochFigures"], path: Path) -> Path:
    """Plot the loss of each epoch, and the accuracy on the val split where measured, as PNG."""
    figure = _figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    epochs = [entry.epoch for entry in history]
    left.plot(epochs, [entry.label_loss for entry in history], label="classification")
    left.plot(epochs, [entry.box_loss for entry in history], label="box (GIoU)")
    left.set(title="Training loss", xlabel="epoch", yscale="log")
    left.legend()
    measured = [(entry.epoch, entry.val) for entry in history if entry.val]
    right.plot([e for e, _ in measured], [v.map50 for _, v in measured], "o-", label="mAP50")
    right.plot([e for e, _ in measured], [v.map50_95 for _, v in measured], "o-", label="mAP50-95")
    right.set(title="Validation", xlabel="epoch", ylim=(0, 1))
    right.legend()
    return _finish(figure, None, path)


def _rank(layout: OverlapTable, classes: Sequence[str]) -> list[_Ranked]:
    """The classes with objects; if there are too many, the most frequent ones."""
    order = np.argsort(-layout.scores, kind="stable")
    met = match_boxes(layout)[:, 0] >= 0
    ranked: list[_Ranked] = []
    for label, name in enumerate(plotted_names(classes)):
        rows = order[layout.found.classes[order] == label]
        if objects := int((layout.objects.classes == label).sum()):
            # A legend omits labels that begin with an underscore.
            words = f"{' ' if name.startswith('_') else ''}{name} ({objects} objects)"
            ranked.append(_Ranked(label, words, layout.scores[rows], met[rows], objects))
    kept = sorted(ranked, key=lambda entry: -entry.objects)[:_MAX_CLASSES]
    return sorted(kept, key=lambda entry: entry.label)


def _above(falling: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the scores, the highest first, reach each threshold."""
    return len(falling) - np.searchsorted(falling[::-1], thresholds)


def _figure(width: float, height: float) -> "Figure":
    # Not pyplot: no global state, no window system, usable in any thread.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _finish(figure: "Figure", legend: "Axes | None", path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if legend and (lines := legend.get_legend_handles_labels()[0]):
        # Below: inside the axes it would cover a curve.
        figure.legend(handles=lines, loc="outside lower center", ncols=3, handlelength=3)
        for axes in figure.axes:
            axes.grid(alpha=0.25)
    set_fonts(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))
    return path
