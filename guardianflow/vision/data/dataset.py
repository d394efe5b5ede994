"""Data sets: images and boxes that were checked, and a fingerprint of exactly that content.

    DatasetSettings --prepare_dataset--> folder in YOLO format --open_dataset--> Dataset

Everything that trains, calibrates or measures reads its images here, through one decoder; what is
wrong with a data set says `checker.py`, here and in `guardianflow dataset check`.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import assert_never

from guardianflow.errors import DatasetInvalid
from guardianflow.machine.disk import telling_full
from guardianflow.machine.servers import private_home
from guardianflow.scenario import DatasetSettings, FolderData, NearDuplicates, Scenario
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.decoding import load_image
from guardianflow.vision.data.findings import DataFinding, errors, in_sentences, refusal
from guardianflow.vision.data.rules import ALIKE, FaultCode
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.synthetic import draw_dataset, drawing_digest

__all__ = ["Dataset", "Sample", "load_image", "open_dataset", "prepare_dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that was checked.

    Attributes:
        root: Its folder.
        classes: Class names in the order of their ids.
        splits: The samples of `train`, `val` and `test`; at least one of them.
        fingerprint: sha256 over classes, images and labels; where they lie does not matter.
        warnings: What is odd about it, but usable.
        alike: Pictures that stand in two splits, though not as the same bytes.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    fingerprint: str
    warnings: tuple[str, ...] = ()
    alike: tuple[DataFinding, ...] = ()

    def split_fingerprint(self, split: str) -> str:
        """sha256 over the classes and the content of one split.

        Raises:
            DatasetInvalid: The data set has no such split.
        """
        return _fingerprint(self.classes, {split: self.samples(split)})

    def samples(self, split: str) -> tuple[Sample, ...]:
        """The samples of one split.

        Raises:
            DatasetInvalid: The data set has no such split.
        """
        if split not in self.splits:
            raise DatasetInvalid(
                f"The data set {self.root} has no split {split!r}, only {', '.join(self.splits)}.",
                remedy=f"Add the key {split} to its data.yaml.",
                value=split,
            )
        return self.splits[split]


def open_dataset(
    root: Path,
    classes: Sequence[str] | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    base: Path | None = None,
    needs: Sequence[str] = (),
    frozen: bool = False,
) -> Dataset:
    """Read and check a data set in YOLO format; every image is decoded once, ever.

    Args:
        root: The folder with data.yaml, or the YAML file.
        classes: The classes that are wanted, in order: labels get their numbers by it, whatever the
            order in data.yaml, and what is not wanted is left out. None takes those of data.yaml.
        mapping: What one of them is called in data.yaml, where it is another word.
        base: Stands in for `path` of data.yaml.
        needs: The splits that it is opened for.
        frozen: Whether the scenario of the classes was trained, and so stays as it is.

    Raises:
        DatasetInvalid: Says the first thing that is wrong with file, line, value and remedy, and
            how many more there are; `data["problems"]` lists them.
    """
    checked = check_dataset(
        root, classes, mapping=mapping, base=base, needs=needs, tolerated=ALIKE, frozen=frozen
    )
    if wrong := errors(checked.findings):
        raise refusal(wrong)
    return Dataset(
        root=checked.root,
        classes=checked.classes,
        splits=checked.splits,
        fingerprint=_fingerprint(checked.classes, checked.splits),
        warnings=in_sentences(checked.findings),
        alike=tuple(finding for finding in checked.findings if finding.code in ALIKE),
    )


def refuse_alike(dataset: Dataset, settings: DatasetSettings) -> None:
    """Refuse to learn from data in which one picture stands in two splits.

    Only a training asks: what was trained before this was an error is measured, quantized,
    promoted and brought back all the same.

    Raises:
        DatasetInvalid: One does, and the scenario does not say that it is known.
    """
    if not isinstance(settings, FolderData):
        # Scenes that were drawn are of other people each time, however alike they look.
        return
    match settings.near_duplicates:
        case NearDuplicates.KNOWN:
            known = {FaultCode.IMAGE_NEARLY_TWICE}
        case NearDuplicates.REFUSED:
            known = set[FaultCode]()
        case _:
            assert_never(settings.near_duplicates)
    if wrong := [finding for finding in dataset.alike if finding.code not in known]:
        raise refusal(wrong)


def open_window(window: Path, scenario: Scenario | None) -> Dataset:
    """Open frames that were labelled later, for the classes of a scenario.

    Their names may be those of the scenario, or those of its data set.

    Raises:
        DatasetInvalid: They cannot be used.
    """
    if scenario is None:
        return open_dataset(window)
    settings = scenario.dataset
    mapping = settings.classes if isinstance(settings, FolderData) else {}
    try:
        return open_dataset(window, scenario.classes, frozen=True)
    except DatasetInvalid:
        if not mapping:
            raise
        return open_dataset(window, scenario.classes, mapping=mapping, frozen=True)


def prepare_dataset(
    settings: DatasetSettings, classes: Sequence[str], needs: Sequence[str] = ()
) -> Dataset:
    """Open the data set of a scenario; a synthetic one is drawn first, once per machine.

    Args:
        settings: Which data set.
        classes: The classes that are wanted, in order.
        needs: The splits that it is opened for.

    Raises:
        ScenarioInvalid: The folder does not exist, or a class cannot be drawn.
        DatasetInvalid: The data set cannot be trusted.
    """
    if isinstance(settings, FolderData):
        place, base = settings.resolve(), settings.base_folder()
        return open_dataset(place, classes, mapping=settings.classes, base=base, needs=needs)
    identity = json.dumps([settings.model_dump(mode="json"), list(classes), drawing_digest()])
    folder = private_home("datasets") / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if not folder.is_dir():
        draft = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            with telling_full(folder):
                draw_dataset(draft, settings, classes)
            _publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return open_dataset(folder, classes)


def _publish(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        # Another process drew the same bytes and was first; a full folder is never replaced.
        if not folder.is_dir():
            raise


def _fingerprint(classes: Sequence[str], splits: Mapping[str, Sequence[Sample]]) -> str:
    content = {split: sorted(s.digest for s in samples) for split, samples in splits.items()}
    text = json.dumps([list(classes), content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
