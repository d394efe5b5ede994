"""Caches what a check found in each file, so that the next check decodes only what changed.

    path --stat--> same device, inode, size, mtime, ctime?  yes: the content is the same
                                                             no: read the file, take its sha256
    sha256, suffix --> the facts about that content, wherever it lies in the data set

There is one cache file per data set. The stat of a file that was written less than two seconds
before it was read is not trusted: the file could have changed again without a trace. Facts found
by other code or another version of Pillow are ignored. The cache is written atomically and carries
its own sha256; a damaged one is ignored.
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
from pydantic import TypeAdapter

from guardianflow.errors import DiskFull, InputError
from guardianflow.machine.disk import write_whole
from guardianflow.machine.servers import home, private_home
from guardianflow.vision.data.examination import FileStamp, ImageFacts, LabelFacts

_SETTLED_NS = 2 * 10**9
_IMAGE, _LABELS = TypeAdapter(ImageFacts), TypeAdapter(LabelFacts)


class Cache:
    """The known facts about the files of the data set in a folder.

    The findings in a label file depend on the number of classes.
    """

    def __init__(self, root: Path, class_count: int) -> None:
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:24]
        self._file = home() / "cache" / "checks" / f"{name}.json"
        self._class_count = class_count
        known = _read(self._file)
        self._images: dict[str, Any] = known.get("images", {})
        self._facts: dict[str, Any] = known.get("facts", {})
        self._labels: dict[str, Any] = known.get("labels", {})
        self._kept: dict[str, dict[str, Any]] = {"images": {}, "facts": {}, "labels": {}}
        self._changed = False

    def image(self, path: str) -> ImageFacts | None:
        """Return the facts about an image if its file has not changed since."""
        entry = self._images.get(path)
        if entry is None or not _same(path, entry[0]):
            return None
        key = _content_key(path, entry[1])
        self._kept["images"][path] = entry
        self._kept["facts"][key] = self._facts[key]
        return _IMAGE.validate_python(self._facts[key])

    def image_by_content(self, path: str, sha256: str) -> ImageFacts | None:
        """Return the facts about an image with this content, wherever it lay in the data set."""
        kept = self._facts.get(_content_key(path, sha256))
        return _IMAGE.validate_python(kept) if kept is not None else None

    def keep_image(self, path: str, stamp: FileStamp, facts: ImageFacts) -> None:
        """Store the facts about an image; `stamp` was taken before it was read."""
        self._changed = True
        self._kept["images"][path] = [stamp, facts.sha256]
        kept = _IMAGE.dump_python(facts, mode="json")
        self._kept["facts"][_content_key(path, facts.sha256)] = kept

    def labels(self, path: str) -> LabelFacts | None:
        """Return the facts about a label file if it has not changed since."""
        entry = self._labels.get(path)
        if entry is None or entry[1] != self._class_count or not _same(path, entry[0]):
            return None
        self._kept["labels"][path] = entry
        return _LABELS.validate_python(entry[2])

    def keep_labels(self, path: str, stamp: FileStamp, facts: LabelFacts) -> None:
        """Store the facts about a label file; `stamp` was taken before it was read."""
        self._changed = True
        kept = _LABELS.dump_python(facts, mode="json")
        self._kept["labels"][path] = [stamp, self._class_count, kept]

    def save(self) -> None:
        """Write the facts about the files of this check; failures are ignored."""
        if not self._changed:
            return
        body = json.dumps(self._kept, separators=(",", ":"))
        with contextlib.suppress(OSError, UnicodeError, DiskFull, InputError):
            private_home("cache")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, f"{_seal(body)}\n{body}".encode(), mode=0o600)


def file_stamp(path: str) -> FileStamp | None:
    """Return what identifies a file and its state; None if it does not exist."""
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
    """The key of facts; it includes the suffix, because a wrong suffix is a finding."""
    return sha256 + os.path.splitext(path)[1].lower()


def _same(path: str, then: FileStamp) -> bool:
    now = file_stamp(path)
    if now is None or now[:5] != tuple(then[:5]):
        return False
    return max(then[3], then[4]) + _SETTLED_NS < then[5]


def _read(file: Path) -> dict[str, Any]:
    try:
        if home().exists():
            # Raises if another account may write there: such a cache is not trusted.
            private_home()
        seal, _, body = file.read_text(encoding="utf-8").partition("\n")
        return json.loads(body) if seal == _seal(body) else {}
    except (OSError, ValueError, InputError):
        return {}


def _seal(body: str) -> str:
    return f"{_code_digest()} {hashlib.sha256(body.encode()).hexdigest()}"


@cache
def _code_digest() -> str:
    """sha256 of the code that finds the facts and of the decoder's version."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
