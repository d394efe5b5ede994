import pickle
import warnings

import numpy as np
import pytest
import torch

from guardianflow.vision.network import weights
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.assignment import (
    Truth,
    assign_targets,
    detection_loss,
    generalized_iou,
    pairwise_iou,
)
from guardianflow.vision.network.augmentation import LetterboxedSample
from guardianflow.vision.network.batches import pad_truth
from guardianflow.vision.network.detector import (
    DetectorShape,
    ExportedDetector,
    decode_boxes,
    make_grid,
)

SHAPE = DetectorShape(classes=2, width=4, image_size=64)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    # tiny networks on two contended threads take ten times as long (measured)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return make_detector(SHAPE)


def one_object(box, label=1):
    return Truth(torch.tensor([[box]]), torch.tensor([[label]]), torch.ones(1, 1, dtype=torch.bool))


def test_every_cell_of_three_grids_answers(detector):
    raw = detector(torch.rand(2, 3, 64, 64))
    cells = 8 * 8 + 4 * 4 + 2 * 2
    assert raw.logits.shape == (2, cells, 2)
    assert raw.distances.shape == (2, cells, 4)
    assert (raw.distances > 0).all()
    assert make_grid(64).centres.shape == (cells, 2)


def test_decoding_reaches_from_the_centre_to_the_four_sides():
    grid = make_grid(64)
    distances = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, len(grid.centres), 4)
    boxes = decode_boxes(distances, grid)
    # the first cell has stride 8 and its centre at 4, 4; the last stride 32 and 48, 48
    assert boxes[0, 0].tolist() == [4 - 8, 4 - 16, 4 + 24, 4 + 32]
    assert boxes[0, -1].tolist() == [48 - 32, 48 - 64, 48 + 96, 48 + 128]


def test_the_exported_network_takes_camera_bytes(detector):
    boxes, scores = ExportedDetector(detector.eval())(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    assert boxes.shape == (1, 84, 4)
    assert scores.shape == (1, 84, 2)
    assert 0 < scores.min() <= scores.max() < 1


def test_it_learns_one_image_by_heart(detector):
    images = torch.rand(1, 3, 64, 64)
    truth, grid = one_object([16.0, 16.0, 40.0, 48.0]), make_grid(64)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        detection_loss(detector(images), truth, grid).total.backward()
        optimizer.step()
    with torch.no_grad():
        raw = detector(images)
    best = raw.logits[0, :, 1].argmax()
    box = decode_boxes(raw.distances, grid)[0, best]
    assert raw.logits[0, best].sigmoid()[1] > 0.5
    assert raw.logits[0, :, 0].sigmoid().max() < 0.2
    assert pairwise_iou(box[None, None], truth.boxes)[0, 0, 0] > 0.7


def test_the_loss_of_an_image_without_objects_is_finite(detector):
    nothing = pad_truth(
        [
            LetterboxedSample(
                np.zeros((64, 64, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, int)
            )
        ]
    )
    loss = detection_loss(detector(torch.rand(1, 3, 64, 64)), nothing, make_grid(64))
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert loss.box == 0


def test_an_object_smaller_than_a_cell_is_learned_too():
    grid = make_grid(64)
    boxes = decode_boxes(torch.full((1, 84, 4), 0.5), grid)
    # between the centres of all cells
    targets = assign_targets(
        torch.full((1, 84, 2), 0.1), boxes, one_object([6.5, 6.5, 9.5, 9.5]), grid
    )
    assert targets.scores[..., 1].max() > 0
    assert targets.scores[..., 0].max() == 0


def test_a_cell_belongs_to_one_object_and_targets_do_not_exceed_one():
    grid = make_grid(64)
    torch.manual_seed(1)
    boxes = decode_boxes(torch.rand(1, 84, 4) * 3, grid)
    truth = Truth(
        torch.tensor([[[0.0, 0, 40, 40], [8.0, 8, 48, 48], [0.0, 0, 0, 0]]]),
        torch.tensor([[0, 1, 0]]),
        torch.tensor([[True, True, False]]),
    )
    targets = assign_targets(torch.rand(1, 84, 2), boxes, truth, grid)
    assert ((targets.scores > 0).sum(-1) <= 1).all()
    assert targets.scores.max() <= 1
    assert (targets.scores > 0).any(1).all()


def test_generalized_iou_is_one_for_equal_and_negative_for_distant_boxes():
    one = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    far = torch.tensor([[30.0, 0.0, 40.0, 10.0]])
    assert generalized_iou(one, one).item() == pytest.approx(1.0)
    # union 200 of a hull of 400
    assert generalized_iou(one, far).item() == pytest.approx(-0.5)


def test_weights_come_back_as_they_were(detector, tmp_path):
    path = weights.save_weights(detector, ("person", "helmet"), tmp_path)
    again, classes = weights.load_weights(path)
    assert classes == ("person", "helmet")
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(image).logits, detector.eval()(image).logits)
    assert [file.name for file in tmp_path.iterdir()] == ["best.pt"]


def test_weights_that_would_run_code_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "best.pt"
    torch.save({"format": 1, "state": Evil()}, path)
    with pytest.raises(pickle.UnpicklingError):
        weights.load_weights(path)
    assert not (tmp_path / "owned").exists()


def test_the_export_warns_about_nothing(detector):
    from guardianflow.vision.ir import ir

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = ir.convert_network(detector.eval(), ("a", "b"))
    assert model.inputs[0].shape == [1, 64, 64, 3]
