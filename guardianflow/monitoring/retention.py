"""Deletes pictures of people whose time is over; figures, captions and the page stay.

    record with crops, older than its days, its question over
        -> crops deleted -> page in MLflow without them -> page in Prefect without them -> marked

The mark is written last: if a pass is killed before, the next one repeats the steps, which is
harmless. A pass that finds nothing costs one search.
"""

from dataclasses import dataclass
from datetime import datetime

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from guardianflow.mlflow_store.client import border, write_repeatably
from guardianflow.mlflow_store.records import PROMOTIONS
from guardianflow.mlflow_store.runs import read_run_text
from guardianflow.promotion.evidence.pictures import (
    DAYS_TAG,
    FOLDER,
    KEPT_TAG,
    LANGUAGE_TAG,
    UNTIL_METRIC,
    without_pictures,
)
from guardianflow.promotion.examination import EVIDENCE_PAGE
from guardianflow.wording.language import Language

# The rest waits for the next pass.
_AT_ONCE = 100


@dataclass(frozen=True)
class Overdue:
    """A record whose pictures were kept for some days and have to go."""

    run_id: str
    model_name: str
    language: Language
    days: int

    def without_pictures(self, page: str) -> str:
        """A page of the record as it reads without the pictures."""
        return without_pictures(page, self.language, self.days)


def find_overdue(client: MlflowClient, now: datetime) -> list[Overdue]:
    """Find the records whose pictures are past their days, the oldest first."""
    with border("promotions with pictures"):
        known = client.get_experiment_by_name(PROMOTIONS)
        if known is None:
            return []
        found = client.search_runs(
            [known.experiment_id],
            f"tags.`{KEPT_TAG}` = 'kept' and metrics.`{UNTIL_METRIC}` < {now.timestamp()}",
            order_by=["attributes.start_time ASC"],
            max_results=_AT_ONCE,
        )
    return [_overdue(run) for run in found]


def delete_pictures(client: MlflowClient, overdue: Overdue) -> None:
    """Delete the crops of a record and take them out of its page; repeating it changes nothing."""
    run_id = overdue.run_id
    with border(f"pictures of record {run_id}"):
        where = client.get_run(run_id).info.artifact_uri or ""
        repository = get_artifact_repository(where, tracking_uri=client.tracking_uri)
        if client.list_artifacts(run_id, FOLDER):
            repository.delete_artifacts(FOLDER)
        page = read_run_text(client, run_id, EVIDENCE_PAGE)
        tidied = overdue.without_pictures(page)
        if tidied != page:
            write_repeatably(lambda: client.log_text(run_id, tidied, EVIDENCE_PAGE))


def mark_deleted(client: MlflowClient, overdue: Overdue) -> None:
    """Mark a record as done."""
    with border(f"pictures of record {overdue.run_id}"):
        write_repeatably(lambda: client.set_tag(overdue.run_id, KEPT_TAG, "deleted"))


def _overdue(run: Run) -> Overdue:
    tags = run.data.tags
    days, language = tags.get(DAYS_TAG, ""), tags.get(LANGUAGE_TAG, "")
    return Overdue(
        run_id=run.info.run_id,
        model_name=tags.get("guardianflow.name", ""),
        language=Language(language) if language in set(Language) else Language.EN,
        days=int(days) if days.isdecimal() else 0,
    )
