"""Opens the model file of another trainer: checked first, and never as code.

    .onnx --header as plain data--> weights beside it --OpenVINO--> graph + metadata
    .xml + .bin -------------------------------------- OpenVINO--> graph + metadata

Pickles (.pt, .pth and similar) run code when they are opened, so they are refused.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import openvino as ov
import yaml

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir.foreign_words import MAX_TEXT, in_one_line, parse_names, parse_side
from guardianflow.vision.ir.onnx_file import read_header
from guardianflow.vision.ir.reading import Placement

# All files of a model together; a detector for an edge box has a few hundred megabytes at most.
MAX_BYTES = 2**30
# Longest name or shape in a message, and the most ports.
_MAX_SHOWN = 80
_MAX_PORTS = 8
_EXPORT = (
    "Export it to ONNX where it was trained, in that trainer's own environment (docs/import.md), "
    "and import the .onnx file."
)
# Keys that Ultralytics writes, and others too.
_METADATA_KEYS = (
    *("names", "imgsz", "task", "license", "end2end", "author", "description", "head", "stride"),
)
# Keys of Geti and its model API: in an IR below `model_info`, in ONNX with that before the key.
_MODEL_INFO_KEYS = (
    *("labels", "label_info", "mean_values", "scale_values", "reverse_input_channels"),
    *("resize_type", "intensity_mode", "embedded_processing"),
)
# As `ir.describe` writes it: `640 640 centre`.
_GEOMETRY = ["guardianflow", "geometry"]
_SIGNATURES = {
    b"PK\x03\x04": "a zip archive, as torch.save writes it around a pickle",
    b"\x80": "a pickle",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "only the pointer that Git LFS left in place of the file",
}
_OTHER_TASKS = {
    "segment": "segmentation",
    "classify": "classification",
    "pose": "pose estimation",
    "obb": "rotated boxes",
}


@dataclass(frozen=True, eq=False)
class ForeignModel:
    """A model file of another trainer, opened.

    Attributes:
        path: The file.
        model: Its graph.
        format: `onnx` or `openvino`.
        sha256: Of all files that belong to it.
        producer: The program that wrote the file; "" if unknown.
        opset: Version of the operators; 0 if unknown.
        names: Its class names in the order of their indices; empty if it names none.
        side: Height and width in pixels for which it was exported; None if unknown.
        licence: As its producer states it; "" if unknown.
        end_to_end: Whether the file says that suppression is in its graph.
        metadata: What its producer states, by key.
        input_names: The names of its inputs; "" for one without.
        output_names: The names of its outputs; "" for one without.
        own_placement: Where an IR of ours takes a frame to be; None for all others.
    """

    path: Path
    model: ov.Model
    format: str
    sha256: str
    producer: str
    opset: int
    names: tuple[str, ...]
    side: tuple[int, int] | None
    licence: str
    end_to_end: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    own_placement: Placement | None = None

    def describe(self) -> str:
        """Return the file with its inputs and outputs, for errors."""
        inputs, outputs = _describe_ports(self.model.inputs), _describe_ports(self.model.outputs)
        return f"{self.path} has inputs {inputs} and outputs {outputs}"


def open_foreign(path: Path, *, classes: Sequence[str] = ()) -> ForeignModel:
    """Open a .onnx file, or the .xml of an OpenVINO IR.

    An untrusted file can ask for any amount of memory and time: see `confinement`.

    Args:
        path: The file.
        classes: Its class names if the caller knows them; those in the file are then not read.

    Raises:
        ModelInvalid: It has another format, is damaged or too large, contains operations that
            OpenVINO does not know, or is not a detector.
    """
    _refuse_pickle(path)
    _refuse_huge([path])
    header = read_header(path) if path.suffix.lower() == ".onnx" else None
    files = (path, *header.data_files) if header else (path, _weights_file(path))
    _refuse_huge(files)
    model = _read_model(path)
    if model.has_rt_info(["guardianflow", "image_size"]):
        raise ModelInvalid(
            f"{path} is an edge IR of guardianflow: it contains letterbox and suppression.",
            remedy="Import the plain IR that it was made from, ir/model.xml beside it.",
            file=str(path),
        )
    metadata = header.metadata if header else _ir_metadata(path, model)
    task = metadata.get("task", "detect")
    if task in _OTHER_TASKS:
        raise ModelInvalid(
            f"{path} is a model for {_OTHER_TASKS[task]} (task {task!r}), not a detector.",
            remedy="Train and export a detection model.",
            file=str(path),
            value=task,
        )
    return ForeignModel(
        path=path,
        model=model,
        format="onnx" if header else "openvino",
        sha256=_sha256(files),
        producer=in_one_line(header.producer) if header else "",
        opset=header.opset if header else 0,
        names=tuple(classes) or tuple(map(in_one_line, parse_names(path, metadata))),
        side=parse_side(metadata.get("imgsz", "")),
        licence=in_one_line(metadata.get("license", "")[:200]),
        end_to_end=metadata.get("end2end", "").strip().lower() == "true",
        metadata=metadata,
        input_names=_names(model.inputs),
        output_names=_names(model.outputs),
        own_placement=_own_placement(path, model),
    )


def _names(ports: Sequence[ov.Output]) -> tuple[str, ...]:
    return tuple(min(port.get_names(), default="") for port in ports)


def _own_placement(path: Path, model: ov.Model) -> Placement | None:
    if not model.has_rt_info(["guardianflow", "classes"]):
        return None
    if not model.has_rt_info(_GEOMETRY):
        # Of a version that knew no other.
        return Placement.CORNER
    text = str(model.get_rt_info(_GEOMETRY).value)[:_MAX_SHOWN]
    try:
        return Placement(text.rpartition(" ")[2])
    except ValueError as error:
        raise ModelInvalid(
            f"{path} says that it is an IR of guardianflow, but of no geometry that there is: "
            f"{text!r}.",
            remedy="Copy the file again from where it was made.",
            file=str(path),
            value=text,
        ) from error


def _refuse_pickle(path: Path) -> None:
    if not path.is_file():
        # Not Path.exists: it raises on names that are too long.
        wrong = f"{path} is not a file" if os.path.lexists(path) else f"There is no file {path}"
        raise ModelInvalid(f"{wrong}.", remedy="Correct the path.", file=str(path))
    if any("\ud800" <= sign <= "\udfff" for sign in str(path)):
        raise ModelInvalid(
            f"The name of {path} is not UTF-8, so OpenVINO cannot open it.",
            remedy="Rename the file or its folder.",
        )
    with path.open("rb") as stream:
        head = stream.read(32)
    for beginning, what in _SIGNATURES.items():
        if head.startswith(beginning):
            raise ModelInvalid(
                f"{path} is {what}. It was not opened: a pickle can run code.",
                remedy="Fetch the file itself with `git lfs pull`." if b"git" in head else _EXPORT,
                file=str(path),
            )
    # OpenVINO goes by the content, and would read any format that it knows.
    if path.suffix.lower() == ".xml" and not head.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"<"):
        raise ModelInvalid(
            f"{path} is no XML, so it is no OpenVINO IR.",
            remedy="Name it as what it is, or copy it again if it is damaged.",
            file=str(path),
        )
    if path.suffix.lower() not in (".onnx", ".xml"):
        raise ModelInvalid(
            f"{path} is neither a .onnx file nor the .xml of an OpenVINO IR.",
            remedy=_EXPORT,
            file=str(path),
        )


def _weights_file(path: Path) -> Path:
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelInvalid(
            f"The IR {path} has no weights: there is no {weights.name} beside it.",
            remedy=f"Copy {weights.name} into the same folder; an IR consists of both files.",
            file=str(path),
        )
    return weights


def _refuse_huge(files: Sequence[Path]) -> None:
    total = sum(file.stat().st_size for file in files)
    if total > MAX_BYTES:
        raise ModelInvalid(
            f"{files[0]} and its data files have {total / 2**20:.0f} MiB; at most "
            f"{MAX_BYTES // 2**20} are allowed.",
            remedy="Choose a smaller model: an edge box could not run this one.",
            file=str(files[0]),
        )


def _read_model(path: Path) -> ov.Model:
    try:
        return ov.Core().read_model(path)
    except RuntimeError as error:
        # The first lines name OpenVINO's source files; the last one has the reason.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelInvalid(
            f"OpenVINO cannot read {path}: {lines[-1][:500] if lines else 'no reason given'}",
            remedy="Custom operations are not supported: export with ONNX's own operators, or copy "
            "the file again if it is damaged.",
            file=str(path),
        ) from error


def _ir_metadata(path: Path, model: ov.Model) -> Mapping[str, str]:
    """The producer's metadata in an IR, or in the metadata.yaml beside it."""
    metadata: dict[str, str] = {}
    beside = path.with_name("metadata.yaml")
    if beside.is_file() and beside.stat().st_size <= MAX_TEXT:
        try:
            content: object = yaml.safe_load(beside.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
            # PyYAML lets errors of its parts through, e.g. for the date 2024-99-99.
            raise ModelInvalid(
                f"{beside}, which describes {path.name}, is not YAML: {str(error)[:200]}.",
                remedy="Correct it, or remove it and give --classes.",
                file=str(beside),
            ) from error
        if isinstance(content, dict):
            entries = cast("dict[object, object]", content)
            metadata = {str(key): str(value) for key, value in entries.items()}
    # OpenVINO copies the metadata of an ONNX file into the IR that it makes from it.
    for key in _METADATA_KEYS:
        if model.has_rt_info(["framework", key]):
            metadata[key] = str(model.get_rt_info(["framework", key]).value)
    for key in _MODEL_INFO_KEYS:
        if model.has_rt_info(["model_info", key]):
            metadata[f"model_info {key}"] = str(model.get_rt_info(["model_info", key]).value)
    if model.has_rt_info(["guardianflow", "classes"]):
        metadata["names"] = str(model.get_rt_info(["guardianflow", "classes"]).value)
    return metadata


def _sha256(files: Sequence[Path]) -> str:
    """The sha256 of the file; of several files, the sha256 of their sha256 values."""
    digests: list[str] = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _describe_ports(ports: Sequence[ov.Output]) -> str:
    shown = [describe_port(port) for port in ports[:_MAX_PORTS]]
    if len(ports) > _MAX_PORTS:
        shown.append(f"{len(ports) - _MAX_PORTS} more")
    return "; ".join(shown)


def describe_port(port: ov.Output) -> str:
    """Return e.g. `images f32 (1, 3, 320, 320)`, with long names shortened."""
    name = _shortened(min(port.get_names(), default=port.get_node().get_friendly_name()))
    shape = str(port.get_partial_shape()).strip("[]{}").replace(",", ", ")
    return f"{name} {port.get_element_type().get_type_name()} ({_shortened(shape)})"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
