"""Reads data sets of other formats: the image names in their annotations, with classes and boxes.

    COCO · Pascal VOC · CVAT · Label Studio · Supervisely · Ultralytics NDJSON · YOLO with a list

The files are untrusted: `documents.py` parses them, and their paths are never used to open images.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree.ElementTree import Element

from guardianflow.vision.data.class_names import class_key
from guardianflow.vision.data.decoding import IMAGE_SUFFIXES, read_content
from guardianflow.vision.data.documents import (
    MAX_BYTES,
    as_list,
    as_mapping,
    as_number,
    as_numbers,
    parse_json,
    read_json,
    read_xml,
    visible_names,
)
from guardianflow.vision.data.findings import Fault, errors, readable, refusal, shortened
from guardianflow.vision.data.kinds import ExportFormat, RecognisedSet
from guardianflow.vision.data.labels import parse_labels
from guardianflow.vision.data.listing import label_paths
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.texts import MAX_TEXT_BYTES, decode_text, read_text
from guardianflow.vision.data.yaml_file import SPLIT_WORDS

_Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2."""
Box = tuple[str, _Corners]
"""Class name and corners."""
_SPLITS = {word: split for split, words in SPLIT_WORDS.items() for word in words}


@dataclass(frozen=True)
class ForeignImage:
    """The annotations of one image.

    Attributes:
        name: Name of the image in the annotations: a path, or a part of one.
        boxes: Its boxes.
        split: train, val or test; None if not known.
        size: Width and height in pixels; None if not known.
        annotation_file: The file with the annotations.
        in_pixels: Whether the corners are in pixels; else they are fractions of the image.
    """

    name: str
    boxes: tuple[Box, ...]
    split: str | None
    size: tuple[int, int] | None
    annotation_file: Path
    in_pixels: bool = False


@dataclass
class ForeignSet:
    """A data set of another format.

    Attributes:
        root: Its folder.
        classes: Class names in the order of their ids; those that occur only in boxes come last.
        pictures: Every annotated image, also those without objects.
        left_out: What could not be converted, and how often.
        lists: By folder of annotations, the split of each image from the lists beside it.
    """

    root: Path
    classes: list[str] = field(default_factory=list[str])
    pictures: list[ForeignImage] = field(default_factory=list[ForeignImage])
    left_out: Counter[str] = field(default_factory=Counter[str])
    lists: dict[Path, Mapping[str, str]] = field(default_factory=dict[Path, Mapping[str, str]])

    def spelling_of(self, name: object) -> str:
        """Return a class name with normal spaces; add it to the classes if it is new."""
        text = " ".join(str(name).split()) or "unnamed"
        if text not in self.classes:
            self.classes.append(text)
        return text


def read_foreign(found: RecognisedSet) -> ForeignSet:
    """Read a data set of another format.

    Raises:
        DatasetInvalid: A file cannot be read.
    """
    made = ForeignSet(found.root)
    for file in found.files:
        try:
            _READERS[found.kind](file, made)
        except Fault as fault:
            raise refusal([fault.at(file)]) from fault
    return made


def split_of(*places: str) -> str | None:
    """Return the split that a path or a text names, looking at its last part first."""
    for place in places:
        for part in reversed(PurePosixPath(place.replace(os.sep, "/")).parts):
            words = class_key(PurePosixPath(part).stem).replace(".", "_").split("_")
            # instances_train2017, _annotations.coco, valid
            known = [_SPLITS.get(word.rstrip("0123456789")) for word in words]
            if found := next(filter(None, known), None):
                return found
    return None


def _read_coco(file: Path, made: ForeignSet) -> None:
    content = as_mapping(read_json(file))
    categories = _with_id(content, "categories", "id", made)
    names: dict[object, str] = {
        one["id"]: made.spelling_of(one.get("name")) for one in sorted(categories, key=_by_id)
    }
    boxes: dict[object, list[Mapping[str, Any]]] = {}
    for one in _with_id(content, "annotations", "image_id", made):
        boxes.setdefault(one["image_id"], []).append(one)
    for image in _with_id(content, "images", "id", made):
        taken: list[Box] = []
        for one in boxes.get(image["id"], ()):
            box = as_numbers(as_list(one.get("bbox")))
            label = names.get(_known_id(one.get("category_id")))
            if one.get("iscrowd") in (1, True):
                made.left_out["crowds"] += 1
            elif label is None:
                made.left_out["boxes without a class"] += 1
            elif box is None or len(box) != 4:
                made.left_out["annotations without a box"] += 1
            else:
                x, y, width, height = box
                taken.append((label, (x, y, x + width, y + height)))
        name = str(image.get("file_name") or "")
        split = split_of(_below(made.root, file), os.path.dirname(name))
        made.pictures.append(
            ForeignImage(name, tuple(taken), split, _size(image), file, in_pixels=True)
        )


