import hashlib
from pathlib import Path

import numpy as np
import pytest

from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario import Light, SyntheticData
from guardianflow.vision.data.dataset import Dataset, load_image, open_dataset
from guardianflow.vision.synthetic import draw_dataset, draw_window
from guardianflow.vision.synthetic.canvas import Canvas
from guardianflow.vision.synthetic.scene import DRAWABLE, draw_scene


def settings(**changes: object) -> SyntheticData:
    small = {"kind": "synthetic", "train_images": 6, "val_images": 2, "test_images": 4}
    return SyntheticData.model_validate({**small, **changes})


def content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("window")
    draw_window(folder, DRAWABLE, light=Light.DAY, images=40, seed=3, image_size=256)
    return open_dataset(folder, DRAWABLE)


def test_same_settings_draw_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw_dataset(tmp_path / name, settings(), DRAWABLE)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_seed_draws_other_scenes(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "a", settings(), DRAWABLE)
    draw_dataset(tmp_path / "b", settings(seed=8), DRAWABLE)
    first, second = open_dataset(tmp_path / "a"), open_dataset(tmp_path / "b")
    assert first.fingerprint != second.fingerprint


def test_the_evaluation_set_stays_when_the_train_split_changes(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "v1", settings(), DRAWABLE)
    day_only = settings(train_light=["day"], train_images=9)
    draw_dataset(tmp_path / "v2", day_only, DRAWABLE)
    first, second = open_dataset(tmp_path / "v1"), open_dataset(tmp_path / "v2")
    assert first.split_fingerprint("test") == second.split_fingerprint("test")
    assert first.split_fingerprint("train") != second.split_fingerprint("train")


@pytest.mark.parametrize("classes", [("person", "helmet", "vest"), ("gloves",), DRAWABLE[::-1]])
def test_any_subset_of_the_classes_can_be_drawn(tmp_path: Path, classes: tuple[str, ...]) -> None:
    draw_dataset(tmp_path, settings(train_images=12), classes)
    dataset = open_dataset(tmp_path, classes)
    found = {int(i) for samples in dataset.splits.values() for s in samples for i in s.classes}
    assert found == set(range(len(classes)))


def test_an_unknown_class_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(ScenarioInvalid, match=r"'forklift'.*person, helmet, mask, vest, gloves"):
        draw_dataset(tmp_path / "x", settings(), ["person", "forklift"])
    assert not (tmp_path / "x").exists()


def test_every_object_is_large_enough_to_be_learned(window: Dataset) -> None:
    sides: dict[str, list[float]] = {name: [] for name in DRAWABLE}
    for sample in window.splits["test"]:
        extents = (sample.boxes[:, 2:] - sample.boxes[:, :2]).min(axis=1)
        for index, side in zip(sample.classes, extents, strict=True):
            sides[DRAWABLE[int(index)]].append(float(side))
    for name, values in sides.items():
        assert len(values) >= 20, f"{name} is too rare"
        assert np.quantile(values, 0.1) >= 8, f"{name} is too small"


def test_there_are_scenes_without_anybody_and_people_without_protection(window: Dataset) -> None:
    counts = [np.bincount(s.classes, minlength=5) for s in window.splits["test"]]
    assert any(count.sum() == 0 for count in counts)
    assert any(count[0] > count[1] for count in counts)


def test_no_two_scenes_and_no_window_share_a_picture(tmp_path: Path, window: Dataset) -> None:
    draw_dataset(tmp_path, settings(seed=3), DRAWABLE)
    dataset = open_dataset(tmp_path)
    pictures = [s.digest for samples in dataset.splits.values() for s in samples]
    pictures += [s.digest for s in window.splits["test"]]
    assert len(set(pictures)) == len(pictures)


def test_night_differs_from_day_in_the_light_alone() -> None:
    for index in range(12):
        day, night = (
            draw_scene(np.random.default_rng(index), np.random.default_rng(99), light, 256)
            for light in (Light.DAY, Light.NIGHT)
        )
        assert day.objects == night.objects
        assert night.picture.mean() < 0.55 * day.picture.mean()


def test_night_is_dark_but_not_black(tmp_path: Path) -> None:
    draw_window(tmp_path, DRAWABLE, light=Light.NIGHT, images=12, seed=1, image_size=256)
    samples = open_dataset(tmp_path).splits["test"]
    brightness = [float(load_image(sample.image).mean()) for sample in samples]
    assert 15 < np.median(brightness) < 60


@pytest.mark.parametrize("size", [64, 90, 320])
def test_boxes_lie_inside_scenes_of_any_size(tmp_path: Path, size: int) -> None:
    draw_window(tmp_path, DRAWABLE, light=Light.DAY, images=3, seed=2, image_size=size)
    for sample in open_dataset(tmp_path).splits["test"]:
        assert sample.size == (size, size)
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= size).all()


def test_a_box_follows_what_is_visible() -> None:
    canvas = Canvas(100)
    canvas.polygon([(0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6)], (200, 0, 0), owner=5)
    full, box = canvas.owned(range(5, 6))
    assert box == pytest.approx((0.2, 0.2, 0.6, 0.6), abs=0.006)
    canvas.box((0.4, 0.0, 1.0, 1.0), (0, 0, 0))
    left, box = canvas.owned(range(5, 6))
    assert box == pytest.approx((0.2, 0.2, 0.4, 0.6), abs=0.006)
    assert left == pytest.approx(full / 2, rel=0.05)
    canvas.box((0.0, 0.0, 1.0, 1.0), (0, 0, 0))
    assert canvas.owned(range(5, 6)) == (0, None)
