"""Data sets: images and boxes that were checked, and a fingerprint of exactly that content.

    DatasetSettings --prepare_dataset--> folder in YOLO format --open_dataset--> Dataset

Everything that trains, calibrates or measures reads its images here, through one decoder.
"""

import hashlib
import io
import json
import shutil
import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from guardianflow.data.yolo import (
    Description,
    invalid,
    label_file,
    read_content,
    read_description,
    read_labels,
)
from guardianflow.errors import DatasetInvalid
from guardianflow.scenario import DatasetSettings, FolderData
from guardianflow.servers import home
from guardianflow.synthetic import draw_dataset, drawing_digest

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
# Written beside images by annotation tools and operating systems; nobody needs to hear of them.
_EXPECTED_SUFFIXES = frozenset({".txt", ".cache", ".json", ".xml", ".csv", ".ini", ".db"})
_MAX_LISTED = 50


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with the objects in it.

    Attributes:
        image: The image file.
        boxes: x1, y1, x2, y2 in pixels of the upright image, shape (N, 4), float32.
        classes: Index into the data set's classes, shape (N,), int64.
        size: Width and height of the upright image in pixels.
        digest: sha256 of the image's bytes, a colon, sha256 of its objects.
    """

    image: Path
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    size: tuple[int, int]
    digest: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that was checked.

    Attributes:
        root: Its folder.
        classes: Class names in the order of their ids.
        splits: The samples of `train`, `val` and `test`; at least one of them.
        fingerprint: sha256 over classes, images and labels; where they lie does not matter.
        warnings: What is odd about it, but usable.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    fingerprint: str
    warnings: tuple[str, ...] = ()

    def split_fingerprint(self, split: str) -> str:
        """sha256 over the classes and the content of one split.

        Raises:
            DatasetInvalid: The data set has no such split.
        """
        return _fingerprint(self.classes, {split: self.samples(split)})

    def samples(self, split: str) -> tuple[Sample, ...]:
        """The samples of one split.

        Raises:
            DatasetInvalid: The data set has no such split.
        """
        if split not in self.splits:
            raise DatasetInvalid(
                f"The data set {self.root} has no split {split!r}, only {', '.join(self.splits)}.",
                remedy=f"Add the key {split} to its data.yaml.",
                value=split,
            )
        return self.splits[split]


def load_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image, upright as its EXIF tag says.

    Returns:
        RGB, shape (height, width, 3), uint8.

    Raises:
        DatasetInvalid: The file is missing, truncated, no image, or has 16 bits per channel.
    """
    return _decode(path, read_content(path))


def open_dataset(root: Path, classes: Sequence[str] | None = None) -> Dataset:
    """Read and check a data set in YOLO format; every image is decoded once.

    Args:
        root: The folder with data.yaml.
        classes: What the classes have to be, in order; None takes those of data.yaml.

    Raises:
        DatasetInvalid: Says the first thing that is wrong with file, line, value and remedy, and
            how many more there are; `data["problems"]` lists them.
    """
    root = root.absolute()
    description = read_description(root)
    _check_classes(description, classes)
    problems: list[DatasetInvalid] = []
    notes: list[str] = list(description.warnings)
    splits = {
        split: _read_split(root, description, split, problems, notes)
        for split in description.folders
    }
    if not problems:
        _refuse_leaks(splits, problems)
    _raise_first(problems)
    notes += _unlearnable(description, splits)
    return Dataset(
        root=root,
        classes=description.classes,
        splits=splits,
        fingerprint=_fingerprint(description.classes, splits),
        warnings=tuple(notes),
    )


def prepare_dataset(settings: DatasetSettings, classes: Sequence[str]) -> Dataset:
    """Open the data set of a scenario; a synthetic one is drawn first, once per machine.

    Raises:
        ScenarioInvalid: The folder does not exist, or a class cannot be drawn.
        DatasetInvalid: The data set cannot be trusted.
    """
    if isinstance(settings, FolderData):
        return open_dataset(settings.resolve(), classes)
    identity = json.dumps([settings.model_dump(mode="json"), list(classes), drawing_digest()])
    folder = home() / "datasets" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            draw_dataset(draft, settings, classes)
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return open_dataset(folder, classes)


