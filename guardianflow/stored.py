"""What outlives the code that wrote it. CHANGING WHAT IS MARKED HERE BREAKS WHAT IS STORED.

    Stored        base of every document that is kept: schema_version, min_reader
    read_stored   text -> document: unknown keys are ignored, a newer one is told in one sentence
    INTRODUCED    settings that came later, with the default of their first day: no digest changes
    settled       content without those, which is what digests are made of

`tests/golden/` holds what the code of other days stored; all of it is read by every test run.
`docs/stored.md` lists all of it: what, where, by which model or constant, with which golden file.
A record lies in a file of its class's name: that is stored, too.

A change that older code copes with (one more field with a default) changes nothing here but a line
in INTRODUCED, where a digest is made of the document. One that it must not read (another meaning of
a field, a kind of operation that other code would undo) raises `schema_version` and sets
`min_reader` to the version of guardianflow that reads it, in those documents that need it. A field
that gets another name keeps the old one as a validation alias, for ever.
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

FIRST_READER: Final = "0.1.0"
"""The version that reads a document without `min_reader`."""

LEDGER_SEGMENT_LENGTH: Final = 50
"""Operations in one ledger run; which run holds an operation follows from it, so it stays for ever.

Reading the head costs the same after thousands of them."""

INTRODUCED: Final[Mapping[str, Mapping[str, object]]] = {
    "Scenario": {
        "dataset.root": None,
        "dataset.classes": {},
        "dataset.near_duplicates": "refused",
    },
    "ApprovalRule": {},
    "Origin": {"boxes": None},
}
"""By document, the fields that came after version 0.1.0, by path, with the default of their first
day as JSON has it. NEVER EDIT OR REMOVE AN ENTRY.

To add a setting to a scenario: give it a default with which everything is as it was before, and
enter it here, e.g. `"training.warmup_epochs": 0` (of `dataset` without its kind, of a list without
an index). It adds nothing to a digest while it has this value, so no version that was trained
before is taken for another one. A default that is changed later stays here as it was: what is not
written out in a scenario then counts as the new value, which is other work, and what was stored
without the key is read with the value of then.
"""

_SPACE = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')


class Stored(BaseModel):
    """A document that is kept. Made by code it refuses unknown keys; read, it ignores them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(default=1, ge=1, description="Version of this kind of document.")
    min_reader: str = Field(
        default=FIRST_READER,
        pattern=r"^[0-9]+(\.[0-9]+)*$",
        description="The least version of guardianflow that may read it.",
    )
    _text: str = PrivateAttr(default="")

    def digest_as_written(self) -> str:
        """sha256 over the document as it was written, whatever code reads it now."""
        return hashlib.sha256((compact(self._text) or self.model_dump_json()).encode()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other values; then it is not what was read any more."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._text = ""
        return copied

    def __eq__(self, other: object) -> bool:
        """Whether both say the same; how it was written makes no difference."""
        return type(self) is type(other) and vars(self) == vars(other)

    def to_line(self) -> str:
        """The document as a tag or param keeps it, byte for byte the same for the same content."""
        return as_json(self.model_dump(mode="json"))

    @model_serializer(mode="wrap")
    def _without_first_version(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is as on the first day: version 0.1.0 refuses these two keys."""
        content: dict[str, Any] = handler(self)
        for key, first in (("schema_version", 1), ("min_reader", FIRST_READER)):
            if content.get(key) == first:
                del content[key]
        return content


Document = TypeVar("Document", bound=BaseModel)


def read_stored(kind: type[Document], text: str, what: str) -> Document:
    """Read a document that some version of guardianflow wrote.

    Args:
        kind: What it is to be.
        text: As it was kept.
        what: What it is called in an error, e.g. "HealthReport of MLflow run 1a2b".

    Raises:
        StoredNewer: It wants a newer version of guardianflow.
        StoredUnreadable: It says something that this one does not understand.
    """
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoredUnreadable(f"The {what} is no JSON: {error}.") from error
    require_reader(content, what)
    if isinstance(content, dict):
        content = with_first_defaults(kind.__name__, cast("dict[str, Any]", content))
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
        # A value checked by the domain itself, e.g. a model's name.
        return error.message.rstrip(".")
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "its content"
    return " ".join(f"{key}: {first['msg']}".split())


def require_reader(content: object, what: str) -> None:
    """Refuse what says to be for a newer version of guardianflow.

    Raises:
        StoredNewer: It does; the message names the version.
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
    """A document's content without the fields that came later and have their first default."""
    return cast("dict[str, Any]", _settled(content, INTRODUCED[kind], ""))


def as_json(content: Mapping[str, Any]) -> str:
    """Content as pydantic writes it, which is what digests of whole documents are made of."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def with_first_defaults(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A document's content with what its missing fields stood for when it was written."""
    filled: dict[str, Any] = dict(content)
    for path, default in INTRODUCED.get(kind, {}).items():
        filled = cast("dict[str, Any]", _filled(filled, path.split("."), default))
    return filled


def first_of(count: int) -> Callable[[object], object]:
    """Take the first values of a list: those behind them came later and say nothing here."""
    return lambda value: cast("list[object]", value)[:count] if isinstance(value, list) else value


def compact(text: str) -> str:
    """JSON without the spaces between its parts: however it was laid out, the digest is one."""
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
    """A version as numbers; what follows them (`.dev1`, `rc1`) counts for nothing."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
