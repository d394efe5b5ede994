"""Examines releases: finds what is wrong and which command mends it, and writes nothing.

    server -> ledger -> aliases -> versions -> files -> tags -> what a person should know
       |        |          |          |          |       |
       +--------+----------+----------+----------+-------+----> `findings.py`, `caveats.py`

It lists all models once; then it makes a few calls for each release, and one for each folder of
files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from mlflow import MlflowClient

from guardianflow.errors import ArtifactMissing, LedgerDamaged, StoredUnreadable
from guardianflow.mlflow_store.artifacts import verify_sizes, verify_version
from guardianflow.mlflow_store.client import server_version
from guardianflow.mlflow_store.registered_models import (
    CHAMPION_STATUS,
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
from guardianflow.registry.ledger.mirror import MirrorStatus, compare_mirror, read_mirror
from guardianflow.registry.ledger.write_once import FAILS_TAG
from guardianflow.registry.release_state import Drift, ModelAlias, OperationRecord, ReleaseState
from guardianflow.registry.rotation.release_reader import ATTEMPTS, conflict
from guardianflow.registry.rotation.rules import all_quarantined

Versions = Mapping[str, Mapping[int, RegisteredModelInfo]]
"""By public name and number; a name without a registered model is absent."""
_Verify = Callable[[MlflowClient, RegisteredModelInfo], object]


@dataclass(frozen=True)
class ReleaseDetails:
    """Everything about one release, read at one moment."""

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
    releases: Sequence[ReleaseOverview],
    *,
    files: FileCheck = FileCheck.SIZE,
    on_progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> list[Finding]:
    """Examine the server and some releases; the worst finding comes first.

    `files` is how closely the files of champions, ways back and candidates are compared.
    `on_progress` is called with the step, the releases done and all of them.

    Raises:
        RegistryUnavailable: The server went away.
        RotationConflict: Others kept changing a release while it was read.
    """
    everything = examine_server(registry)
    asked, step = asked_about(registry), "examining releases"
    for done, release in enumerate(releases):
        on_progress(step, done, len(releases))
        everything += examine_release(registry, release.base, files=files, asked=asked)
    on_progress(step, len(releases), len(releases))
    return said_once(everything)


def asked_about(registry: ModelRegistryManager) -> dict[str, int]:
    """The versions that open approvals would make champion, by public name."""
    from guardianflow.promotion.question import open_questions

    try:
        waiting = open_questions(registry.client)
    except LedgerDamaged:
        # `examine_server` reports it.
        return {}
    return {name: v for one in waiting for name, v in one.asked.versions.items()}


def find_releases(
    registry: ModelRegistryManager, name: ModelName | None = None
) -> list[ReleaseOverview]:
    """The releases to examine: that of a name, or all.

    Raises:
        ModelUnknown: No model of that name is registered, and the ledger knows none.
    """
    releases = survey(registry.client)
    if name is None:
        return releases
    mine = [release for release in releases if release.base == name.base]
    if not any(release.in_ledger or name.public in release.models for release in mine):
        check_registered(registry.client, name)
    return mine


def examine_server(registry: ModelRegistryManager) -> list[Finding]:
    """What is wrong with the MLflow server itself."""
    try:
        if index := find_index(registry.client):
            read_index(registry.client, index)
    except LedgerDamaged as error:
        return [found.unusable_ledger(None, error)]
    # The result of the test before the first operation; doctor itself writes nothing.
    version = server_version(registry.client) or "unknown"
    why = index.tags.get(f"{FAILS_TAG}{version}") if index else None
    return [found.params_not_kept(version, why)] if why else []


def said_once(findings: Sequence[Finding]) -> list[Finding]:
    """Sort the findings, the worst first, and drop those of releases that repeat the server's."""
    server = {finding.message for finding in findings if not finding.model}
    return worst_first(f for f in findings if not f.model or f.message not in server)


def examine_release(
    registry: ModelRegistryManager,
    base: ModelName,
    *,
    files: FileCheck,
    asked: Mapping[str, int],
) -> list[Finding]:
    """What is wrong with one release; `asked` is what `asked_about` found."""
    try:
        details = read_details(registry, base)
    except (LedgerDamaged, StoredUnreadable) as error:
        return [found.unusable_ledger(base, error)]
    return examine_details(registry, details, files=files, now=datetime.now(UTC), asked=asked)


def examine_details(
    registry: ModelRegistryManager,
    details: ReleaseDetails,
    *,
    files: FileCheck,
    now: datetime,
    asked: Mapping[str, int],
) -> list[Finding]:
    """What is wrong with a release that was just read; only its files are still read here."""
    return worst_first(
        [
            *_aliases(registry.client, details, now),
            *_versions(registry.client, details, files, asked),
            *(found.wrong_status(*wrong) for wrong in wrong_tags(details)),
            *_mirror(details),
            *caveats.release_caveats(
                details.base,
                details.state,
                details.past,
                now,
                candidates=_candidates(details.models),
                asked=asked,
                twins=_twins(details),
            ),
        ]
    )


def release_notices(registry: ModelRegistryManager, base: ModelName) -> list[Finding]:
    """What people should know about a release, without reading its versions.

    Raises:
        LedgerDamaged: The ledger was deleted, cut or edited.
    """
    now = datetime.now(UTC)
    ledger = registry.ledger(base)
    head = ledger.read()
    open_end = [found.interrupted_operation(head.interrupted, now)] if head.interrupted else []
    past = tuple(ledger.past(head))
    candidates = _candidates(read_release_models(registry.client, base))
    asked = asked_about(registry)
    known = caveats.release_caveats(base, head.state, past, now, candidates=candidates, asked=asked)
    return worst_first([*open_end, *known])


