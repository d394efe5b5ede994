"""One-time codes (TOTP, RFC 6238): who has which secret, and whether a code is right and unspent.

The secrets lie in a file on the release workers, named by GUARDIANFLOW_APPROVERS, that only its
owner can read: never in Prefect's database, a block, a parameter, a log or MLflow. A code counts
once, on whichever worker: its time step is spent in the approval log before it counts.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from mlflow import MlflowClient

from guardianflow.errors import InputError
from guardianflow.machine.disk import write_whole
from guardianflow.machine.private import require_private
from guardianflow.promotion.approval.approval_log import open_approval_log
from guardianflow.promotion.approval.policy import plain_name, same_name
from guardianflow.stored import require_reader

APPROVERS_VARIABLE = "GUARDIANFLOW_APPROVERS"
STEP_S = 30
_AROUND = (0, -1, 1)
"""Steps beside that of now whose code is taken: clocks differ, and typing takes time."""
_ISSUER = "guardianflow"
_ABOUT = ("schema_version", "min_reader")
"""What the file may say about itself, beside the names."""


def approvers_file() -> Path:
    """The file with the secrets, which need not exist yet.

    Raises:
        InputError: The environment names none.
    """
    named = os.environ.get(APPROVERS_VARIABLE, "").strip()
    if not named:
        raise InputError(
            f"{APPROVERS_VARIABLE} names no file, so no one-time code can be checked here.",
            remedy=f"Set {APPROVERS_VARIABLE} to a file of the release worker's account (mode "
            "0600); `guardianflow approver add NAME` writes it.",
        )
    return Path(named).absolute()


def read_approvers(path: Path) -> dict[str, str]:
    """The secrets by name; none where the file does not exist.

    Raises:
        InputError: The file is not private to this user, or holds something else. The message
            never repeats what is in it.
        StoredNewer: It needs a newer version of guardianflow.
    """
    if not path.exists():
        return {}
    require_private(path, f"`chmod 600 {path}` if the file is yours, or enrol everybody again.")
    try:
        content = cast("object", json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _unusable(path)
    kept = cast("dict[str, object]", content)
    # Whatever people are called: a secret is no version.
    about = {key: kept[key] for key in _ABOUT if key in kept and not _is_secret(kept[key])}
    require_reader(about, f"file {path}")
    secrets = {name: secret for name, secret in kept.items() if name not in about}
    if not all(_is_secret(secret) for secret in secrets.values()):
        raise _unusable(path)
    return cast("dict[str, str]", secrets)


def write_approvers(path: Path, secrets: Mapping[str, str]) -> None:
    """Replace the file, private from its first byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(dict(secrets), ensure_ascii=False, indent=1)
    write_whole(path, content.encode(), mode=0o600)


@dataclass(frozen=True)
class Enrolment:
    """What a person needs once to make codes; it holds the secret."""

    name: str
    uri: str


def enrol(path: Path, name: str) -> Enrolment:
    """Give a person a new secret; who is enrolled already has to be removed first.

    Raises:
        InputError: The name is taken, or the file cannot be trusted.
    """
    from pyotp import random_base32
    from pyotp.totp import TOTP

    called = " ".join(name.split())
    if not 2 <= len(called) <= 100:
        raise InputError(
            f"{name!r} is not a name that an answer could carry.", remedy="Give 2 to 100 letters."
        )
    known = read_approvers(path)
    if any(same_name(called, other) for other in known):
        raise InputError(
            f"{called} is enrolled already.",
            remedy=f'`guardianflow approver remove "{called}"` first: the old codes end then.',
            name=called,
        )
    secret = random_base32()
    write_approvers(path, {**known, called: secret})
    return Enrolment(called, TOTP(secret).provisioning_uri(name=called, issuer_name=_ISSUER))


def dismiss(path: Path, name: str) -> str:
    """Take a person's secret away and return the name as it was enrolled.

    Raises:
        InputError: Nobody is enrolled under that name.
    """
    known = read_approvers(path)
    found = next((other for other in known if same_name(name, other)), None)
    if found is None:
        raise InputError(
            f"Nobody is enrolled as {name!r} in {path}.",
            remedy="`guardianflow approver list` shows who is.",
            name=name,
        )
    write_approvers(path, {other: secret for other, secret in known.items() if other != found})
    return found


def matching_step(
    secrets: Mapping[str, str], approver: str, code: str, now: datetime
) -> int | None:
    """The time step whose code of this approver was given; None where it is none of them.

    Every step is compared in full: how long it takes says nothing about the code.
    """
    from pyotp import random_base32
    from pyotp.totp import TOTP

    secret = next((s for name, s in secrets.items() if same_name(name, approver)), None)
    totp = TOTP(secret or random_base32(), interval=STEP_S)
    current = int(now.timestamp()) // STEP_S
    given = code.strip().encode()
    steps = (current + offset for offset in _AROUND)
    right = [s for s in steps if hmac.compare_digest(totp.generate_otp(s).encode(), given)]
    return right[0] if right and secret else None


def spend(client: MlflowClient, approver: str, step: int, answer: str) -> bool:
    """Let an answer use up a code, once for all workers; whether it was this answer's.

    The same answer may do so again: a worker may have been killed after it.
    """
    # Names have letters that a param's key may not have.
    called = hashlib.sha256(plain_name(approver).encode()).hexdigest()[:20]
    when = datetime.fromtimestamp(step * STEP_S, UTC)
    return open_approval_log(client, when).write(f"code.{called}.{step}", answer) == answer


def _is_secret(value: object) -> bool:
    if not isinstance(value, str) or len(value) < 16:
        return False
    return set(value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567=")


def _unusable(path: Path) -> InputError:
    return InputError(
        f"{path} is no file of approvers.",
        remedy="It is JSON that `guardianflow approver add NAME` writes: names and their secrets.",
        file=str(path),
    )