def _with_id(
    content: Mapping[str, Any], what: str, key: str, made: ForeignSet
) -> list[Mapping[str, Any]]:
    """The entries of a COCO list that have an id under `key`; count the others."""
    entries = [as_mapping(one) for one in as_list(content.get(what))]
    known = [one for one in entries if _known_id(one.get(key)) is not None]
    if lost := len(entries) - len(known):
        made.left_out[f"{what} without {key}"] += lost
    return known


def _known_id(value: object) -> int | float | str | None:
    """A value that can be an id; else None, because a list or an object cannot be a key."""
    return value if isinstance(value, int | float | str) else None


def _by_id(category: Mapping[str, Any]) -> tuple[float, str]:
    return as_number(category.get("id")) or 0.0, str(category.get("name"))


def _below(root: Path, file: Path) -> str:
    """The path of a file relative to the data set: folders above it do not name its split."""
    return os.path.relpath(file, root)


def _read_voc(file: Path, made: ForeignSet) -> None:
    root = read_xml(file)
    if root.tag != "annotation":
        made.left_out["XML files of other kinds"] += 1
        return
    size = _size({key: root.findtext(f"size/{key}") for key in ("width", "height")})
    taken: list[Box] = []
    for one in root.iter("object"):
        keys = ("xmin", "ymin", "xmax", "ymax")
        edges = as_numbers([one.findtext(f"bndbox/{key}") for key in keys])
        if edges is None:
            made.left_out["objects without a box"] += 1
            continue
        x1, y1, x2, y2 = edges
        taken.append((made.spelling_of(one.findtext("name")), (x1, y1, x2, y2)))
    name = root.findtext("filename") or ""
    # Annotation files are renamed together with their images; the name inside is not updated.
    stem = f"{file.stem}{PurePosixPath(name).suffix or '.jpg'}"
    if file.parent not in made.lists:
        made.lists[file.parent] = _voc_lists(file.parent, made.root)
    split = made.lists[file.parent].get(file.stem) or split_of(_below(made.root, file.parent))
    made.pictures.append(ForeignImage(stem, tuple(taken), split, size, file, in_pixels=True))


def _voc_lists(annotations: Path, root: Path) -> Mapping[str, str]:
    """The split of each image in the nearest ImageSets/Main between the annotations and the root.

    VOCdevkit contains one set per year.
    """
    around = [place for place in (annotations, *annotations.parents) if place.is_relative_to(root)]
    places = [place / name for place in around for name in ("ImageSets/Main", "ImageSets")]
    folder = next((place for place in places if place.is_dir()), None)
    lists: dict[str, str] = {}
    for name in visible_names(folder) if folder else ():
        if (split := _SPLITS.get(Path(name).stem)) and name.endswith(".txt") and folder:
            for line in read_text(folder / name).text.splitlines():
                lists.setdefault(line.split()[0] if line.strip() else "", split)
    return lists


def _read_cvat(file: Path, made: ForeignSet) -> None:
    root = read_xml(file)
    for label in root.iter("label"):
        if name := label.findtext("name"):
            made.spelling_of(name)
    if root.find("track") is not None:
        what = "is CVAT's format for videos (tracks); its frames are not among the files"
        raise Fault(
            FaultCode.FORMAT_FOREIGN, what, 'Export it as "CVAT for images", with the images.'
        )
    for image in root.iter("image"):
        taken: list[Box] = []
        for shape in image:
            corners = _cvat_corners(shape)
            if corners is None:
                made.left_out[f"shapes that are no box ({shortened(shape.tag)})"] += 1
            else:
                taken.append((made.spelling_of(shape.get("label")), corners))
        name, subset = image.get("name") or "", image.get("subset") or ""
        split, size = split_of(subset, os.path.dirname(name)), _size(image.attrib)
        made.pictures.append(ForeignImage(name, tuple(taken), split, size, file, in_pixels=True))


