"""The training loop: settings and samples in, the weights with the best val score out.

    start --> epoch 1 --> checkpoint --> epoch 2 --> checkpoint ... --> best val score
                              |                          ^
                              +---- killed, resumed -----+

The loop does not use MLflow. An epoch depends only on its number and the checkpoint before it, so a
training that was killed and resumed ends in the same bits, on the same kind of CPU with as many
threads.
"""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from guardianflow.scenario import TrainingSettings
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir.serving import MEASURING_THRESHOLD, select
from guardianflow.vision.metrics.detections import Detections
from guardianflow.vision.metrics.evaluation import Evaluation, evaluate
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.assignment import Truth, detection_loss
from guardianflow.vision.network.batches import Batches
from guardianflow.vision.network.checkpoint import Checkpoint, Checkpoints
from guardianflow.vision.network.detector import (
    Detector,
    DetectorShape,
    ExportedDetector,
    make_grid,
)
from guardianflow.vision.network.device import MixedPrecision, choose_device, cpu_threads
from guardianflow.vision.network.history import EpochFigures
from guardianflow.vision.network.loading import prefetch, spare_workers
from guardianflow.vision.network.optimization import make_optimizer

# Part of a training's identity: increase it if the same settings now result in other weights.
RECIPE = "3"
# About how often a training evaluates on val; it always does after the last epoch.
_EVALUATIONS = 8
_MAX_GRADIENT = 10.0
_FINAL_RATE = 0.02
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedDetector:
    """The result of a training: the best averaged weights, on the CPU, and its history."""

    detector: Detector
    best_epoch: int
    history: tuple[EpochFigures, ...]
    device: str


def fit(
    settings: TrainingSettings,
    train: Sequence[Sample],
    val: Sequence[Sample],
    classes: Sequence[str],
    *,
    start: Detector | None = None,
    checkpoints: Checkpoints | None = None,
    on_resume: Callable[[Sequence[EpochFigures]], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[EpochFigures], None] | None = None,
) -> FittedDetector:
    """Train a detector, or resume a training that was killed.

    Args:
        settings: The settings.
        train: Samples to train on.
        val: Samples that choose the best weights.
        classes: Class names, in the order of their indices.
        start: Initial weights, for these classes and this input size; None uses random ones.
        checkpoints: Where finished epochs are kept; None keeps nothing.
        on_resume: Called once with the finished epochs, if there is a checkpoint.
        on_step: Called with the number of finished steps and of all steps.
        on_epoch: Called after every epoch, after its checkpoint.

    Raises:
        DatasetInvalid: An image can no longer be read.
    """
    device = choose_device(settings.device)
    with cpu_threads(settings.threads):
        training = _Training(settings, train, val, classes, device, start)
        if checkpoints and (checkpoint := checkpoints.load()):
            training.restore(checkpoint.state)
            if on_resume:
                on_resume(training.history)
        for figures in training.run(on_step):
            if checkpoints:
                checkpoints.save(Checkpoint(figures.epoch, training.state()))
            if on_epoch:
                on_epoch(figures)
        return training.result()


def detect_samples(
    detector: Detector, samples: Sequence[Sample], batches: Batches
) -> list[Detections]:
    """Run the network in torch on samples; the boxes are in pixels of the images."""
    exported = ExportedDetector(detector).eval()
    device = next(detector.parameters()).device
    exported.to(device)
    found: list[Detections] = []
    for index, sample in enumerate(samples):
        square = torch.from_numpy(batches.letterboxed(index).image[None]).to(device)
        with torch.inference_mode():
            boxes, scores = exported(square)
        kept, best, labels = select(
            boxes[0].cpu().numpy(), scores[0].cpu().numpy(), MEASURING_THRESHOLD
        )
        width, height = sample.size
        scale = detector.shape.image_size / max(width, height)
        clipped = np.clip(kept / scale, 0, [width, height, width, height])
        found.append(Detections(clipped.astype(np.float32), best, labels))
    return found


class _Training:
    def __init__(
        self,
        settings: TrainingSettings,
        train: Sequence[Sample],
        val: Sequence[Sample],
        classes: Sequence[str],
        device: torch.device,
        start: Detector | None,
    ) -> None:
        self.settings, self.device = settings, device
        self.val, self.classes = val, classes
        self.batches = Batches(
            train,
            settings.image_size,
            mosaics=settings.mosaics,
            # In the last epochs, images look as on the edge box.
            mosaic_epochs=round(settings.mosaic_epochs * settings.epochs),
        )
        self.val_batches = Batches(val, settings.image_size)
        self.steps = self.batches.steps(settings.batch_size) * settings.epochs
        self.precision = MixedPrecision(device, settings.precision)
        torch.manual_seed(settings.seed)
        shape = DetectorShape(len(classes), settings.width, settings.image_size)
        self.detector = make_detector(start.shape if start else shape).to(device)
        if start:
            self.detector.load_state_dict(start.state_dict())
        # torch's stub of Module.to knows no memory format
        self.detector.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.averaged = copy.deepcopy(self.detector).requires_grad_(requires_grad=False)
        self.averages, self.sources = _floats(self.averaged), _floats(self.detector)
        self.optimizer = make_optimizer(self.detector, settings)
        self.grid = make_grid(settings.image_size, device)
        self.step = 0
        self.history: list[EpochFigures] = []
        self.best, self.best_epoch = self.averaged, 0

    def run(self, on_step: Callable[[int, int], None] | None) -> Iterator[EpochFigures]:
        """Run the remaining epochs; when one is yielded, `state` includes it."""
        epochs = self.settings.epochs
        every = max(1, epochs // _EVALUATIONS)
        ahead = prefetch(
            self._batch, range(self.step, self.steps), spare_workers(self._busy_threads())
        )
        with closing(ahead) as batches:
            for epoch in range(len(self.history) + 1, epochs + 1):
                if self._patience_is_over():
                    return
                losses, wait_share = self._run_epoch(batches, on_step)
                # This includes the last epoch.
                val = self._evaluate() if (epochs - epoch) % every == 0 else None
                if val and val.map50 >= self._best_score():
                    self.best, self.best_epoch = copy.deepcopy(self.averaged), epoch
                rate = self.settings.learning_rate * self._rate_share(self.step)
                now = int(time.time() * 1000)
                self.history.append(EpochFigures(epoch, *losses, rate, val, wait_share, now))
                yield self.history[-1]

    def _busy_threads(self) -> int:
        """CPU threads that compute, besides those that make batches; a GPU needs one."""
        return torch.get_num_threads() if self.device.type == "cpu" else 1

    def result(self) -> FittedDetector:
        """Return the best weights so far."""
        best = copy.deepcopy(self.best).to("cpu").eval()
        return FittedDetector(best, self.best_epoch, tuple(self.history), str(self.device))

    def state(self) -> dict[str, object]:
        """Return everything that the next epoch depends on, as plain tensors and values."""
        return {
            "history": [figures.to_plain() for figures in self.history],
            "step": self.step,
            "detector": self.detector.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best": self.best.state_dict(),
            "best_epoch": self.best_epoch,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "machine": self._machine(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the training from its state."""
        if state["machine"] != self._machine():
            words = "started on %s, resumed on %s: the weights may differ in their last bits"
            log.warning(words, state["machine"], self._machine())
        self.history = [EpochFigures.from_plain(plain) for plain in state["history"]]
        self.step, self.best_epoch = state["step"], state["best_epoch"]
        self.detector.load_state_dict(state["detector"])
        self.averaged.load_state_dict(state["averaged"])
        self.best = copy.deepcopy(self.averaged)
        self.best.load_state_dict(state["best"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.scaler.load_state_dict(state["scaler"])

    def _machine(self) -> str:
        """What decides the order in which floats are added."""
        cpu = torch.backends.cpu.get_cpu_capability()
        return f"{self.device} {self.precision.format}, {torch.get_num_threads()} threads of {cpu}"

    def _batch(self, step: int) -> tuple[Tensor, Truth]:
        images, truth = self.batches.batch(step, self.settings.batch_size, self.settings.seed)
        if self.device.type != "cuda":
            return images, truth
        # Only copies from pinned memory run while the GPU computes.
        return images.pin_memory(), Truth(*(part.pin_memory() for part in truth))

    def _run_epoch(
        self, batches: Iterator[tuple[Tensor, Truth]], on_step: Callable[[int, int], None] | None
    ) -> tuple[tuple[float, float, float], float]:
        """Run one epoch; return the means of the three losses, and the share of time waited."""
        self.detector.train()
        sums = torch.zeros(3, device=self.device)
        began, waited = time.perf_counter(), 0.0
        count = self.batches.steps(self.settings.batch_size)
        for _ in range(count):
            asked = time.perf_counter()
            images, truth = next(batches)
            waited += time.perf_counter() - asked
            sums += self._learn(images, truth)
            if on_step:
                on_step(self.step, self.steps)
        total, box, label = (sums / count).tolist()
        return (total, box, label), waited / (time.perf_counter() - began)

    def _learn(self, images: Tensor, truth: Truth) -> Tensor:
        """Make one step of the optimizer; return the total, box and label loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._rate_share(self.step)
        inputs = images.to(self.device, non_blocking=True).float().div_(255.0)
        truth = Truth(*(part.to(self.device, non_blocking=True) for part in truth))
        with self.precision.autocast():
            raw = self.detector(inputs)
        loss = detection_loss(raw, truth, self.grid)
        scaler = self.precision.scaler
        scaler.scale(loss.total).backward()
        scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.detector.parameters(), _MAX_GRADIENT)
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average()
        return torch.stack((loss.total.detach(), loss.box, loss.label))

    def _best_score(self) -> float:
        scores = (one.val.map50 for one in self.history if one.val and one.epoch == self.best_epoch)
        return next(scores, -1.0)

    def _patience_is_over(self) -> bool:
        """Whether as many evaluations as `patience` allows brought no better score."""
        scores = [one.val.map50 for one in self.history if one.val]
        since = len(scores) - 1 - scores.index(max(scores)) if scores else 0
        return 0 < self.settings.patience <= since

    def _rate_share(self, step: int) -> float:
        """Share of the peak rates: linear warm-up, then half a cosine down to a fiftieth.

        It depends on the planned steps, so that patience does not change earlier epochs.
        """
        warmup = max(1, round(self.settings.warmup_fraction * self.steps))
        if step < warmup:
            return (step + 1) / warmup
        share = (step - warmup) / max(1, self.steps - warmup)
        return _FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * share))

    @torch.no_grad()
    def _average(self) -> None:
        # The decay grows over the first steps, so that the average forgets the start quickly.
        decay = min(self.settings.ema_decay, self.step / (self.step + 10))
        torch._foreach_lerp_(self.averages, self.sources, 1 - decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    def _evaluate(self) -> Evaluation:
        found = detect_samples(self.averaged, self.val, self.val_batches)
        return evaluate(found, self.val, self.classes)


def _floats(detector: Detector) -> list[Tensor]:
    """Weights and running statistics, as views of the detector's memory."""
    return [value for value in detector.state_dict().values() if value.dtype.is_floating_point]
