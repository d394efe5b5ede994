"""JSON, XML and NDJSON of other programs, read without harm: bounded, no entities, no objects."""

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
    """The values of a JSON file.

    Raises:
        Fault: It cannot be read, is too large, or no JSON.
    """
    return parse_json(decode_text(read_content(file, max_bytes)).text)


def read_first_json(file: Path) -> object:
    """The values of the first line of an NDJSON file.

    Raises:
        Fault: It cannot be read, is too large, or no JSON.
    """
    text = decode_text(read_content(file, MAX_BYTES)).text
    return parse_json(text.lstrip().partition("\n")[0], line=1)


def parse_json(text: str, line: int | None = None) -> object:
    """The values of a JSON text.

    Raises:
        Fault: It is none.
    """
    try:
        return json.loads(text)
    # 5000 brackets deep, or a number of 5000 digits.
    except (ValueError, RecursionError) as error:
        raise Fault(
            FaultCode.FORMAT_BROKEN, f"is no JSON: {shortened(str(error))}", _REMEDY, line=line
        ) from error


def read_xml(file: Path, max_bytes: int = MAX_BYTES) -> ElementTree.Element:
    """The root of an XML file. One with a DOCTYPE is refused: only there can entities be declared.

    Raises:
        Fault: It cannot be read, is too large, no XML, or declares a document type.
    """
    parser = ElementTree.XMLParser(target=_Plain())
    try:
        parser.feed(read_content(file, max_bytes))
        return parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        what = f"is no XML: {shortened(str(error))}"
        raise Fault(FaultCode.FORMAT_BROKEN, what, _REMEDY) from error


class _Plain(ElementTree.TreeBuilder):
    """Builds a tree, and refuses what could make it grow or reach out."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002
        raise Fault(
            FaultCode.FORMAT_BROKEN,
            f"declares a document type ({shortened(name)}); such a file is not read",
            "Remove the <!DOCTYPE ...>, if you know where the file is from.",
        )


def as_mapping(value: object) -> Mapping[str, Any]:
    """A value as a mapping; an empty one where it is none."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> Sequence[Any]:
    """A value as a list; an empty one where it is none."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_number(value: object) -> float | None:
    """A finite number, also one that is written as text; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e9 else None


def visible_names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []
