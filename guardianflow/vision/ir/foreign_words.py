"""What a foreign file says of itself, as text of a stranger: class names, the size of its input."""

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from guardianflow.errors import ModelInvalid
from guardianflow.wording.printable import printable

# Class names are text that is parsed: more is never needed.
MAX_TEXT = 100_000
_MAX_DIGITS = 6


def parse_names(path: Path, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names in the order of their indices, from a mapping, a list, or `a,b,c` as text.

    Raises:
        ModelInvalid: They are none of these; `path` is the file.
    """
    labels = metadata.get("model_info labels", "")
    text = metadata.get("names", "") or _label_names(metadata) or labels
    if not text.strip():
        return ()
    if len(text) > MAX_TEXT:
        raise _unreadable_names(path, text, "is too long")
    if text is labels:
        # Separated by blanks; a blank within a name is written as an underscore.
        return tuple(labels.split())
    if text.strip().isdecimal():
        raise _unreadable_names(path, text, "is a number")
    if not text.lstrip().startswith(("{", "[", "(", '"', "'")):
        return tuple(name.strip() for name in text.split(","))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        try:
            content = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
            raise _unreadable_names(path, text, "is neither a list nor a mapping") from error
    return _in_order(path, text, content)


def _label_names(metadata: Mapping[str, str]) -> str:
    """The list of names in Geti's `label_info`, as text; "" if there is none."""
    told = metadata.get("model_info label_info", "")
    try:
        content = json.loads(told) if 0 < len(told) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        return ""
    if not isinstance(content, dict):
        return ""
    names = cast("dict[str, object]", content).get("label_names")
    return json.dumps(names) if isinstance(names, list) else ""


def _in_order(path: Path, text: str, content: object) -> tuple[str, ...]:
    """The names of a mapping from index to name, of a list, or of a single text."""
    if isinstance(content, dict):
        given = cast("dict[object, object]", content)
        by_index = {str(key): value for key, value in given.items()}
        if len(by_index) < len(given):
            raise _unreadable_names(path, text, "has an index twice")
        if set(by_index) != {str(index) for index in range(len(by_index))}:
            raise _unreadable_names(path, text, "has gaps in its indices")
        content = [by_index[str(index)] for index in range(len(by_index))]
    if isinstance(content, str):
        content = [content]
    if isinstance(content, set | frozenset):
        raise _unreadable_names(path, text, "is a set, which has no order")
    if not isinstance(content, list | tuple):
        raise _unreadable_names(path, text, "is a number")
    names = cast("Sequence[object]", content)
    if not all(isinstance(name, str | int) for name in names):
        raise _unreadable_names(path, text, "is not a list of texts")
    return tuple(str(name) for name in names)


def _unreadable_names(path: Path, text: str, problem: str) -> ModelInvalid:
    return ModelInvalid(
        f"The class names in {path} cannot be read: {text[:80]!r} {problem}.",
        remedy="Give them in the order of their indices: --classes a,b,c",
        file=str(path),
    )


def parse_side(text: str) -> tuple[int, int] | None:
    """Height and width from the text of `imgsz`, e.g. "[192, 320]" or "320"; None if unreadable."""
    parts = [part.strip() for part in text.strip("[]() ").split(",")]
    if not all(part.isdecimal() and len(part) <= _MAX_DIGITS for part in parts):
        return None
    sides = [int(part) for part in parts]
    return (sides[0], sides[-1]) if len(sides) <= 2 else None


def in_one_line(text: str) -> str:
    """A text of a file, for messages and terminals: without what controls either."""
    return printable(text).translate({ord("\n"): " ", ord("\t"): " "})
