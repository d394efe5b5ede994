"""A training that is killed and begun again: the same bits as one that was left alone."""

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import faster_coco_eval  # noqa: F401 - these two here, not again in every forked process
import numpy as np
import pytest
import torch
import torch._dynamo

from guardianflow.scenario import TrainingSettings
from guardianflow.vision.network import checkpoint as module
from guardianflow.vision.network.checkpoint import Checkpoint, Checkpoints, sole_process
from guardianflow.vision.network.fitting import fit
from guardianflow.vision.network.history import EpochFigures
from guardianflow.vision.network.optimization import MuonAdamW
from tests.unit.drawn import drawn

# The parent never runs a backward pass: torch forbids one in a process forked after it.
pytestmark = pytest.mark.forks

FORK = multiprocessing.get_context("fork")
SETTINGS = TrainingSettings(image_size=64, width=4, epochs=4, batch_size=4, device="cpu")
DEADLINE_S = 60


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("drawn"), size=64, train=10, val=2)


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    """What a training gives that nobody interrupts, and that keeps nothing."""
    return outcome(dataset, tmp_path_factory.mktemp("undisturbed"), checkpoints=False)


def outcome(dataset, folder, settings=SETTINGS, *, checkpoints=True, disturb=lambda: None):
    """Train in a process of its own: weights, best epoch, history, and where it was resumed.

    Returns:
        What came out, or the exit code of the process that was killed.
    """
    result = folder / "result.pickle"
    result.unlink(missing_ok=True)

    def train():
        disturb()
        resumed = []
        fitted = fit(
            settings,
            dataset.samples("train"),
            dataset.samples("val"),
            dataset.classes,
            checkpoints=Checkpoints(folder / "work", "work") if checkpoints else None,
            on_resume=lambda history: resumed.append(len(history)),
        )
        state = {key: value.numpy() for key, value in fitted.detector.state_dict().items()}
        result.write_bytes(pickle.dumps((state, fitted.best_epoch, fitted.history, resumed)))

    process = FORK.Process(target=train)
    process.start()
    process.join(DEADLINE_S)
    return pickle.loads(result.read_bytes()) if result.exists() else process.exitcode


def assert_same(one, two):
    assert one[0].keys() == two[0].keys()
    for key, value in one[0].items():
        assert value.tobytes() == two[0][key].tobytes(), key
    assert one[1:3] == two[1:3]


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(owner, name, number, *, after=False):
    """Die at the call of this number of a function, before it or after it."""

    def disturb():
        original, calls = getattr(owner, name), []

        def call(*args, **kwargs):
            calls.append(name)
            if len(calls) == number and not after:
                die()
            answer = original(*args, **kwargs)
            if len(calls) == number:
                die()
            return answer

        setattr(owner, name, call)

    return disturb


