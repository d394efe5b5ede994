"""The loss: assigns objects to cells, and compares the predictions of these cells with them.

Task-aligned assignment (Feng et al., TOOD, ICCV 2021): of the cells whose centre lies inside an
object, those with the highest score^ALPHA * IoU^BETA are assigned. Their score target is this
alignment, scaled to the best IoU. The box loss is GIoU (Rezatofighi et al., CVPR 2019), weighted by
the target.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from guardianflow.vision.network.detector import Grid, RawOutput, decode_boxes

_TOP_CELLS = 10
_ALPHA = 0.5
_BETA = 4.0
_BOX_GAIN = 2.5
_EPS = 1e-9


class Truth(NamedTuple):
    """The objects of a batch, padded to the image with the most objects.

    Attributes:
        boxes: x1, y1, x2, y2 in input pixels, shape (B, G, 4), float32.
        classes: Class index, shape (B, G), int64; 0 in padding.
        present: Whether the row is an object, shape (B, G), bool.
    """

    boxes: Tensor
    classes: Tensor
    present: Tensor


class Targets(NamedTuple):
    """The targets of each cell.

    Attributes:
        boxes: Box of the assigned object in input pixels, shape (B, A, 4), float32.
        scores: Target per class, shape (B, A, C), float32; zero for a cell without an object.
    """

    boxes: Tensor
    scores: Tensor


class Loss(NamedTuple):
    """The loss and its parts as scalars; training minimises `total`."""

    total: Tensor
    box: Tensor
    label: Tensor


def detection_loss(raw: RawOutput, truth: Truth, grid: Grid) -> Loss:
    """Compute the loss of one batch, in float32 even under automatic mixed precision."""
    logits, distances = raw.logits.float(), raw.distances.float()
    boxes = decode_boxes(distances, grid)
    with torch.no_grad():
        targets = assign_targets(logits.sigmoid(), boxes, truth, grid)
        weights = targets.scores.sum(-1)
        norm = weights.sum().clamp(min=1.0)
    label = F.binary_cross_entropy_with_logits(logits, targets.scores, reduction="sum") / norm
    chosen = weights > 0
    if bool(chosen.any()):
        overlap = generalized_iou(boxes[chosen], targets.boxes[chosen])
        box = ((1.0 - overlap) * weights[chosen]).sum() / norm
    else:
        box = boxes.sum() * 0.0
    return Loss(label + _BOX_GAIN * box, box.detach(), label.detach())


def assign_targets(scores: Tensor, boxes: Tensor, truth: Truth, grid: Grid) -> Targets:
    """Assign cells to every object.

    Args:
        scores: Predicted probabilities, shape (B, A, C), float32.
        boxes: Predicted boxes in input pixels, shape (B, A, 4), float32.
        truth: The objects.
        grid: The cells.
    """
    batch, cells, classes = scores.shape
    objects = truth.boxes.shape[1]
    if objects == 0:
        return Targets(torch.zeros_like(boxes), torch.zeros_like(scores))
    candidate = _cells_inside(truth, grid)
    overlap = pairwise_iou(truth.boxes, boxes) * candidate
    score = scores.transpose(1, 2).gather(1, truth.classes[..., None].expand(-1, -1, cells))
    alignment = score.pow(_ALPHA) * overlap.pow(_BETA) * candidate
    best, index = alignment.topk(min(_TOP_CELLS, cells), dim=2)
    chosen = torch.zeros_like(alignment).scatter_(2, index, (best > _EPS).to(alignment.dtype))
    # A cell that several objects want goes to the one it overlaps most.
    owner = (overlap * chosen).argmax(1)
    chosen = chosen * F.one_hot(owner, objects).transpose(1, 2)
    taken = chosen.sum(1) > 0
    alignment = alignment * chosen
    scale = (overlap * chosen).amax(2) / (alignment.amax(2) + _EPS)
    strength = (alignment * scale[..., None]).amax(1)
    row = torch.arange(batch, device=boxes.device)[:, None]
    label = F.one_hot(truth.classes[row, owner], classes)
    return Targets(truth.boxes[row, owner], label * (strength * taken)[..., None])


def _cells_inside(truth: Truth, grid: Grid) -> Tensor:
    """Cells whose centre is in the object, and its nearest cell, shape (B, G, A), bool."""
    low = grid.centres - truth.boxes[:, :, None, :2]
    high = truth.boxes[:, :, None, 2:] - grid.centres
    inside = torch.minimum(low, high).amin(-1) > 0
    # An object smaller than a cell may contain no centre: without the nearest it is never learned.
    middle = (truth.boxes[..., :2] + truth.boxes[..., 2:]) / 2
    distance = (middle[:, :, None] - grid.centres).square().sum(-1)
    nearest = torch.zeros_like(inside).scatter_(2, distance.argmin(2, keepdim=True), value=True)
    return (inside | nearest) & truth.present[..., None]


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of every box of (B, G, 4) with every box of (B, A, 4), shape (B, G, A)."""
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    area_first = (first[..., 2:] - first[..., :2]).prod(-1)[:, :, None]
    area_second = (second[..., 2:] - second[..., :2]).prod(-1)[:, None]
    return common / (area_first + area_second - common + _EPS)


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the GIoU of the rows of two (N, 4) tensors, shape (N,), from -1 to 1."""
    common = (
        (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2]))
        .clamp(min=0)
        .prod(1)
    )
    areas = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1)
    union = areas - common
    hull = (
        torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    ).prod(1)
    return common / (union + _EPS) - (hull - union) / (hull + _EPS)
