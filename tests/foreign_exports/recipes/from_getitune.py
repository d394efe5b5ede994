"""getitune (Geti): D-FINE and YOLOX as its own `export` writes them.

Detections are those of openvino-model-api, with which Geti itself runs what it exported.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["CI"] = "true"

import numpy as np
import torch
from getitune.backend.lightning.models.base import DataInputParams
from getitune.backend.lightning.models.detection.backbones import (
    csp_darknet,
    hgnetv2,
)
from getitune.backend.lightning.models.detection.d_fine import DFine
from getitune.backend.lightning.models.detection.heads import (
    dfine_decoder,
    yolox_head,
)
from getitune.backend.lightning.models.detection.necks import (
    dfine_hybrid_encoder,
    yolox_pafpn,
)
from getitune.backend.lightning.models.detection.yolox import YOLOX
from getitune.config.data import IntensityConfig
from getitune.types.export import ExportFormat
from getitune.types.label import LabelInfo
from model_api.models import Model
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from writing import (
    CLASSES,
    KEPT,
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

SIDE = 160
_WIDTH = 24
# Its post-processing takes the best 300 scores of all queries and four classes.
_QUERIES = 80
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
LABELS = LabelInfo(
    label_names=CLASSES, label_ids=[str(index) for index in range(4)], label_groups=[CLASSES]
)
DETR = {
    "bboxes": "(B, N, 4): x1, y1, x2, y2 in pixels of the input",
    "labels": "(B, N): class index, int64",
    "scores": "(B, N): probability",
}

YOLOX_OUTPUTS = {
    "boxes": "(B, A, 5): x1, y1, x2, y2 in pixels of the input, score of the best class",
    "labels": "(B, A): class index, int64",
}


def shrink_dfine() -> None:
    name = "dfine_hgnetv2_s"
    hgnetv2.HGNetv2Module.arch_configs["B0"] = {
        "stem_channels": [3, 8, 8],
        "stage_config": {
            "stage1": [8, 8, 16, 1, False, False, 3, 2],
            "stage2": [16, 8, 16, 1, True, False, 3, 2],
            "stage3": [16, 8, 24, 1, True, True, 5, 2],
            "stage4": [24, 16, 32, 1, True, True, 5, 2],
        },
    }
    dfine_hybrid_encoder.HybridEncoder.encoder_cfg[name] |= {
        "in_channels": [16, 24, 32],
        "eval_spatial_size": [SIDE, SIDE],
        "hidden_dim": _WIDTH,
        "nhead": 4,
        "dim_feedforward": 2 * _WIDTH,
    }
    dfine_decoder.DFINETransformer.decoder_cfg[name] |= {
        "feat_channels": [_WIDTH] * 3,
        "hidden_dim": _WIDTH,
        "nhead": 4,
        "dim_feedforward": 2 * _WIDTH,
        "num_decoder_layers": 2,
        "num_queries": _QUERIES,
        "reg_max": 16,
    }


def shrink_yolox() -> None:
    for name in ("yolox_tiny", "yolox_s"):
        csp_darknet.CSPDarknet.CSPDARKNET_CFG[name] = {
            "deepen_factor": 0.33,
            "widen_factor": 0.0625,
        }
        yolox_pafpn.YOLOXPAFPN.YOLOXPAFPN_CFG[name] = {
            "in_channels": [16, 32, 64],
            "out_channels": 16,
            "num_csp_blocks": 1,
        }
        yolox_head.YOLOXHead.YOLOXHEAD_CFG[name] = {"in_channels": 16, "feat_channels": 16}


def batch(normal: dict, *, stretch: bool) -> Tensor:
    """Return all frames as inputs, for weights that spread."""
    mean, std = (torch.tensor(normal[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    images = []
    for frame in frames().values():
        image = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None] / 255
        scale = SIDE / max(frame.shape[:2])
        size = (SIDE, SIDE) if stretch else [round(side * scale) for side in frame.shape[:2]]
        image = functional.interpolate(image, size, mode="bilinear")
        high, wide = ((SIDE - side) // 2 for side in image.shape[2:])
        images.append(functional.pad(image, (wide, wide, high, high), value=114 / 255))
    return (torch.cat(images) - mean) / std


def settle_detr(network: nn.Module, images: Tensor) -> None:
    def run() -> None:
        network.export(images, [{"img_shape": (SIDE, SIDE)}] * len(images))

    settle(network, run)
    decoder = network.decoder
    spread(decoder.enc_bbox_head.layers[-1], run, 0.0, 0.7)
    spread_scores(decoder.enc_score_head, run)
    for scores, boxes in zip(decoder.dec_score_head, decoder.dec_bbox_head, strict=True):
        spread(boxes.layers[-1], run, 0.0, 0.4)
        spread_scores(scores, run)


def settle_yolox(network: nn.Module, images: Tensor) -> None:
    def run() -> None:
        network.bbox_head(network.extract_feat(images))

    settle(network, run)
    head = network.bbox_head
    for boxes, objects, scores in zip(
        head.multi_level_conv_reg,
        head.multi_level_conv_obj,
        head.multi_level_conv_cls,
        strict=True,
    ):
        spread(boxes, run, 0.5, 0.5)
        spread_scores(objects, run, -2.0, 3.0)
        spread_scores(scores, run, -1.0, 3.0)


def finish(folder: Path, name: str, model: object, outputs: dict, preprocessing: dict) -> None:
    """Export a model and write what Geti's own runtime finds with the file."""
    path = folder / f"getitune-{name}.onnx"
    model.eval()
    with tempfile.TemporaryDirectory() as place:
        written = model.export(Path(place), "model", ExportFormat.ONNX)
        shutil.move(written, path)
    tidy(path)
    limits = {"confidence_threshold": MIN_SCORE, "iou_threshold": OVERLAP}
    served = Model.create_model(str(path), device="CPU", configuration=limits)
    found = {}
    for frame_name, frame in frames().items():
        # It takes red first; the metadata say whether to turn that.
        seen = served(frame)
        if preprocessing["resize"] == "stretch" and not _as_pillow(served, frame, seen.scores):
            continue
        found[frame_name] = best_first(
            torch.from_numpy(seen.bboxes).float(),
            torch.from_numpy(seen.scores).float(),
            torch.from_numpy(seen.labels),
        )
    write_entry(
        path,
        package="getitune",
        licence="Apache-2.0",
        exported_by=f"{type(model).__name__}(...).export(..., ExportFormat.ONNX)",
        outputs=outputs,
        preprocessing=preprocessing,
        detections=found,
        names_in="metadata `model_info labels`",
        notes="Detections: openvino-model-api on the file, suppression at the same overlap.",
    )


