"""What is known of one image and of one label file after they were read once; can be kept.

ImageFacts    sha256, size, what it looks like, what is odd about it, or why it is none
LabelFacts    rows as fractions of the image, what is wrong with them
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from guardianflow.vision.data.decoding import ImageOddity, decode_image
from guardianflow.vision.data.findings import DataFinding, Fault, shortened
from guardianflow.vision.data.labels import Row, parse_labels
from guardianflow.vision.data.rules import FaultCode

HASH_BITS = 256
_HASH_SIDE = 16
# The shorter side of the small picture that is looked at: twice what the hash is made of.
_SMALL = 128
# JPEG turns grey into colours that differ by that much at most.
_GREY_SPREAD = 4
# Less contrast than that, and a hash is made of noise.
_MIN_DEVIATION = 2.0


@dataclass(frozen=True)
class ImageFacts:
    """What the content of an image file says.

    Attributes:
        sha256: Of the content.
        size: Width and height of the upright image in pixels; (0, 0) where there is none.
        picture_hash: Perceptual hash of what it looks like, as hex; '' where it shows nothing.
        grey: Whether it has no colour at all.
        oddities: What is odd, but usable.
        fault: Why it cannot be used: code, what, remedy, value.
    """

    sha256: str
    size: tuple[int, int] = (0, 0)
    picture_hash: str = ""
    grey: bool = False
    oddities: tuple[ImageOddity, ...] = ()
    fault: tuple[FaultCode, str, str, str] | None = None


@dataclass(frozen=True)
class LabelFacts:
    """What the content of a label file says.

    Attributes:
        sha256: Of the content.
        objects: sha256 of what is read from it.
        rows: Class, x1, y1, x2, y2; fractions of the image.
        findings: What is wrong or was mended.
    """

    sha256: str
    objects: str
    rows: tuple[Row, ...]
    findings: tuple[DataFinding, ...]


FileStamp = tuple[int, int, int, int, int, int]
"""Device, inode, size, mtime, ctime; and when it was taken. Times in nanoseconds."""


@dataclass(frozen=True, eq=False)
class ExaminedImage:
    """One image with its label file, looked at.

    Attributes:
        image: The image file.
        label: The label file that belongs to it, whether or not it exists.
        facts: What the image says; None where it cannot be read.
        labels: What the labels say; None where they cannot be read.
        faults: What is wrong, as findings.
        stamps: When the two files were looked at; None where the facts were known.
    """

    image: str
    label: str
    facts: ImageFacts | None
    labels: LabelFacts | None
    faults: tuple[DataFinding, ...] = ()
    stamps: tuple[FileStamp | None, FileStamp | None] = (None, None)


def examine_image(path: str, digest: str, content: bytes) -> ImageFacts:
    """Decode the content of an image, whose sha256 is `digest`, and look at it once."""
    try:
        image, oddities = decode_image(path, content)
    except Fault as fault:
        value = "" if fault.value is None else shortened(fault.value)
        return ImageFacts(digest, fault=(fault.code, fault.what, fault.remedy, value))
    small = _reduced(image)
    return ImageFacts(digest, image.size, hash_picture(small), _is_grey(small), oddities)


def examine_labels(path: str, content: bytes, class_count: int) -> LabelFacts:
    """Read the content of a label file.

    Raises:
        Fault: It is no text.
    """
    labels = parse_labels(path, content, class_count)
    classes, boxes = labels.classes.tolist(), labels.boxes.tolist()
    rows = tuple((c, *box) for c, box in zip(classes, boxes, strict=True))
    return LabelFacts(
        hashlib.sha256(content).hexdigest(), objects_digest(rows), rows, labels.findings
    )


def hash_picture(image: Image.Image) -> str:
    """The perceptual hash (pHash, 256 bits) of an image, as hex; '' where it is all one colour."""
    from imagehash import phash

    grey = _reduced(image).convert("L")
    if float(np.asarray(grey).std()) < _MIN_DEVIATION:
        return ""
    return str(phash(grey, hash_size=_HASH_SIDE))


def _reduced(image: Image.Image) -> Image.Image:
    """The image at a small size; at the same again where it is small already."""
    factor = min(image.size) // _SMALL
    return image.reduce(factor) if factor > 1 else image


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return int((pixels.max(axis=2) - pixels.min(axis=2)).max()) <= _GREY_SPREAD


def objects_digest(rows: Sequence[Row]) -> str:
    """sha256 of the objects, whatever the order of the rows."""
    listed = sorted((c, np.array(box).round(6).tolist()) for c, *box in rows)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()
