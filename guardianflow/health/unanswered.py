"""Finds failing reports that nothing followed from, because their event was lost.

A lost event does not lose the rollback: each pass finds it again in the stored reports. `reaction`
then checks everything again, so that reacting twice changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlflow.entities import Run

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
        if report_time(run) > now - grace or ANSWER_TAG in run.data.tags:
            continue
        for one in _about_champion(run, champions):
            found.setdefault(one.model_name, one)
    return list(found.values())


def _about_champion(run: Run, champions: Mapping[str, int]) -> Iterator[UnansweredReport]:
    name, version = run.data.tags.get(NAME_TAG, ""), number_in(run, VERSION_TAG)
    if version and champions.get(name) == version:
        yield UnansweredReport(name, version, run.info.run_id)
