"""RF-DETR as its own `export` writes it: logits and boxes, without its post-processing."""

import shutil
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from rfdetr import RFDETRNano
from rfdetr.models import MODEL_DEFAULTS
from rfdetr.models.backbone import dinov2
from writing import (
    CLASSES,
    MIN_SCORE,
    best_first,
    frames,
    pixels,
    spread,
    spread_scores,
    tidy,
    write_entry,
)

SIDE = 160
_WIDTH = 32


def shrink() -> None:
    """Make the smallest RF-DETR smaller than its configuration can: DINOv2 and feed-forward."""
    # Frozen, and the default argument of several functions.
    object.__setattr__(MODEL_DEFAULTS, "dim_feedforward", 2 * _WIDTH)
    original = dinov2.get_config

    def small(size: str, *, use_registers: bool) -> dict[str, object]:
        small = {"hidden_size": _WIDTH, "num_attention_heads": 2, "num_hidden_layers": 4}
        return original(size, use_registers) | small | {"mlp_ratio": 2, "initializer_range": 0.1}

    dinov2.get_config = lambda size, use_registers: small(size, use_registers=use_registers)
    dinov2.size_to_width["small"] = _WIDTH


def build() -> RFDETRNano:
    """Return a small RF-DETR with scores and boxes that spread on the frames."""
    shrink()
    model = RFDETRNano(
        pretrain_weights=None,
        num_classes=len(CLASSES),
        resolution=SIDE,
        positional_encoding_size=SIDE // 16,
        out_feature_indexes=[1, 2, 3, 4],
        hidden_dim=_WIDTH,
        sa_nheads=2,
        ca_nheads=4,
        num_queries=30,
        num_select=30,
        group_detr=1,
        device="cpu",
    )
    network = model.model.model.eval()

    def run() -> None:
        for frame in frames().values():
            model.predict(Image.fromarray(frame), threshold=MIN_SCORE)

    transformer = network.transformer
    for scores, boxes in zip(
        transformer.enc_out_class_embed, transformer.enc_out_bbox_embed, strict=True
    ):
        spread(boxes.layers[-1], run, 0.0, 0.3)
        spread_scores(scores, run)
    spread(network.bbox_embed.layers[-1], run, 0.0, 0.5)
    spread_scores(network.class_embed, run)
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    detector = build()
    path = Path(sys.argv[1]) / "rfdetr.onnx"
    found = {}
    for name, frame in frames().items():
        seen = detector.predict(Image.fromarray(frame), threshold=MIN_SCORE)
        rows = best_first(
            torch.from_numpy(seen.xyxy),
            torch.from_numpy(seen.confidence),
            torch.from_numpy(seen.class_id),
        )
        # It does not drop the column that belongs to no class; training drives that one to zero.
        found[name] = [row for row in rows if row[5] < len(CLASSES)]
    with tempfile.TemporaryDirectory() as place:
        detector.export(output_dir=place, verbose=False)
        (written,) = Path(place).rglob("*.onnx")
        shutil.move(written, path)
    tidy(path)
    write_entry(
        path,
        package="rfdetr",
        licence="Apache-2.0",
        exported_by="RFDETRNano(...).export()",
        outputs={
            "dets": "(B, N, 4): cx, cy, w, h as fractions of the frame",
            "labels": "(B, N, C + 1): logits of a sigmoid; the last column belongs to no class",
        },
        preprocessing=pixels("stretch", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        detections=found,
        names_in="nowhere",
        notes="Detections: its own predict().",
    )
