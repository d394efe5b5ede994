"""`guardianflow import`: register a detector from another trainer."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.opening import open_registry
from guardianflow.cli.options import ScenarioOption, model_argument
from guardianflow.cli.output import Output, OutputOption
from guardianflow.errors import InputError
from guardianflow.names import ModelName
from guardianflow.scenario import Scenario
from guardianflow.scenario.file import load_scenario
from guardianflow.vision.ir.reading import (
    MAX_CHANNEL,
    MAX_MEMORY_GIB,
    MAX_MINUTES,
    MIN_MEMORY_GIB,
    MIN_MINUTES,
    MIN_STD,
    Background,
    BoxForm,
    ChannelOrder,
    Channels,
    InputRange,
    LayoutName,
    Placement,
    ScoreForm,
)

if TYPE_CHECKING:
    from guardianflow.lifecycle.importing import ImportedModel, ImportOptions
    from guardianflow.registry import ModelRegistryManager

_LISTED = 10
_Name = Annotated[ModelName, model_argument("Model to add a version to.")]
_Version = Annotated[str, typer.Option(help="Scenario version, e.g. v3.")]
_Onnx = Annotated[Path | None, typer.Option(help="ONNX file.")]
_Ir = Annotated[
    Path | None,
    typer.Option(help="OpenVINO IR: the .xml with its .bin beside it, or their folder."),
]
_FromMlflow = Annotated[
    str,
    typer.Option(
        help="Model on the same server: REGISTERED/VERSION, models:/NAME@alias, models:/m-ID or "
        "runs:/ID/PATH."
    ),
]
_Classes = Annotated[
    str, typer.Option(help="Class names in order, a,b,c, if the file does not hold them.")
]
_Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", help="Name of a class in the file: SCENARIO=FILE."),
]
_Layout = Annotated[
    LayoutName | None, typer.Option(help="Layout of the outputs, if they do not tell.")
]
_InputRange = Annotated[
    InputRange | None,
    typer.Option(help="Input value of a white pixel."),
]
_Channels = Annotated[ChannelOrder | None, typer.Option(help="Order of the colour channels.")]
_Mean = Annotated[
    str, typer.Option(help="Subtracted from the channels of its input, in its range: a,b,c.")
]
_Std = Annotated[str, typer.Option(help="What the channels are divided by then: a,b,c.")]
_Placement = Annotated[
    Placement | None,
    typer.Option(
        help="Where a frame is placed: letterboxed in a corner or the centre, or stretched."
    ),
]
_Boxes = Annotated[
    BoxForm | None, typer.Option(help="Form of the boxes, if the outputs do not tell.")
]
_Scores = Annotated[
    ScoreForm | None, typer.Option(help="Form of the scores, if the outputs do not tell.")
]
_Background = Annotated[
    Background | None, typer.Option(help="Place of the class that stands for no object.")
]
_MaxMemory = Annotated[
    float,
    typer.Option(
        min=MIN_MEMORY_GIB,
        max=MAX_MEMORY_GIB,
        help="Memory limit for reading and running it once, in GiB.",
    ),
]
_MaxMinutes = Annotated[
    float,
    typer.Option(min=MIN_MINUTES, max=MAX_MINUTES, help="Time limit for the same, in minutes."),
]


def import_model(
    name: _Name,
    scenario: ScenarioOption,
    version: _Version,
    onnx: _Onnx = None,
    ir: _Ir = None,
    from_mlflow: _FromMlflow = "",
    classes: _Classes = "",
    mapping: _Mapping = None,
    layout: _Layout = None,
    input_range: _InputRange = None,
    channels: _Channels = None,
    mean: _Mean = "",
    std: _Std = "",
    placement: _Placement = None,
    boxes: _Boxes = None,
    scores: _Scores = None,
    background: _Background = None,
    max_memory_gib: _MaxMemory = 8.0,
    max_minutes: _MaxMinutes = 10.0,
    *,
    out: OutputOption,
) -> None:
    """Check, evaluate and register a detector from another trainer as @candidate.

    The scenario gives the classes, the evaluation images and the rules of the gate. Quantizing,
    promoting and rolling back work as for a model that was trained here.

    [bold]Examples[/]

    guardianflow import donghwa-entec/busan-plant1/welding/ppe --onnx best.onnx
    --scenario donghwa-entec-ppe --version v3

    guardianflow import openyard/busan-plant9/yard/helmets --from-mlflow helmets-by-hand/4
    --scenario openyard-helmets --version v1 --map no_helmet=head
    """
    settings = _load(scenario, version, name)
    path, pairs = _only_one(onnx, ir, from_mlflow), _pairs(mapping or [])
    from guardianflow.lifecycle.importing import ImportOptions

    options = ImportOptions(
        classes=tuple(part.strip() for part in classes.split(",")) if classes else (),
        mapping=pairs,
        layout=layout,
        input_range=input_range,
        channel_order=channels,
        mean=_per_channel("--mean", mean),
        std=_per_channel("--std", std, least=MIN_STD),
        placement=placement,
        boxes=boxes,
        scores=scores,
        background=background,
        max_memory_gib=max_memory_gib,
        max_minutes=max_minutes,
        source=from_mlflow,
    )
    imported = _import(out, open_registry(out), settings, path, options)
    _tell(out, name.public, scenario, version, imported)


def _load(scenario: str, version: str, name: ModelName) -> Scenario:
    """The scenario version, which must be about the model."""
    settings = load_scenario(scenario, version)
    if name != settings.model_name:
        raise InputError(
            f"Scenario {scenario} {version} belongs to {settings.model_name}, not to {name}.",
            remedy="Give the model of this scenario, or the scenario of this model.",
            name=name.public,
            scenario=scenario,
        )
    return settings


def _import(
    out: Output,
    registry: "ModelRegistryManager",
    settings: Scenario,
    path: Path | None,
    options: "ImportOptions",
) -> "ImportedModel":
    """Import a file, or what lies in MLflow where there is none."""
    from guardianflow.lifecycle.importing import ImportRunner
    from guardianflow.lifecycle.importing.handmade import fetched_model

    fetched = fetched_model(registry, options.source, settings.model_name)
    with nullcontext(path) if path else fetched as file, out.meter() as show:
        runner = ImportRunner(
            settings, registry, file, options, on_progress=lambda p: show(p.step, p.done, p.total)
        )
        return runner.run()


def _only_one(onnx: Path | None, ir: Path | None, from_mlflow: str) -> Path | None:
    """The file that is given; None where it is to be fetched from MLflow."""
    given = [path for path in (onnx, ir) if path is not None]
    if len(given) + bool(from_mlflow) != 1:
        raise InputError(
            f"{len(given) + bool(from_mlflow)} models are given; import takes exactly one.",
            remedy="Give one of --onnx FILE, --ir FILE.xml, --from-mlflow REGISTERED/VERSION.",
        )
    if not given:
        return None
    wanted, other = (".onnx", ".xml") if onnx else (".xml", ".onnx")
    path = _in_folder(given[0], wanted) if given[0].is_dir() else given[0]
    if path.suffix.lower() == other:
        raise InputError(
            f"{path} is a {other} file.",
            remedy=f"Use --{'ir' if onnx else 'onnx'} for it.",
            file=str(path),
        )
    return path


def _in_folder(folder: Path, suffix: str) -> Path:
    """The only file of its kind in a folder, as many trainers leave an IR."""
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() == suffix)
    if len(found) != 1:
        listed = ", ".join(file.name for file in found[:_LISTED])
        raise InputError(
            f"The folder {folder} holds {len(found) or 'no'} {suffix} file"
            f"{'' if len(found) == 1 else 's'}{': ' if listed else ''}{listed}.",
            remedy="Name the file itself.",
            file=str(folder),
        )
    return found[0]


def _pairs(mapping: Sequence[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in mapping]
    for entry, (ours, _, theirs) in zip(mapping, pairs, strict=True):
        if not (ours.strip() and theirs.strip()):
            raise InputError(
                f"--map {entry!r} is not a pair.", remedy="Write --map SCENARIO=FILE.", value=entry
            )
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def _per_channel(option: str, text: str, least: float = 0.0) -> Channels | None:
    if not text:
        return None
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        first = second = third = float("nan")
    if not all(least <= value <= MAX_CHANNEL for value in (first, second, third)):
        raise InputError(
            f"{option} {text!r} is not three numbers from {least:g} to {MAX_CHANNEL}.",
            remedy=f"Write them in the order of the channels: {option} 0.485,0.456,0.406",
            value=text,
        )
    return first, second, third


def _tell(out: Output, name: str, scenario: str, version: str, imported: "ImportedModel") -> None:
    figures, origin = imported.evaluation, imported.origin
    how = "was imported before; nothing to do" if imported.reused else "imported now"
    out.say(
        f"{origin.file} -> model version {imported.version} for scenario {version} ({how}): "
        f"{name}, mAP50 {figures.map50:.3f} on {figures.images} held-out images, @candidate"
    )
    boxes = f", boxes as {origin.boxes}" if origin.boxes else ""
    family = f" ({origin.family})" if origin.family else ""
    height, width = origin.shape or (origin.size, origin.size)
    out.remark(
        f"read as {origin.layout}{family}{boxes}, {width} x {height} px, pixels "
        f"{origin.pixels().describe()}, frames placed {origin.placement}; licence: "
        f"{origin.licence or 'not stated in the file'}"
    )
    for note in origin.tried:
        out.remark(f"tried, because the file does not say it - {note}")
    out.remark(f"next: guardianflow run {scenario} --type quant --version {version}")
    out.result(
        {
            "model_name": name,
            "scenario": scenario,
            "scenario_version": version,
            "version": imported.version,
            "run_id": imported.run_id,
            "reused": imported.reused,
            "origin": origin.model_dump(mode="json"),
            "evaluation": figures.model_dump(mode="json"),
        }
    )
