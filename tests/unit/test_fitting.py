"""The loop without any killing: formats, patience, loading, weights to begin with."""

import dataclasses
import os
import sys
import threading

import pytest
import torch

from guardianflow.errors import DatasetInvalid
from guardianflow.scenario import TrainingSettings
from guardianflow.vision.network import device
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import DetectorShape
from guardianflow.vision.network.device import MixedPrecision, cpu_threads
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.network.loading import prefetch
from guardianflow.vision.network.weights import carry_over
from tests.unit.drawn import CLASSES, drawn

SETTINGS = TrainingSettings(image_size=64, width=4, epochs=8, batch_size=4, device="cpu")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("drawn"), size=64, train=4, val=2)


def trained(dataset, **changes):
    settings = SETTINGS.model_copy(update=changes)
    return fit(settings, dataset.samples("train"), dataset.samples("val"), CLASSES)


def test_it_stops_when_the_looks_bring_nothing_better_and_was_the_same_until_then(dataset):
    # With such a rate nothing is learned: every look finds the same nothing.
    whole = trained(dataset, learning_rate=1e-9, matrix_rate=1e-9)
    impatient = trained(dataset, learning_rate=1e-9, matrix_rate=1e-9, patience=2)
    assert [entry.epoch for entry in whole.history] == list(range(1, 9))
    assert impatient.history == whole.history[:3]


def test_bfloat16_is_used_where_it_is_asked_for_and_learns_something_else(dataset):
    half, full = (trained(dataset, epochs=2, precision=p) for p in ("bfloat16", "float32"))
    assert all(
        entry.loss == pytest.approx(other.loss, rel=0.05)
        for entry, other in zip(half.history, full.history, strict=True)
    )
    assert half.history != full.history
    assert {value.dtype for value in half.detector.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("native", "wanted", "found", "scaled"),
    [
        (True, "auto", "bfloat16", False),
        (False, "auto", "float16", True),
        (False, "float32", "float32", False),
    ],
)
def test_the_format_on_a_gpu(monkeypatch, native, wanted, found, scaled):
    monkeypatch.setattr(device.torch.cuda, "is_bf16_supported", lambda **_: native)
    # A scaler that is on looks for a GPU when it is made; there is none here.
    made = []
    monkeypatch.setattr(
        device.torch.amp, "GradScaler", lambda kind, enabled: made.append((kind, enabled))
    )
    assert MixedPrecision(torch.device("cuda"), wanted).format == found
    assert made == [("cuda", scaled)]


@pytest.mark.parametrize(
    ("able", "found"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"avx512_f": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_cpu_computes_in_16_bits_by_itself_only_if_it_has_the_instructions(
    monkeypatch, able, found
):
    monkeypatch.setattr(device.torch.cpu, "get_capabilities", lambda: able)
    assert MixedPrecision(CPU, "auto").format == found


def test_on_a_cpu_the_format_is_the_one_that_is_asked_for():
    layer, value = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with MixedPrecision(CPU, "float32").autocast():
        assert layer(value).dtype is torch.float32
    with MixedPrecision(CPU, "bfloat16").autocast():
        assert layer(value).dtype is torch.bfloat16


def test_an_image_that_breaks_during_the_training_is_named(dataset, tmp_path):
    samples = list(dataset.samples("train"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(samples[2].image.read_bytes()[:-200])
    samples[2] = dataclasses.replace(samples[2], image=broken)
    with pytest.raises(DatasetInvalid, match=r"broken\.png"):
        fit(SETTINGS, samples, dataset.samples("val"), CLASSES)
    assert not [t for t in threading.enumerate() if t.name.startswith("loading")]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_threads_that_make_batches_give_way_to_the_one_that_computes():
    def niceness(_: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness(0)
    assert set(prefetch(niceness, range(9), 2)) == {min(19, before + 5)}
    assert niceness(0) == before


def test_threads_that_make_batches_start_no_others():
    with cpu_threads(2):
        assert set(prefetch(lambda _: torch.get_num_threads(), range(9), 2)) == {1}
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_made_ahead_comes_in_order_and_never_far_ahead(workers):
    begun, taken = [], []

    def make(number):
        begun.append(number)
        return number * number

    for item in prefetch(make, range(50), workers):
        assert len(begun) - len(taken) <= workers + 2
        taken.append(item)
    assert taken == [number * number for number in range(50)]


def test_an_error_comes_where_its_item_would_have_come():
    def make(number):
        if number == 3:
            raise ValueError("the third")
        return number

    source, taken = prefetch(make, range(9), 2), []
    with pytest.raises(ValueError, match="the third"):
        taken.extend(source)
    assert taken == [0, 1, 2]


def test_shared_classes_keep_their_rows_and_new_ones_begin_at_random():
    torch.manual_seed(0)
    source = make_detector(DetectorShape(3, 4, 64))
    shape = DetectorShape(2, 4, 96)
    made = carry_over(source, ("person", "helmet", "vest"), shape, ("vest", "mask"), seed=1)
    theirs, ours = source.state_dict(), made.state_dict()
    fresh = carry_over(source, (), shape, ("vest", "mask"), seed=1).state_dict()
    for key, value in ours.items():
        if ".logits." in key:
            assert torch.equal(value[0], theirs[key][2])
            assert torch.equal(value[1], fresh[key][1])
        else:
            assert torch.equal(value, theirs[key])
    with pytest.raises(ValueError, match="not"):
        carry_over(source, (), DetectorShape(2, 8, 64), ("vest", "mask"), seed=1)


def test_a_training_begins_with_the_weights_it_is_given(dataset):
    torch.manual_seed(5)
    start = make_detector(DetectorShape(2, 4, 64))
    rates = {"learning_rate": 1e-12, "matrix_rate": 1e-12}
    settings = SETTINGS.model_copy(update={"epochs": 1, **rates})
    made = fit(settings, dataset.samples("train"), dataset.samples("val"), CLASSES, start=start)
    for ours, theirs in zip(made.detector.parameters(), start.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