def _publish(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        # Another process drew the same bytes and was first; a full folder is never replaced.
        if not folder.is_dir():
            raise


def _decode(path: Path, content: bytes) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # What Pillow warns about (odd EXIF, transparency in palettes) changes no pixel here.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                if image.mode.startswith(("I", "F")):
                    raise invalid(
                        path,
                        f"has more than 8 bits per channel (mode {image.mode})",
                        "Convert it to an 8-bit image.",
                        value=image.mode,
                    )
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Image.DecompressionBombError as error:
        raise invalid(path, f"is too large: {error}", "Make the image smaller.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        reason = str(error).split(" <_io", maxsplit=1)[0]
        raise invalid(
            path, f"cannot be decoded: {reason}", "Copy the image again, or remove it."
        ) from error


def _check_classes(description: Description, classes: Sequence[str] | None) -> None:
    if classes is None or tuple(classes) == description.classes:
        return
    own = list(description.classes)
    reason = "in another order than" if sorted(own) == sorted(classes) else "not"
    raise invalid(
        description.file,
        f"the classes are {own}, {reason} {list(classes)} of the scenario",
        "Write the classes of the scenario as data.yaml has them.",
        value=own,
    )


def _read_split(
    root: Path,
    description: Description,
    split: str,
    problems: list[DatasetInvalid],
    notes: list[str],
) -> tuple[Sample, ...]:
    folders = description.folders[split]
    files = [file for folder in folders for file in _files(folder)]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        problems.append(
            invalid(folders[0], f"{split} has no image", "Bring images there, or remove the key.")
        )
        return ()
    skipped = [f for f in files if f.suffix.lower() not in IMAGE_SUFFIXES | _EXPECTED_SUFFIXES]
    if skipped:
        notes.append(f"{split}: {len(skipped)} files are no images, e.g. {skipped[0]}")
    labels = {image: label_file(image, root) for image in images}
    problems += _shared_labels(labels)
    problems += _orphans(labels)
    duplicates, samples = 0, list[Sample]()
    for image, label in labels.items():
        try:
            sample, repeated = _read_sample(image, label, len(description.classes), problems)
        except DatasetInvalid as problem:
            problems.append(problem)
        else:
            samples.append(sample)
            duplicates += repeated
    if duplicates:
        notes.append(f"{split}: {duplicates} label rows were there twice and count once")
    return tuple(samples)


def _files(folder: Path) -> list[Path]:
    """All files below a folder, in an order that no file system decides; hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def _read_sample(
    image: Path, label: Path, class_count: int, problems: list[DatasetInvalid]
) -> tuple[Sample, int]:
    """Read one image with its objects; bad rows are added to `problems`."""
    content = read_content(image)
    height, width = _decode(image, content).shape[:2]
    if not label.is_file():
        raise invalid(
            image,
            f"has no label file {label}",
            "Label the image; if there is nothing to find in it, make the file empty.",
        )
    labels = read_labels(label, class_count)
    problems += labels.problems
    boxes = (labels.boxes * (width, height, width, height)).astype(np.float32)
    rows = sorted(zip(labels.classes.tolist(), labels.boxes.round(6).tolist(), strict=True))
    objects = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    digest = f"{hashlib.sha256(content).hexdigest()}:{objects}"
    sample = Sample(image, boxes, labels.classes, (width, height), digest)
    return sample, labels.duplicates


def _shared_labels(labels: Mapping[Path, Path]) -> Iterable[DatasetInvalid]:
    first: dict[Path, Path] = {}
    for image, label in labels.items():
        if first.setdefault(label, image) != image:
            yield invalid(
                image,
                f"shares its label file {label} with {first[label].name}",
                "Give each image a name of its own.",
            )


def _orphans(labels: Mapping[Path, Path]) -> Iterable[DatasetInvalid]:
    """Label files without an image, where labels have a folder of their own."""
    known = set(labels.values())
    folders = {label.parent for image, label in labels.items() if label.parent != image.parent}
    for folder in sorted(folders):
        for file in sorted(folder.glob("*.txt")):
            if file not in known and file.name != "classes.txt":
                yield invalid(
                    file, "has no image", "Bring the image back, or remove the label file."
                )


def _refuse_leaks(splits: Mapping[str, tuple[Sample, ...]], problems: list[DatasetInvalid]) -> None:
    owner: dict[str, tuple[str, Path]] = {}
    for split, samples in splits.items():
        for sample in samples:
            content = sample.digest.partition(":")[0]
            other, image = owner.setdefault(content, (split, sample.image))
            if other != split:
                problems.append(
                    invalid(
                        sample.image,
                        f"this image of {split} is also in {other}: {image}",
                        "Keep it in one split; a model is measured on what it did not learn from.",
                    )
                )


def _raise_first(problems: Sequence[DatasetInvalid]) -> None:
    if not problems:
        return
    first = problems[0]
    more = f" {len(problems) - 1} more problems in this data set." if len(problems) > 1 else ""
    raise DatasetInvalid(
        first.message + more,
        remedy=first.remedy,
        **first.data,
        count=len(problems),
        problems=[str(problem) for problem in problems[:_MAX_LISTED]],
    )


def _unlearnable(
    description: Description, splits: Mapping[str, tuple[Sample, ...]]
) -> Iterable[str]:
    for split, samples in splits.items():
        counts = Counter(int(index) for sample in samples for index in sample.classes)
        for index, name in enumerate(description.classes):
            if not counts[index]:
                yield f"{split}: class {name!r} has no box"


def _fingerprint(classes: Sequence[str], splits: Mapping[str, Sequence[Sample]]) -> str:
    content = {split: sorted(s.digest for s in samples) for split, samples in splits.items()}
    text = json.dumps([list(classes), content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
