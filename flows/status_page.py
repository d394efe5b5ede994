"""The page `guardianflow-status` in the Prefect UI: what runs where, in one table.

Its key never changes, so a bookmark and the links of messages stay right. It is written when
something changed, by the flow `reconcile`.
"""

import json
from typing import Any, cast

from prefect import task
from prefect.artifacts import Artifact
from prefect.cache_policies import NO_CACHE

from flows.connection import connect, worth_retrying
from flows.publishing import show_table
from guardianflow.control import Orchestrator
from guardianflow.telling import STATUS_PAGE

_ABOUT = (
    "What runs on the floor, since when, put there by whom, and how it does. `guardianflow history "
    "NAME` says why; `guardianflow doctor` says what is wrong."
)


@task(
    name="refresh-status",
    retries=1,
    retry_delay_seconds=3,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def refresh_status() -> bool:
    """Write the page again where anything on it has changed; whether it had."""
    from guardianflow.care.overview import overview

    before = _last_rows()
    rows = overview(connect(), Orchestrator().pending(), before or ())
    if rows == before:
        return False
    show_table(STATUS_PAGE, rows, _ABOUT)
    return True


def _last_rows() -> list[dict[str, Any]] | None:
    last = cast("Artifact | None", Artifact.get(STATUS_PAGE))
    if last is None:
        return None
    try:
        rows = json.loads(last.data) if isinstance(last.data, str) else last.data
    except ValueError:
        # Somebody else's page under our key.
        return None
    return cast("list[dict[str, Any]]", rows) if isinstance(rows, list) else None
