"""What a run keeps about a detector that was measured on the held-out test split.

evaluation.json, contamination.json, pictures/*: the same for trainings and imports
"""

from pathlib import Path
from typing import TYPE_CHECKING

from mlflow import MlflowClient

from guardianflow.errors import VersionNotReady
from guardianflow.mlflow_store.runs import EVALUATION_FILE, find_run_text
from guardianflow.stored import read_stored
from guardianflow.vision.data.sample import Dataset
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.evaluation import Evaluation

if TYPE_CHECKING:
    from guardianflow.vision.data.contamination import ContaminationReport

PICTURES = "pictures"
_PICTURED = 12


def write_papers(folder: Path, dataset: Dataset, seen: Seen, evaluation: Evaluation) -> Path:
    """Write all of them into a folder, and return the folder."""
    from guardianflow.vision.data.contamination import (
        CONTAMINATION_FILE,
        find_duplicates,
        report_contamination,
    )
    from guardianflow.vision.metrics.album import draw_album
    from guardianflow.vision.metrics.pictures import contact_sheet, pairs_sheet

    samples, pictures = dataset.samples("test"), folder / PICTURES
    contact_sheet(
        samples[:_PICTURED],
        seen.shown()[:_PICTURED],
        dataset.classes,
        pictures / "detections.png",
        title="held-out test split: labels white, detections coloured",
    )
    draw_album(seen, samples, dataset.classes, pictures)
    pairs = find_duplicates(dataset.splits)
    report = report_contamination(pairs, dataset.splits)
    (folder / CONTAMINATION_FILE).write_text(report.model_dump_json(indent=1), "utf-8")
    if pairs:
        pairs_sheet(pairs, pictures / "contamination.png")
    (folder / EVALUATION_FILE).write_text(evaluation.model_dump_json(indent=1), "utf-8")
    return folder


def find_evaluation(client: MlflowClient, run_id: str) -> Evaluation | None:
    """Read the figures that a run recorded; None if it kept none, or is gone."""
    try:
        text = find_run_text(client, run_id, EVALUATION_FILE)
    except VersionNotReady:
        return None
    if text is None:
        return None
    return read_stored(Evaluation, text, f"{EVALUATION_FILE} of MLflow run {run_id}")


def read_contamination(client: MlflowClient, run_id: str) -> "ContaminationReport | None":
    """Read which images a run found in two splits; None if it kept no report, or is gone."""
    from guardianflow.vision.data.contamination import CONTAMINATION_FILE, ContaminationReport

    try:
        text = find_run_text(client, run_id, CONTAMINATION_FILE)
    except VersionNotReady:
        return None
    if text is None:
        return None
    return read_stored(ContaminationReport, text, f"{CONTAMINATION_FILE} of MLflow run {run_id}")
