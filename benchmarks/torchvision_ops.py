"""The operators that torchvision's wheel lacks beside a CPU build of torch, in torch alone.

This file is copied into the rival's own environment and installed there at every start of Python
(by a `.pth` file); it imports torch only when somebody imports torchvision.

    import torchvision --> declare nms and qnms --> torchvision itself --> its `nms` is this one

PyPI's torchvision is built against CUDA: its library does not load beside the CPU torch, and
without it even `import torchvision` fails, because the package describes two operators that then
do not exist. A detector's validation needs one of them in earnest, non-maximum suppression.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType

_BLOCK = 128


def suppress(boxes, scores, overlap):
    """Greedy non-maximum suppression, the same choice as the compiled operator makes.

    Boxes are taken in blocks, best first: within a block one after the other, then all that the
    block keeps strike out what lies behind it at once.

    Args:
        boxes: x1, y1, x2, y2, shape (N, 4).
        scores: Shape (N,).
        overlap: A box is struck out by a better one with an IoU above it.

    Returns:
        Indices of the kept boxes, best first, int64.
    """
    import torch

    order = torch.argsort(scores, descending=True, stable=True)
    rest = boxes[order]
    kept = []
    while len(order):
        block = rest[:_BLOCK]
        doubles = (_iou(block, block) > overlap).triu_(1).numpy()
        alive = torch.ones(len(block), dtype=torch.bool).numpy()
        for index in range(len(block)):
            if alive[index]:
                alive &= ~doubles[index]
        good = torch.from_numpy(alive)
        kept.append(order[: len(block)][good])
        order, rest = order[len(block) :], rest[len(block) :]
        free = ~(_iou(block[good], rest) > overlap).any(0)
        order, rest = order[free], rest[free]
    return torch.cat(kept) if kept else order


def _iou(one, other):
    """Intersection over union of every pair, shape (len(one), len(other))."""
    import torch

    left, top, right, bottom = (side[:, None] for side in one.unbind(1))
    x1, y1, x2, y2 = (side[None] for side in other.unbind(1))
    wide = torch.minimum(right, x2).sub_(torch.maximum(left, x1)).clamp_(min=0)
    high = torch.minimum(bottom, y2).sub_(torch.maximum(top, y1)).clamp_(min=0)
    common = wide.mul_(high)
    areas = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1)
    return common / areas.sub_(common)


def _declare():
    """Declare the two operators that torchvision describes when it is imported."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", suppress, "CPU")
    return library


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the import of torchvision begin with the declaration, and end with its check passed."""

    def find_spec(self, fullname, path=None, target=None):  # noqa: ARG002
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torchvision")
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType):
        vars(module)["guardianflow_operators"] = _declare()
        self.loader.exec_module(module)
        import torchvision.extension  # pyright: ignore[reportMissingImports]

        torchvision.extension._has_ops = lambda: True


def install():
    """Be there when torchvision is imported; a `.pth` file may be read more than once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
