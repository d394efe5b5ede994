"""Calibration images: which ones of train set the ranges, and whether they fit.

    train --spread by brightness and classes--> calibration images --compared--> evaluation images
                                                                     unlike: CalibrationUnfit

Bad ranges cause no error: images that are too dark, or scaled twice, silently cost 30 points of
mAP. So both sides are compared as the network sees them, before anything is made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.errors import CalibrationUnfit
from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir.serving import InputGeometry, place_frame

Squares = Sequence[NDArray[np.uint8]]
"""Frames placed in the input of a network, each of shape (H, W, 3), uint8."""

# Decoding is expensive: of a large split, only this many images per wanted one are looked at.
_LOOKED_AT = 8
# Evaluation images whose mean exceeds that of the brightest calibration image by more than this
# (of 255) are beyond it; at most a quarter may be.
_MARGIN = 16.0
_MAX_BEYOND = 0.25
# Contrast and highest value may differ by these factors: day and night stay well within (2.2 in the
# drawn scenes), a forgotten division by 255 is far outside.
_MIN_RATIO, _MAX_RATIO = 0.5, 4.0


class Statistics(BaseModel):
    """Pixels as the network sees them, in steps of 0..255."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(description="How many.")
    mean: tuple[float, float, float] = Field(description="Of each channel: red, green, blue.")
    std: tuple[float, float, float] = Field(description="Of each channel: contrast.")
    brightness: tuple[float, float, float] = Field(
        description="Mean of an image: 5, 50 and 95 of 100 images have less."
    )
    brightest: float = Field(description="Mean of the brightest image.")
    high: float = Field(description="999 of 1000 values are at most this: the input range.")


@dataclass(frozen=True)
class Chosen:
    """Calibration images from train, and the same as the network sees them."""

    samples: tuple[Sample, ...]
    squares: tuple[NDArray[np.uint8], ...]


def choose(
    train: Sequence[Sample],
    count: int,
    geometry: InputGeometry,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Chosen:
    """Choose images that are spread by brightness and classes.

    Sorted by brightness, the images are cut into `count` parts; each part gives the one whose
    classes (or whose lack of any) were chosen least often so far. A smaller split gives all it has.
    `geometry` is the network's input.
    """
    seen = min(len(train), _LOOKED_AT * count)
    looked_at = np.linspace(0, len(train) - 1, seen).round().astype(int).tolist()
    brightness: list[float] = []
    for index in looked_at:
        picture = place_frame(load_image(train[index].image), geometry).picture
        brightness.append(float(picture.mean()))
        if on_progress:
            on_progress(len(brightness), seen)
    order = np.argsort(brightness, kind="stable")
    times: dict[int, int] = {}
    chosen: list[Sample] = []
    for part in np.array_split(order, min(count, seen)):
        best = max((train[looked_at[i]] for i in part.tolist()), key=lambda s: _rarity(s, times))
        chosen.append(best)
        for kind in _kinds(best):
            times[kind] = times.get(kind, 0) + 1
    pictures = tuple(place_frame(load_image(s.image), geometry).picture for s in chosen)
    return Chosen(tuple(chosen), pictures)


def _kinds(sample: Sample) -> set[int]:
    """Return the classes in an image; -1 stands for none."""
    return set(sample.classes.tolist()) or {-1}


def _rarity(sample: Sample, times: dict[int, int]) -> float:
    return sum(1.0 / (1 + times.get(kind, 0)) for kind in _kinds(sample))


def refuse_evaluated(chosen: Sequence[Sample], evaluation: Sequence[Sample]) -> None:
    """Refuse calibration images that are also evaluated, compared by content.

    Raises:
        CalibrationUnfit: An image is in both.
    """
    held_out = {sha256(sample.image.read_bytes()).digest(): sample for sample in evaluation}
    for sample in chosen:
        twin = held_out.get(sha256(sample.image.read_bytes()).digest())
        if twin is not None:
            raise CalibrationUnfit(
                f"The calibration image {sample.image} is also in the evaluation set, as "
                f"{twin.image}: figures measured on it would mean nothing.",
                remedy="Take it out of one of the splits; `guardianflow dataset check` lists "
                "images that are in two.",
                image=str(sample.image),
            )


def statistics(squares: Squares) -> Statistics:
    """Describe images as the network sees them."""
    pixels = [square.reshape(-1, 3).astype(np.float64) for square in squares]
    means = np.array([one.mean(0) for one in pixels])
    squared = np.array([(one**2).mean(0) for one in pixels])
    counts = np.zeros(256)
    for square in squares:
        counts += np.bincount(square.ravel(), minlength=256)
    mean = means.mean(0)
    std = np.sqrt(np.maximum(squared.mean(0) - mean**2, 0.0))
    of_image = means.mean(1)
    low, middle, high = np.quantile(of_image, (0.05, 0.5, 0.95)).tolist()
    return Statistics(
        images=len(squares),
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        brightness=(low, middle, high),
        brightest=float(of_image.max()),
        high=float(np.searchsorted(counts.cumsum(), 0.999 * counts.sum())),
    )


def refuse_unlike(calibration: Squares, evaluation: Squares) -> tuple[Statistics, Statistics]:
    """Refuse calibration images that are unlike those of the evaluation; else describe both.

    Images darker than the calibration's are within its ranges and lose little; brighter ones, or
    those with another range or contrast, are clipped.

    Raises:
        CalibrationUnfit: The ranges would not fit the evaluation images.
    """
    ours, theirs = statistics(calibration), statistics(evaluation)
    brightness = np.array([square.mean() for square in evaluation])
    beyond = float((brightness > ours.brightest + _MARGIN).mean())
    checks = {
        "input range (highest value)": (ours.high, theirs.high),
        **{
            f"contrast (standard deviation, {name})": (ours.std[i], theirs.std[i])
            for i, name in enumerate(("red", "green", "blue"))
        },
    }
    for what, (mine, other) in checks.items():
        if not _MIN_RATIO * other <= mine <= _MAX_RATIO * max(other, 1.0):
            raise _unlike(f"{what}: {mine:.1f} against {other:.1f}", ours, theirs)
    if beyond > _MAX_BEYOND:
        raise _unlike(
            f"brightness: {beyond:.0%} of the evaluation images are brighter than the brightest "
            f"for calibration ({ours.brightest:.0f} of 255) by more than {_MARGIN:.0f}",
            ours,
            theirs,
        )
    return ours, theirs


def _unlike(what: str, ours: Statistics, theirs: Statistics) -> CalibrationUnfit:
    return CalibrationUnfit(
        f"The calibration images are unlike the evaluation images, {what}. Ranges set by them "
        "would cost accuracy without any error.",
        remedy="Check whether pixels are scaled twice, and whether train has images in the light "
        "of the evaluation set. Nothing was quantized.",
        calibration=ours.model_dump(),
        evaluation=theirs.model_dump(),
    )
