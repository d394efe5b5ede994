"""The only image decoder: reads untrusted files safely and returns upright RGB images.

    path --read_content--> bytes --decode_image--> RGB, upright, and its oddities

It never waits for a pipe, refuses images with too many pixels before decoding, tries only the
formats that data sets use, and refuses truncated images.
"""

import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from guardianflow.vision.data.findings import Fault, refusal, shortened
from guardianflow.vision.data.rules import FaultCode

MAX_PIXELS = 89_478_485
"""Pillow's limit for decompression bombs: a quarter of a GiB of RGB."""
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
    # Read only if the suffix is that of another format.
    "GIF": (),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
"""Suffixes of the images that are read."""
UNSUPPORTED_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".dng", ".mpo", ".pfm", ".ppm", ".tga"}
)
"""Suffixes of images in unsupported formats."""
# Pillow opens an MPO (several JPEGs in one file, as phones write them) as a JPEG.
_READ = tuple(kind for kind in _FORMATS if kind != "MPO")
_EXIF_ORIENTATION = 0x0112
_TURNED = range(2, 9)
_LFS_HEAD = b"version https://git-lfs.github.com/spec/"
# What Pillow raises for bytes that are not an image; fuzzing found the less usual ones.
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

# Set for the whole process, because `catch_warnings` is not safe in threads. This module checks
# what Pillow warns about (odd EXIF, transparency in palettes, many pixels).
warnings.filterwarnings("ignore", module=r"PIL\..*")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageProblem(NamedTuple):
    """A problem of an image, with the fields of its `DataFinding`."""

    code: FaultCode
    what: str
    remedy: str
    value: str


def load_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image, rotated upright by its EXIF tag.

    Returns:
        RGB, shape (height, width, 3), uint8.

    Raises:
        DatasetInvalid: The file is missing, truncated, not an image, or has 16 bits per channel.
    """
    try:
        return np.asarray(decode_image(path, read_content(path))[0])
    except Fault as fault:
        raise refusal([fault.at(path)]) from fault


def read_content(path: Path | str, max_bytes: int = _MAX_FILE_BYTES) -> bytes:
    """Read a regular file; never wait for a pipe, a socket or a device.

    Raises:
        Fault: The file cannot be read, is not regular, is too large, or is a Git LFS pointer.
    """
    try:
        _check_regular(os.stat(path).st_mode)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb", buffering=0) as file:
            # The file may have been replaced between the two checks.
            _check_regular(os.fstat(handle).st_mode)
            size = os.fstat(handle).st_size
            content = b"" if size > max_bytes else file.read(max_bytes + 1) or b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Fault(
            FaultCode.FILE_UNREADABLE,
            f"cannot be read ({reason})",
            "Copy the file there, or make it readable.",
        ) from error
    if max(size, len(content)) > max_bytes:
        raise Fault(
            FaultCode.FILE_HUGE,
            f"has {max(size, len(content)) / 2**20:.0f} MiB, more than the limit of "
            f"{max_bytes / 2**20:.0f} MiB",
            "Remove it, or make it smaller.",
            value=size,
        )
    if content.startswith(_LFS_HEAD):
        raise Fault(
            FaultCode.FILE_POINTER,
            "is a Git LFS pointer instead of the content",
            "Run `git lfs pull` in the repository of the data set.",
        )
    return content


def decode_image(path: Path | str, content: bytes) -> tuple[Image.Image, tuple[ImageProblem, ...]]:
    """Decode the content of an image file completely.

    Returns:
        The upright RGB image, and what is unusual about it.

    Raises:
        Fault: The content is not an image, is truncated, is too large, or has more than 8 bits per
            channel.
    """
    if not content:
        raise Fault(FaultCode.IMAGE_EMPTY, "cannot be decoded: it is empty (0 bytes)", _DAMAGED)
    # Another library of this process may have told Pillow to fill missing data with grey.
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
    """Return width and height of the upright image in pixels, from its header.

    Raises:
        Fault: The file cannot be read, or is not an image.
    """
    content = read_content(path)
    try:
        with Image.open(io.BytesIO(content), formats=_READ) as image:
            width, height = image.size
            # From 5 on, the tag rotates the image by 90 degrees.
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
    raise Fault(FaultCode.FILE_IRREGULAR, f"is a {kind}, not a file", "Remove it.", value=kind)


def _refuse_by_header(image: Image.Image) -> None:
    """Check the header of an image before it is decoded.

    Raises:
        Fault: It has too many pixels, or more than 8 bits per channel.
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


def _oddities(path: str, image: Image.Image) -> Iterator[ImageProblem]:
    kind, (width, height) = image.format or "", image.size
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _FORMATS.get(kind, ()):
        yield ImageProblem(
            FaultCode.IMAGE_MISNAMED,
            f"has {kind} content",
            "Rename it: other programs rely on the suffix.",
            kind,
        )
    # Of three channels of 16 bits, Pillow keeps the upper 8 bits.
    deep = ";16" in str(getattr(image, "tile", ()))
    if image.mode != "RGB" or deep or "transparency" in image.info:
        mode = f"{image.mode}, 16 bits" if deep else image.mode
        yield ImageProblem(
            FaultCode.IMAGE_MODE,
            f"is not plain 8-bit RGB (mode {mode})",
            "Nothing to do if it looks right in the report.",
            mode,
        )
    if kind != "MPO" and getattr(image, "is_animated", False):
        frames = str(getattr(image, "n_frames", "several"))
        yield ImageProblem(
            FaultCode.IMAGE_ANIMATED,
            f"contains {frames} frames",
            "If you need all frames, save them as separate images.",
            frames,
        )
    size = f"{width} x {height}"
    if width * height > _HUGE_PIXELS:
        yield ImageProblem(
            FaultCode.IMAGE_HUGE,
            f"has {size} pixels",
            "Scale it down: otherwise training does so in every epoch.",
            size,
        )
    if min(width, height) < _TINY_SIDE:
        yield ImageProblem(
            FaultCode.IMAGE_TINY, f"has {size} pixels", "Remove it unless you want it.", size
        )


def _turned(orientation: int) -> Iterator[ImageProblem]:
    if orientation in _TURNED:
        yield ImageProblem(
            FaultCode.IMAGE_ROTATED,
            f"is rotated by its EXIF tag (orientation {orientation})",
            "Make sure that it was labelled upright; boxes drawn before the rotation are wrong.",
            str(orientation),
        )


def _ends_grey(image: Image.Image) -> bool:
    """Whether a JPEG ends in the grey (128) that libjpeg silently fills missing data with."""
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
        f"cannot be decoded: it is not {', '.join(_READ[:-1])} or {_READ[-1]}",
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
