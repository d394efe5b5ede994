"""What INT8 costs a real RT-DETR, by its graph and without it.

    python -m benchmarks.transformer_int8                   a quarter of an hour on one free core

Needs an environment with guardianflow, its extra `train`, `transformers` and `scipy`: no other
benchmark has them, so it is not part of `make bench`. A small RT-DETR of random weights learns 64
drawn frames by heart; its ONNX is quantized on 32 of them and measured on all of them, and on 64
that it never saw.
"""

import argparse
import importlib
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as op

from guardianflow.scenario import Light, SyntheticData
from guardianflow.vision.data.dataset import load_image, open_dataset
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir import compression, ir
from guardianflow.vision.ir.int8_plan import BiasCorrection, Int8Plan, ModelType, read_plan
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.agreement import agreement
from guardianflow.vision.metrics.detections import Seen, detect
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.synthetic import draw_dataset

_CLASSES = ("person", "helmet")
_SIDE, _BATCH, _CALIBRATED = 128, 8, 32


class _Heads(torch.nn.Module):
    """The bare heads, as exporters see them."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answer = self.network(pixel_values=pictures)
        return answer.logits, answer.pred_boxes


def small_rtdetr() -> Any:
    """Return an RT-DETR of 0.8 million random weights."""
    library: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    backbone = library.RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 64, 128],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = library.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=64,
        encoder_in_channels=[32, 64, 128],
        encoder_ffn_dim=128,
        encoder_attention_heads=4,
        d_model=64,
        num_queries=40,
        decoder_in_channels=[64, 64, 64],
        decoder_ffn_dim=128,
        decoder_layers=3,
        decoder_attention_heads=4,
        num_denoising=20,
        num_labels=len(_CLASSES),
        hidden_expansion=0.5,
    )
    return library.RTDetrForObjectDetection(config)


def learn(network: Any, samples: Sequence[Sample], steps: int) -> None:
    """Let it learn frames of 128 pixels by heart."""
    frames = np.stack([load_image(sample.image) for sample in samples])
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    labels = [_label(sample) for sample in samples]
    optimizer = torch.optim.AdamW(network.parameters(), 5e-4, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps, pct_start=0.1)
    order = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(steps):
        chosen = torch.randperm(len(labels), generator=order)[:_BATCH]
        answer = network(pixel_values=pictures[chosen], labels=[labels[i] for i in chosen])
        optimizer.zero_grad()
        answer.loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        rate.step()
    network.eval()


def _label(sample: Sample) -> dict[str, torch.Tensor]:
    low, high = sample.boxes[:, :2], sample.boxes[:, 2:]
    boxes = np.concatenate([(low + high) / 2, high - low], 1) / _SIDE
    return {"class_labels": torch.from_numpy(sample.classes), "boxes": torch.from_numpy(boxes)}


def export(network: Any, folder: Path) -> Path:
    """Write its ONNX, and return the folder of it as an IR of ours."""
    picture = torch.zeros(1, 3, _SIDE, _SIDE)
    torch.onnx.export(_Heads(network).eval(), (picture,), folder / "x.onnx", dynamo=False)
    model = ov.Core().read_model(folder / "x.onnx")
    frames = op.parameter([1, _SIDE, _SIDE, 3], np.uint8)
    pixels = op.divide(op.convert(frames, "f32"), op.constant(np.float32(255)))
    model.get_parameters()[0].output(0).replace(
        op.transpose(pixels, op.constant(np.array([0, 3, 1, 2]))).output(0)
    )
    logits, centred = (result.input_value(0) for result in model.get_results())
    centre, size = op.split(centred, op.constant(2), 2).outputs()
    half = op.multiply(size, op.constant(np.float32(0.5)))
    corners = op.concat([op.subtract(centre, half), op.add(centre, half)], 2)
    boxes = op.multiply(corners, op.constant(np.float32(_SIDE)))
    ends = [op.result(boxes), op.result(op.sigmoid(logits))]
    ours = ov.Model(ends, [frames], "rtdetr")  # pyright: ignore[reportGeneralTypeIssues]
    ir.describe(ours, classes=_CLASSES, precision="fp32")
    return ir.save(ours, folder / "fp32")


def plans(fp32: Path) -> dict[str, Int8Plan]:
    """Return the ways to quantize it, by name."""
    found = read_plan(ov.Core().read_model(fp32 / ir.FILE))

    def bare(kind: ModelType) -> Int8Plan:
        return Int8Plan(model_type=kind, bias_correction=BiasCorrection.FAST, left_in_float=())

    return {
        "as a CNN, nothing left out": bare(ModelType.CNN),
        "as a transformer, nothing left out": bare(ModelType.TRANSFORMER),
        "by its graph": found,
        "by its graph, exact correction": found.model_copy(
            update={"bias_correction": BiasCorrection.EXACT}
        ),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=1500)
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    settings = SyntheticData(
        kind="synthetic",
        image_size=_SIDE,
        train_images=64,
        val_images=64,
        test_images=2,
        train_light=(Light.DAY,),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_dataset(folder / "data", settings, _CLASSES)
        data = open_dataset(folder / "data", _CLASSES)
        network = small_rtdetr()
        learn(network, data.samples("train"), wanted.steps)
        fp32 = export(network, folder)
        frames = [load_image(sample.image) for sample in data.samples("train")[:_CALIBRATED]]
        before = _tell("FP32", fp32, data.splits, 0.0, {})
        for way, plan in plans(fp32).items():
            # What `quantize_ir` would read from the graph.
            compression.read_plan = lambda _, chosen=plan: chosen
            start = time.process_time()
            quantized = compression.quantize_ir(fp32, frames, compression.Preset.MIXED)
            took = time.process_time() - start
            _tell(way, ir.save(quantized, folder / "int8"), data.splits, took, before)


def _tell(
    way: str, folder: Path, splits: Any, took: float, before: dict[str, Seen]
) -> dict[str, Seen]:
    detector, seen, told = IrDetector(folder), dict[str, Seen](), [way]
    for split in ("train", "val"):
        samples = splits[split]
        seen[split] = Seen(detect(detector, samples), detector.thresholds)
        figures = evaluate(seen[split].detections, samples, _CLASSES)
        told.append(f"{figures.map50_95:.3f}")
        told.append(f"{agreement(before[split], seen[split]):.0%}" if before else "-")
    print(f"| {' | '.join(told)} | {took:.0f} s |", flush=True)
    return seen


if __name__ == "__main__":
    main()
