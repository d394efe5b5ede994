"""Makes and opens files and folders that only this user may use.

The state of `make up` holds keys and says which processes are ours, so a folder that somebody else
made or may write to is refused, and no symbolic link in it is followed.
"""

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import IO

from guardianflow.errors import InputError

_MOST_BYTES = 2**20


def private_folder(path: Path, *, close: bool = True) -> Path:
    """The folder, made for only this user if it is missing.

    An existing one is closed to others who could read it. Where `close` is false it keeps its mode,
    because it may hold other things.

    Raises:
        InputError: It belongs to somebody else, others may write into it, or it is no folder.
    """
    try:
        if not path.is_symlink():
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise _not_ours(path, f"cannot be opened as a folder ({error.strerror})") from error
    try:
        info = os.fstat(descriptor)
        if info.st_uid != os.getuid():
            raise _not_ours(path, "belongs to another user")
        if _others_write(info):
            # Somebody may have put something into it: it is too late to close it.
            raise _not_ours(path, "may be written by others")
        if close and stat.S_IMODE(info.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
    except OSError as error:
        raise _not_ours(path, f"cannot be closed to others ({error.strerror})") from error
    finally:
        os.close(descriptor)
    return path


def _others_write(info: os.stat_result) -> bool:
    group = info.st_mode & stat.S_IWGRP and not _is_private_group(info.st_gid)
    return bool(info.st_mode & stat.S_IWOTH or group)


def _is_private_group(number: int) -> bool:
    """Whether only this user is in the group, as systems make one for each user."""
    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return number == user.pw_gid and {group.gr_name, *group.gr_mem} == {user.pw_name}


def _not_ours(path: Path, why: str) -> InputError:
    return InputError(
        f"The folder {path} {why}; nothing in it is trusted.",
        remedy=f"Look into it, then `chmod -R go-w {path}` if all of it is yours; if not, remove "
        "it. Where the file system keeps no permissions, set GUARDIANFLOW_HOME to a folder on "
        "another one.",
        file=str(path),
    )


def open_private(path: Path, flags: int) -> int:
    """Open a file for only this user, made if it is missing; never through a symbolic link.

    Raises:
        InputError: It is a symbolic link, or cannot be opened.
    """
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() else f"cannot be opened: {error.strerror}"
        raise InputError(
            f"{path} {what}.", remedy="Look at it, and remove it.", file=str(path)
        ) from error


def append_to(path: Path) -> IO[bytes]:
    """Open a log of this user's own for appending."""
    return os.fdopen(open_private(path, os.O_WRONLY | os.O_APPEND), "ab")


def write_private(path: Path, content: str | bytes) -> None:
    """Replace a file in one step by one that only this user can read."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(open_private(part, os.O_WRONLY | os.O_EXCL), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    part.replace(path)


def require_private(path: Path, remedy: str) -> None:
    """Refuse a file that others made, can read or can write.

    Raises:
        InputError: It belongs to another user or is open to others.
    """
    info = path.stat()
    if info.st_uid != os.getuid() or stat.S_IMODE(info.st_mode) & 0o077:
        raise InputError(
            f"{path} belongs to another user or is open to others; it is not trusted.",
            remedy=remedy,
            file=str(path),
        )


def read_own(path: Path, remedy: str) -> str:
    """Read a file that only its owner may change: this user, or the administrator.

    Others may read it. Its folder counts too: who may write there could replace it.

    Raises:
        InputError: It is not there, is no text, or others may change it.
    """
    try:
        with path.open("rb") as file:
            # The open file is asked, not its name, which may lead elsewhere a moment later.
            info, folder = os.fstat(file.fileno()), path.resolve().parent.stat()
            for place, one in ((path, info), (path.resolve().parent, folder)):
                if one.st_uid not in (os.getuid(), 0):
                    raise _not_trusted(place, "belongs to another user", remedy)
                if _others_write(one):
                    raise _not_trusted(place, "may be written by others", remedy)
            return file.read(_MOST_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{path} cannot be read: {why}.", remedy=remedy, file=str(path)) from error


def _not_trusted(path: Path, why: str, remedy: str) -> InputError:
    return InputError(f"{path} {why}; it is not trusted.", remedy=remedy, file=str(path))
