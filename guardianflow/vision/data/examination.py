"""Examines one image and one label file; the resulting facts can be cached.

ImageFacts    sha256, size, perceptual hash, what is unusual, or why it cannot be used
LabelFacts    rows as fractions of the image, findings
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from guardianflow.vision.data.decoding import ImageProblem, decode_image
from guardianflow.vision.data.findings import DataFinding, Fault, shortened
from guardianflow.vision.data.labels import Row, parse_labels

HASH_BITS = 256
_HASH_SIDE = 16
# Least shorter side of the reduced picture, in pixels: twice what the hash is computed from.
_SMALL = 128
# Channels of a grey picture differ by at most so much after JPEG compression.
_GREY_SPREAD = 4
# With less contrast, the hash would consist of noise.
_MIN_DEVIATION = 2.0


@dataclass(frozen=True)
class ImageFacts:
    """Facts about the content of an image file.

    Attributes:
        sha256: sha256 of the content.
        problems: What is unusual about the image, or why it cannot be used.
        size: Width and height of the upright image in pixels; (0, 0) if it cannot be used.
        picture_hash: Perceptual hash as hex; '' if the image is of one colour.
        grey: Whether it has no colour.
    """

    sha256: str
    problems: tuple[ImageProblem, ...]
    size: tuple[int, int] = (0, 0)
    picture_hash: str = ""
    grey: bool = False

    @property
    def usable(self) -> bool:
        """Whether the image could be decoded."""
        return self.size != (0, 0)


@dataclass(frozen=True)
class LabelFacts:
    """Facts about the content of a label file.

    Attributes:
        sha256: sha256 of the content.
        objects: sha256 of the rows.
        rows: Class, x1, y1, x2, y2; fractions of the image.
        findings: What is wrong, or was repaired in the rows.
    """

    sha256: str
    objects: str
    rows: tuple[Row, ...]
    findings: tuple[DataFinding, ...]


FileStamp = tuple[int, int, int, int, int, int]
"""Device, inode, size, mtime, ctime, and when the stamp was taken; times in nanoseconds."""


@dataclass(frozen=True, eq=False)
class ExaminedImage:
    """One image and its label file after their examination.

    Attributes:
        image: The image file.
        label: Its label file, whether or not it exists.
        facts: Facts about the image; None if it cannot be read.
        labels: Facts about the labels; None if they cannot be read.
        faults: Why one of the files cannot be read.
        stamps: Stamps of both files, taken before they were read; None if the facts were cached.
    """

    image: str
    label: str
    facts: ImageFacts | None
    labels: LabelFacts | None
    faults: tuple[DataFinding, ...] = ()
    stamps: tuple[FileStamp | None, FileStamp | None] = (None, None)


def examine_image(path: str, digest: str, content: bytes) -> ImageFacts:
    """Decode an image and return the facts about it; `digest` is the sha256 of its content."""
    try:
        image, oddities = decode_image(path, content)
    except Fault as fault:
        value = "" if fault.value is None else shortened(fault.value)
        return ImageFacts(digest, (ImageProblem(fault.code, fault.what, fault.remedy, value),))
    small = _reduced(image)
    return ImageFacts(digest, oddities, image.size, hash_picture(small), _is_grey(small))


def examine_labels(path: str, content: bytes, class_count: int) -> LabelFacts:
    """Parse a label file and return the facts about it.

    Raises:
        Fault: The content is not text.
    """
    rows, findings = parse_labels(path, content, class_count)
    return LabelFacts(hashlib.sha256(content).hexdigest(), objects_digest(rows), rows, findings)


def hash_picture(image: Image.Image) -> str:
    """Return the perceptual hash (pHash, 256 bits) of an image as hex; '' if it has one colour."""
    from imagehash import phash

    grey = _reduced(image).convert("L")
    if float(np.asarray(grey).std()) < _MIN_DEVIATION:
        return ""
    return str(phash(grey, hash_size=_HASH_SIDE))


def _reduced(image: Image.Image) -> Image.Image:
    """The image at a small size; a small image is returned as it is."""
    factor = min(image.size) // _SMALL
    return image.reduce(factor) if factor > 1 else image


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return int((pixels.max(axis=2) - pixels.min(axis=2)).max()) <= _GREY_SPREAD


def objects_digest(rows: Sequence[Row]) -> str:
    """Return the sha256 of the objects, independent of the order of the rows."""
    listed = sorted((c, np.array(box).round(6).tolist()) for c, *box in rows)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
