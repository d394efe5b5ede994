"""What a training starts from: random weights, those in production, or those trained on COCO.

The champion moves; the start of a training does not. It is resolved once, to a version and the
sha256 of its weights, and kept as tags of the run: a killed training that is resumed after the next
promotion still starts where its first attempt did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from guardianflow.errors import ArtifactMissing, NoCandidate, ScenarioInvalid
from guardianflow.lifecycle.training.continuation import runs_with
from guardianflow.lifecycle.training.kept_weights import weights_folder
from guardianflow.mlflow_store.registered_models import ROLLED_BACK, RegisteredModelInfo
from guardianflow.mlflow_store.runs import (
    START_LICENCE_TAG,
    START_SHA256_TAG,
    START_SOURCE_TAG,
    START_WEIGHTS_TAG,
    foreign_start,
)
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import Scenario, StartingPoint, TrainingSettings
from guardianflow.vision.data.sample import Dataset
from guardianflow.vision.network import weights
from guardianflow.vision.network.detector import Architecture, Detector
from guardianflow.vision.network.pretrained import COCO, NANODET_COCO, read_pretrained

VERSION_TAG = "guardianflow.start_version"
_FILE_TAG = f"guardianflow.sha256.artifacts/weights/{weights.FILE}"


@dataclass(frozen=True)
class Start:
    """What a training starts from: weights in the shape to be trained, or without them random ones.

    Attributes:
        tags: They name the weights, and are part of the work's identity.
        detector: The weights.
        notes: Further tags of the run.
    """

    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    detector: Detector | None = None
    notes: Mapping[str, str] = field(default_factory=dict[str, str])

    def params(self) -> dict[str, str]:
        """Return the tags as parameters of the run, which MLflow compares in its tables."""
        return {key.rpartition(".")[2]: value for key, value in self.tags.items()}


def find_start(
    registry: ModelRegistryManager,
    scenario: Scenario,
    dataset: Dataset,
    work: Mapping[str, str],
) -> Start:
    """Resolve and read what a training starts from, as an earlier attempt with these tags chose.

    Raises:
        NoCandidate: There is no champion to start from.
        ArtifactMissing: The weights are gone, differ, or guardianflow did not train the champion.
        ScenarioInvalid: The champion's network has another width.
    """
    match scenario.training.start:
        case StartingPoint.SCRATCH:
            return Start()
        case StartingPoint.CHAMPION:
            return _from_champion(registry, scenario, dataset, work)
        case StartingPoint.COCO:
            return start_from_coco(scenario.training, dataset)
        case _:
            assert_never(scenario.training.start)


def _from_champion(
    registry: ModelRegistryManager,
    scenario: Scenario,
    dataset: Dataset,
    work: Mapping[str, str],
) -> Start:
    version = _earlier_choice(registry, scenario, work) or _champion(registry, scenario.model_name)
    label = f"{scenario.model_name} version {version.version}"
    path = registry.download(scenario.model_name, version.version) / "artifacts" / "weights"
    if not (path / weights.FILE).is_file():
        raise ArtifactMissing(
            f"{label} has no weights to start from: it was not trained by guardianflow.",
            remedy="Set training.start to scratch.",
            version=version.version,
        )
    source, known = weights.load_weights(path / weights.FILE)
    training = scenario.training
    shape = replace(source.shape, classes=len(dataset.classes), image_size=training.image_size)
    if shape.architecture is Architecture.CSP:
        shape = replace(shape, width=training.width)
    try:
        detector = weights.carry_over(source, known, shape, dataset.classes, seed=training.seed)
    except ValueError as error:
        raise ScenarioInvalid(
            f"The training cannot start from {label}, whose network differs (width "
            f"{source.shape.width}, the scenario has {training.width}): {error}.",
            remedy="Set training.start to scratch, or training.width to that of the champion.",
            key="training.width",
            value=training.width,
        ) from error
    tags = {VERSION_TAG: str(version.version), START_SHA256_TAG: version.tags.get(_FILE_TAG, "")}
    # What the champion came from, its successor comes from, too.
    return Start(tags, detector, foreign_start(version.tags))


def start_from_coco(training: TrainingSettings, dataset: Dataset) -> Start:
    """Read the weights trained on COCO, for the classes of a data set.

    Raises:
        ArtifactMissing: They are not on this machine, or were changed.
    """
    known = NANODET_COCO
    source = read_pretrained(weights_folder(known), known)
    shape = replace(source.shape, classes=len(dataset.classes), image_size=training.image_size)
    detector = weights.carry_over(source, COCO, shape, dataset.classes, seed=training.seed)
    tags = {START_WEIGHTS_TAG: known.name, START_SHA256_TAG: known.digest}
    notes = {START_SOURCE_TAG: known.package, START_LICENCE_TAG: known.licence}
    return Start(tags, detector, notes)


def _champion(registry: ModelRegistryManager, name: ModelName) -> RegisteredModelInfo:
    champion = registry.get_champion(name)
    if champion is None:
        raise NoCandidate(
            f"{name} has no champion that a training could start from.",
            remedy="Set training.start to scratch for the first version of a model.",
            name=name.public,
        )
    return champion


def _earlier_choice(
    registry: ModelRegistryManager, scenario: Scenario, work: Mapping[str, str]
) -> RegisteredModelInfo | None:
    """Return what the last attempt at this work started from, unless it was rolled back since."""
    for run in runs_with(registry.client, scenario, work):
        number = run.data.tags.get(VERSION_TAG, "")
        if number.isdecimal():
            version = registry.get_version(scenario.model_name, int(number))
            return None if version.status == ROLLED_BACK else version
    return None
