"""Measures the speed of a registered variant on the machine at hand: `guardianflow measure`.

Figures from one kind of machine say nothing about another. The report of each is kept with the run
that made the variant, and a second call finds it.
"""

from dataclasses import dataclass

from guardianflow.errors import ArtifactMissing, InputError, NoCandidate
from guardianflow.evaluation.measurement import deployed_folder
from guardianflow.evaluation.speed import SpeedReport, compare_speed, machine
from guardianflow.evaluation.trial import trial_frame
from guardianflow.evaluation.variant_records import keep_speed, read_speeds
from guardianflow.names import ModelName
from guardianflow.registry import ModelAlias, ModelRegistryManager, RegisteredModelInfo

SPEED_TAG = "guardianflow.latency."


@dataclass(frozen=True)
class Remeasured:
    """The speed of a variant here, against a version of its base; earlier figures are `reused`."""

    name: str
    version: int
    source_version: int
    report: SpeedReport
    reused: bool


def measure_speed(
    registry: ModelRegistryManager, name: str, version: int | None = None, *, again: bool = False
) -> Remeasured:
    """Time a variant and its base on this machine, and keep the figures with the variant's run.

    Without a version it takes @candidate, else @champion. Figures of this kind of machine are found
    again, and replaced with `again`.

    Raises:
        InputError: The name is that of a base.
        NoCandidate: It has neither @candidate nor @champion.
        ArtifactMissing: Its source or its run is unknown, or a file is gone or differs.
    """
    parsed = ModelName.parse(name)
    if not parsed.is_variant:
        raise InputError(
            f"{name} is a base; only a variant can be measured against its base.",
            remedy=f"Name a variant, e.g. `guardianflow measure {name}__openvino_int8`.",
            name=name,
        )
    info = _version(registry, parsed.public, version)
    if info.run_id is None or info.source_version is None:
        raise ArtifactMissing(
            f"It is not recorded from which version {name} version {info.version} was made.",
            remedy="Measure one made by `guardianflow run SCENARIO --type quant --version V`.",
            name=parsed.public,
            version=info.version,
        )
    kept = None if again else read_speeds(registry.client, info.run_id).get(machine())
    report = kept or compare_speed(
        deployed_folder(registry, parsed.base.public, info.source_version),
        deployed_folder(registry, parsed.public, info.version),
        [trial_frame(registry, info).pixels],
    )
    if kept is None:
        keep_speed(registry.client, info.run_id, report)
    tag = SPEED_TAG + report.machine
    if info.tags.get(tag) != report.sentence():
        registry.set_version_tag(parsed.public, info.version, tag, report.sentence())
    return Remeasured(
        parsed.public, info.version, info.source_version, report, reused=kept is not None
    )


def _version(registry: ModelRegistryManager, name: str, version: int | None) -> RegisteredModelInfo:
    if version is not None:
        return registry.get_version(name, version)
    versions = registry.list_versions(name)
    for alias in (ModelAlias.CANDIDATE, ModelAlias.CHAMPION):
        for info in versions:
            if alias.value in info.aliases:
                return info
    raise NoCandidate(
        f"{name} has neither @candidate nor @champion.",
        remedy="Name a version with --model-version.",
        name=name,
    )
