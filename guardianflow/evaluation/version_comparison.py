"""Compares any two versions on the same frozen images; it changes nothing.

both measured -> paired differences with intervals -> what the gate would say of the second
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.errors import ArtifactMissing, NotComparable
from guardianflow.evaluation.gate import GateReport, judge
from guardianflow.evaluation.measurement import Measured, evaluation_digest, recorded_scenario
from guardianflow.evaluation.subjects import (
    FrozenImages,
    OnProgress,
    Pair,
    find_ground,
    measure_subject,
    subject_of,
)
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import Today, nothing_known
from guardianflow.vision.metrics.comparison import Difference, PairedComparison, compare_seen
from guardianflow.vision.metrics.evaluation import Evaluation


class Side(BaseModel):
    """One of the two versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_name: str = Field(description="Public name, base or variant.")
    version: int = Field(description="Its version.")
    evaluation: Evaluation = Field(description="Its figures on the images.")

    @property
    def label(self) -> str:
        """Its name in a table."""
        return f"{self.model_name.rpartition('/')[2]} {self.version}"


class DifferenceWord(StrEnum):
    """What an interval says about the second version."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "not to be told apart"
    """The interval holds 0."""


@dataclass(frozen=True)
class Row:
    """One figure of both versions."""

    what: str
    first: float
    second: float
    difference: Difference
    more_is_better: bool = True

    @property
    def says(self) -> DifferenceWord:
        """Whether the second is better, if the interval says so."""
        if self.difference.low <= 0 <= self.difference.high:
            return DifferenceWord.OPEN
        more = self.difference.low > 0
        return DifferenceWord.BETTER if more is self.more_is_better else DifferenceWord.WORSE


class VersionComparison(BaseModel):
    """Two versions on the same images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Side = Field(description="The one that is compared with.")
    second: Side = Field(description="The one that is compared.")
    difference: PairedComparison = Field(description="Second less first, paired.")
    gate: GateReport | None = Field(
        description="What the gate would say if the first were champion and the second were to "
        "take its place; None between two names, which never happens."
    )

    def rows(self) -> list[Row]:
        """Return every figure of both with its difference."""
        before, after, paired = self.first.evaluation, self.second.evaluation, self.difference
        recalls = [
            Row(f"recall of {name}", before.per_class[name].recall, after.per_class[name].recall, d)
            for name, d in paired.recall.items()
        ]
        return [
            Row("mAP50", before.map50, after.map50, paired.map50),
            Row("mAP50-95", before.map50_95, after.map50_95, paired.map50_95),
            *recalls,
            Row(
                "false alarms per image",
                before.false_alarms_per_image,
                after.false_alarms_per_image,
                paired.false_alarms_per_image,
                more_is_better=False,
            ),
        ]

    def sentence(self) -> str:
        """Say what is certain, and what is not."""
        found = {
            word: [row.what for row in self.rows() if row.says is word] for word in DifferenceWord
        }
        parts = [
            f"{word} in {', '.join(found[word])}"
            for word in (DifferenceWord.BETTER, DifferenceWord.WORSE)
            if found[word]
        ]
        said = f"is {' and '.join(parts)}" if parts else "is neither better nor worse for sure"
        open_ = found[DifferenceWord.OPEN]
        rest = f"; not to be told apart in {', '.join(open_)}" if open_ and parts else ""
        return (
            f"On the same {self.difference.images} images {self.second.label} {said} than "
            f"{self.first.label}{rest}."
        )


def compare_versions(
    registry: ModelRegistryManager,
    name: str,
    first: int,
    second: int,
    *,
    against: str | None = None,
    today: Today = nothing_known,
    on_progress: OnProgress | None = None,
) -> VersionComparison:
    """Measure two versions on the images that both were evaluated on, and compare them.

    `name` is that of the first, `against` that of the second: the same, or another form of the
    same model.

    Raises:
        VersionNotReady: There is no such version.
        NotComparable: They are of different models, detect different classes, or were evaluated
            on different images.
        ArtifactMissing: One cannot be measured: no IR, a file is gone or differs, or it detects
            other classes than the images are labelled with.
    """
    names = [ModelName.parse(name), ModelName.parse(against or name)]
    if names[0].base != names[1].base:
        raise NotComparable(
            f"{names[0]} and {names[1]} are different models: they look at different things.",
            remedy="Compare versions of one model, or of a model and its variants.",
        )
    infos = [registry.get_version(*one) for one in zip(names, (first, second), strict=True)]
    ground = find_ground(registry, infos[1], today)
    _require_same_task(registry, infos, ground)
    if ground.problem:
        raise ArtifactMissing(
            f"{infos[1].name} version {second} cannot be measured: {ground.problem}",
            remedy="Copy the data set of its training to this machine.",
        )
    before, after = (
        measure_subject(
            registry, info.name, info.version, ground, f"measure {_label(info)}", on_progress
        )
        for info in infos
    )
    return VersionComparison(
        first=Side(model_name=infos[0].name, version=first, evaluation=before.evaluation),
        second=Side(model_name=infos[1].name, version=second, evaluation=after.evaluation),
        difference=compare_seen(before.seen, after.seen, ground.samples, ground.classes),
        gate=_gate(registry, infos, ground, before, after),
    )


def _gate(
    registry: ModelRegistryManager,
    infos: Sequence[RegisteredModelInfo],
    ground: FrozenImages,
    before: Measured,
    after: Measured,
) -> GateReport | None:
    """Return what the gate would say if the second replaced the first."""
    first, second = infos
    if ground.scenario is None or first.name != second.name:
        return None
    pair = Pair(second.name, second.version, champion=first.version, way_back=first.version)
    return judge([subject_of(registry, pair, ground, after, before)], ground.scenario.gate)


def _require_same_task(
    registry: ModelRegistryManager, infos: Sequence[RegisteredModelInfo], ground: FrozenImages
) -> None:
    """Refuse versions with other classes, or where one may have learned from these images."""
    other = recorded_scenario(registry, infos[0])
    if other and ground.scenario and other.classes != ground.classes:
        raise NotComparable(
            f"{_label(infos[0])} detects {', '.join(other.classes)}; {_label(infos[1])} detects "
            f"{', '.join(ground.classes)}.",
            remedy="Compare versions of the same classes, in the same order.",
        )
    digests = [evaluation_digest(registry, info) for info in infos]
    if digests[0] != digests[1]:
        raise NotComparable(
            f"{_label(infos[0])} was evaluated on other images than {_label(infos[1])} (digest "
            f"{digests[0]}, {digests[1]}): each may have learned from the images of the other.",
            remedy="Train the older scenario version again on the present data, and compare that.",
            digests=digests,
        )


def _label(info: RegisteredModelInfo) -> str:
    return f"{info.name} version {info.version}"
