"""Runs a registered version over labelled frames, exactly as the edge box would run it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guardianflow.errors import ArtifactMissing
from guardianflow.mlflow_store.runs import read_scenario, recorded_digest, split_digest
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import Scenario, Today
from guardianflow.vision.data.sample import Dataset, Sample
from guardianflow.vision.metrics.detections import Seen, detect
from guardianflow.vision.metrics.evaluation import Evaluation, evaluate
from guardianflow.vision.metrics.intervals import DRAWS

_IR_FOLDER = Path("artifacts/ir")
_EDGE_FOLDER = Path("artifacts/edge")


@dataclass(frozen=True)
class Measured:
    """One version on one set of frames: figures at its own thresholds, and their detections."""

    version: int
    evaluation: Evaluation
    seen: Seen


def recorded_scenario(registry: ModelRegistryManager, info: RegisteredModelInfo) -> Scenario | None:
    """Return the scenario that a version was made from, as recorded; None if it was not."""
    return read_scenario(registry.client, info.run_id) if info.run_id else None


def judged_scenario(
    registry: ModelRegistryManager, info: RegisteredModelInfo, today: Today
) -> Scenario | None:
    """Return the scenario that a version was made from, with today's gate, health and display.

    Raises:
        StoredUnreadable: Another version of guardianflow recorded it in a format of its own.
    """
    recorded = recorded_scenario(registry, info)
    now = today(recorded.name, recorded.version) if recorded else None
    return recorded.judged_like(now) if recorded and now else recorded


def evaluation_digest(registry: ModelRegistryManager, info: RegisteredModelInfo) -> str:
    """Return the digest of the images and labels on which a version was evaluated.

    Raises:
        ArtifactMissing: Its run recorded none.
    """
    digest = recorded_digest(registry.client, info.run_id)
    if digest is None:
        raise ArtifactMissing(
            f"The run of {info.name} version {info.version} recorded no evaluation set, so it is "
            "unknown which images it may be measured on.",
            remedy="Register what `guardianflow run SCENARIO --type train --version V` makes.",
            name=info.name,
            version=info.version,
        )
    return digest


def evaluation_set(scenario: Scenario, *, recorded: str) -> tuple[Dataset, tuple[Sample, ...]]:
    """Open the frozen evaluation set of a scenario: the data set and its test split.

    Raises:
        ArtifactMissing: The split is not the one that was recorded.
        ScenarioInvalid: The folder does not exist on this machine.
        DatasetInvalid: The data set cannot be trusted.
    """
    from guardianflow.vision.data.dataset import prepare_dataset

    dataset = prepare_dataset(scenario.dataset, scenario.classes, ("test",))
    samples = dataset.samples("test")
    now = split_digest(dataset, "test")
    if now != recorded:
        raise ArtifactMissing(
            f"The test split of {dataset.root} does not hold the images and labels on which the "
            f"version was evaluated (digest {now}, recorded {recorded}).",
            remedy="Restore the data set of the training, or train again on the present one.",
            recorded=recorded,
            found=now,
        )
    return dataset, samples


def ir_folder(registry: ModelRegistryManager, name: str, version: int) -> Path:
    """Return the folder of a version's plain OpenVINO IR, its files verified.

    Raises:
        ArtifactMissing: The version has no IR, or a file of it is gone or differs.
    """
    from guardianflow.vision.ir import ir

    folder = registry.download(name, version) / _IR_FOLDER
    if not (folder / ir.FILE).is_file():
        raise ArtifactMissing(
            f"{name} version {version} has no OpenVINO IR, so it can be neither measured nor "
            "quantized.",
            remedy="Register what `guardianflow run SCENARIO --type train --version V` makes.",
            name=name,
            version=version,
        )
    return folder


def deployed_folder(registry: ModelRegistryManager, name: str, version: int) -> Path:
    """Return the folder of the IR that a version serves: its edge IR, or an older one's plain IR.

    Raises:
        ArtifactMissing: The version has no IR, or a file of it is gone or differs.
    """
    from guardianflow.vision.ir import ir

    plain = ir_folder(registry, name, version)
    edge = registry.download(name, version) / _EDGE_FOLDER
    return edge if (edge / ir.FILE).is_file() else plain


def measure_version(
    registry: ModelRegistryManager,
    name: str,
    version: int,
    samples: Sequence[Sample],
    classes: Sequence[str],
    *,
    draws: int = DRAWS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Run a version on every frame and compare its detections with the labels.

    The bounds come from `draws` bootstrap samples of the frames; 0 gives no bounds.

    Raises:
        ArtifactMissing: The version cannot be measured: it has no IR, a file of it is gone or
            differs, or it detects other classes than the labels have.
    """
    from guardianflow.vision.ir.serving import IrDetector

    detector = IrDetector(deployed_folder(registry, name, version))
    if detector.classes != tuple(classes):
        # Figures go by index: with another order, each would be about the wrong class.
        raise ArtifactMissing(
            f"{name} version {version} detects {', '.join(detector.classes)}; the labels have "
            f"{', '.join(classes)}, so it cannot be measured on them.",
            remedy="Measure it on frames that are labelled with its own classes, in its order.",
            name=name,
            version=version,
        )
    found = detect(detector, samples, on_progress=on_progress)
    evaluation = evaluate(found, samples, classes, detector.thresholds, draws=draws)
    return Measured(version, evaluation, Seen(found, detector.thresholds))
