"""The one decoder: reads a file of a data set without harm, and turns it into an upright image.

    path --read_content--> bytes --decode--> RGB, upright, and what is odd about it

Nothing waits for a pipe, nothing is decoded that says it is enormous, only the formats that data
sets are made of are tried, and half an image is no image.
"""

import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from guardianflow.vision.data.findings import Fault, refusal, shortened
from guardianflow.vision.data.rules import FaultCode

MAX_PIXELS = 89_478_485
"""Pillow's own limit for what it takes for a decompression bomb: a quarter of a GiB of RGB."""
_HUGE_PIXELS = 24_000_000
_TINY_SIDE = 16
_MAX_FILE_BYTES = 256 * 2**20
_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    # Only ever under another name: no suffix of it is taken for an image.
    "GIF": (),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
"""How the names of images end that are read."""
UNSUPPORTED_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".dng", ".mpo", ".pfm", ".ppm", ".tga"}
)
"""How the names of images end that are not read."""
# Pillow opens an MPO (several JPEGs in one file, as phones write them) as a JPEG.
_READ = tuple(kind for kind in _FORMATS if kind != "MPO")
_EXIF_ORIENTATION = 0x0112
_TURNED = range(2, 9)
_LFS_HEAD = b"version https://git-lfs.github.com/spec/"
# What a decoder raises on bytes that are no image; the less usual ones were found by fuzzing.
_UNDECODABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
_DAMAGED = "Copy the image again, or remove it with its label file."

# Set for the process: `catch_warnings` around each image would not be safe in threads. What Pillow
# warns about (odd EXIF, transparency in palettes, many pixels) is judged here instead.
warnings.filterwarnings("ignore", module=r"PIL\..*")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class ImageOddity:
    """Something about an image that does not keep it out."""

    code: FaultCode
    what: str
    remedy: str
    value: str


def load_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image, upright as its EXIF tag says.

    Returns:
        RGB, shape (height, width, 3), uint8.

    Raises:
        DatasetInvalid: The file is missing, truncated, no image, or has 16 bits per channel.
    """
    try:
        return np.asarray(decode_image(path, read_content(path))[0])
    except Fault as fault:
        raise refusal([fault.at(path)]) from fault


def read_content(path: Path | str, max_bytes: int = _MAX_FILE_BYTES) -> bytes:
    """Read a file; a pipe, a socket or a device is never waited for.

    Raises:
        Fault: It cannot be read, is no file, too large, or a pointer of Git LFS.
    """
    try:
        _check_regular(os.stat(path).st_mode)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb", buffering=0) as file:
            # Between the two looks somebody may have put something else there.
            _check_regular(os.fstat(handle).st_mode)
            size = os.fstat(handle).st_size
            content = b"" if size > max_bytes else file.read(max_bytes + 1) or b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Fault(
            FaultCode.FILE_UNREADABLE,
            f"cannot be read ({reason})",
            "Bring the file there, or its rights.",
        ) from error
    if max(size, len(content)) > max_bytes:
        raise Fault(
            FaultCode.FILE_HUGE,
            f"has {max(size, len(content)) / 2**20:.0f} MiB, more than the {max_bytes / 2**20:.0f} "
            "that such a file may have",
            "Remove it, or make it smaller.",
            value=size,
        )
    if content.startswith(_LFS_HEAD):
        raise Fault(
            FaultCode.FILE_POINTER,
            "a Git LFS pointer instead of the content",
            "Run `git lfs pull` in the repository of the data set.",
        )
    return content


def decode_image(path: Path | str, content: bytes) -> tuple[Image.Image, tuple[ImageOddity, ...]]:
    """Decode the content of an image file completely.

    Returns:
        The image, RGB and upright, and what is odd about it.

    Raises:
        Fault: It is no image, not a whole one, too large, or has more than 8 bits.
    """
    if not content:
        raise Fault(FaultCode.IMAGE_EMPTY, "cannot be decoded: it is empty (0 bytes)", _DAMAGED)
    # A library in the same process may have asked Pillow to fill up what is missing with grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(io.BytesIO(content), formats=_READ) as image:
            _refuse_by_header(image)
            kind = image.format
            oddities = tuple(_oddities(os.fspath(path), image))
            image.load()
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
            upright = ImageOps.exif_transpose(image) if orientation in _TURNED else image
            rgb = upright.convert("RGB")
    except Image.DecompressionBombError as error:
        raise _bomb(str(error)) from error
    except Image.UnidentifiedImageError as error:
        raise _not_an_image(content) from error
    except _UNDECODABLE as error:
        raise _undecodable(error) from error
    if kind in ("JPEG", "MPO") and _ends_grey(rgb):
        raise Fault(
            FaultCode.IMAGE_TRUNCATED,
            "cannot be decoded: image file is truncated (what is missing decodes to plain grey)",
            _DAMAGED,
        )
    return rgb, (*oddities, *_turned(orientation))


def image_size(path: Path | str) -> tuple[int, int]:
    """Width and height of the upright image, by what its header says.

    Raises:
        Fault: It cannot be read, or is no image.
    """
    content = read_content(path)
    try:
        with Image.open(io.BytesIO(content), formats=_READ) as image:
            width, height = image.size
            # From 5 on the tag turns it by a quarter.
            return (height, width) if image.getexif().get(_EXIF_ORIENTATION, 1) > 4 else image.size
    except Image.UnidentifiedImageError as error:
        raise _not_an_image(content) from error
    except _UNDECODABLE as error:
        raise _undecodable(error) from error


def _check_regular(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    kind = kinds.get(stat.S_IFMT(mode), "device")
    raise Fault(FaultCode.FILE_IRREGULAR, f"is a {kind}, no file", "Remove it.", value=kind)


def _refuse_by_header(image: Image.Image) -> None:
    """Refuse what must not be decoded, by what the file says of itself.

    Raises:
        Fault: It says it has too many pixels, or more than 8 bits.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _bomb(f"{width} x {height} pixels are more than {MAX_PIXELS}")
    if image.mode.startswith(("I", "F")):
        raise Fault(
            FaultCode.IMAGE_DEEP,
            f"has more than 8 bits per channel (mode {image.mode})",
            "Convert it to an 8-bit image.",
            value=image.mode,
        )