def _as_pillow(served: Model, frame: np.ndarray, scores: np.ndarray) -> bool:
    """Whether a frame that Pillow stretches gets the same scores.

    Its runtime stretches within OpenVINO, and random weights make much of a rounded half.
    """
    square = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    again = served(np.asarray(square)).scores
    best, other = (np.sort(found)[::-1][:KEPT] for found in (scores, again))
    return best.shape == other.shape and bool(np.abs(best - other).max() < 0.01)


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    wanted = sys.argv[2:] or ["dfine", "yolox-tiny", "yolox-s"]
    detr = {"label_info": LABELS, "pretrained": False}
    unit = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    # The intensity is what its training sets: mean and deviation are of 0..1.
    size = {"input_size": (SIDE, SIDE), "intensity_config": IntensityConfig()}
    if "dfine" in wanted:
        torch.manual_seed(0)
        shrink_dfine()
        params = DataInputParams(**size, **unit)
        trained = DFine(**detr, data_input_params=params, model_name="dfine_hgnetv2_s")
        settle_detr(trained.model.eval(), batch(unit, stretch=True))
        finish(place, "dfine", trained, DETR, pixels("stretch"))
    shrink_yolox()
    for name, params, channels in (
        ("yolox-tiny", IMAGENET, "rgb"),
        ("yolox-s", {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}, "bgr"),
    ):
        if name not in wanted:
            continue
        torch.manual_seed(2)
        trained = YOLOX(
            **detr,
            data_input_params=DataInputParams(**size, **params),
            model_name=name.replace("-", "_"),
        )
        settle_yolox(trained.model.eval(), batch(params, stretch=False))
        finish(
            place,
            name,
            trained,
            YOLOX_OUTPUTS,
            pixels("letterbox-centre", channels=channels, pad=114, **params),
        )
