import json
import os
import shutil
from pathlib import Path

import pytest

from guardianflow.vision.data import checker, examination
from guardianflow.vision.data.checker import CheckResult, check_dataset
from guardianflow.vision.data.rules import FaultCode
from tests.unit.yolo_sets import CLEAN, ROW, draw, edit, found, make


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = make(tmp_path / "data")
    shutil.copy(folder / "images/train/train1.png", folder / "images/train/train0.png")
    (folder / "labels/train/train2.txt").write_text(CLEAN + ROW)
    (folder / "images/train/train3.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Which files were read, and which of those decoded."""
    done: dict[str, list[str]] = {"read": [], "decoded": []}
    read, decode = checker.read_content, examination.decode_image

    def reading(path: str, *limit: int) -> bytes:
        done["read"].append(Path(path).name)
        return read(path, *limit)

    def decoding(path: str, content: bytes) -> object:
        done["decoded"].append(Path(path).name)
        return decode(path, content)

    monkeypatch.setattr(checker, "read_content", reading)
    monkeypatch.setattr(examination, "decode_image", decoding)
    return done


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at an hour after they were written."""
    from guardianflow.vision.data import cache

    now = cache.time.time_ns()
    monkeypatch.setattr(cache.time, "time_ns", lambda: now + 3600 * 10**9)


def plain(checked: CheckResult) -> tuple[object, ...]:
    samples = [
        (split, s.image, s.boxes.tolist(), s.classes.tolist(), s.size, s.digest, s.picture_hash)
        for split, some in checked.splits.items()
        for s in some
    ]
    return checked.findings, samples, checked.images


def forget(work: dict[str, list[str]]) -> None:
    for names in work.values():
        names.clear()


@pytest.mark.usefixtures("later")
def test_the_second_check_reads_nothing_and_says_the_same(
    root: Path, work: dict[str, list[str]]
) -> None:
    first = check_dataset(root)
    assert len(work["decoded"]) == 16
    forget(work)
    assert plain(check_dataset(root)) == plain(first)
    assert work == {"read": [], "decoded": []}


@pytest.mark.usefixtures("later")
def test_a_changed_file_is_noticed_also_with_the_old_size_and_time(
    root: Path, work: dict[str, list[str]]
) -> None:
    image, label = root / "images/val/val0.png", root / "labels/val/val1.txt"
    check_dataset(root)
    then = image.stat()
    content = bytearray(image.read_bytes())
    content[-20] ^= 255
    image.write_bytes(content)
    os.utime(image, ns=(then.st_atime_ns, then.st_mtime_ns))
    label.write_text(CLEAN.replace("0.5", "0.4"))
    forget(work)
    checked = check_dataset(root)
    assert set(work["read"]) == {"val0.png", "val0.txt", "val1.png", "val1.txt"}
    assert work["decoded"] == ["val0.png"]
    assert [finding.image for finding in found(checked, FaultCode.IMAGE_BROKEN)] == [
        str(root / "images/train/train3.png"),
        str(image),
    ]
    assert checked.splits["val"][0].boxes[0][0] == pytest.approx((0.4 - 0.125) * 80, abs=1)


@pytest.mark.usefixtures("later")
def test_a_touched_or_renamed_file_is_read_but_not_decoded(
    root: Path, work: dict[str, list[str]]
) -> None:
    check_dataset(root)
    os.utime(root / "images/val/val0.png")
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (root / f"{kind}/val/val1.{suffix}").rename(root / f"{kind}/val/z.{suffix}")
    forget(work)
    assert len(check_dataset(root).splits["val"]) == 2
    assert {"val0.png", "z.png"} <= set(work["read"])
    assert work["decoded"] == []


def test_a_file_that_was_just_written_is_read_again(root: Path, work: dict[str, list[str]]) -> None:
    check_dataset(root)
    forget(work)
    check_dataset(root)
    assert "val0.png" in work["read"]
    assert work["decoded"] == []


@pytest.mark.usefixtures("later")
def test_the_suffix_counts_also_for_a_content_that_is_known(root: Path) -> None:
    check_dataset(root)
    (root / "images/val/val0.png").rename(root / "images/val/val0.jpg")
    checked = check_dataset(root)
    assert [finding.code for finding in found(checked, FaultCode.IMAGE_MISNAMED)]
    (root / "images/val/val0.jpg").rename(root / "images/val/val0.png")
    assert not found(check_dataset(root), FaultCode.IMAGE_MISNAMED)


@pytest.mark.usefixtures("later")
def test_labels_are_judged_anew_when_the_classes_change(root: Path) -> None:
    assert not found(check_dataset(root), FaultCode.ROW_CLASS_UNKNOWN)
    edit(root, "nc: 2\nnames: [person, helmet]", "names: [person]")
    assert found(check_dataset(root), FaultCode.ROW_CLASS_UNKNOWN)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("harm", ["cut", "flipped", "foreign", "empty", "folder"])
def test_a_damaged_cache_is_ignored(
    root: Path, home: Path, work: dict[str, list[str]], harm: str
) -> None:
    first = check_dataset(root)
    (file,) = (home / "cache/checks").iterdir()
    content = file.read_text("utf-8")
    seal, _, body = content.partition("\n")
    if harm == "folder":
        file.unlink()
        file.mkdir()
    else:
        changed = {
            "cut": content[: len(content) // 2],
            "flipped": content.replace("0.375", "0.374", 1),
            "foreign": f"{'0' * len(seal.split()[0])} {seal.split()[1]}\n{body}",
            "empty": "",
        }
        assert changed[harm] != content
        file.write_text(changed[harm], "utf-8")
    forget(work)
    assert plain(check_dataset(root)) == plain(first)
    assert len(work["decoded"]) == 16


@pytest.mark.usefixtures("later")
def test_what_is_gone_is_forgotten_and_what_cannot_be_kept_is_no_loss(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_dataset(root)
    (root / "images/val/val1.png").unlink()
    (root / "labels/val/val1.txt").unlink()
    draw(root / "images/val/new.png", 70)
    (root / "labels/val/new.txt").touch()
    check_dataset(root)
    (file,) = (home / "cache/checks").iterdir()
    kept = json.loads(file.read_text("utf-8").partition("\n")[2])
    names = {Path(path).name for path in kept["images"]}
    assert "new.png" in names
    assert "val1.png" not in names
    (root.parent / "a.file").touch()
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(root.parent / "a.file"))
    assert len(check_dataset(root).splits["val"]) == 2
