"""What can be wrong with a release, in words: each finding with the command that mends it.

Pure: data in, findings out. `doctor.py` reads what is judged here; `reconciliation.py` mends what
is provably ours and reports the rest. The codes are public names (docs/reference.md).
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from guardianflow.errors import ArtifactMissing, LedgerDamaged, StoredUnreadable
from guardianflow.names import ModelName
from guardianflow.registry.release_state import Drift, ModelAlias, OperationRecord

UNDER_WAY = timedelta(seconds=60)
"""An unfinished operation younger than this is probably still being carried out."""


class Severity(StrEnum):
    """How bad it is: an error wants a person now, a warning soon, a note is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class FileCheck(StrEnum):
    """How closely files are compared: not at all, their sizes, or all of their bytes."""

    NONE = "none"
    SIZE = "size"
    SHA256 = "sha256"


class FindingCode(StrEnum):
    """Everything that can be found."""

    WRITE_ONCE_BROKEN = "write-once-broken"
    LEDGER_DAMAGED = "ledger-damaged"
    OPERATION_INTERRUPTED = "operation-interrupted"
    CHAMPION_MISSING = "champion-missing"
    CHAMPION_MOVED = "champion-moved"
    ROLLBACK_MISSING = "rollback-missing"
    ROLLBACK_MOVED = "rollback-moved"
    NOT_IN_LEDGER = "not-in-ledger"
    MODEL_DELETED = "model-deleted"
    MODEL_RENAMED = "model-renamed"
    VERSION_DELETED = "version-deleted"
    VERSION_NOT_READY = "version-not-ready"
    FILE_MISSING = "file-missing"
    FILE_CHANGED = "file-changed"
    TAG_WRONG = "tag-wrong"
    MIRROR_WRONG = "mirror-wrong"
    FLOOR_RUNS_OLDER = "floor-runs-older"
    NO_WAY_BACK = "no-way-back"
    ON_HOLD = "on-hold"
    CANDIDATE_QUARANTINED = "candidate-quarantined"
    UNREADABLE = "unreadable"
    SILENT = "silent"
    ORCHESTRATOR_UNREADABLE = "orchestrator-unreadable"
    NOT_APPLIED = "not-applied"
    AUTOMATION_MISSING = "automation-missing"
    AUTOMATION_OFF = "automation-off"
    AUTOMATION_CHANGED = "automation-changed"
    AUTOMATION_FAILED = "automation-failed"
    BLOCK_MISSING = "block-missing"
    POLICY_UNUSABLE = "policy-unusable"
    NOBODY_TOLD = "nobody-told"
    PASS_OFF = "pass-off"
    PASS_LATE = "pass-late"
    PASS_FAILED = "pass-failed"
    POOL_PAUSED = "pool-paused"
    QUEUE_PAUSED = "queue-paused"
    NO_WORKER = "no-worker"
    RUNS_WAIT = "runs-wait"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a model, and the command that mends it."""

    model: str
    """Public name; empty where it is one of the servers."""
    code: FindingCode
    severity: Severity
    message: str
    remedy: str
    seen_by: FileCheck = FileCheck.NONE
    """The weakest check of files that shows it."""

    @property
    def base(self) -> str:
        """The release that it belongs to; empty where it is one of the servers."""
        return ModelName.parse(self.model).base.public if self.model else ""

    def to_json(self) -> dict[str, object]:
        """The finding as data, for `--json`."""
        data = asdict(self)
        del data["seen_by"]
        return data


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Errors before warnings before notes, each by model."""
    order = list(Severity)
    return sorted(findings, key=lambda f: (order.index(f.severity), f.model, f.code))


def params_not_kept(version: str, why: str) -> Finding:
    """The server overwrites params, so no ledger can be kept on it."""
    return Finding(
        "",
        FindingCode.WRITE_ONCE_BROKEN,
        Severity.ERROR,
        f"This MLflow server ({version}) does not keep a param as it was first written: {why}. "
        "Nothing is promoted or rolled back on it.",
        "Run MLflow on a database, then try it again with `python -m deployments.apply --mlflow`.",
    )


