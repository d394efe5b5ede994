"""Draws scenes: a welding hall with workers, clutter and light, and the boxes of visible objects.

    hall -> workers and clutter, far to near -> light -> picture
                        └── owner of each pixel -> boxes

A box encloses the visible part of an object; objects that are mostly hidden have none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardianflow.scenario import Light
from guardianflow.vision.synthetic.canvas import Canvas, Point
from guardianflow.vision.synthetic.figure import draw_worker, torch_tip
from guardianflow.vision.synthetic.hall import draw_clutter, draw_hall, draw_shadows, draw_sparks
from guardianflow.vision.synthetic.light import expose
from guardianflow.vision.synthetic.worker import (
    PARTS_PER_WORKER,
    Part,
    Worker,
    choose_look,
    choose_pose,
)

DRAWABLE = ("person", "helmet", "mask", "vest", "gloves")
_CLASS_OF = {
    Part.HELMET: "helmet",
    Part.MASK: "mask",
    Part.VEST: "vest",
    Part.LEFT_GLOVE: "gloves",
    Part.RIGHT_GLOVE: "gloves",
}
# Objects with a smaller visible share have no box.
_MIN_VISIBLE = 0.3
_MIN_SIDE = 0.012
_HORIZON = 0.24


@dataclass(frozen=True)
class SceneObject:
    """A visible object: class name, and x1, y1, x2, y2 as fractions of the scene."""

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Scene:
    """A finished picture, RGB, shape (size, size, 3), uint8, and its visible objects."""

    picture: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]


def draw_scene(
    geometry: np.random.Generator, lighting: np.random.Generator, light: Light, size: int
) -> Scene:
    """Draw one scene, a picture with a side of `size` pixels.

    `geometry` decides the objects: the same state draws the same ones in any light. `lighting`
    decides lamps and noise.
    """
    canvas = Canvas(size)
    windows = draw_hall(canvas, geometry)
    workers = _place_workers(geometry)
    clutter = [float(geometry.uniform(0.6, 1.05)) for _ in range(int(geometry.integers(2, 6)))]
    draw_shadows(canvas, [(w.foot, w.height) for w in workers])
    # Far things first; only the depth is compared.
    order: list[tuple[float, Worker | None]] = [(w.foot[1], w) for w in workers]
    order += [(depth, None) for depth in clutter]
    for depth, worker in sorted(order, key=lambda item: item[0]):
        if worker is None:
            draw_clutter(canvas, geometry, depth, (depth - _HORIZON))
        else:
            draw_worker(canvas, worker)
    arcs = [tip for worker in workers if (tip := torch_tip(worker)) is not None]
    for arc in arcs:
        draw_sparks(canvas, geometry, arc)
    objects = tuple(found for worker in workers for found in _visible(canvas, worker))
    picture = expose(canvas.pixels(), canvas.reflectors(), windows, arcs, light, lighting)
    return Scene(picture, objects)


def _place_workers(rng: np.random.Generator) -> list[Worker]:
    """Up to four workers on the floor; nearer ones are larger, by perspective."""
    workers: list[Worker] = []
    count = int(rng.choice((0, 1, 2, 3, 4), p=(0.03, 0.2, 0.35, 0.3, 0.12)))
    slots = rng.permutation(max(count, 2))
    for index in range(count):
        depth = float(rng.uniform(0.64, 1.0))
        width = 0.8 / len(slots)
        x = 0.1 + width * (float(slots[index]) + float(rng.uniform(0.15, 0.85)))
        height = (depth - _HORIZON) * float(rng.uniform(0.97, 1.1))
        foot: Point = (x, depth)
        first = 1 + PARTS_PER_WORKER * index
        workers.append(Worker(foot, height, choose_look(rng), choose_pose(rng), first))
    return workers


def _visible(canvas: Canvas, worker: Worker) -> list[SceneObject]:
    """The visible objects of a worker: the person and the protection."""
    found: list[SceneObject] = []
    for part, area in sorted(worker.areas.items()):
        first = worker.first + part
        span = PARTS_PER_WORKER if part is Part.BODY else 1
        pixels, box = canvas.owned(range(first, first + span))
        if box is None or pixels < _MIN_VISIBLE * area:
            continue
        if min(box[2] - box[0], box[3] - box[1]) < _MIN_SIDE:
            continue
        found.append(SceneObject(_CLASS_OF.get(part, "person"), box))
    return found
