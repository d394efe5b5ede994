"""YOLOX: Megvii's own code, packaged as pixeltable-yolox; raw and decoded in the graph.

The export is that of the package's `yolox.cli.export_onnx`, which only knows 640 pixels and
pretrained weights, so its three steps are taken here: replaced SiLU, the switch, `torch.onnx`.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from writing import (
    CLASSES,
    MIN_SCORE,
    OVERLAP,
    best_first,
    frames,
    pixels,
    settle,
    spread,
    spread_scores,
    tidy,
    write_entry,
)
from yolox.data import ValTransform
from yolox.models import YoloPafpn, YoloxHead, YoloxModule
from yolox.models.network_blocks import SiLU
from yolox.utils import postprocess, replace_module

SIDE = 160
_WIDTH = 0.0625
DECODED = "(B, A, 5 + C): cx, cy, w, h in pixels of the input, objectness, a probability per class"
BARE = "(B, A, 5 + C): offsets in cells, logarithms of sizes in cells; objectness; probabilities"


def prepared(frame: object) -> tuple[torch.Tensor, float]:
    """Return a frame as the network takes it, and its pixels per pixel of the frame."""
    # As cv2.imread gives it to tools/demo.py: blue first.
    tensor, _ = ValTransform(legacy=False)(frame[..., ::-1], None, (SIDE, SIDE))
    return torch.from_numpy(tensor)[None], SIDE / max(frame.shape[:2])


def build() -> nn.Module:
    """Return a small YOLOX with scores and boxes that spread on the frames."""
    network = YoloxModule(
        YoloPafpn(0.33, _WIDTH), YoloxHead(len(CLASSES), _WIDTH, in_channels=[256, 512, 1024])
    ).eval()
    images = torch.cat([prepared(frame)[0] for frame in frames().values()])

    def run() -> None:
        network(images)

    settle(network, run)
    head = network.head
    for boxes, objects, scores in zip(head.reg_preds, head.obj_preds, head.cls_preds, strict=True):
        spread(boxes, run, 0.5, 0.5)
        spread_scores(objects, run, -2.0, 3.0)
        spread_scores(scores, run, -1.0, 3.0)
    return network


def finish(folder: Path, network: nn.Module, *, decoded: bool) -> None:
    """Export it and write what the package's own post-processing finds."""
    path = folder / f"yolox{'' if decoded else '-bare'}.onnx"
    found = {}
    network.head.decode_in_inference = True
    for name, frame in frames().items():
        tensor, scale = prepared(frame)
        with torch.no_grad():
            (rows,) = postprocess(network(tensor), len(CLASSES), MIN_SCORE, OVERLAP)
        found[name] = best_first(rows[:, :4] / scale, rows[:, 4] * rows[:, 5], rows[:, 6])
    network.head.decode_in_inference = decoded
    torch.onnx.export(
        replace_module(network, nn.SiLU, SiLU),
        (torch.randn(1, 3, SIDE, SIDE),),
        path,
        input_names=["images"],
        output_names=["output"],
        opset_version=11,
        dynamo=False,
    )
    tidy(path)
    write_entry(
        path,
        package="pixeltable-yolox",
        licence="Apache-2.0",
        exported_by="the steps of yolox.cli.export_onnx"
        + (" --decode-in-inference" if decoded else ""),
        outputs={"output": DECODED if decoded else BARE},
        preprocessing=pixels("letterbox-corner", channels="bgr", value_range="0..255", pad=114),
        detections=found,
        names_in="nowhere",
        notes="Detections: yolox.utils.postprocess, one class a box. Boxes beyond the frame stay."
        + ("" if decoded else " tools/export_onnx.py decodes nothing unless it is told to."),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = build()
    for wanted in (True, False):
        finish(Path(sys.argv[1]), model, decoded=wanted)
