import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from guardianflow.scenario import SyntheticData
from guardianflow.vision.data import contamination
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.contamination import (
    MAX_DISTANCE,
    Likeness,
    find_duplicates,
    find_leaks,
    leak_findings,
    report_contamination,
)
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.pictures import pairs_sheet
from guardianflow.vision.synthetic import draw_dataset
from tests.unit.yolo_sets import CLEAN, draw, found, make


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn scenes of one hall and one camera: they look alike, and none is there twice."""
    folder = tmp_path_factory.mktemp("scenes")
    settings = SyntheticData(
        kind="synthetic", image_size=160, train_images=24, val_images=8, test_images=8
    )
    draw_dataset(folder, settings, ["person"])
    return folder


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


@pytest.fixture
def root(scenes: Path, tmp_path: Path) -> Path:
    shutil.copytree(scenes, tmp_path / "data")
    return tmp_path / "data"


def first(root: Path, split: str) -> Path:
    return sorted((root / "images" / split).iterdir())[0]


def plant(root: Path, split: str, name: str, picture: Image.Image, **options: object) -> Path:
    path = root / f"images/{split}/{name}"
    picture.save(path, **options)
    (root / f"labels/{split}/{path.stem}.txt").write_text("")
    return path


def test_scenes_of_one_camera_are_not_taken_for_the_same(root: Path) -> None:
    splits = check_dataset(root).splits
    assert find_duplicates(splits) == ()
    report = report_contamination((), splits)
    assert (report.exact, report.near) == ({}, {})


def as_jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=35)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "alter",
    [
        as_jpeg,
        lambda picture: picture.resize((80, 80)),
        lambda picture: picture.resize((220, 160)),
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
        lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
        lambda picture: picture.convert("L").convert("RGB"),
    ],
)
def test_an_altered_copy_is_found(root: Path, alter: Callable[[Image.Image], Image.Image]) -> None:
    original = first(root, "train")
    copy = plant(root, "test", "copy.png", alter(Image.open(original).convert("RGB")))
    checked = check_dataset(root)
    (pair,) = find_duplicates(checked.splits)
    assert (pair.first, pair.second) == (str(original), str(copy))
    assert (pair.first_group, pair.second_group) == ("train", "test")
    assert pair.likeness is Likeness.NEAR
    assert 0 <= pair.distance <= MAX_DISTANCE
    (finding,) = found(checked, FaultCode.IMAGE_NEARLY_TWICE)
    assert (finding.image, finding.split) == (str(copy), "test")


def test_the_same_bytes_are_an_exact_pair_and_told_once(root: Path) -> None:
    shutil.copy(first(root, "train"), copy := root / "images/val/copy.png")
    (root / "labels/val/copy.txt").write_text("")
    checked = check_dataset(root)
    (pair,) = find_duplicates(checked.splits)
    assert (pair.likeness, pair.distance, pair.second) == (Likeness.EXACT, 0, str(copy))
    assert len(found(checked, FaultCode.IMAGE_IN_TWO_SPLITS)) == 1
    assert not found(checked, FaultCode.IMAGE_NEARLY_TWICE)
    report = report_contamination([pair], checked.splits)
    assert (report.exact, report.near) == ({"train/val": 1}, {})
    assert report.images == {"train": 24, "val": 9, "test": 8}
    assert type(report).model_validate_json(report.model_dump_json()) == report


def test_each_image_is_listed_with_the_one_it_is_most_like(root: Path) -> None:
    picture = Image.open(first(root, "train")).convert("RGB")
    plant(root, "train", "darker.png", ImageEnhance.Brightness(picture).enhance(0.6))
    plant(root, "test", "copy.jpg", picture, quality=90)
    (pair,) = find_duplicates(check_dataset(root).splits)
    assert pair.first == str(first(root, "train"))


def test_pictures_without_contrast_are_compared_by_content_alone(tmp_path: Path) -> None:
    root = make(tmp_path / "flat")
    for split, shade in (("train", 90), ("test", 91)):
        plant(root, split, "flat.png", Image.new("RGB", (80, 60), (shade, shade, 200)))
    assert find_duplicates(check_dataset(root).splits) == ()


def test_a_new_data_set_is_compared_with_a_frozen_evaluation_set(root: Path, scenes: Path) -> None:
    frozen = check_dataset(scenes).splits["test"]
    # Its own test split is the frozen one, which is as it should be.
    splits = check_dataset(root).splits
    assert find_leaks(splits, "evaluation set", frozen) == ()
    shutil.copy(first(scenes, "test"), exact := root / "images/train/leak.png")
    (root / "labels/train/leak.txt").write_text("")
    near = plant(root, "val", "near.jpg", Image.open(frozen[1].image).convert("RGB"), quality=60)
    leaks = find_leaks(check_dataset(root).splits, "evaluation set", frozen)
    findings = list(leak_findings(leaks))
    assert [(f.code, f.image) for f in findings] == [
        (FaultCode.EVALUATION_IMAGE, str(exact)),
        (FaultCode.EVALUATION_NEARLY, str(near)),
    ]


def test_samples_that_no_checker_read_are_looked_at(tmp_path: Path) -> None:
    def sample(path: Path) -> Sample:
        return Sample(path, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (80, 60))

    one, other = draw(tmp_path / "a.png", 1), draw(tmp_path / "b.png", 2)
    Image.open(one).save(copy := tmp_path / "c.jpg", quality=95)
    groups = {"train": [sample(one), sample(other)], "test": [sample(copy)]}
    assert [pair.first for pair in find_duplicates(groups)] == [str(one)]
    assert find_duplicates({"train": [], "test": [sample(copy)]}) == ()


def test_a_comparison_in_parts_is_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, path in enumerate(sorted((root / "images/train").iterdir())[:5]):
        plant(root, "val", f"copy{index}.jpg", Image.open(path).convert("RGB"), quality=70)
    splits = check_dataset(root).splits
    whole = find_duplicates(splits)
    monkeypatch.setattr(contamination, "_CHUNK_BYTES", 1)
    assert find_duplicates(splits) == whole
    assert len(whole) == 5


def test_labels_do_not_hide_a_twin(tmp_path: Path) -> None:
    root = make(tmp_path / "data")
    shutil.copy(root / "images/train/train3.png", root / "images/test/test0.png")
    (root / "labels/test/test0.txt").write_text(CLEAN.splitlines()[0])
    (pair,) = find_duplicates(check_dataset(root).splits)
    assert pair.likeness is Likeness.EXACT


def test_pairs_are_shown_side_by_side(root: Path, tmp_path: Path) -> None:
    copy = plant(root, "test", "copy.jpg", Image.open(first(root, "train")).convert("RGB"))
    pairs = find_duplicates(check_dataset(root).splits)
    sheet = np.asarray(Image.open(pairs_sheet(pairs, tmp_path / "sheet.png")))
    width = sheet.shape[1]
    left, right = sheet[30:, : width // 2], sheet[30:, width // 2 :]
    assert left[40:140, 20:140].std() > 10
    assert np.abs(left[40:140, 20:140].astype(int) - right[40:140, 17:137]).mean() < 25
    copy.unlink()
    assert pairs_sheet(pairs, tmp_path / "lost.png").is_file()
