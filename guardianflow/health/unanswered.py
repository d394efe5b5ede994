"""Finds failing reports that nothing followed from, because their event was lost.

A lost event does not lose the rollback: each pass finds it again in the stored reports. `reaction`
then checks everything again, so that reacting twice changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from guardianflow.health.reaction import MAX_AGE
from guardianflow.health.report import (
    ANSWER_TAG,
    NAME_TAG,
    VERDICT_TAG,
    VERSION_TAG,
    find_reports,
    number_in,
    report_time,
)
from guardianflow.health.verdict import Verdict
from guardianflow.registry import ModelRegistryManager

GRACE = timedelta(seconds=45)
"""Grace period before a pass of `reconcile` acts instead of the automation."""


@dataclass(frozen=True)
class UnansweredReport:
    """A failing report about the current champion that nothing followed from yet."""

    model_name: str
    version: int
    report_id: str


def find_unanswered(
    registry: ModelRegistryManager,
    champions: Mapping[str, int],
    *,
    grace: timedelta = GRACE,
) -> list[UnansweredReport]:
    """The newest unanswered failing report of each champion.

    Args:
        registry: Where the reports are.
        champions: The version of each champion, by public name.
        grace: Reports younger than this are left to their event.
    """
    now = datetime.now(UTC)
    found: dict[str, UnansweredReport] = {}
    tags = {VERDICT_TAG: Verdict.FAILING.value}
    for run in find_reports(registry.client, tags, since=now - MAX_AGE):
        name, version = run.data.tags.get(NAME_TAG, ""), number_in(run, VERSION_TAG)
        waits = ANSWER_TAG not in run.data.tags and report_time(run) <= now - grace
        if waits and version and champions.get(name) == version:
            found.setdefault(name, UnansweredReport(name, version, run.info.run_id))
    return list(found.values())
