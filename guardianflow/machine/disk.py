"""The border to the local disk: files are written whole or not at all, a full disk is reported.

    write_whole(path)    a draft beside it --fsync--> renamed into its place
    scratch()            a temporary folder; what fails in it for lack of room is a DiskFull

Native libraries and MLflow's downloads report a full disk in words of their own, so the disk itself
is asked whether it is full.
"""

import errno
import os
import resource
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from guardianflow.errors import DiskFull, GuardianflowError, InputError
from guardianflow.machine.wrong_server import causes

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of this account is used up",
    errno.EFBIG: "the file would be larger than this account may write",
}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
# Less room than this counts as none: file systems keep a reserve.
_NO_ROOM = 64 * 1024
_DRAFT = ".draft"


def write_whole(path: Path, *parts: bytes | memoryview, mode: int = 0o666) -> None:
    """Write a file so that after a power cut it is complete, or as it was before.

    Links are followed, and what is no file (`/dev/stdout`) is written to. `mode` holds the
    permissions of a new file, before the umask.

    Raises:
        DiskFull: There is no room for it.
        OSError: It cannot be written there.
    """
    path = path.resolve()
    with telling_full(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.writelines(parts)
            return
        # A random name, so that two writers never share a draft, and a short one.
        draft = path.with_name(f".{secrets.token_hex(6)}{_DRAFT}")
        try:
            made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(made, "wb") as stream:
                stream.writelines(parts)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that killed processes left; only where nobody else writes."""
    for draft in folder.glob(f".*{_DRAFT}"):
        draft.unlink(missing_ok=True)


@contextmanager
def scratch(parent: Path | None = None) -> Generator[Path]:
    """A temporary folder, removed afterwards; what fails in it for lack of room is a DiskFull."""
    where = parent or Path(tempfile.gettempdir())
    with (
        telling_full(where),
        tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as text,
        telling_full(Path(text)),
    ):
        yield Path(text)


@contextmanager
def telling_full(place: Path) -> Generator[None]:
    """Raise an error that comes from a full disk as a DiskFull."""
    try:
        yield
    except GuardianflowError:
        raise
    except Exception as error:
        full = _full(error, place)
        if full is None:
            raise
        raise full from error


def disk_error(error: OSError) -> GuardianflowError | None:
    """An error of the disk in our words, for the command line; None for a defect."""
    if full := _said_full(error, None):
        return full
    if error.errno in _CLOSED and error.filename is not None:
        return InputError(
            f"{os.fsdecode(error.filename)} cannot be used ({os.strerror(error.errno)}).",
            remedy="Give this account the permission, or name another place; GUARDIANFLOW_HOME and "
            "TMPDIR say where guardianflow keeps its own files.",
            file=os.fsdecode(error.filename),
        )
    return None


def _full(error: Exception, place: Path) -> DiskFull | None:
    """The error as a DiskFull, if it says so itself or the disk of `place` is full."""
    for cause in causes(error):
        if isinstance(cause, OSError) and (full := _said_full(cause, place)):
            return full
    number = _why_no_room(place)
    return DiskFull(str(place), _FULL[number]) if number else None


def _said_full(error: OSError, place: Path | None) -> DiskFull | None:
    if error.errno not in _FULL:
        return None
    # Of two files the second one is written to: a copy, or the new name.
    file = error.filename if error.filename2 is None else error.filename2
    named = os.fsdecode(file) if isinstance(file, str | bytes) else ""
    return DiskFull(named or (str(place) if place else ""), _FULL[error.errno])


def _why_no_room(place: Path) -> int | None:
    """Why nothing can be written in a folder now, as an errno; None if it can."""
    folder = place if place.is_dir() else place.parent
    with suppress(OSError):
        room = os.statvfs(folder)
        # A file system without blocks (overlay, network) does not know.
        if room.f_blocks and room.f_bavail * room.f_frsize < _NO_ROOM:
            return errno.ENOSPC
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest == resource.RLIM_INFINITY:
        return None
    with suppress(OSError):
        if any(f.stat().st_size >= largest for f in folder.rglob("*") if f.is_file()):
            return errno.EFBIG
    return None


def _sync_folder(path: Path) -> None:
    """Sync a folder: only then is the name of a new file on the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
