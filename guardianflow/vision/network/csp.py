"""Our own network: small, trained from random weights on a CPU in minutes.

image --stem--> /2 --stage--> /4 --stage--> /8 ----------> fuse ------------> head  stride  8
|                    ^    |
stage --> /16 --> fuse --+--> fuse ------> head  stride 16
|              ^              |
stage --> /32 ----+------------> fuse ---> head  stride 32
backbone (CSP)                       PAN: top-down, bottom-up        decoupled
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from guardianflow.vision.network.detector import PRIOR, Detector, DetectorShape, Head, RawOutput


class _ConvUnit(nn.Module):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        # Slower than torch's default of 0.1, because statistics of small batches are noisy.
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        return F.silu(self.norm(self.conv(x)))


class _Bottleneck(nn.Module):
    """Two 3x3 convolutions with an optional shortcut."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.first = _ConvUnit(channels, channels, 3)
        self.second = _ConvUnit(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class _CspStage(nn.Module):
    """Cross-stage partial block: half of the channels go through the bottleneck."""

    def __init__(self, inputs: int, outputs: int, *, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.split = _ConvUnit(inputs, 2 * half)
        self.block = _Bottleneck(half, shortcut=shortcut)
        self.merge = _ConvUnit(3 * half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        left, right = self.split(x).chunk(2, 1)
        return self.merge(torch.cat((left, right, self.block(right)), 1))


class _PyramidPool(nn.Module):
    """Three max-poolings in a row: context from the whole image for the deepest cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = _ConvUnit(channels, channels // 2)
        self.expand = _ConvUnit(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        levels = [self.reduce(x)]
        for _ in range(3):
            levels.append(F.max_pool2d(levels[-1], 5, 1, 2))
        return self.expand(torch.cat(levels, 1))


class _Head(Head):
    """A decoupled head: boxes and classes have their own convolutions."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.box = nn.Sequential(_ConvUnit(inputs, hidden, 3), _ConvUnit(hidden, hidden, 3))
        self.label = nn.Sequential(_ConvUnit(inputs, hidden, 3), _ConvUnit(hidden, hidden, 3))
        self.distances = nn.Conv2d(hidden, 4, 1)
        self.logits = nn.Conv2d(hidden, classes, 1)
        nn.init.constant_(cast("Tensor", self.logits.bias), -math.log((1 - PRIOR) / PRIOR))
        # softplus(1.5) is about 1.7 strides to each side: a typical object of the level.
        nn.init.constant_(cast("Tensor", self.distances.bias), 1.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, C, H*W), and positive distances in strides (B, 4, H*W)."""
        logits = self.logits(self.label(x)).flatten(2)
        distances = F.softplus(self.distances(self.box(x))).flatten(2)
        return logits, distances


class CspDetector(Detector):
    """A compact network: backbone of CSP blocks, PAN, decoupled heads."""

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__(shape)
        w = shape.width
        c2, c3, c4, c5 = 2 * w, 4 * w, 8 * w, 12 * w
        self.stem = _ConvUnit(3, w, 3, 2)
        # No CSP block at 1/4 of the input size: it would take a fifth of the time.
        self.stage2 = _ConvUnit(w, c2, 3, 2)
        self.stage3 = nn.Sequential(_ConvUnit(c2, c3, 3, 2), _CspStage(c3, c3))
        self.stage4 = nn.Sequential(_ConvUnit(c3, c4, 3, 2), _CspStage(c4, c4))
        self.stage5 = nn.Sequential(_ConvUnit(c4, c5, 3, 2), _CspStage(c5, c5), _PyramidPool(c5))
        self.top4 = _CspStage(c5 + c4, c4, shortcut=False)
        self.top3 = _CspStage(c4 + c3, c3, shortcut=False)
        self.down3 = _ConvUnit(c3, c3, 3, 2)
        self.out4 = _CspStage(c3 + c4, c4, shortcut=False)
        self.down4 = _ConvUnit(c4, c4, 3, 2)
        self.out5 = _CspStage(c4 + c5, c5, shortcut=False)
        self.heads = nn.ModuleList(_Head(c, c3, shape.classes) for c in (c3, c4, c5))

    def forward(self, images: Tensor) -> RawOutput:
        """Run the network."""
        p3 = self.stage3(self.stage2(self.stem(images)))
        p4 = self.stage4(p3)
        p5 = self.stage5(p4)
        t4 = self.top4(torch.cat((F.interpolate(p5, scale_factor=2.0), p4), 1))
        o3 = self.top3(torch.cat((F.interpolate(t4, scale_factor=2.0), p3), 1))
        o4 = self.out4(torch.cat((self.down3(o3), t4), 1))
        o5 = self.out5(torch.cat((self.down4(o4), p5), 1))
        return self.answer((o3, o4, o5))