def _cvat_corners(shape: Element) -> _Corners | None:
    edges = as_numbers([shape.get(key) for key in ("xtl", "ytl", "xbr", "ybr")])
    if shape.tag == "box" and edges and not as_number(shape.get("rotation") or 0):
        x1, y1, x2, y2 = edges
        return x1, y1, x2, y2
    if shape.tag == "polygon":
        return _around(pair.split(",") for pair in (shape.get("points") or "").split(";"))
    return None


def _read_label_studio(file: Path, made: ForeignSet) -> None:
    for task in map(as_mapping, as_list(read_json(file))):
        address, values = _answered(task)
        if values is None or not address:
            made.left_out["tasks without an annotation or an image"] += 1
            continue
        taken: list[Box] = []
        for value in values:
            labels = as_list(value.get("rectanglelabels") or value.get("polygonlabels"))
            corners = _studio_corners(value)
            if not labels or corners is None:
                made.left_out["results that are neither an upright rectangle nor a polygon"] += 1
                continue
            x1, y1, x2, y2 = corners
            taken.append((made.spelling_of(labels[0]), (x1 / 100, y1 / 100, x2 / 100, y2 / 100)))
        made.pictures.append(ForeignImage(address, tuple(taken), None, None, file))


def _answered(task: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]] | None]:
    """The image of a task, and its annotated shapes; None if nobody annotated it."""
    if "annotation_id" in task:
        # JSON-MIN has data and answer in one row, and the shapes in lists by name of the control.
        lists = [one for value in task.values() for one in as_list(value)]
        return _image_in(task), [one for one in map(as_mapping, lists) if one]
    answers = map(as_mapping, as_list(task.get("annotations") or task.get("completions")))
    done = [one for one in answers if not one.get("was_cancelled")]
    # The last answer of a task counts.
    results = [as_mapping(one) for one in as_list(done[-1].get("result"))] if done else []
    values = [as_mapping(one.get("value")) for one in results]
    return _image_in(as_mapping(task.get("data"))), values if done else None


def _studio_corners(value: Mapping[str, Any]) -> _Corners | None:
    """The box of a rectangle or a polygon, in percent of the image."""
    if outline := as_list(value.get("points")):
        return _around(map(as_list, outline))
    sides = as_numbers([value.get(key) for key in ("x", "y", "width", "height")])
    if sides is None or as_number(value.get("rotation") or 0):
        return None
    x, y, width, height = sides
    return x, y, x + width, y + height


def _image_in(data: Mapping[str, Any]) -> str:
    """The image in the data of a task; each project chooses its own key."""
    texts = {key: _address(text) for key, text in data.items() if isinstance(text, str)}
    usual = [texts[key] for key in ("image", "img", "ocr") if texts.get(key)]
    pictures = [t for t in texts.values() if PurePosixPath(t).suffix.lower() in IMAGE_SUFFIXES]
    return next(iter([*usual, *pictures]), "")


def _address(text: str) -> str:
    """The path in an address as Label Studio has it, e.g. `/data/local-files/?d=b/a.jpg`."""
    try:
        parts = urlsplit(text)
        query = parse_qs(parts.query).get("d")
    except ValueError:
        return text
    return query[0] if query else unquote(parts.path)


def _read_supervisely(file: Path, made: ForeignSet) -> None:
    for one in map(as_mapping, as_list(as_mapping(read_json(file)).get("classes"))):
        made.spelling_of(one.get("title"))
    for note in sorted(made.root.rglob("ann/*.json")):
        try:
            content = as_mapping(read_json(note, MAX_TEXT_BYTES))
        except Fault as fault:
            raise refusal([fault.at(note)]) from fault
        size = _size(as_mapping(content.get("size")))
        taken: list[Box] = []
        for one in map(as_mapping, as_list(content.get("objects"))):
            outline = as_list(as_mapping(one.get("points")).get("exterior"))
            corners = _around(map(as_list, outline))
            if one.get("geometryType") not in ("rectangle", "polygon") or not corners:
                made.left_out[f"shapes that are no box ({shortened(one.get('geometryType'))})"] += 1
                continue
            taken.append((made.spelling_of(one.get("classTitle")), corners))
        split = split_of(_below(made.root, note.parent.parent))
        place = f"{os.path.relpath(note.parent.parent, made.root)}/img/{note.stem}"
        made.pictures.append(ForeignImage(place, tuple(taken), split, size, note, in_pixels=True))


