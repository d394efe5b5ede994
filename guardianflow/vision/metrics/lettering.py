"""Fonts for class names in pictures, e.g. for Korean, which not every font supports.

If no font on the machine has the characters of a name, the class is written as its number.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Common fonts with Korean characters; the first that is installed is used.
_FAMILIES = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "NanumBarunGothic",
    "NanumSquareRound",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "UnDotum",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
)
# The bundled fonts of Pillow and matplotlib have all characters up to this one.
_LATIN = 0x17F


def drawn_names(names: Sequence[str]) -> list[str]:
    """Return the text for each class: its name, or `class 3` if no font has its characters."""
    return [name if _can_be_drawn(name) else f"class {index}" for index, name in enumerate(names)]


def plotted_names(names: Sequence[str]) -> list[str]:
    """Return the same for matplotlib, in which a dollar sign would start a formula."""
    return [name.replace("$", r"\$") for name in drawn_names(names)]


@lru_cache(maxsize=64)
def font_for(size: int, text: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font for Pillow that has the characters of a text, if there is one."""
    wide = _wide()
    if _is_latin(text) or wide is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(wide[0], size)


def set_fonts(figure: "Figure") -> None:
    """Give a figure a second font for characters that its own font lacks."""
    from matplotlib.text import Text

    wide = _wide()
    for text in figure.findobj(Text) if wide else ():
        assert isinstance(text, Text)
        if wide and not _is_latin(text.get_text()):
            text.set_fontfamily(["DejaVu Sans", wide[1]])


def _can_be_drawn(name: str) -> bool:
    wide = _wide()
    return _is_latin(name) or (wide is not None and all(ord(sign) in wide[2] for sign in name))


def _is_latin(text: str) -> bool:
    return all(ord(sign) <= _LATIN for sign in text)


@cache
def _wide() -> tuple[Path, str, frozenset[int]] | None:
    """A font with Korean characters: its file, its family and its characters, if installed."""
    from matplotlib.font_manager import FontProperties, fontManager
    from matplotlib.ft2font import FT2Font

    known = {entry.name for entry in fontManager.ttflist}
    family = next((family for family in _FAMILIES if family in known), None)
    if family is None:
        return None
    file = Path(fontManager.findfont(FontProperties(family=[family]), fallback_to_default=False))
    return file, family, frozenset(FT2Font(str(file)).get_charmap())
