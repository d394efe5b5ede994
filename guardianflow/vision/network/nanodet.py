"""NanoDet-g (Lyu, 2021), whose weights trained on COCO start a training.

    image --stem--> /4 --csp--> /4 --csp--> /8 --csp--> /16 --csp--> /32     backbone
                                    |           |            |
                                 reduce      reduce       reduce             128 channels each
                                    +-- PAN: sums, top-down and bottom-up --> heads

The weights have no batch normalisation: it is folded into the convolutions. A distance is the mean
of a distribution over whole strides (Li et al., Generalized Focal Loss, 2020).
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from guardianflow.vision.network.detector import PRIOR, Detector, DetectorShape, Head, RawOutput

_SLOPE = 0.1
_LEVEL = 128
# A distance lies between 0 and 10 strides.
_BINS = 11
# Of COCO's photographs, for R, G, B from 0 to 1.
_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
_DEVIATION = (58.395 / 255, 57.12 / 255, 57.375 / 255)


class _Unit(nn.Module):
    """Convolution with bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        return F.leaky_relu(self.conv(x), _SLOPE)


class _Pair(nn.Module):
    """Two convolutions in a row, each with half of the channels, side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Unit(channels, channels // 2)
        self.second = _Unit(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        first = self.first(x)
        return torch.cat((self.second(first), first), 1)


class _Stage(nn.Module):
    """Cross-stage partial stage: twice as many channels come out."""

    def __init__(self, channels: int, pairs: int, stride: int) -> None:
        super().__init__()
        self.enter = _Unit(channels, channels, stride)
        self.pairs = nn.Sequential(*(_Pair(channels) for _ in range(pairs)))
        self.leave = _Unit(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2 * C, H / stride, W / stride)."""
        x = self.enter(x)
        return torch.cat((self.leave(self.pairs(x)), x), 1)


class _Head(Head):
    """One convolution for boxes and classes together."""

    bins: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.shared = _Unit(_LEVEL, _LEVEL)
        self.logits = nn.Conv2d(_LEVEL, classes, 1)
        self.distances = nn.Conv2d(_LEVEL, 4 * _BINS, 1)
        self.register_buffer("bins", torch.arange(float(_BINS)), persistent=False)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.constant_(cast("Tensor", self.logits.bias), -math.log((1 - PRIOR) / PRIOR))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, C, H*W), and positive distances in strides (B, 4, H*W)."""
        x = self.shared(x)
        shares = self.distances(x).flatten(2).unflatten(1, (4, _BINS)).softmax(2)
        return self.logits(x).flatten(2), torch.einsum("bsnc,n->bsc", shares, self.bins)


class NanodetDetector(Detector):
    """NanoDet-g with heads for our classes; the width of its shape is that of its stem, 32."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__(shape)
        w = shape.width
        self.stem = _Unit(3, w, 2)
        self.stage2 = _Stage(w, 1, 1)
        self.stage3 = _Stage(2 * w, 2, 2)
        self.stage4 = _Stage(4 * w, 2, 2)
        self.stage5 = _Stage(8 * w, 3, 2)
        self.reduce = nn.ModuleList(nn.Conv2d(c * w, _LEVEL, 1) for c in (4, 8, 16))
        self.heads = nn.ModuleList(_Head(shape.classes) for _ in range(3))
        for name, values in (("mean", _MEAN), ("deviation", _DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> RawOutput:
        """Run the network."""
        x = self.stem((images - self.mean) / self.deviation)
        p3 = self.stage3(self.stage2(F.max_pool2d(x, 3, 2, 1)))
        p4 = self.stage4(p3)
        levels = zip(self.reduce, (p3, p4, self.stage5(p4)), strict=True)
        l3, l4, l5 = (reduce(level) for reduce, level in levels)
        t4 = l4 + _twice(l5)
        o3 = l3 + _twice(t4)
        # Half the size by interpolation between pixels is the mean of two by two.
        o4 = t4 + F.avg_pool2d(o3, 2)
        o5 = l5 + F.avg_pool2d(o4, 2)
        return self.answer((o3, o4, o5))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
