"""What the benchmarks break in a detector is what they say they break."""

import numpy as np
import pytest
import torch

from benchmarks.spoiled import CLASSES, Trained, half_blind, noisy, scenario, swapped
from guardianflow.vision.ir import ir
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape, make_grid
from guardianflow.vision.network.weights import save_weights

SIDE = 64


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A network of random weights, whose classes differ."""
    folder = tmp_path_factory.mktemp("good")
    torch.manual_seed(1)
    detector = make_detector(DetectorShape(classes=len(CLASSES), width=4, image_size=SIDE)).eval()
    with torch.no_grad():
        for head in detector.heads:
            head.logits.bias.copy_(torch.tensor([-1.0, 1.0]))
            head.logits.weight.mul_(20)
    save_weights(detector, CLASSES, folder / "artifacts" / "weights")
    ir.save(ir.convert_network(detector, CLASSES), folder / "artifacts" / "ir")
    return Trained(None, scenario(side=SIDE), "", folder)


def scores(folder, files=()):
    """What the plain IR says of each cell and class, shape (A, C), once these files are there."""
    import openvino as ov

    for path, content in dict(files).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    frame = np.random.default_rng(2).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    model = ov.Core().compile_model(folder / "artifacts" / "ir" / ir.FILE, "CPU")
    return model(frame)[1][0]


def test_half_of_the_picture_is_not_seen(good, tmp_path):
    before, on_the_left = scores(good.folder), make_grid(SIDE).centres[:, 0].numpy() <= SIDE / 2
    for left in (True, False):
        files = half_blind(good, left=left)
        assert "artifacts/edge/model.xml" in files
        after = scores(tmp_path / str(left), files)
        gone = on_the_left if left else ~on_the_left
        assert after[gone].max() == 0
        np.testing.assert_allclose(after[~gone], before[~gone], atol=1e-4)


def test_each_class_is_called_by_the_name_of_the_next(good, tmp_path):
    before, after = scores(good.folder), scores(tmp_path, swapped(good))
    assert np.abs(before[:, 0] - before[:, 1]).max() > 0.1
    np.testing.assert_allclose(after, np.roll(before, 1, axis=1), atol=1e-4)


def test_noise_changes_what_is_seen(good, tmp_path):
    assert np.abs(scores(tmp_path, noisy(good, 1.0)) - scores(good.folder)).max() > 1e-4
