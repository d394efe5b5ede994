"""Reads `data.yaml`: the classes, and where the images of each split lie; collects all its faults.

path             the folder to which the splits are relative; the caller can replace it
train val test   a folder of images, a .txt file with one image per line, or a list of these;
                 the names of exporters (Train, valid, Validation) are read with a warning
names  nc        the classes, as a list or numbered, and their number

The YAML file may have another name if it is the only one with these keys. Empty values count as
missing.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from guardianflow.scenario.yaml_lines import line_of
from guardianflow.vision.data.class_names import judge_count, judge_names, read_names
from guardianflow.vision.data.documents import visible_names
from guardianflow.vision.data.findings import DataFinding, Fault, quoted, readable, shortened
from guardianflow.vision.data.kinds import why_no_description
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.yaml_file import SPLIT_WORDS, SPLITS, DescriptionReader, parse_file

_FILES = ("data.yaml", "data.yml")
_SUFFIXES = (".yaml", ".yml")
_FOREIGN = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")
_MAX_ENTRIES = 10_000


@dataclass(frozen=True)
class Description:
    """The usable content of `data.yaml`.

    Attributes:
        file: The YAML file.
        root: The folder of the data set.
        base: The folder to which the splits are relative.
        classes: Class names in the order of their ids; empty if they cannot be used.
        sources: By split, the resolved folders and lists of images that exist.
        lines: By split, its line in the file.
    """

    file: Path
    root: Path
    base: Path
    classes: tuple[str, ...]
    sources: Mapping[str, tuple[Path, ...]]
    lines: Mapping[str, int | None]


def read_description(
    place: Path, findings: list[DataFinding], base: Path | None = None
) -> Description | None:
    """Read the usable content of a data.yaml, given itself or its folder; None if there is none.

    Problems are added to `findings`. `base` replaces `path` of data.yaml.
    """
    file = place
    try:
        file = _find(place)
        reader = parse_file(file, findings)
    except Fault as fault:
        findings.append(fault.at(file))
        return None
    classes = _read_names(reader)
    folder = _given_base(reader, base) if base else _read_base(reader)
    keys = _split_keys(reader)
    sources = _read_splits(reader, keys, folder)
    return Description(
        file=file,
        root=file.parent,
        base=folder or file.parent,
        classes=classes,
        sources=sources,
        lines={split: line_of(reader.tree, [keys.get(split, split)]) for split in SPLITS},
    )


def _find(place: Path) -> Path:
    """The YAML file that describes a data set.

    Raises:
        Fault: There is none, or more than one.
    """
    # Not Path.exists: it raises on names that are too long.
    if place.suffix.lower() in _SUFFIXES and os.path.exists(place) and not os.path.isdir(place):
        return place
    # Not `is_file`: a pipe or a folder of that name must be reported, not overlooked.
    usual = next((place / name for name in _FILES if os.path.lexists(place / name)), None)
    if usual:
        return usual
    names = [name for name in visible_names(place) if name.lower().endswith(_SUFFIXES)]
    others = [file for name in names if _describes(file := place / name)]
    if len(others) > 1:
        raise Fault(
            FaultCode.YAML_SEVERAL,
            f"has no data.yaml, and {', '.join(readable(file.name) for file in others)} each "
            "describe a data set",
            f"Give the one you mean, e.g. {readable(others[0])}",
            value=[file.name for file in others],
        )
    if not others:
        raise why_no_description(place)
    return others[0]


def _describes(file: Path) -> bool:
    """Whether a YAML file names classes and splits."""
    try:
        reader = parse_file(file, [])
    except Fault:
        return False
    return "names" in reader.content and bool(_split_keys(reader))


def _read_names(reader: DescriptionReader) -> tuple[str, ...]:
    try:
        classes = read_names(reader.content.get("names"))
    except Fault as fault:
        reader.add(fault, "names")
        return ()
    for fault in judge_names(classes):
        reader.add(fault, "names")
    if fault := judge_count(reader.content.get("nc"), classes):
        reader.add(fault, "nc")
    return classes


def _given_base(reader: DescriptionReader, base: Path) -> Path | None:
    """The folder that replaces `path`; None if it does not exist."""
    if os.path.isdir(base):
        return base.absolute()
    fault = Fault(
        FaultCode.PATH_MISSING,
        f"the folder {base} given in place of `path` does not exist",
        "Give the folder to which train, val and test are relative.",
        value=str(base),
    )
    reader.add(fault, "path")
    return None


def _read_base(reader: DescriptionReader) -> Path | None:
    """The folder to which the splits are relative: `path`, relative to data.yaml."""
    given = reader.content.get("path")
    if _unset(given):
        return reader.file.parent
    found = None if _foreign(given) else _resolve(reader.file.parent, given)
    if found is None or not found.is_dir():
        fault = Fault(
            FaultCode.PATH_MISSING,
            f"path {quoted(given)} does not exist on this machine",
            "Remove `path` if the splits are beside data.yaml, or give the folder with --root.",
            value=given,
        )
        reader.add(fault, "path")
        return None
    return found


def _unset(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _split_keys(reader: DescriptionReader) -> Mapping[str, str]:
    """The splits that have a value, and the key of each."""
    # CVAT writes Train and Validation. A key with the correct spelling has precedence. In YAML, a
    # key may be of any type.
    named = [key for key, value in reader.content.items() if not _unset(value)]
    spelled = {str(key).casefold(): key for key in named}
    spelled.update({key: key for key in named})
    return {
        split: spelled[word]
        for split, words in SPLIT_WORDS.items()
        if (word := next((word for word in words if word in spelled), None))
    }


def _read_splits(
    reader: DescriptionReader, keys: Mapping[str, str], base: Path | None
) -> Mapping[str, tuple[Path, ...]]:
    named = list(keys)
    for split, written in keys.items():
        if written != split:
            what, remedy = f"{written} is read as {split}", f"Rename it to {split}."
            fault = Fault(FaultCode.SPLIT_RENAMED, what, remedy, value=written)
            reader.add(fault, written, split=split)
    if not named:
        what = "has none of the keys train, val, test"
        reader.add(Fault(FaultCode.SPLITS_MISSING, what, "Name at least one folder."))
    if base is None:
        # Another finding says that the base folder does not exist.
        return dict.fromkeys(named, ())
    sources = {split: _read_sources(reader, base, split, keys[split]) for split in named}
    owner: dict[Path, str] = {}
    for split, paths in sources.items():
        for path in paths:
            if owner.setdefault(path, split) != split:
                fault = Fault(
                    FaultCode.SPLIT_SHARED,
                    f"{split} and {owner[path]} are the same folder {path}",
                    "Split them: a model must be measured on images that it did not learn from.",
                    value=str(path),
                )
                reader.add(fault, keys[split], split=split)
    return sources


def _read_sources(reader: DescriptionReader, base: Path, split: str, key: str) -> tuple[Path, ...]:
    value = reader.content[key]
    entries = cast("list[object]", value) if isinstance(value, list) else [value]
    sources: list[Path] = []
    # A list can contain itself, through an alias: such an entry is not text. A long list is cut.
    for entry in entries[:_MAX_ENTRIES]:
        try:
            source, odd = _read_source(reader, base, split, entry)
        except Fault as fault:
            reader.add(fault, key, split=split)
        else:
            sources.append(source)
            if odd:
                reader.add(odd, key, split=split)
    return tuple(dict.fromkeys(sources))


def _read_source(
    reader: DescriptionReader, base: Path, split: str, entry: object
) -> tuple[Path, Fault | None]:
    """A folder or a list of images, and a warning about its entry.

    Raises:
        Fault: It does not exist, or contains the data set.
    """
    found, odd = None if _foreign(entry) else _resolve(base, entry), None
    if found is None and isinstance(entry, str) and entry.startswith("../"):
        # Roboflow writes `../train/images` for a folder beside data.yaml.
        found = _resolve(base, entry.removeprefix("../"))
        if found is not None:
            what = f"{split} {quoted(entry)} was read as {shortened(entry[3:])!r}"
            odd = Fault(FaultCode.SPLIT_MOVED, what, "Remove `../`.", value=entry)
    if found is None or not (found.is_dir() or found.suffix.lower() == ".txt"):
        ours = isinstance(entry, str) and not _foreign(entry)
        looked = shortened(f" (looked for {base / str(entry)})") if ours else ""
        raise Fault(
            FaultCode.SPLIT_MISSING,
            f"{split} {quoted(entry)} is not a folder on this machine{looked}",
            "Give the folder of images relative to data.yaml, e.g. images/train.",
            value=entry,
        )
    own = reader.file.parent.resolve()
    if found != own and own.is_relative_to(found):
        raise Fault(
            FaultCode.SPLIT_OUTSIDE,
            f"{split} {quoted(entry)} is {found}, a folder that contains the data set",
            "Give only the folder of images.",
            value=entry,
        )
    if isinstance(entry, str) and os.path.isabs(os.path.expanduser(entry)):
        odd = Fault(
            FaultCode.SPLIT_ABSOLUTE,
            f"{split} {quoted(entry)} is an absolute path",
            "Give the folder relative to data.yaml.",
            value=entry,
        )
    return found, odd


def _foreign(entry: object) -> bool:
    return isinstance(entry, str) and bool(_FOREIGN.match(entry)) and os.sep == "/"


def _resolve(base: Path, entry: object) -> Path | None:
    """The path that an entry names; None if it does not exist or is not a path."""
    if not isinstance(entry, str) or not entry or "\0" in entry:
        return None
    try:
        path = os.path.realpath(os.path.join(base, os.path.expanduser(entry)))
    except (OSError, ValueError):
        return None
    # Not Path.exists: it raises on names that are too long.
    return Path(path) if os.path.exists(path) else None
