"""Markdown for people, into which nobody can type structure: what others wrote is plain text.

Names, reasons and messages reach the approver's page, where a link or a picture that somebody
typed would be taken for ours.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

# What begins emphasis, code, links, pictures, HTML, entities, tables, headings or strike-through.
_STRUCTURE = re.compile(r"([\\`*_\[\]<>&|#~!])")
_ESCAPED = re.compile(r"\\(.)")
# What readers make links of by themselves, without any bracket.
_ADDRESS = re.compile(r"://|www\.|(?<=[\w.+-])@(?=[\w-]+\.)", re.IGNORECASE)


class Markdown(str):
    """Markdown of ours, in which all that others wrote went through `plain` or `prose`."""


def plain(text: object) -> str:
    """A text that says the same in one line and is nothing but text, also in a table's cell.

    It may follow other text in a line; at the beginning of one it could still begin a list.
    """
    return _escaped(_in_one_line(text))


def cell(value: object) -> object:
    """A value of a table in Prefect's UI, which takes texts in cells for Markdown, links included.

    So they are made plain, but where they are Markdown of ours.
    """
    if isinstance(value, Markdown) or not isinstance(value, str):
        return value
    return Markdown(plain(value))


def unescaped(text: str) -> str:
    """What `plain` was given, but for its blanks."""
    return _ESCAPED.sub(r"\1", text)


def prose(message: str) -> str:
    """A message of ours, in one line: plain text, but what it has in backticks is a command.

    What others typed may stand in it: nothing but code can be made of it.
    """
    parts = _in_one_line(message).split("`")
    if len(parts) % 2 == 0 or not all(part.strip() for part in parts[1::2]):
        return plain(message)
    return "".join(
        # A table's cell would end at the sign, in code as well.
        "`{}`".format(part.replace("|", r"\|")) if number % 2 else _escaped(part)
        for number, part in enumerate(parts)
    )


def _escaped(line: str) -> str:
    escaped = _STRUCTURE.sub(r"\\\1", line)
    return _ADDRESS.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", escaped)


def _in_one_line(text: object) -> str:
    spaced = "".join(
        "\ufffd"
        if unicodedata.category(sign) == "Cs"
        else " "
        if unicodedata.category(sign) in ("Cc", "Zl", "Zp")
        else sign
        for sign in str(text)
        # Signs without width or that turn the direction hide what stands there.
        if unicodedata.category(sign) != "Cf"
    )
    return " ".join(spaced.split())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table; cells are Markdown in one line, what others wrote went through plain().

    Without rows there is no table.
    """
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in (header, *rows)]
    if len(lines) == 1:
        return []
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]
