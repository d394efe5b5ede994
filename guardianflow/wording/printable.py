"""Removes from text of others what controls a terminal: colours, cursor, title, direction.

A reason, a class or a file name may contain an escape sequence that rewrites the lines above it.
"""

import unicodedata

# These change the direction of the text. Other characters without width may belong to a script.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_KEPT = frozenset("\n\t")


def printable(text: str) -> str:
    """Return the text without control characters (C0, C1), except newlines and tabs.

    Surrogates, e.g. from a file name that is not UTF-8, become the replacement character.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "\ufffd" if unicodedata.category(sign) == "Cs" else sign
        for sign in text
        if sign in _KEPT or (unicodedata.category(sign) != "Cc" and sign not in _DIRECTION)
    )
