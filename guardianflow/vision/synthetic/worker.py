"""Chooses the pose, clothes and protection of workers.

A worker's own coordinates: x to the right from between the feet, y upwards, 1 = body height. Hands
and head are a little too large, so that they stay visible on small pictures.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from guardianflow.vision.synthetic.canvas import Colour, Point, shade

_SKIN: tuple[Colour, ...] = ((241, 202, 168), (224, 172, 130), (190, 134, 94), (122, 82, 56))
_HAIR: tuple[Colour, ...] = ((28, 24, 22), (62, 44, 32), (112, 108, 104))
_HELMET: tuple[Colour, ...] = (
    (245, 245, 240),
    (250, 205, 30),
    (214, 42, 36),
    (34, 92, 190),
    (245, 124, 20),
    (48, 150, 72),
)
_VEST: tuple[Colour, ...] = ((206, 240, 32), (255, 112, 24))
_CLOTHES: tuple[Colour, ...] = (
    (44, 58, 92),
    (92, 98, 104),
    (128, 112, 82),
    (58, 84, 84),
    (122, 78, 52),
    (36, 40, 46),
)
_GLOVE: tuple[Colour, ...] = ((222, 176, 92), (236, 232, 220), (60, 120, 196), (150, 84, 44))


class Part(IntEnum):
    """The part of a worker that owns a pixel; added to the worker's first owner number."""

    BODY = 0
    HELMET = 1
    MASK = 2
    VEST = 3
    LEFT_GLOVE = 4
    RIGHT_GLOVE = 5


PARTS_PER_WORKER = 8


@dataclass(frozen=True)
class Look:
    """The colours and clothes of a worker; None means "not worn"."""

    skin: Colour
    hair: Colour
    jacket: Colour
    trousers: Colour
    helmet: Colour | None
    vest: Colour | None
    glove: Colour | None
    mask: str | None
    cap: bool


@dataclass(frozen=True)
class Pose:
    """Joints in the worker's own coordinates."""

    hip: float
    knees: tuple[Point, Point]
    feet: tuple[Point, Point]
    hands: tuple[Point, Point]
    lean: float
    turn: float
    back: bool
    torch: bool


@dataclass
class Worker:
    """A worker at a position in the scene.

    Attributes:
        foot: The point on the floor between the feet, as fractions of the scene.
        height: Body height as a fraction of the scene.
        look: Colours and clothes.
        pose: Joints.
        first: Owner number of the body; those of the parts follow.
        areas: Fine pixels of each part when it was drawn, before other objects hid it.
    """

    foot: Point
    height: float
    look: Look
    pose: Pose
    first: int
    areas: dict[Part, int] = field(default_factory=dict)

    def at(self, x: float, y: float) -> Point:
        """Convert a point in the worker's own coordinates to fractions of the scene."""
        return self.foot[0] + (x + self.pose.lean * y) * self.height, (
            self.foot[1] - y * self.height
        )


def choose_look(rng: np.random.Generator) -> Look:
    """Choose clothes; each piece of protection is worn or missing independently."""

    def pick(colours: tuple[Colour, ...]) -> Colour:
        return shade(colours[int(rng.integers(len(colours)))], float(rng.uniform(0.88, 1.08)))

    helmet, vest, glove = pick(_HELMET), pick(_VEST), pick(_GLOVE)
    worn = rng.random(4) < (0.66, 0.6, 0.55, 0.62)
    return Look(
        skin=pick(_SKIN),
        hair=pick(_HAIR),
        jacket=pick(_CLOTHES),
        trousers=pick(_CLOTHES),
        helmet=helmet if worn[0] else None,
        vest=vest if worn[1] else None,
        mask=("welding", "dust")[int(rng.random() < 0.5)] if worn[2] else None,
        glove=glove if worn[3] else None,
        cap=bool(rng.random() < 0.35),
    )


def choose_pose(rng: np.random.Generator) -> Pose:
    """Choose a pose: stand, walk, reach up, work, weld to the side, or crouch."""
    kind = ("stand", "walk", "reach", "work", "weld", "crouch")[
        int(rng.choice(6, p=(0.22, 0.2, 0.14, 0.18, 0.14, 0.12)))
    ]
    jitter = rng.uniform(-0.02, 0.02, size=8)
    side = 1.0 if rng.random() < 0.5 else -1.0
    spread = {"walk": 0.13, "crouch": 0.12}.get(kind, 0.075)
    hip = 0.32 if kind == "crouch" else 0.48
    bend = 0.05 if kind == "crouch" else -0.012
    top = hip + 0.33
    hands = {
        "stand": ((-0.20, hip - 0.02), (0.20, hip - 0.02)),
        "walk": ((-0.23, hip + 0.04), (0.20, hip + 0.02)),
        "reach": ((-0.22 * side, hip), (0.24 * side, top + 0.17)),
        "work": ((-0.10, hip + 0.12), (0.10, hip + 0.15)),
        "weld": ((0.08 * side, hip + 0.08), (0.27 * side, hip + 0.10)),
        "crouch": ((0.10 * side, hip + 0.03), (0.26 * side, hip - 0.04)),
    }[kind]
    ordered = sorted(hands)
    return Pose(
        hip=hip,
        knees=(
            (-spread - bend, hip / 2 + 0.02),
            (spread + bend, hip / 2 + 0.02 + float(jitter[0])),
        ),
        feet=((-spread, 0.03), (spread + float(jitter[1]), 0.03)),
        hands=(
            (ordered[0][0] + float(jitter[2]), ordered[0][1] + float(jitter[3])),
            (ordered[1][0] + float(jitter[4]), ordered[1][1] + float(jitter[5])),
        ),
        lean=float(jitter[6]) * 2 + (0.08 * side if kind in ("weld", "crouch") else 0.0),
        turn=side if kind in ("weld", "crouch") else float(rng.choice((-1.0, 0.0, 0.0, 1.0))),
        back=kind in ("stand", "walk", "reach") and bool(rng.random() < 0.2),
        torch=kind in ("weld", "crouch"),
    )
