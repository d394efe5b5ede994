"""Params that are written once: how one is written, and whether a server keeps it as written.

A param of an MLflow run keeps its first value: that is the compare-and-swap on which the ledger
stands. MLflow does not promise it, so it is tried out where it is to carry something: several
connections race for the same param, round after round. The outcome is kept as a tag of the
ledger's experiment for each version of MLflow, and read with it at no further call.
"""

import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from guardianflow.errors import BackendUnfit, LedgerDamaged, PermissionDenied
from guardianflow.mlflow_store.client import (
    ABSENT,
    COLLISION,
    border,
    server_version,
    write_repeatably,
)
from guardianflow.mlflow_store.rights import ask_server

MAX_VALUE = 5900
"""Characters of one value: MLflow silently cuts a param at 6000."""
HOLDS_TAG = "guardianflow.write_once.holds."
FAILS_TAG = "guardianflow.write_once.fails."
# With four server processes two of 24 rounds of eight showed that a file store keeps both values.
_ROUNDS = 6
_WRITERS = 6
_REPEATED_READS = 3
_FILE_STORE = "FileStore"
_SERVER_INFO = "/api/3.0/mlflow/server-info"
_REMEDY = (
    "Run MLflow on a database (`mlflow server --backend-store-uri postgresql+psycopg://...`, or "
    "sqlite:///mlflow.db for one machine), then try it again with `python -m deployments.apply "
    "--mlflow`."
)


def read_run(client: MlflowClient, run_id: str, what: str) -> Run:
    """A run of the ledger.

    Raises:
        LedgerDamaged: It was deleted, for now or for good.
    """
    with border(f"read {what}"):
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise LedgerDamaged(
                f"The MLflow run {run_id} with {what} is gone for good.",
                remedy="Restore the back-up of MLflow's database.",
                run_id=run_id,
            ) from error
    if run.info.lifecycle_stage != "active":
        raise LedgerDamaged(
            f"The MLflow run {run_id} with {what} was deleted.",
            remedy=f"`python -m deployments.tool mlflow runs restore --run-id {run_id}`, from the "
            "checkout, brings it back.",
            run_id=run_id,
        )
    return run


def write_once(client: MlflowClient, run_id: str, key: str, value: str, what: str) -> Run:
    """Write a param unless it has a value; the run as it is then says which value that is.

    Raises:
        LedgerDamaged: The server took the param, and then did not know it.
        PermissionDenied: The account may not write there.
    """
    try:
        with border(f"write {key} into {what}"):
            try:
                client.log_param(run_id, key, value)
            except MlflowException as error:
                # Somebody's other value is one of these, but so is much else: reading decides.
                if error.error_code not in ("INVALID_PARAMETER_VALUE", COLLISION):
                    raise
    except PermissionDenied as error:
        raise no_right(what) from error
    run = read_run(client, run_id, what)
    if key not in run.data.params:
        raise LedgerDamaged(
            f"MLflow took {key} into run {run_id} with {what}, and then did not know it.",
            remedy="Try again; if it stays so, restore the back-up of MLflow's database.",
            run_id=run_id,
        )
    return run


def no_right(what: str) -> PermissionDenied:
    """The account may not write the ledger: what that means, and which right it lacks."""
    return PermissionDenied(
        f"This account may not write {what}, so it can neither promote nor roll back. Nothing was "
        "changed.",
        remedy="Use an account that has EDIT on the experiment guardianflow.ledger; "
        "docs/install.md lists which account needs which right.",
    )


def require_write_once(
    client: MlflowClient, experiment_id: str, tags: Mapping[str, str], *, again: bool = False
) -> None:
    """Refuse a server whose params do not stay as first written; it is tried out once for each.

    The tags of the ledger's experiment say how it came out before. `again` tries it out whatever
    they say: the database may be another one now.

    Raises:
        BackendUnfit: A param was overwritten, cut or lost.
        PermissionDenied: It has to be tried out, and the account may not write there.
    """
    version = server_version(client) or "unknown"
    holds, fails = f"{HOLDS_TAG}{version}", f"{FAILS_TAG}{version}"
    # Of two that tried it at once a failure counts: the race may have gone well for the other.
    if not again and (before := tags.get(fails)):
        raise _unfit(version, before)
    if not again and tags.get(holds):
        return
    why = _try_out(client, experiment_id)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with border("keep how the check of write-once params came out"):
        # Others try the server out at the same moment, and say the same of it.
        write_repeatably(
            lambda: client.set_experiment_tag(
                experiment_id, fails if why else holds, why or f"since {now}"
            )
        )
        if not why and tags.get(fails):
            client.delete_experiment_tag(experiment_id, fails)
    if why:
        raise _unfit(version, why)


def _unfit(version: str, why: str) -> BackendUnfit:
    return BackendUnfit(
        f"This MLflow server ({version}) does not keep a param as it was first written: {why}. "
        "Two promotions at once could both succeed, so nothing is promoted or rolled back here; "
        "nothing was changed.",
        remedy=_REMEDY,
        mlflow=version,
    )


def _try_out(client: MlflowClient, experiment_id: str) -> str:
    """What speaks against the server; '' if params stay as first written."""
    if ask_server(client, _SERVER_INFO).get("store_type") == _FILE_STORE:
        # It looks, then writes: a race that a check of seconds need not hit.
        return "it keeps its runs in files (backend FileStore), which are checked and then written"
    try:
        with border("try out whether params stay as first written"):
            run_id = client.create_run(experiment_id, run_name="write-once check").info.run_id
            why = next(
                (why for number in range(_ROUNDS) if (why := _round(client, run_id, number))), ""
            )
            client.update_run(run_id, status="FINISHED")
    except PermissionDenied as error:
        raise PermissionDenied(
            "This MLflow server has not been checked for guardianflow yet, and this account may "
            "not do it. Nothing was changed.",
            remedy="An account with EDIT on the experiment guardianflow.ledger does it with "
            "`python -m deployments.apply --mlflow`; docs/reference.md says more.",
        ) from error
    # Deleting needs more rights than writing: else it stays, and means nothing.
    with suppress(PermissionDenied), border("put the check away"):
        client.delete_run(run_id)
    return why


@dataclass(frozen=True)
class _Attempt:
    """One writer of a round."""

    value: str
    accepted: bool
    found: str | None
    """What it read right after its write."""


def _round(client: MlflowClient, run_id: str, number: int) -> str:
    """Let several connections race for one param; what speaks against the server, or ''."""
    key = f"round.{number}"
    start = threading.Barrier(_WRITERS)

    def write(writer: int) -> _Attempt:
        # Long, and different at the end alone.
        value = f"{uuid.uuid4().hex}{'.' * (MAX_VALUE - 33)}{writer}"
        start.wait()
        accepted = _accepts(client, run_id, key, value)
        return _Attempt(value, accepted, _read(client, run_id, key))

    with ThreadPoolExecutor(_WRITERS) as writers:
        attempts = list(writers.map(write, range(_WRITERS)))
    accepted = [attempt for attempt in attempts if attempt.accepted]
    found = {attempt.found for attempt in attempts}
    if len(accepted) > 1:
        return f"{len(accepted)} of {_WRITERS} writers were told at once that theirs is the value"
    if len(found) != 1:
        return f"{_WRITERS} readers saw {len(found)} values of one param"
    kept = found.pop()
    if kept not in {attempt.value for attempt in attempts}:
        return f"a value of {MAX_VALUE} characters came back as {len(kept or '')} others"
    if accepted and accepted[0].value != kept:
        return "the writer that was told to have won had lost"
    if _accepts(client, run_id, key, "another value"):
        return "a second value was accepted"
    if not _accepts(client, run_id, key, kept):
        return "the same value was refused the second time"
    if any(_read(client, run_id, key) != kept for _ in range(_REPEATED_READS)):
        return "a value changed afterwards"
    return ""


def _accepts(client: MlflowClient, run_id: str, key: str, value: str) -> bool:
    """Whether the server says that it took a value."""
    with border("try out whether params stay as first written"):
        try:
            client.log_param(run_id, key, value)
        except MlflowException as error:
            if error.error_code in ("INVALID_PARAMETER_VALUE", COLLISION):
                return False
            raise
    return True


def _read(client: MlflowClient, run_id: str, key: str) -> str | None:
    with border("try out whether params stay as first written"):
        return client.get_run(run_id).data.params.get(key)
