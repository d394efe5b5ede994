"""Our side of the accuracy benchmark, as a process of its own whose processor time can be told.

python -m benchmarks.our_training FOLDER      reads request.json there, leaves best.pt
"""

import json
import sys
from pathlib import Path

from guardianflow.lifecycle.training.starting import start_from_coco
from guardianflow.scenario import StartingPoint, TrainingSettings
from guardianflow.vision.data.dataset import open_dataset
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.network.weights import save_weights

REQUEST = "request.json"


def write_request(folder: Path, data: Path, settings: TrainingSettings) -> None:
    """Say what the process is to train on, and how."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"data": str(data), "settings": settings.model_dump(mode="json")}
    (folder / REQUEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(folder: Path) -> None:
    request = json.loads((folder / REQUEST).read_text("utf-8"))
    data = open_dataset(Path(request["data"]))
    settings = TrainingSettings.model_validate(request["settings"])
    coco = settings.start is StartingPoint.COCO
    fitted = fit(
        settings,
        data.samples("train"),
        data.samples("val"),
        data.classes,
        start=start_from_coco(settings, data).detector if coco else None,
        on_epoch=lambda one: print(
            f"epoch {one.epoch} of {settings.epochs}: loss {one.loss:.2f}"
            + (f", val mAP50 {one.val.map50:.3f}" if one.val else ""),
            flush=True,
        ),
    )
    save_weights(fitted.detector, data.classes, folder)
    print(f"best epoch {fitted.best_epoch}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
