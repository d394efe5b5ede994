"""Evaluates detections: average precision, recall, precision, false alarms, and their bounds.

Average precision follows COCO's definition: from faster-coco-eval, and for one size or bootstrap
samples from precision.py, which agrees with it. Recall, precision and false alarms are counted at
the operating thresholds, from which an operator would be shown a box.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from guardianflow.stored import Stored, Strict
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Detections, Thresholds
from guardianflow.vision.metrics.intervals import (
    CONFIDENCE,
    Counts,
    Draws,
    Interval,
    bootstrap,
    count_by_image,
    interval,
    rate_at_most,
    share_at_least,
)
from guardianflow.vision.metrics.matching import OverlapTable, collect_overlaps
from guardianflow.vision.metrics.precision import ALL, SIZES, average_precisions, curves

_MAX_DETECTIONS = 100
_BOOTSTRAP = "By bootstrap over images."


class ClassFigures(Strict):
    """The figures of one class over all images. Bounds are optional."""

    ap50: float = Field(description="Average precision at IoU 0.5.")
    ap50_95: float | None = Field(
        default=None, description="The same, averaged over IoU 0.50, 0.55, ..., 0.95."
    )
    recall: float = Field(description="Share of the objects that were found, at the threshold.")
    precision: float = Field(description="Share of the shown boxes that are right; 1 without any.")
    objects: int = Field(description="Labelled objects of the class.")
    false_alarms_per_image: float | None = Field(
        default=None, description="Boxes of the class shown where no such object is."
    )
    ap50_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    ap50_95_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    recall_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    recall_at_least: float | None = Field(
        default=None,
        description="One-sided Clopper-Pearson bound, for independent objects: the miss rate is at "
        "most 1 minus it. Too narrow if misses cluster in images, unlike `recall_bounds`.",
    )
    false_alarms_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)


class SizeFigures(Strict):
    """The figures of objects of one size, of all classes. Bounds are optional."""

    ap50: float = Field(description="Mean over the classes with such objects, at IoU 0.5.")
    ap50_95: float = Field(description="The same, averaged over IoU 0.50, 0.55, ..., 0.95.")
    recall: float = Field(description="Share of the objects that were found, at the thresholds.")
    objects: int = Field(description="Labelled objects of the size.")
    ap50_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    ap50_95_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    recall_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    recall_at_least: float | None = Field(default=None, description="As of a class.")


class Evaluation(Stored):
    """The figures of one detector on one set of labelled images. Bounds are optional."""

    map50: float = Field(description="Mean over the classes of the average precision at IoU 0.5.")
    map50_95: float = Field(description="The same, averaged over IoU 0.50, 0.55, ..., 0.95.")
    per_class: dict[str, ClassFigures] = Field(description="Figures of each class with objects.")
    false_alarms_per_image: float = Field(description="Boxes shown where no such object is.")
    images: int = Field(description="Images in the set.")
    objects: int = Field(description="Labelled objects in the set.")
    score_threshold: float = Field(description="The lowest threshold of all classes.")
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="The lowest score of a shown box, by class."
    )
    per_size: dict[str, SizeFigures] = Field(
        default_factory=dict,
        description="COCO's sizes with objects (areas up to 32², up to 96², above), in pixels of "
        "the image scaled to a longer side of 640.",
    )
    map50_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    map50_95_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    found_bounds: Interval | None = Field(
        default=None, description="Recall of all classes together, by bootstrap over images."
    )
    false_alarms_bounds: Interval | None = Field(default=None, description=_BOOTSTRAP)
    false_alarms_at_most: float | None = Field(
        default=None,
        description="One-sided exact Poisson bound, for independent alarms; above 0 without any.",
    )
    confidence: float | None = Field(
        default=None, description="Confidence level of every bound and every two-sided interval."
    )
    draws: int = Field(default=0, description="Number of bootstrap samples; 0: no bounds.")

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """Return the figures as flat metrics, e.g. `test.map50` and `test.recall.helmet`."""
        flat = {
            f"{prefix}map50": self.map50,
            f"{prefix}map50_95": self.map50_95,
            f"{prefix}false_alarms_per_image": self.false_alarms_per_image,
        }
        for name, bounds in (
            ("map50", self.map50_bounds),
            ("map50_95", self.map50_95_bounds),
            ("false_alarms_per_image", self.false_alarms_bounds),
        ):
            if bounds:
                flat |= {f"{prefix}{name}_low": bounds.low, f"{prefix}{name}_high": bounds.high}
        for name, figures in self.per_class.items():
            flat[f"{prefix}ap50.{name}"] = figures.ap50
            if figures.ap50_95 is not None:
                flat[f"{prefix}ap50_95.{name}"] = figures.ap50_95
            flat[f"{prefix}recall.{name}"] = figures.recall
            flat[f"{prefix}precision.{name}"] = figures.precision
            if figures.recall_at_least is not None:
                flat[f"{prefix}recall_at_least.{name}"] = figures.recall_at_least
        for size, figures in self.per_size.items():
            flat[f"{prefix}size.{size}.ap50_95"] = figures.ap50_95
            flat[f"{prefix}size.{size}.recall"] = figures.recall
        return flat


def evaluate(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    classes: Sequence[str],
    thresholds: Thresholds | None = None,
    *,
    draws: int = 0,
) -> Evaluation:
    """Compare detections with labels.

    Detections are in the order of the samples, with low scores kept. Recall, precision and false
    alarms are counted at the thresholds (None: `serving.SHOWN_THRESHOLD`). Bounds come from so many
    bootstrap samples; 0: no bounds.
    """
    if thresholds is None:
        from guardianflow.vision.ir.serving import SHOWN_THRESHOLD

        thresholds = SHOWN_THRESHOLD
    precisions = _average_precisions(detections, samples, len(classes))
    layout = collect_overlaps(detections, samples)
    counts = count_by_image(layout, len(classes), thresholds)
    drawn = bootstrap(layout, len(classes), thresholds, draws=draws) if draws and samples else None
    present = np.flatnonzero(counts.objects.sum(axis=0))
    alarms = int(counts.alarms.sum())
    limit_of = np.broadcast_to(thresholds, len(classes)).tolist()
    return Evaluation(
        map50=float(precisions[present, 0].mean()) if len(present) else 0.0,
        map50_95=float(precisions[present].mean()) if len(present) else 0.0,
        per_class={
            classes[label]: _class_figures(label, precisions[label], counts, drawn)
            for label in present.tolist()
        },
        per_size=_size_figures(layout, len(classes), counts, drawn),
        false_alarms_per_image=alarms / max(1, len(samples)),
        images=len(samples),
        objects=len(layout.objects.images),
        score_threshold=min(limit_of),
        thresholds=dict(zip(classes, limit_of, strict=True)),
        map50_bounds=_bounds(drawn, lambda d: d.map50()),
        map50_95_bounds=_bounds(drawn, lambda d: d.map50_95()),
        found_bounds=_bounds(drawn, lambda d: d.found),
        false_alarms_bounds=_bounds(drawn, lambda d: d.false_alarms.sum(axis=1)),
        false_alarms_at_most=rate_at_most(alarms, len(samples)) if drawn else None,
        confidence=CONFIDENCE if drawn else None,
        draws=draws if drawn else 0,
    )


def _class_figures(
    label: int, precisions: NDArray[np.float64], counts: Counts, drawn: Draws | None
) -> ClassFigures:
    objects, hits, alarms = (
        int(table[:, label].sum()) for table in (counts.objects, counts.hits, counts.alarms)
    )
    return ClassFigures(
        ap50=float(precisions[0]),
        ap50_95=float(precisions.mean()),
        recall=hits / objects,
        precision=hits / (hits + alarms) if hits + alarms else 1.0,
        objects=objects,
        false_alarms_per_image=alarms / len(counts.alarms),
        ap50_bounds=_bounds(drawn, lambda d: d.precision[ALL][:, label, 0]),
        ap50_95_bounds=_bounds(drawn, lambda d: d.precision[ALL][:, label].mean(axis=1)),
        recall_bounds=_bounds(drawn, lambda d: d.recall[:, label]),
        recall_at_least=share_at_least(hits, objects) if drawn else None,
        false_alarms_bounds=_bounds(drawn, lambda d: d.false_alarms[:, label]),
    )


def _bounds(drawn: Draws | None, figure: Callable[[Draws], NDArray[np.float64]]) -> Interval | None:
    return interval(figure(drawn)) if drawn else None


def _size_figures(
    layout: OverlapTable, class_count: int, counts: Counts, drawn: Draws | None
) -> dict[str, SizeFigures]:
    once = np.ones((1, layout.image_count))
    figures: dict[str, SizeFigures] = {}
    for column, size in enumerate(SIZES):
        objects, hits = (
            int(table[:, column].sum()) for table in (counts.size_objects, counts.size_hits)
        )
        if not objects:
            continue
        precisions = average_precisions(curves(layout, class_count, size), once)[0]
        figures[size] = SizeFigures(
            ap50=float(np.nanmean(precisions[:, 0])),
            ap50_95=float(np.nanmean(precisions)),
            recall=hits / objects,
            objects=objects,
            ap50_bounds=_bounds(drawn, lambda d, size=size: d.map50(size)),
            ap50_95_bounds=_bounds(drawn, lambda d, size=size: d.map50_95(size)),
            recall_bounds=_bounds(drawn, lambda d, column=column: d.size_recall[:, column]),
            recall_at_least=share_at_least(hits, objects) if drawn else None,
        )
    return figures


def _average_precisions(
    detections: Sequence[Detections], samples: Sequence[Sample], classes: int
) -> NDArray[np.float64]:
    """Average precision per class and IoU 0.50, 0.55 ... 0.95, shape (C, 10); 0 without objects."""
    from faster_coco_eval import COCO, COCOeval_faster

    annotations = [
        _annotation(index, box, int(label))
        for index, sample in enumerate(samples)
        for box, label in zip(sample.boxes, sample.classes, strict=True)
    ]
    results = [
        {**_annotation(index, box, int(label)), "score": float(score)}
        for index, found in enumerate(detections)
        for box, label, score in zip(found.boxes, found.classes, found.scores, strict=True)
    ]
    if not annotations or not results:
        return np.zeros((classes, 10))
    truth = COCO(
        {
            "info": {},
            "images": [
                {"id": index, "width": sample.size[0], "height": sample.size[1]}
                for index, sample in enumerate(samples)
            ],
            "annotations": [{**entry, "id": i + 1} for i, entry in enumerate(annotations)],
            "categories": [{"id": label, "name": str(label)} for label in range(classes)],
        }
    )
    run = COCOeval_faster(truth, truth.loadRes(results), iouType="bbox", print_function=_silent)
    run.params.maxDets = [_MAX_DETECTIONS]
    # One range of sizes instead of COCO's four.
    run.params.areaRng, run.params.areaRngLbl = [[0.0, 1e10]], ["all"]
    run.evaluate()
    run.accumulate()
    # IoU x recall x class x area x number of detections; -1 for classes without objects
    table = np.asarray(run.eval["precision"])[:, :, :, 0, 0]
    return np.clip(table, 0.0, 1.0).mean(1).T


def _silent(*_: object) -> None:
    """Suppress the library's report of every step."""


def _annotation(image: int, box: NDArray[np.float32], label: int) -> dict[str, object]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return {
        "image_id": image,
        "category_id": label,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }
