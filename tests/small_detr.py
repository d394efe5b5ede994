"""A detector built as RT-DETR is, small enough to be trained for a test and kept in the repository.

    python -m tests.small_detr        trains it and writes tests/small-detr.onnx, minutes

Convolutions, attention among their cells and another convolution; the cells that look most like
an object become queries; a decoder asks the cells about them and moves boxes as logits, layer by
layer.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as f

FILE = Path(__file__).parent / "small-detr.onnx"
SIDE, CLASSES = 64, ("red", "green")
_CELL, _WIDTH, _HEADS, _QUERIES, _LAYERS = 8, 32, 4, 8, 2
_STEPS, _BATCH = 1500, 16
# How much larger one channel is than the others, see `with_outliers`.
_OUTLIER = 1000.0


class Attention(nn.Module):
    """Attention as exporters see it: two products of matrices around a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        query, key, value = (
            layer(tokens).unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for layer, tokens in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        weights = (query @ key.transpose(-1, -2) * (_WIDTH / _HEADS) ** -0.5).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))


class Hidden(nn.Sequential):
    """A layer, ReLU and another layer."""

    def __init__(self, outputs: int) -> None:
        super().__init__(nn.Linear(_WIDTH, 2 * _WIDTH), nn.ReLU(), nn.Linear(2 * _WIDTH, outputs))


class Encoder(nn.Module):
    """One layer of self-attention over all cells."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.hidden = Attention(), Hidden(_WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(2))

    def forward(self, cells: Tensor, places: Tensor) -> Tensor:
        cells = self.norms[0](cells + self.attention(cells + places, cells + places))
        return self.norms[1](cells + self.hidden(cells))


class DecoderLayer(nn.Module):
    """Queries attend to each other, ask the cells, and move their boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.among, self.asking, self.hidden = Attention(), Attention(), Hidden(_WIDTH)
        self.place = Hidden(_WIDTH)
        self.embed = nn.Linear(4, _WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(3))

    def forward(self, queries: Tensor, boxes: Tensor, cells: Tensor, places: Tensor) -> Tensor:
        at = self.place(self.embed(boxes))
        queries = self.norms[0](queries + self.among(queries + at, queries + at))
        queries = self.norms[1](queries + self.asking(queries + at, cells + places))
        return self.norms[2](queries + self.hidden(queries))