def unusable_ledger(base: ModelName | None, error: LedgerDamaged | StoredUnreadable) -> Finding:
    """The ledger is damaged, or was written by a newer version of guardianflow."""
    name = base.public if base else ""
    code = (
        FindingCode.LEDGER_DAMAGED if isinstance(error, LedgerDamaged) else FindingCode.UNREADABLE
    )
    return Finding(name, code, Severity.ERROR, error.message, error.remedy)


def unreadable_release(base: ModelName, error: str) -> Finding:
    """A release that could not be examined."""
    return Finding(
        base.public,
        FindingCode.UNREADABLE,
        Severity.ERROR,
        f"{base} could not be examined: {error.splitlines()[0][:500] if error else 'no reason'}",
        f"See what `guardianflow doctor {base}` says.",
    )


def interrupted_operation(record: OperationRecord, now: datetime) -> Finding:
    """An operation that was decided but not finished: its aliases may be half moved."""
    said = (
        f"Operation {record.seq} ({record.kind} of {record.name}) was decided at "
        f"{decided_at(record)}"
    )
    base, code = ModelName.parse(record.name).base.public, FindingCode.OPERATION_INTERRUPTED
    if under_way(record, now):
        said += " and is not finished yet."
        return Finding(base, code, Severity.NOTE, said, "Wait a moment and look again.")
    said += " and never finished: its aliases may be half moved."
    remedy = "The next command on this release finishes it, and so does the flow `reconcile`: "
    remedy += _repair(base, "ledger", "finish what was interrupted")
    return Finding(base, code, Severity.ERROR, said, remedy)


def under_way(record: OperationRecord, now: datetime) -> bool:
    """Whether an unfinished operation is probably still being carried out."""
    return timedelta(0) <= now - datetime.fromisoformat(record.time) < UNDER_WAY


def moved_alias(
    drift: Drift, versions: Mapping[str, set[int]], *, way_back: bool
) -> Finding | None:
    """An alias that is not where the last operation put it.

    `versions` are those that exist, by public name; a name that is absent was deleted. `way_back`
    says whether the release has a good state to go back to.
    """
    name, expected, actual = drift.name, drift.expected, drift.actual
    if name not in versions:
        # Reported once, for the model as a whole.
        return None
    champion = drift.alias is ModelAlias.CHAMPION
    accept, put_back = (
        _repair(name, "mlflow", "why it was moved"),
        _repair(name, "ledger", "a slip"),
    )
    if expected is None:
        code = FindingCode.NOT_IN_LEDGER if champion else FindingCode.ROLLBACK_MOVED
        known = "the ledger knows no champion of it" if champion else "the ledger says none"
        message = f"@{drift.alias} of {name} was set by hand to version {actual}; {known}."
        remedy = f"Accept it: {accept}"
        if not champion:
            remedy = f"Take it away: {put_back} or accept it: {accept}"
        return Finding(name, code, Severity.ERROR, message, remedy)
    if expected not in versions[name]:
        return _deleted(drift, accept, way_back=way_back)
    if actual is None:
        code = FindingCode.CHAMPION_MISSING if champion else FindingCode.ROLLBACK_MISSING
        message = f"@{drift.alias} of {name} is gone; the ledger says version {expected}."
    else:
        code = FindingCode.CHAMPION_MOVED if champion else FindingCode.ROLLBACK_MOVED
        message = (
            f"@{drift.alias} of {name} was moved by hand to version {actual}; the ledger says "
            f"version {expected}."
        )
    remedy = f"Put it back: {put_back}"
    if actual is not None or not champion:
        remedy += f" or accept it: {accept}"
    return Finding(name, code, Severity.ERROR, message, remedy)


