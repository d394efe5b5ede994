"""The canvas on which scenes are drawn: colour, owner and reflectivity of each pixel.

Coordinates are fractions of the scene's side, y downwards. Everything is drawn at twice the size
and reduced at the end, which smooths edges. Owners keep the fine raster, so that boxes are exact to
half a pixel.
"""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]
NOBODY = 0
_FINE = 2


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour, darker (factor < 1) or lighter."""
    red, green, blue = (max(0, min(255, round(part * factor))) for part in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that is `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


class Canvas:
    """One scene while it is being drawn; `size` is the side of the finished scene in pixels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._side = size * _FINE
        self._colour = Image.new("RGB", (self._side, self._side))
        self._owner = Image.new("L", (self._side, self._side), NOBODY)
        self._reflector = Image.new("L", (self._side, self._side), 0)
        self._pens = [ImageDraw.Draw(i) for i in (self._colour, self._owner, self._reflector)]
        # Until something has an owner, only the colours have to be drawn.
        self._bare = True

    def paint(self, pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> None:
        """Paint an RGB picture, (H, W, 3), over the box x1, y1, x2, y2 of the background."""
        x1, y1, x2, y2 = (round(edge * self._side) for edge in box)
        picture = Image.fromarray(pixels).resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC)
        self._colour.paste(picture, (x1, y1))

    def darken(self, shadow: Image.Image) -> None:
        """Multiply the colours by a grey picture of any size (255 = unchanged)."""
        soft = shadow.resize(self._colour.size, Image.Resampling.BILINEAR)
        black = Image.new("RGB", self._colour.size)
        self._colour = Image.composite(self._colour, black, soft)
        self._pens[0] = ImageDraw.Draw(self._colour)

    def polygon(
        self, points: Sequence[Point], colour: Colour, owner: int = NOBODY, glint: int = 0
    ) -> None:
        """Fill a polygon; `glint` (0 to 255) is how strongly it reflects light to a lamp."""
        corners = [(x * self._side, y * self._side) for x, y in points]
        for pen, fill in self._inks(colour, owner, glint):
            pen.polygon(corners, fill=fill)

    def box(self, corners: tuple[float, float, float, float], colour: Colour) -> None:
        """Fill an upright rectangle x1, y1, x2, y2 that nobody owns."""
        x1, y1, x2, y2 = corners
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, owner: int = NOBODY) -> None:
        """Fill an upright ellipse."""
        (x, y), (rx, ry) = centre, radii
        box = [(x - rx) * self._side, (y - ry) * self._side]
        box += [max(box[0], (x + rx) * self._side), max(box[1], (y + ry) * self._side)]
        for pen, fill in self._inks(colour, owner, 0):
            pen.ellipse(box, fill=fill)

    def limb(
        self,
        start: Point,
        end: Point,
        width: float,
        colour: Colour,
        owner: int = NOBODY,
        *,
        taper: float = 1.0,
    ) -> None:
        """Draw a thick line with round ends; `taper` is its end width over its start width."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.sqrt(dx * dx + dy * dy) or 1e-9
        nx, ny = -dy / length * width / 2, dx / length * width / 2
        corners = [
            (start[0] + nx, start[1] + ny),
            (end[0] + nx * taper, end[1] + ny * taper),
            (end[0] - nx * taper, end[1] - ny * taper),
            (start[0] - nx, start[1] - ny),
        ]
        self.polygon(corners, colour, owner)
        for (x, y), radius in ((start, width / 2), (end, width / 2 * taper)):
            self.ellipse((x, y), (radius, radius), colour, owner)

    def owned(self, owners: range) -> tuple[int, tuple[float, float, float, float] | None]:
        """Return how many fine pixels the owners have now, and the box around them as fractions."""
        table = [0] * 256
        table[owners.start : owners.stop] = [255] * len(owners)
        mask = self._owner.point(table)
        box = mask.getbbox()
        if box is None:
            return 0, None
        count = sum(mask.crop(box).histogram()[1:])
        x1, y1, x2, y2 = (edge / self._side for edge in box)
        return count, (x1, y1, x2, y2)

    def pixels(self) -> NDArray[np.uint8]:
        """Return the finished colours, RGB, shape (size, size, 3), uint8."""
        return np.asarray(self._colour.reduce(_FINE))

    def reflectors(self) -> NDArray[np.float32]:
        """Return how strongly each pixel reflects light to a lamp, 0 to 1, shape (size, size)."""
        values = cast("NDArray[np.uint8]", np.asarray(self._reflector.reduce(_FINE)))
        return values.astype(np.float32) / np.float32(255)

    def _inks(
        self, colour: Colour, owner: int, glint: int
    ) -> list[tuple[ImageDraw.ImageDraw, Colour | int]]:
        if self._bare and owner == NOBODY and not glint:
            return [(self._pens[0], colour)]
        self._bare = False
        return list(zip(self._pens, (colour, owner, glint), strict=True))
