"""Ultralytics: YOLOv5u, v8, v10, 11, 26 and RT-DETR, each as its own `export` writes it."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp()

import torch
import ultralytics
import yaml
from torch import nn
from torch.nn import functional
from ultralytics import RTDETR, YOLO
from ultralytics.data.augment import LetterBox
from writing import (
    CLASSES,
    KEPT,
    MIN_SCORE,
    OVERLAP,
    frames,
    pixels,
    settle,
    spread,
    spread_scores,
    tidy,
    write_entry,
)

MODELS = Path(ultralytics.__file__).parent / "cfg" / "models"
DEPTH_WIDTH = [0.33, 0.03125, 1024]
RAW = "(B, 4 + C, A): cx, cy, w, h in pixels of the input; a probability per class"
TABLE = "(B, N, 6): x1, y1, x2, y2 in pixels of the input, score, class index"

# name: its YAML, what is changed in it, arguments of `export`, meaning of the output
YOLOS = {
    "yolov5u": ("v5/yolov5.yaml", {"reg_max": 8}, {"imgsz": 160}, RAW),
    "yolov8": ("v8/yolov8.yaml", {"reg_max": 12}, {"imgsz": 160}, RAW),
    "yolov8-batch4": ("v8/yolov8.yaml", {"reg_max": 8}, {"imgsz": 160, "batch": 4}, RAW),
    "yolo11-rectangle": ("11/yolo11.yaml", {"reg_max": 8}, {"imgsz": [192, 320]}, RAW),
    "yolo11-dynamic": ("11/yolo11.yaml", {"reg_max": 8}, {"imgsz": 160, "dynamic": True}, RAW),
    "yolo11-nms": (
        "11/yolo11.yaml",
        {"reg_max": 8},
        {"imgsz": 160, "nms": True, "conf": MIN_SCORE, "iou": OVERLAP, "max_det": 50},
        TABLE,
    ),
    "yolov10": ("v10/yolov10n.yaml", {"reg_max": 8}, {"imgsz": 160, "end2end": True}, TABLE),
    # Without `end2end` it exports the head that wants suppression.
    "yolo26": ("26/yolo26.yaml", {}, {"imgsz": 160}, RAW),
    "yolo26-end2end": ("26/yolo26.yaml", {}, {"imgsz": 160, "end2end": True}, TABLE),
}


def make_yolo(folder: Path, name: str) -> None:
    """Build, export and run one YOLO."""
    file, changes, options, meaning = YOLOS[name]
    config = yaml.safe_load((MODELS / file).read_text(encoding="utf-8")) | changes
    model = YOLO(_written(folder, config, DEPTH_WIDTH))
    network = model.model
    head = network.model[-1]
    size = options["imgsz"] if isinstance(options["imgsz"], list) else [options["imgsz"]] * 2
    batch = [LetterBox(size, auto=False)(image=frame) for frame in frames().values()]
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in batch]) / 255

    def run() -> None:
        network(images)

    network.eval()
    settle(network, run)
    branches = [(head.cv2, head.cv3)]
    if hasattr(head, "one2one_cv2"):
        branches.append((head.one2one_cv2, head.one2one_cv3))
    for boxes, scores in branches:
        for box, score in zip(boxes, scores, strict=True):
            shorten(box[-1], run, head.reg_max)
            spread_scores(score[-1], run)
    _finish(folder, name, model, options, {"output0": meaning}, "letterbox-centre")


def shorten(layer: nn.Conv2d, run: object, bins: int) -> None:
    """Let sides lie about one and a half cells from the centre: frames are small."""
    if bins == 1:
        spread(layer, run, mean=1.5, std=0.4)
        return
    spread(layer, run, mean=0.0, std=1.2)
    with torch.no_grad():
        layer.bias -= 0.8 * torch.arange(bins).repeat(4)


def make_rtdetr(folder: Path) -> None:
    """Build, export and run an RT-DETR: its channels are numbers in the YAML, not a scale."""
    config = yaml.safe_load((MODELS / "rt-detr/rtdetr-resnet50.yaml").read_text(encoding="utf-8"))
    small = 16
    for place, (_from, _repeats, module, arguments) in enumerate(config["backbone"]):
        if module == "ResNetLayer":
            first = place == 0
            arguments[0] = 3 if first else max(8, arguments[0] // small)
            arguments[1] = 8 if first else max(2, arguments[1] // small)
            arguments[4] = 1
    for layer in config["head"]:
        module, arguments = layer[2:]
        if module in ("Conv", "RepC3"):
            arguments[0] = 32
        elif module == "AIFI":
            arguments[:] = [64, 4]
        elif module == "RTDETRDecoder":
            arguments[:] = ["nc", 32, 50, 2, 4, 2, 64]
        layer[1] = 1
    model = RTDETR(_written(folder, config, [1.0, 1.0, 1024]))
    network, head = model.model, model.model.model[-1]
    images = torch.cat(
        [
            functional.interpolate(
                torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float(),
                (160, 160),
                mode="bilinear",
            )
            for frame in frames().values()
        ]
    ).div(255)

    def run() -> None:
        network(images)

    network.eval()
    settle(network, run)
    spread_scores(head.enc_score_head, run)
    spread(head.enc_bbox_head.layers[-1], run, 0.0, 0.7)
    for score, box in zip(head.dec_score_head, head.dec_bbox_head, strict=True):
        spread(box.layers[-1], run, 0.0, 0.3)
        spread_scores(score, run)
    table = "(B, N, 6): cx, cy, w, h as fractions of the frame, score, class index"
    _finish(folder, "rtdetr", model, {"imgsz": 160}, {"output0": table}, "stretch")


def _written(folder: Path, config: dict, scale: list[float]) -> Path:
    """Write a model's YAML, for our classes and with one small scale of its own."""
    # Not called after the model: Ultralytics reads the scale from digits and letters of the name.
    path = folder / "small.yaml"
    config = config | {"nc": len(CLASSES), "scales": {"small": scale}}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _finish(
    folder: Path, name: str, model: YOLO, options: dict, outputs: dict[str, str], resize: str
) -> None:
    model.model.names = dict(enumerate(CLASSES))
    written = Path(model.export(format="onnx", **options))
    path = Path(sys.argv[1]) / f"ultralytics-{name}.onnx"
    shutil.move(written, path)
    tidy(path)
    served = YOLO(path, task="detect") if type(model) is YOLO else RTDETR(path)
    limits = {"conf": MIN_SCORE, "iou": OVERLAP, "max_det": KEPT, "imgsz": options["imgsz"]}
    # Where the size is open, it would pad a frame to the next multiple of 32 only.
    limits["rect"] = False
    found = {}
    for frame_name, frame in frames().items():
        # It takes an array for what OpenCV reads: blue first.
        count = options.get("batch", 1)
        answer = served.predict([frame[..., ::-1].copy()] * count, batch=count, **limits)[0].boxes
        rows = torch.cat((answer.xyxy, answer.conf[:, None], answer.cls[:, None]), 1)
        found[frame_name] = rows.tolist()
    arguments = ", ".join(f"{key}={value!r}" for key, value in options.items())
    write_entry(
        path,
        package="ultralytics",
        licence="AGPL-3.0",
        exported_by=f"{type(model).__name__}(yaml).export(format='onnx', {arguments})",
        outputs=outputs,
        preprocessing=pixels(resize, pad=None if resize == "stretch" else 114),
        detections=found,
        names_in="metadata `names`",
        notes="Detections: its own predict() on the ONNX file, one class a box.",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = sys.argv[2:]
    with tempfile.TemporaryDirectory() as place:
        for yolo in YOLOS:
            if not wanted or yolo in wanted:
                torch.manual_seed(0)
                make_yolo(Path(place), yolo)
        if not wanted or "rtdetr" in wanted:
            torch.manual_seed(0)
            make_rtdetr(Path(place))
