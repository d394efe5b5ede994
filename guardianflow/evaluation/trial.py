"""Runs one fetched version on one frame, loaded as in production.

Production loads with `mlflow.pyfunc`; the verified folder of a version is loaded the same way. The
answer is checked for shape and plausibility, not for accuracy, which the gate judges.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from mlflow.pyfunc import PyFuncModel
from numpy.typing import NDArray

from guardianflow.errors import (
    DatasetInvalid,
    Refused,
    ScenarioInvalid,
    StoredUnreadable,
    VersionNotReady,
)
from guardianflow.evaluation.measurement import recorded_scenario
from guardianflow.mlflow_store.registered_models import RegisteredModelInfo
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import FolderData, SyntheticData
from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.data.listing import find_images
from guardianflow.vision.ir import serving
from guardianflow.vision.synthetic import draw_frame

_TEST_SPLIT = "test"
# Used where no scenario was recorded; a detector letterboxes frames of any size.
_PLAIN = SyntheticData(kind="synthetic", image_size=320)


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture, RGB of shape (H, W, 3), uint8, and where it comes from in words."""

    pixels: NDArray[np.uint8]
    source: str


def trial_frame(registry: ModelRegistryManager, info: RegisteredModelInfo) -> Frame:
    """Return a frame of a version's evaluation set if it is on this machine, else a drawn one."""
    try:
        scenario = recorded_scenario(registry, info)
    except (VersionNotReady, StoredUnreadable):
        # Its run was purged or has another format; only the choice of the picture depends on it.
        scenario = None
    if scenario is None:
        return Frame(draw_frame(_PLAIN), "a drawn scene")
    if isinstance(scenario.dataset, SyntheticData):
        return Frame(draw_frame(scenario.dataset), "the first frame of its evaluation set")
    return _photograph(scenario.dataset) or Frame(
        draw_frame(_PLAIN.model_copy(update={"image_size": scenario.training.image_size})),
        "a drawn scene (its evaluation set is not on this machine)",
    )


def _photograph(data: FolderData) -> Frame | None:
    """Return the first image of a folder's test split; None if the folder is not here."""
    try:
        image = next(iter(find_images(data.resolve(), _TEST_SPLIT, data.base_folder())))
        return Frame(load_image(image), f"{image.name} of its evaluation set")
    except (ScenarioInvalid, DatasetInvalid, StopIteration):
        return None


def load_served(folder: Path, label: str) -> tuple[PyFuncModel, str]:
    """Load a version's files as the edge box does; they were verified, because they are code.

    Returns:
        The model, which answers with every score, and what it is in words.

    Raises:
        Refused: It does not load.
    """
    from mlflow import pyfunc

    if not (folder / "MLmodel").is_file():
        raise _unfit(label, "holds no MLmodel, so nothing in production can load it")
    try:
        # At threshold 0 a sound model always detects something; one that computes NaN never does.
        model = pyfunc.load_model(
            str(folder), suppress_warnings=True, model_config={"score_threshold": 0.0}
        )
    except Exception as error:
        # A model is foreign code and may raise anything, which is then the finding.
        raise _unfit(label, f"does not load ({_first_line(error)})") from error
    return model, "loads by mlflow.pyfunc"


def look_at(model: PyFuncModel, frame: Frame, label: str) -> tuple[int, str]:
    """Run a model on a frame; return how many objects would be shown, also in words.

    Raises:
        Refused: It fails, or its answer cannot be detections.
    """
    try:
        answers = cast("object", model.predict(frame.pixels[None]))
        scores = _checked_scores(answers, frame.pixels.shape[1], frame.pixels.shape[0])
    except Exception as error:
        raise _unfit(label, f"does not predict ({_first_line(error)})") from error
    shown = int((scores >= serving.SHOWN_THRESHOLD).sum())
    return shown, f"{shown} objects on {frame.source}"


def _checked_scores(answers: object, width: int, height: int) -> NDArray[np.float64]:
    """Return the scores of the answer for one frame."""
    if not isinstance(answers, list) or len(cast("list[object]", answers)) != 1:
        raise ValueError(f"one frame was shown, the answer is {str(answers)[:60]!r}")
    answer = cast("Mapping[str, list[object]]", answers[0])
    boxes = np.asarray(answer["boxes"], dtype=np.float64)
    scores = np.asarray(answer["scores"], dtype=np.float64)
    if len(scores) == 0:
        raise ValueError("it answers nothing, not even at threshold 0: its scores are not numbers")
    if boxes.shape != (len(scores), 4) or len(answer["classes"]) != len(scores):
        raise ValueError(
            f"boxes of shape {boxes.shape}, {len(scores)} scores and {len(answer['classes'])} "
            "classes do not belong together"
        )
    inside = (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
    if not inside or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(
            f"boxes outside of the {width} x {height} frame, or scores outside of 0..1"
        )
    return scores


def _unfit(label: str, why: str) -> Refused:
    return Refused(
        f"{label} {why}.",
        remedy="Promote a version that works, so that the way back leads there: `guardianflow run "
        "SCENARIO --type train --version vN` (or --type quant), then `guardianflow promote`.",
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
