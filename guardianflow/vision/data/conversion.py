"""Turns a data set of another format into a YOLO set that was checked; the other is not changed.

    COCO, VOC, ... --read--> pictures --find their images--> images/, labels/, data.yaml --> check
                                                                  |
                                             a split is missing --+--> train.txt, val.txt, test.txt

Images are looked for below the given folder alone, by the names that the annotations have; no
address is fetched. Where anything is wrong with what comes out, nothing is left behind.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from guardianflow.errors import DatasetInvalid, InputError
from guardianflow.machine.disk import telling_full
from guardianflow.progress import Progress, Reporter
from guardianflow.vision.data.checker import CheckResult, check_dataset
from guardianflow.vision.data.decoding import image_size
from guardianflow.vision.data.description import read_description
from guardianflow.vision.data.findings import (
    Fault,
    errors,
    readable,
    refusal,
    shell_command,
    shortened,
)
from guardianflow.vision.data.foreign_sets import (
    Corners,
    ForeignImage,
    ForeignSet,
    images_below,
    read_foreign,
)
from guardianflow.vision.data.kinds import (
    ExportFormat,
    RecognisedSet,
    recognise,
    why_no_description,
)
from guardianflow.vision.data.listing import filename_key
from guardianflow.vision.data.rules import MIXED, FaultCode
from guardianflow.vision.data.splitting import (
    SplitShares,
    fresh_folder,
    plan_splits,
    tolerated_codes,
    write_lists,
)
from guardianflow.vision.data.yaml_file import SPLITS

Box = tuple[str, Corners]
# Pixels are counted from 0 or from 1.
_ROUNDING_PX = 1


@dataclass(frozen=True)
class ConversionResult:
    """What came of a conversion.

    Attributes:
        kind: The format that the data set was in.
        checked: The YOLO set.
        left_out: What could not be taken over, and how often.
        drawn: The splits that were drawn: the other format did not name them, or nothing was left
            of them when what shows one picture was brought together.
        moved: How many images were brought into another split, where the rest of their picture is.
    """

    kind: ExportFormat
    checked: CheckResult
    left_out: Counter[str]
    drawn: tuple[str, ...]
    moved: int


def convert_dataset(
    place: Path,
    to: Path,
    shares: SplitShares,
    *,
    anew: bool = False,
    near_known: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> ConversionResult:
    """Write a YOLO set of a data set in another format.

    Args:
        place: The folder of the data set, or the file with its annotations.
        to: A new folder.
        shares: How much is kept for val and test where the data set has no such splits.
        anew: Whether all images are shared out again, also those that have a split.
        near_known: Whether near duplicates stay in the splits that they are in.
        on_progress: Told how many images were copied and looked at.

    Raises:
        DatasetInvalid: It is in no format that is known, an image is missing, or the set that
            would come of it has errors.
        InputError: The folder cannot be written, or an image cannot be copied.
        DiskFull: There is no room for it.
    """
    found, foreign = _read(place.absolute())
    chosen = _find_images(found.root, foreign)
    report = Reporter(on_progress)
    with fresh_folder(to) as draft:
        _write(draft, foreign, chosen, report)
        checked = _checked(draft, on_progress, tolerated=MIXED)
        # Without a train split of its own all of it is shared out.
        whole = anew or "train" not in checked.splits
        shared = plan_splits(checked, shares, anew=whole, near_known=near_known)
        if shared.splits != checked.splits:
            write_lists(shared.splits, checked.classes, draft, draft)
            _checked(draft, None, needs=SPLITS, tolerated=tolerated_codes(near_known=near_known))
    final = check_dataset(to, needs=SPLITS, tolerated=tolerated_codes(near_known=near_known))
    # What is in no split is learned from, beside those that are; where none is in any, no split
    # was named.
    drawn = shared.drawn if any(picture.split for picture, _ in chosen) else SPLITS
    return ConversionResult(found.kind, final, foreign.left_out, drawn, shared.moved)


def _read(place: Path) -> tuple[RecognisedSet, ForeignSet]:
    """What a data set in another format holds.

    Raises:
        DatasetInvalid: It is in no format that is known, or names nothing.
        InputError: It is a YOLO set.
    """
    if read_description(place, []):
        check = shell_command("guardianflow", "dataset", "check", place)
        raise InputError(
            f"{readable(place)} is a YOLO set already.",
            remedy=f"`{check}` says whether it can be used.",
            value=readable(place),
        )
    found = recognise(place)
    if found is None:
        raise refusal([why_no_description(place).at(place)])
    foreign = read_foreign(found)
    if not foreign.pictures or not foreign.classes:
        what = f"names no {'images' if foreign.classes else 'classes'} ({found.kind})"
        fault = Fault(FaultCode.FORMAT_BROKEN, what, "Export it again, with its annotations.")
        raise refusal([fault.at(found.files[0])])
    return found, foreign


def _checked(
    draft: Path,
    on_progress: Callable[[Progress], None] | None,
    *,
    needs: Sequence[str] = (),
    tolerated: Collection[FaultCode] = (),
) -> CheckResult:
    checked = check_dataset(draft, needs=needs, tolerated=tolerated, on_progress=on_progress)
    if wrong := errors(checked.findings):
        raise refusal(wrong)
    return checked


def _find_images(root: Path, foreign: ForeignSet) -> list[tuple[ForeignImage, Path]]:
    """The image of each picture, below the folder alone; each image once.

    Raises:
        DatasetInvalid: One is missing, or it is a guess which one is meant.
    """
    by_name: dict[str, list[Path]] = {}
    by_stem: dict[str, list[Path]] = {}
    for image in images_below(root):
        by_name.setdefault(filename_key(image.name), []).append(image)
        by_stem.setdefault(filename_key(image.stem), []).append(image)
    lost: list[ForeignImage] = []
    chosen: dict[Path, tuple[ForeignImage, Path]] = {}
    for picture in foreign.pictures:
        name = picture.name.replace("\\", "/")
        images = by_name.get(filename_key(PurePosixPath(name).name), [])
        image = _closest(images, name, picture) or _other_suffix(by_stem, name)
        if image is None:
            lost.append(picture)
        elif image in chosen:
            foreign.left_out["images that are described twice"] += 1
        else:
            chosen[image] = (picture, image)
    if lost:
        raise DatasetInvalid(
            f"{readable(lost[0].annotation_file)}: the image {shortened(lost[0].name)!r} is not below "
            f"{readable(root)}, or more than one could be meant; so it is with {len(lost)} of "
            f"{len(foreign.pictures)} images.",
            remedy="Bring the images there (many tools export them only if asked to); addresses "
            "are not fetched.",
            file=readable(lost[0].annotation_file),
            value=lost[0].name,
            count=len(lost),
        )
    return list(chosen.values())


def _closest(images: Sequence[Path], name: str, picture: ForeignImage) -> Path | None:
    """The one image that shares the longest end of its path with a name; then the nearest one."""
    if len(images) < 2:
        return images[0] if images else None
    wanted = PurePosixPath(name).parts[::-1]

    def shared(image: Path) -> tuple[int, int]:
        pairs = zip(image.parts[::-1], wanted, strict=False)
        same = next((n for n, (a, b) in enumerate(pairs) if a != b), len(wanted))
        around = os.path.commonpath([image.parent, picture.annotation_file.parent])
        return same, len(around)

    ranked = sorted(images, key=shared, reverse=True)
    return ranked[0] if shared(ranked[0]) > shared(ranked[1]) else None


def _other_suffix(by_stem: Mapping[str, list[Path]], name: str) -> Path | None:
    """An image of that stem, where annotations name another suffix: there may be one alone."""
    same = by_stem.get(filename_key(PurePosixPath(name).stem), [])
    return same[0] if len(same) == 1 else None


def _write(
    draft: Path,
    foreign: ForeignSet,
    chosen: Sequence[tuple[ForeignImage, Path]],
    report: Reporter,
) -> None:
    """Copy the images, write their labels and data.yaml."""
    taken: set[str] = set()
    used: dict[str, str] = {}
    unnamed = "train" if any(picture.split for picture, _ in chosen) else "all"
    for done, (picture, image) in enumerate(chosen, start=1):
        folder = picture.split or unnamed
        name = _unused(f"{folder}/{image.stem}", image.suffix, taken)
        copy, label = draft / "images" / name, (draft / "labels" / name).with_suffix(".txt")
        for file in (copy, label):
            file.parent.mkdir(parents=True, exist_ok=True)
        _copy(image, copy)
        rows = [_row(foreign, box) for box in _boxes_on(picture, image)]
        label.write_text("".join(row for row in rows if row), encoding="utf-8")
        used[picture.split or "train"] = f"images/{folder}"
        report("copy", done, len(chosen))
    content = {
        "path": ".",
        **{split: used[split] for split in SPLITS if split in used},
        "names": foreign.classes,
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (draft / "data.yaml").write_text(text, encoding="utf-8")


def _copy(image: Path, copy: Path) -> None:
    try:
        with telling_full(copy.parent):
            shutil.copyfile(image, copy)
    except OSError as error:
        raise InputError(
            f"The image {readable(image)} cannot be copied ({error.strerror or error}).",
            remedy="Let this account read it, or rename it where its name is too long.",
            file=readable(image),
        ) from error


def _unused(stem: str, suffix: str, taken: set[str]) -> str:
    """A name that no other image has, whatever its suffix."""
    free, number = stem, 2
    while filename_key(free) in taken:
        free, number = f"{stem}-{number}", number + 1
    taken.add(filename_key(free))
    return f"{free}{suffix}"


def _boxes_on(picture: ForeignImage, image: Path) -> Sequence[Box]:
    """The boxes of a picture as fractions of its image.

    Raises:
        DatasetInvalid: It has another size than the annotations say, or a box has no room there.
    """
    width, height = _compare_size(picture, image)
    if not picture.in_pixels:
        return picture.boxes
    return [
        (name, (x1 / width, y1 / height, x2 / width, y2 / height))
        for name, (x1, y1, x2, y2) in picture.boxes
    ]


def _compare_size(picture: ForeignImage, image: Path) -> tuple[int, int]:
    """The size of an image; boxes in pixels mean nothing on one of another size.

    Where the annotations do not say the size (a converter wrote 0, or nothing), the image has to
    have room for the boxes.

    Raises:
        DatasetInvalid: It has another size than the annotations say, or a box has no room there.
    """
    try:
        size = image_size(image)
    except Fault as fault:
        raise refusal([fault.at(image)]) from fault
    if picture.size and picture.size != size:
        fault = Fault(
            FaultCode.FORMAT_BROKEN,
            f"says that {readable(image.name)} has {picture.size[0]} x {picture.size[1]} pixels; "
            f"upright, as its EXIF tag turns it, it has {size[0]} x {size[1]}",
            "Bring the image that was labelled, or save it upright before it is labelled.",
            value=list(picture.size),
        )
        raise refusal([fault.at(picture.annotation_file)])
    guessed = picture.in_pixels and picture.size is None
    ends = [corners[2:] for _, corners in picture.boxes] if guessed else []
    beyond = [(x, y) for x, y in ends if max(x - size[0], y - size[1]) > _ROUNDING_PX]
    if beyond:
        x, y = beyond[0]
        fault = Fault(
            FaultCode.FORMAT_BROKEN,
            f"does not say how large {readable(image.name)} is, and a box ends at {x:g}, {y:g}; "
            f"the image has {size[0]} x {size[1]} pixels",
            "Bring the image that was labelled, or write its width and height there.",
            value=[x, y],
        )
        raise refusal([fault.at(picture.annotation_file)])
    return size


def _row(foreign: ForeignSet, box: Box) -> str:
    """A row of a label file; '' where nothing of the box is on the image."""
    name, corners = box
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in corners)
    if (x1, y1, x2, y2) != corners:
        foreign.left_out["parts of boxes beyond the border of the image"] += 1
    if x1 >= x2 or y1 >= y2:
        foreign.left_out["boxes without area"] += 1
        return ""
    values = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
    numbers = " ".join(f"{value:.6f}" for value in values)
    return f"{foreign.classes.index(name)} {numbers}\n"
