"""One attempt at a training: trains epochs, keeps checkpoints, and logs figures to the run."""

import logging
from collections.abc import Sequence

from guardianflow.lifecycle.training.continuation import CheckpointCopies, Curves
from guardianflow.mlflow_store.runs import OpenRun
from guardianflow.progress import Reporter
from guardianflow.scenario import TrainingSettings
from guardianflow.vision.network.checkpoint import Checkpoints
from guardianflow.vision.network.detector import Detector
from guardianflow.vision.network.fitting import FittedDetector, fit
from guardianflow.vision.network.history import EpochFigures

log = logging.getLogger(__name__)


def fit_in_run(
    run: OpenRun,
    settings: TrainingSettings,
    checkpoints: Checkpoints,
    start: Detector | None,
    report: Reporter,
) -> tuple[FittedDetector, int]:
    """Train on the run's data set, or resume from the newest checkpoint.

    Args:
        run: Receives the figures and, every few minutes, the newest checkpoint.
        settings: How to train.
        checkpoints: The checkpoints on this machine.
        start: Initial weights; None for random ones.
        report: Called with the progress.

    Returns:
        The detector, and the epoch after which the training resumed (0: from the start).

    Raises:
        KeyboardInterrupt: Interrupted; the message says how many epochs are kept.
        DatasetInvalid: An image can no longer be read.
        RegistryUnavailable: MLflow does not answer at the end; all epochs are kept.
    """
    dataset, epochs, latest, resumed_at = run.dataset, settings.epochs, "", 0
    curves, mirror = Curves(run), CheckpointCopies(run.client, run.run_id, checkpoints)

    def on_resume(history: Sequence[EpochFigures]) -> None:
        nonlocal resumed_at
        resumed_at = len(history)
        remark = f"resumed at epoch {resumed_at} of {epochs}"
        log.info(remark)
        report("resume", resumed_at, epochs, remark=remark)
        curves.add(*history)

    def on_epoch(figures: EpochFigures) -> None:
        nonlocal latest
        latest = figures.describe()
        curves.add(figures)
        mirror.keep()
        log.info("epoch %d of %d: %s", figures.epoch, epochs, latest)

    try:
        fitted = fit(
            settings,
            dataset.samples("train"),
            dataset.samples("val"),
            dataset.classes,
            start=start,
            checkpoints=checkpoints,
            on_resume=on_resume,
            on_step=lambda done, total: report("train", done, total, latest),
            on_epoch=on_epoch,
        )
    except KeyboardInterrupt as stop:
        mirror.keep(now=True)
        done = f"Interrupted; {checkpoints.newest_epoch()} of {epochs} epochs are kept."
        raise KeyboardInterrupt(done) from stop
    curves.send()
    run.log_params({"device_used": fitted.device, "best_epoch": fitted.best_epoch})
    return fitted, resumed_at
