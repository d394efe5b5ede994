"""The same training on a GPU; skipped where there is none.

Sums on a GPU come in changing order, so what is held here are figures, not bits.
"""

import pytest
import torch

from guardianflow.scenario import TrainingSettings
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.assignment import Truth, detection_loss
from guardianflow.vision.network.batches import Batches
from guardianflow.vision.network.checkpoint import Checkpoints
from guardianflow.vision.network.detector import DetectorShape, make_grid
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.network.optimization import make_optimizer
from tests.unit.drawn import CLASSES, drawn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

SETTINGS = TrainingSettings(image_size=128, width=8, epochs=8, batch_size=4)


class Killed(Exception):
    """In place of a kill: what was computed since the last checkpoint is lost."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("drawn"), size=128, train=24, val=8)


def trained(dataset, checkpoints=None, on_epoch=None, **changes):
    settings = SETTINGS.model_copy(update=changes)
    return fit(
        settings,
        dataset.samples("train"),
        dataset.samples("val"),
        CLASSES,
        checkpoints=checkpoints,
        on_epoch=on_epoch,
    )


def assert_alike(fitted, other):
    losses, expected = ([entry.loss for entry in one.history] for one in (fitted, other))
    assert losses == pytest.approx(expected, rel=0.1)


def one_step(dataset, device):
    """The loss of one batch, and a weight after the step that follows."""
    torch.manual_seed(0)
    detector = make_detector(DetectorShape(len(CLASSES), 8, 128)).to(device).train()
    optimizer = make_optimizer(detector, SETTINGS)
    images, truth = Batches(dataset.samples("train"), 128).batch(0, 4, 0)
    truth = Truth(*(part.to(device) for part in truth))
    raw = detector(images.to(device).float().div_(255.0))
    loss = detection_loss(raw, truth, make_grid(128, torch.device(device)))
    loss.total.backward()
    optimizer.step()
    return loss.total.item(), torch.cat([p.detach().flatten().cpu() for p in detector.parameters()])


def test_a_step_is_the_same_as_on_the_cpu(dataset, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    (loss, weights), (other_loss, other_weights) = (one_step(dataset, d) for d in ("cpu", "cuda"))
    assert other_loss == pytest.approx(loss, rel=1e-4)
    # Muon's iteration makes small differences of a gradient larger.
    assert (weights - other_weights).norm() / weights.norm() < 1e-3


@pytest.fixture(scope="module")
def on_the_cpu(dataset):
    return trained(dataset, device="cpu", precision="float32")


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16", "float16"])
def test_every_format_learns_as_on_the_cpu_and_gives_weights_there(dataset, on_the_cpu, precision):
    fitted = trained(dataset, precision=precision)
    assert fitted.device == "cuda"
    assert_alike(fitted, on_the_cpu)
    assert {(p.device.type, p.dtype) for p in fitted.detector.parameters()} == {
        ("cpu", torch.float32)
    }


def die_after_the_fifth(figures):
    if figures.epoch == 5:
        raise Killed


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_training_that_was_interrupted_goes_on_where_it_was(dataset, tmp_path, device):
    whole = trained(dataset)
    with pytest.raises(Killed):
        trained(dataset, Checkpoints(tmp_path, "work"), die_after_the_fifth)
    again = trained(dataset, Checkpoints(tmp_path, "work"), device=device)
    assert [entry.epoch for entry in again.history] == list(range(1, 9))
    assert_alike(again, whole)
