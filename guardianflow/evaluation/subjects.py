"""Measures a name that would move beside its champion, and collects all that the gate asks about.

find_ground: the scenario and the frozen images -> measure both on them
    -> subject_of: difference, cost of a variant, what it learned from, time per frame, way back
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from guardianflow.errors import ArtifactMissing, VersionNotReady
from guardianflow.evaluation.gate import Leaks, Subject
from guardianflow.evaluation.import_source import is_imported, maker_of
from guardianflow.evaluation.measurement import (
    Measured,
    deployed_folder,
    evaluation_digest,
    evaluation_set,
    judged_scenario,
    measure_version,
)
from guardianflow.evaluation.run_reports import read_contamination
from guardianflow.evaluation.speed import VariantCost
from guardianflow.evaluation.variant_records import read_cost
from guardianflow.mlflow_store.artifacts import verify_version
from guardianflow.mlflow_store.runs import recorded_digest
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import Scenario, Today, nothing_known
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.comparison import compare_seen
from guardianflow.vision.metrics.latency import Latency, measure_latency

_TIMED_FRAMES = 16

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pair:
    """A version, and the champion that it would replace.

    Attributes:
        champion: The present champion, or another version to compare with; None: none.
        way_back: The version that @rollback would then name; None: none.
    """

    name: str
    version: int
    champion: int | None
    way_back: int | None


@dataclass(frozen=True)
class Compared:
    """A subject of the gate with the detections that its figures come from."""

    subject: Subject
    candidate: Measured | None
    champion: Measured | None


@dataclass(frozen=True)
class FrozenImages:
    """The frozen images that versions are measured on.

    Attributes:
        scenario: The scenario whose rules count; None where none is recorded.
        digest: Digest of the images, as recorded by the version's run; "" where it was not.
        samples: The images; empty where they are not available.
        problem: Why they are not available; "" where they are.
    """

    scenario: Scenario | None
    digest: str
    samples: Sequence[Sample]
    problem: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the images are labelled with."""
        return self.scenario.classes if self.scenario else ()


def find_ground(
    registry: ModelRegistryManager, info: RegisteredModelInfo, today: Today = nothing_known
) -> FrozenImages:
    """Find the scenario that a version was made from, and the frozen images of its evaluation.

    Raises:
        StoredUnreadable: Another version of guardianflow recorded it in a format of its own.
    """
    scenario, digest = judged_scenario(registry, info, today), ""
    if scenario is None:
        return FrozenImages(None, digest, (), "no scenario is recorded with it")
    try:
        digest = evaluation_digest(registry, info)
        _, samples = evaluation_set(scenario, recorded=digest)
    except ArtifactMissing as error:
        return FrozenImages(scenario, digest, (), error.message)
    return FrozenImages(scenario, digest, samples, "")


def examine_name(
    registry: ModelRegistryManager, pair: Pair, ground: FrozenImages, on_progress: OnProgress | None
) -> Compared:
    """Measure a version and its champion on the same frames, as far as that is possible."""
    # Figures may come from a local copy, but what will be served are the files on the server.
    damage = _damage(registry, pair.name, pair.version)
    problems = [problem for problem in (damage or ground.problem,) if problem]
    measured: dict[str, Measured] = {}
    for role, version in (("candidate", pair.version), ("champion", pair.champion)):
        if version is None or damage or ground.problem:
            continue
        label = f"measure {role} {pair.name} version {version}"
        try:
            measured[role] = measure_subject(
                registry, pair.name, version, ground, label, on_progress
            )
        except ArtifactMissing as error:
            # The gate calls it INCONCLUSIVE; it is no reason to fail here.
            problems.append(error.message)
    candidate, champion = measured.get("candidate"), measured.get("champion")
    subject = subject_of(registry, pair, ground, candidate, champion)
    subject = subject.model_copy(update={"problem": "; ".join(problems)})
    return Compared(subject, candidate, champion)


def measure_subject(
    registry: ModelRegistryManager,
    name: str,
    version: int,
    ground: FrozenImages,
    label: str,
    on_progress: OnProgress | None,
) -> Measured:
    """Measure a version on the frozen images; raises what `measure_version` raises."""
    show = partial(on_progress, label) if on_progress else None
    return measure_version(
        registry, name, version, ground.samples, ground.classes, on_progress=show
    )


def subject_of(
    registry: ModelRegistryManager,
    pair: Pair,
    ground: FrozenImages,
    candidate: Measured | None,
    champion: Measured | None,
) -> Subject:
    """Collect all that the gate asks about a version, with its figures."""
    info = registry.get_version(pair.name, pair.version)
    maker = maker_of(registry, info)
    cost = read_cost(registry.client, info.run_id) if info.run_id else None
    difference = (
        compare_seen(champion.seen, candidate.seen, ground.samples, ground.classes)
        if candidate and champion
        else None
    )
    return Subject(
        model_name=pair.name,
        version=pair.version,
        champion_version=pair.champion,
        candidate=candidate.evaluation if candidate else None,
        champion=champion.evaluation if champion else None,
        difference=difference,
        champion_held_out=_held_out(registry, pair, ground),
        cost=cost,
        latency=_latency(registry, pair, ground, cost) if candidate else None,
        leaks=_leaks(registry, maker),
        imported=is_imported(maker),
        way_back=pair.way_back,
        way_back_problem=_damage(registry, pair.name, pair.way_back) if pair.way_back else "",
    )


def _damage(registry: ModelRegistryManager, name: str, version: int) -> str:
    """Return why the files of a version are not as registered; '' if they are."""
    try:
        verify_version(registry.client, registry.get_version(name, version))
    except (ArtifactMissing, VersionNotReady) as error:
        return error.message
    return ""


def _held_out(registry: ModelRegistryManager, pair: Pair, ground: FrozenImages) -> bool:
    """Return whether the champion was evaluated on exactly these images."""
    if pair.champion is None or not ground.digest:
        return True
    champion = registry.get_version(pair.name, pair.champion)
    return recorded_digest(registry.client, champion.run_id) == ground.digest


def _leaks(registry: ModelRegistryManager, maker: RegisteredModelInfo) -> Leaks | None:
    """Count evaluation images that the training has seen; None if nobody looked."""
    report = read_contamination(registry.client, maker.run_id) if maker.run_id else None
    if report is None:
        return None
    return Leaks(exact=report.leaked(report.exact), near=report.leaked(report.near))


def _latency(
    registry: ModelRegistryManager, pair: Pair, ground: FrozenImages, cost: VariantCost | None
) -> Latency | None:
    """Return the time per frame here, if the scenario limits it; recorded figures are reused."""
    if ground.scenario is None or ground.scenario.gate.max_latency_ms is None:
        return None
    if cost and cost.speed:
        return cost.speed.variant
    from guardianflow.vision.ir.serving import IrDetector

    detector = IrDetector(deployed_folder(registry, pair.name, pair.version))
    return measure_latency({pair.name: detector}, timed_frames(ground))[pair.name]


def timed_frames(ground: FrozenImages) -> list[NDArray[np.uint8]]:
    """Return the frozen images that versions are timed on, each of shape (H, W, 3), RGB."""
    from guardianflow.vision.data.dataset import load_image

    return [load_image(sample.image) for sample in ground.samples[:_TIMED_FRAMES]]
