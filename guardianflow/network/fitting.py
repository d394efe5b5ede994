"""The training loop: settings and samples in, the weights that did best on the val split out.

Nothing here knows MLflow or scenarios' names; the loop runs the same on a CPU thread and a GPU.
"""

import copy
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from guardianflow.data.dataset import Sample
from guardianflow.edge.serving import MEASURING_THRESHOLD, select
from guardianflow.measuring.detections import Detections
from guardianflow.measuring.evaluation import Evaluation, evaluate
from guardianflow.network.assignment import detection_loss
from guardianflow.network.batches import Batches
from guardianflow.network.detector import Detector, DetectorShape, ExportedDetector, make_grid
from guardianflow.scenario import TrainingSettings

# Part of a training's identity: raise it when the same settings would now give other weights.
RECIPE = "1"
# The val split is looked at this often, and after the last epoch.
_LOOKS = 8
_MAX_GRADIENT = 10.0
_FINAL_RATE = 0.02


@dataclass(frozen=True)
class EpochFigures:
    """One pass over the train split.

    Attributes:
        epoch: Counted from 1.
        loss: Mean of the total loss over the steps.
        box_loss: Its GIoU part, unweighted.
        label_loss: Its classification part.
        learning_rate: At the end of the epoch.
        val: Figures of the averaged weights on the val split, where it was looked at.
    """

    epoch: int
    loss: float
    box_loss: float
    label_loss: float
    learning_rate: float
    val: Evaluation | None


@dataclass(frozen=True)
class FittedDetector:
    """What training made: the best averaged weights, on the CPU, and how they came about."""

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
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[EpochFigures], None] | None = None,
) -> FittedDetector:
    """Train a detector from scratch.

    Args:
        settings: How.
        train: What to learn from.
        val: What chooses the best weights.
        classes: Class names, in the order of their indices.
        on_step: Called with steps done and steps in all.
        on_epoch: Called after every epoch.
    """
    device = choose_device(settings.device)
    with _threads(settings.threads):
        return _Fit(settings, train, val, classes, device).run(on_step, on_epoch)


def choose_device(wanted: str) -> torch.device:
    """`auto` is a GPU where there is one."""
    return torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    )


def detect_samples(
    detector: Detector, samples: Sequence[Sample], batches: Batches
) -> list[Detections]:
    """Run the network in torch over samples; boxes are in pixels of the images."""
    exported = ExportedDetector(detector).eval()
    device = next(detector.parameters()).device
    exported.to(device)
    found: list[Detections] = []
    for index, sample in enumerate(samples):
        square = torch.from_numpy(batches.fitted(index).image[None].copy()).to(device)
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


class _Fit:
    def __init__(
        self,
        settings: TrainingSettings,
        train: Sequence[Sample],
        val: Sequence[Sample],
        classes: Sequence[str],
        device: torch.device,
    ) -> None:
        self.settings, self.device = settings, device
        self.val, self.classes = val, classes
        self.batches = Batches(train, settings.image_size)
        self.val_batches = Batches(val, settings.image_size)
        self.steps = math.ceil(len(train) / settings.batch_size) * settings.epochs
        torch.manual_seed(settings.seed)
        shape = DetectorShape(len(classes), settings.width, settings.image_size)
        self.detector = Detector(shape).to(device)
        # torch's stub of Module.to knows no memory format
        self.detector.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.averaged = copy.deepcopy(self.detector).requires_grad_(requires_grad=False)
        self.averages, self.sources = _floats(self.averaged), _floats(self.detector)
        self.optimizer = _optimizer(self.detector, settings)
        self.grid = make_grid(settings.image_size, device)
        self.step = 0

    def run(
        self,
        on_step: Callable[[int, int], None] | None,
        on_epoch: Callable[[EpochFigures], None] | None,
    ) -> FittedDetector:
        epochs = self.settings.epochs
        every = max(1, epochs // _LOOKS)
        history: list[EpochFigures] = []
        best, best_epoch, best_score = self.averaged, 0, -1.0
        for epoch in range(1, epochs + 1):
            losses = self._pass(epoch, on_step)
            look = epoch == epochs or (epochs - epoch) % every == 0
            figures = EpochFigures(
                epoch, *losses, self._rate(self.step), self._look() if look else None
            )
            history.append(figures)
            if figures.val and figures.val.map50 >= best_score:
                best, best_epoch = copy.deepcopy(self.averaged), epoch
                best_score = figures.val.map50
            if on_epoch:
                on_epoch(figures)
        return FittedDetector(best.to("cpu").eval(), best_epoch, tuple(history), str(self.device))

    def _pass(
        self, epoch: int, on_step: Callable[[int, int], None] | None
    ) -> tuple[float, float, float]:
        # A generator of its own per epoch: an epoch's batches do not depend on what came before.
        random = np.random.default_rng((self.settings.seed, epoch))
        self.detector.train()
        sums = torch.zeros(3, device=self.device)
        count = 0
        for images, truth in self.batches.epoch(self.settings.batch_size, random):
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(self.step)
            images = images.to(self.device, non_blocking=True)
            truth = type(truth)(*(part.to(self.device) for part in truth))
            with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
                raw = self.detector(images)
            loss = detection_loss(raw, truth, self.grid)
            loss.total.backward()
            nn.utils.clip_grad_norm_(self.detector.parameters(), _MAX_GRADIENT)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self._average()
            sums += torch.stack((loss.total.detach(), loss.box, loss.label))
            count += 1
            if on_step:
                on_step(self.step, self.steps)
        total, box, label = (sums / count).tolist()
        return total, box, label

    def _rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a fiftieth."""
        peak = self.settings.learning_rate
        warmup = max(1, round(self.settings.warmup_fraction * self.steps))
        if step < warmup:
            return peak * (step + 1) / warmup
        share = (step - warmup) / max(1, self.steps - warmup)
        return peak * (_FINAL_RATE + (1 - _FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * share)))

    @torch.no_grad()
    def _average(self) -> None:
        # The average forgets the random start quickly: decay grows over the first steps.
        decay = min(self.settings.ema_decay, self.step / (self.step + 10))
        torch._foreach_lerp_(self.averages, self.sources, 1 - decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    def _look(self) -> Evaluation:
        found = detect_samples(self.averaged, self.val, self.val_batches)
        return evaluate(found, self.val, self.classes)


def _floats(detector: Detector) -> list[Tensor]:
    """Weights and running statistics, as views that follow every change."""
    return [value for value in detector.state_dict().values() if value.dtype.is_floating_point]


def _optimizer(detector: Detector, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW; normalisation and biases are not decayed."""
    matrices = [p for p in detector.parameters() if p.ndim > 1]
    vectors = [p for p in detector.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        fused=True,
    )


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Use this many CPU threads; tiny networks are slower on several (measured)."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