def _twins(details: ReleaseDetails) -> dict[str, int]:
    """The newest version of each variant made from the champion of the base."""
    entry, bad = details.state.get(details.base.public), all_quarantined(details.past)
    return {
        name: info.version
        for name, infos in details.versions.items()
        for _, info in sorted(infos.items())
        if entry is not None and ModelName.parse(name).is_variant
        if info.source_version == entry.champion and (name, info.version) not in bad
    }


def _candidates(models: Mapping[str, ModelSummary]) -> dict[str, int]:
    return {
        name: model.aliases[ModelAlias.CANDIDATE]
        for name, model in models.items()
        if ModelAlias.CANDIDATE in model.aliases
    }


def read_details(registry: ModelRegistryManager, base: ModelName) -> ReleaseDetails:
    """Read everything about one release except its files.

    Raises:
        LedgerDamaged: The ledger was deleted, cut or edited.
        RotationConflict: Others kept changing the release while it was read.
    """
    for _ in range(ATTEMPTS):
        inspection = registry.release(base).inspect()
        head, ledger = inspection.head, registry.ledger(base)
        past = tuple(ledger.past(ledger.verify()))
        versions = {
            name: {i.version: i for i in read_versions(registry.client, ModelName.parse(name))}
            for name in inspection.models
        }
        # An operation in between would have changed the tags that are compared here.
        if is_newest(registry, base, head):
            return ReleaseDetails(base, head, past, inspection.models, versions, inspection.drift)
    raise conflict(base)


def is_newest(registry: ModelRegistryManager, base: ModelName, head: LedgerHead) -> bool:
    """Whether a head is still the newest operation, with the same progress."""
    now = registry.ledger(base).read()
    return (now.seq, now.interrupted) == (head.seq, head.interrupted)


def wrong_tags(details: ReleaseDetails) -> list[tuple[str, int, str, str]]:
    """The versions whose status is not what the ledger says: name, version, found, wanted."""
    if details.head.interrupted:
        # The operation writes them after the aliases.
        return []
    wanted: dict[tuple[str, int], tuple[str, ...]] = {
        (name, entry.champion): (CHAMPION_STATUS,) for name, entry in details.state.items()
    }
    for key in all_quarantined(details.past):
        # A person may have rejected it after the rollback.
        wanted.setdefault(key, (ROLLED_BACK, REJECTED))
    wrong: list[tuple[str, int, str, str]] = []
    for (name, version), allowed in sorted(wanted.items()):
        info = details.versions.get(name, {}).get(version)
        if info is not None and info.status not in allowed:
            wrong.append((name, version, info.status, allowed[0]))
    return wrong


def _aliases(client: MlflowClient, details: ReleaseDetails, now: datetime) -> Iterator[Finding]:
    for name, entry in sorted(details.state.items()):
        if name not in details.models:
            renamed = find_renamed(client, ModelName.parse(name))
            yield found.absent_model(name, entry.champion, renamed)
    if details.head.interrupted:
        yield found.interrupted_operation(details.head.interrupted, now)
    numbers = {name: set(infos) for name, infos in details.versions.items()}
    for drift in details.drift:
        entry = details.state.get(drift.name)
        way_back = entry is not None and entry.rollback in numbers.get(drift.name, ())
        if finding := found.moved_alias(drift, numbers, way_back=way_back):
            yield finding


def _versions(
    client: MlflowClient, details: ReleaseDetails, files: FileCheck, asked: Mapping[str, int]
) -> Iterator[Finding]:
    bad = all_quarantined(details.past)
    for name, version, alias in _used(details):
        info = details.versions.get(name, {}).get(version)
        if info is None:
            # Reported with the alias.
            continue
        if not info.ready:
            yield found.unready_version(name, version, alias)
            continue
        if alias is ModelAlias.CANDIDATE and (name, version) in bad:
            yield caveats.quarantined_candidate(name, version, asked.get(name))
        yield from _files(client, info, alias, files)


def _used(details: ReleaseDetails) -> Iterator[tuple[str, int, ModelAlias]]:
    """The versions of champions, ways back and candidates, each once."""
    seen: set[tuple[str, int]] = set()
    for name in sorted(details.state.keys() | details.models.keys()):
        entry, model = details.state.get(name), details.models.get(name)
        for alias, version in (
            (ModelAlias.CHAMPION, entry.champion if entry else None),
            (ModelAlias.ROLLBACK, entry.rollback if entry else None),
            (ModelAlias.CANDIDATE, model.aliases.get(ModelAlias.CANDIDATE) if model else None),
        ):
            if version is not None and (name, version) not in seen:
                seen.add((name, version))
                yield name, version, alias


def _files(
    client: MlflowClient, info: RegisteredModelInfo, alias: ModelAlias, files: FileCheck
) -> Iterator[Finding]:
    # The quickest check first.
    match files:
        case FileCheck.NONE:
            checks: list[tuple[FileCheck, _Verify]] = []
        case FileCheck.SIZE:
            checks = [(FileCheck.SIZE, verify_sizes)]
        case FileCheck.SHA256:
            checks = [(FileCheck.SIZE, verify_sizes), (FileCheck.SHA256, verify_version)]
        case _:
            assert_never(files)
    for seen_by, verify in checks:
        try:
            verify(client, info)
        except ArtifactMissing as error:
            yield found.damaged_files(info.name, info.version, alias, error, seen_by)
            return


def _mirror(details: ReleaseDetails) -> Iterator[Finding]:
    model = details.models.get(details.base.public)
    if model is None or details.head.interrupted:
        return
    if compare_mirror(read_mirror(model), details.head) is not MirrorStatus.CURRENT:
        yield found.wrong_head_tag(details.base)
