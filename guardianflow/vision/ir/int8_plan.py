"""Reads from a detector's graph how to quantize it: what is left in float, and why.

    picture --trunk: convolutions, and attention among them--> heads, decoder, decoding --> boxes
            quantized, but for the products of attention       left in float

Only the graph counts, never a name: exports of the same network have many. A network without
attention is quantized as it always was; `Int8Plan.recipe` tells the others apart.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import openvino as ov
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.vision.ir import ir

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_RESHAPING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")
# Between a product of queries and keys and its softmax.
_SCALING = (*_RESHAPING, "Convert", "Add", "Subtract", "Multiply", "Divide", "Select", "Clamp")
# Between a softmax and its product with the values: rows that are all masked become 0.
_GUARDING = (*_RESHAPING, "Convert", "Select")
_FUSED_ATTENTION = "ScaledDotProductAttention"
# From the first of these on, a transformer follows chosen places instead of the whole picture.
_CHOOSING = ("TopK", "NonMaxSuppression", "GridSample")
_NEVER_QUANTIZED = ("Parameter", "Constant", "Result", "Convert", "ShapeOf")

_Step = Callable[[ov.Node], Iterable[ov.Node]]


class ModelType(StrEnum):
    """What NNCF is told that a network is."""

    CNN = "cnn"
    TRANSFORMER = "transformer"


class BiasCorrection(StrEnum):
    """How NNCF corrects the means of quantized layers."""

    EXACT = "exact"
    FAST = "fast"


class FloatPart(StrEnum):
    """A part of a detector that is left in float."""

    ATTENTION = "attention"
    DECODER = "decoder"
    DISTRIBUTION = "distribution"
    DECODING = "decoding"


_WHY = {
    FloatPart.ATTENTION: "products of queries, keys and values: 256 steps lose small probabilities",
    FloatPart.DECODER: "from where queries are chosen or asked: boxes refined step by step as "
    "logits, whose outliers would set the ranges",
    FloatPart.DISTRIBUTION: "each side of a box as a mean over the softmax of its bins",
    FloatPart.DECODING: "after the last layers of the trunk: pixels and probabilities need more "
    "than 256 steps",
}


class LeftInFloat(BaseModel):
    """Operations that are not quantized, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: FloatPart = Field(description="Of the detector.")
    why: str = Field(description="For whoever reads the run.")
    operations: tuple[str, ...] = Field(description="Their names in the IR, sorted.")


class Int8Plan(BaseModel):
    """How to quantize a detector to INT8, as its graph says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_type: ModelType = Field(description="What NNCF is told that it is.")
    bias_correction: BiasCorrection = Field(description="How NNCF corrects means.")
    left_in_float: tuple[LeftInFloat, ...] = Field(description="What is not quantized.")

    @property
    def ignored(self) -> list[str]:
        """The names of all operations that are not quantized, sorted."""
        return sorted(name for left in self.left_in_float for name in left.operations)

    @property
    def recipe(self) -> str:
        """What it adds to the recipe's version: nothing for a network without attention."""
        attends = any(left.part is FloatPart.ATTENTION for left in self.left_in_float)
        return "+attention-1" if attends or self.model_type is ModelType.TRANSFORMER else ""

    def params(self) -> dict[str, str]:
        """Return the choice in short, as params of a run."""
        return {
            "model_type": self.model_type.value,
            "bias_correction": self.bias_correction.value,
            "left_in_float": "; ".join(
                f"{left.part}, {len(left.operations)} operations ({left.why})"
                for left in self.left_in_float
            ),
        }


def plan_of(folder: Path) -> Int8Plan:
    """Read from the plain IR in a folder how to quantize it."""
    return read_plan(ov.Core().read_model(folder / ir.FILE))


