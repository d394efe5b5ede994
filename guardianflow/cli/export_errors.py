"""`guardianflow export-errors`: what a detector got wrong, for whoever labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import model_argument
from guardianflow.cli.output import OutputOption
from guardianflow.errors import DatasetInvalid, NoCandidate
from guardianflow.names import ModelName

if TYPE_CHECKING:
    from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
    from guardianflow.vision.data.sample import Sample


def export_errors(
    name: Annotated[ModelName, model_argument("Model whose mistakes to export.")],
    to: Annotated[Path, typer.Option("--to", help="New or empty folder.")],
    model_version: Annotated[
        int | None, typer.Option(help="Version (default: @champion, else @candidate).", min=1)
    ] = None,
    window: Annotated[
        Path | None,
        typer.Option(help="YOLO data set whose test split is used (default: the evaluation set)."),
    ] = None,
    *,
    out: OutputOption,
) -> None:
    """Export images with missed objects or false alarms as a YOLO set, to label them again.

    labels/ holds the current labels, predictions/ the detections of the model, reasons.csv why
    each image is there.

    [bold]Examples[/]

    guardianflow export-errors donghwa-entec/busan-plant1/welding/ppe --to errors

    guardianflow export-errors donghwa-entec/busan-plant1/welding/ppe --window frames --to errors
    """
    from guardianflow.vision.metrics.relabelling import export_errors as write
    from guardianflow.vision.metrics.relabelling import require_empty_folder

    require_empty_folder(to)
    registry = open_registry(out)
    from guardianflow.evaluation.measurement import measure_version

    info = _version(registry, name, model_version)
    samples, classes, where = _images(registry, info, window)
    with out.meter() as show:
        measured = measure_version(
            registry,
            info.name,
            info.version,
            samples,
            classes,
            on_progress=lambda done, total: show("look", done, total),
        )
    title = f"mistakes of {info.name} version {info.version} on {where}"
    made = write(measured.seen, samples, classes, to, title=title)
    out.say(
        f"{info.name} version {info.version}: {made.images} of {made.of_images} images with "
        f"{made.missed} missed objects and {made.false} false alarms -> {made.folder}"
    )
    if made.images:
        out.remark(f"next: correct its labels, then guardianflow dataset check {made.folder}")
    out.result({"model_name": info.name, "version": info.version, **made.model_dump()})


def _version(
    registry: "ModelRegistryManager", name: ModelName, version: int | None
) -> "RegisteredModelInfo":
    from guardianflow.registry import ModelAlias

    if version is not None:
        return registry.get_version(name, version)
    for alias in (ModelAlias.CHAMPION, ModelAlias.CANDIDATE):
        if info := registry.get_by_alias(name, alias):
            return info
    raise NoCandidate(
        f"{name} has no @champion and no @candidate.",
        remedy="Name a version with --model-version; `guardianflow models` lists them.",
        name=name.public,
    )


def _images(
    registry: "ModelRegistryManager", info: "RegisteredModelInfo", window: Path | None
) -> "tuple[Sequence[Sample], tuple[str, ...], str]":
    """The labelled images, their classes, and what they are called."""
    from guardianflow.evaluation.measurement import (
        evaluation_digest,
        evaluation_set,
        recorded_scenario,
    )
    from guardianflow.vision.data.dataset import open_window

    scenario = recorded_scenario(registry, info)
    if window is None:
        digest = evaluation_digest(registry, info)
        if scenario is None:
            raise DatasetInvalid(
                f"No scenario is recorded with {info.name} version {info.version}, so its "
                "evaluation set is unknown.",
                remedy="Name a data set with --window.",
            )
        dataset, samples = evaluation_set(scenario, recorded=digest)
        return samples, dataset.classes, "its evaluation set"
    dataset = open_window(window, scenario)
    return dataset.samples("test"), dataset.classes, str(window)
