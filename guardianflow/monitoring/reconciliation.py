"""Finishes what is provably ours, and reports the rest: one cheap pass over all releases.

    one listing -> looks wrong?  yes -> read it -> interrupted:         finish it
         |                                      -> @champion missing
         |                                         or quarantined:      put it back (rescue)
         |                                      -> tags edited:         write them again
         |                                      -> moved by hand, ...:  report it
         +-> others in turn: the end of their ledger, a few with their files

Only a person can say whether an alias that was moved by hand is right, so that is never undone
here. A release that cannot be read is reported and keeps no other from being looked at.
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
    examine_chart,
    examine_server,
    find_releases,
    is_newest,
    read_chart,
    wrong_tags,
)
from guardianflow.monitoring.findings import (
    FileCheck,
    Finding,
    Severity,
    of_ledger,
    of_unreadable,
    under_way,
    worst_first,
)
from guardianflow.monitoring.survey import ReleaseOverview, champions_of
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.ledger.mirror import MirrorStatus, compare_mirror
from guardianflow.registry.release_state import ModelAlias, OperationKind
from guardianflow.registry.rotation.outcome import Operation, operation_of

PASS_EVERY = timedelta(minutes=10)
"""How often a pass is made without a reason (prefect.yaml); whose turn it is follows from the time
alone."""
ENDS_IN_TURN = 1000
"""Releases of which the end of the ledger is read although they look well, in each pass."""
SIZES_IN_TURN = 60
"""Releases that are read in full, with the sizes of their files, in each pass."""
ACTOR = "reconcile"

Item = TypeVar("Item")


@dataclass
class Reconciliation:
    """What a pass did and found."""

    releases: frozenset[str]
    """All there are, by the public name of their base."""
    examined: dict[str, FileCheck] = field(default_factory=dict[str, FileCheck])
    """The releases that were read in full, by the public name of their base, and how closely; the
    server, which always is, has the name ""."""
    finished: list[Operation] = field(default_factory=list[Operation])
    rescued: list[Operation] = field(default_factory=list[Operation])
    mended: list[str] = field(default_factory=list[str])
    """Tags that were written again, in words."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """What only a person can mend."""
    champions: dict[str, int] = field(default_factory=dict[str, int])
    """What @champion names in MLflow, by public name."""

    @property
    def changed(self) -> bool:
        """Whether the pass mended anything."""
        return bool(self.finished or self.rescued or self.mended)

    @property
    def alarms(self) -> list[Finding]:
        """The findings that want a person now."""
        return worst_first(f for f in self.findings if f.severity is Severity.ERROR)

    def alarms_of(self, base: str) -> list[Finding]:
        """Those of one release; of the server, where the name is empty."""
        return [finding for finding in self.alarms if finding.base == base]

    @property
    def message(self) -> str:
        """The pass in one line."""
        said = [finding.message for finding in self.alarms]
        said += [operation.message for operation in (*self.finished, *self.rescued)]
        said += self.mended
        count = len(self.releases)
        return " ".join(said) or f"All is well: {count} release{'' if count == 1 else 's'}."


def reconcile(
    registry: ModelRegistryManager,
    name: str | None = None,
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
            compares sizes, and looks at those as well whose turn it is, at the bytes of one.
        suspects: Releases that are read in any case, by the public name of their base: those
            that were reported before.
        now: The time that decides whose turn it is.

    Raises:
        RegistryUnavailable: The server went away; the next pass goes on.
        ModelUnknown: No model of that name is registered.
    """
    now = now or datetime.now(UTC)
    server = examine_server(registry)
    sights = find_releases(registry, name)
    turn = turn_of(now)
    check = files or FileCheck.SIZE
    full = {
        sight.base: check
        for sight in sights
        if name is not None or sight.looks_wrong or sight.base.public in suspects
    }
    others = [sight for sight in sights if sight.base not in full] if files is None else []
    for sight in in_turn(others, SIZES_IN_TURN, turn):
        full[sight.base] = check
    if files is None and name is None:
        # The files of one release are fetched and compared byte by byte.
        for sight in in_turn(sights, 1, turn):
            full[sight.base] = FileCheck.SHA256
    for sight in in_turn(others, ENDS_IN_TURN, turn):
        if sight.base not in full and not _ends_well(registry, sight):
            full[sight.base] = check
    bases = frozenset(sight.base.public for sight in sights)
    result = Reconciliation(
        bases, examined={"": FileCheck.NONE}, findings=server, champions=champions_of(sights)
    )
    for base, closeness in full.items():
        _look_at(registry, base, closeness, now, result)
    return result


