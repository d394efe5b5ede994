"""Finds champions without recent reports, where their scenario expects some.

    new champion -> read its policy, once -> note: due at now + silent_after_h
    due later                -> nothing is read
    due, a report came       -> note: due at the report + silent_after_h
    due, no report           -> a finding, which moves nothing

Where a release has variants, the floor runs those, and no reports about the base are expected. A
report about any version is a sign of life, even about the version before.

Reports carry the time of the machine that made them. A report from the future counts once, as of
the pass that first saw it, and not again when its time comes.
"""

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from mlflow import MlflowClient
from pydantic import AwareDatetime, Field

from guardianflow.errors import VersionNotReady
from guardianflow.health.limits import limits_of
from guardianflow.health.report import newest_report_time, oldest_report_time
from guardianflow.monitoring.alarms import finding_digest
from guardianflow.monitoring.findings import Finding, FindingCode, Severity
from guardianflow.monitoring.pass_memory import Notes, Topic
from guardianflow.monitoring.reconciliation import in_turn, turn_of
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Today, nothing_known
from guardianflow.stored import Stored

READ_IN_ONE_PASS = 20
"""New champions whose policy is read in one pass: each is a download."""
ASKED_IN_ONE_PASS = 25
"""Champions whose newest report is read in one pass, of the newly due and of the silent each."""
log = logging.getLogger(__name__)


class Watched(Stored):
    """What a pass remembers of a champion."""

    version: int
    """The champion that the note is about."""
    after_h: float | None
    """`silent_after_h` of its scenario; None where it expects no reports."""
    seen: AwareDatetime
    """The last sign of life: a report, or the first pass that saw this champion."""
    ahead: tuple[AwareDatetime, AwareDatetime] | None = Field(
        # Version 0.1.0 refuses the key, and would forget the note.
        default=None,
        exclude_if=lambda ahead: ahead is None,
    )
    """The first and the last report time of the future that has counted."""

    def is_due(self, now: datetime) -> bool:
        """Whether it is silent, unless a report came meanwhile."""
        return self.after_h is not None and now - self.seen > timedelta(hours=self.after_h)

    def as_known_at(self, now: datetime) -> "Watched":
        """The note without a time of the future, which a pass with a wrong clock may have left."""
        return self.model_copy(update={"seen": min(self.seen, now)})


def find_silent(
    registry: ModelRegistryManager,
    champions: Mapping[str, int],
    *,
    told: Collection[str] = (),
    now: datetime | None = None,
    watch: bool = True,
    today: Today = nothing_known,
) -> list[Finding]:
    """Find the champions without a report for longer than their scenario allows.

    Args:
        registry: Where the reports are.
        champions: The version of each champion, by public name.
        told: Digests of silences that were reported; they stay where this pass does not check.
        now: The time of the pass.
        watch: Store notes on new champions and signs of life; doctor writes nothing.
        today: Looks up scenarios as they are now; asked once for each new champion.
    """
    now = now or datetime.now(UTC)
    floor = models_on_floor(champions)
    notes = Notes(registry.client, Topic.WATCHED, Watched)
    read = {n: w for n, w in notes.read().items() if floor.get(n) == w.version}
    known = {name: watched.as_known_at(now) for name, watched in read.items()}
    if watch:
        for name in (name for name in read if known[name] != read[name]):
            notes.write(name, known[name])
        strangers = {name: version for name, version in floor.items() if name not in known}
        _note_new(registry, notes, strangers, now, today)
    due = {name: _silence(name, w) for name, w in sorted(known.items()) if w.is_due(now)}
    new = [name for name, finding in due.items() if finding_digest(finding) not in told]
    old = [name for name in due if name not in new]
    asked = [*new[:ASKED_IN_ONE_PASS], *in_turn(old, ASKED_IN_ONE_PASS, turn_of(now))]
    found = [due[name] for name in old if name not in asked]
    for name in asked:
        heard = _with_newest_sign(registry.client, ModelName.parse(name), known[name], now)
        if watch and heard != known[name]:
            notes.write(name, heard)
        if heard.is_due(now):
            found.append(_silence(name, heard))
    return found


def models_on_floor(champions: Mapping[str, int]) -> dict[str, int]:
    """The champions that boxes run: the variants, and bases without variants."""
    bases = {name: ModelName.parse(name).base.public for name in champions}
    with_variants = {base for name, base in bases.items() if name != base}
    return {name: v for name, v in champions.items() if name not in with_variants}


def _note_new(
    registry: ModelRegistryManager,
    notes: Notes[Watched],
    new: Mapping[str, int],
    now: datetime,
    today: Today,
) -> None:
    for name, version in sorted(new.items())[:READ_IN_ONE_PASS]:
        try:
            limits = limits_of(registry, registry.get_version(name, version), today)
            after_h = limits.policy.silent_after_h
        except VersionNotReady as error:
            # Deleted by hand, which other findings report.
            log.warning(
                "it is unknown how long %s version %d may be silent: %s", name, version, error
            )
            after_h = None
        notes.write(name, Watched(version=version, after_h=after_h, seen=now))


def _with_newest_sign(
    client: MlflowClient, name: ModelName, watched: Watched, now: datetime
) -> Watched:
    """The note with the newest sign of life."""
    sign = newest_report_time(client, name)
    if sign is None or sign <= watched.seen:
        return watched
    first, last = watched.ahead or (sign, watched.seen)
    if sign > now and sign > last:
        # It counts as of now, or a box whose clock is ahead could be silent for that long.
        oldest = oldest_report_time(client, name, since=now) or sign
        ahead = (min(oldest, first) if last > now else oldest, sign)
        return watched.model_copy(update={"seen": now, "ahead": ahead})
    if sign <= last:
        # It has counted before. There may be older ones, of a clock that was corrected.
        until = min(now, first - timedelta(milliseconds=1))
        sign = newest_report_time(client, name, until=until) or watched.seen
    return watched.model_copy(update={"seen": max(sign, watched.seen)})


def _silence(name: str, watched: Watched) -> Finding:
    return Finding(
        name,
        FindingCode.SILENT,
        Severity.ERROR,
        f"Nobody has reported about {name} since {watched.seen:%Y-%m-%d %H:%M} UTC, for more than "
        f"{watched.after_h:g} h: whether it fails, nobody knows.",
        "Check whether the camera and the edge box run, and whether the box reaches MLflow. "
        f"`guardianflow health show {name}` lists its reports.",
    )
