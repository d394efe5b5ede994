"""How good detections are: average precision, recall and precision per class, false alarms.

Average precision comes from faster-coco-eval (COCO's definition); recall, precision and false
alarms are counted at the operating thresholds, at which an operator would be shown a box.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.data.dataset import Sample
from guardianflow.edge.serving import SHOWN_THRESHOLD
from guardianflow.measuring.detections import Detections, Thresholds, limits
from guardianflow.measuring.matching import lay_out, meet

_MAX_DETECTIONS = 100


class ClassFigures(BaseModel):
    """One class, over all images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ap50: float = Field(description="Average precision at IoU 0.5.")
    recall: float = Field(description="Share of the objects that were found, at the threshold.")
    precision: float = Field(description="Share of what was shown that is right; 1 if nothing was.")
    objects: int = Field(description="Labelled objects of the class.")


class Evaluation(BaseModel):
    """One detector on one set of labelled images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    map50: float = Field(description="Mean over the classes of the average precision at IoU 0.5.")
    map50_95: float = Field(description="The same, averaged over IoU 0.50, 0.55, ..., 0.95.")
    per_class: dict[str, ClassFigures] = Field(description="Figures of each class with objects.")
    false_alarms_per_image: float = Field(description="Boxes shown where no such object is.")
    images: int = Field(description="Images in the set.")
    objects: int = Field(description="Labelled objects in the set.")
    score_threshold: float = Field(
        description="From which score a box is shown, of the class that is shown earliest."
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="From which score a box of each class is shown."
    )

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """The figures as flat metrics, e.g. `test.map50` and `test.recall.helmet`."""
        flat = {
            f"{prefix}map50": self.map50,
            f"{prefix}map50_95": self.map50_95,
            f"{prefix}false_alarms_per_image": self.false_alarms_per_image,
        }
        for name, figures in self.per_class.items():
            flat[f"{prefix}ap50.{name}"] = figures.ap50
            flat[f"{prefix}recall.{name}"] = figures.recall
            flat[f"{prefix}precision.{name}"] = figures.precision
        return flat


def evaluate(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    classes: Sequence[str],
    thresholds: Thresholds = SHOWN_THRESHOLD,
) -> Evaluation:
    """Compare detections with labels.

    Args:
        detections: One per sample, in the same order, with low scores kept.
        samples: The labelled images.
        classes: Class names in the order of their indices.
        thresholds: Where recall, precision and false alarms are counted.
    """
    precisions = _average_precisions(detections, samples, len(classes))
    layout = lay_out(detections, samples)
    found = layout.found
    shown = layout.scores >= limits(thresholds, found.classes)
    hit = shown & (meet(layout)[:, 0] >= 0)
    right = np.bincount(found.classes[hit], minlength=len(classes))
    total = np.bincount(found.classes[shown], minlength=len(classes))
    objects = np.bincount(layout.objects.classes, minlength=len(classes))
    present = np.flatnonzero(objects)
    limit_of = np.broadcast_to(thresholds, len(classes)).tolist()
    return Evaluation(
        map50=float(precisions[present, 0].mean()) if len(present) else 0.0,
        map50_95=float(precisions[present].mean()) if len(present) else 0.0,
        per_class={
            classes[int(index)]: ClassFigures(
                ap50=float(precisions[index, 0]),
                recall=float(right[index] / objects[index]),
                precision=float(right[index] / total[index]) if total[index] else 1.0,
                objects=int(objects[index]),
            )
            for index in present
        },
        false_alarms_per_image=float((total.sum() - right.sum()) / max(1, len(samples))),
        images=len(samples),
        objects=int(objects.sum()),
        score_threshold=min(limit_of),
        thresholds=dict(zip(classes, limit_of, strict=True)),
    )


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
    # Sizes are not told apart: one range instead of COCO's four.
    run.params.areaRng, run.params.areaRngLbl = [[0.0, 1e10]], ["all"]
    run.evaluate()
    run.accumulate()
    # IoU x recall x class x area x number of detections; -1 where a class has no objects
    table = np.asarray(run.eval["precision"])[:, :, :, 0, 0]
    return np.clip(table, 0.0, 1.0).mean(1).T


def _silent(*_: object) -> None:
    """The library reports every step of every evaluation."""


def _annotation(image: int, box: NDArray[np.float32], label: int) -> dict[str, object]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return {
        "image_id": image,
        "category_id": label,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }
