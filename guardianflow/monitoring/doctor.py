"""Examines releases: what is wrong with each, and which command mends it. It writes nothing.

    server -> ledger -> aliases -> versions -> files -> tags -> what a person should know
       |        |          |          |          |       |
       +--------+----------+----------+----------+-------+----> `findings.py`, `caveats.py`

One listing of all models; then a handful of calls for each release that is examined, and one for
each folder of files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient

from guardianflow.errors import ArtifactMissing, LedgerDamaged, StoredUnreadable
from guardianflow.mlflow_store.artifacts import verify_sizes, verify_version
from guardianflow.mlflow_store.client import server_version
from guardianflow.mlflow_store.registered_models import (
    REJECTED,
    ROLLED_BACK,
    ModelSummary,
    RegisteredModelInfo,
    check_registered,
    find_renamed,
    read_release_models,
    read_versions,
)
from guardianflow.monitoring import caveats
from guardianflow.monitoring import findings as found
from guardianflow.monitoring.findings import FileCheck, Finding, worst_first
from guardianflow.monitoring.survey import ReleaseOverview, survey
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.head import LedgerHead
from guardianflow.registry.ledger.index import find_index, read_index
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.ledger.mirror import MirrorStatus, compare_mirror, read_mirror
from guardianflow.registry.ledger.write_once import FAILS_TAG
from guardianflow.registry.release_state import Drift, ModelAlias, OperationRecord, ReleaseState
from guardianflow.registry.rotation.release_reader import ATTEMPTS, conflict
from guardianflow.registry.rotation.rules import all_quarantined

Versions = Mapping[str, Mapping[int, RegisteredModelInfo]]
"""By public name and number; a name without a registered model is absent."""


@dataclass(frozen=True)
class ReleaseDetails:
    """What is known of one release, read at one moment."""

    base: ModelName
    head: LedgerHead
    past: tuple[OperationRecord, ...]
    """Every operation, newest first."""
    models: Mapping[str, ModelSummary]
    versions: Versions
    drift: tuple[Drift, ...]

    @property
    def state(self) -> ReleaseState:
        """What the ledger says."""
        return self.head.state


def examine_releases(
    registry: ModelRegistryManager,
    name: str | ModelName | None = None,
    *,
    files: FileCheck = FileCheck.SIZE,
) -> list[Finding]:
    """Examine the release that a name belongs to, or all of them; the worst comes first.

    Args:
        registry: The registered models.
        name: Base or variant; None takes every release.
        files: How closely the files of champions, ways back and candidates are compared.

    Raises:
        ModelUnknown: No model of that name is registered, and the ledger knows none.
        RegistryUnavailable: The server went away.
    """
    everything = examine_server(registry)
    asked = asked_about(registry)
    for sight in find_releases(registry, name):
        everything += examine_release(registry, sight.base, files=files, asked=asked)
    return said_once(everything)


def asked_about(registry: ModelRegistryManager) -> dict[str, int]:
    """The versions that open questions would make champion, by public name."""
    from guardianflow.promotion.question import open_questions

    try:
        waiting = open_questions(registry.client)
    except LedgerDamaged:
        # Said by `examine_server`.
        return {}
    return {name: v for one in waiting for name, v in one.asked.versions.items()}


def find_releases(
    registry: ModelRegistryManager, name: str | ModelName | None = None
) -> list[ReleaseOverview]:
    """The releases to examine: that of a name, or all.

    Raises:
        ModelUnknown: No model of that name is registered, and the ledger knows none.
    """
    sights = survey(registry.client)
    if name is None:
        return sights
    wanted = name if isinstance(name, ModelName) else ModelName.parse(name)
    mine = [sight for sight in sights if sight.base == wanted.base]
    if not any(sight.known or wanted.public in sight.models for sight in mine):
        check_registered(registry.client, wanted)
    return mine


def examine_server(registry: ModelRegistryManager) -> list[Finding]:
    """What is wrong with the server itself, on which everything else rests."""
    try:
        if index := find_index(registry.client):
            read_index(registry.client, index)
    except LedgerDamaged as error:
        return [found.of_ledger(None, error)]
    # How it came out when it was tried, before the first operation; a doctor tries nothing.
    version = server_version(registry.client) or "unknown"
    why = index.tags.get(f"{FAILS_TAG}{version}") if index else None
    return [found.of_backend(version, why)] if why else []


def said_once(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, the worst first; what is wrong with the server is not said for each release."""
    server = {finding.message for finding in findings if not finding.model}
    return worst_first(f for f in findings if not f.model or f.message not in server)


def examine_release(
    registry: ModelRegistryManager,
    base: ModelName,
    *,
    asked: Mapping[str, int],
    files: FileCheck = FileCheck.SIZE,
    now: datetime | None = None,
) -> list[Finding]:
    """What is wrong with one release.

    Args:
        registry: The registered models.
        base: Public name of the base.
        asked: What `asked_about` found.
        files: How closely the files of champions, ways back and candidates are compared.
        now: The time; None takes that of this machine.

    Raises:
        RegistryUnavailable: The server went away.
        RotationConflict: Others kept changing the release while it was read.
    """
    try:
        chart = read_chart(registry, base)
    except (LedgerDamaged, StoredUnreadable) as error:
        return [found.of_ledger(base, error)]
    now = now or datetime.now(UTC)
    return examine_chart(registry, chart, files=files, now=now, asked=asked)


def examine_chart(
    registry: ModelRegistryManager,
    chart: ReleaseDetails,
    *,
    files: FileCheck,
    now: datetime,
    asked: Mapping[str, int],
) -> list[Finding]:
    """What is wrong with a release that was just read; only its files are still to be asked for."""
    return worst_first(
        [
            *_aliases(registry.client, chart, now),
            *_versions(registry.client, chart, files, asked),
            *(found.of_tag(*wrong) for wrong in wrong_tags(chart)),
            *_mirror(chart),
            *caveats.of_state(
                chart.base.public,
                chart.state,
                chart.past,
                now,
                candidates=_candidates(chart.models),
                asked=asked,
                twins=_twins(chart),
            ),
        ]
    )


def release_notices(registry: ModelRegistryManager, base: ModelName) -> list[Finding]:
    """What a person should know about a release, without a look at its versions.

    Raises:
        LedgerDamaged: The ledger was deleted, cut or edited.
    """
    now = datetime.now(UTC)
    ledger = Ledger(registry.client, base)
    head = ledger.read()
    open_end = [found.of_interruption(head.interrupted, now)] if head.interrupted else []
    past = tuple(ledger.past(head))
    candidates = _candidates(read_release_models(registry.client, base))
    asked = asked_about(registry)
    known = caveats.of_state(base.public, head.state, past, now, candidates=candidates, asked=asked)
    return worst_first([*open_end, *known])


def _twins(chart: ReleaseDetails) -> dict[str, int]:
    """By variant, the newest version that was made from the champion of the base."""
    place, bad = chart.state.get(chart.base.public), all_quarantined(chart.past)
    return {
        name: info.version
        for name, infos in chart.versions.items()
        for _, info in sorted(infos.items())
        if place is not None and ModelName.parse(name).is_variant
        if info.source_version == place.champion and (name, info.version) not in bad
    }


def _candidates(models: Mapping[str, ModelSummary]) -> dict[str, int]:
    return {
        name: model.aliases[ModelAlias.CANDIDATE]
        for name, model in models.items()
        if ModelAlias.CANDIDATE in model.aliases
    }


def read_chart(registry: ModelRegistryManager, base: ModelName) -> ReleaseDetails:
    """Read everything that the findings on one release need, but its files.

    Raises:
        LedgerDamaged: The ledger was deleted, cut or edited.
        RotationConflict: Others kept changing the release while it was read.
    """
    for _ in range(ATTEMPTS):
        inspection = registry.release(base).inspect()
        head, ledger = inspection.head, Ledger(registry.client, base)
        past = tuple(ledger.past(ledger.verify()))
        versions = {
            name: {i.version: i for i in read_versions(registry.client, ModelName.parse(name))}
            for name in inspection.models
        }
        # An operation that came between would have tagged what is compared with the one before.
        if is_newest(registry, base, head):
            return ReleaseDetails(base, head, past, inspection.models, versions, inspection.drift)
    raise conflict(base)