def half_written():
    """Die when the second checkpoint is written to the disk by half."""
    original, calls = module.write_whole, []

    def write(path, *parts):
        calls.append(path)
        if len(calls) == 2:
            parts = (*parts[:-1], parts[-1][: len(parts[-1]) // 2])
            module.os.fsync = die
        original(path, *parts)

    module.write_whole = write


POINTS = {
    "in the middle of the first epoch": (at_call(MuonAdamW, "step", 2), []),
    "in the middle of the third epoch": (at_call(MuonAdamW, "step", 8), [2]),
    "before the first checkpoint": (at_call(module, "write_whole", 1), []),
    "when half of the second checkpoint is written": (half_written, [1]),
    "before the second checkpoint has its name": (at_call(Path, "replace", 2), [1]),
    "when it has its name, but the folder is not flushed": (
        at_call(Path, "replace", 2, after=True),
        [2],
    ),
    "before an old checkpoint is removed": (at_call(Path, "unlink", 1), [3]),
    "after the last checkpoint": (at_call(module.Checkpoints, "save", 4, after=True), [4]),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_training_killed_at_any_point_ends_in_the_same_bits(
    dataset, undisturbed, tmp_path, point
):
    disturb, resumed = POINTS[point]
    assert outcome(dataset, tmp_path, disturb=disturb) == -signal.SIGKILL
    again = outcome(dataset, tmp_path)
    assert again[3] == resumed
    assert_same(again, undisturbed)


def test_a_training_killed_again_and_again_ends_in_the_same_bits(dataset, undisturbed, tmp_path):
    for _ in range(4):
        killed = outcome(dataset, tmp_path, disturb=at_call(MuonAdamW, "step", 5))
        if killed != -signal.SIGKILL:
            break
    assert_same(outcome(dataset, tmp_path), undisturbed)


def test_other_settings_give_other_bits(dataset, undisturbed, tmp_path):
    other = outcome(dataset, tmp_path, SETTINGS.model_copy(update={"seed": 1}))
    assert other[2] != undisturbed[2]


def test_half_precision_with_a_scaled_loss_is_resumed_too(dataset, tmp_path):
    settings = SETTINGS.model_copy(update={"precision": "float16", "epochs": 3})
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    for folder in (alone, killed):
        folder.mkdir()
    whole = outcome(dataset, alone, settings)
    assert outcome(dataset, killed, settings, disturb=at_call(module, "write_whole", 3)) == -9
    assert_same(outcome(dataset, killed, settings), whole)


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "other work", "code"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(tmp_path, caplog, damage):
    kept = Checkpoints(tmp_path / "work", "work")
    kept.save(Checkpoint(1, {"value": torch.ones(3)}))
    path = kept.save(Checkpoint(2, {"value": torch.zeros(3)}))
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[:-7])
    elif damage == "one bit":
        path.write_bytes(content[:-99] + bytes([content[-99] ^ 1]) + content[-98:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other work":
        other = Checkpoints(tmp_path / "other", "other")
        path.write_bytes(other.save(Checkpoint(2, {})).read_bytes())
    else:
        kept.save(Checkpoint(2, {"value": Evil(str(tmp_path / "owned"))}))
    found = kept.load()
    assert found is not None
    assert found.epoch == 1
    assert torch.equal(found.state["value"], torch.ones(3))
    assert "cannot be used" in caplog.text
    assert (tmp_path / "work" / "epoch-000002.pt.damaged").exists()
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_that_was_fetched_by_half_is_not_used(tmp_path):
    here, there = (Checkpoints(tmp_path / name, "work") for name in ("here", "there"))
    path = there.save(Checkpoint(7, {"value": torch.ones(3)}))
    here.save(Checkpoint(3, {}))
    here.adopt(path, 7)
    assert here.load().epoch == 7
    path.write_bytes(path.read_bytes()[:-20])
    here.adopt(path, 7)
    assert here.load().epoch == 3


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_the_last_two_checkpoints_are_kept(tmp_path):
    kept = Checkpoints(tmp_path / "work", "work")
    for epoch in range(1, 6):
        kept.save(Checkpoint(epoch, {}))
    assert sorted(file.name for file in kept.folder.iterdir()) == [
        "epoch-000004.pt",
        "epoch-000005.pt",
    ]
    kept.remove()
    assert kept.load() is None


def test_one_process_trains_and_the_other_waits_until_it_has_died(tmp_path):
    lock, (ours, theirs) = tmp_path / "lock", FORK.Pipe()

    def hold():
        with sole_process(lock, lambda _: None):
            theirs.send("held")
            signal.pause()

    holder = FORK.Process(target=hold)
    holder.start()
    assert ours.recv() == "held"
    told = []

    def on_wait(owner):
        told.append(owner)
        holder.kill()

    with sole_process(lock, on_wait):
        assert told[0] == f"process {holder.pid}"
    holder.join()


def test_the_figures_of_an_epoch_survive_a_checkpoint(dataset):
    figures = EpochFigures(3, 0.1, 0.2, 0.3, 1e-3, None, 0.5, 17)
    assert EpochFigures.from_plain(figures.to_plain()) == figures


def test_a_batch_is_the_same_whoever_asks_for_it_and_when(dataset):
    from guardianflow.vision.network.batches import Batches

    first, second = (
        Batches(dataset.samples("train"), 64, mosaics=0.5, mosaic_epochs=1) for _ in range(2)
    )
    wanted = [first.batch(step, 4, 0) for step in range(6)]
    for step in (4, 1):
        images, truth = second.batch(step, 4, 0)
        assert torch.equal(images, wanted[step][0])
        assert torch.equal(truth.boxes, wanted[step][1].boxes)
    assert not np.array_equal(wanted[0][0].numpy(), wanted[3][0].numpy())


def test_mosaics_come_in_the_first_epochs_alone(dataset):
    from guardianflow.vision.network.batches import Batches

    train = dataset.samples("train")
    with_them = Batches(train, 64, mosaics=1.0, mosaic_epochs=1)
    without = Batches(train, 64)
    steps = without.steps(len(train))
    assert steps == 1
    for epoch, same in ((0, False), (1, True)):
        one, other = (batches.batch(epoch, len(train), 0)[0] for batches in (with_them, without))
        assert torch.equal(one, other) == same
