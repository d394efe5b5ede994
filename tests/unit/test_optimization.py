import copy

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from guardianflow.scenario import TrainingSettings
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import Architecture, DetectorShape
from guardianflow.vision.network.optimization import MuonAdamW, make_optimizer, orthogonalize


@settings(max_examples=50)
@given(st.integers(1, 3), st.integers(1, 24), st.integers(1, 60), st.integers(0, 1000))
def test_all_directions_of_a_matrix_become_about_equally_long(count, rows, columns, seed):
    matrices = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, rows, columns)))
    _, before, _ = torch.linalg.svd(matrices)
    # Five rounds bring up what is not hidden in the noise.
    matrices = matrices[(before.amin(1) > 0.02 * before.amax(1))]
    lengths = torch.linalg.svdvals(orthogonalize(matrices))
    assert ((lengths > 0.6) & (lengths < 1.3)).all()


def test_a_matrix_keeps_its_directions():
    # Rotations stay what they are, but for their length.
    rotation = torch.tensor([[[0.6, -0.8], [0.8, 0.6]]])
    assert torch.allclose(orthogonalize(5 * rotation) @ rotation.mT, torch.eye(2), atol=0.3)


def muon(*weights, others=(), decay=0.0):
    return MuonAdamW(weights, others, matrix_rate=0.1, rate=0.01, weight_decay=decay)


def stepped(*weights, steps=3):
    optimizer = muon(*weights)
    for number in range(steps):
        for place, weight in enumerate(weights):
            torch.manual_seed(100 * number + place)
            weight.grad = torch.randn_like(weight)
        optimizer.step()
    return optimizer


def test_weights_of_one_shape_do_not_touch_each_other():
    start = torch.ones(4, 3, 2, 2)
    first, second, alone = (nn.Parameter(start.clone()) for _ in range(3))
    stepped(first, second)
    stepped(alone)
    assert torch.allclose(first, alone, atol=1e-6)
    assert not torch.allclose(first, second)


def test_a_step_is_as_long_as_the_rate_whatever_the_gradient():
    moved = []
    for size in (1e-3, 1e3):
        weight = nn.Parameter(torch.zeros(8, 8))
        torch.manual_seed(0)
        weight.grad = size * torch.randn(8, 8)
        muon(weight).step()
        moved.append(torch.linalg.svdvals(weight.detach()))
    assert torch.allclose(*moved, rtol=1e-2)
    assert 0.06 < moved[0].median() < 0.13


def test_decay_shrinks_and_what_has_no_gradient_rests():
    weight, rests = nn.Parameter(torch.full((2, 2), 10.0)), nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.zeros(2, 2)
    muon(weight, rests, decay=0.5).step()
    assert torch.allclose(weight, torch.full((2, 2), 9.5))
    assert torch.equal(rests, torch.ones(2, 2))


def test_a_step_after_a_checkpoint_is_the_step_without():
    weights = [nn.Parameter(torch.ones(4, 6)), nn.Parameter(torch.ones(5))]
    twins = [nn.Parameter(weight.detach().clone()) for weight in weights]
    optimizer, other = (muon(one, others=[rest]) for one, rest in (weights, twins))
    for round_ in range(4):
        if round_ == 2:
            for weight, twin in zip(weights, twins, strict=True):
                twin.data.copy_(weight.data)
            other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for weight, twin in zip(weights, twins, strict=True):
            torch.manual_seed(round_)
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.clone() if round_ >= 2 else None
        optimizer.step()
        other.step()
    for weight, twin in zip(weights, twins, strict=True):
        assert torch.equal(weight, twin)


def test_what_is_not_a_matrix_moves_as_with_adamw():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    optimizer = muon(nn.Parameter(torch.ones(2, 2)), others=[ours])
    reference = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.0)
    for _ in range(5):
        for one in (ours, theirs):
            one.grad = one.detach() ** 2 - 0.3
        optimizer.step()
        reference.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_every_weight_of_the_detector_is_moved_once_and_the_ends_of_heads_are_no_matrices():
    detector = make_detector(DetectorShape(classes=2, width=4, image_size=64))
    optimizer = make_optimizer(detector, TrainingSettings(matrix_rate=0.2, learning_rate=0.1))
    matrices, others = (group["params"] for group in optimizer.param_groups)
    assert sorted(map(id, matrices + others)) == sorted(map(id, detector.parameters()))
    assert all(p.ndim == 4 for p in matrices)
    ends = [p for head in detector.heads for p in head.logits.parameters()]
    assert {id(p) for p in ends} <= {id(p) for p in others}
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.2, 0.1]


def test_layers_that_begin_trained_have_a_rate_of_their_own_and_no_muon():
    detector = make_detector(DetectorShape(2, 32, 64, Architecture.NANODET_G))
    rates = {"matrix_rate": 0.2, "learning_rate": 0.1, "pretrained_rate": 0.01}
    new, ends, trained = make_optimizer(detector, TrainingSettings(**rates)).param_groups
    assert not new["params"]
    heads = [layer for head in detector.heads for layer in (head.distances, head.logits)]
    last = [p for layer in heads for p in layer.parameters()]
    assert sorted(map(id, ends["params"])) == sorted(map(id, last))
    both = [*ends["params"], *trained["params"]]
    assert sorted(map(id, both)) == sorted(map(id, detector.parameters()))
    told = [(group["initial_lr"], group["muon"]) for group in (ends, trained)]
    assert told == [(0.1, False), (0.01, False)]
