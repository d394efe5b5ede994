"""Keeps what was found in files, so that a second look decodes nothing; one file per data set.

    path --stat--> same device, inode, size, mtime, ctime as then?  yes: same content as then
                                                                     no: read, sha256
    sha256, suffix --> the facts of that content, wherever it lies in the data set

A file that was written within two seconds of being read is not trusted by its stat: it could have
been written again without a trace. Facts of other code or of another Pillow do not count. The
file is written whole or not at all, carries its own sha256, and a damaged one is ignored.
"""

import contextlib
import hashlib
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import PIL

from guardianflow.errors import DiskFull, InputError
from guardianflow.machine.disk import write_whole
from guardianflow.machine.servers import home, private_home
from guardianflow.vision.data.decoding import ImageOddity
from guardianflow.vision.data.examination import FileStamp, ImageFacts, LabelFacts
from guardianflow.vision.data.findings import DataFinding
from guardianflow.vision.data.rules import FaultCode

_SETTLED_NS = 2 * 10**9


class Cache:
    """What is known of the files of one data set.

    Args:
        root: The folder of the data set.
        class_count: How many classes it has: what a label file says depends on it.
    """

    def __init__(self, root: Path, class_count: int) -> None:
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:24]
        self._file = home() / "cache" / "checks" / f"{name}.json"
        self._class_count = class_count
        known = _read(self._file)
        # JSON of our own making, protected by its digest: its parts are taken as they were written.
        self._images: dict[str, Any] = known.get("images", {})
        self._facts: dict[str, Any] = known.get("facts", {})
        self._labels: dict[str, Any] = known.get("labels", {})
        self._kept: dict[str, dict[str, Any]] = {"images": {}, "facts": {}, "labels": {}}
        self._changed = False

    def image(self, path: str) -> ImageFacts | None:
        """The facts of an image, where the file is the same as when they were found."""
        entry = self._images.get(path)
        if entry is None or not _same(path, entry[0]):
            return None
        key = _content_key(path, entry[1])
        packed = self._facts[key]
        self._kept["images"][path] = entry
        self._kept["facts"][key] = packed
        return _unpack_image(entry[1], packed)

    def image_by_content(self, path: str, sha256: str) -> ImageFacts | None:
        """The facts of a content, wherever in the data set it was."""
        packed = self._facts.get(_content_key(path, sha256))
        return _unpack_image(sha256, packed) if packed is not None else None

    def keep_image(self, path: str, stamp: FileStamp, facts: ImageFacts) -> None:
        """Keep what was found in an image; the stamp was taken before it was read."""
        self._changed = True
        self._kept["images"][path] = [stamp, facts.sha256]
        self._kept["facts"][_content_key(path, facts.sha256)] = _pack_image(facts)

    def labels(self, path: str) -> LabelFacts | None:
        """The facts of a label file, where it is the same as when they were found."""
        entry = self._labels.get(path)
        if entry is None or entry[1] != self._class_count or not _same(path, entry[0]):
            return None
        self._kept["labels"][path] = entry
        _, _, sha256, objects, rows, findings = entry
        return LabelFacts(
            sha256,
            objects,
            tuple(map(tuple, rows)),
            tuple(DataFinding.model_validate(finding) for finding in findings),
        )

    def keep_labels(self, path: str, stamp: FileStamp, facts: LabelFacts) -> None:
        """Keep what was found in a label file; the stamp was taken before it was read."""
        self._changed = True
        findings = [finding.model_dump(mode="json") for finding in facts.findings]
        entry = [stamp, self._class_count, facts.sha256, facts.objects, facts.rows, findings]
        self._kept["labels"][path] = entry

    def save(self) -> None:
        """Write what was seen in this check; a cache that cannot be written is no loss."""
        if not self._changed:
            return
        body = json.dumps(self._kept, separators=(",", ":"))
        with contextlib.suppress(OSError, UnicodeError, DiskFull, InputError):
            private_home("cache")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, f"{_seal(body)}\n{body}".encode(), mode=0o600)


def file_stamp(path: str) -> FileStamp | None:
    """What identifies a file and its state, or None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        time.time_ns(),
    )


def _content_key(path: str, sha256: str) -> str:
    """What facts are kept by: whether an image is rightly named depends on its suffix, too."""
    return sha256 + os.path.splitext(path)[1].lower()


def _same(path: str, then: FileStamp) -> bool:
    now = file_stamp(path)
    if now is None or now[:5] != tuple(then[:5]):
        return False
    return max(then[3], then[4]) + _SETTLED_NS < then[5]


def _read(file: Path) -> dict[str, Any]:
    try:
        if home().exists():
            # What somebody else may have written there is no knowledge of ours.
            private_home()
        seal, _, body = file.read_text(encoding="utf-8").partition("\n")
        return json.loads(body) if seal == _seal(body) else {}
    except (OSError, ValueError, InputError):
        return {}


def _seal(body: str) -> str:
    return f"{_code_digest()} {hashlib.sha256(body.encode()).hexdigest()}"


@cache
def _code_digest() -> str:
    """sha256 over the code that finds the facts, and over the version of the decoder."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _pack_image(facts: ImageFacts) -> list[object]:
    oddities = [[o.code, o.what, o.remedy, o.value] for o in facts.oddities]
    return [facts.size, facts.picture_hash, facts.grey, oddities, facts.fault]


def _unpack_image(sha256: str, packed: list[Any]) -> ImageFacts:
    (width, height), picture_hash, grey, oddities, fault = packed
    return ImageFacts(
        sha256,
        (width, height),
        picture_hash,
        grey,
        tuple(ImageOddity(FaultCode(code), *words) for code, *words in oddities),
        (FaultCode(fault[0]), *fault[1:]) if fault else None,
    )
