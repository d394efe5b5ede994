"""Text that others wrote, without what a terminal would obey: colours, cursors, titles, direction.

A reason, a class or a file name may hold an escape sequence that rewrites what stands above it.
"""

import unicodedata

# Signs that turn the direction of what follows; those without width may belong to a script.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_KEPT = frozenset("\n\t")


def printable(text: str) -> str:
    """The same text without control characters (C0, C1), and with halves of characters shown.

    Lines and tabs stay. What cannot be encoded, as in a file name of undecodable bytes, becomes the
    sign for that.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "\ufffd" if unicodedata.category(sign) == "Cs" else sign
        for sign in text
        if sign in _KEPT or (unicodedata.category(sign) != "Cc" and sign not in _DIRECTION)
    )
