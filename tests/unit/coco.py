"""What faster-coco-eval says about a set: the referee of our own matching and precision."""

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster


def coco_precisions(detections, samples, classes, ranges):
    """Average precision by range of areas, class and IoU; -1 where there is no object."""
    run = _run(detections, samples, classes, ranges)
    # IoU x recall x class x area x number of detections
    table = np.asarray(run.eval["precision"])[:, :, :, :, 0]
    return table.mean(axis=1).transpose(2, 1, 0)


def coco_hits(detections, samples, classes):
    """How many detections are right at each IoU."""
    run = _run(detections, samples, classes, [(0.0, 1e10)])
    recall = np.asarray(run.eval["recall"])[:, :, 0, 0].clip(0)
    objects = [sum((s.classes == label).sum() for s in samples) for label in range(classes)]
    return (recall * objects).sum(axis=1).round().astype(int).tolist()


def _run(detections, samples, classes, ranges):
    annotations = [
        {**_entry(image, box, label), "id": image * 1000 + index + 1}
        for image, sample in enumerate(samples)
        for index, (box, label) in enumerate(zip(sample.boxes, sample.classes, strict=True))
    ]
    truth = COCO(
        {
            "info": {},
            "images": [
                {"id": image, "width": sample.size[0], "height": sample.size[1]}
                for image, sample in enumerate(samples)
            ],
            "annotations": annotations,
            "categories": [{"id": label, "name": str(label)} for label in range(classes)],
        }
    )
    results = [
        {**_entry(image, box, label), "score": float(score)}
        for image, seen in enumerate(detections)
        for box, label, score in zip(seen.boxes, seen.classes, seen.scores, strict=True)
    ]
    run = COCOeval_faster(
        truth, truth.loadRes(results), iouType="bbox", print_function=lambda *_: None
    )
    run.params.maxDets = [100]
    run.params.areaRng = [list(limits) for limits in ranges]
    run.params.areaRngLbl = [str(index) for index in range(len(ranges))]
    run.evaluate()
    run.accumulate()
    return run


def _entry(image, box, label):
    x1, y1, x2, y2 = map(float, box)
    return {
        "image_id": image,
        "category_id": int(label),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }
