"""Opens data sets: checked images and boxes, and a fingerprint of exactly that content.

    DatasetSettings --prepare_dataset--> folder in YOLO format --open_dataset--> Dataset

Training, calibration and measurements read their images here, through one decoder. `checker.py`
finds the problems of a data set, here and in `guardianflow dataset check`.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import assert_never

from guardianflow.errors import DatasetInvalid
from guardianflow.machine.disk import telling_full
from guardianflow.machine.servers import private_home
from guardianflow.scenario import DatasetSettings, FolderData, NearDuplicates, Scenario
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.decoding import load_image
from guardianflow.vision.data.findings import errors, in_sentences, refusal
from guardianflow.vision.data.rules import ALIKE, FaultCode
from guardianflow.vision.data.sample import Dataset, Sample, content_digest
from guardianflow.vision.synthetic import draw_dataset, drawing_digest

__all__ = ["Dataset", "Sample", "load_image", "open_dataset", "prepare_dataset"]


def open_dataset(
    root: Path,
    classes: Sequence[str] | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    base: Path | None = None,
    needs: Sequence[str] = (),
    frozen: bool = False,
) -> Dataset:
    """Read and check a data set in YOLO format; the check decodes each image only once.

    `check_dataset` describes the arguments. Labels of other classes are left out.

    Raises:
        DatasetInvalid: The data set has errors. The message tells the first one and how many more
            there are; `data["problems"]` lists them.
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
        fingerprint=content_digest(checked.classes, checked.splits),
        warnings=in_sentences(checked.findings),
        alike=tuple(finding for finding in checked.findings if finding.code in ALIKE),
    )


def refuse_alike(dataset: Dataset, settings: DatasetSettings) -> None:
    """Refuse to train on data in which one picture is in two splits.

    Only training calls this. Models that were trained before this was an error can still be
    measured, quantized, promoted and rolled back to.

    Raises:
        DatasetInvalid: There are such pictures, and the scenario does not accept them.
    """
    if not isinstance(settings, FolderData):
        # Drawn scenes show different people, however similar they look.
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
    """Open recent labelled frames with the classes of a scenario.

    The frames may name the classes as the scenario does, or as its data set does.

    Raises:
        DatasetInvalid: The frames cannot be used.
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
    """Open the data set of a scenario; a synthetic one is drawn once per machine.

    `checker.check_dataset` describes the arguments.

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
        # Another process drew the same bytes first.
        if not folder.is_dir():
            raise
