"""Reads JSON, XML and NDJSON of other programs safely: limited in size, without entities."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

from guardianflow.vision.data.decoding import read_content
from guardianflow.vision.data.findings import Fault, shortened
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.texts import decode_text

MAX_BYTES = 1024 * 2**20
_REMEDY = "Export it again."


def read_json(file: Path, max_bytes: int = MAX_BYTES) -> object:
    """Return the content of a JSON file.

    Raises:
        Fault: The file cannot be read, is too large, or is not JSON.
    """
    return parse_json(decode_text(read_content(file, max_bytes)).text)


def read_first_json(file: Path) -> object:
    """Return the content of the first line of an NDJSON file.

    Raises:
        Fault: The file cannot be read, is too large, or the line is not JSON.
    """
    text = decode_text(read_content(file, MAX_BYTES)).text
    return parse_json(text.lstrip().partition("\n")[0], line=1)


def parse_json(text: str, line: int | None = None) -> object:
    """Return the content of a JSON text; `line` is its line in the file.

    Raises:
        Fault: The text is not JSON.
    """
    try:
        return json.loads(text)
    # E.g. 5000 nested brackets, or a number of 5000 digits.
    except (ValueError, RecursionError) as error:
        raise Fault(
            FaultCode.FORMAT_BROKEN, f"is not JSON: {shortened(str(error))}", _REMEDY, line=line
        ) from error


def read_xml(file: Path) -> ElementTree.Element:
    """Return the root of an XML file; refuse a DOCTYPE, because only it can declare entities.

    Raises:
        Fault: The file cannot be read, is too large, is not XML, or has a DOCTYPE.
    """
    parser = ElementTree.XMLParser(target=_Plain())
    try:
        parser.feed(read_content(file, MAX_BYTES))
        return parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        what = f"is not XML: {shortened(str(error))}"
        raise Fault(FaultCode.FORMAT_BROKEN, what, _REMEDY) from error


class _Plain(ElementTree.TreeBuilder):
    """Builds a tree, and refuses a DOCTYPE: entities could expand or read other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002
        raise Fault(
            FaultCode.FORMAT_BROKEN,
            f"has a document type declaration ({shortened(name)}), which is not supported",
            "If you trust the file, remove the <!DOCTYPE ...>.",
        )


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a value that is a mapping; else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> Sequence[Any]:
    """Return a value that is a list; else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_number(value: object) -> float | None:
    """Return a finite number, also from text; None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e9 else None


def as_numbers(values: Sequence[object]) -> list[float] | None:
    """Return finite numbers, also from texts; None if one of the values is not one."""
    found = [number for value in values if (number := as_number(value)) is not None]
    return found if len(found) == len(values) else None


def visible_names(folder: Path | str) -> list[str]:
    """Return the names in a folder that do not start with a dot, sorted; [] if unreadable."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []
