"""Draws a worker with helmet, mask, vest and gloves.

All numbers are in the worker's own coordinates (see `worker.py`), as fractions of the body height.
Each piece of protection has its own owner number.
"""

import math

from guardianflow.vision.synthetic.canvas import Canvas, Colour, Point, mix, shade
from guardianflow.vision.synthetic.worker import PARTS_PER_WORKER, Part, Worker

_SILVER: Colour = (226, 230, 232)


def draw_worker(canvas: Canvas, worker: Worker) -> None:
    """Draw a worker, and record the area of each part."""
    _draw_legs(canvas, worker)
    if worker.pose.back:
        _draw_arm(canvas, worker, 0)
        _draw_arm(canvas, worker, 1)
    _draw_torso(canvas, worker)
    _draw_head(canvas, worker)
    if not worker.pose.back:
        _draw_arm(canvas, worker, 0)
        _draw_arm(canvas, worker, 1)
    everything = range(worker.first, worker.first + PARTS_PER_WORKER)
    worker.areas[Part.BODY] = canvas.owned(everything)[0]


def torch_tip(worker: Worker) -> Point | None:
    """Return the position of the arc in the scene; None if the worker does not weld."""
    if not worker.pose.torch:
        return None
    hand = max(worker.pose.hands, key=lambda point: abs(point[0]))
    x = hand[0] + math.copysign(0.13, hand[0])
    return worker.at(x, hand[1] - 0.07)


def _note(canvas: Canvas, worker: Worker, part: Part) -> None:
    number = worker.first + part
    worker.areas[part] = canvas.owned(range(number, number + 1))[0]


def _draw_legs(canvas: Canvas, worker: Worker) -> None:
    pose, body, height = worker.pose, worker.first, worker.height
    for index, sign in ((0, -1.0), (1, 1.0)):
        tone = shade(worker.look.trousers, 0.82 if index == 0 else 1.0)
        hip = worker.at(sign * 0.062, pose.hip)
        knee, foot = worker.at(*pose.knees[index]), worker.at(*pose.feet[index])
        canvas.limb(hip, knee, 0.115 * height, tone, body, taper=0.85)
        canvas.limb(knee, foot, 0.098 * height, tone, body, taper=0.8)
        toe = pose.turn * 0.035 + sign * 0.012
        x, y = pose.feet[index]
        canvas.limb(
            worker.at(x, y - 0.008),
            worker.at(x + toe, y - 0.012),
            0.062 * height,
            (34, 28, 26),
            body,
        )


def _draw_torso(canvas: Canvas, worker: Worker) -> None:
    pose, look, body = worker.pose, worker.look, worker.first
    shoulder = 0.128 - 0.03 * abs(pose.turn)
    waist = 0.092 - 0.012 * abs(pose.turn)
    low, high = pose.hip - 0.03, pose.hip + 0.33
    outline = [(-shoulder, high - 0.025), (-shoulder * 0.6, high), (shoulder * 0.6, high)]
    outline += [(shoulder, high - 0.025), (waist, low), (-waist, low)]
    canvas.limb(
        worker.at(0, high - 0.02),
        worker.at(0, high + 0.05),
        0.06 * worker.height,
        shade(look.skin, 0.8),
        body,
    )
    canvas.polygon([worker.at(*p) for p in outline], look.jacket, body)
    dark = [(0.35 * shoulder, high), (shoulder, high - 0.025), (waist, low), (0.3 * waist, low)]
    canvas.polygon([worker.at(*p) for p in dark], shade(look.jacket, 0.82), body)
    if look.vest is not None:
        _draw_vest(canvas, worker, shoulder, waist, low, high)
    else:
        belt = [(-waist, low + 0.03), (waist, low + 0.03), (waist, low), (-waist, low)]
        canvas.polygon([worker.at(*p) for p in belt], shade(look.trousers, 0.6), body)


def _draw_vest(
    canvas: Canvas, worker: Worker, shoulder: float, waist: float, low: float, high: float
) -> None:
    colour, owner = worker.look.vest or (0, 0, 0), worker.first + Part.VEST

    def panel(points: list[Point], tone: Colour, glint: int = 0) -> None:
        canvas.polygon([worker.at(*point) for point in points], tone, owner, glint)

    def edge(y: float) -> float:
        return waist + (shoulder - waist) * (y - low) / (high - low) + 0.004

    top, bottom = high + 0.002, low + 0.012
    outline = [(-edge(top - 0.05), top - 0.03), (-shoulder * 0.6, top), (-0.03, top)]
    outline += [(0.0, top - (0.0 if worker.pose.back else 0.07)), (0.03, top)]
    outline += [(shoulder * 0.6, top), (edge(top - 0.05), top - 0.03)]
    outline += [(edge(bottom), bottom), (-edge(bottom), bottom)]
    panel(outline, colour)
    panel(
        [
            (0.4 * shoulder, top),
            (edge(top - 0.05), top - 0.03),
            (edge(bottom), bottom),
            (0.35 * waist, bottom),
        ],
        shade(colour, 0.86),
    )
    for y in (low + 0.075, low + 0.155):
        panel(
            [(-edge(y), y), (edge(y), y), (edge(y), y + 0.028), (-edge(y), y + 0.028)], _SILVER, 255
        )
    for sign in (-1.0, 1.0):
        x = sign * shoulder * 0.52
        panel(
            [
                (x - 0.014, top - 0.004),
                (x + 0.014, top - 0.004),
                (x + 0.014, low + 0.155),
                (x - 0.014, low + 0.155),
            ],
            _SILVER,
            255,
        )
    if not worker.pose.back:
        canvas.limb(
            worker.at(0, top - 0.08),
            worker.at(0, bottom),
            0.008 * worker.height,
            shade(colour, 0.5),
            owner,
        )
    _note(canvas, worker, Part.VEST)


def _draw_head(canvas: Canvas, worker: Worker) -> None:
    pose, look, body, height = worker.pose, worker.look, worker.first, worker.height
    top = pose.hip + 0.33
    y, shift = top + 0.095, 0.022 * pose.turn
    centre = worker.at(0, y)
    if pose.back:
        canvas.ellipse(centre, (0.064 * height, 0.075 * height), look.hair, body)
        canvas.ellipse(worker.at(0, y - 0.05), (0.045 * height, 0.03 * height), look.skin, body)
    else:
        canvas.ellipse(centre, (0.066 * height, 0.078 * height), look.hair, body)
        face = worker.at(shift, y - 0.012)
        canvas.ellipse(face, (0.054 * height, 0.066 * height), look.skin, body)
        for sign in (-1.0, 1.0):
            canvas.ellipse(
                worker.at(shift * 1.6 + sign * 0.022, y),
                (0.007 * height, 0.009 * height),
                (30, 24, 24),
                body,
            )
        canvas.limb(
            worker.at(shift * 1.6 - 0.014, y - 0.044),
            worker.at(shift * 1.6 + 0.014, y - 0.044),
            0.007 * height,
            shade(look.skin, 0.6),
            body,
        )
        if look.mask is not None:
            _draw_mask(canvas, worker, shift, y)
    if look.helmet is not None:
        _draw_helmet(canvas, worker, look.helmet, shift, y)
    elif look.cap:
        canvas.ellipse(
            worker.at(0, y + 0.032), (0.069 * height, 0.048 * height), shade(look.jacket, 0.7), body
        )


def _draw_mask(canvas: Canvas, worker: Worker, shift: float, y: float) -> None:
    owner, height = worker.first + Part.MASK, worker.height
    if worker.look.mask == "welding":
        outline = [(-0.066, 0.052), (0.066, 0.052), (0.07, -0.03), (0.045, -0.095)]
        outline += [(-0.045, -0.095), (-0.07, -0.03)]
        points = [worker.at(shift + px, y + py) for px, py in outline]
        canvas.polygon(points, (46, 48, 54), owner)
        glass = [(-0.043, 0.026), (0.043, 0.026), (0.043, -0.012), (-0.043, -0.012)]
        canvas.polygon(
            [worker.at(shift * 1.4 + px, y + py) for px, py in glass], (38, 92, 66), owner
        )
        canvas.limb(
            worker.at(shift * 1.4 - 0.034, y + 0.018),
            worker.at(shift * 1.4 + 0.008, y + 0.018),
            0.009 * height,
            (128, 190, 150),
            owner,
        )
        canvas.limb(
            worker.at(shift - 0.03, y - 0.06),
            worker.at(shift + 0.03, y - 0.06),
            0.012 * height,
            (78, 80, 86),
            owner,
        )
    else:
        centre = worker.at(shift * 1.5, y - 0.042)
        canvas.ellipse(centre, (0.056 * height, 0.042 * height), (238, 240, 240), owner)
        canvas.ellipse(
            worker.at(shift * 1.5 + 0.012, y - 0.05),
            (0.038 * height, 0.028 * height),
            (214, 220, 222),
            owner,
        )
        canvas.ellipse(
            worker.at(shift * 1.5, y - 0.047),
            (0.017 * height, 0.015 * height),
            (92, 140, 190),
            owner,
        )
    _note(canvas, worker, Part.MASK)


def _draw_helmet(canvas: Canvas, worker: Worker, colour: Colour, shift: float, y: float) -> None:
    owner, height = worker.first + Part.HELMET, worker.height
    base = y + 0.03
    dome = [
        (0.088 * math.cos(math.pi * step / 12), base + 0.094 * math.sin(math.pi * step / 12))
        for step in range(13)
    ]
    canvas.polygon([worker.at(*point) for point in dome], colour, owner)
    dark = [point for point in dome if point[0] > 0.03]
    canvas.polygon([worker.at(*p) for p in [*dark, (0.05, base)]], shade(colour, 0.84), owner)
    canvas.limb(
        worker.at(-0.03, base + 0.03),
        worker.at(-0.022, base + 0.088),
        0.014 * height,
        mix(colour, (255, 255, 255), 0.6),
        owner,
    )
    canvas.limb(
        worker.at(0.008, base + 0.02),
        worker.at(0.008, base + 0.092),
        0.012 * height,
        shade(colour, 0.9),
        owner,
    )
    canvas.limb(
        worker.at(-0.092 + min(0, shift), base),
        worker.at(0.092 + max(0, shift), base),
        0.022 * height,
        shade(colour, 0.92),
        owner,
    )
    _note(canvas, worker, Part.HELMET)


def _draw_arm(canvas: Canvas, worker: Worker, index: int) -> None:
    pose, look, height, body = worker.pose, worker.look, worker.height, worker.first
    sign = (-1.0, 1.0)[index]
    shoulder = (sign * (0.118 - 0.03 * abs(pose.turn)), pose.hip + 0.285)
    hand = pose.hands[index]
    elbow = _elbow(shoulder, hand, sign)
    tone = shade(look.jacket, 0.9 if index == 0 else 1.04)
    canvas.limb(worker.at(*shoulder), worker.at(*elbow), 0.082 * height, tone, body, taper=0.85)
    canvas.limb(worker.at(*elbow), worker.at(*hand), 0.07 * height, tone, body, taper=0.8)
    if pose.torch and hand == max(pose.hands, key=lambda point: abs(point[0])):
        far = math.copysign(1.0, hand[0])
        bend = (hand[0] + far * 0.07, hand[1] + 0.03)
        canvas.limb(worker.at(*hand), worker.at(*bend), 0.026 * height, (40, 40, 44))
        tip = (hand[0] + far * 0.13, hand[1] - 0.07)
        canvas.limb(worker.at(*bend), worker.at(*tip), 0.018 * height, (176, 140, 84))
    if look.glove is None:
        canvas.ellipse(worker.at(*hand), (0.034 * height, 0.038 * height), look.skin, body)
        return
    _draw_glove(canvas, worker, index, elbow, look.glove)


def _draw_glove(canvas: Canvas, worker: Worker, index: int, elbow: Point, colour: Colour) -> None:
    part = (Part.LEFT_GLOVE, Part.RIGHT_GLOVE)[index]
    owner, height, hand = worker.first + part, worker.height, worker.pose.hands[index]
    dx, dy = hand[0] - elbow[0], hand[1] - elbow[1]
    length = math.sqrt(dx * dx + dy * dy) or 1e-9
    cuff = (hand[0] - dx / length * 0.055, hand[1] - dy / length * 0.055)
    canvas.limb(worker.at(*cuff), worker.at(*hand), 0.088 * height, shade(colour, 0.84), owner)
    canvas.ellipse(worker.at(*hand), (0.049 * height, 0.05 * height), colour, owner)
    thumb = worker.at(hand[0] - math.copysign(0.036, hand[0]), hand[1] + 0.012)
    canvas.ellipse(thumb, (0.019 * height, 0.022 * height), shade(colour, 1.05), owner)
    _note(canvas, worker, part)


def _elbow(shoulder: Point, hand: Point, sign: float) -> Point:
    """The position of the elbow, pointing outwards; upper arm and forearm are 0.168 long."""
    dx, dy = hand[0] - shoulder[0], hand[1] - shoulder[1]
    distance = math.sqrt(dx * dx + dy * dy) or 1e-9
    out = math.sqrt(max(0.0, 0.168**2 - (distance / 2) ** 2))
    nx, ny = -dy / distance, dx / distance
    if nx * sign < 0:
        nx, ny = -nx, -ny
    return shoulder[0] + dx / 2 + nx * out, shoulder[1] + dy / 2 + ny * out
