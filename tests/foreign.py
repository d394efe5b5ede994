"""Detectors as other trainers export them, made from one of ours with the same weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from guardianflow.vision.ir.reading import LayoutName
from guardianflow.vision.network.detector import Detector, decode_boxes, make_grid


class Export(nn.Module):
    """A detector with float NCHW input and one of the foreign output layouts.

    Args:
        detector: One of ours.
        layout: Of the output.
        scale: The value of a white pixel: 1 or 255.
        order: The RGB channel that each input channel is.
        labels: Our class of each of its classes; None: the same.
        logits: Whether to leave out the sigmoid.
    """

    def __init__(
        self,
        detector: Detector,
        layout: LayoutName = LayoutName.RAW,
        *,
        scale: float = 1.0,
        order: tuple[int, int, int] = (0, 1, 2),
        labels: Sequence[int] | None = None,
        logits: bool = False,
    ) -> None:
        super().__init__()
        self.detector, self.layout, self.scale = detector, layout, scale
        self.order, self.logits = list(order), logits
        self.labels = list(labels or range(detector.shape.classes))
        self.grid = make_grid(detector.shape.image_size)

    def forward(self, images: Tensor) -> Tensor:
        raw = self.detector(images[:, self.order] / self.scale)
        boxes = decode_boxes(raw.distances, self.grid)
        scores = (raw.logits if self.logits else raw.logits.sigmoid())[..., self.labels]
        sizes = boxes[..., 2:] - boxes[..., :2]
        centred = torch.cat(((boxes[..., :2] + boxes[..., 2:]) / 2, sizes), -1)
        if self.layout is LayoutName.RAW:
            return torch.cat((centred, scores), -1).transpose(1, 2)
        best, label = scores.max(-1, keepdim=True)
        if self.layout is LayoutName.OBJECTNESS:
            return torch.cat((centred, best, scores / best), -1)
        table = torch.cat((boxes, best, label.float()), -1)
        top = best[..., 0].topk(60).indices
        return table.gather(1, top.unsqueeze(-1).expand(-1, -1, 6))


def export_onnx(module: Export, path: Path, metadata: Mapping[str, object], **options) -> Path:
    """Write it as ONNX, with metadata as Ultralytics writes it."""
    side = module.detector.shape.image_size
    torch.onnx.export(
        module.eval(),
        (torch.zeros(1, 3, side, side),),
        path,
        input_names=["images"],
        output_names=["output0"],
        opset_version=17,
        dynamo=False,
        **options,
    )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.save(model, path)
    return path
