"""The YOLO format on disk: reads `data.yaml` and label files, and alone knows their quirks.

    data.yaml    path, train, val, test (folders), names (list or mapping), nc
    label file   one row per object: class cx cy w h, all but the class as fractions of the image

What is wrong comes back as `DatasetInvalid` that names file, line, value and remedy; nothing is
guessed where a guess could train on wrong boxes.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import yaml
from numpy.typing import NDArray

from guardianflow.errors import DatasetInvalid
from guardianflow.yaml_lines import NoYaml, line_of, parse

SPLITS = ("train", "val", "test")
# Exporters round to six digits: an edge may stand that far outside, more is a wrong box.
EDGE_TOLERANCE = 2e-3
_LFS_HEAD = b"version https://git-lfs.github.com/spec/"
_FOREIGN = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")


@dataclass(frozen=True)
class Description:
    """What `data.yaml` says: class names in order, and the image folders of each split."""

    file: Path
    classes: tuple[str, ...]
    folders: Mapping[str, tuple[Path, ...]]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Labels:
    """The rows of one label file.

    Attributes:
        classes: Class of each row, shape (N,), int64.
        boxes: x1, y1, x2, y2 as fractions of the image in [0, 1], shape (N, 4), float64.
        duplicates: Rows that repeated an earlier row and were left out.
        problems: What is wrong, one per bad row; such rows are in none of the above.
    """

    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    duplicates: int
    problems: tuple[DatasetInvalid, ...]


def invalid(
    file: Path, what: str, remedy: str, *, line: int | None = None, value: object = None
) -> DatasetInvalid:
    """An error about a file of the data set, at a line where there is one."""
    place = f"{file}:{line}" if line else str(file)
    return DatasetInvalid(
        f"{place}: {what}.", remedy=remedy, file=str(file), line=line, value=repr(value)
    )


def read_content(file: Path) -> bytes:
    """Read a file of the data set.

    Raises:
        DatasetInvalid: It cannot be read, or Git LFS left its pointer in place of the content.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise invalid(
            file, f"cannot be read ({error.strerror})", "Bring the file there, or its rights."
        ) from error
    if content.startswith(_LFS_HEAD):
        raise invalid(
            file,
            "a Git LFS pointer instead of the content",
            "Run `git lfs pull` in the repository of the data set.",
        )
    return content


