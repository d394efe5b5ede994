"""What an ONNX file says about itself: read as plain data, before any runtime opens it.

An ONNX file is a protobuf message. Of its schema (onnx/onnx.proto, numbers of fields included)
only what is asked here is described; the rest is passed over. Nothing in the format is code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from guardianflow.errors import ModelInvalid

# Message -> field -> (number, type, repeated); a type that is no scalar is another message.
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
    """What an ONNX file says about itself.

    Attributes:
        producer: Who wrote it, e.g. "pytorch 2.13.0"; "" if unsaid.
        opset: Version of ONNX's own operators.
        metadata: What its producer left beside the graph, as text.
        data_files: The files beside it that hold its weights, where they are not within.
    """

    producer: str
    opset: int
    metadata: Mapping[str, str]
    data_files: tuple[Path, ...]


def read_header(path: Path) -> OnnxHeader:
    """Read what an ONNX file says about itself.

    Raises:
        ModelInvalid: It is no ONNX file, or its weights do not lie beside it.
    """
    model = _message("Model")()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise _no_onnx(path) from error
    # Almost any bytes are some message; a model has a version, operators and a graph.
    if not (model.ir_version and model.opset_import and model.graph.node):
        raise _no_onnx(path)
    locations = sorted(set(_locations(model.graph)))
    return OnnxHeader(
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        opset=max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0
        ),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        data_files=tuple(_beside(path, location) for location in locations),
    )


def _locations(graph: Any) -> Iterator[str]:
    """Where the tensors of a graph, and of the graphs within it, say that their data lies."""
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
            f"{path} says that its weights are in {location[:40]!r}..., which can be no file "
            f"({len(location)} characters).",
            remedy="Do not use this file; export the model again into one file.",
            file=str(path),
            value=location[:_LISTED],
        ) from error
    if not file.is_relative_to(folder):
        raise ModelInvalid(
            f"{path} says that its weights are in {location!r}, outside of its own folder.",
            remedy="Do not use this file; export the model again into one file.",
            file=str(path),
            value=location,
        )
    if not there:
        raise ModelInvalid(
            f"{path} says that its weights are in {location!r}, but there is no such file beside "
            "it.",
            remedy="Bring that file into the same folder, or export into one file.",
            file=str(path),
            value=location,
        )
    return file


def _no_onnx(path: Path) -> ModelInvalid:
    return ModelInvalid(
        f"{path} is no ONNX model, or only a part of one.",
        remedy="Export it again, or copy it again if the copy was cut off.",
        file=str(path),
    )


@cache
def _message(name: str) -> Any:
    """The class of one message of the schema."""
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
