"""Compares any two versions on the same frozen images; it changes nothing.

both measured -> paired differences with intervals -> what the gate would say of the second
              -> what both cost on this machine
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.errors import ArtifactMissing, NotComparable
from guardianflow.evaluation.gate import GateReport, judge
from guardianflow.evaluation.measurement import (
    Measured,
    deployed_folder,
    evaluation_digest,
    recorded_scenario,
)
from guardianflow.evaluation.run_reports import find_evaluation
from guardianflow.evaluation.subjects import (
    FrozenImages,
    OnProgress,
    Pair,
    find_ground,
    measure_subject,
    subject_of,
    timed_frames,
)
from guardianflow.evaluation.version_cost import CostComparison, measure_cost, weigh
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
    problem: str = Field(
        default="",
        description="Why it could not be measured; its figures are then those of its run.",
    )

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
    difference: Difference | None
    more_is_better: bool = True

    @property
    def says(self) -> DifferenceWord:
        """Whether the second is better, if the interval says so."""
        if self.difference is None or self.difference.low <= 0 <= self.difference.high:
            return DifferenceWord.OPEN
        more = self.difference.low > 0
        return DifferenceWord.BETTER if more is self.more_is_better else DifferenceWord.WORSE


class VersionComparison(BaseModel):
    """Two versions on the same images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Side = Field(description="The one that is compared with.")
    second: Side = Field(description="The one that is compared.")
    difference: PairedComparison | None = Field(
        description="Second less first, paired; None unless both could be measured."
    )
    gate: GateReport | None = Field(
        description="What the gate would say if the first were champion and the second were to "
        "take its place; None between two names, which never happens, and unless both could be "
        "measured."
    )
    cost: CostComparison = Field(description="What both cost on this machine.")

    def rows(self) -> list[Row]:
        """Return every figure of both with its difference."""
        before, after, paired = self.first.evaluation, self.second.evaluation, self.difference
        recalls = [
            Row(
                f"recall of {name}",
                before.per_class[name].recall,
                after.per_class[name].recall,
                paired.recall[name] if paired else None,
            )
            for name in after.per_class
            if name in before.per_class
        ]
        return [
            Row("mAP50", before.map50, after.map50, paired.map50 if paired else None),
            Row("mAP50-95", before.map50_95, after.map50_95, paired.map50_95 if paired else None),
            *recalls,
            Row(
                "false alarms per image",
                before.false_alarms_per_image,
                after.false_alarms_per_image,
                paired.false_alarms_per_image if paired else None,
                more_is_better=False,
            ),
        ]

    def sentence(self) -> str:
        """Say what is certain, and what is not."""
        if self.difference is None:
            gone = self.first if self.first.problem else self.second
            return (
                f"{gone.label} could not be measured, so which of the two is better is not known: "
                f"its figures are those of its run. {gone.problem}"
            )
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


@dataclass(frozen=True)
class _Looked:
    """A version with its figures; without `measured` they are those of its run."""

    info: RegisteredModelInfo
    evaluation: Evaluation
    measured: Measured | None = None
    folder: Path | None = None
    problem: str = ""

    def side(self) -> Side:
        return Side(
            model_name=self.info.name,
            version=self.info.version,
            evaluation=self.evaluation,
            problem=self.problem,
        )


def compare_versions(
    registry: ModelRegistryManager,
    name: str,
    first: int,
    second: int,
    *,
    against: str | None = None,
    timed: bool = False,
    today: Today = nothing_known,
    on_progress: OnProgress | None = None,
) -> VersionComparison:
    """Measure two versions on the images that both were evaluated on, and compare them.

    `name` is that of the first, `against` that of the second: the same, or another form of the
    same model. With `timed` both are also timed on this machine. Where the files of one are gone,
    what its run recorded stands for it.

    Raises:
        VersionNotReady: There is no such version.
        NotComparable: They are of different models, detect different classes, or were evaluated
            on different images.
        ArtifactMissing: Neither can be measured, or one can not and its run recorded no figures;
            or one detects other classes than the images are labelled with.
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
    before, after = (_look(registry, info, ground, on_progress) for info in infos)
    if not (before.measured or after.measured):
        raise ArtifactMissing(
            f"Neither of the two can be measured. {before.problem} {after.problem}",
            remedy="Restore the files of one of them in MLflow's artifact store.",
        )
    difference = gate = None
    if before.measured and after.measured:
        seen = (before.measured.seen, after.measured.seen)
        difference = compare_seen(*seen, ground.samples, ground.classes)
        gate = _gate(registry, infos, ground, before.measured, after.measured)
    return VersionComparison(
        first=before.side(),
        second=after.side(),
        difference=difference,
        gate=gate,
        cost=_cost((before.folder, after.folder), ground, on_progress, timed=timed),
    )


def _look(
    registry: ModelRegistryManager,
    info: RegisteredModelInfo,
    ground: FrozenImages,
    on_progress: OnProgress | None,
) -> _Looked:
    """Measure a version, or read what its run recorded where its files are gone."""
    try:
        folder = deployed_folder(registry, info.name, info.version)
    except ArtifactMissing as error:
        kept = find_evaluation(registry.client, info.run_id) if info.run_id else None
        if kept is None:
            raise
        return _Looked(info, kept, problem=error.message)
    label = f"measure {_label(info)}"
    found = measure_subject(registry, info.name, info.version, ground, label, on_progress)
    return _Looked(info, found.evaluation, found, folder)


def _cost(
    folders: tuple[Path | None, Path | None],
    ground: FrozenImages,
    on_progress: OnProgress | None,
    *,
    timed: bool,
) -> CostComparison:
    if not timed:
        return weigh(*folders)
    show = partial(on_progress, "time both on this machine") if on_progress else lambda *_: None
    show(0, 1)
    cost = measure_cost(*folders, timed_frames(ground))
    show(1, 1)
    return cost


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
