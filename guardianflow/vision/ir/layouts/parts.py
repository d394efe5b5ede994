"""Layouts with boxes and scores in outputs of their own."""

from collections.abc import Sequence

import numpy as np
import openvino as ov

from guardianflow.vision.ir.layouts.operations import (
    are_labels,
    are_probabilities,
    reshape,
    scores_from_label,
    take,
)
from guardianflow.vision.ir.layouts.protocol import BOX, Answers, OutputSpec, Port, Split
from guardianflow.vision.ir.reading import Background, BoxForm, LayoutName

_BOX_NAMES = ("box", "dets")
_SCORE_NAMES = ("score", "conf", "prob")
_LABEL_NAMES = ("label", "class", "cls")


class Canonical:
    """An IR made by guardianflow, e.g. on another server."""

    name = LayoutName.CANONICAL
    meaning = "(1, A, 4) and (1, A, C): a box; a probability per class"
    usual = BoxForm.CORNERS
    logits = False
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """Two outputs, for the same cells."""
        return (
            len(spec.ports) == 2
            and all(len(port.shape) == 3 for port in spec.ports)
            and [port.shape[2] for port in spec.ports] == [BOX, spec.classes]
            and not _is_scores(spec.ports[0])
        )

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:  # noqa: ARG002
        """Its scores are probabilities."""
        return are_probabilities(answers[1])

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:  # noqa: ARG002
        """They are boxes and scores already."""
        return Split(outputs[0], outputs[1])


class Heads:
    """A box and a score per class for each query, in two outputs: the bare heads of a DETR."""

    name = LayoutName.HEADS
    meaning = "(1, A, 4) and (1, A, C or C + 1), in either order: a box; a score or logit per class"
    usual = BoxForm.CENTRE_FRACTIONS
    logits = True
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """Two outputs for the same queries; a class more may stand for "no object"."""
        found = self._find(spec.ports)
        if found is None:
            return False
        boxes, scores = (spec.ports[index].shape for index in found)
        return boxes[:2] == scores[:2] and scores[2] in (spec.classes, spec.classes + 1)

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """Whatever our own IR does not look like."""
        ours = Canonical()
        return not (ours.fits(spec) and ours.agrees(spec, answers))

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Order them."""
        boxes, scores = self._find(spec.ports) or (0, 1)
        return Split(outputs[boxes], outputs[scores])

    def _find(self, ports: Sequence[Port]) -> tuple[int, int] | None:
        """The indices of boxes and scores."""
        if len(ports) != 2 or any(len(port.shape) != 3 for port in ports):
            return None
        boxes = [index for index, port in enumerate(ports) if port.shape[2] == BOX]
        if len(boxes) == 2:
            named = [index for index in boxes if _is_boxes(ports[index])]
            boxes = named or [index for index in boxes if not _is_scores(ports[index])] or boxes
        return (boxes[0], 1 - boxes[0]) if boxes else None


class SeparateDetections:
    """Final detections in outputs of their own, as D-FINE, RT-DETR, Geti and torchvision export.

    The box may have its score in a fifth column. An output of one number, how many detections
    there are, says nothing that scores do not say.
    """

    name = LayoutName.DETECTIONS
    meaning = (
        "boxes (1, N, 4), scores (1, N), labels (1, N), in any order; or (1, N, 5), a box with its "
        "score, and labels"
    )
    usual = BoxForm.CORNERS
    logits = False
    background = Background.LAST

    def fits(self, spec: OutputSpec) -> bool:
        """Two or three outputs with as many rows."""
        return self._find(spec.ports) is not None

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """Labels are class indices, perhaps with one for background."""
        found = self._find(spec.ports)
        return found is not None and are_labels(answers[found[1]], spec.classes + 1)

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Labels may count from 1, with 0 for background: there is a column for one class more."""
        boxes, labels, scores = self._find(spec.ports) or (0, 1, None)
        rows, columns = spec.ports[boxes].shape[-2:]
        table = reshape(outputs[boxes], 1, rows, columns)
        score = take(table, [BOX]) if scores is None else reshape(outputs[scores], 1, rows, 1)
        label = reshape(outputs[labels], 1, rows, 1)
        return Split(table, scores_from_label(label, score, spec.classes + 1))

    def _find(self, ports: Sequence[Port]) -> tuple[int, int, int | None] | None:
        """The indices of boxes, labels, and scores; None for scores in a fifth column."""
        tables = [
            index
            for index, port in enumerate(ports)
            if len(_bare(port)) == 2 and _bare(port)[1] in (BOX, BOX + 1)
        ]
        if len(tables) != 1:
            return None
        rows = _bare(ports[tables[0]])[0]
        lists = [i for i, port in enumerate(ports) if _bare(port) == (rows,) and i != tables[0]]
        counts = [i for i, port in enumerate(ports) if int(np.prod(port.shape)) == 1]
        if len(ports) != 1 + len(lists) + len([i for i in counts if i not in lists]):
            return None
        inside = _bare(ports[tables[0]])[1] == BOX + 1
        labels = _labels_among(ports, lists)
        if labels is None or len(lists) != (1 if inside else 2):
            return None
        scores = None if inside else next(i for i in lists if i != labels)
        return tables[0], labels, scores


def _bare(port: Port) -> tuple[int, ...]:
    """Its shape without the batch, and without a last dimension of 1."""
    shape = port.shape[1:] if len(port.shape) > 1 and port.shape[0] == 1 else port.shape
    return shape[:-1] if len(shape) == 2 and shape[1] == 1 else shape


def _labels_among(ports: Sequence[Port], lists: Sequence[int]) -> int | None:
    """The index of the labels: integers, or what is called so."""
    if len(lists) == 1:
        return lists[0]
    for told in (
        [i for i in lists if ports[i].whole],
        [i for i in lists if _has(ports[i], _LABEL_NAMES) and not _has(ports[i], _SCORE_NAMES)],
        [i for i in lists if not _has(ports[i], _SCORE_NAMES)],
    ):
        if len(told) == 1:
            return told[0]
    return None


def _is_boxes(port: Port) -> bool:
    return _has(port, _BOX_NAMES)


def _is_scores(port: Port) -> bool:
    return not _is_boxes(port) and _has(port, ("logit", *_SCORE_NAMES, *_LABEL_NAMES))


def _has(port: Port, words: Sequence[str]) -> bool:
    return any(word in port.name.lower() for word in words)
