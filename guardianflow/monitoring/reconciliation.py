"""Mends what needs no person, and reports the rest: one cheap pass over all releases.

    one listing -> looks wrong?  yes -> read it -> interrupted:         finish it
         |                                      -> @champion missing
         |                                         or quarantined:      put it back (rescue)
         |                                      -> tags edited:         write them again
         |                                      -> moved by hand, ...:  report it
         +-> others in turn: the end of their ledger, a few with their files

Only a person can say whether an alias that was moved by hand is right, so that is never undone
here. A release that cannot be read is reported, and the pass goes on with the others.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from mlflow.exceptions import MlflowException

from guardianflow.errors import (
    InputError,
    LedgerDamaged,
    Refused,
    RotationConflict,
    StoredUnreadable,
    VersionNotReady,
)
from guardianflow.mlflow_store.registered_models import (
    REASON_TAG,
    ROLLED_BACK,
    STATUS_TAG,
    read_version,
)
from guardianflow.monitoring.doctor import (
    ReleaseDetails,
    examine_details,
    examine_server,
    find_releases,
    is_newest,
    read_details,
    wrong_tags,
)
from guardianflow.monitoring.findings import (
    FileCheck,
    Finding,
    Severity,
    under_way,
    unreadable_release,
    unusable_ledger,
    worst_first,
)
from guardianflow.monitoring.survey import ReleaseOverview, champions_of
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.mirror import MirrorStatus, compare_mirror
from guardianflow.registry.release_state import ModelAlias, OperationKind
from guardianflow.registry.rotation.outcome import Operation, operation_of

PASS_EVERY = timedelta(minutes=10)
"""How often a pass is scheduled (prefect.yaml); only the time decides whose turn it is."""
ENDS_IN_TURN = 1000
"""Releases that look well and of which each pass still reads the end of the ledger."""
SIZES_IN_TURN = 60
"""Releases that each pass reads in full, with the sizes of their files."""
ACTOR = "reconcile"

Item = TypeVar("Item")


@dataclass
class Reconciliation:
    """What a pass did and found."""

    releases: frozenset[str]
    """All there are, by the public name of their base."""
    examined: dict[str, FileCheck] = field(default_factory=dict[str, FileCheck])
    """The releases that were read in full, by the public name of their base, with the check of
    their files; the server is always among them, as ""."""
    finished: list[Operation] = field(default_factory=list[Operation])
    rescued: list[Operation] = field(default_factory=list[Operation])
    mended: list[str] = field(default_factory=list[str])
    """Tags that were written again, in words."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """What was found after mending."""
    champions: dict[str, int] = field(default_factory=dict[str, int])
    """What @champion names in MLflow, by public name."""

    @property
    def changed(self) -> bool:
        """Whether the pass mended anything."""
        return bool(self.finished or self.rescued or self.mended)

    @property
    def alarms(self) -> list[Finding]:
        """The findings that need a person now."""
        return worst_first(f for f in self.findings if f.severity is Severity.ERROR)

    def alarms_of(self, base: str) -> list[Finding]:
        """The alarms of one release, or of the server where the name is empty."""
        return [finding for finding in self.alarms if finding.base == base]

    @property
    def message(self) -> str:
        """The result of the pass in one line."""
        said = [finding.message for finding in self.alarms]
        said += [operation.message for operation in (*self.finished, *self.rescued)]
        said += self.mended
        count = len(self.releases)
        return " ".join(said) or f"All is well: {count} release{'' if count == 1 else 's'}."


def reconcile(
    registry: ModelRegistryManager,
    name: ModelName | None = None,
    *,
    files: FileCheck | None = None,
    suspects: Collection[str] = (),
    now: datetime | None = None,
) -> Reconciliation:
    """Make one pass: over all releases, or over that of one name.

    Args:
        registry: The registered models.
        name: Base or variant, whose release is read in full. None looks at all, and reads those
            that look wrong or whose turn it is.
        files: How closely the files of the releases that are read in full are compared; None
            compares sizes, also of the releases whose turn it is, and all bytes of one.
        suspects: Releases to read in any case, by the public name of their base: those that were
            reported before.
        now: The time that decides whose turn it is.

    Raises:
        RegistryUnavailable: The server went away; the next pass goes on.
        ModelUnknown: No model of that name is registered.
    """
    now = now or datetime.now(UTC)
    server = examine_server(registry)
    overviews = find_releases(registry, name)
    turn = turn_of(now)
    check = files or FileCheck.SIZE
    full = {
        overview.base: check
        for overview in overviews
        if name is not None or overview.looks_wrong or overview.base.public in suspects
    }
    others = (
        [overview for overview in overviews if overview.base not in full] if files is None else []
    )
    for overview in in_turn(others, SIZES_IN_TURN, turn):
        full[overview.base] = check
    if files is None and name is None:
        # The files of one release are fetched and compared byte by byte.
        for overview in in_turn(overviews, 1, turn):
            full[overview.base] = FileCheck.SHA256
    for overview in in_turn(others, ENDS_IN_TURN, turn):
        if overview.base not in full and not _ends_well(registry, overview):
            full[overview.base] = check
    bases = frozenset(overview.base.public for overview in overviews)
    result = Reconciliation(
        bases, examined={"": FileCheck.NONE}, findings=server, champions=champions_of(overviews)
    )
    for base, closeness in full.items():
        _look_at(registry, base, closeness, now, result)
    return result


def turn_of(now: datetime) -> int:
    """The number of the pass that is made at a time."""
    return int(now.timestamp() // PASS_EVERY.total_seconds())


def in_turn(items: Sequence[Item], count: int, turn: int) -> list[Item]:
    """Choose the few whose turn it is; after len / count turns all have been chosen."""
    if len(items) <= count:
        return list(items)
    start = turn * count % len(items)
    return [*items, *items][start : start + count]


def _ends_well(registry: ModelRegistryManager, overview: ReleaseOverview) -> bool:
    """Whether the ledger ends where the mirror says, with nothing left to finish."""
    if not overview.in_ledger:
        return True
    try:
        head = registry.ledger(overview.base).read()
    except (Refused, InputError, MlflowException):
        # Reading it in full reports what is wrong.
        return False
    mirrored = compare_mirror(overview.mirror, head) is MirrorStatus.CURRENT
    return mirrored and head.interrupted is None


def _look_at(
    registry: ModelRegistryManager,
    base: ModelName,
    files: FileCheck,
    now: datetime,
    result: Reconciliation,
) -> None:
    """Mend one release, and collect what is left to report."""
    try:
        details = _mend(registry, read_details(registry, base), now, result)
        # Open approvals change only remedies of warnings, and a pass reports only errors.
        findings = examine_details(registry, details, files=files, now=now, asked={})
    except RotationConflict:
        # Others are at work on it: the next pass looks again.
        return
    except (LedgerDamaged, StoredUnreadable) as error:
        if error.message in (finding.message for finding in result.alarms_of("")):
            # Already reported for the server.
            return
        findings = [unusable_ledger(base, error)]
    except (Refused, InputError, MlflowException) as error:
        findings = [unreadable_release(base, str(error))]
    result.examined[base.public] = files
    result.findings += findings


def _mend(
    registry: ModelRegistryManager, details: ReleaseDetails, now: datetime, result: Reconciliation
) -> ReleaseDetails:
    """Mend what needs no person, and return the release as it is afterwards."""
    release = registry.release(details.base)
    before = len(result.finished) + len(result.rescued)
    try:
        if record := details.head.interrupted:
            if under_way(record, now):
                return details
            if finished := release.finish():
                result.finished.append(
                    operation_of(finished, "was interrupted and is finished now")
                )
        if any(drift.alias is ModelAlias.CHAMPION for drift in details.drift) and (
            # A rescue leaves an alias alone that was moved to a version that may be right.
            rescued := registry.rescue(details.base, actor=ACTOR)
        ):
            result.rescued.append(rescued)
        if release.refresh_mirror():
            result.mended.append(f"Wrote the tag guardianflow.head of {details.base} again.")
    except RotationConflict:
        raise
    except Refused:
        # The examination reports what cannot be mended.
        pass
    if len(result.finished) + len(result.rescued) > before:
        details = read_details(registry, details.base)
    if tags := mend_tags(registry, details):
        result.mended += tags
        details = read_details(registry, details.base)
    return details


def mend_tags(registry: ModelRegistryManager, details: ReleaseDetails) -> list[str]:
    """Write the status tags that differ from the ledger again, and say which in words."""
    said: list[str] = []
    for name, version, found, wanted in wrong_tags(details):
        if not _is_still(registry, details, name, version, found):
            # Changed since: the next pass looks again.
            continue
        registry.set_version_tag(name, version, STATUS_TAG, wanted)
        if wanted == ROLLED_BACK:
            reason = next(
                (
                    record.by.reason
                    for record in details.past
                    if record.kind is OperationKind.ROLLBACK
                    and record.moved().get(name, (None, 0))[0] == version
                ),
                "",
            )
            registry.set_version_tag(name, version, REASON_TAG, reason or "rolled back")
        said.append(
            f"Wrote the tag {STATUS_TAG} of {name} version {version} again: {wanted} (it was "
            f"{found or 'absent'})."
        )
    return said


def _is_still(
    registry: ModelRegistryManager, details: ReleaseDetails, name: str, version: int, status: str
) -> bool:
    """Whether a version still has the status that was read, in a release that has not moved."""
    try:
        now = read_version(registry.client, ModelName.parse(name), version).status
    except VersionNotReady:
        return False
    return now == status and is_newest(registry, details.base, details.head)
