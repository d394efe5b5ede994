"""Lets the flow `reconcile` delete pictures whose time is over, also from the pages in Prefect.

A question that waits keeps its pictures until it is over, however few days they are kept.
"""

import logging
from datetime import UTC, datetime

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from flows.publishing import evidence_key
from flows.registry_access import scenario_registry
from guardianflow.errors import GuardianflowError, LedgerDamaged
from guardianflow.monitoring.retention import Overdue, delete_pictures, find_overdue, mark_deleted
from guardianflow.promotion.question import open_questions

# Not the flow run's logger: there may be no flow run.
log = logging.getLogger("guardianflow.reconcile")
_PAGE = 200


def forget_pictures() -> int:
    """Delete overdue pictures; returns of how many promotions. A failure is logged and left."""
    client, deleted = scenario_registry().client, 0
    overdue = find_overdue(client, datetime.now(UTC))
    if not overdue:
        return 0
    try:
        asked = {question.asked.record for question in open_questions(client)}
    except LedgerDamaged:
        # Which pictures are still needed is unknown; the pass reports the damage.
        return 0
    for record in overdue:
        if record.run_id in asked:
            continue
        try:
            delete_pictures(client, record)
            _tidy_pages(record)
            mark_deleted(client, record)
        except GuardianflowError as error:
            log.error("pictures of record %s: %s", record.run_id, error)
            continue
        deleted += 1
        log.info("deleted the pictures of record %s", record.run_id)
    return deleted


def _tidy_pages(record: Overdue) -> None:
    """Take the pictures out of what the Prefect UI shows of a record."""
    with get_client(sync_client=True) as client:
        for artifact in _pages(client, evidence_key(record.model_name)):
            page = artifact.data
            if isinstance(page, str) and record.run_id in page:
                tidied = record.without_pictures(page)
                if tidied != page:
                    client.update_artifact(artifact.id, ArtifactUpdate(data=tidied))


def _pages(client: SyncPrefectClient, key: str) -> list[Artifact]:
    """Every version of an artifact."""
    found: list[Artifact] = []
    while True:
        page = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
