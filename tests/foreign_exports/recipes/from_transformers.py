"""Hugging Face transformers: RT-DETRv2, D-FINE, DETR and Deformable DETR.

Their users export them with `torch.onnx.export` (optimum gives the same names): `pixel_values` in,
`logits` and `pred_boxes` out. The deploy form of the original RT-DETR repository, which no registry
has, is made here from the same network with the meaning of that repository's post-processing.
"""

import sys
from pathlib import Path

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import (
    DeformableDetrConfig,
    DeformableDetrForObjectDetection,
    DeformableDetrImageProcessor,
    DetrConfig,
    DetrForObjectDetection,
    DetrImageProcessor,
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    ResNetConfig,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)
from writing import (
    CLASSES,
    MIN_SCORE,
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
SMALL = {
    "d_model": 24,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "decoder_layers": 2,
    "num_queries": 30,
    "num_labels": len(CLASSES),
    "id2label": dict(enumerate(CLASSES)),
    "label2id": {name: index for index, name in enumerate(CLASSES)},
}
HYBRID = SMALL | {
    "encoder_hidden_dim": 24,
    "encoder_in_channels": [16, 24, 32],
    "decoder_in_channels": [24, 24, 24],
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
LOGITS = "(B, N, C): logits of a sigmoid for each class"
BOXES = "(B, N, 4): cx, cy, w, h as fractions of the frame"
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class Exported(nn.Module):
    """The two outputs that are exported, instead of a dictionary of everything."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.network(pixel_values=pixel_values)
        return answer.logits, answer.pred_boxes


class Deployed(nn.Module):
    """The deploy form of RT-DETR's own repository: finished detections in pixels of the frame."""

    def __init__(self, network: nn.Module, kept: int) -> None:
        super().__init__()
        self.network, self.kept = network, kept

    def forward(self, images: Tensor, orig_target_sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        answer = self.network(pixel_values=images)
        centre, size = answer.pred_boxes.split(2, -1)
        corners = torch.cat((centre - size / 2, centre + size / 2), -1)
        boxes = corners * orig_target_sizes.repeat(1, 2).unsqueeze(1)
        classes = answer.logits.shape[-1]
        scores, index = answer.logits.sigmoid().flatten(1).topk(self.kept, dim=-1)
        query = (index // classes).unsqueeze(-1).expand(-1, -1, 4)
        return index % classes, boxes.gather(1, query), scores


def make_hybrid(network: nn.Module, run: object) -> None:
    """Give an RT-DETR or a D-FINE scores and boxes that spread."""
    inner = network.model
    settle(network, run)
    spread_scores(inner.enc_score_head, run)
    spread(inner.enc_bbox_head.layers[-1], run, 0.0, 0.7)


def run_on(network: nn.Module, processor: object) -> object:
    """Return a function that runs the network on all frames."""
    pictures = [Image.fromarray(frame) for frame in frames().values()]
    tensor = processor(images=pictures, return_tensors="pt")["pixel_values"]
    return lambda: network(pixel_values=tensor)


def heads(owner: nn.Module) -> zip:
    """Return the heads of each layer of the decoder: of scores and of boxes."""
    return zip(owner.class_embed, owner.bbox_embed, strict=True)


def make_rtdetr() -> tuple[nn.Module, object]:
    processor = RTDetrImageProcessor(size={"height": SIDE, "width": SIDE})
    backbone = RTDetrResNetConfig(**RESNET, layer_type="basic", out_indices=[2, 3, 4])
    network = RTDetrV2ForObjectDetection(RTDetrV2Config(backbone_config=backbone, **HYBRID)).eval()
    run = run_on(network, processor)
    make_hybrid(network, run)
    for score, box in heads(network.model.decoder):
        spread(box.layers[-1], run, 0.0, 0.3)
        spread_scores(score, run)
    return network, processor


def make_dfine() -> tuple[nn.Module, object]:
    processor = RTDetrImageProcessor(size={"height": SIDE, "width": SIDE})
    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 16, 24],
        stage_mid_channels=[8, 8, 8, 16],
        stage_out_channels=[16, 16, 24, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[2, 2, 2, 2],
        hidden_sizes=[16, 16, 24, 32],
        depths=[1, 1, 1, 1],
        embedding_size=8,
        out_indices=[2, 3, 4],
    )
    config = DFineConfig(backbone_config=backbone, max_num_bins=16, lqe_hidden_dim=16, **HYBRID)
    network = DFineForObjectDetection(config).eval()
    run = run_on(network, processor)
    make_hybrid(network, run)
    for score, box in heads(network.model.decoder):
        spread(box.layers[-1], run, 0.0, 1.0)
        spread_scores(score, run)
    return network, processor


def make_detr() -> tuple[nn.Module, object]:
    processor = DetrImageProcessor(size={"height": SIDE, "width": SIDE}, do_pad=False)
    backbone = ResNetConfig(**RESNET, layer_type="basic", out_features=["stage4"])
    config = DetrConfig(
        backbone_config=backbone, use_timm_backbone=False, backbone=None, encoder_layers=2, **SMALL
    )
    network = DetrForObjectDetection(config).eval()
    run = run_on(network, processor)
    _listen(network)
    settle(network, run)
    spread(network.bbox_predictor.layers[-1], run, 0.0, 0.8)
    spread(network.class_labels_classifier, run, 0.0, 1.2)
    return network, processor


def make_deformable() -> tuple[nn.Module, object]:
    processor = DeformableDetrImageProcessor(size={"height": SIDE, "width": SIDE}, do_pad=False)
    backbone = ResNetConfig(
        **RESNET, layer_type="basic", out_features=["stage2", "stage3", "stage4"]
    )
    config = DeformableDetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        backbone=None,
        encoder_layers=1,
        # Its group norms want multiples of 32.
        **SMALL | {"d_model": 32},
    )
    network = DeformableDetrForObjectDetection(config).eval()
    run = run_on(network, processor)
    settle(network, run)
    for score, box in heads(network):
        spread(box.layers[-1], run, 0.0, 0.5)
        spread_scores(score, run)
    return network, processor


def _listen(network: nn.Module) -> None:
    """Let each query of a DETR look at a place of its own: random attention sees only averages."""
    nn.init.normal_(network.model.query_position_embeddings.weight, std=1.0)
    for name, weights in network.named_parameters():
        if "encoder_attn" in name and name.endswith("proj.weight"):
            nn.init.normal_(weights, std=1.0)


def finish(
    folder: Path,
    name: str,
    network: nn.Module,
    processor: object,
    *,
    normal: dict[str, object] | None = None,
    dynamic: bool = False,
    logits: str = LOGITS,
) -> None:
    """Export the bare heads and write what the processor's own post-processing finds."""
    path = folder / f"transformers-{name}.onnx"
    axes = {key: {0: "batch"} for key in ("pixel_values", "logits", "pred_boxes")}
    torch.onnx.export(
        # Its mode is restored afterwards, on all that it contains.
        Exported(network).eval(),
        (torch.zeros(1, 3, SIDE, SIDE),),
        path,
        input_names=["pixel_values"],
        output_names=["logits", "pred_boxes"],
        dynamic_axes=axes if dynamic else None,
        opset_version=17,
        dynamo=False,
    )
    tidy(path)
    found = {}
    for frame_name, frame in frames().items():
        tensor = processor(images=Image.fromarray(frame), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            answer = network(pixel_values=tensor)
        (seen,) = processor.post_process_object_detection(
            answer, threshold=MIN_SCORE, target_sizes=[frame.shape[:2]]
        )
        found[frame_name] = best_first(seen["boxes"], seen["scores"], seen["labels"])
    write_entry(
        path,
        package="transformers",
        licence="Apache-2.0",
        exported_by="torch.onnx.export(model, input_names=['pixel_values'], "
        "output_names=['logits', 'pred_boxes'])",
        outputs={"logits": logits, "pred_boxes": BOXES},
        preprocessing=pixels("stretch", **(normal or {})),
        detections=found,
        names_in="config.json beside the weights (`id2label`), not in the file",
        notes=f"Detections: {type(processor).__name__}.post_process_object_detection.",
    )


def finish_deployed(folder: Path, network: nn.Module, processor: object) -> None:
    """Export the deploy form and write what it answers in the size of each frame."""
    path = folder / "rtdetrv2-deploy.onnx"
    deployed = Deployed(network, kept=40).eval()
    torch.onnx.export(
        deployed,
        (torch.zeros(1, 3, SIDE, SIDE), torch.tensor([[SIDE, SIDE]])),
        path,
        input_names=["images", "orig_target_sizes"],
        output_names=["labels", "boxes", "scores"],
        dynamic_axes={"images": {0: "N"}, "orig_target_sizes": {0: "N"}},
        opset_version=17,
        dynamo=False,
    )
    tidy(path)
    found = {}
    for frame_name, frame in frames().items():
        tensor = processor(images=Image.fromarray(frame), return_tensors="pt")["pixel_values"]
        size = torch.tensor([[frame.shape[1], frame.shape[0]]])
        with torch.no_grad():
            labels, boxes, scores = deployed(tensor, size)
        found[frame_name] = best_first(boxes[0], scores[0], labels[0])
    write_entry(
        path,
        package="transformers",
        licence="Apache-2.0",
        exported_by="the network of transformers, wrapped by this recipe with the meaning of the "
        "deploy form that RT-DETR's repository exports (tools/export_onnx.py)",
        outputs={
            "labels": "(B, N): class index, int64",
            "boxes": "(B, N, 4): x1, y1, x2, y2 in pixels of the size that is given as w, h",
            "scores": "(B, N): probability",
        },
        preprocessing=pixels("stretch"),
        detections=found,
        names_in="nowhere",
        notes="RT-DETR's own repository is in no registry.",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    place = Path(sys.argv[1])
    torch.manual_seed(0)
    model, prepare = make_rtdetr()
    finish(place, "rtdetrv2", model, prepare)
    finish_deployed(place, model, prepare)
    torch.manual_seed(1)
    finish(place, "dfine", *make_dfine(), dynamic=True)
    torch.manual_seed(2)
    background = "(B, N, C + 1): logits of a softmax, the last for no object"
    finish(place, "detr", *make_detr(), normal=IMAGENET, logits=background)
    torch.manual_seed(3)
    finish(place, "deformable-detr", *make_deformable(), normal=IMAGENET)