class SmallDetr(nn.Module):
    """Pictures (N, 3, 64, 64), 0..1, to logits (N, Q, C) and boxes (N, Q, 4): cx, cy, w, h, 0..1.

    In training these are lists: of all cells first, then of each layer.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 24, _WIDTH)
        self.backbone = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.SiLU())
                for a, b in pairwise(widths)
            )
        )
        self.encoder = Encoder()
        self.fusion = nn.Sequential(nn.Conv2d(_WIDTH, _WIDTH, 3, 1, 1), nn.SiLU())
        self.decoder = nn.ModuleList(DecoderLayer() for _ in range(_LAYERS))
        self.scores = nn.ModuleList(nn.Linear(_WIDTH, len(CLASSES)) for _ in range(_LAYERS + 1))
        self.moves = nn.ModuleList(Hidden(4) for _ in range(_LAYERS + 1))
        cells = SIDE // _CELL
        self.places = nn.Parameter(torch.randn(1, cells * cells, _WIDTH) * 0.1)
        y, x = np.divmod(np.arange(cells * cells), cells)
        centre = (np.stack([x, y], 1) + 0.5) / cells
        anchors = np.concatenate([centre, np.full_like(centre, 0.25)], 1)
        logits = torch.from_numpy(np.log(anchors / (1 - anchors))).float()
        self.register_buffer("anchors", logits[None])

    def forward(self, pictures: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        features = self.backbone(pictures)
        cells = self.encoder(features.flatten(2).transpose(1, 2), self.places)
        features = self.fusion(cells.transpose(1, 2).unflatten(2, features.shape[2:]))
        cells = features.flatten(2).transpose(1, 2)
        logits = [self.scores[0](cells)]
        boxes = [self.anchors + self.moves[0](cells)]
        best = logits[0].amax(-1).topk(_QUERIES, 1).indices[..., None]
        queries = cells.gather(1, best.expand(-1, -1, _WIDTH)).detach()
        at = boxes[0].gather(1, best.expand(-1, -1, 4)).detach()
        for layer, score, move in zip(self.decoder, self.scores[1:], self.moves[1:], strict=True):
            queries = layer(queries, at.sigmoid(), cells, self.places)
            logits.append(score(queries))
            boxes.append(at + move(queries))
            at = boxes[-1].sigmoid().clamp(1e-5, 1 - 1e-5).detach()
            at = (at / (1 - at)).log()
        return logits, [one.sigmoid() for one in boxes]


class Exported(nn.Module):
    """The network with the inputs and outputs of our IR."""

    def __init__(self, network: SmallDetr) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        logits, boxes = self.network(frames.permute(0, 3, 1, 2).float() / 255)
        centre, size = boxes[-1].split(2, -1)
        return torch.cat((centre - size / 2, centre + size / 2), -1) * SIDE, logits[-1].sigmoid()


def draw(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32], list[int]]:
    """Draw a frame of up to three red or green plates: it, corners in pixels, classes."""
    frame = random.integers(60, 120, (SIDE, SIDE, 3)).astype(np.uint8)
    boxes: list[list[int]] = []
    classes: list[int] = []
    for _ in range(random.integers(1, 4)):
        width, height = random.integers(10, 28, 2)
        x, y = random.integers(0, SIDE - width), random.integers(0, SIDE - height)
        box = [x, y, x + width, y + height]
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
            continue
        label = int(random.integers(0, 2))
        frame[y : y + height, x : x + width, label] = random.integers(190, 250)
        boxes.append(box)
        classes.append(label)
    return frame, np.array(boxes, np.float32).reshape(-1, 4), classes


def loss(logits: Tensor, boxes: Tensor, truth: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Focal loss of scores, and L1 of the boxes that fit best."""
    total = logits.new_zeros(())
    for one, found, (wanted, labels) in zip(logits, boxes, truth, strict=True):
        far = torch.cdist(found, wanted, 1)
        cost = 5 * far - 2 * one.sigmoid()[:, labels]
        chosen, object_ = linear_sum_assignment(cost.detach().numpy())
        target = torch.zeros_like(one)
        target[chosen, labels[object_]] = 1
        weight = (target - one.sigmoid()).abs().detach() ** 2
        total = total + (
            f.binary_cross_entropy_with_logits(one, target, weight, reduction="sum")
            + 5 * (found[chosen] - wanted[object_]).abs().sum()
        ) / len(labels)
    return total / len(logits)


def train(steps: int = _STEPS) -> SmallDetr:
    """Train it on drawn frames."""
    torch.manual_seed(0)
    random, network = np.random.default_rng(0), SmallDetr()
    for score in network.scores:
        nn.init.constant_(score.bias, -3.0)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(steps):
        drawn = [draw(random) for _ in range(_BATCH)]
        truth = [
            (
                torch.from_numpy(
                    np.concatenate(
                        [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1
                    )
                    / SIDE
                ),
                torch.tensor(labels),
            )
            for _, boxes, labels in drawn
        ]
        pictures = torch.from_numpy(np.stack([frame for frame, _, _ in drawn]))
        answers = network(pictures.permute(0, 3, 1, 2).float() / 255)
        total = sum(loss(*answer, truth) for answer in zip(*answers, strict=True))
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rate.step()
    return network.eval()


def with_outliers(network: SmallDetr) -> SmallDetr:
    """Enlarge one channel of what the last layer says; the network computes the same.

    Large transformers learn such channels by themselves; one that is trained for minutes does not.
    """
    norm, score, move = network.decoder[-1].norms[-1], network.scores[-1], network.moves[-1]
    with torch.no_grad():
        norm.weight[0] *= _OUTLIER
        norm.bias[0] *= _OUTLIER
        score.weight[:, 0] /= _OUTLIER
        move[0].weight[:, 0] /= _OUTLIER
    return network


def export(network: SmallDetr, path: Path) -> Path:
    """Write it as ONNX."""
    frames = torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)
    torch.onnx.export(
        Exported(network).eval(),
        (frames,),
        path,
        input_names=["frames"],
        output_names=["boxes", "scores"],
        opset_version=17,
        dynamo=False,
    )
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    export(with_outliers(train()), FILE)
