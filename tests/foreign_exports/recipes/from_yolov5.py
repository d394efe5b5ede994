"""YOLOv5: its own repository, packaged as yolov5, with its own `export_onnx`."""

import functools
import shutil
import sys
import tempfile
from pathlib import Path

import torch
import yaml
import yolov5
from writing import (
    CLASSES,
    MIN_SCORE,
    OVERLAP,
    best_first,
    frames,
    pixels,
    settle,
    spread_scores,
    tidy,
    write_entry,
)
from yolov5.export import export_onnx
from yolov5.models.yolo import DetectionModel
from yolov5.utils.augmentations import letterbox
from yolov5.utils.general import non_max_suppression, scale_boxes

SIDE = 160
CONFIG = Path(yolov5.__file__).parent / "models" / "yolov5n.yaml"


def prepared(frame: object) -> torch.Tensor:
    """Return a frame as its detect.py gives it to an exported network."""
    square = letterbox(frame, SIDE, auto=False)[0]
    return torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config |= {"nc": len(CLASSES), "width_multiple": 0.0625}
    # Anchors for 640 pixels would be larger than our frames.
    config["anchors"] = [[side / 4 for side in level] for level in config["anchors"]]
    network = DetectionModel(config).eval()
    network.names = dict(enumerate(CLASSES))
    images = torch.cat([prepared(frame) for frame in frames().values()])

    def run() -> None:
        network(images)

    settle(network, run)
    for layer in network.model[-1].m:
        spread_scores(layer, run, -1.0, 2.0)
    network.fuse()
    found = {}
    for name, frame in frames().items():
        with torch.no_grad():
            rows = network(prepared(frame))[0]
        (seen,) = non_max_suppression(rows, MIN_SCORE, OVERLAP)
        boxes = scale_boxes((SIDE, SIDE), seen[:, :4], frame.shape)
        found[name] = best_first(boxes, seen[:, 4], seen[:, 5])
    path = Path(sys.argv[1]) / "yolov5.onnx"
    network.model[-1].export = True
    # It was written when this was the only exporter of torch.
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    with tempfile.TemporaryDirectory() as place:
        written = Path(place) / "model.onnx"
        export_onnx(network, torch.zeros(1, 3, SIDE, SIDE), written, 12, False, False)
        shutil.move(written, path)
    tidy(path)
    write_entry(
        path,
        package="yolov5",
        licence="AGPL-3.0",
        exported_by="export.py --include onnx --img 160 --opset 12",
        outputs={
            "output0": "(B, A, 5 + C): cx, cy, w, h in pixels of the input, objectness, "
            "a probability per class"
        },
        preprocessing=pixels("letterbox-centre", pad=114),
        detections=found,
        names_in="metadata `names`",
        notes="Detections: its own non_max_suppression and scale_boxes, one class a box.",
    )
