"""Exports the images with missed objects or false alarms as a YOLO data set.

    DIR/data.yaml      an ordinary data set with one split, `test`
        images/        copies of the images
        labels/        the labels that were used for measuring: correct these
        predictions/   the shown boxes, with the score at the end of each row: not for training
        reasons.csv    one row per missed object and false alarm, with the reason

The split is called `test` because these images may judge the next version; they must be moved on
purpose before anybody trains with them.
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
from pydantic import Field

from guardianflow.errors import InputError
from guardianflow.machine.disk import telling_full
from guardianflow.stored import Strict
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Detections, Seen
from guardianflow.vision.metrics.mistakes import Case, Outcome, SortedCases, judge_boxes

_DESCRIPTION, _REASONS = "data.yaml", "reasons.csv"
_COLUMNS = ("image", "outcome", "class", "score", "x1", "y1", "x2", "y2", "why", "source")


class ErrorExport(Strict):
    """What was exported."""

    folder: str = Field(description="The data set.")
    images: int = Field(description="Images in it.")
    of_images: int = Field(description="Images that were measured.")
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
    """Write the images with mistakes into a new or empty folder; a failure leaves nothing behind.

    The title names the detector and the images; it is the first line of data.yaml.

    Raises:
        InputError: The folder is not empty, or cannot be written.
        DiskFull: There is no room for the images.
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
            # mkdtemp gives access only to its owner; other people must be able to label here.
            draft.chmod(0o777 & ~_umask())
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written ({error.strerror}).",
            remedy="Name another folder with --to.",
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
    """Write images, labels, predictions and reasons; return the number of images."""
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
    """Refuse to overwrite a folder: it may contain corrected labels.

    Raises:
        InputError: It is not empty, or not a folder.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        what = "is not empty" if folder.is_dir() else "is not a folder"
        raise InputError(
            f"{folder} {what}, so nothing is written there.",
            remedy="Name a new or empty folder with --to.",
            value=str(folder),
        )


def _unique_names(images: Sequence[Path]) -> list[str]:
    """A file name for each image: its own, numbered if two would share a label file."""
    names: list[str] = []
    taken: set[str] = set()
    for image in images:
        stems = chain([image.stem], (f"{image.stem}-{number}" for number in count(2)))
        # Some file systems ignore case.
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
    """YOLO's rows: class, centre and size as fractions of the image."""
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
        f"Correct labels/; predictions/ and {_REASONS} show the detector's mistakes.",
    )
    head = "".join(f"# {line}\n" for line in lines)
    path.write_text(head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