def _oddities(path: str, image: Image.Image) -> Iterator[ImageOddity]:
    kind, (width, height) = image.format or "", image.size
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _FORMATS.get(kind, ()):
        yield ImageOddity(
            FaultCode.IMAGE_MISNAMED,
            f"is {kind} by its content",
            "Rename it: other programs go by the suffix.",
            kind,
        )
    # Pillow keeps the upper 8 bits of three times 16.
    deep = ";16" in str(getattr(image, "tile", ()))
    if image.mode != "RGB" or deep or "transparency" in image.info:
        mode = f"{image.mode}, 16 bits" if deep else image.mode
        yield ImageOddity(
            FaultCode.IMAGE_MODE,
            f"is no plain 8-bit RGB (mode {mode})",
            "Nothing to do if it looks right in the report.",
            mode,
        )
    if kind != "MPO" and getattr(image, "is_animated", False):
        frames = str(getattr(image, "n_frames", "several"))
        yield ImageOddity(
            FaultCode.IMAGE_ANIMATED,
            f"holds {frames} frames",
            "Write the frames as images of their own if all are wanted.",
            frames,
        )
    size = f"{width} x {height}"
    if width * height > _HUGE_PIXELS:
        yield ImageOddity(
            FaultCode.IMAGE_HUGE,
            f"has {size} pixels",
            "Make it smaller: training scales it down again in every epoch.",
            size,
        )
    if min(width, height) < _TINY_SIDE:
        yield ImageOddity(
            FaultCode.IMAGE_TINY, f"has {size} pixels", "Remove it unless it is wanted.", size
        )


def _turned(orientation: int) -> Iterator[ImageOddity]:
    if orientation in _TURNED:
        yield ImageOddity(
            FaultCode.IMAGE_ROTATED,
            f"is turned by its EXIF tag (orientation {orientation})",
            "Make sure that it was labelled upright; boxes drawn on the lying image are wrong.",
            str(orientation),
        )


def _ends_grey(image: Image.Image) -> bool:
    """Whether a JPEG ends in the grey (128) that libjpeg puts where data is missing, in silence."""
    width, height = image.size
    block = 8
    if height < 2 * block:
        return False
    last = np.asarray(image.crop((0, height - block, width, height)))
    if (last != 128).any():
        return False
    first = np.asarray(image.crop((0, 0, width, block)))
    return bool((first != 128).any())


def _bomb(why: str) -> Fault:
    return Fault(FaultCode.IMAGE_BOMB, f"is too large: {why}", "Make the image smaller.", value=why)


def _not_an_image(content: bytes) -> Fault:
    head = content[:16]
    return Fault(
        FaultCode.IMAGE_BROKEN,
        f"cannot be decoded: it is no {', '.join(_READ)}",
        _DAMAGED,
        value=shortened(head.decode("latin-1")),
    )


def _undecodable(error: Exception) -> Fault:
    reason = shortened(str(error).split(" <_io", maxsplit=1)[0]) or type(error).__name__
    cut = any(word in reason for word in ("truncated", "unexpected end", "Truncated"))
    code = (
        FaultCode.IMAGE_TRUNCATED if cut or isinstance(error, EOFError) else FaultCode.IMAGE_BROKEN
    )
    return Fault(code, f"cannot be decoded: {reason}", _DAMAGED)
