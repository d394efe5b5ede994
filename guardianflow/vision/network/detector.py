"""What an anchor-free detector is here, whichever its network: its shape, output and decoding.

Every cell of the three grids predicts one box (distances from its centre to the four sides) and
one score per class. The exported network includes decoding, so that it needs no further code.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

_STRIDES = (8, 16, 32)
# Initial score of a cell, so that the many empty cells do not dominate the first steps
# (RetinaNet's prior, Lin et al. 2017).
PRIOR = 0.01


class RawOutput(NamedTuple):
    """The output of the heads, for the loss.

    Attributes:
        logits: Class scores before the sigmoid, shape (B, A, C).
        distances: From the cell's centre to left, top, right, bottom in strides, shape (B, A, 4).
    """

    logits: Tensor
    distances: Tensor


class Grid(NamedTuple):
    """The cells of all three grids, one after the other.

    Attributes:
        centres: x, y in input pixels, shape (A, 2).
        strides: Pixels per cell, shape (A, 1).
    """

    centres: Tensor
    strides: Tensor


class Architecture(StrEnum):
    """Which network it is."""

    CSP = "csp"
    """Our own, of any width."""
    NANODET_G = "nanodet_g"
    """NanoDet-g, whose weights trained on COCO can be had."""


@dataclass(frozen=True)
class DetectorShape:
    """The arguments of the network, stored with its weights."""

    classes: int
    width: int
    image_size: int
    architecture: Architecture = Architecture.CSP


class Head(nn.Module):
    """What a head has whose answer is logits (B, C, H*W) and distances in strides (B, 4, H*W).

    Attributes:
        logits: Its last layer for classes, with a row per class.
        distances: Its last layer for boxes.
    """

    logits: nn.Conv2d
    distances: nn.Conv2d


class Detector(nn.Module, ABC):
    """A network with three heads, for strides 8, 16 and 32; `ExportedDetector` decodes its output.

    The modules in `heads` are Heads.
    """

    heads: nn.ModuleList

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def forward(self, images: Tensor) -> RawOutput:
        """Run the network.

        Args:
            images: RGB from 0 to 1, shape (B, 3, S, S), float32; S is a multiple of 32.
        """

    def answer(self, levels: Sequence[Tensor]) -> RawOutput:
        """What the heads say of the features of three levels, each (B, C, H, W)."""
        pairs = [head(level) for head, level in zip(self.heads, levels, strict=True)]
        logits = torch.cat([pair[0] for pair in pairs], 2).transpose(1, 2)
        distances = torch.cat([pair[1] for pair in pairs], 2).transpose(1, 2)
        return RawOutput(logits, distances)


class ExportedDetector(nn.Module):
    """The deployed detector: camera bytes in, boxes in input pixels and scores out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        grid = make_grid(detector.shape.image_size)
        self.register_buffer("centres", grid.centres)
        self.register_buffer("strides", grid.strides)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Detect.

        Args:
            frames: RGB, shape (B, S, S, 3), uint8.

        Returns:
            boxes: x1, y1, x2, y2 in input pixels, shape (B, A, 4), float32.
            scores: Probability of each class, shape (B, A, C), float32.
        """
        raw = self.detector(frames.permute(0, 3, 1, 2).float() / 255.0)
        grid = Grid(cast("Tensor", self.centres), cast("Tensor", self.strides))
        return decode_boxes(raw.distances, grid), raw.logits.sigmoid()


def make_grid(image_size: int, device: torch.device | str = "cpu") -> Grid:
    """Return the cells of a square input, in the order of the heads' output."""
    centres: list[Tensor] = []
    strides: list[Tensor] = []
    for stride in _STRIDES:
        steps = (torch.arange(image_size // stride, device=device) + 0.5) * stride
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        centres.append(torch.stack((x.flatten(), y.flatten()), 1))
        strides.append(torch.full((x.numel(), 1), float(stride), device=device))
    return Grid(torch.cat(centres), torch.cat(strides))


def decode_boxes(distances: Tensor, grid: Grid) -> Tensor:
    """Convert distances in strides, (B, A, 4), to x1, y1, x2, y2 in input pixels, (B, A, 4)."""
    pixels = distances * grid.strides
    return torch.cat((grid.centres - pixels[..., :2], grid.centres + pixels[..., 2:]), -1)
