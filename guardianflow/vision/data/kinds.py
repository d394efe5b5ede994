"""Recognises data sets of other formats, and explains why a path is not a YOLO data set.

Only file names and a few files are examined; nothing is unpacked.
"""

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from guardianflow.vision.data.decoding import IMAGE_SUFFIXES
from guardianflow.vision.data.documents import (
    as_list,
    as_mapping,
    read_first_json,
    read_json,
    read_xml,
    visible_names,
)
from guardianflow.vision.data.findings import Fault, readable, shell_command
from guardianflow.vision.data.rules import FaultCode

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar", ".bz2", ".xz")
CLASS_LISTS = (
    "classes.txt",
    "obj.names",
    "predefined_classes.txt",
    "labels.txt",
    "_darknet.labels",
)
"""Names of the list of classes that tools write beside labels."""
_TELLING = (".json", ".xml", ".ndjson", ".jsonl")
_TABLES = (".csv", ".tsv", ".parquet", ".tfrecord", ".pbtxt")
_FEW = 200
_DEPTH = 3
_UNPACK = "Unpack it, and give the unpacked folder."


class ExportFormat(StrEnum):
    """The format of an annotation tool."""

    COCO = "COCO"
    VOC = "Pascal VOC"
    CVAT = "CVAT for images"
    LABEL_STUDIO = "Label Studio"
    SUPERVISELY = "Supervisely"
    NDJSON = "Ultralytics NDJSON"
    DARKNET = "YOLO 1.1 (Darknet)"
    CLASS_LIST = "YOLO labels with a class list"


@dataclass(frozen=True)
class RecognisedSet:
    """A data set in a format that `guardianflow dataset convert` reads.

    Attributes:
        kind: The format.
        root: The folder of the data set.
        files: The annotation files; for Supervisely the meta.json.
    """

    kind: ExportFormat
    root: Path
    files: tuple[Path, ...]


def recognise(place: Path) -> RecognisedSet | None:
    """Recognise a data set of another format: a folder, or an annotation file; None if unknown."""
    if os.path.isfile(place):
        kind = _kind_of_file(place)
        beside = place.parent.name.lower() in ("annotations", "ann")
        root = place.parent.parent if beside else place.parent
        return RecognisedSet(kind, root, (place,)) if kind else None
    files = list(_walk(place, _DEPTH))
    names = {file.name: file for file in reversed(files)}
    if "meta.json" in names and any(file.parent.name == "ann" for file in files):
        return RecognisedSet(ExportFormat.SUPERVISELY, place, (names["meta.json"],))
    if "obj.names" in names and "obj.data" in names:
        return RecognisedSet(ExportFormat.DARKNET, place, (names["obj.names"],))
    telling = [file for file in files if file.suffix.lower() in _TELLING]
    told = [(file, kind) for file in telling[:_FEW] if (kind := _kind_of_file(file))]
    if told:
        kind = told[0][1]
        of_kind = [file for file, other in told if other is kind]
        if kind is ExportFormat.VOC:
            of_kind = [file for file in telling if file.suffix == of_kind[0].suffix]
        # COCO has other files with key points and captions of the same images.
        boxes = [file for file in of_kind if file.name.startswith("instances")]
        return RecognisedSet(kind, place, tuple(boxes or of_kind))
    found = next((names[name] for name in CLASS_LISTS if name in names), _only_names(files))
    return RecognisedSet(ExportFormat.CLASS_LIST, place, (found,)) if found else None


def _only_names(files: Sequence[Path]) -> Path | None:
    """Darknet's list of classes under another name (coco.names), if there is only one."""
    found = [file for file in files if file.suffix.lower() == ".names"]
    return found[0] if len({file.name for file in found}) == 1 else None


