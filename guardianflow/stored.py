"""Stored documents: how they are versioned and read. CHANGES HERE CAN BREAK WHAT IS STORED.

    Stored        base of every stored document: schema_version, min_reader
    read_stored   text -> document: unknown keys are ignored, a newer document is an error
    INTRODUCED    settings that were added later, with their first default, so no digest changes
    settled       content without those; digests are computed from it

`tests/golden/` holds documents that older versions stored; every test run reads all of them.
`docs/stored.md` lists them: what, where, by which model or constant, with which golden file.
A record is stored in a file named after its class, so the class name is part of the format.

A new field with a default is no changed format. Versions from 0.2.0 on ignore a key that they do
not know: nothing is to be done but a line in INTRODUCED where a digest is computed from the
document. Version 0.1.0 refuses such a document, and after a way back to it a question that waits
is void and asked again (`docs/install.md`). Where that must not be, the value goes under a key that
0.1.0 knows, as in `promotion/binding.py`.

A changed format is what older code must not read: a new meaning of a field, a kind of operation
that other code would undo. It raises `schema_version`, sets `min_reader` to the first version of
guardianflow that reads it, in the documents concerned, and gets a folder of golden files made at
that commit. A renamed field keeps its old name as a validation alias, for ever.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from guardianflow import __version__
from guardianflow.errors import InputError, StoredNewer, StoredUnreadable

_FIRST_READER: Final = "0.1.0"
"""The `min_reader` of a document that names none."""

LEDGER_SEGMENT_LENGTH: Final = 50
"""Operations in one ledger run. It decides which run holds an operation, so it never changes.

Reading the head takes the same time after thousands of operations."""

INTRODUCED: Final[Mapping[str, Mapping[str, object]]] = {
    "Scenario": {
        "dataset.root": None,
        "dataset.classes": {},
        "dataset.near_duplicates": "refused",
        "training.pretrained_rate": 5e-4,
        "training.trainer": None,
    },
    "ApprovalRule": {},
    "Origin": {
        "boxes": None,
        "shape": None,
        "mean": None,
        "std": None,
        "placement": "corner",
        "scores": "probabilities",
        "background": None,
        "family": "",
        "tried": [],
    },
}
"""By document and path, the fields added after version 0.1.0, with their first default as JSON.
NEVER EDIT OR REMOVE AN ENTRY.

