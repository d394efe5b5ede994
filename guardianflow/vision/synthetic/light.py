"""Simulates a camera that photographs a drawn scene by day or at night.

Colours become linear reflectance. The light of lamps, windows, reflectors and arcs adds up. The
sensor counts photons with shot and read noise, and its picture is gamma-coded. Day and night differ
only in the light. Pixels are computed with only +, ×, ÷ and square roots, so that every machine
computes the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from guardianflow.scenario import Light
from guardianflow.vision.synthetic.canvas import Point

_Tint = tuple[float, float, float]
_LEVELS = 16384
# The sRGB transfer curve, IEC 61966-2-1.
_TO_LINEAR = np.array(
    [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.arange(256) / 255],
    np.float32,
)
_TO_SRGB = np.array(
    [
        round(255 * (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055))
        for v in np.arange(_LEVELS) / (_LEVELS - 1)
    ],
    np.uint8,
)
_ARC: _Tint = (0.82, 0.92, 1.25)
_NIGHT_SKIES: tuple[_Tint, ...] = ((0.55, 0.75, 1.5), (1.5, 0.85, 0.3), (0.7, 1.1, 0.9))


@dataclass(frozen=True)
class _Lamp:
    """A source of light: where it shines, how far, how strongly, and in which colour."""

    at: Point
    reach: Point
    power: float
    tint: _Tint


def expose(
    colours: NDArray[np.uint8],
    reflectors: NDArray[np.float32],
    windows: Sequence[Point],
    arcs: Sequence[Point],
    light: Light,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Photograph a scene.

    Args:
        colours: The scene as drawn, sRGB, shape (S, S, 3).
        reflectors: How strongly each pixel reflects light to a lamp, 0 to 1, shape (S, S).
        windows: Middle of each window, as fractions of the scene.
        arcs: Positions of welding arcs, as fractions of the scene.
        light: Day or night.
        rng: Chooses the lamps and the noise of the sensor.

    Returns:
        sRGB, shape (S, S, 3), uint8.
    """
    scene: NDArray[np.float32] = _TO_LINEAR[colours]
    side = scene.shape[0]
    match light:
        case Light.DAY:
            lamps = [_Lamp(w, (0.16, 0.2), 0.35, (1.0, 0.9, 0.66)) for w in windows]
            arriving = _daylight(side, rng) + _arriving(lamps, side)
            glow = _arriving(
                [_Lamp(w, (0.05, 0.07), 0.18, (1.0, 0.92, 0.7)) for w in windows], side
            )
            photons, read_noise, flash = 2600.0, 0.004, 0.35
        case Light.NIGHT:
            ambient = np.array(_NIGHT_SKIES[int(rng.integers(len(_NIGHT_SKIES)))], np.float32)
            falling = _arriving(_night_lamps(rng), side)
            arriving = ambient * np.float32(rng.uniform(0.03, 0.06)) + falling
            # A reflector sends light back to its lamp, which is near the axis of the camera.
            arriving = arriving + falling * (reflectors * np.float32(2.0))[..., None]
            glow = np.zeros((side, side, 3), np.float32)
            photons, read_noise, flash = float(rng.uniform(160.0, 320.0)), 0.013, 0.5
        case _:
            assert_never(light)
    arriving = arriving + _arriving([_Lamp(a, (0.16, 0.16), flash, _ARC) for a in arcs], side)
    glow = glow + _arriving([_Lamp(a, (0.028, 0.028), 3.0, _ARC) for a in arcs], side)
    falling_in = (scene * arriving + glow).astype(np.float32, copy=False)
    picture = _sense(falling_in, photons, read_noise, rng)
    return _TO_SRGB[(picture * (_LEVELS - 1)).astype(np.int32)]


def _daylight(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Daylight from one side, warm or overcast, shape (side, side, 3)."""
    warm = rng.uniform(0.0, 1.0)
    tint = np.array((1.0 + 0.08 * warm, 1.0, 1.03 - 0.15 * warm), np.float32)
    ramp = np.linspace(-1, 1, side, dtype=np.float32) * np.float32(rng.uniform(-0.2, 0.2))
    level = np.float32(rng.uniform(0.72, 1.05))
    return ((level * (1 + ramp))[None, :, None] * tint).astype(np.float32)


def _night_lamps(rng: np.random.Generator) -> list[_Lamp]:
    """Two or three pools of light: work lamps and headlamps of a vehicle."""
    lamps: list[_Lamp] = []
    for _ in range(int(rng.integers(2, 4))):
        at = (float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.3, 0.9)))
        wide = float(rng.uniform(0.08, 0.17))
        tint = ((1.3, 0.95, 0.5), (0.85, 1.0, 1.2))[int(rng.integers(2))]
        lamps.append(_Lamp(at, (wide, wide * 1.2), float(rng.uniform(0.15, 0.45)), tint))
    return lamps


def _arriving(lamps: Sequence[_Lamp], side: int) -> NDArray[np.float32]:
    """The light of all lamps at each pixel, shape (side, side, 3).

    It falls off as 1 / (1 + r²)², with r in units of a lamp's reach.
    """
    total = np.zeros((3, side, side), np.float32)
    ticks = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
    for lamp in lamps:
        dx = (ticks - np.float32(lamp.at[0])) / np.float32(lamp.reach[0])
        dy = (ticks - np.float32(lamp.at[1])) / np.float32(lamp.reach[1])
        near = (1 + dx * dx)[None, :] + (dy * dy)[:, None]
        falling = np.float32(lamp.power) / (near * near)
        for plane, tint in zip(total, lamp.tint, strict=True):
            plane += falling * np.float32(tint)
    return total.transpose(1, 2, 0)


def _sense(
    light: NDArray[np.float32], photons: float, read_noise: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add shot noise, which grows with the square root of the light, and read noise."""
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.sqrt(light / np.float32(photons) + np.float32(read_noise * read_noise))
    # Part of the noise is coarse and coloured, because neighbouring pixels share colour filters.
    side = light.shape[0]
    cells = -(-side // 4)
    coarse = rng.standard_normal((cells, cells, 3), dtype=np.float32)
    coarse *= np.float32(read_noise * 0.5)
    noise += coarse.repeat(4, axis=0).repeat(4, axis=1)[:side, :side]
    return (light + noise).clip(0, 1)
