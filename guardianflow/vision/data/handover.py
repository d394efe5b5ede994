"""Writes the train and val splits of a checked data set for a trainer of another project.

    Dataset --hand_over--> images/train, images/val   0.jpg, 1.png, ...: copies, upright RGB
                           labels/, data.yaml         as YOLO
                           annotations/               as COCO: instances_train.json, ..._val.json

The trainer may write beside the files or over them, so all of them are copies. Nothing of the test
split is written: on it the trainer's model is measured.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from guardianflow.machine.disk import telling_full
from guardianflow.vision.data.decoding import decode_image, read_content
from guardianflow.vision.data.findings import Fault, refusal
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.sample import Dataset, Sample

HANDED = ("train", "val")
_USUAL = {".jpg", ".jpeg", ".png"}
_HARMLESS = {FaultCode.IMAGE_HUGE, FaultCode.IMAGE_TINY}


def write_yolo(dataset: Dataset, folder: Path) -> None:
    """Write the splits in YOLO form into a new folder.

    Raises:
        DatasetInvalid: An image can no longer be read.
        DiskFull: There is no room for it.
    """
    with telling_full(folder.parent):
        for split in HANDED:
            labels = folder / "labels" / split
            labels.mkdir(parents=True)
            for image, sample in _write_images(dataset, split, folder):
                text = "".join(_row(sample, index) for index in range(len(sample.classes)))
                (labels / image).with_suffix(".txt").write_text(text, "utf-8")
        content = {
            "path": str(folder),
            **{split: f"images/{split}" for split in HANDED},
            "names": dict(enumerate(dataset.classes)),
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (folder / "data.yaml").write_text(text, "utf-8")


def write_coco(dataset: Dataset, folder: Path) -> None:
    """Write the splits in COCO form into a new folder; categories are numbered from 1.

    Raises:
        DatasetInvalid: An image can no longer be read.
        DiskFull: There is no room for it.
    """
    categories = [{"id": row, "name": name} for row, name in enumerate(dataset.classes, start=1)]
    with telling_full(folder.parent):
        (folder / "annotations").mkdir(parents=True)
        for split in HANDED:
            images: list[dict[str, object]] = []
            boxes: list[dict[str, object]] = []
            for image, sample in _write_images(dataset, split, folder):
                number, (width, height) = len(images) + 1, sample.size
                shape = {"width": width, "height": height}
                images.append({"id": number, "file_name": image, **shape})
                for box in _coco_boxes(sample):
                    boxes.append({"id": len(boxes) + 1, "image_id": number, **box})
            content = {"images": images, "annotations": boxes, "categories": categories}
            text = json.dumps(content, ensure_ascii=False)
            (folder / "annotations" / f"instances_{split}.json").write_text(text, "utf-8")


def _write_images(dataset: Dataset, split: str, folder: Path) -> Sequence[tuple[str, Sample]]:
    """Write the images of a split; each name with its sample."""
    place = folder / "images" / split
    place.mkdir(parents=True)
    samples = dataset.samples(split)
    return [(_write_image(sample, place, n), sample) for n, sample in enumerate(samples)]


def _write_image(sample: Sample, place: Path, number: int) -> str:
    """Write an image as we see it: its own bytes where every program sees the same in them."""
    try:
        content = read_content(sample.image)
        image, oddities = decode_image(sample.image, content)
    except Fault as fault:
        raise refusal([fault.at(sample.image)]) from fault
    suffix = sample.image.suffix.lower()
    if suffix in _USUAL and {found.code for found in oddities} <= _HARMLESS:
        name = f"{number:06d}{suffix}"
        (place / name).write_bytes(content)
    else:
        name = f"{number:06d}.png"
        image.save(place / name, compress_level=1)
    return name


def _row(sample: Sample, index: int) -> str:
    (x1, y1, x2, y2), (width, height) = map(float, sample.boxes[index]), sample.size
    values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{sample.classes[index]} {' '.join(f'{value:.6f}' for value in values)}\n"


def _coco_boxes(sample: Sample) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for row, box in zip(sample.classes, sample.boxes, strict=True):
        x1, y1, x2, y2 = (round(float(value), 2) for value in box)
        width, height = round(x2 - x1, 2), round(y2 - y1, 2)
        area = round(width * height, 2)
        place = {"category_id": int(row) + 1, "bbox": [x1, y1, width, height]}
        found.append({**place, "area": area, "iscrowd": 0, "segmentation": []})
    return found
