"""D-FINE: its own code, packaged as d-fine-project, in the deploy form of its export_onnx.py."""

import sys
from pathlib import Path

import dfine
import torch
from dfine.nn.backbone.hgnetv2 import HGNetv2
from dfine.zoo.dfine import DFINE, DFINEPostProcessor, DFINETransformer, HybridEncoder
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2
from writing import (
    CLASSES,
    best_first,
    frames,
    pixels,
    settle,
    spread,
    spread_scores,
    tidy,
    write_entry,
)

# Its wheel unpacks without a folder: the record of its version lies where make.py put all of it.
sys.path.append(str(Path(dfine.__file__).parent))

SIDE = 160
_WIDTH = 24
# Of its configs/dfine: Resize, ConvertPILImage(scale=True).
prepare = v2.Compose(
    [v2.Resize((SIDE, SIDE)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
)


class Deployed(nn.Module):
    """The two inputs and three outputs of its tools/deployment/export_onnx.py."""

    def __init__(self, network: nn.Module, finish: nn.Module) -> None:
        super().__init__()
        self.network, self.finish = network, finish

    def forward(self, images: Tensor, orig_target_sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.finish(self.network(images), orig_target_sizes)


def build() -> nn.Module:
    """Return a small D-FINE with scores and boxes that spread on the frames."""
    HGNetv2.arch_configs["B0"] = {
        "stem_channels": [3, 8, 8],
        "stage_config": {
            "stage1": [8, 8, 16, 1, False, False, 3, 2],
            "stage2": [16, 8, 16, 1, True, False, 3, 2],
            "stage3": [16, 8, 24, 1, True, True, 5, 2],
            "stage4": [24, 16, 32, 1, True, True, 5, 2],
        },
        "url": "",
    }
    attention = {"hidden_dim": _WIDTH, "nhead": 4, "dim_feedforward": 2 * _WIDTH}
    network = DFINE(
        HGNetv2("B0", use_lab=True, return_idx=[1, 2, 3], freeze_at=-1, pretrained=False),
        HybridEncoder(
            in_channels=[16, 24, 32],
            expansion=0.5,
            depth_mult=0.34,
            eval_spatial_size=[SIDE, SIDE],
            **attention,
        ),
        DFINETransformer(
            num_classes=len(CLASSES),
            num_queries=30,
            feat_channels=[_WIDTH] * 3,
            num_layers=2,
            num_points=[3, 6, 3],
            reg_max=16,
            eval_spatial_size=[SIDE, SIDE],
            **attention,
        ),
    ).eval()
    images = torch.stack([prepare(Image.fromarray(frame)) for frame in frames().values()])

    def run() -> None:
        network(images)

    settle(network, run)
    decoder = network.decoder
    spread(decoder.enc_bbox_head.layers[-1], run, 0.0, 0.7)
    spread_scores(decoder.enc_score_head, run)
    spread(decoder.pre_bbox_head.layers[-1], run, 0.0, 0.4)
    for scores, boxes in zip(decoder.dec_score_head, decoder.dec_bbox_head, strict=True):
        spread(boxes.layers[-1], run, 0.0, 1.0)
        spread_scores(scores, run)
    return network


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    detector = build()
    ending = DFINEPostProcessor(num_classes=len(CLASSES), num_top_queries=60)
    found = {}
    for name, frame in frames().items():
        size = torch.tensor([[frame.shape[1], frame.shape[0]]])
        with torch.no_grad():
            (seen,) = ending(detector(prepare(Image.fromarray(frame))[None]), size)
        found[name] = best_first(seen["boxes"], seen["scores"], seen["labels"])
    path = Path(sys.argv[1]) / "dfine.onnx"
    torch.onnx.export(
        Deployed(detector.deploy(), ending.deploy()).eval(),
        (torch.rand(1, 3, SIDE, SIDE), torch.tensor([[SIDE, SIDE]])),
        path,
        input_names=["images", "orig_target_sizes"],
        output_names=["labels", "boxes", "scores"],
        dynamic_axes={"images": {0: "N"}, "orig_target_sizes": {0: "N"}},
        opset_version=16,
        dynamo=False,
    )
    tidy(path)
    write_entry(
        path,
        package="d-fine-project",
        licence="Apache-2.0",
        exported_by="the steps of tools/deployment/export_onnx.py, which the package leaves out",
        outputs={
            "labels": "(B, N): class index, int64",
            "boxes": "(B, N, 4): x1, y1, x2, y2 in pixels of the size that is given as w, h",
            "scores": "(B, N): probability",
        },
        preprocessing=pixels("stretch"),
        detections=found,
        names_in="nowhere",
        notes="Detections: its own DFINEPostProcessor. The package says MIT; D-FINE is Apache-2.0.",
    )