def _deleted(drift: Drift, accept: str, *, way_back: bool) -> Finding:
    name, version = drift.name, drift.expected
    message = f"Version {version} of {name}, the champion, was deleted in MLflow"
    if drift.alias is ModelAlias.ROLLBACK:
        message = f"Version {version} of {name}, the way back (@rollback), was deleted in MLflow"
        remedy = f"Go on without it: {accept}"
    elif drift.actual is not None:
        message += f"; @champion is version {drift.actual} now"
        remedy = f"Accept that: {accept}"
    elif way_back:
        remedy = f'Go back: `guardianflow rollback {name} --reason "its version was deleted"`'
    else:
        remedy = (
            f"`guardianflow models {name}` lists what is left; set @champion in MLflow to a "
            f"version that you trust, then {accept}"
        )
    return Finding(name, FindingCode.VERSION_DELETED, Severity.ERROR, f"{message}.", remedy)


def absent_model(name: str, champion: int, renamed_to: str | None) -> Finding:
    """A model that is in the ledger but no longer in MLflow."""
    registered = ModelName.parse(name).registered
    if renamed_to is not None:
        call = f"MlflowClient().rename_registered_model({renamed_to!r}, {registered!r})"
        code = f"from mlflow import MlflowClient; {call}"
        return Finding(
            name,
            FindingCode.MODEL_RENAMED,
            Severity.ERROR,
            f"The registered model {registered} was renamed to {renamed_to}; its champion is "
            f"version {champion}.",
            "Rename it back in the MLflow UI, or, from the checkout: "
            f"`python -m deployments.tool python -c {shlex.quote(code)}`",
        )
    return Finding(
        name,
        FindingCode.MODEL_DELETED,
        Severity.ERROR,
        f"The registered model {registered} was deleted in MLflow, or this account may not read "
        f"it; its champion was version {champion}.",
        "If only this account does not see it, give it READ on the model in MLflow. Else bring it "
        "back from a backup of MLflow's database, or register it again with "
        "`guardianflow run SCENARIO --type train --version vN` (or --type quant), set @champion in "
        f"MLflow, then {_repair(name, 'mlflow', 'it was deleted')}",
    )


def unready_version(name: str, version: int, alias: ModelAlias) -> Finding:
    """A version with an alias whose upload was never finished."""
    return Finding(
        name,
        FindingCode.VERSION_NOT_READY,
        Severity.ERROR if alias is not ModelAlias.CANDIDATE else Severity.WARNING,
        f"Version {version} of {name} (@{alias}) is not READY in MLflow.",
        "Register it again with `guardianflow run SCENARIO --type train --version vN` (or --type "
        "quant).",
    )


def damaged_files(
    name: str, version: int, alias: ModelAlias, error: ArtifactMissing, seen_by: FileCheck
) -> Finding:
    """Files of a version that are missing or changed."""
    return Finding(
        name,
        FindingCode.FILE_CHANGED if seen_by is FileCheck.SHA256 else FindingCode.FILE_MISSING,
        Severity.ERROR if alias is not ModelAlias.CANDIDATE else Severity.WARNING,
        f"{error.message.removesuffix('.')} (@{alias} is version {version}).",
        error.remedy,
        seen_by,
    )


def wrong_status(name: str, version: int, found: str, wanted: str) -> Finding:
    """A status tag of a version that differs from the ledger."""
    return Finding(
        name,
        FindingCode.TAG_WRONG,
        Severity.WARNING,
        f"The tag guardianflow.status of {name} version {version} is {found or 'absent'}, the "
        f"ledger says {wanted}.",
        f"Write it again: {_repair(name, 'ledger', 'tags were edited')}",
    )


def wrong_head_tag(base: ModelName) -> Finding:
    """The tag on the base model that names the newest operation is missing or wrong."""
    return Finding(
        base.public,
        FindingCode.MIRROR_WRONG,
        Severity.WARNING,
        f"The tag guardianflow.head of {base} was removed or edited.",
        f"Write it again: {_repair(base.public, 'ledger', 'tags were edited')}",
    )


def decided_at(record: OperationRecord) -> str:
    """The time of an operation for people."""
    return f"{datetime.fromisoformat(record.time):%Y-%m-%d %H:%M:%S} UTC"


def _repair(name: str, keep: str, reason: str) -> str:
    base = ModelName.parse(name).base
    return f'`guardianflow repair {base} --keep {keep} --reason "{reason}"`'
