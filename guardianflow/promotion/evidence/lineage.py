"""From which data, run and code a version was made, as its run recorded it."""

import json
from collections.abc import Mapping
from typing import cast

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.evaluation.import_source import maker_of
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.runs import (
    COMMIT_TAG,
    START_LICENCE_TAG,
    START_SOURCE_TAG,
    START_WEIGHTS_TAG,
    TRAINER_RUN_TAG,
    TRAINER_TAG,
    USE_TAG,
)
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo


class DataUse(BaseModel):
    """One set of images and what the run used it for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: str = Field(description="training, validation or evaluation; '' if unsaid.")
    name: str = Field(description="As the run called it.")
    digest: str = Field(description="Over images and labels.")
    images: int | None = Field(description="How many; None if unsaid.")


class Lineage(BaseModel):
    """What a version was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str = Field(description="The MLflow run that made the version, or its base.")
    data: tuple[DataUse, ...] = Field(description="Its data sets.")
    commit: str = Field(description="The commit of the code that made it; '' if unrecorded.")
    start: str = Field(
        default="",
        # Older questions are recognised by the digest of a record without it.
        exclude_if=lambda start: not start,
        description="Weights from elsewhere that its training started from; '' for none.",
    )
    trainer: str = Field(
        default="",
        exclude_if=lambda trainer: not trainer,
        description="The trainer of another project that was given its images; '' for none.",
    )


def read_lineage(registry: ModelRegistryManager, info: RegisteredModelInfo) -> Lineage | None:
    """What a version, or the base that it was quantized from, was made from; None: no run says."""
    info = maker_of(registry, info)
    if info.run_id is None:
        return None
    with border(f"run {info.run_id}"):
        run = registry.client.get_run(info.run_id)
    inputs = [*_inputs(_handed_over(registry.client, run)), *_inputs(run)]
    return Lineage(
        run_id=info.run_id,
        # Of a trainer both runs used val.
        data=tuple(dict.fromkeys(map(_use, inputs))),
        commit=run.data.tags.get(COMMIT_TAG, ""),
        start=_start(run.data.tags),
        trainer=run.data.tags.get(TRAINER_TAG, ""),
    )


def _use(entry: DatasetInput) -> DataUse:
    return DataUse(
        use=next((tag.value for tag in entry.tags if tag.key == USE_TAG), ""),
        name=entry.dataset.name,
        digest=entry.dataset.digest,
        images=_images(entry.dataset.profile),
    )


def _handed_over(client: MlflowClient, run: Run) -> Run | None:
    """The run in which a trainer of another project got its images; None: there is none."""
    if not (run_id := run.data.tags.get(TRAINER_RUN_TAG)):
        return None
    with border(f"run {run_id}"):
        return client.get_run(run_id)


def _inputs(run: Run | None) -> list[DatasetInput]:
    return list(run.inputs.dataset_inputs) if run and run.inputs else []


def _start(tags: Mapping[str, str]) -> str:
    if not (name := tags.get(START_WEIGHTS_TAG)):
        return ""
    return f"{name} ({tags.get(START_SOURCE_TAG, '')}; {tags.get(START_LICENCE_TAG, '')})"


def _images(profile: str | None) -> int | None:
    """How many images a data set has, as we record it; others may record something else."""
    try:
        said: object = json.loads(profile or "{}")
    except ValueError:
        return None
    count = cast("dict[str, object]", said).get("images") if isinstance(said, dict) else None
    return count if isinstance(count, int) else None
