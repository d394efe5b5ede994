"""Runs a registered version over labelled frames, exactly as the edge box would run it."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardianflow.connection import border
from guardianflow.dataset import Dataset, Sample, load_image, prepare_dataset
from guardianflow.errors import ArtifactMissing
from guardianflow.evaluation import Detections, Evaluation, detections_of, evaluate
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import Scenario
from guardianflow.serving import IrDetector
from guardianflow.tracking import SCENARIO_FILE

IR_FOLDER = Path("artifacts/ir")


@dataclass(frozen=True)
class Measured:
    """One version on one set of frames."""

    version: int
    evaluation: Evaluation
    detections: tuple[Detections, ...]


def recorded_scenario(registry: ModelRegistryManager, info: RegisteredModelInfo) -> Scenario | None:
    """The scenario that a version was made from, as its run recorded it; None if it did not."""
    if info.run_id is None:
        return None
    client = registry.client
    with border(f"scenario of {info.name} version {info.version}"):
        if SCENARIO_FILE not in {file.path for file in client.list_artifacts(info.run_id)}:
            return None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(client.download_artifacts(info.run_id, SCENARIO_FILE, folder))
            text = path.read_text(encoding="utf-8")
    return Scenario.model_validate_json(text)


def evaluation_set(scenario: Scenario) -> tuple[Dataset, tuple[Sample, ...]]:
    """The frozen evaluation set of a scenario: the data set and its test split."""
    dataset = prepare_dataset(scenario.dataset, scenario.classes)
    return dataset, dataset.splits["test"]


def open_detector(registry: ModelRegistryManager, name: str, version: int) -> IrDetector:
    """The detector of a version, its files verified.

    Raises:
        ArtifactMissing: The version has no IR, or a file of it is gone or differs.
    """
    model = registry.download(name, version) / IR_FOLDER / "model.xml"
    if not model.is_file():
        raise ArtifactMissing(
            f"{name} version {version} holds no OpenVINO IR, so it cannot be measured.",
            remedy="Register what `guardianflow run SCENARIO --type train` makes.",
            name=name,
            version=version,
        )
    return IrDetector(model.parent)


def measure_version(
    registry: ModelRegistryManager,
    name: str,
    version: int,
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Let a version look at every frame and compare with the labels.

    Raises:
        ArtifactMissing: The version has no IR, or a file of it is gone or differs.
    """
    detector = open_detector(registry, name, version)
    found: list[Detections] = []
    for index, sample in enumerate(samples):
        found.extend(detections_of(detector.predict([load_image(sample.image)])))
        if on_progress:
            on_progress(index + 1, len(samples))
    return Measured(version, evaluate(found, samples, classes), tuple(found))
