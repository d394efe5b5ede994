"""Publishes what people read in the Prefect UI: tables, pages, pictures, progress, and events.

Artifacts with the same key are versions of one artifact: the key names the model, so that its page
in the UI shows the history.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from mlflow import MlflowClient
from prefect import get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run

from flows.retries import worth_retrying
from guardianflow.events import EventName, ModelEvent
from guardianflow.mlflow_store.links import picture_links, run_link, version_link
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.progress import Progress
from guardianflow.wording.markdown import Markdown, cell, prose

_PROGRESS_EVERY_S = 2.0


def artifact_key(*parts: str) -> str:
    """Return a key that Prefect accepts: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def evidence_key(model_name: str) -> str:
    """Return the key of the page on which a model's promotion is decided."""
    return artifact_key("evidence", model_name)


def show_table(key: str, rows: Sequence[Mapping[str, object]], description: str) -> None:
    """Show a table on the flow run's Artifacts page; text in its cells is not Markdown."""
    table: list[dict[str, Any]] = [{key: cell(value) for key, value in row.items()} for row in rows]
    create_table_artifact(key=key, table=table, description=_described(description))


def _described(description: str) -> str:
    # It is shown as Markdown as well.
    return description if isinstance(description, Markdown) else prose(description)


def show_page(key: str, markdown: str, description: str) -> UUID:
    """Show a page on the flow run's Artifacts page, and return the id of this version of it.

    The caller escapes what others wrote in `markdown`; `description` is escaped here.
    """
    made = create_markdown_artifact(key=key, markdown=markdown, description=_described(description))
    return made if isinstance(made, UUID) else UUID(str(made))


def show_pictures(key: str, pictures: Mapping[str, str]) -> None:
    """Show pictures from MLflow; Prefect keeps their addresses, not their bytes."""
    for name, address in pictures.items():
        create_image_artifact(
            key=artifact_key(key, name.rpartition(".")[0]),
            image_url=address,
            description=f"[{name}]({address})",
        )


def show_candidate(
    client: MlflowClient, name: str, version: int, run_id: str, made: str, kind: str
) -> str:
    """Show what became @candidate: how it was made, links to MLflow, pictures of its run.

    Returns the key of the page, with which the keys of its tables begin.
    """
    key, title = artifact_key("candidate", name), f"{name} version {version}"
    links = (
        f"[model version]({version_link(client, name, version)}) · "
        f"[{kind} run]({run_link(client, run_id)})"
    )
    show_page(key, f"**{title}**, {made}\n\n{links}\n", title)
    show_pictures(key, picture_links(client, run_id))
    return key


class ProgressBar:
    """Shows the progress of a task: one bar in the UI, log lines when a step begins and ends."""

    def __init__(self) -> None:
        self._bar: UUID | None = None
        self._step = ""
        self._told = 0.0
        self._logger = get_run_logger()

    def show(self, progress: Progress) -> None:
        """Report the progress of a runner."""
        self(progress.step, progress.done, progress.total, progress.message)

    def __call__(self, step: str, done: int, total: int, message: str = "") -> None:
        """Report that `done` of `total` parts of `step` are finished."""
        now = time.monotonic()
        if step == self._step and done < total and now - self._told < _PROGRESS_EVERY_S:
            return
        if step != self._step:
            self._logger.info("%s ...", step)
        self._step, self._told = step, now
        share = min(100.0, 100.0 * done / total) if total else 100.0
        if self._bar is None:
            bar = create_progress_artifact(share, key="progress", description=prose(step))
            self._bar = bar if isinstance(bar, UUID) else UUID(str(bar))
        else:
            update_progress_artifact(self._bar, progress=share, description=prose(step))
        if message and done >= total:
            self._logger.info("%s: %s", step, message)


def send_registered(model: str, version: int, run_id: str, scenario_version: str) -> None:
    """Send the event that a version was registered as @candidate."""
    message = f"scenario {scenario_version} -> model version {version}"
    payload = ModelEvent(model=model, version=version, report=run_id, message=message)
    send_event(EventName.REGISTERED, payload)


@task(name="send-event", retries=3, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def send_event(event: EventName, payload: ModelEvent) -> None:
    """Send an event; the server has it when this returns."""
    run = flow_run.get_id()
    related = [
        {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}
    ]
    Orchestrator().emit(event, payload, related=related if run else [])
    get_run_logger().info("sent %s: %s", event.value, payload.message)
