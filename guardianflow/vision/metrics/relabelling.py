"""The images on which a detector missed something or raised a false alarm, as a YOLO data set.

    DIR/data.yaml      opens as any data set; one split, `test`
        images/        the images, byte for byte
        labels/        the labels as they were measured against: these are to be corrected
        predictions/   what the detector showed, a score behind each row: never to learn from
        reasons.csv    one row per missed object and false alarm: why the image is here

The split is called `test` because these images may be those that judge the next version: whoever
wants to learn from them has to move them on purpose.
"""

import csv
import os
import shutil
import tempfile
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.errors import InputError
from guardianflow.machine.disk import telling_full
from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.detections import Detections, Seen
from guardianflow.vision.metrics.mistakes import Case, Outcome, SortedCases, judge_boxes

_DESCRIPTION, _REASONS = "data.yaml", "reasons.csv"
_COLUMNS = ("image", "outcome", "class", "score", "x1", "y1", "x2", "y2", "why", "source")


class ErrorExport(BaseModel):
    """What was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(description="The data set.")
    images: int = Field(description="Images in it.")
    of_images: int = Field(description="Images that were looked at.")
    missed: int = Field(description="Objects that were not found.")
    false: int = Field(description="Boxes shown where no such object is.")


def export_errors(
    seen: Seen,
    samples: Sequence[Sample],
    classes: Sequence[str],
    folder: Path,
    *,
    title: str,
) -> ErrorExport:
    """Write the images with mistakes: complete, or not at all.

    Args:
        seen: What the detector saw in the images.
        samples: The labelled images.
        classes: Class names in the order of their indices.
        folder: Where to; it may exist, but be empty.
        title: Which detector, on what; the first line of data.yaml.

    Raises:
        InputError: The folder holds something, or cannot be written.
        DiskFull: There is no room for them.
    """
    require_empty_folder(folder)
    judged = judge_boxes(seen, samples, classes)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            with telling_full(folder):
                images = _fill(draft, judged, seen, samples, classes)
                _write_description(draft / _DESCRIPTION, classes, title)
            # mkdtemp makes a folder for its owner alone; this one is for whoever labels.
            draft.chmod(0o777 & ~_umask())
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written ({error.strerror}).",
            remedy="Name another with --to.",
            value=str(folder),
        ) from error
    return ErrorExport(
        folder=str(folder),
        images=images,
        of_images=len(samples),
        missed=len(judged.of(Outcome.MISSED)),
        false=len(judged.of(Outcome.FALSE)),
    )


def _fill(
    draft: Path,
    judged: SortedCases,
    seen: Seen,
    samples: Sequence[Sample],
    classes: Sequence[str],
) -> int:
    """Write images, labels, predictions and reasons; how many images there are."""
    wrong = [case for case in judged.cases if case.outcome is not Outcome.TRUE]
    chosen = sorted({case.image for case in wrong})
    names = _unique_names([samples[index].image for index in chosen])
    named = dict(zip(chosen, names, strict=True))
    shown = seen.shown()
    for part in ("images", "labels", "predictions"):
        (draft / part).mkdir()
    for index, name in named.items():
        _write_image(draft, name, samples[index], shown[index])
    _write_reasons(draft / _REASONS, wrong, named, samples, classes)
    return len(chosen)


def require_empty_folder(folder: Path) -> None:
    """Only an empty or a new folder is written: labels that somebody corrected are work.

    Raises:
        InputError: It holds something, or is no folder.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        what = "is not empty" if folder.is_dir() else "is no folder"
        raise InputError(
            f"{folder} {what}, so nothing is written there.",
            remedy="Name a new or empty folder with --to.",
            value=str(folder),
        )


def _unique_names(images: Sequence[Path]) -> list[str]:
    """A file name for each image: its own, numbered where two would share a label file."""
    names: list[str] = []
    taken: set[str] = set()
    for image in images:
        stems = chain([image.stem], (f"{image.stem}-{number}" for number in count(2)))
        # Some file systems do not tell capitals apart.
        stem = next(stem for stem in stems if stem.casefold() not in taken)
        taken.add(stem.casefold())
        names.append(f"{stem}{image.suffix}")
    return names


def _write_image(draft: Path, name: str, sample: Sample, shown: Detections) -> None:
    shutil.copyfile(sample.image, draft / "images" / name)
    rows = Path(name).with_suffix(".txt")
    labels = _rows(sample.boxes, sample.classes, sample.size)
    (draft / "labels" / rows).write_text("".join(f"{row}\n" for row in labels), "utf-8")
    found = _rows(shown.boxes, shown.classes, sample.size)
    scored = zip(found, shown.scores.tolist(), strict=True)
    text = "".join(f"{row} {score:.4f}\n" for row, score in scored)
    (draft / "predictions" / rows).write_text(text, "utf-8")


def _rows(
    boxes: NDArray[np.float32], classes: NDArray[np.int64], size: tuple[int, int]
) -> list[str]:
    """YOLO's rows: class, middle and size as fractions of the image."""
    fractions = (boxes.astype(np.float64) / np.tile(size, 2)).clip(0, 1)
    middle, extent = (fractions[:, :2] + fractions[:, 2:]) / 2, fractions[:, 2:] - fractions[:, :2]
    return [
        f"{label} " + " ".join(f"{value:.6f}" for value in row)
        for label, row in zip(classes.tolist(), np.hstack([middle, extent]).tolist(), strict=True)
    ]


def _write_reasons(
    path: Path,
    wrong: Sequence[Case],
    named: dict[int, str],
    samples: Sequence[Sample],
    classes: Sequence[str],
) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for case in wrong:
            # A missed object has no box, and so no score.
            score = f"{case.score:.4f}" if case.outcome is Outcome.FALSE else ""
            corners = [f"{value:.1f}" for value in case.box.tolist()]
            what = (named[case.image], case.outcome, classes[case.label], score)
            writer.writerow([*what, *corners, case.why, samples[case.image].image])


def _write_description(path: Path, classes: Sequence[str], title: str) -> None:
    content = {"path": ".", "test": "images", "names": list(classes)}
    lines = (
        " ".join(title.split()),
        f"Correct labels/; predictions/ and {_REASONS} say what the detector did.",
    )
    head = "".join(f"# {line}\n" for line in lines)
    path.write_text(head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
