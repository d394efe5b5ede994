import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardianflow.errors import DatasetInvalid, ScenarioInvalid
from guardianflow.scenario import FolderData, ScenarioSpec, SyntheticData
from guardianflow.vision.data.dataset import (
    Dataset,
    load_image,
    open_dataset,
    open_window,
    prepare_dataset,
)
from guardianflow.vision.data.yaml_file import SPLITS

ROW = "0 0.5 0.5 0.25 0.5\n"


def write_image(path: Path, shade: int, size: tuple[int, int] = (40, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    ramp = np.linspace(shade, 255, width * height * 3).reshape(height, width, 3)
    Image.fromarray(ramp.astype(np.uint8)).save(path)


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A good data set: two images to learn from, one to choose, one to measure."""
    folder = tmp_path / "data"
    for number, place in enumerate(("train/a", "train/b", "val/c", "test/d")):
        write_image(folder / "images" / f"{place}.png", 10 * number)
        label = folder / "labels" / f"{place}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(ROW + "1 0.2 0.2 0.1 0.1\n")
    (folder / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\ntest: images/test\n"
        "nc: 2\nnames: [person, helmet]\n"
    )
    return folder


def edit(root: Path, old: str, new: str) -> None:
    file = root / "data.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def refusal(root: Path, classes: list[str] | None = None) -> DatasetInvalid:
    with pytest.raises(DatasetInvalid) as caught:
        open_dataset(root, classes)
    assert caught.value.remedy
    return caught.value


def test_boxes_come_in_pixels_with_size_and_classes(root: Path) -> None:
    dataset = open_dataset(root, ["person", "helmet"])
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
    }
    sample = dataset.splits["test"][0]
    assert sample.size == (40, 20)
    assert sample.classes.tolist() == [0, 1]
    assert sample.boxes.dtype == np.float32
    assert np.allclose(sample.boxes, [[15, 5, 25, 15], [6, 3, 10, 5]])


def test_names_as_a_mapping_are_the_same_data_set(root: Path) -> None:
    before = open_dataset(root).fingerprint
    edit(root, "names: [person, helmet]", "names:\n  0: person\n  1: helmet")
    assert open_dataset(root).fingerprint == before


def test_fingerprint_follows_content_not_place_or_file_names(root: Path) -> None:
    first = open_dataset(root)
    moved = root.rename(root.parent / "elsewhere")
    (moved / "images/train/a.png").rename(moved / "images/train/z.png")
    (moved / "labels/train/a.txt").rename(moved / "labels/train/z.txt")
    again = open_dataset(moved)
    assert again.fingerprint == first.fingerprint
    (moved / "labels/train/z.txt").write_text(ROW)
    changed = open_dataset(moved)
    assert changed.fingerprint != first.fingerprint
    assert changed.split_fingerprint("test") == first.split_fingerprint("test")
    assert changed.split_fingerprint("train") != first.split_fingerprint("train")


def test_an_empty_label_file_is_a_true_negative(root: Path) -> None:
    (root / "labels/train/a.txt").write_bytes(b"")
    sample = open_dataset(root).splits["train"][0]
    assert sample.boxes.shape == (0, 4)
    assert sample.classes.shape == (0,)


def test_labels_may_lie_beside_the_images(root: Path) -> None:
    before = open_dataset(root).fingerprint
    for label in (root / "labels").rglob("*.txt"):
        shutil.move(label, root / "images" / label.relative_to(root / "labels"))
    assert open_dataset(root).fingerprint == before


def test_a_split_may_name_the_folder_above_images_and_labels(tmp_path: Path) -> None:
    # The data set's own place contains "images": only the part below the root counts.
    root = tmp_path / "images" / "set"
    write_image(root / "train/images/a.png", 1)
    (root / "train/labels").mkdir()
    (root / "train/labels/a.txt").write_text(ROW)
    (root / "data.yaml").write_text("train: train\nnames: [person]\n")
    assert len(open_dataset(root).splits["train"]) == 1


def test_the_exporters_dot_dot_path_is_read_and_said(root: Path) -> None:
    edit(root, "train: images/train", "train: ../images/train")
    dataset = open_dataset(root)
    assert len(dataset.splits["train"]) == 2
    assert any("../images/train" in note for note in dataset.warnings)


def test_repeated_rows_count_once_and_are_said(root: Path) -> None:
    (root / "labels/train/a.txt").write_text(ROW * 3)
    dataset = open_dataset(root)
    assert len(dataset.splits["train"][0].boxes) == 1
    assert "train: 2 label rows are repeated and count once" in dataset.warnings


def test_a_class_without_a_box_and_a_stray_file_are_warnings(root: Path) -> None:
    (root / "images/train/image").write_bytes(b"\n")
    for name in "ab":
        (root / f"labels/train/{name}.txt").write_text(ROW)
    notes = "\n".join(open_dataset(root).warnings)
    assert "train: class 'helmet' has no box" in notes
    assert "1 files are not images" in notes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "class id 2, but data.yaml names 2 classes"),
        ("-1 0.5 0.5 0.1 0.1", "class id -1"),
        ("person 0.5 0.5 0.1 0.1", "'person' is not a whole number"),
        ("0 0.5 0.5 -0.1 0.1", "no area"),
        ("0 nan 0.5 0.1 0.1", "not finite"),
        ("0 0.5 0.5 inf 0.1", "not finite"),
        ("0 0.95 0.5 0.2 0.1", "is partly outside"),
        ("0 120 80 40 60", "is partly outside"),
        ("0 0,5 0,5 0,1 0,1", "could not convert"),
        ("0 0.5 0.5 0.1", "4 columns, not 5"),
        ("0 0.5 0.5 0.1 0.1 0.93", "6 columns, not 5"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_value(root: Path, row: str, message: str) -> None:
    (root / "labels/val/c.txt").write_text(f"{ROW}\n{row}\n")
    error = refusal(root)
    assert error.message.startswith(f"{root / 'labels/val/c.txt'}:3: ")
    assert message in error.message
    assert error.data["line"] == 3
    assert error.data["file"] == str(root / "labels/val/c.txt")


def test_the_remedy_knows_scores_pixels_and_corners(root: Path) -> None:
    label = root / "labels/val/c.txt"
    for row, hint in (
        ("0 0.5 0.5 0.1 0.1 0.93", "confidence"),
        ("0 120 80 40 60", "pixels"),
        ("0 0.6 0.6 0.9 0.9", "corners"),
    ):
        label.write_text(row)
        assert hint in refusal(root).remedy


def test_a_box_that_rounding_pushed_over_the_edge_is_cut(root: Path) -> None:
    (root / "labels/val/c.txt").write_text("0 0.500001 0.5 1.0 1.0\n")
    assert open_dataset(root).splits["val"][0].boxes[0] == pytest.approx((0, 0, 40, 20), abs=1e-3)


def test_the_first_problem_is_told_with_the_count_of_the_others(root: Path) -> None:
    (root / "labels/train/a.txt").write_text("9 0.5 0.5 0.1 0.1\n8 0.5 0.5 0.1 0.1\n")
    (root / "labels/val/c.txt").unlink()
    error = refusal(root)
    assert "a.txt:1: class id 9" in error.message
    assert "2 more problems" in error.message
    assert error.data["count"] == 3
    assert isinstance(error.data["problems"], list)
    assert len(error.data["problems"]) == 3


def cut_in_half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def make_lfs_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def make_deep(path: Path) -> None:
    Image.fromarray(np.full((20, 40), 40_000, np.uint16)).save(path)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut_in_half, "cannot be decoded"),
        (make_lfs_pointer, "Git LFS pointer"),
        (make_deep, "more than 8 bits"),
        (lambda path: path.write_bytes(b""), "cannot be decoded"),
        (lambda path: path.write_text("<html>404</html>"), "cannot be decoded"),
    ],
)
def test_an_unusable_image_is_refused(
    root: Path, harm: Callable[[Path], None], message: str
) -> None:
    image = root / "images/test/d.png"
    harm(image)
    assert f"{image}: " in (error := refusal(root)).message
    assert message in error.message
    with pytest.raises(DatasetInvalid, match=message):
        load_image(image)


def test_a_truncated_jpeg_is_never_half_grey(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    write_image(path, 3, (200, 200))
    assert load_image(path).shape == (200, 200, 3)
    cut_in_half(path)
    with pytest.raises(DatasetInvalid, match="truncated"):
        load_image(path)


def test_an_image_is_turned_as_its_exif_tag_says(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    assert load_image(path).shape == (40, 20, 3)


def test_image_without_label_and_label_without_image_are_refused(root: Path) -> None:
    (root / "labels/val/c.txt").rename(root / "labels/val/x.txt")
    error = refusal(root)
    problems = " ".join(str(problem) for problem in error.data["problems"])  # type: ignore[attr-defined]
    assert "x.txt: has no image" in problems
    assert f"c.png: has no label file {root / 'labels/val/c.txt'}" in problems
    assert "create an empty file" in problems


def test_two_images_that_share_one_label_file_are_refused(root: Path) -> None:
    write_image(root / "images/train/a.bmp", 99)
    assert "shares its label file" in refusal(root).message


def test_the_same_image_in_two_splits_is_refused(root: Path) -> None:
    shutil.copy(root / "images/train/a.png", root / "images/test/d.png")
    (root / "labels/test/d.txt").write_text("")
    assert "d.png: this image of test is also in train" in refusal(root).message


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("nc: 2", "nc: 3", 5, "nc is 3, but names has 2"),
        ("[person, helmet]", "[person, person]", 6, "'person' is named twice"),
        ("[person, helmet]", "{0: person, 2: helmet}", 6, "0 to 1 in order"),
        ("[person, helmet]", "person helmet", 6, "names is 'person helmet'"),
        ("[person, helmet]", "[person, no]", 6, "False is not text"),
        ("[person, helmet]", "[]", 6, "missing or empty"),
        ("[person, helmet]", "[person, helmet", 7, "not YAML"),
        ("path: .", "path: D:\\data\\ppe", 1, "does not exist on this machine"),
        ("images/train", "D:/data/train/", 2, "is not a folder on this machine"),
        ("images/train", "/Users/someone/a b/train", 2, "is not a folder on this machine"),
        ("images/val", "images/train", 3, "val and train are the same folder"),
    ],
)
def test_a_bad_description_is_named_with_its_line(
    root: Path, old: str, new: str, line: int, message: str
) -> None:
    edit(root, old, new)
    error = refusal(root)
    assert error.message.startswith(f"{root / 'data.yaml'}:{line}: ")
    assert message in error.message


def test_a_folder_without_data_yaml_or_without_images_is_refused(
    root: Path, tmp_path: Path
) -> None:
    assert "nothing: does not exist on this machine" in refusal(tmp_path / "nothing").message
    (tmp_path / "void").mkdir()
    assert "has no data.yaml and no images" in refusal(tmp_path / "void").message
    shutil.rmtree(root / "images/val")
    (root / "images/val").mkdir()
    assert "val has no image" in refusal(root).message


def test_a_class_that_the_data_do_not_have_is_named(root: Path) -> None:
    error = refusal(root, ["person", "vest"])
    assert "it has no class 'vest', which the scenario wants as 'vest'" in error.message
    assert "['person', 'helmet']" in error.message
    assert "rename it in data.yaml" in error.remedy
    assert "dataset: {classes: {vest: NAME}}" in error.remedy


def rows(dataset: Dataset, split: str = "train") -> list[list[str]]:
    return [[dataset.classes[n] for n in sample.classes] for sample in dataset.splits[split]]


def test_the_scenario_orders_the_classes_and_its_data_may_spell_them_otherwise(root: Path) -> None:
    plain = open_dataset(root, ["person", "helmet"])
    assert plain.fingerprint == open_dataset(root).fingerprint
    edit(root, "[person, helmet]", "[Person, HELMET]")
    assert open_dataset(root, ["person", "helmet"]).fingerprint == plain.fingerprint
    turned = open_dataset(root, ["helmet", "person"])
    assert (turned.classes, rows(turned)) == (("helmet", "person"), rows(plain))
    assert turned.fingerprint != plain.fingerprint
    # Again from what was kept of the first look.
    assert rows(open_dataset(root, ["helmet", "person"])) == rows(plain)


def test_a_scenario_may_want_some_of_the_classes_by_words_of_its_own(root: Path) -> None:
    edit(root, "[person, helmet]", "[Person, 'Hard-hat 9']")
    dataset = open_dataset(root, ["안전모"], mapping={"안전모": "hard hat_9"})
    assert dataset.classes == ("안전모",)
    assert {name for names in rows(dataset) for name in names} == {"안전모"}
    whole = open_dataset(root)
    assert sum(len(s.boxes) for s in dataset.splits["train"]) == sum(
        int((s.classes == 1).sum()) for s in whole.splits["train"]
    )
    settings = FolderData(kind="folder", path=str(root), classes={"안전모": "Hard-hat 9"})
    assert prepare_dataset(settings, ["안전모"]).fingerprint == dataset.fingerprint


def test_what_the_check_takes_with_a_root_can_be_trained(root: Path, tmp_path: Path) -> None:
    edit(root, "path: .", "path: D:\\data")
    shutil.copy(root / "data.yaml", tmp_path / "DATA.YAML")
    (root / "data.yaml").rename(tmp_path / "ppe.yaml")
    for name in ("ppe.yaml", "DATA.YAML"):
        settings = FolderData(kind="folder", path=str(tmp_path / name), root=str(root))
        assert len(prepare_dataset(settings, ["person"], SPLITS).samples("train")) == 2


def test_two_spellings_of_one_class_are_no_choice(root: Path) -> None:
    edit(root, "[person, helmet]", "[No-Helmet, no_helmet]")
    assert "'NO HELMET' more than once" in refusal(root, ["NO HELMET"]).message
    # One that is spelled so is meant.
    assert open_dataset(root, ["no_helmet"]).classes == ("no_helmet",)


def test_a_window_may_have_the_names_of_the_scenario_or_of_its_data(root: Path) -> None:
    spec = {
        "customer": "a", "region": "b", "plant": "c", "zone": "d", "task": "e",
        "classes": ["helmet", "person"],
        "dataset": {"kind": "folder", "path": "x", "classes": {"helmet": "Hardhat"}},
        "versions": {"v1": {}},
    }  # fmt: skip
    scenario = ScenarioSpec.from_mapping("s", spec).version("v1")
    own = open_window(root, scenario)
    edit(root, "[person, helmet]", "[Person, hardhat]")
    assert open_window(root, scenario).fingerprint == own.fingerprint
    edit(root, "hardhat", "hat")
    with pytest.raises(DatasetInvalid, match="no class 'Hardhat'") as refused:
        open_window(root, scenario)
    # The scenario was trained: what is said can be done in the window alone, and helps.
    assert "rename it to 'Hardhat' in data.yaml" in refused.value.remedy
    assert "dataset:" not in refused.value.remedy
    edit(root, "hat", "Hardhat")
    assert open_window(root, scenario).fingerprint == own.fingerprint


def test_a_window_of_a_scenario_that_draws_its_data_is_renamed_in_the_window(root: Path) -> None:
    spec = {
        "customer": "a", "region": "b", "plant": "c", "zone": "d", "task": "e",
        "classes": ["person", "hard_hat"],
        "dataset": {"kind": "synthetic"},
        "versions": {"v1": {}},
    }  # fmt: skip
    scenario = ScenarioSpec.from_mapping("s", spec).version("v1")
    with pytest.raises(DatasetInvalid, match="no class 'hard_hat'") as refused:
        open_window(root, scenario)
    assert "rename it to 'hard_hat'" in refused.value.remedy
    assert "dataset:" not in refused.value.remedy


def test_a_missing_split_is_named(root: Path) -> None:
    edit(root, "test: images/test\n", "")
    dataset = open_dataset(root)
    with pytest.raises(DatasetInvalid, match="no split 'test'"):
        dataset.split_fingerprint("test")


def test_prepare_draws_once_and_opens_folders(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    settings = SyntheticData(
        kind="synthetic", image_size=64, train_images=4, val_images=2, test_images=2
    )
    first = prepare_dataset(settings, ["person", "vest"])
    stamp = (first.root / "data.yaml").stat().st_mtime_ns
    again = prepare_dataset(settings, ["person", "vest"])
    assert (again.root / "data.yaml").stat().st_mtime_ns == stamp
    assert again.fingerprint == first.fingerprint
    assert list((tmp_path / "home/datasets").iterdir()) == [first.root]
    folder = prepare_dataset(FolderData(kind="folder", path=str(root)), ["person", "helmet"])
    assert folder.fingerprint == open_dataset(root).fingerprint
    with pytest.raises(ScenarioInvalid, match="does not exist"):
        prepare_dataset(FolderData(kind="folder", path=str(root / "no")), ["person"])


def test_two_processes_that_draw_at_once_agree(tmp_path: Path) -> None:
    code = (
        "from guardianflow.vision.data.dataset import prepare_dataset\n"
        "from guardianflow.scenario import SyntheticData\n"
        "settings = SyntheticData(kind='synthetic', image_size=64)\n"
        "print(prepare_dataset(settings, ['person']).fingerprint)\n"
    )
    environment = {**os.environ, "GUARDIANFLOW_HOME": str(tmp_path)}
    racers = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    answers = [racer.communicate(timeout=120)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert answers[0] == answers[1]
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def real_data(name: str) -> Path:
    given = os.environ.get("GUARDIANFLOW_REAL_DATA")
    if not given:
        pytest.skip("GUARDIANFLOW_REAL_DATA is not set: no real photographs on this machine")
    return Path(given) / name


@pytest.mark.real_data
def test_real_photographs_open_with_few_words() -> None:
    dataset = open_dataset(real_data("ppe-real-small"), ["person", "helmet", "no_helmet"])
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {
        "train": 336,
        "val": 72,
        "test": 72,
    }
    # What was looked at and is true: a contradiction, a full frame, grey photographs.
    assert [warning.partition(": ")[2] for warning in dataset.warnings] == [
        "the same box has classes 2 and 0",
        f"1 boxes are as large as the image, e.g. {dataset.root}/labels/test/esp_9f3cf0f99a.txt",
        "3 of 336 images of train have no colour; this is the first",
        "1 of 72 images of val have no colour; this is the first",
        "2 of 72 images of test have no colour; this is the first",
    ]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("y01-windows-absolute-paths", r"data.yaml:1: train 'D:/.*not a folder on this machine"),
        (
            "y03-nc-smaller-than-labels",
            r"data.yaml:\d: train '/Users.*not a folder on this machine",
        ),
        ("y05-path-of-another-machine", r"data.yaml:1: path 'D:.*does not exist on this machine"),
        ("y07-synonym-class-and-no-test", r"data.yaml:1: train 'PPE/train/images'"),
    ],
)
def test_descriptions_found_in_public_data_sets_are_refused(case: str, message: str) -> None:
    with pytest.raises(DatasetInvalid, match=message):
        open_dataset(real_data("bad-inputs") / case)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("y03-nc-smaller-than-labels", r"\.txt:\d+: class id \d, but data.yaml names 3 classes"),
        ("l01-zero-size-box", None),
        ("l03-box-and-polygon-mixed", None),
        ("l05-empty-label-true-negative", None),
        ("l07-duplicate-rows", None),
        ("l09-label-without-image", "has no image"),
        ("i04-one-byte-file-without-extension", None),
        ("i09-grey-noise-512", None),
        ("i10-truncated-jpeg", "cannot be decoded: image file is truncated"),
        ("i12-lfs-pointer", "Git LFS pointer"),
    ],
)
def test_files_found_in_public_data_sets_are_judged(
    root: Path, case: str, message: str | None
) -> None:
    """Each file of the case joins a good data set, with an image or a label where it has none."""
    classes = 3 if case.startswith("y03") else 11
    # The cases have an "a" of their own.
    (root / "images/train/a.png").unlink()
    (root / "labels/train/a.txt").unlink()
    edit(root, "nc: 2\nnames: [person, helmet]", f"names: {[f'c{i}' for i in range(classes)]}")
    for file in sorted(path for path in real_data("bad-inputs").joinpath(case).rglob("*")):
        if file.suffix == ".txt":
            shutil.copyfile(file, root / "labels/train" / file.name)
            if not case.startswith(("l09", "l03", "y03", "l05")):
                write_image(root / "images/train" / f"{file.stem}.png", 77)
        elif file.is_file() and file.suffix != ".yaml":
            shutil.copyfile(file, root / "images/train" / file.name)
            if file.suffix:
                (root / "labels/train" / f"{file.stem}.txt").touch()
    if message is None:
        assert open_dataset(root).splits["train"]
    else:
        with pytest.raises(DatasetInvalid, match=message):
            open_dataset(root)
