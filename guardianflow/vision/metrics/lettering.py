"""Letters in pictures: class names are other people's, also Korean, and not every font has these.

Where no font of the machine has the letters of a name, the class is called by its number.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Fonts with Korean letters, as systems bring them; the first that is there is taken.
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
# Up to here the fonts that Pillow and matplotlib bring have every letter.
_LATIN = 0x17F


def drawn_names(names: Sequence[str]) -> list[str]:
    """What to write for each class: its name, or `class 3` where no font has its letters."""
    return [name if _can_be_drawn(name) else f"class {index}" for index, name in enumerate(names)]


def plotted_names(names: Sequence[str]) -> list[str]:
    """The same for a figure, in which dollars would begin a formula."""
    return [name.replace("$", r"\$") for name in drawn_names(names)]


@lru_cache(maxsize=64)
def font_for(size: int, text: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font for Pillow that has the letters of a text, where there is one."""
    wide = _wide()
    if _is_latin(text) or wide is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(wide[0], size)


def set_fonts(figure: "Figure") -> None:
    """Let a figure take letters that its own font lacks from one that has them."""
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
    """A font with Korean letters: its file, its family, the letters that it has."""
    from matplotlib.font_manager import FontProperties, fontManager
    from matplotlib.ft2font import FT2Font

    known = {entry.name for entry in fontManager.ttflist}
    family = next((family for family in _FAMILIES if family in known), None)
    if family is None:
        return None
    file = Path(fontManager.findfont(FontProperties(family=[family]), fallback_to_default=False))
    return file, family, frozenset(FT2Font(str(file)).get_charmap())
