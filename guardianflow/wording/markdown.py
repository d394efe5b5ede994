"""Escapes text from others in Markdown, so that nobody can add structure to a page.

Names, reasons and messages are shown on the approver's page, where a link or picture that somebody
typed would look like ours.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

# Starts emphasis, code, links, pictures, HTML, entities, tables, headings or strike-through.
_STRUCTURE = re.compile(r"([\\`*_\[\]<>&|#~!])")
_ESCAPED = re.compile(r"\\(.)")
# Renderers turn these into links without any bracket.
_ADDRESS = re.compile(r"://|www\.|(?<=[\w.+-])@(?=[\w-]+\.)", re.IGNORECASE)


class Markdown(str):
    """Markdown of ours, in which text from others is escaped by `plain` or `prose`."""


def plain(text: object) -> str:
    """Return the text in one line with all Markdown escaped, also for a table's cell.

    Use it after other text in a line: at the start of a line it could still begin a list.
    """
    return _escaped(_in_one_line(text))


def cell(value: object) -> object:
    """Return a value for a table in Prefect's UI, which renders texts in cells as Markdown.

    Texts are escaped, except `Markdown`.
    """
    if isinstance(value, Markdown) or not isinstance(value, str):
        return value
    return Markdown(plain(value))


def unescaped(text: str) -> str:
    """Return the text that `plain` escaped, except for its original spaces."""
    return _ESCAPED.sub(r"\1", text)


def prose(message: str) -> str:
    """Return a message of ours in one line: escaped, but with commands in backticks as code.

    It may contain text from others, which can become nothing but text or code.
    """
    parts = _in_one_line(message).split("`")
    if len(parts) % 2 == 0 or not all(part.strip() for part in parts[1::2]):
        return plain(message)
    return "".join(
        # A pipe would end a table's cell, even in code.
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
        # Characters without width or that change the direction can hide text.
        if unicodedata.category(sign) != "Cf"
    )
    return " ".join(spaced.split())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table; none without rows.

    Args:
        header: Markdown, each in one line.
        rows: Markdown, each in one line; text from others must be escaped with `plain`.
    """
    lines = [f"| {' | '.join(str(cell) for cell in row)} |" for row in (header, *rows)]
    if len(lines) == 1:
        return []
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]
