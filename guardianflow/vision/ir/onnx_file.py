"""Reads the header of an ONNX file as plain data, before any runtime opens it.

An ONNX file is a protobuf message. `_SCHEMA` describes only the fields that are read here (with
their numbers in onnx/onnx.proto); others are skipped. Nothing in the format is code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from guardianflow.errors import ModelInvalid

# Message -> field -> (number, type, repeated); a type that is not a scalar is another message.
_SCHEMA: Mapping[str, Mapping[str, tuple[int, str, bool]]] = {
    "Entry": {"key": (1, "string", False), "value": (2, "string", False)},
    "Tensor": {"external_data": (13, "Entry", True)},
    "Attribute": {
        "t": (5, "Tensor", False),
        "g": (6, "Graph", False),
        "tensors": (10, "Tensor", True),
        "graphs": (11, "Graph", True),
    },
    "Node": {"op_type": (4, "string", False), "attribute": (5, "Attribute", True)},
    "Graph": {"node": (1, "Node", True), "initializer": (5, "Tensor", True)},
    "Opset": {"domain": (1, "string", False), "version": (2, "int64", False)},
    "Model": {
        "ir_version": (1, "int64", False),
        "producer_name": (2, "string", False),
        "producer_version": (3, "string", False),
        "graph": (7, "Graph", False),
        "opset_import": (8, "Opset", True),
        "metadata_props": (14, "Entry", True),
    },
}


_LISTED = 200


@dataclass(frozen=True)
class OnnxHeader:
    """The header of an ONNX file.

    Attributes:
        producer: The program that wrote it, e.g. "pytorch 2.13.0"; "" if unknown.
        opset: Version of ONNX's own operators.
        metadata: The producer's key-value metadata.
        data_files: External data files with its weights, if any.
    """

    producer: str
    opset: int
    metadata: Mapping[str, str]
    data_files: tuple[Path, ...]


def read_header(path: Path) -> OnnxHeader:
    """Read the header of an ONNX file.

    Raises:
        ModelInvalid: It is not an ONNX file, or its weights are not in its folder.
    """
    model = _message("Model")()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise _no_onnx(path) from error
    # Almost any bytes parse as a message; a model has a version, operators and a graph.
    if not (model.ir_version and model.opset_import and model.graph.node):
        raise _no_onnx(path)
    locations = sorted(set(_locations(model.graph)))
    return OnnxHeader(
        producer=f"{_text(model.producer_name)} {_text(model.producer_version)}".strip(),
        opset=max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0
        ),
        metadata={_text(entry.key): _text(entry.value) for entry in model.metadata_props},
        data_files=tuple(_beside(path, location) for location in locations),
    )


def _text(value: str | bytes) -> str:
    """A string of the message: bytes if it is not UTF-8."""
    return value if isinstance(value, str) else value.decode(errors="replace")


def _locations(graph: Any) -> Iterator[str]:
    """The locations of external data in a graph and its subgraphs."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [*graph.initializer, *(attribute.t for attribute in attributes)]
    tensors += [tensor for attribute in attributes for tensor in attribute.tensors]
    for tensor in tensors:
        yield from (entry.value for entry in tensor.external_data if entry.key == "location")
    for attribute in attributes:
        if attribute.HasField("g"):
            yield from _locations(attribute.g)
        for inner in attribute.graphs:
            yield from _locations(inner)


def _beside(path: Path, location: str) -> Path:
    folder = path.resolve().parent
    try:
        file = (folder / location).resolve()
        there = bool(location) and file.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelInvalid(
            f"{path} says that its weights are in {location[:40]!r}..., which cannot be a file "
            f"({len(location)} characters).",
            remedy="Do not use this file; export the model again into one file.",
            file=str(path),
            value=location[:_LISTED],
        ) from error
    if not file.is_relative_to(folder):
        raise ModelInvalid(
            f"{path} says that its weights are in {location!r}, outside its own folder.",
            remedy="Do not use this file; export the model again into one file.",
            file=str(path),
            value=location,
        )
    if not there:
        raise ModelInvalid(
            f"{path} says that its weights are in {location!r}, but there is no such file beside "
            "it.",
            remedy="Copy that file into the same folder, or export into one file.",
            file=str(path),
            value=location,
        )
    return file


def _no_onnx(path: Path) -> ModelInvalid:
    return ModelInvalid(
        f"{path} is not an ONNX model, or only a part of one.",
        remedy="Export it again, or copy it again if the copy is incomplete.",
        file=str(path),
    )


@cache
def _message(name: str) -> Any:
    """The protobuf class of a message in `_SCHEMA`."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="guardianflow/onnx_header.proto", package="guardianflow.onnx", syntax="proto2"
    )
    scalars = {"string": field_type.TYPE_STRING, "int64": field_type.TYPE_INT64}
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for field, (number, kind, repeated) in fields.items():
            added = described.field.add(
                name=field,
                number=number,
                type=scalars.get(kind, field_type.TYPE_MESSAGE),
                label=field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL,
            )
            if kind not in scalars:
                added.type_name = f".guardianflow.onnx.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"guardianflow.onnx.{name}"))
