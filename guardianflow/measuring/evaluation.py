"""How good detections are: average precision, recall and precision per class, false alarms.

Average precision comes from faster-coco-eval (COCO's definition); recall, precision and false
alarms are counted at one score threshold, the one at which an operator would be shown a box.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.data.dataset import Sample, load_image
from guardianflow.edge.serving import SHOWN_THRESHOLD, FrameDetections, IrDetector

_MATCH_IOU = 0.5
_MAX_DETECTIONS = 100


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels of the image, shape (N, 4), float32.
        scores: Probabilities, shape (N,), float32.
        classes: Class indices, shape (N,), int64.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def above(self, threshold: float) -> "Detections":
        """Those with at least this score."""
        keep = self.scores >= threshold
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])


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
    score_threshold: float = Field(description="From which score a box is shown.")

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


def detections_of(frames: Sequence[FrameDetections]) -> list[Detections]:
    """Turn what a detector returned into arrays."""
    return [
        Detections(
            boxes=np.asarray(frame["boxes"], dtype=np.float32).reshape(-1, 4),
            scores=np.asarray(frame["scores"], dtype=np.float32),
            classes=np.asarray(frame["class_ids"], dtype=np.int64),
        )
        for frame in frames
    ]


def detect(
    detector: IrDetector,
    samples: Sequence[Sample],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Detections]:
    """Run a deployed detector over samples, low scores kept."""
    found: list[Detections] = []
    for index, sample in enumerate(samples):
        found += detections_of(detector.predict([load_image(sample.image)]))
        if on_progress:
            on_progress(index + 1, len(samples))
    return found


def evaluate(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    classes: Sequence[str],
    score_threshold: float = SHOWN_THRESHOLD,
) -> Evaluation:
    """Compare detections with labels.

    Args:
        detections: One per sample, in the same order, with low scores kept.
        samples: The labelled images.
        classes: Class names in the order of their indices.
        score_threshold: Where recall, precision and false alarms are counted.
    """
    precisions = _average_precisions(detections, samples, len(classes))
    shown = [found.above(score_threshold) for found in detections]
    right = np.zeros(len(classes), dtype=np.int64)
    for found, sample in zip(shown, samples, strict=True):
        right += _matches(found, sample, len(classes))
    total = _count([found.classes for found in shown], len(classes))
    objects = _count([sample.classes for sample in samples], len(classes))
    present = np.flatnonzero(objects)
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
        score_threshold=score_threshold,
    )


def _count(labels: Sequence[NDArray[np.int64]], classes: int) -> NDArray[np.int64]:
    every = np.concatenate(labels) if labels else np.zeros(0, dtype=np.int64)
    return np.bincount(every, minlength=classes).astype(np.int64)


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


def _matches(found: Detections, sample: Sample, classes: int) -> NDArray[np.int64]:
    """How many detections of each class meet an object that no better one has met, shape (C,)."""
    right = np.zeros(classes, dtype=np.int64)
    if not len(sample.boxes):
        return right
    free = np.ones(len(sample.boxes), dtype=bool)
    for index in np.argsort(-found.scores, kind="stable"):
        label = found.classes[index]
        overlap = _overlap(found.boxes[index], sample.boxes) * (free & (sample.classes == label))
        best = int(overlap.argmax())
        if overlap[best] >= _MATCH_IOU:
            free[best] = False
            right[label] += 1
    return right


def _overlap(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of one box with each of (N, 4), shape (N,)."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    area = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common
    return common / np.maximum(area, 1e-9)
