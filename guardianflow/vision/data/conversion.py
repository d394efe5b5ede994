"""Converts a data set of another format into a checked YOLO set; the original is not changed.

    COCO, VOC, ... --read--> pictures --find their images--> images/, labels/, data.yaml --> check
                                                                  |
                                             a split is missing --+--> train.txt, val.txt, test.txt

Images are looked for only below the given folder, by the names in the annotations; no URL is
fetched. If the result has errors, nothing is left behind.
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
    Box,
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
    SplitResult,
    SplitShares,
    fresh_folder,
    plan_splits,
    tolerated_codes,
    write_lists,
)
from guardianflow.vision.data.yaml_file import SPLITS

# Tools count pixels from 0 or from 1.
_ROUNDING_PX = 1


@dataclass(frozen=True)
class ConversionResult(SplitResult):
    """The result of a conversion: the original format, and what could not be converted, how often.

    A split was drawn if the original did not name it, or if no image was left in it.
    """

    kind: ExportFormat
    left_out: Counter[str]


def convert_dataset(
    place: Path,
    to: Path,
    shares: SplitShares,
    *,
    anew: bool = False,
    near_known: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> ConversionResult:
    """Convert a data set of another format into a YOLO set in a new folder.

    `place` is the folder of the data set, or the file with its annotations. `split_dataset`
    describes the other arguments.

    Raises:
        DatasetInvalid: The format is unknown, an image is missing, or the result has errors.
        InputError: The folder cannot be written, or an image cannot be copied.
        DiskFull: The disk is full.
    """
    found, foreign = _read(place.absolute())
    chosen = _find_images(found.root, foreign)
    report = Reporter(on_progress)
    with fresh_folder(to) as draft:
        _write(draft, foreign, chosen, report)
        checked = _checked(draft, on_progress, tolerated=MIXED)
        # Without a train split, all images are split again.
        whole = anew or "train" not in checked.splits
        shared = plan_splits(checked, shares, anew=whole, near_known=near_known)
        if shared.splits != checked.splits:
            write_lists(shared.splits, checked.classes, draft, draft)
            _checked(draft, None, needs=SPLITS, tolerated=tolerated_codes(near_known=near_known))
    final = check_dataset(to, needs=SPLITS, tolerated=tolerated_codes(near_known=near_known))
    # Images without a split belong to train; if no image has one, all splits were drawn.
    drawn = shared.drawn if any(picture.split for picture, _ in chosen) else SPLITS
    return ConversionResult(final, shared.moved, drawn, found.kind, foreign.left_out)


def _read(place: Path) -> tuple[RecognisedSet, ForeignSet]:
    """Read a data set of another format.

    Raises:
        DatasetInvalid: The format is unknown, or there are no images or no classes.
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
    """Find the image file of each picture below the folder; each file is used once.

    Raises:
        DatasetInvalid: An image is missing, or its name is ambiguous.
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
        file = readable(lost[0].annotation_file)
        raise DatasetInvalid(
            f"{file}: the image {shortened(lost[0].name)!r} is not below {readable(root)}, or its "
            f"name is ambiguous. Affected are {len(lost)} of {len(foreign.pictures)} images.",
            remedy="Copy the images there (many tools export them only on request); URLs are not "
            "fetched.",
            file=file,
            value=lost[0].name,
            count=len(lost),
        )
    return list(chosen.values())


def _closest(images: Sequence[Path], name: str, picture: ForeignImage) -> Path | None:
    """The image whose path shares the longest end with a name, then the nearest; None if tied."""
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
    """The only image with this stem: annotations may name another suffix."""
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
            remedy="Make it readable for this account, or rename it if its name is too long.",
            file=readable(image),
        ) from error


def _unused(stem: str, suffix: str, taken: set[str]) -> str:
    """A name whose stem no other image has."""
    free, number = stem, 2
    while filename_key(free) in taken:
        free, number = f"{stem}-{number}", number + 1
    taken.add(filename_key(free))
    return f"{free}{suffix}"


def _boxes_on(picture: ForeignImage, image: Path) -> Sequence[Box]:
    """The boxes of a picture as fractions of its image, after a comparison of their sizes."""
    width, height = _compare_size(picture, image)
    if not picture.in_pixels:
        return picture.boxes
    return [
        (name, (x1 / width, y1 / height, x2 / width, y2 / height))
        for name, (x1, y1, x2, y2) in picture.boxes
    ]


def _compare_size(picture: ForeignImage, image: Path) -> tuple[int, int]:
    """The size of an image in pixels; it must be that of the annotations.

    If these do not give a size (a converter wrote 0, or nothing), all boxes must fit.

    Raises:
        DatasetInvalid: The image has another size, or is too small for a box.
    """
    try:
        size = image_size(image)
    except Fault as fault:
        raise refusal([fault.at(image)]) from fault
    if picture.size and picture.size != size:
        fault = Fault(
            FaultCode.FORMAT_BROKEN,
            f"says that {readable(image.name)} has {picture.size[0]} x {picture.size[1]} pixels, "
            f"but after its EXIF rotation it has {size[0]} x {size[1]}",
            "Use the image that was labelled, or save it upright before labelling.",
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
            f"gives no size for {readable(image.name)}, and a box ends at {x:g}, {y:g}, but the "
            f"image has {size[0]} x {size[1]} pixels",
            "Use the image that was labelled, or add its width and height.",
            value=[x, y],
        )
        raise refusal([fault.at(picture.annotation_file)])
    return size


def _row(foreign: ForeignSet, box: Box) -> str:
    """A row of a label file; '' if no part of the box is on the image."""
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