def _read_ndjson(file: Path, made: ForeignSet) -> None:
    text = decode_text(read_content(file, MAX_BYTES)).text
    names: list[str] = []
    for line, row in enumerate(text.splitlines(), start=1):
        entry = as_mapping(parse_json(row, line)) if row.strip() else {}
        if entry.get("type") == "dataset":
            if entry.get("task", "detect") != "detect":
                what = f"is a data set for {shortened(entry.get('task'))}, not for detection"
                raise Fault(FaultCode.FORMAT_FOREIGN, what, "Export boxes.", line=line)
            known = as_mapping(entry.get("class_names"))
            ordered = sorted(known, key=lambda key: as_number(key) or 0.0)
            names = [made.spelling_of(known[key]) for key in ordered]
        elif entry.get("type") == "image":
            taken: list[Box] = []
            for box in as_list(as_mapping(entry.get("annotations")).get("boxes")):
                values = as_numbers(as_list(box))
                if values is None or len(values) != 5 or not 0 <= values[0] < len(names):
                    made.left_out["boxes that cannot be read"] += 1
                    continue
                label, cx, cy, width, height = values
                corners = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
                taken.append((names[int(label)], corners))
            split = _SPLITS.get(str(entry.get("split")))
            name = str(entry.get("file") or "")
            made.pictures.append(ForeignImage(name, tuple(taken), split, _size(entry), file))


def _read_class_list(file: Path, made: ForeignSet) -> None:
    """YOLO labels with a list of classes: Label Studio, LabelImg, CVAT's YOLO 1.1."""
    names = [" ".join(line.split()) for line in read_text(file).text.rstrip().splitlines()]
    if len(set(names)) != len(names) or not all(names):
        what = "names a class twice or has an empty line, so the class ids are ambiguous"
        raise Fault(FaultCode.FORMAT_BROKEN, what, "Write one class per line.")
    for other in _lists_like(file, made.root):
        if read_text(other).text.split() != read_text(file).text.split():
            what = f"and {readable(other)} name different classes, so class ids are ambiguous"
            raise Fault(FaultCode.FORMAT_BROKEN, what, "Export all at once, or convert each set.")
    made.classes += names
    images = list(images_below(made.root))
    places = label_paths([str(image) for image in images], os.fspath(made.root))
    for image in images:
        label = next((Path(p) for p in places[str(image)] if os.path.isfile(p)), None)
        if label is None or label == file:
            made.left_out["images without a label file"] += 1
            continue
        content = read_content(label, MAX_TEXT_BYTES)
        rows, findings = parse_labels(label, content, len(made.classes))
        if wrong := errors(findings):
            raise refusal(wrong)
        taken = tuple((made.classes[index], (x1, y1, x2, y2)) for index, x1, y1, x2, y2 in rows)
        name = os.path.relpath(image, made.root)
        split = split_of(_below(made.root, image.parent))
        made.pictures.append(ForeignImage(name, taken, split, None, label))


def _lists_like(file: Path, root: Path) -> Iterator[Path]:
    """Other files of this name below a folder: some exporters write one per split."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        if file.name in names and Path(folder) != file.parent:
            yield Path(folder, file.name)


def images_below(root: Path) -> Iterator[Path]:
    """Return every image below a folder, sorted; links are not followed."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            regular = path.suffix.lower() in IMAGE_SUFFIXES and not os.path.islink(path)
            if regular and not name.startswith(".") and os.path.isfile(path):
                yield path


def _size(said: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = as_number(said.get("width")), as_number(said.get("height"))
    return (int(width), int(height)) if width and height and min(width, height) >= 1 else None


def _around(points: Iterable[Sequence[object]]) -> _Corners | None:
    """The box around points; None if there are fewer than two."""
    known = [pair for point in points if len(point) == 2 and (pair := as_numbers(point))]
    if len(known) < 2:
        return None
    xs, ys = zip(*known, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


_READERS: Mapping[ExportFormat, Callable[[Path, ForeignSet], None]] = {
    ExportFormat.COCO: _read_coco,
    ExportFormat.VOC: _read_voc,
    ExportFormat.CVAT: _read_cvat,
    ExportFormat.LABEL_STUDIO: _read_label_studio,
    ExportFormat.SUPERVISELY: _read_supervisely,
    ExportFormat.NDJSON: _read_ndjson,
    ExportFormat.DARKNET: _read_class_list,
    ExportFormat.CLASS_LIST: _read_class_list,
}
