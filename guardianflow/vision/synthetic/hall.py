"""Draws the welding hall: walls, floor, windows, machines, and clutter that looks like protection.

Orange barrels resemble vests, yellow signs and round lamps resemble helmets, pale cable drums
resemble masks. A detector that has learned only colours fails here.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from guardianflow.vision.synthetic.canvas import Canvas, Colour, Point, mix, shade

_WALLS: tuple[Colour, ...] = ((158, 166, 172), (172, 164, 150), (134, 152, 160), (150, 158, 144))
_FLOORS: tuple[Colour, ...] = ((150, 148, 142), (132, 138, 142), (156, 146, 132))
_MACHINES: tuple[Colour, ...] = ((72, 104, 116), (86, 112, 92), (96, 100, 110), (142, 110, 74))
_BARRELS: tuple[Colour, ...] = ((238, 118, 34), (48, 92, 158), (222, 196, 52), (150, 54, 44))
_WOOD: Colour = (176, 134, 84)
_SKY: Colour = (226, 236, 240)


def draw_hall(canvas: Canvas, rng: np.random.Generator) -> list[Point]:
    """Draw the empty hall, and return the middle of each window."""
    edge = float(rng.uniform(0.5, 0.58))
    wall = _WALLS[int(rng.integers(len(_WALLS)))]
    floor = _FLOORS[int(rng.integers(len(_FLOORS)))]
    canvas.paint(_gradient(rng, shade(wall, 0.72), wall), (0, 0, 1, edge))
    canvas.paint(_gradient(rng, shade(floor, 0.8), shade(floor, 1.08)), (0, edge, 1, 1))
    for x in np.arange(float(rng.uniform(0, 0.06)), 1.0, 0.06).tolist():
        canvas.box((x, 0.1, x + 0.004, edge), shade(wall, 0.86))
    windows = _draw_windows(canvas, rng)
    _draw_floor_lines(canvas, rng, edge, floor)
    _draw_pipes(canvas, rng)
    for _ in range(int(rng.integers(1, 4))):
        _draw_machine(canvas, rng, edge)
    for _ in range(int(rng.integers(1, 4))):
        _draw_sign(canvas, rng)
    for _ in range(int(rng.integers(1, 3))):
        x = float(rng.uniform(0.05, 0.95))
        canvas.limb((x, 0.0), (x, 0.07), 0.006, (60, 60, 62))
        canvas.ellipse((x, 0.085), (0.034, 0.024), (244, 226, 160))
        canvas.ellipse((x, 0.075), (0.036, 0.02), (70, 76, 80))
    return windows


def draw_clutter(canvas: Canvas, rng: np.random.Generator, depth: float, scale: float) -> None:
    """Draw a barrel, crate, group of cylinders, cable drum or cone at a depth of the scene."""
    x = float(rng.uniform(-0.02, 1.02))
    kind = int(rng.integers(5))
    if kind == 0:
        _draw_barrel(canvas, rng, (x, depth), scale)
    elif kind == 1:
        _draw_crate(canvas, rng, (x, depth), scale)
    elif kind == 2:
        _draw_cylinders(canvas, rng, (x, depth), scale)
    elif kind == 3:
        _draw_drum(canvas, (x, depth), scale)
    else:
        _draw_cone(canvas, (x, depth), scale)


def draw_shadows(canvas: Canvas, feet: list[tuple[Point, float]]) -> None:
    """Draw a soft shadow on the floor beneath each worker, given by foot and height."""
    side = 128
    sheet = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(sheet)
    for (x, y), height in feet:
        wide, flat = 0.2 * height * side, 0.045 * height * side
        cx, cy = x * side, (y - 0.01) * side
        pen.ellipse((cx - wide, cy - flat, cx + wide, cy + flat), fill=120)
    canvas.darken(sheet.filter(ImageFilter.GaussianBlur(2.2)))


def draw_sparks(canvas: Canvas, rng: np.random.Generator, arc: Point) -> None:
    """Draw the sparks of a welding arc."""
    for _ in range(int(rng.integers(14, 30))):
        dx, dy = float(rng.normal(0, 0.05)), float(rng.normal(0.025, 0.04))
        start = (arc[0] + dx * 0.4, arc[1] + dy * 0.4)
        colour = mix((255, 244, 190), (255, 150, 40), float(rng.random()))
        canvas.limb(start, (arc[0] + dx, arc[1] + dy), 0.004, colour, taper=0.5)
    canvas.ellipse(arc, (0.012, 0.012), (255, 255, 255))


def _gradient(rng: np.random.Generator, top: Colour, bottom: Colour) -> np.ndarray:
    """A vertical gradient with stains, shape (48, 48, 3), uint8."""
    ramp = np.linspace(0, 1, 48)[:, None, None]
    picture = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
    stains = rng.normal(0, 4.0, size=(48, 48, 1))
    return (picture + stains).clip(0, 255).astype(np.uint8)


def _draw_windows(canvas: Canvas, rng: np.random.Generator) -> list[Point]:
    count = int(rng.integers(0, 4))
    middles: list[Point] = []
    for index in range(count):
        x = (index + float(rng.uniform(0.2, 0.6))) / count
        width, top, bottom = float(rng.uniform(0.09, 0.16)), 0.13, float(rng.uniform(0.26, 0.34))
        canvas.box((x - 0.008, top - 0.008, x + width + 0.008, bottom + 0.008), (84, 88, 92))
        for column in range(3):
            for row in range(2):
                left = x + width * column / 3 + 0.003
                high = top + (bottom - top) * row / 2 + 0.003
                pane = mix(_SKY, (190, 214, 232), float(rng.random()) * 0.6)
                right, low = left + width / 3 - 0.006, high + (bottom - top) / 2 - 0.006
                canvas.box((left, high, right, low), pane)
        middles.append((x + width / 2, (top + bottom) / 2))
    return middles


def _draw_floor_lines(canvas: Canvas, rng: np.random.Generator, edge: float, floor: Colour) -> None:
    canvas.box((0, edge - 0.012, 1, edge + 0.004), shade(floor, 0.55))
    vanish = float(rng.uniform(0.3, 0.7))
    for step in range(-5, 12):
        far, near = vanish + (step / 6 - vanish) * 0.45, step / 2 - 1
        canvas.limb((far, edge + 0.004), (near, 1.0), 0.003, shade(floor, 0.84))
    for y in (0.62, 0.72, 0.88):
        canvas.limb((0, y), (1, y), 0.003, shade(floor, 0.84))
    if rng.random() < 0.7:
        y = float(rng.uniform(edge + 0.03, 0.7))
        canvas.polygon([(0, y), (1, y + 0.02), (1, y + 0.035), (0, y + 0.013)], (226, 188, 44))


def _draw_pipes(canvas: Canvas, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        y, width = float(rng.uniform(0.02, 0.12)), float(rng.uniform(0.012, 0.026))
        tone = ((120, 126, 132), (180, 148, 60), (96, 120, 104))[int(rng.integers(3))]
        canvas.box((0, y, 1, y + width), shade(tone, 0.75))
        canvas.box((0, y + width * 0.15, 1, y + width * 0.45), shade(tone, 1.15))
    if rng.random() < 0.6:
        x = float(rng.uniform(0.02, 0.98))
        canvas.box((x, 0, x + 0.03, 0.56), (104, 112, 120))
        canvas.box((x + 0.007, 0, x + 0.013, 0.56), (146, 154, 160))


def _draw_machine(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    x, width = float(rng.uniform(-0.05, 0.9)), float(rng.uniform(0.1, 0.24))
    height, foot = float(rng.uniform(0.14, 0.28)), edge + float(rng.uniform(0.0, 0.05))
    tone = _MACHINES[int(rng.integers(len(_MACHINES)))]
    canvas.box((x, foot - height, x + width, foot), tone)
    canvas.box((x + width * 0.8, foot - height, x + width, foot), shade(tone, 0.78))
    canvas.box((x, foot - height, x + width, foot - height + 0.012), shade(tone, 1.25))
    panel = (x + width * 0.12, foot - height * 0.8, x + width * 0.6, foot - height * 0.45)
    canvas.box(panel, shade(tone, 0.55))
    for index in range(3):
        lamp = ((214, 60, 48), (236, 186, 48), (72, 190, 96))[index]
        centre = (panel[0] + (index + 0.8) * 0.022, panel[1] + 0.02)
        canvas.ellipse(centre, (0.007, 0.007), lamp)
    for row in range(4):
        y = foot - height * 0.35 + row * height * 0.07
        canvas.limb((x + width * 0.12, y), (x + width * 0.66, y), 0.005, shade(tone, 0.7))


def _draw_sign(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.2, 0.44))
    size = float(rng.uniform(0.025, 0.045))
    if rng.random() < 0.5:
        triangle = [(x, y - size), (x + size, y + size * 0.8), (x - size, y + size * 0.8)]
        canvas.polygon(triangle, (40, 38, 36))
        inner = [(x + (px - x) * 0.8, y + (py - y) * 0.8) for px, py in triangle]
        canvas.polygon(inner, (250, 206, 30))
        canvas.limb((x, y - size * 0.3), (x, y + size * 0.2), size * 0.16, (40, 38, 36))
    else:
        tone = ((32, 96, 190), (214, 44, 40), (244, 244, 240))[int(rng.integers(3))]
        canvas.ellipse((x, y), (size, size), tone)
        canvas.ellipse((x, y), (size * 0.6, size * 0.6), mix(tone, (250, 250, 250), 0.8))
        bar = (x - size * 0.4, y + size * 0.3), (x + size * 0.4, y - size * 0.3)
        canvas.limb(*bar, size * 0.22, shade(tone, 0.9))


def _draw_barrel(canvas: Canvas, rng: np.random.Generator, foot: Point, scale: float) -> None:
    tone = _BARRELS[int(rng.choice(4, p=(0.45, 0.2, 0.2, 0.15)))]
    x, y = foot
    wide, high = 0.16 * scale, 0.46 * scale
    canvas.ellipse((x, y), (wide, wide * 0.28), shade(tone, 0.6))
    canvas.box((x - wide, y - high, x + wide, y), tone)
    canvas.box((x + wide * 0.35, y - high, x + wide, y), shade(tone, 0.78))
    canvas.box((x - wide * 0.7, y - high, x - wide * 0.45, y), shade(tone, 1.15))
    for share in (0.33, 0.66):
        rim, level = wide * 1.03, y - high * share
        hoop = (x - rim, level - 0.008 * scale, x + rim, level + 0.012 * scale)
        canvas.box(hoop, shade(tone, 0.7))
    canvas.ellipse((x, y - high), (wide, wide * 0.28), shade(tone, 0.9))
    canvas.ellipse((x, y - high), (wide * 0.84, wide * 0.21), shade(tone, 0.6))


def _draw_crate(canvas: Canvas, rng: np.random.Generator, foot: Point, scale: float) -> None:
    x, y = foot
    wide, high = float(rng.uniform(0.2, 0.3)) * scale, float(rng.uniform(0.25, 0.45)) * scale
    tone = shade(_WOOD, float(rng.uniform(0.8, 1.1)))
    canvas.box((x - wide, y - high, x + wide, y), shade(tone, 0.7))
    boards = 4
    for board in range(boards):
        top = y - high + high * board / boards
        canvas.box((x - wide, top, x + wide, top + high / boards - 0.008 * scale), tone)
    for left in (x - wide, x + wide * 0.84):
        canvas.box((left, y - high, left + wide * 0.16, y), shade(tone, 0.86))
    lid = [(x - wide, y - high), (x + wide, y - high)]
    lid += [(x + wide * 0.88, y - high - 0.09 * scale), (x - wide * 0.88, y - high - 0.09 * scale)]
    canvas.polygon(lid, shade(tone, 1.14))


def _draw_cylinders(canvas: Canvas, rng: np.random.Generator, foot: Point, scale: float) -> None:
    x, y = foot
    for index in range(int(rng.integers(1, 4))):
        tone = ((58, 110, 84), (140, 146, 150), (150, 60, 50))[int(rng.integers(3))]
        centre, high, wide = x + index * 0.15 * scale, 0.66 * scale, 0.062 * scale
        canvas.limb((centre, y - wide), (centre, y - high), wide * 2, tone)
        left = centre - wide * 0.4
        canvas.limb((left, y - wide), (left, y - high), wide * 0.5, shade(tone, 1.25))
        valve = (centre, y - high - wide), (centre, y - high - wide * 2)
        canvas.limb(*valve, wide * 0.6, (196, 172, 96))


def _draw_drum(canvas: Canvas, foot: Point, scale: float) -> None:
    x, y = foot
    radius = 0.17 * scale
    canvas.ellipse((x, y - radius), (radius, radius), (206, 200, 188))
    canvas.ellipse((x, y - radius), (radius * 0.86, radius * 0.86), (228, 224, 214))
    canvas.ellipse((x, y - radius), (radius * 0.42, radius * 0.42), (44, 46, 50))
    canvas.ellipse((x, y - radius), (radius * 0.16, radius * 0.16), (150, 148, 142))


def _draw_cone(canvas: Canvas, foot: Point, scale: float) -> None:
    x, y = foot
    wide, high = 0.1 * scale, 0.3 * scale

    def part(low: Point, top: Point, colour: Colour, glint: int = 0) -> None:
        """Draw the part between two levels, each given as half its width and its height."""
        (below, start), (above, end) = low, top
        corners = [(x - below, y - start), (x + below, y - start)]
        corners += [(x + above, y - end), (x - above, y - end)]
        canvas.polygon(corners, colour, glint=glint)

    part((wide, 0), (wide * 0.8, 0.03 * scale), (190, 84, 26))
    part((wide * 0.62, 0.03 * scale), (wide * 0.1, high), (240, 108, 30))
    part((wide * 0.44, high * 0.38), (wide * 0.28, high * 0.62), (236, 236, 232), 255)
