"""Missing splits are made: seeded, fair to every class, and one picture stays in one split."""

import errno
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardianflow.cli.app import main
from guardianflow.errors import DatasetInvalid, DiskFull, InputError
from guardianflow.scenario import FolderData, NearDuplicates, SyntheticData
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.contamination import exported_from, group_pictures
from guardianflow.vision.data.dataset import open_dataset, refuse_alike
from guardianflow.vision.data.findings import errors
from guardianflow.vision.data.rules import MIXED, FaultCode
from guardianflow.vision.data.splitting import SplitShares, fresh_folder, split_dataset
from guardianflow.vision.data.yaml_file import SPLITS
from tests.unit.yolo_sets import CLEAN, ROW, draw, found, make

SHARES = SplitShares(val=0.2, test=0.2, seed=3)
HASH = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty images to learn from, and no split but that."""
    folder = make(tmp_path / "data", images=20)
    for split in ("val", "test"):
        shutil.rmtree(folder / "images" / split)
        shutil.rmtree(folder / "labels" / split)
    (folder / "data.yaml").write_text("train: images/train\nnames: [person, helmet]\n")
    return folder


def main_code(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def names(checked: object) -> dict[str, set[str]]:
    return {s: {one.image.name for one in ones} for s, ones in checked.splits.items()}  # type: ignore[attr-defined]


def test_a_split_is_made_seeded_and_can_be_trained_from(root: Path, tmp_path: Path) -> None:
    before = sorted(path for path in root.rglob("*"))
    made = names(split_dataset(root, tmp_path / "a", SHARES).checked)
    assert {split: len(images) for split, images in made.items()} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }
    assert len(set().union(*made.values())) == 20
    assert names(open_dataset(tmp_path / "a", ["person", "helmet"], needs=SPLITS)) == made
    assert names(split_dataset(root, tmp_path / "b", SHARES).checked) == made
    assert (tmp_path / "b/val.txt").read_bytes() == (tmp_path / "a/val.txt").read_bytes()
    assert names(split_dataset(root, tmp_path / "c", SplitShares(0.2, 0.2, seed=4)).checked) != made
    assert sorted(path for path in root.rglob("*")) == before


def test_it_may_lie_in_the_data_set_and_move_with_it(root: Path, tmp_path: Path) -> None:
    made = names(split_dataset(root, root / "split", SHARES).checked)
    root.rename(tmp_path / "moved")
    assert names(check_dataset(tmp_path / "moved/split", needs=SPLITS)) == made
    assert not check_dataset(tmp_path / "moved").findings


def test_what_is_there_stays_and_the_rest_is_taken_from_train(tmp_path: Path) -> None:
    root = make(tmp_path / "data", images=20)
    text = (root / "data.yaml").read_text().replace("test: images/test\n", "test: ''\n")
    (root / "data.yaml").write_text(text)
    made = names(split_dataset(root, tmp_path / "a", SHARES).checked)
    assert made["val"] == {"val0.png", "val1.png"}
    assert len(made["test"]) == 4
    assert all(name.startswith("train") for name in made["train"] | made["test"])


def test_every_class_gets_its_share(root: Path, tmp_path: Path) -> None:
    for number in range(20):
        rows = ROW if number % 4 else CLEAN
        (root / f"labels/train/train{number}.txt").write_text(rows)
    made = split_dataset(root, tmp_path / "a", SHARES).checked
    helmets = {
        split: sum(int((sample.classes == 1).sum()) for sample in samples)
        for split, samples in made.splits.items()
    }
    assert helmets == {"train": 3, "val": 1, "test": 1}


def test_copies_and_pictures_that_look_the_same_stay_together(root: Path, tmp_path: Path) -> None:
    images, labels = root / "images/train", root / "labels/train"
    for number in range(8):
        draw(images / f"cam_jpg.rf.{number}{HASH}.png", 700 + number)
        (labels / f"cam_jpg.rf.{number}{HASH}.txt").write_text(CLEAN)
    draw(images / "film0.png", 900, (320, 240))
    for number in range(1, 8):
        frame = np.asarray(Image.open(images / "film0.png")).copy()
        frame[number : number + 3] = 0
        Image.fromarray(frame).save(images / f"film{number}.png")
    for number in range(8):
        (labels / f"film{number}.txt").write_text(CLEAN)
    for seed in range(5):
        made = names(
            split_dataset(root, tmp_path / f"to{seed}", SplitShares(0.3, 0.3, seed)).checked
        )
        for begin in ("cam", "film"):
            assert sum(any(n.startswith(begin) for n in ones) for ones in made.values()) == 1


def mixed(folder: Path) -> Path:
    """A data set with three pictures that stand in two splits, each in another way."""
    root = make(folder, images=12)
    for split, number in (("train", 1), ("train", 2), ("test", 3)):
        draw(root / f"images/{split}/cam_jpg.rf.{number}{HASH}.png", 700 + number)
        (root / f"labels/{split}/cam_jpg.rf.{number}{HASH}.txt").write_text(CLEAN)
    near, exact = root / "images/val/near.jpg", root / "images/test/exact.png"
    Image.open(root / "images/train/train3.png").save(near, quality=90)
    shutil.copy(root / "images/val/val0.png", exact)
    for split, name in (("val", "near"), ("test", "exact")):
        (root / f"labels/{split}/{name}.txt").write_text(CLEAN)
    return root


def test_one_picture_in_two_splits_is_an_error_that_its_remedy_mends(tmp_path: Path) -> None:
    root = mixed(tmp_path / "my data")
    wrong = errors(check_dataset(root).findings)
    assert {one.code for one in wrong} == set(MIXED)
    (remedy,) = {one.remedy.split("`")[1] for one in wrong}
    assert main_code(shlex.split(remedy)[1:]) == 0
    made = check_dataset(root / "split", needs=SPLITS)
    assert not errors(made.findings)
    assert not errors(check_dataset(root, tolerated=MIXED).findings)
    before = names(check_dataset(root))
    assert names(made) == {
        "train": before["train"] | {f"cam_jpg.rf.3{HASH}.png", "near.jpg"},
        "val": {"val0.png", "val1.png", "exact.png"},
        "test": {"test0.png", "test1.png"},
    }
    assert main_code(["dataset", "split", str(root), str(tmp_path / "b"), "--anew"]) == 0
    assert not errors(check_dataset(tmp_path / "b").findings)


@pytest.mark.parametrize("wrong", ["mixed", "unnamed"])
def test_the_remedy_works_where_the_data_lie_elsewhere_and_split_is_taken(
    tmp_path: Path, wrong: str
) -> None:
    base = mixed(tmp_path / "my data") if wrong == "mixed" else make(tmp_path / "my data", 20)
    place = tmp_path / "described"
    (place / "split").mkdir(parents=True)
    (place / "split/mine.txt").write_text("mine")
    text = (base / "data.yaml").read_text().replace("path: .", "path: /another/machine")
    if wrong == "unnamed":
        text = text.replace("test: images/test\n", "")
    (place / "data.yaml").write_text(text)
    (one, *_) = errors(check_dataset(place, base=base, needs=SPLITS).findings)
    assert "use that folder, without --root and `dataset.root`" in one.remedy
    assert main_code(shlex.split(one.remedy.split("`")[1])[1:]) == 0
    assert main_code(["dataset", "check", str(place / "split-2")]) == 0


def test_a_split_of_which_nothing_is_left_is_drawn(tmp_path: Path) -> None:
    root = make(tmp_path / "data", images=20)
    for number in range(2):
        shutil.copy(root / f"images/train/train{number}.png", root / f"images/val/val{number}.png")
    made = names(split_dataset(root, tmp_path / "a", SHARES).checked)
    assert len(made["val"] - {"val0.png", "val1.png"}) >= 2


def test_near_duplicates_that_are_known_stay_where_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = mixed(tmp_path / "data")
    before = names(check_dataset(root))
    made = split_dataset(root, tmp_path / "a", SHARES, near_known=True)
    assert names(made.checked) == {
        "train": before["train"] | {f"cam_jpg.rf.3{HASH}.png"},
        "val": before["val"] | {"exact.png"},
        "test": {"test0.png", "test1.png"},
    }
    assert (made.moved, made.drawn) == (2, ())
    assert split_dataset(root, tmp_path / "b", SHARES).moved == 3
    with pytest.raises(InputError, match="except known near duplicates: there is nothing to do"):
        split_dataset(tmp_path / "a", tmp_path / "c", SHARES, near_known=True)
    capsys.readouterr()
    for option, moved in (("--near-known", 2), ("--anew", 0)):
        words = ["dataset", "split", str(root), str(tmp_path / option), option, "--json"]
        assert main_code(words) == 0
        assert json.loads(capsys.readouterr().out)["moved"] == moved


def test_a_fixed_camera_whose_splits_are_all_alike_is_told_of_the_option(tmp_path: Path) -> None:
    root = make(tmp_path / "data", images=4)
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for number in range(count):
            file = root / f"images/{split}/{split}{number}.png"
            picture = np.asarray(Image.open(root / "images/train/train0.png")).copy()
            picture[0, number] = len(split)
            Image.fromarray(picture).save(file)
    with pytest.raises(DatasetInvalid, match="too similar") as refused:
        split_dataset(root, tmp_path / "a", SHARES)
    assert refused.value.remedy.startswith("Add --near-known")
    with pytest.raises(InputError, match="there is nothing to do") as ready:
        split_dataset(root, tmp_path / "a", SHARES, near_known=True)
    assert "near_duplicates: known" in ready.value.remedy


def test_training_refuses_what_a_window_and_an_older_version_may_have(tmp_path: Path) -> None:
    root = mixed(tmp_path / "data")
    (root / "images/test/exact.png").unlink()
    (root / "labels/test/exact.txt").unlink()
    dataset = open_dataset(root, needs=SPLITS)
    folder = FolderData(kind="folder", path=str(root))
    with pytest.raises(DatasetInvalid, match=r"copies of one picture.* 1 more problem"):
        refuse_alike(dataset, folder)
    known = folder.model_copy(update={"near_duplicates": NearDuplicates.KNOWN})
    with pytest.raises(DatasetInvalid, match="copies of one picture") as refused:
        refuse_alike(dataset, known)
    assert refused.value.data["count"] == 1
    refuse_alike(dataset, SyntheticData(kind="synthetic"))
    (root / f"images/test/cam_jpg.rf.3{HASH}.png").rename(root / "images/test/other.png")
    (root / f"labels/test/cam_jpg.rf.3{HASH}.txt").rename(root / "labels/test/other.txt")
    refuse_alike(open_dataset(root, needs=SPLITS), known)
    check = ["dataset", "check", str(root)]
    assert main_code(check) == 2
    assert main_code([*check, "--near-known"]) == 0
    assert main_code([*check, "--for", "window"]) == 0


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        (f"cam-1_jpg.rf.{HASH}.jpg", "cam-1"),
        ("a.b_png.rf.Ab3dEf9hIjKlMnOp.png", "a.b"),
        (f"POR-254001_JPG.rf.{HASH}.jpg", "POR-254001"),
        (f"IMG_3610_JPEG.rf.{HASH}.jpg", "IMG_3610"),
        (f"IMG_1_HEIC.rf.{HASH}.jpg", "IMG_1"),
        (f"a_heic.rf.{HASH}.jpg", "a"),
        (f"a_avif.rf.{HASH}.jpg", "a"),
        (f"a_jfif.rf.{HASH}.jpg", "a"),
        (f"a_tiff.rf.{HASH}.jpg", "a"),
        (f"a_txt.rf.{HASH}.jpg", None),
        ("cam-1.jpg", None),
        ("x_jpg.rf.jpg", None),
        ("notes.rf.0123456789.jpg", None),
    ],
)
def test_an_exporters_copy_is_known_by_its_name(name: str, origin: str | None) -> None:
    assert exported_from(Path("/somewhere") / name) == origin


def test_what_cannot_be_split_is_told_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    to = tmp_path / "a"
    whole = make(tmp_path / "whole")
    with pytest.raises(InputError, match="there is nothing to do") as refused:
        split_dataset(whole, to, SHARES)
    assert "--anew" in refused.value.remedy
    (root / "labels/train/train0.txt").write_text("7 1 1 1\n")
    with pytest.raises(DatasetInvalid, match="4 columns"):
        split_dataset(root, to, SHARES)
    for file in sorted((root / "images/train").iterdir()):
        shutil.copy(root / "images/train/train1.png", file) if file.name != "train1.png" else None
    (root / "labels/train/train0.txt").write_text(CLEAN)
    with pytest.raises(DatasetInvalid, match="too similar"):
        split_dataset(root, to, SHARES)
    to.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        split_dataset(whole, to, SHARES, anew=True)
    assert to.read_text() == "mine"
    assert not list(tmp_path.glob(".a.*"))


def test_what_fails_while_a_folder_is_filled_is_told_as_what_it_is(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    for cause, told in ((full, DiskFull), (ValueError("no"), ValueError), (OSError(), OSError)):
        with pytest.raises(told), fresh_folder(tmp_path / "a"):
            raise cause
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"b cannot be written"), fresh_folder(tmp_path / "file/b"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_an_image_named_in_no_encoding_is_told(root: Path, tmp_path: Path) -> None:
    image, label = root / "images/train/train0.png", root / "labels/train/train0.txt"
    for file in (image, label):
        file.rename(file.with_stem(os.fsdecode(b"\xff")))
    with pytest.raises(InputError, match=r"xff\.png cannot be written in a list"):
        split_dataset(root, tmp_path / "a", SHARES)


def test_groups_are_found_at_once_and_in_order(root: Path) -> None:
    samples = check_dataset(root).splits["train"]
    assert group_pictures(samples) == [[place] for place in range(20)]
    assert group_pictures([*samples, samples[0]])[0] == [0, 20]
    assert group_pictures([]) == []


def test_the_command_says_what_came_of_it(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> int:
        return main_code(["dataset", "split", *map(str, words)])

    assert run(root, tmp_path / "a", "--val", 0.1, "--test", 0.1, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["splits"]["val"] == {
        "images": 2, "usable": 2, "empty": 0, "boxes": {"person": 2, "helmet": 2},
    }  # fmt: skip
    assert run(root, tmp_path / "b") == 0
    assert "dataset check" in capsys.readouterr().err
    assert run(root, tmp_path / "c", "--val", 0.9) == 2
    assert not found(check_dataset(tmp_path / "a"), FaultCode.SPLIT_UNNAMED)