def read_plan(model: ov.Model) -> Int8Plan:
    """Read from the graph of a plain IR how to quantize it."""
    nodes = model.get_ordered_ops()
    varying = _reached(model.get_parameters(), _targets)
    attention = [found for node in nodes if (found := _attention(node, varying))]
    convolutions = [n for n in nodes if n.get_type_name() in _CONVOLUTIONS and not _averages(n)]
    chosen = [node for node in nodes if node.get_type_name() in _CHOOSING]
    sampled = any(node.get_type_name() == "GridSample" for node in chosen)
    if (attention or sampled) and any(_is_linear(node, varying) for node in nodes):
        kind, correction = ModelType.TRANSFORMER, BiasCorrection.FAST
        asked = [one.end for one in attention if one.asks]
        decoder = _reached([*chosen, *asked], _targets)
        roots = [*convolutions, *(one.end for one in attention)]
        roots = [node for node in roots if _name(node) not in decoder]
    else:
        kind, correction = ModelType.CNN, BiasCorrection.EXACT
        decoder, roots = set[str](), convolutions
    trunk = _reached(roots, _sources) if roots else {_name(node) for node in nodes}
    left: dict[FloatPart, set[str]] = {part: set() for part in FloatPart}
    within = {name for one in attention for name in one.operations}
    means = {name for node in nodes for name in _distribution(node, varying)}
    for node in nodes:
        name = _name(node)
        if node.get_type_name() in _NEVER_QUANTIZED or (name in trunk and name not in within):
            continue
        if name in trunk:
            left[FloatPart.ATTENTION].add(name)
        elif decoder:
            left[FloatPart.DECODER].add(name)
        else:
            left[FloatPart.DISTRIBUTION if name in means else FloatPart.DECODING].add(name)
    return Int8Plan(
        model_type=kind,
        bias_correction=correction,
        left_in_float=tuple(
            LeftInFloat(part=part, why=_WHY[part], operations=tuple(sorted(names)))
            for part, names in left.items()
            if names
        ),
    )


@dataclass(frozen=True)
class _Attention:
    """The products of one attention.

    Attributes:
        operations: Names of what lies between queries, keys and values and their result.
        end: The last of them.
        asks: Whether its queries were learned and do not depend on the picture.
    """

    operations: frozenset[str]
    end: ov.Node
    asks: bool


def _attention(node: ov.Node, varying: Collection[str]) -> _Attention | None:
    """Return the attention that a node is the heart of, if it is one."""
    if node.get_type_name() == _FUSED_ATTENTION:
        asks = _name(node.input_value(0).get_node()) not in varying
        return _Attention(frozenset({_name(node)}), node, asks)
    if node.get_type_name() != "Softmax":
        return None
    before = _path(node, _sources, _SCALING, lambda found: found.get_type_name() == "MatMul")
    after = _path(node, _targets, _GUARDING, lambda found: _multiplies(found, varying))
    if not before or not after:
        return None
    operations = frozenset(map(_name, [*before, node, *after]))
    return _Attention(operations, after[-1], not _multiplies(before[-1], varying))


def _multiplies(node: ov.Node, varying: Collection[str]) -> bool:
    """Whether a node is a product of two matrices that both depend on the picture."""
    return node.get_type_name() == "MatMul" and all(_name(n) in varying for n in _sources(node))


def _is_linear(node: ov.Node, varying: Collection[str]) -> bool:
    return node.get_type_name() == "MatMul" and not _multiplies(node, varying)


def _distribution(node: ov.Node, varying: Collection[str]) -> set[str]:
    """Return the names from a softmax to the mean that it weighs, if a node is such a softmax."""
    if node.get_type_name() != "Softmax":
        return set()
    means = (*_CONVOLUTIONS, "MatMul")
    path = _path(
        node,
        _targets,
        _RESHAPING,
        lambda found: found.get_type_name() in means and not _multiplies(found, varying),
    )
    return {_name(one) for one in (node, *path)} if path else set()


def _averages(convolution: ov.Node) -> bool:
    """Whether a convolution is a mean over the softmax of bins."""
    node = convolution.input_value(0).get_node()
    while node.get_type_name() in _RESHAPING:
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Softmax"


def _path(
    start: ov.Node, step: _Step, through: Sequence[str], wanted: Callable[[ov.Node], bool]
) -> list[ov.Node]:
    """Return the nodes after `start` up to the first wanted one, `through` such types; or none."""
    waiting, seen = [[node] for node in step(start)], set[str]()
    while waiting:
        path = waiting.pop(0)
        if wanted(path[-1]):
            return path
        if path[-1].get_type_name() in through and _name(path[-1]) not in seen:
            seen.add(_name(path[-1]))
            waiting += [[*path, node] for node in step(path[-1])]
    return []


def _reached(starts: Iterable[ov.Node], step: _Step) -> set[str]:
    """Return the names of nodes and of all that is reached from them."""
    reached, waiting = set[str](), list(starts)
    while waiting:
        node = waiting.pop()
        if _name(node) not in reached:
            reached.add(_name(node))
            waiting += step(node)
    return reached


def _sources(node: ov.Node) -> list[ov.Node]:
    return [entry.get_source_output().get_node() for entry in node.inputs()]


def _targets(node: ov.Node) -> list[ov.Node]:
    """What a node's values go to; its shape does not depend on the picture."""
    found = (entry.get_node() for output in node.outputs() for entry in output.get_target_inputs())
    return [node for node in found if node.get_type_name() != "ShapeOf"]


def _name(node: ov.Node) -> str:
    return node.get_friendly_name()
