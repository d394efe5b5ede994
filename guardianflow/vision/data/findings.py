"""Findings of a check: what is wrong, where, and what to do about it."""

import os
import reprlib
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import Field, field_serializer

from guardianflow.errors import DatasetInvalid
from guardianflow.stored import Strict
from guardianflow.vision.data.rules import FaultCode, FaultSeverity

_MAX_LISTED = 50
_MAX_TOLD = 5
_MAX_VALUE = 120
_ORDER = {code: position for position, code in enumerate(FaultCode)}

# A value of an untrusted file may be huge, or a list that contains itself a million times.
_short = reprlib.Repr()
_short.maxlist = _short.maxdict = _short.maxtuple = 30
_short.maxlevel = 3
_short.maxstring = _short.maxother = _short.maxlong = _MAX_VALUE


class DataFinding(Strict):
    """One problem of a data set: an error or a warning."""

    code: FaultCode = Field(description="The kind of fault.")
    severity: FaultSeverity = Field(description="ERROR keeps the data set out of training.")
    file: str = Field(description="The file or folder.")
    line: int | None = Field(default=None, description="The line in it, from 1.")
    split: str | None = Field(default=None, description="train, val or test, if it is in one.")
    value: str | None = Field(default=None, description="The wrong value.")
    what: str = Field(description="What is wrong; continues the name of the file.")
    remedy: str = Field(description="What to do about it.")
    repaired: bool = Field(description="Whether the loaded data were repaired; files never are.")
    count: int = Field(default=1, description="Number of occurrences in this file.")
    image: str | None = Field(default=None, description="An image that shows it.")

    @field_serializer("image", when_used="json")
    def _readable_image(self, image: str | None) -> str | None:
        return None if image is None else readable(image)

    @property
    def location(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return f"{self.location}: {self.what}. {self.remedy}".strip()


class Fault(Exception):
    """A problem with a part of a file; `at` makes it a `DataFinding`, with the same fields."""

    def __init__(
        self,
        code: FaultCode,
        what: str,
        remedy: str,
        value: object = None,
        *,
        line: int | None = None,
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.remedy = remedy
        self.value = value
        self.line = line

    def at(
        self,
        file: Path | str,
        *,
        line: int | None = None,
        split: str | None = None,
        image: Path | str | None = None,
        count: int = 1,
    ) -> DataFinding:
        """Make the finding about a file."""
        return DataFinding(
            code=self.code,
            severity=self.code.severity,
            file=readable(file),
            line=line or self.line,
            split=split,
            value=None if self.value is None else shortened(self.value),
            what=self.what,
            remedy=self.remedy,
            repaired=bool(self.code.repair),
            count=count,
            image=None if image is None else os.fspath(image),
        )


def readable(path: Path | str) -> str:
    """Return a path as printable text, with escapes for everything else."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shell_command(*words: Path | str) -> str:
    """Return a command quoted for a shell."""
    return shlex.join(readable(word) for word in words)


def shortened(value: object) -> str:
    """Return a value of an untrusted file as short printable text."""
    text = value if isinstance(value, str) else _short.repr(value)
    text = readable(text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace"))
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."


def quoted(value: object) -> str:
    """Return a short value, with quotes around text."""
    return repr(shortened(value)) if isinstance(value, str) else shortened(value)


def errors(findings: Iterable[DataFinding]) -> list[DataFinding]:
    """Return the findings that keep a data set out of training."""
    return [finding for finding in findings if finding.severity is FaultSeverity.ERROR]


def in_order(findings: Iterable[DataFinding]) -> list[DataFinding]:
    """Sort findings: errors first, then by code, file and line."""
    return sorted(
        findings,
        key=lambda f: (f.severity is not FaultSeverity.ERROR, _ORDER[f.code], f.file, f.line or 0),
    )


def in_sentences(findings: Iterable[DataFinding]) -> tuple[str, ...]:
    """Return findings as sentences; frequent kinds are counted by split."""
    groups: dict[tuple[str, FaultCode], list[DataFinding]] = {}
    for finding in findings:
        groups.setdefault((finding.split or "", finding.code), []).append(finding)
    return tuple(line for group in groups.values() for line in _told(group))


def _told(group: Sequence[DataFinding]) -> Iterator[str]:
    first, code = group[0], group[0].code
    prefix = f"{first.split}: " if first.split else ""
    if code.summary:
        count = sum(finding.count for finding in group)
        yield prefix + code.summary.format(count=count, file=first.file)
        return
    yield from (f"{finding.location}: {finding.what}" for finding in group[:_MAX_TOLD])
    if len(group) > _MAX_TOLD:
        yield f"{prefix}{len(group) - _MAX_TOLD} more of this kind: {code.meaning}"


def refusal(findings: Sequence[DataFinding]) -> DatasetInvalid:
    """Return the exception for errors: tells the first one and their number, and lists them."""
    first, count = findings[0], len(findings)
    more = f" {count - 1} more problems in this data set." if count > 1 else ""
    return DatasetInvalid(
        f"{first.location}: {first.what}.{more}",
        remedy=first.remedy,
        file=first.file,
        line=first.line,
        value=first.value,
        count=count,
        problems=[str(finding) for finding in findings[:_MAX_LISTED]],
    )