def why_no_description(place: Path) -> Fault:
    """Return the fault of a path where no YAML file describes a YOLO set."""
    try:
        mode = os.stat(place).st_mode
    except (OSError, ValueError):
        return Fault(
            FaultCode.PLACE_MISSING,
            "does not exist on this machine",
            "Correct the path, or copy the folder there.",
            value=str(place),
        )
    if stat.S_ISREG(mode) and (place.suffix.lower() in _ARCHIVES or _is_archive(place)):
        return Fault(FaultCode.FORMAT_FOREIGN, "is an archive", _UNPACK, value=place.suffix)
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        what = "is neither a folder nor a file"
        return Fault(FaultCode.PLACE_MISSING, what, "Give the folder of the data set.")
    inner = next((f for f in _walk(place, 2) if f.name in ("data.yaml", "data.yml")), None)
    if inner is not None and inner.parent != place:
        return Fault(
            FaultCode.YAML_MISSING,
            f"has no data.yaml, but {readable(inner.parent.relative_to(place))} in it has one",
            f"Give that folder: {readable(inner.parent)}",
            value=str(inner.parent),
        )
    if found := recognise(place):
        convert = shell_command("guardianflow", "dataset", "convert", place, "NEW_FOLDER")
        example = readable(found.files[0].relative_to(found.root))
        return Fault(
            FaultCode.FORMAT_FOREIGN,
            f"is a data set in the format {found.kind} ({example}), not YOLO with data.yaml",
            f"Convert it: `{convert}`.",
            value=found.kind,
        )
    return _unknown(place)


def _unknown(place: Path) -> Fault:
    wanted = "A data set is a folder with data.yaml (names, train, val, test), images and labels."
    files = list(_walk(place, _DEPTH))
    if archive := next((file for file in files if file.suffix.lower() in _ARCHIVES), None):
        what = f"has no data.yaml, but contains the archive {readable(archive.name)}"
        return Fault(FaultCode.FORMAT_FOREIGN, what, _UNPACK)
    images = {file.stem for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    if not images:
        return Fault(FaultCode.YAML_MISSING, "has no data.yaml and no images", wanted)
    if any(file.suffix.lower() == ".txt" and file.stem in images for file in files):
        return Fault(
            FaultCode.YAML_MISSING,
            "contains images and text files, but no data.yaml",
            "Write data.yaml with the class names in the order of their ids.",
        )
    if other := next(filter(_is_of_another_tool, files), None):
        return Fault(
            FaultCode.FORMAT_FOREIGN,
            f"contains images and {readable(other.relative_to(place))}, whose format is not "
            "supported",
            "Export it again with its images, as YOLO with data.yaml, COCO, Pascal VOC or CVAT for "
            "images.",
            value=other.name,
        )
    return Fault(FaultCode.YAML_MISSING, "contains only images, and no data.yaml", wanted)


def _is_of_another_tool(file: Path) -> bool:
    """Whether a file may contain annotations; `_annotations.txt` has those of a whole folder."""
    return file.suffix.lower() in (*_TELLING, *_TABLES) or file.name == "_annotations.txt"


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Files below a folder, from the top down; links are not followed."""
    if not os.path.isdir(folder):
        return
    folders: list[Path] = []
    for name in visible_names(folder):
        path = folder / name
        if os.path.islink(path):
            continue
        if os.path.isdir(path):
            folders.append(path)
        elif os.path.isfile(path):
            yield path
    for path in folders if depth else ():
        yield from _walk(path, depth - 1)


def _is_archive(file: Path) -> bool:
    try:
        return zipfile.is_zipfile(file) or tarfile.is_tarfile(file)
    except OSError:
        return False


def _kind_of_file(file: Path) -> ExportFormat | None:
    suffix = file.suffix.lower()
    try:
        if suffix in (".ndjson", ".jsonl"):
            ours = as_mapping(read_first_json(file)).get("type") in ("dataset", "image")
            return ExportFormat.NDJSON if ours else None
        if suffix == ".json":
            return _kind_of_json(read_json(file))
        if suffix == ".xml":
            tags = {"annotations": ExportFormat.CVAT, "annotation": ExportFormat.VOC}
            return tags.get(read_xml(file).tag)
    except Fault:
        return None
    return None


def _kind_of_json(content: object) -> ExportFormat | None:
    keys = as_mapping(content)
    if isinstance(keys.get("images"), list) and isinstance(keys.get("categories"), list):
        return ExportFormat.COCO
    task = as_mapping(next(iter(as_list(content)), None))
    whole = "data" in task and ("annotations" in task or "completions" in task)
    # JSON-MIN has a flat row per answer.
    if whole or ("annotation_id" in task and "annotator" in task):
        return ExportFormat.LABEL_STUDIO
    return None
