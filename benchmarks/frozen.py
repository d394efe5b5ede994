"""How often a live camera is called frozen, and a frozen one is not: by light, noise and codec.

    python -m benchmarks.frozen        five minutes; photographs with GUARDIANFLOW_REAL_DATA

Each window has eight frames of one scene in which nothing moves, under a clock that ticks: the
hardest for the rule. A live camera adds the noise of its sensor before the picture is compressed, a
frozen one does not. H.264 is measured where `ffmpeg` is found.
"""

import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from guardianflow.scenario import Light
from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.metrics.camera import FaultKind, check_camera
from guardianflow.vision.synthetic import draw_window

Frame = NDArray[np.uint8]
Codec = Callable[[list[Frame]], list[Frame]]

FRAMES = 8
SCENES = 6
NOISE = (0.5, 1.0, 2.0, 4.0)
_EVERY = 10
"""A window takes every so manieth frame of a film: one in two seconds."""


def clocked(frame: Frame, second: int) -> Frame:
    """The frame with a clock in its corner, as recorders burn it in."""
    picture = Image.fromarray(frame)
    size = max(12, picture.width // 20)
    text = f"2026-11-29 08:{second // 60:02d}:{second % 60:02d}"
    ImageDraw.Draw(picture).text(
        (5, 4),
        text,
        fill="white",
        font=ImageFont.load_default(size),
        stroke_width=1,
        stroke_fill="black",
    )
    return np.asarray(picture)


def window(
    frame: Frame, codec: Codec, noise: float, random: np.random.Generator, count: int = FRAMES
) -> list[Frame]:
    """Frames of a scene in which nothing moves but the clock; without noise it is frozen."""
    taken = [
        np.clip(frame + random.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
        if noise
        else frame
        for _ in range(count)
    ]
    return codec([clocked(one, second) for second, one in enumerate(taken)])


def still_codec(kind: str, *qualities: int) -> Codec:
    """Each picture compressed by itself, at these qualities in turn."""

    def compress(frames: list[Frame]) -> list[Frame]:
        found: list[Frame] = []
        for position, frame in enumerate(frames):
            file = io.BytesIO()
            quality = qualities[position % len(qualities)]
            Image.fromarray(frame).save(file, kind, quality=quality)
            found.append(np.asarray(Image.open(file).convert("RGB")))
        return found

    return compress


def at_random(kind: str, low: int, high: int) -> Codec:
    """Each picture compressed by itself, at a quality that is drawn anew for each."""
    random = np.random.default_rng(11)

    def compress(frames: list[Frame]) -> list[Frame]:
        qualities = random.integers(low, high + 1, len(frames)).tolist()
        return still_codec(kind, *qualities)(frames)

    return compress


def film(*settings: str) -> Codec:
    """H.264 at five frames a second, of which every tenth is taken."""

    def compress(frames: list[Frame]) -> list[Frame]:
        height, width = (side - side % 2 for side in frames[0].shape[:2])
        shape = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "5"]
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", *settings]
        call = ["ffmpeg", "-loglevel", "error"]
        raw = b"".join(np.ascontiguousarray(f[:height, :width]).tobytes() for f in frames)
        done = subprocess.run(
            [*call, *shape, "-i", "-", *coded, "-f", "matroska", "-"],
            input=raw,
            capture_output=True,
            check=True,
        ).stdout
        back = subprocess.run(
            [*call, "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
            input=done,
            capture_output=True,
            check=True,
        ).stdout
        return list(np.frombuffer(back, np.uint8).reshape(-1, height, width, 3)[::_EVERY])

    return compress


def codecs() -> Iterator[tuple[str, Codec, int]]:
    """What pictures are compressed with: its name, how, and how many frames that takes."""
    yield "not compressed", list, FRAMES
    for quality in (95, 85, 75, 60, 30):
        yield f"JPEG {quality}", still_codec("JPEG", quality), FRAMES
    yield "JPEG 75 to 90 in turn", still_codec("JPEG", 75, 80, 85, 90), FRAMES
    yield "JPEG 80 to 89 at random", at_random("JPEG", 80, 89), FRAMES
    yield "JPEG 80 to 89 at random, 32 frames", at_random("JPEG", 80, 89), 4 * FRAMES
    yield "JPEG 70 to 95 at random", at_random("JPEG", 70, 95), FRAMES
    yield "JPEG 70 to 95 at random, 32 frames", at_random("JPEG", 70, 95), 4 * FRAMES
    yield "WebP 60 to 90 at random", at_random("WEBP", 60, 90), FRAMES
    yield "WebP 75", still_codec("WEBP", 75), FRAMES
    if shutil.which("ffmpeg"):
        for said, settings in (
            ("quality 23, key frame each 10 s", ("-crf", "23", "-g", "50")),
            ("quality 30, key frame each 2 s", ("-crf", "30", "-g", "10")),
        ):
            yield f"H.264 {said}", film(*settings), FRAMES * _EVERY


def scenes() -> Iterator[tuple[str, list[Frame]]]:
    """Drawn scenes by day and at night, and photographs where there are any."""
    for light in Light:
        with tempfile.TemporaryDirectory() as folder:
            draw_window(
                Path(folder), ["person"], light=light, images=SCENES, seed=3, image_size=256
            )
            files = sorted(Path(folder, "images", "test").iterdir())
            yield light.value, [load_image(file) for file in files]
    if folder := os.environ.get("GUARDIANFLOW_REAL_DATA"):
        files = sorted(Path(folder, "ppe-real-small", "images", "test").iterdir())
        yield "photographs", [load_image(file) for file in files[:SCENES]]


def walk(frames: list[Frame], codec: Codec, count: int) -> list[Frame]:
    """A live window without any noise: somebody crosses the scene, and is out of it otherwise."""
    scene, other = frames[0], frames[1]
    height, width = (min(one.shape[side] for one in (scene, other)) for side in (0, 1))
    tall, wide = height // 3, width // 10
    taken: list[Frame] = []
    for step in range(count):
        frame = scene[:height, :width].copy()
        left = int(width * (2.0 * step / count - 0.5))
        if 0 <= left <= width - wide:
            who = other[height // 3 : height // 3 + tall, width // 3 : width // 3 + wide]
            frame[height // 2 : height // 2 + tall, left : left + wide] = who
        taken.append(clocked(frame, step))
    return codec(taken)


def called_frozen(frames: list[Frame]) -> bool:
    """Whether a window is said to be of a frozen camera."""
    return FaultKind.FROZEN in {fault.kind for fault in check_camera(frames).faults}


def main() -> None:
    """Print how many windows of each kind are called frozen."""
    found = dict(scenes())
    heads = ("frozen", *(f"live, noise {noise:g}" for noise in NOISE), "live, somebody walks")
    print(f"windows of {FRAMES} frames called frozen, of {SCENES}")
    print(f"| scenes | codec | {' | '.join(heads)} |")
    print("|---|---|" + "---|" * len(heads))
    for light, frames in found.items():
        for said, codec, count in codecs():
            random = np.random.default_rng(7)
            row = [
                sum(called_frozen(window(f, codec, noise, random, count)) for f in frames)
                for noise in (0.0, *NOISE)
            ]
            pairs = zip(frames, [*frames[1:], frames[0]], strict=True)
            row.append(sum(called_frozen(walk(list(pair), codec, count)) for pair in pairs))
            print(f"| {light} | {said} | {' | '.join(map(str, row))} |", flush=True)
        print(f"| {light} | one after the other | {int(called_frozen(frames))} of 1 | | | | | |")


if __name__ == "__main__":
    main()
