"""Lists the images of a split, and where the label file of each image may be.

    images/train/a.jpg -> labels/train/a.txt      or a.txt beside the image, or labels/a.txt

Links are followed once. Images are not opened here, so a pipe cannot block. Paths are strings: a
data set has tens of thousands of files, and pathlib takes several times as long.
"""

import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from guardianflow.vision.data.decoding import IMAGE_SUFFIXES, UNSUPPORTED_SUFFIXES
from guardianflow.vision.data.description import Description, read_description
from guardianflow.vision.data.findings import DataFinding, Fault, shortened
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.texts import read_text
from guardianflow.vision.data.yaml_file import SPLITS

# Annotation tools and operating systems write these beside images: they need no finding.
_EXPECTED_SUFFIXES = frozenset(
    {".txt", ".cache", ".npy", ".json", ".xml", ".csv", ".ini", ".db", ".yaml"}
)
# CVAT writes its lists relative to the folder in which one trains.
_EXPORTED = "data/"
_FEW = 20
_MAX_DEPTH = 64
# A folder outside of the data set with more unrelated entries is not a folder of images.
_MAX_ASTRAY = 10_000


class _Astray(Exception):
    """A link or a path led to something that is not a folder of images."""


@dataclass
class Listing:
    """The images of one split.

    Attributes:
        split: Its name.
        images: Unique paths, sorted.
        stray: Files that are not images.
    """

    split: str
    images: list[str] = field(default_factory=list[str])
    stray: list[str] = field(default_factory=list[str])


def list_images(description: Description, split: str, findings: list[DataFinding]) -> Listing:
    """List the images of a split; problems are added to `findings`."""
    listing = Listing(split)
    inside = tuple(f"{os.path.realpath(p)}{os.sep}" for p in (description.root, description.base))
    for source in description.sources[split]:
        if source.is_dir():
            folder = os.fspath(source)
            walk = _Walk(folder, listing, inside, findings)
            own = f"{os.path.realpath(folder)}{os.sep}".startswith(inside[0])
            (walk.walk if own else walk.walk_bounded)(folder)
        else:
            _read_list(description, source, listing, findings)
    unique = dict.fromkeys(listing.images)
    listing.images = sorted(unique, key=lambda path: path.split(os.sep))
    _warn_above(description, listing, findings)
    _warn_colliding(listing, findings)
    _warn_stray(listing, findings)
    if split in SPLITS and description.sources[split] and not listing.images:
        fault = Fault(
            FaultCode.SPLIT_EMPTY, f"{split} has no images", "Add images, or remove the key."
        )
        findings.append(fault.at(description.sources[split][0], split=split))
    return listing


def find_images(root: Path, split: str, base: Path | None = None) -> list[Path]:
    """Return the images of one split without a check; [] if there is no such split."""
    findings: list[DataFinding] = []
    description = read_description(root, findings, base)
    if description is None or split not in description.sources:
        return []
    return [Path(image) for image in list_images(description, split, findings).images]


def label_paths(images: list[str], root: str) -> dict[str, tuple[str, ...]]:
    """Return by image the possible paths of its label file, in the order of precedence.

    These are `labels/` in place of `images/`, beside the image, and one `labels/` for all splits.
    Of several folders called `images` in a path, the last one below `root` counts. `root` is the
    folder of the data set, without links in its path.
    """
    folders: dict[str, tuple[str, ...]] = {}
    places: dict[str, tuple[str, ...]] = {}
    for image in images:
        folder, _, name = image.rpartition(os.sep)
        if folder not in folders:
            folders[folder] = _label_folders(folder, root)
        label = f"{os.path.splitext(name)[0]}.txt"
        places[image] = tuple(f"{place}{os.sep}{label}" for place in folders[folder])
    return places


def _label_folders(folder: str, root: str) -> tuple[str, ...]:
    own = folder.startswith(f"{root}{os.sep}")
    head, tail = (root, folder[len(root) + 1 :]) if own else ("", folder)
    parts = tail.split(os.sep)
    if "images" not in parts:
        return (folder,)
    last = len(parts) - 1 - parts[::-1].index("images")
    parts[last] = "labels"
    mirrored, flat = (
        os.path.join(head, *some) if own else os.sep.join(some)
        for some in (parts, parts[: last + 1])
    )
    return tuple(dict.fromkeys((mirrored, folder, flat)))


@dataclass
class _Walk:
    """A walk through one folder of images.

    Attributes:
        source: The folder, without links in its path.
        listing: Receives the files.
        inside: Links into these folders need no finding.
        findings: Problems are added here.
        entered: Folders to which a link led.
        astray: How many more unrelated entries are tolerated; None inside the data set.
    """

    source: str
    listing: Listing
    inside: tuple[str, ...]
    findings: list[DataFinding]
    entered: set[str] = field(default_factory=set[str])
    astray: int | None = None

    def walk(self, folder: str, depth: int = 0) -> None:
        """Collect the files below a folder."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            if depth > _MAX_DEPTH:
                raise OSError(0, f"more than {_MAX_DEPTH} folders deep")
        except OSError as error:
            self._add(_unreadable(error), folder)
            return
        for entry in found:
            if entry.name.startswith("."):
                continue
            try:
                self._take(entry, depth)
            except OSError as error:
                self._add(_unreadable(error), entry.path)

    def _take(self, entry: os.DirEntry[str], depth: int) -> None:
        suffix = os.path.splitext(entry.name)[1].lower()
        linked = entry.is_symlink()
        if linked and not self._follow(entry, suffix):
            return
        if suffix not in IMAGE_SUFFIXES | _EXPECTED_SUFFIXES:
            self._count_astray()
        if entry.is_dir():
            if suffix in IMAGE_SUFFIXES:
                what = "is a folder named like an image"
                self._add(Fault(FaultCode.FILE_IRREGULAR, what, "Rename it."), entry.path)
            if linked and self.astray is None:
                self.walk_bounded(entry.path, depth + 1)
            else:
                self.walk(entry.path, depth + 1)
        elif suffix in IMAGE_SUFFIXES:
            self.listing.images.append(entry.path)
        elif suffix in UNSUPPORTED_SUFFIXES:
            what = f"is an image in an unsupported format ({suffix})"
            fault = Fault(FaultCode.FILE_UNSUPPORTED, what, "Convert it to JPEG or PNG.", suffix)
            self._add(fault, entry.path)
        elif suffix not in _EXPECTED_SUFFIXES and entry.is_file():
            self.listing.stray.append(entry.path)

    def _count_astray(self) -> None:
        if self.astray is not None:
            self.astray -= 1
            if self.astray < 0:
                raise _Astray

    def walk_bounded(self, folder: str, depth: int = 0) -> None:
        """Collect the files of a folder outside the data set, if it is a folder of images."""
        listing, findings = self.listing, self.findings
        before = len(listing.images), len(listing.stray), len(findings)
        self.astray = _MAX_ASTRAY
        try:
            self.walk(folder, depth)
        except _Astray:
            for found, length in zip(
                (listing.images, listing.stray, findings), before, strict=True
            ):
                del found[length:]
            what = (
                f"leads to {shortened(os.path.realpath(folder))}, which is not a folder of images: "
                f"it contains more than {_MAX_ASTRAY} other files and folders"
            )
            remedy = "Remove the link, or correct the path in data.yaml."
            self._add(Fault(FaultCode.FOLDER_UNREADABLE, what, remedy), folder)
        finally:
            self.astray = None

    def _follow(self, entry: os.DirEntry[str], suffix: str) -> bool:
        """Whether the target of a link must be read; report broken links, loops, links outside."""
        target = entry.path
        try:
            target = os.path.realpath(entry.path)
            folder = stat.S_ISDIR(os.stat(entry.path).st_mode)
        except OSError as error:
            if suffix in IMAGE_SUFFIXES | {""}:
                what = f"is a link to {shortened(target)}, which cannot be read ({error.strerror})"
                remedy = "Copy the file there, or remove the link."
                self._add(Fault(FaultCode.LINK_BROKEN, what, remedy, value=target), entry.path)
            return False
        if folder and (self._around_or_in_source(target) or target in self.entered):
            what = f"is a link to {shortened(target)}, which is read anyway or contains this folder"
            self._add(
                Fault(FaultCode.LINK_LOOP, what, "Remove the link.", value=target), entry.path
            )
            return False
        if folder:
            self.entered.add(target)
        if (folder or suffix in IMAGE_SUFFIXES) and not target.startswith(self.inside):
            self._add(link_outside(target), entry.path)
        return True

    def _around_or_in_source(self, target: str) -> bool:
        # The root ends in the separator already.
        one, other = (f"{folder.rstrip(os.sep)}{os.sep}" for folder in (target, self.source))
        return one.startswith(other) or other.startswith(one)

    def _add(self, fault: Fault, path: str) -> None:
        self.findings.append(fault.at(path, split=self.listing.split))


def _unreadable(error: OSError) -> Fault:
    what = f"cannot be read ({error.strerror})"
    return Fault(FaultCode.FOLDER_UNREADABLE, what, "Make it readable.")


def link_outside(target: str) -> Fault:
    """Return the fault of a link out of the data set."""
    return Fault(
        FaultCode.LINK_OUTSIDE,
        f"is a link to {shortened(target)}, outside the data set",
        "Replace it by a copy before you move or share the folder.",
        value=target,
    )


def _read_list(
    description: Description, source: Path, listing: Listing, findings: list[DataFinding]
) -> None:
    """Read a text file with one image per line, relative to `path` or to the file."""
    try:
        text = read_text(source)
    except Fault as fault:
        findings.append(fault.at(source, split=listing.split))
        return
    if text.fault:
        findings.append(text.fault.at(source, split=listing.split))
    taken, moved = set(listing.images), 0
    for number, line in enumerate(text.text.splitlines(), start=1):
        entry = line.strip()
        if not entry:
            continue
        around = (description.base, source.parent)
        image = _find_entry(entry, around)
        if image is None and entry.startswith(_EXPORTED) and not _exists(around[0] / _EXPORTED):
            image = _find_entry(entry.removeprefix(_EXPORTED), around)
            moved += image is not None
        if image is None or os.path.splitext(image)[1].lower() not in IMAGE_SUFFIXES:
            what = f"image {shortened(entry)!r} does not exist on this machine"
            remedy = "Correct the line; it is relative to `path` or to this file."
            fault = Fault(FaultCode.LIST_ENTRY_MISSING, what, remedy, value=entry)
            findings.append(fault.at(source, line=number, split=listing.split))
        elif image in taken:
            what = f"image {shortened(entry)!r} is listed twice"
            fault = Fault(FaultCode.LIST_ENTRY_TWICE, what, "Remove the line.", value=entry)
            findings.append(fault.at(source, line=number, split=listing.split))
        else:
            taken.add(image)
            listing.images.append(image)
    if moved:
        what = f"{moved} images are listed below {_EXPORTED}, but are found without it"
        fault = Fault(FaultCode.LIST_ENTRY_MOVED, what, f"Remove {_EXPORTED} in the lines.", moved)
        findings.append(fault.at(source, split=listing.split, count=moved))


def _find_entry(entry: str, around: tuple[Path, ...]) -> str | None:
    places = (os.path.join(place, entry) for place in around)
    return next((os.path.normpath(place) for place in places if _exists(place)), None)


def _exists(path: str | Path) -> bool:
    return "\0" not in str(path) and os.path.exists(path)


def _warn_above(description: Description, listing: Listing, findings: list[DataFinding]) -> None:
    for source in description.sources[listing.split] if listing.split in SPLITS else ():
        below = f"{source}{os.sep}images{os.sep}"
        if source.name != "images" and any(image.startswith(below) for image in listing.images):
            fault = Fault(
                FaultCode.SPLIT_ABOVE,
                f"{listing.split} is {source}, but the images are in images/ below it",
                f"Give the folder of images: {source.name}/images.",
                value=str(source),
            )
            line = description.lines[listing.split]
            findings.append(fault.at(description.file, line=line, split=listing.split))


def _warn_colliding(listing: Listing, findings: list[DataFinding]) -> None:
    first: dict[str, str] = {}
    for image in listing.images:
        stem = os.path.splitext(image)[0]
        other = first.setdefault(filename_key(stem), stem)
        if other != stem:
            fault = Fault(
                FaultCode.FILE_NAMES_COLLIDE,
                f"has the same name as {shortened(os.path.basename(other))} on systems that ignore "
                "case or Unicode composition",
                "Rename one of them, with its label file.",
                value=os.path.basename(image),
            )
            findings.append(fault.at(image, split=listing.split, image=image))


def filename_key(name: str) -> str:
    """Return a file name as systems compare it that ignore case and Unicode composition."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _warn_stray(listing: Listing, findings: list[DataFinding]) -> None:
    for path in listing.stray[:_FEW]:
        remedy = "Remove it, or give it the suffix of an image."
        findings.append(
            Fault(FaultCode.FILE_STRAY, "is not an image", remedy).at(path, split=listing.split)
        )
    rest = len(listing.stray) - _FEW
    if rest > 0:
        what = f"and {rest} more files are not images"
        fault = Fault(FaultCode.FILE_STRAY, what, "Remove them.")
        findings.append(fault.at(listing.stray[_FEW], split=listing.split, count=rest))