def read_text(file: Path) -> str:
    """Read a text file of the data set.

    Raises:
        DatasetInvalid: It cannot be read, or it is not UTF-8.
    """
    try:
        return read_content(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid(file, "is no UTF-8 text", "Save the file as UTF-8.") from error


def read_description(root: Path) -> Description:
    """Read `data.yaml` of the data set in `root`.

    Raises:
        DatasetInvalid: It is missing, no YAML, or names or folders in it cannot be used.
    """
    file = next(
        (root / name for name in ("data.yaml", "data.yml") if (root / name).is_file()), None
    )
    if file is None:
        raise invalid(
            root / "data.yaml",
            "does not exist",
            "A data set is a folder with data.yaml (names, train, val, test), images and labels.",
        )
    tree, content = _parse_yaml(file)
    warnings: list[str] = []
    classes = _read_names(file, tree, content, warnings)
    base = _read_base(file, tree, content)
    folders = {
        split: _read_folders(file, tree, base, split, content[split], warnings)
        for split in SPLITS
        if content.get(split) is not None
    }
    if not folders:
        raise invalid(file, "has none of the keys train, val, test", "Name at least one folder.")
    _refuse_shared_folders(file, tree, folders)
    return Description(file, classes, folders, tuple(warnings))


def read_labels(file: Path, class_count: int) -> Labels:
    """Read one label file; an empty one is an image in which there is nothing to find.

    Raises:
        DatasetInvalid: The file itself cannot be read; bad rows are in `problems` instead.
    """
    seen: dict[tuple[float, ...], None] = {}
    duplicates, problems = 0, list[DatasetInvalid]()
    for number, row in enumerate(read_text(file).splitlines(), start=1):
        words = row.split()
        if not words:
            continue
        try:
            parsed = _parse_row(file, number, words, class_count)
        except DatasetInvalid as problem:
            problems.append(problem)
            continue
        duplicates += parsed in seen
        seen[parsed] = None
    table = np.array(list(seen), np.float64).reshape(-1, 5)
    return Labels(
        classes=table[:, 0].astype(np.int64),
        boxes=table[:, 1:].clip(0.0, 1.0),
        duplicates=duplicates,
        problems=tuple(problems),
    )


def label_file(image: Path, root: Path) -> Path:
    """Where the labels of an image lie: beside `images/` in `labels/`, or beside the image.

    The last folder called `images` counts, and only below the data set's own folder.
    """
    own = image.relative_to(root) if image.is_relative_to(root) else image
    parts = list(own.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
        mirrored = (root / Path(*parts)).with_suffix(".txt")
        beside = image.with_suffix(".txt")
        return beside if beside.is_file() and not mirrored.is_file() else mirrored
    return image.with_suffix(".txt")


def _parse_row(file: Path, line: int, words: list[str], class_count: int) -> tuple[float, ...]:
    """One row as class, x1, y1, x2, y2 (fractions of the image)."""
    _check_columns(file, line, words)
    try:
        class_id = int(words[0])
    except ValueError:
        raise invalid(
            file,
            f"class id {words[0]!r} is no whole number",
            "The first column is the position of the class in `names`.",
            line=line,
            value=words[0],
        ) from None
    if not 0 <= class_id < class_count:
        raise invalid(
            file,
            f"class id {class_id}, but data.yaml names {class_count} classes "
            f"(0 to {class_count - 1})",
            "Correct the row, or complete `names` in data.yaml.",
            line=line,
            value=class_id,
        )
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError as error:
        raise invalid(
            file, str(error), "Columns 2 to 5 are decimal numbers.", line=line, value=words
        ) from None
    return (class_id, *_check_box(file, line, numbers))


def _check_columns(file: Path, line: int, words: list[str]) -> None:
    if len(words) == 5:
        return
    if len(words) == 6:
        hint = "Six look like predictions with a confidence: take the last column out."
    elif len(words) >= 7 and len(words) % 2 == 1:
        hint = "This is the outline of a polygon: export the data set as detection boxes."
    else:
        hint = "A row is: class cx cy w h."
    raise invalid(file, f"{len(words)} columns, not 5", hint, line=line, value=" ".join(words[:8]))


def _check_box(file: Path, line: int, numbers: list[float]) -> tuple[float, float, float, float]:
    cx, cy, width, height = numbers
    value = " ".join(f"{number:g}" for number in numbers)
    if not all(math.isfinite(number) for number in numbers):
        raise invalid(file, f"box {value} is not finite", "Draw it again.", line=line, value=value)
    if width <= 0 or height <= 0:
        raise invalid(
            file,
            f"box {value} has no area",
            "Remove the row, or draw the box again.",
            line=line,
            value=value,
        )
    box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    if min(box) < -EDGE_TOLERANCE or max(box) > 1 + EDGE_TOLERANCE:
        in_pixels = max(numbers) > 2
        raise invalid(
            file,
            f"box {value} leaves the image",
            "The numbers look like pixels: divide them by the image's width and height."
            if in_pixels
            else "Cut the box at the border; all numbers are fractions of the image.",
            line=line,
            value=value,
        )
    return box


def _parse_yaml(file: Path) -> tuple[yaml.Node | None, Mapping[str, object]]:
    try:
        content, tree = parse(read_text(file))
    except NoYaml as error:
        raise invalid(file, f"is no YAML: {error}", "Correct the line.", line=error.line) from error
    if not isinstance(content, dict):
        raise invalid(file, "is no mapping", "It has keys such as names, train and val.", line=1)
    return tree, cast("Mapping[str, object]", content)


def _read_names(
    file: Path, tree: yaml.Node | None, content: Mapping[str, object], warnings: list[str]
) -> tuple[str, ...]:
    names, line = content.get("names"), line_of(tree, ["names"])
    if isinstance(names, dict):
        keyed = cast("dict[object, object]", names)
        if list(keyed) != list(range(len(keyed))):
            raise invalid(
                file,
                f"the keys of names are {list(keyed)}, not 0 to {len(keyed) - 1} in order",
                "Number the classes from 0 without a gap.",
                line=line,
                value=list(keyed),
            )
        names = list(keyed.values())
    if not isinstance(names, list) or not names:
        raise invalid(
            file,
            "names is missing or empty" if not names else f"names is {names!r}",
            "List the class names in the order of their ids.",
            line=line,
            value=names,
        )
    classes = tuple(_read_name(file, line, name) for name in cast("list[object]", names))
    repeated = next((name for name in classes if classes.count(name) > 1), None)
    if repeated is not None:
        raise invalid(
            file, f"class {repeated!r} is named twice", "Merge the two.", line=line, value=repeated
        )
    warnings += [f"{file}: class name {name!r} is a number" for name in classes if name.isdigit()]
    nc = content.get("nc")
    if nc is not None and nc != len(classes):
        raise invalid(
            file,
            f"nc is {nc!r}, but names has {len(classes)} classes",
            "Make the two agree; nc may be left out.",
            line=line_of(tree, ["nc"]),
            value=nc,
        )
    return classes


def _read_name(file: Path, line: int | None, name: object) -> str:
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    if isinstance(name, str) and name.strip():
        return name.strip()
    raise invalid(
        file, f"class name {name!r} is no text", "Put it in quotes.", line=line, value=name
    )


def _read_base(file: Path, tree: yaml.Node | None, content: Mapping[str, object]) -> Path:
    """The folder in which the splits lie: `path` of data.yaml, seen from data.yaml."""
    given = content.get("path")
    if given is None:
        return file.parent
    base = file.parent / str(given)
    if _FOREIGN.match(str(given)) or not base.is_dir():
        raise invalid(
            file,
            f"path {given!r} does not exist on this machine",
            "Remove `path`; the splits are then looked for beside data.yaml.",
            line=line_of(tree, ["path"]),
            value=given,
        )
    return base


def _read_folders(
    file: Path,
    tree: yaml.Node | None,
    base: Path,
    split: str,
    value: object,
    warnings: list[str],
) -> tuple[Path, ...]:
    line = line_of(tree, [split])
    entries = cast("list[object]", value) if isinstance(value, list) else [value]
    folders: list[Path] = []
    for entry in entries:
        text = str(entry)
        folder = (base / text).resolve()
        if not folder.exists() and text.startswith("../"):
            # A well-known exporter writes `../train/images` for a folder beside data.yaml.
            folder = (base / text.removeprefix("../")).resolve()
            warnings.append(f"{file}:{line}: {split} {text!r} was read as {text[3:]!r}")
        if _FOREIGN.match(text) or not folder.is_dir():
            raise invalid(
                file,
                f"{split} {text!r} is no folder on this machine (looked for {folder})",
                "Name the folder of images as seen from data.yaml, e.g. images/train.",
                line=line,
                value=text,
            )
        folders.append(folder)
    return tuple(folders)


def _refuse_shared_folders(
    file: Path, tree: yaml.Node | None, folders: Mapping[str, tuple[Path, ...]]
) -> None:
    owner: dict[Path, str] = {}
    for split, paths in folders.items():
        for path in paths:
            if owner.setdefault(path, split) != split:
                raise invalid(
                    file,
                    f"{split} and {owner[path]} are the same folder {path}",
                    "A model must be measured on images that it did not learn from: split them.",
                    line=line_of(tree, [split]),
                    value=str(path),
                )
