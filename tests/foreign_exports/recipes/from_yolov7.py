"""YOLOv7: its own code, packaged as sas-yolov7; decoded rows, and with suppression in the graph.

The steps are those of the repository's export.py: `--grid`, and `--grid --end2end --max-wh`.
"""

import sys
from pathlib import Path

import sas_yolov7
import torch
import yaml
from sas_yolov7.models.experimental import End2End
from sas_yolov7.models.yolo import Model
from sas_yolov7.utils.datasets import letterbox
from sas_yolov7.utils.general import non_max_suppression, scale_coords
from torch import Tensor, nn
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

SIDE = 160
CONFIG = Path(sas_yolov7.__file__).parent / "cfg" / "deploy" / "yolov7-tiny.yaml"


def prepared(frame: object) -> Tensor:
    """Return a frame as its detect.py gives it to the network."""
    square = letterbox(frame, SIDE, auto=False)[0]
    return torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255


def build() -> nn.Module:
    """Return a small YOLOv7-tiny with scores and boxes that spread on the frames."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config |= {"nc": len(CLASSES), "width_multiple": 0.125}
    # Anchors for 640 pixels would be larger than our frames.
    config["anchors"] = [[side / 4 for side in level] for level in config["anchors"]]
    network = Model(config, ch=3).eval()
    images = torch.cat([prepared(frame) for frame in frames().values()])

    def run() -> None:
        network(images)

    settle(network, run)
    for layer in network.model[-1].m:
        spread_scores(layer, run, -1.0, 2.0)
    return network.fuse()


def export(network: nn.Module, path: Path) -> None:
    torch.onnx.export(
        network,
        torch.zeros(1, 3, SIDE, SIDE),
        path,
        opset_version=12,
        input_names=["images"],
        output_names=["output"],
        dynamo=False,
    )
    tidy(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = Path(sys.argv[1])
    network = build()
    found = {}
    for name, frame in frames().items():
        with torch.no_grad():
            rows = network(prepared(frame))[0]
        (seen,) = non_max_suppression(rows, MIN_SCORE, OVERLAP)
        boxes = scale_coords((SIDE, SIDE), seen[:, :4], frame.shape)
        found[name] = best_first(boxes, seen[:, 4], seen[:, 5])
    common = {
        "package": "sas-yolov7",
        "licence": "GPL-3.0",
        "preprocessing": pixels("letterbox-centre", pad=114),
        "detections": found,
        "names_in": "nowhere",
        "notes": "Detections: its own non_max_suppression and scale_coords, one class a box.",
    }
    network.model[-1].concat = True
    path = folder / "yolov7.onnx"
    export(network, path)
    meaning = "(B, A, 5 + C): cx, cy, w, h in pixels of the input, objectness, probabilities"
    write_entry(path, exported_by="export.py --grid", outputs={"output": meaning}, **common)
    network.model[-1].concat = False
    network.model[-1].end2end = True
    path = folder / "yolov7-end2end.onnx"
    finished = End2End(
        network,
        max_obj=100,
        iou_thres=OVERLAP,
        score_thres=MIN_SCORE,
        max_wh=SIDE,
        device=torch.device("cpu"),
        n_classes=len(CLASSES),
    )
    export(finished.eval(), path)
    meaning = "(N, 7): index in the batch, x1, y1, x2, y2 in pixels of the input, class, score"
    write_entry(
        path,
        exported_by=f"export.py --grid --end2end --max-wh {SIDE} --iou-thres {OVERLAP} "
        f"--conf-thres {MIN_SCORE}",
        outputs={"output": meaning},
        **common,
    )