def turn_of(now: datetime) -> int:
    """The number of the pass that is made at a time."""
    return int(now.timestamp() // PASS_EVERY.total_seconds())


def in_turn(items: Sequence[Item], count: int, turn: int) -> list[Item]:
    """The few of many whose turn it is: all have been seen after len / count turns."""
    if len(items) <= count:
        return list(items)
    start = turn * count % len(items)
    return [*items, *items][start : start + count]


def mend_tags(registry: ModelRegistryManager, base: ModelName) -> list[str]:
    """Write the status of the versions of a release again where it is not what the ledger says.

    Returns:
        What was written, in words.
    """
    return _mend_tags(registry, read_chart(registry, base))


def _ends_well(registry: ModelRegistryManager, sight: ReleaseOverview) -> bool:
    """Whether the ledger ends where the mirror says, with nothing left to finish."""
    if not sight.known:
        return True
    try:
        head = Ledger(registry.client, sight.base).read()
    except (Refused, InputError, MlflowException):
        # Read in full it is told what is wrong, and only of this release.
        return False
    mirrored = compare_mirror(sight.mirror, head) is MirrorStatus.CURRENT
    return mirrored and head.interrupted is None


def _look_at(
    registry: ModelRegistryManager,
    base: ModelName,
    files: FileCheck,
    now: datetime,
    result: Reconciliation,
) -> None:
    """Mend what is ours in one release and collect what is not."""
    try:
        chart = _mend(registry, read_chart(registry, base), now, result)
        # What people are asked about changes no remedy of an error, and a pass tells only those.
        findings = examine_chart(registry, chart, files=files, now=now, asked={})
    except RotationConflict:
        # Others are at work on it: the next pass looks again.
        return
    except (LedgerDamaged, StoredUnreadable) as error:
        if error.message in (finding.message for finding in result.alarms_of("")):
            # Said once, for the server; of the release nothing new is known.
            return
        findings = [of_ledger(base, error)]
    except (Refused, InputError, MlflowException) as error:
        findings = [of_unreadable(base, str(error))]
    result.examined[base.public] = files
    result.findings += findings


def _mend(
    registry: ModelRegistryManager, chart: ReleaseDetails, now: datetime, result: Reconciliation
) -> ReleaseDetails:
    """Do what needs no person, and return the release as it is then."""
    release = registry.release(chart.base)
    before = len(result.finished) + len(result.rescued)
    try:
        if record := chart.head.interrupted:
            if under_way(record, now):
                return chart
            if finished := release.finish():
                result.finished.append(
                    operation_of(finished, "was interrupted and is finished now")
                )
        if any(drift.alias is ModelAlias.CHAMPION for drift in chart.drift) and (
            # It leaves alone what was moved to a version that may be right.
            rescued := registry.rescue(chart.base, actor=ACTOR)
        ):
            result.rescued.append(rescued)
        if release.refresh_mirror():
            result.mended.append(f"Wrote the tag guardianflow.head of {chart.base} again.")
    except RotationConflict:
        raise
    except Refused:
        # What cannot be mended is found by the examination, in more words.
        pass
    if len(result.finished) + len(result.rescued) > before:
        chart = read_chart(registry, chart.base)
    if tags := _mend_tags(registry, chart):
        result.mended += tags
        chart = read_chart(registry, chart.base)
    return chart


def _mend_tags(registry: ModelRegistryManager, chart: ReleaseDetails) -> list[str]:
    said: list[str] = []
    for name, version, found, wanted in wrong_tags(chart):
        if not _is_still(registry, chart, name, version, found):
            # Promoted, rolled back or rejected since: the next pass judges that.
            continue
        registry.set_version_tag(name, version, STATUS_TAG, wanted)
        if wanted == ROLLED_BACK:
            reason = next(
                (
                    record.by.reason
                    for record in chart.past
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
    registry: ModelRegistryManager, chart: ReleaseDetails, name: str, version: int, status: str
) -> bool:
    """Whether a version has the status that was judged, and nobody moved the release since."""
    try:
        now = read_version(registry.client, ModelName.parse(name), version).status
    except VersionNotReady:
        return False
    return now == status and is_newest(registry, chart.base, chart.head)