def is_newest(registry: ModelRegistryManager, base: ModelName, head: LedgerHead) -> bool:
    """Whether a head is still the newest operation, and as far as it was."""
    now = Ledger(registry.client, base).read()
    return (now.seq, now.interrupted) == (head.seq, head.interrupted)


def wrong_tags(chart: ReleaseDetails) -> list[tuple[str, int, str, str]]:
    """The versions whose status is not what the ledger says: name, version, found, wanted."""
    if chart.head.interrupted:
        # The tags come after the aliases.
        return []
    wanted: dict[tuple[str, int], tuple[str, ...]] = {
        (name, place.champion): ("champion",) for name, place in chart.state.items()
    }
    for key in all_quarantined(chart.past):
        # A person may have rejected it after the rollback.
        wanted.setdefault(key, (ROLLED_BACK, REJECTED))
    wrong: list[tuple[str, int, str, str]] = []
    for (name, version), allowed in sorted(wanted.items()):
        info = chart.versions.get(name, {}).get(version)
        if info is not None and info.status not in allowed:
            wrong.append((name, version, info.status, allowed[0]))
    return wrong


def _aliases(client: MlflowClient, chart: ReleaseDetails, now: datetime) -> Iterator[Finding]:
    for name, place in sorted(chart.state.items()):
        if name not in chart.models:
            renamed = find_renamed(client, ModelName.parse(name))
            yield found.of_absent_model(name, place.champion, renamed)
    if chart.head.interrupted:
        yield found.of_interruption(chart.head.interrupted, now)
    numbers = {name: set(infos) for name, infos in chart.versions.items()}
    for drift in chart.drift:
        place = chart.state.get(drift.name)
        way_back = place is not None and place.rollback in numbers.get(drift.name, ())
        if finding := found.of_drift(drift, numbers, way_back=way_back):
            yield finding


def _versions(
    client: MlflowClient, chart: ReleaseDetails, files: FileCheck, asked: Mapping[str, int]
) -> Iterator[Finding]:
    bad = all_quarantined(chart.past)
    for name, version, alias in _used(chart):
        info = chart.versions.get(name, {}).get(version)
        if info is None:
            # Said with the alias, which went with the version.
            continue
        if not info.ready:
            yield found.of_unready(name, version, alias)
            continue
        if alias is ModelAlias.CANDIDATE and (name, version) in bad:
            yield caveats.of_candidate(name, version, asked.get(name))
        yield from _files(client, info, alias, files)


def _used(chart: ReleaseDetails) -> Iterator[tuple[str, int, ModelAlias]]:
    """The versions that production needs or may soon need, each once."""
    seen: set[tuple[str, int]] = set()
    for name in sorted(chart.state.keys() | chart.models.keys()):
        place, model = chart.state.get(name), chart.models.get(name)
        for alias, version in (
            (ModelAlias.CHAMPION, place.champion if place else None),
            (ModelAlias.ROLLBACK, place.rollback if place else None),
            (ModelAlias.CANDIDATE, model.aliases.get(ModelAlias.CANDIDATE) if model else None),
        ):
            if version is not None and (name, version) not in seen:
                seen.add((name, version))
                yield name, version, alias


def _files(
    client: MlflowClient, info: RegisteredModelInfo, alias: ModelAlias, files: FileCheck
) -> Iterator[Finding]:
    closeness: Sequence[FileCheck] = list(FileCheck)
    for seen_by, verify in ((FileCheck.SIZE, verify_sizes), (FileCheck.SHA256, verify_version)):
        if closeness.index(files) < closeness.index(seen_by):
            return
        try:
            verify(client, info)
        except ArtifactMissing as error:
            yield found.of_files(info.name, info.version, alias, error, seen_by)
            return


def _mirror(chart: ReleaseDetails) -> Iterator[Finding]:
    model = chart.models.get(chart.base.public)
    if model is None or chart.head.interrupted:
        return
    if compare_mirror(read_mirror(model), chart.head) is not MirrorStatus.CURRENT:
        yield found.of_mirror(chart.base)