To add a setting to a scenario: give it a default that changes nothing, and enter it here, e.g.
`"training.warmup_epochs": 0` (paths contain neither the kind of `dataset` nor indices of lists). At
this value it is left out of digests, so versions trained before keep theirs. If the default changes
later, the entry stays: a scenario without the key then means the new value and has a new digest,
and a document stored without the key is read with the first default.
"""

_SPACE = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')


class Strict(BaseModel):
    """A model that cannot be changed and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stored(Strict):
    """A stored document. In code it refuses unknown keys; `read_stored` ignores them."""

    schema_version: int = Field(default=1, ge=1, description="Version of this kind of document.")
    min_reader: str = Field(
        default=_FIRST_READER,
        pattern=r"^[0-9]+(\.[0-9]+)*$",
        description="The oldest version of guardianflow that may read it.",
    )
    _text: str = PrivateAttr(default="")

    def digest_as_written(self) -> str:
        """Return the sha256 of the document as it was written, whatever code reads it now."""
        return hashlib.sha256((compact(self._text) or self.model_dump_json()).encode()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; a changed copy no longer has the text that was read."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._text = ""
        return copied

    def __eq__(self, other: object) -> bool:
        """Compare fields; the text that was read does not count."""
        return type(self) is type(other) and vars(self) == vars(other)

    def to_line(self) -> str:
        """Return the document as one line for a tag or param; the same content, the same bytes."""
        return as_json(self.model_dump(mode="json"))

    @model_serializer(mode="wrap")
    def _without_first_version(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out first values of these two keys: version 0.1.0 refuses the keys."""
        content: dict[str, Any] = handler(self)
        for key, first in (("schema_version", 1), ("min_reader", _FIRST_READER)):
            if content.get(key) == first:
                del content[key]
        return content


Document = TypeVar("Document", bound=BaseModel)


def read_stored(kind: type[Document], text: str, what: str) -> Document:
    """Read a document that any version of guardianflow wrote, as JSON.

    `what` is its name in an error, e.g. "HealthReport of MLflow run 1a2b".

    Raises:
        StoredNewer: It needs a newer version of guardianflow.
        StoredUnreadable: It is not JSON, or its content is not valid for this version.
    """
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoredUnreadable(f"The {what} is not JSON: {error}.") from error
    require_reader(content, what)
    if isinstance(content, dict):
        content = _with_first_defaults(kind.__name__, cast("dict[str, Any]", content))
    try:
        found = kind.model_validate_json(json.dumps(content), extra="ignore")
    except (ValidationError, InputError) as error:
        raise StoredUnreadable(
            f"guardianflow {__version__} does not understand the {what}: {_why(error)}.",
            remedy="Use the version of guardianflow that wrote it, or a newer one.",
        ) from error
    if isinstance(found, Stored):
        found._text = text  # pyright: ignore[reportPrivateUsage]
    return found


def _why(error: ValidationError | InputError) -> str:
    if isinstance(error, InputError):
        # A value that the domain checks, e.g. a model's name.
        return error.message.rstrip(".")
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "its content"
    return " ".join(f"{key}: {first['msg']}".split())


def require_reader(content: object, what: str) -> None:
    """Refuse content that needs a newer version of guardianflow.

    Raises:
        StoredNewer: The message names the version.
    """
    if not isinstance(content, dict):
        return
    wanted = cast("dict[str, object]", content).get("min_reader")
    if isinstance(wanted, str) and _numbers(wanted) > _numbers(__version__):
        raise StoredNewer(
            f"The {what} needs guardianflow {wanted} to be read, and this is {__version__}.",
            remedy=f"Upgrade guardianflow to {wanted} or newer.",
            min_reader=wanted,
        )


def settled(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's content without later fields that still have their first default."""
    return cast("dict[str, Any]", _settled(content, INTRODUCED[kind], ""))


def as_json(content: Mapping[str, Any]) -> str:
    """Return content as pydantic writes it; digests of whole documents are computed from it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _with_first_defaults(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's content, with missing later fields set to their first default."""
    filled: dict[str, Any] = dict(content)
    for path, default in INTRODUCED.get(kind, {}).items():
        filled = cast("dict[str, Any]", _filled(filled, path.split("."), default))
    return filled


def first_of(count: int) -> Callable[[object], object]:
    """Return a validator that keeps the first `count` values of a list; later code adds more."""
    return lambda value: cast("list[object]", value)[:count] if isinstance(value, list) else value


def compact(text: str) -> str:
    """Return JSON without spaces between its parts, so that layout does not change the digest."""
    return _SPACE.sub(r"\1", text)


def _settled(value: Any, introduced: Mapping[str, object], path: str) -> Any:
    if isinstance(value, Mapping):
        named = {
            key: (f"{path}.{key}" if path else str(key), part)
            for key, part in cast("Mapping[str, Any]", value).items()
        }
        return {
            key: _settled(part, introduced, here)
            for key, (here, part) in named.items()
            if here not in introduced or introduced[here] != part
        }
    if isinstance(value, list | tuple):
        return [_settled(part, introduced, path) for part in cast("list[Any]", value)]
    return value


def _filled(value: Any, path: list[str], default: object) -> Any:
    if isinstance(value, list):
        return [_filled(part, path, default) for part in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    content = cast("dict[str, Any]", value)
    if len(path) == 1:
        return {path[0]: default, **content}
    if path[0] not in content:
        return content
    return {**content, path[0]: _filled(content[path[0]], path[1:], default)}


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers; what follows them (`.dev1`, `rc1`) is ignored."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
