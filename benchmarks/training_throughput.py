"""What training costs beside its bare step: `python -m benchmarks.training_throughput`.

In the same rounds and on the same drawn scenes, one after the other:

    training   `fit` as every training calls it: images decoded in its first epoch and kept from
               then on, augmented, loaded ahead, clipped gradients, averaged weights
    bare       forward, loss, backward and optimizer step of the same network on batches that lie
               in memory as floats

From the first to the last step of an epoch; the look at val and the checkpoint after it are given
apart, as their share of the whole training. On a GPU, where there is one: there with a size of
production, and in a result file of its own.
"""

import argparse
import itertools
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import RESULTS, Row, quantile, ratio, tell, told
from guardianflow.scenario import SyntheticData, TrainingSettings
from guardianflow.vision.data.dataset import Dataset, open_dataset
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.assignment import Truth, detection_loss
from guardianflow.vision.network.batches import Batches
from guardianflow.vision.network.checkpoint import Checkpoints
from guardianflow.vision.network.detector import DetectorShape, make_grid
from guardianflow.vision.network.device import MixedPrecision, choose_device, cpu_threads
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.network.history import EpochFigures
from guardianflow.vision.network.optimization import make_optimizer
from guardianflow.vision.synthetic import draw_dataset

NAME, GPU_NAME = "training-throughput", "training-throughput-gpu"
CLASSES = ("person", "helmet", "mask", "vest", "gloves")
SIZES = {"demo": (8, 256, 4), "middle": (16, 320, 8)}
"""Width, input side, batch."""
GPU_SIZES = {**SIZES, "production": (32, 640, 16)}
_KEPT_BATCHES = 8
_EPOCHS = 2


def drawn(folder: Path, side: int, images: int) -> Dataset:
    """A data set of scenes of this size."""
    scenes = SyntheticData(
        kind="synthetic", image_size=side, train_images=images, val_images=4, test_images=2
    )
    draw_dataset(folder, scenes, CLASSES)
    return open_dataset(folder, CLASSES)


def training_times(settings: TrainingSettings, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Seconds a step in each epoch of a real training, and what the rest of it took."""
    stamps: list[float] = []
    epochs: list[EpochFigures] = []
    count = len(dataset.samples("train")) // settings.batch_size

    def at_the_ends(done: int, _total: int) -> None:
        # Not after every step: a GPU computes while Python prepares the next.
        if done % count in (0, 1):
            stamps.append(now())

    began = now()
    fit(
        settings,
        dataset.samples("train"),
        dataset.samples("val"),
        CLASSES,
        checkpoints=Checkpoints(folder, "benchmark"),
        on_step=at_the_ends,
        on_epoch=epochs.append,
    )
    whole = now() - began
    steps = [
        (last - first) / (count - 1) for first, last in zip(stamps[::2], stamps[1::2], strict=True)
    ]
    return {
        "step_s": steps,
        "wait_share": [one.wait_share for one in epochs],
        "rest_share": 1 - sum(steps) * count / whole,
    }


def bare_time(settings: TrainingSettings, dataset: Dataset, steps: int) -> float:
    """Seconds of a bare step."""
    device = choose_device(settings.device)
    batches = Batches(dataset.samples("train"), settings.image_size)
    kept: list[tuple[torch.Tensor, Truth]] = []
    for number in range(_KEPT_BATCHES):
        images, truth = batches.batch(number, settings.batch_size, settings.seed)
        truth = Truth(*(part.to(device) for part in truth))
        kept.append((images.to(device).float().div_(255.0), truth))
    shape = DetectorShape(len(CLASSES), settings.width, settings.image_size)
    detector = make_detector(shape).to(device)
    # PyTorch's types know `memory_format` only together with a device and a dtype.
    detector.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    grid = make_grid(settings.image_size, device)
    optimizer = make_optimizer(detector, settings)
    precision = MixedPrecision(device, settings.precision)
    first = 0.0
    with cpu_threads(settings.threads):
        for number, (images, truth) in enumerate(itertools.islice(itertools.cycle(kept), steps)):
            with precision.autocast():
                raw = detector(images)
            detection_loss(raw, truth, grid).total.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if number == 0:
                first = now()
    return (now() - first) / (steps - 1)


def now() -> float:
    """Seconds of a clock, once the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def compared(settings: TrainingSettings, images: int, rounds: int) -> dict[str, object]:
    """One size with so many threads: images a second both ways, and their ratio."""
    ours: list[dict[str, Any]] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        dataset = drawn(folder / "data", settings.image_size, images)
        steps = images // settings.batch_size
        for number in range(rounds + 1):
            measured = training_times(settings, dataset, folder / f"round{number}")
            alone = bare_time(settings, dataset, steps)
            # The first round warms up.
            if number:
                ours.append(measured)
                bare.append(alone)
    figures: dict[str, object] = {
        "threads": settings.threads,
        "bare_images_per_s": rate(settings, bare),
        "share_besides_steps": round(quantile([one["rest_share"] for one in ours], 0.5), 3),
    }
    for epoch, words in enumerate(("first_epoch", "later_epoch")):
        seconds = [one["step_s"][epoch] for one in ours]
        figures[words] = {
            "images_per_s": rate(settings, seconds),
            # Of speeds, not of times: 1 is as fast as the bare step.
            "to_bare": ratio(bare, seconds, 0.5),
            "wait_share": round(quantile([one["wait_share"][epoch] for one in ours], 0.5), 4),
        }
    return figures


def rate(settings: TrainingSettings, seconds: Sequence[float]) -> float:
    """Images a second, the median."""
    return round(settings.batch_size / quantile(seconds, 0.5), 1)


def measure(
    *, sizes: Mapping[str, tuple[int, int, int]], threads: Sequence[int], images: int, rounds: int
) -> dict[str, object]:
    """All figures of this benchmark."""
    found: dict[str, object] = {"rounds": rounds, "images": images}
    for name, (width, side, batch) in sizes.items():
        for count in threads:
            settings = TrainingSettings(
                width=width, image_size=side, batch_size=batch, epochs=_EPOCHS, threads=count
            )
            key = f"{name}: width {width}, {side} px, batch {batch}, {count} threads"
            found[key] = compared(settings, images, rounds)
    versions = {"Python": platform.python_version(), "torch": torch.__version__}
    if torch.cuda.is_available():
        versions["GPU"] = torch.cuda.get_device_name()
    return {"versions": versions, **found}


def rows(content: Mapping[str, Any]) -> list[Row]:
    """What the page says of these figures."""
    found: list[Row] = []
    where = content["versions"].get("GPU", "CPU")
    for name, one in content.items():
        if not isinstance(one, Mapping) or "later_epoch" not in one:
            continue
        later, first = one["later_epoch"], one["first_epoch"]
        found.append(
            (
                "training against its bare step on data in memory, images a second, "
                f"{where}, {name}",
                "≥ 0.9×",
                f"{told(later['to_bare'])}: {later['images_per_s']:g} of "
                f"{one['bare_images_per_s']:g}; first epoch, with decoding, "
                f"{told(first['to_bare'])}; the step waits {later['wait_share']:.1%} of the time",
                "`python -m benchmarks.training_throughput`",
            )
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--result", type=Path, default=RESULTS)
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    found = measure(
        sizes=GPU_SIZES if gpu else SIZES,
        threads=(1,) if gpu else (1, 2),
        images=options.images,
        rounds=options.rounds,
    )
    tell(GPU_NAME if gpu else NAME, found, rows(found), options.result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
