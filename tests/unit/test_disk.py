"""Files are there whole or not at all, and what fails for want of room says so.

A limit of the file size (RLIMIT_FSIZE) is a disk that is full for whoever has it: writes fail with
EFBIG, in Python and in native code.
"""

import errno
import os
import resource
import subprocess
import sys

import pytest

from guardianflow.errors import ArtifactMissing, DiskFull
from guardianflow.machine.disk import disk_error, remove_drafts, scratch, telling_full, write_whole
from guardianflow.vision.network.checkpoint import Checkpoint, Checkpoints
from tests.room import little_room
from tests.unit.yolo_sets import make

ROOM = 20_000


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path):
    file = tmp_path / "report.html"
    write_whole(file, b"one")
    with little_room(ROOM), pytest.raises(DiskFull) as full:
        write_whole(file, b"x" * ROOM * 2)
    assert file.read_bytes() == b"one"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    assert full.value.message.startswith(f"{file} cannot be written: the file would be larger")
    assert "complete before are unchanged" in full.value.remedy
    assert full.value.exit_code == 4


def test_a_link_is_followed_and_what_is_no_file_is_written_to(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "x", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen([sys.executable, "-c", f"print(open({str(pipe)!r}).read())"])
    write_whole(pipe, b"said")
    assert reader.wait(timeout=60) == 0
    assert pipe.is_fifo()


def test_a_private_file_is_private_from_its_first_byte(tmp_path):
    file = tmp_path / "secrets"
    write_whole(file, b"x", mode=0o600)
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / ".0123456789ab.draft").write_bytes(b"half")
    (tmp_path / "kept").write_bytes(b"x")
    remove_drafts(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    "hidden",
    [
        RuntimeError("PytorchStreamWriter failed writing file"),
        ValueError("The following failures occurred while downloading: OSError(27, ...)"),
    ],
)
def test_what_others_say_in_their_own_words_is_asked_of_the_disk(tmp_path, hidden):
    with pytest.raises(type(hidden)), telling_full(tmp_path):
        raise hidden

    def fill():
        with little_room(ROOM), scratch() as folder:
            try:
                (folder / "model.bin").write_bytes(b"x" * ROOM * 2)
            except OSError:
                raise hidden from None

    with pytest.raises(DiskFull, match="larger than this account may write"):
        fill()


def test_the_cause_of_an_error_counts_also_where_it_is_wrapped(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    words = f"{tmp_path} cannot be written: the disk is full"
    with pytest.raises(DiskFull, match=words), telling_full(tmp_path):
        raise RuntimeError("no upload") from full
    # What was judged by one of our rules stays what it is.
    with pytest.raises(ArtifactMissing), telling_full(tmp_path):
        raise ArtifactMissing("gone") from full


def test_other_errors_of_the_disk_name_the_file(tmp_path):
    assert disk_error(OSError(errno.ENOENT, "none", "x")) is None
    assert disk_error(PermissionError(errno.EACCES, "no")) is None
    closed = disk_error(OSError(errno.EROFS, "Read-only file system", "/srv/x"))
    assert closed is not None
    assert closed.exit_code == 2
    assert "/srv/x cannot be used (Read-only file system)" in closed.message


def test_a_training_says_from_which_epoch_it_goes_on(tmp_path):
    import torch

    kept = Checkpoints(tmp_path / "work", "work")
    state = {"weights": torch.zeros(ROOM)}
    with little_room(ROOM), pytest.raises(DiskFull) as full:
        kept.save(Checkpoint(1, state))
    assert "No epoch was kept yet, and nothing was registered" in full.value.remedy
    kept.save(Checkpoint(1, state))
    with little_room(ROOM), pytest.raises(DiskFull) as full:
        kept.save(Checkpoint(2, state))
    assert f"Epoch 1 is kept in {kept.folder}; the training continues after it" in full.value.remedy
    loaded = kept.load()
    assert loaded is not None
    assert loaded.epoch == 1


def test_a_report_that_finds_no_room_leaves_no_half_of_it(tmp_path):
    make(tmp_path / "set")
    report = tmp_path / "check.html"
    report.write_text("the report of yesterday")
    command = [
        *(sys.executable, "-m", "guardianflow.cli"),
        *("dataset", "check", tmp_path / "set", "--report", report),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GUARDIANFLOW_HOME": str(tmp_path / "home")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert done.returncode == 4, done.stderr
    assert f"{report} cannot be written" in " ".join(done.stderr.split())
    assert "defect" not in done.stderr
    assert report.read_text() == "the report of yesterday"
    assert not list(tmp_path.glob(".*.draft"))
