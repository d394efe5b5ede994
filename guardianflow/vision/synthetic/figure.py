"""Draws a worker with helmet, mask, vest and gloves.

All numbers are in the worker's own coordinates (see `worker.py`), as fractions of the body height.
Each piece of protection has its own owner number.
"""

import math
from collections.abc import Sequence

from guardianflow.vision.synthetic.canvas import Canvas, Colour, Point, mix, shade
from guardianflow.vision.synthetic.worker import PARTS_PER_WORKER, Part, Worker

_SILVER: Colour = (226, 230, 232)


class _Brush:
    """Draws one part of a worker, in the worker's own coordinates."""

    def __init__(self, canvas: Canvas, worker: Worker, part: Part = Part.BODY) -> None:
        self._canvas, self._worker, self._part = canvas, worker, part
        self._owner = worker.first + part

    def polygon(self, points: Sequence[Point], colour: Colour, glint: int = 0) -> None:
        corners = [self._worker.at(*point) for point in points]
        self._canvas.polygon(corners, colour, self._owner, glint)

    def ellipse(self, centre: Point, radii: Point, colour: Colour) -> None:
        height = self._worker.height
        scaled = (radii[0] * height, radii[1] * height)
        self._canvas.ellipse(self._worker.at(*centre), scaled, colour, self._owner)

    def limb(
        self, start: Point, end: Point, width: float, colour: Colour, taper: float = 1.0
    ) -> None:
        ends = self._worker.at(*start), self._worker.at(*end)
        self._canvas.limb(*ends, width * self._worker.height, colour, self._owner, taper=taper)

    def note_area(self, owners: int = 1) -> None:
        """Record how many pixels the part has now, with the owner numbers that follow it."""
        span = range(self._owner, self._owner + owners)
        self._worker.areas[self._part] = self._canvas.owned(span)[0]


def draw_worker(canvas: Canvas, worker: Worker) -> None:
    """Draw a worker, and record the area of each part."""
    body = _Brush(canvas, worker)
    _draw_legs(body, worker)
    if worker.pose.back:
        _draw_arm(canvas, worker, 0)
        _draw_arm(canvas, worker, 1)
    _draw_torso(canvas, worker)
    _draw_head(canvas, worker)
    if not worker.pose.back:
        _draw_arm(canvas, worker, 0)
        _draw_arm(canvas, worker, 1)
    body.note_area(PARTS_PER_WORKER)


def torch_tip(worker: Worker) -> Point | None:
    """Return the position of the arc in the scene; None if the worker does not weld."""
    if not worker.pose.torch:
        return None
    hand = max(worker.pose.hands, key=lambda point: abs(point[0]))
    x = hand[0] + math.copysign(0.13, hand[0])
    return worker.at(x, hand[1] - 0.07)


def _draw_legs(body: _Brush, worker: Worker) -> None:
    pose = worker.pose
    for index, sign in ((0, -1.0), (1, 1.0)):
        tone = shade(worker.look.trousers, 0.82 if index == 0 else 1.0)
        knee, (x, y) = pose.knees[index], pose.feet[index]
        body.limb((sign * 0.062, pose.hip), knee, 0.115, tone, taper=0.85)
        body.limb(knee, (x, y), 0.098, tone, taper=0.8)
        toe = pose.turn * 0.035 + sign * 0.012
        body.limb((x, y - 0.008), (x + toe, y - 0.012), 0.062, (34, 28, 26))


def _draw_torso(canvas: Canvas, worker: Worker) -> None:
    pose, look, body = worker.pose, worker.look, _Brush(canvas, worker)
    shoulder = 0.128 - 0.03 * abs(pose.turn)
    waist = 0.092 - 0.012 * abs(pose.turn)
    low, high = pose.hip - 0.03, pose.hip + 0.33
    outline = [(-shoulder, high - 0.025), (-shoulder * 0.6, high), (shoulder * 0.6, high)]
    outline += [(shoulder, high - 0.025), (waist, low), (-waist, low)]
    body.limb((0, high - 0.02), (0, high + 0.05), 0.06, shade(look.skin, 0.8))
    body.polygon(outline, look.jacket)
    dark = [(0.35 * shoulder, high), (shoulder, high - 0.025), (waist, low), (0.3 * waist, low)]
    body.polygon(dark, shade(look.jacket, 0.82))
    if look.vest is not None:
        vest = _Brush(canvas, worker, Part.VEST)
        _draw_vest(vest, look.vest, (shoulder, waist, low, high), back=pose.back)
    else:
        belt = [(-waist, low + 0.03), (waist, low + 0.03), (waist, low), (-waist, low)]
        body.polygon(belt, shade(look.trousers, 0.6))


def _draw_vest(
    vest: _Brush, colour: Colour, torso: tuple[float, float, float, float], *, back: bool
) -> None:
    shoulder, waist, low, high = torso

    def edge(y: float) -> float:
        return waist + (shoulder - waist) * (y - low) / (high - low) + 0.004

    top, bottom = high + 0.002, low + 0.012
    outline = [(-edge(top - 0.05), top - 0.03), (-shoulder * 0.6, top), (-0.03, top)]
    outline += [(0.0, top - (0.0 if back else 0.07)), (0.03, top)]
    outline += [(shoulder * 0.6, top), (edge(top - 0.05), top - 0.03)]
    outline += [(edge(bottom), bottom), (-edge(bottom), bottom)]
    vest.polygon(outline, colour)
    dark = [(0.4 * shoulder, top), (edge(top - 0.05), top - 0.03)]
    dark += [(edge(bottom), bottom), (0.35 * waist, bottom)]
    vest.polygon(dark, shade(colour, 0.86))
    for y in (low + 0.075, low + 0.155):
        band = [(-edge(y), y), (edge(y), y), (edge(y), y + 0.028), (-edge(y), y + 0.028)]
        vest.polygon(band, _SILVER, 255)
    for sign in (-1.0, 1.0):
        x = sign * shoulder * 0.52
        strap = [(x - 0.014, top - 0.004), (x + 0.014, top - 0.004)]
        strap += [(x + 0.014, low + 0.155), (x - 0.014, low + 0.155)]
        vest.polygon(strap, _SILVER, 255)
    if not back:
        vest.limb((0, top - 0.08), (0, bottom), 0.008, shade(colour, 0.5))
    vest.note_area()


def _draw_head(canvas: Canvas, worker: Worker) -> None:
    pose, look, body = worker.pose, worker.look, _Brush(canvas, worker)
    y, shift = pose.hip + 0.33 + 0.095, 0.022 * pose.turn
    if pose.back:
        body.ellipse((0, y), (0.064, 0.075), look.hair)
        body.ellipse((0, y - 0.05), (0.045, 0.03), look.skin)
    else:
        body.ellipse((0, y), (0.066, 0.078), look.hair)
        body.ellipse((shift, y - 0.012), (0.054, 0.066), look.skin)
        middle = shift * 1.6
        for sign in (-1.0, 1.0):
            body.ellipse((middle + sign * 0.022, y), (0.007, 0.009), (30, 24, 24))
        mouth = shade(look.skin, 0.6)
        body.limb((middle - 0.014, y - 0.044), (middle + 0.014, y - 0.044), 0.007, mouth)
        if look.mask is not None:
            _draw_mask(_Brush(canvas, worker, Part.MASK), look.mask, shift, y)
    if look.helmet is not None:
        _draw_helmet(_Brush(canvas, worker, Part.HELMET), look.helmet, shift, y)
    elif look.cap:
        body.ellipse((0, y + 0.032), (0.069, 0.048), shade(look.jacket, 0.7))


def _draw_mask(mask: _Brush, kind: str, shift: float, y: float) -> None:
    if kind == "welding":
        outline = [(-0.066, 0.052), (0.066, 0.052), (0.07, -0.03), (0.045, -0.095)]
        outline += [(-0.045, -0.095), (-0.07, -0.03)]
        mask.polygon([(shift + px, y + py) for px, py in outline], (46, 48, 54))
        glass = [(-0.043, 0.026), (0.043, 0.026), (0.043, -0.012), (-0.043, -0.012)]
        x = shift * 1.4
        mask.polygon([(x + px, y + py) for px, py in glass], (38, 92, 66))
        mask.limb((x - 0.034, y + 0.018), (x + 0.008, y + 0.018), 0.009, (128, 190, 150))
        mask.limb((shift - 0.03, y - 0.06), (shift + 0.03, y - 0.06), 0.012, (78, 80, 86))
    else:
        x = shift * 1.5
        mask.ellipse((x, y - 0.042), (0.056, 0.042), (238, 240, 240))
        mask.ellipse((x + 0.012, y - 0.05), (0.038, 0.028), (214, 220, 222))
        mask.ellipse((x, y - 0.047), (0.017, 0.015), (92, 140, 190))
    mask.note_area()


def _draw_helmet(helmet: _Brush, colour: Colour, shift: float, y: float) -> None:
    base = y + 0.03
    dome = [
        (0.088 * math.cos(math.pi * step / 12), base + 0.094 * math.sin(math.pi * step / 12))
        for step in range(13)
    ]
    helmet.polygon(dome, colour)
    dark = [point for point in dome if point[0] > 0.03]
    helmet.polygon([*dark, (0.05, base)], shade(colour, 0.84))
    shine = mix(colour, (255, 255, 255), 0.6)
    helmet.limb((-0.03, base + 0.03), (-0.022, base + 0.088), 0.014, shine)
    helmet.limb((0.008, base + 0.02), (0.008, base + 0.092), 0.012, shade(colour, 0.9))
    brim = (-0.092 + min(0, shift), base), (0.092 + max(0, shift), base)
    helmet.limb(*brim, 0.022, shade(colour, 0.92))
    helmet.note_area()


def _draw_arm(canvas: Canvas, worker: Worker, index: int) -> None:
    pose, look, body = worker.pose, worker.look, _Brush(canvas, worker)
    sign = (-1.0, 1.0)[index]
    shoulder = (sign * (0.118 - 0.03 * abs(pose.turn)), pose.hip + 0.285)
    hand = pose.hands[index]
    elbow = _elbow(shoulder, hand, sign)
    tone = shade(look.jacket, 0.9 if index == 0 else 1.04)
    body.limb(shoulder, elbow, 0.082, tone, taper=0.85)
    body.limb(elbow, hand, 0.07, tone, taper=0.8)
    if pose.torch and hand == max(pose.hands, key=lambda point: abs(point[0])):
        far, height = math.copysign(1.0, hand[0]), worker.height
        bend = (hand[0] + far * 0.07, hand[1] + 0.03)
        canvas.limb(worker.at(*hand), worker.at(*bend), 0.026 * height, (40, 40, 44))
        tip = (hand[0] + far * 0.13, hand[1] - 0.07)
        canvas.limb(worker.at(*bend), worker.at(*tip), 0.018 * height, (176, 140, 84))
    if look.glove is None:
        body.ellipse(hand, (0.034, 0.038), look.skin)
        return
    part = (Part.LEFT_GLOVE, Part.RIGHT_GLOVE)[index]
    _draw_glove(_Brush(canvas, worker, part), hand, elbow, look.glove)


def _draw_glove(glove: _Brush, hand: Point, elbow: Point, colour: Colour) -> None:
    dx, dy = hand[0] - elbow[0], hand[1] - elbow[1]
    length = math.sqrt(dx * dx + dy * dy) or 1e-9
    cuff = (hand[0] - dx / length * 0.055, hand[1] - dy / length * 0.055)
    glove.limb(cuff, hand, 0.088, shade(colour, 0.84))
    glove.ellipse(hand, (0.049, 0.05), colour)
    thumb = (hand[0] - math.copysign(0.036, hand[0]), hand[1] + 0.012)
    glove.ellipse(thumb, (0.019, 0.022), shade(colour, 1.05))
    glove.note_area()


def _elbow(shoulder: Point, hand: Point, sign: float) -> Point:
    """The position of the elbow, pointing outwards; upper arm and forearm are 0.168 long."""
    dx, dy = hand[0] - shoulder[0], hand[1] - shoulder[1]
    distance = math.sqrt(dx * dx + dy * dy) or 1e-9
    out = math.sqrt(max(0.0, 0.168**2 - (distance / 2) ** 2))
    nx, ny = -dy / distance, dx / distance
    if nx * sign < 0:
        nx, ny = -nx, -ny
    return shoulder[0] + dx / 2 + nx * out, shoulder[1] + dy / 2 + ny * out
