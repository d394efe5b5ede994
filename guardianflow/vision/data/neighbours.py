"""Compares the files of a data set with each other: orphans, duplicates, images without colour."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence

from guardianflow.vision.data.decoding import IMAGE_SUFFIXES, UNSUPPORTED_SUFFIXES, read_content
from guardianflow.vision.data.description import Description
from guardianflow.vision.data.documents import visible_names
from guardianflow.vision.data.examination import ExaminedImage
from guardianflow.vision.data.findings import DataFinding, Fault, readable, shortened
from guardianflow.vision.data.kinds import CLASS_LISTS
from guardianflow.vision.data.listing import filename_key, link_outside
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.texts import MAX_TEXT_BYTES, read_text

_CLASSES_FILE = "classes.txt"
_FEW = 50


def compare_labels(
    looked: Mapping[str, Sequence[ExaminedImage]], description: Description, root: str
) -> Iterator[DataFinding]:
    """Find shared label files, label files without an image, links, and other class lists.

    `root` is the folder of the data set, without links in its path.
    """
    first: dict[str, str] = {}
    missing: dict[str, str] = {}
    folders: dict[str, set[str]] = {}
    for split, ones in looked.items():
        for one in ones:
            folders.setdefault(os.path.dirname(one.label), set()).add(os.path.dirname(one.image))
            if one.labels is None:
                missing[filename_key(one.label)] = one.image
            if first.setdefault(one.label, one.image) != one.image:
                name = readable(os.path.basename(first[one.label]))
                what = f"shares its label file {readable(one.label)} with {name}"
                fault = Fault(FaultCode.LABEL_SHARED, what, "Give each image a name of its own.")
                yield fault.at(one.image, split=split, image=one.image)
    base = os.path.realpath(description.base)
    for folder, images in sorted(folders.items()):
        yield from _compare_classes(folder, description.classes)
        if folder not in images:
            yield from _links(folder, (f"{root}{os.sep}", f"{base}{os.sep}"))
            yield from _orphans(folder, images, first, missing)


def compare_images(looked: Mapping[str, Sequence[ExaminedImage]]) -> Iterator[DataFinding]:
    """Find duplicate images, and splits with images without colour."""
    owner: dict[str, tuple[str, str]] = {}
    twins: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for split, ones in looked.items():
        grey = [one.image for one in ones if one.facts and one.facts.grey]
        if grey:
            yield _grey(split, grey, len(ones))
        for one in ones:
            if one.facts is None or not one.facts.usable:
                continue
            other, image = owner.setdefault(one.facts.sha256, (split, one.image))
            if (other, image) != (split, one.image):
                twins.setdefault((split, other), []).append((one.image, image))
    for (split, other), pairs in twins.items():
        for image, twin in pairs[:_FEW]:
            yield _twin(split, other, twin).at(image, split=split, image=image)
        if len(pairs) > _FEW:
            rest = len(pairs) - _FEW
            fault = _twin(split, other, f"{pairs[_FEW][1]} and {rest - 1} more such images")
            yield fault.at(pairs[_FEW][0], split=split, image=pairs[_FEW][0], count=rest)


def _twin(split: str, other: str, twin: str) -> Fault:
    if split == other:
        what = f"this image of {split} occurs twice: {readable(twin)}"
        return Fault(
            FaultCode.IMAGE_TWICE, what, "Remove one of them: it counts twice.", value=twin
        )
    return Fault(
        FaultCode.IMAGE_IN_TWO_SPLITS,
        f"this image of {split} is also in {other}: {readable(twin)}",
        "Keep it in one split: a model must be measured on images that it did not learn from.",
        value=twin,
    )


def _grey(split: str, grey: Sequence[str], total: int) -> DataFinding:
    fault = Fault(
        FaultCode.IMAGES_GREY,
        f"{len(grey)} of {total} images of {split} have no colour; this is the first",
        "Use the colour images of the camera: colour distinguishes helmets and vests.",
        value=f"{len(grey)} of {total}",
    )
    return fault.at(grey[0], split=split, image=grey[0], count=len(grey))


def _orphans(
    folder: str, images: Collection[str], known: Mapping[str, str], missing: Mapping[str, str]
) -> Iterator[DataFinding]:
    """Find label files without an image in a folder of labels.

    Args:
        folder: The folder of labels.
        images: The folders of its images; more than one if all splits share the labels.
        known: Images by their label file.
        missing: Images without a label file, by its expected path.
    """
    names = visible_names(folder)
    paths = [os.path.join(folder, name) for name in names if name.endswith(".txt")]
    orphans = [p for p in paths if p not in known and os.path.basename(p) not in CLASS_LISTS]
    if orphans:
        # Images that no list names, and images in unsupported formats, still have labels.
        parts = [os.path.splitext(name) for place in images for name in visible_names(place)]
        images_too = IMAGE_SUFFIXES | UNSUPPORTED_SUFFIXES
        stems = {stem for stem, suffix in parts if suffix.lower() in images_too}
        orphans = [p for p in orphans if os.path.splitext(os.path.basename(p))[0] not in stems]
        orphans = [path for path in orphans if _may_be_labels(path)]
    renamed = {path: image for path in orphans if (image := missing.get(filename_key(path)))}
    for path, image in renamed.items():
        what = f"has no image, but {readable(os.path.basename(image))} has no label"
        remedy = "Give both the same name: they differ only in case or Unicode composition."
        yield Fault(FaultCode.LABEL_ORPHAN, what, remedy).at(path, image=image)
    lost = [path for path in orphans if path not in renamed]
    if lost:
        more = f" (and {len(lost) - 1} more label files there)" if len(lost) > 1 else ""
        remedy = "Restore the image, or remove the label file."
        fault = Fault(FaultCode.LABEL_ORPHAN, f"has no image{more}", remedy, value=len(lost))
        yield fault.at(lost[0], count=len(lost))


def _may_be_labels(path: str) -> bool:
    """Whether a text file begins like labels; people put notes beside them, too."""
    try:
        content = read_content(path, MAX_TEXT_BYTES)
    except Fault:
        return True
    words = content.split(maxsplit=1)
    return not words or words[0][:1].isdigit() or words[0][:1] in (b"-", b"+", b".")


def _links(folder: str, inside: tuple[str, ...]) -> Iterator[DataFinding]:
    try:
        with os.scandir(folder) as entries:
            links = sorted(entry.path for entry in entries if entry.is_symlink())
    except OSError:
        return
    for path in links:
        target = os.path.realpath(path)
        if path.endswith(".txt") and not target.startswith(inside):
            yield link_outside(target).at(path)


def _compare_classes(folder: str, classes: Sequence[str]) -> Iterator[DataFinding]:
    file = os.path.join(folder, _CLASSES_FILE)
    if not classes or not os.path.lexists(file):
        return
    try:
        text = read_text(file).text
    except Fault as fault:
        yield fault.at(file)
        return
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if names != tuple(classes):
        fault = Fault(
            FaultCode.CLASSES_FILE,
            f"names {shortened(list(names))}, but data.yaml {shortened(list(classes))}",
            "Make sure that the labels use the class ids of data.yaml.",
            value=list(names),
        )
        yield fault.at(file)
