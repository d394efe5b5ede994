"""What a trainer of another project gets: copies of train and val, as the check saw them."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from guardianflow.errors import DatasetInvalid
from guardianflow.vision.data.dataset import load_image, open_dataset
from guardianflow.vision.data.foreign_sets import read_foreign
from guardianflow.vision.data.handover import HANDED, write_coco, write_yolo
from guardianflow.vision.data.kinds import recognise
from tests.unit.yolo_sets import draw, make


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    root = make(tmp_path / "photos", images=3)
    turned = Image.Exif()
    turned[0x0112] = 6
    draw(root / "images/val/turned.jpg", 77, exif=turned)
    (root / "labels/val/turned.txt").write_text("1 0.3 0.25 0.2 0.1\n")
    draw(root / "images/train/grey.png", 78)
    Image.open(root / "images/train/grey.png").convert("L").save(root / "images/train/grey.png")
    (root / "labels/train/grey.txt").write_text("")
    # The classes of the scenario are fewer, in another order.
    return open_dataset(root, ["helmet", "person"])


def same_objects(one, other):
    assert one.classes.tolist() == other.classes.tolist()
    assert np.allclose(one.boxes, other.boxes, atol=1e-3)


def test_as_yolo_it_says_what_the_data_set_says(dataset, tmp_path):
    folder = tmp_path / "data"
    write_yolo(dataset, folder)
    again = open_dataset(folder)
    assert again.classes == ("helmet", "person")
    assert tuple(again.splits) == HANDED
    for split in HANDED:
        for one, other in zip(dataset.samples(split), again.samples(split), strict=True):
            same_objects(one, other)
            # Also where the file is rotated by its tag, or grey.
            assert np.array_equal(load_image(one.image), load_image(other.image))
            assert Image.open(other.image).mode == "RGB"
            assert 0x0112 not in Image.open(other.image).getexif()


def test_as_coco_it_says_what_the_data_set_says(dataset, tmp_path):
    folder = tmp_path / "data"
    write_coco(dataset, folder)
    for split in HANDED:
        found = recognise(folder / "annotations" / f"instances_{split}.json")
        assert found
        foreign = read_foreign(found)
        assert foreign.classes == ["helmet", "person"]
        samples = dataset.samples(split)
        for sample, picture in zip(samples, foreign.pictures, strict=True):
            with Image.open(folder / "images" / split / picture.name) as image:
                assert image.size == sample.size == picture.size
            wanted = [dataset.classes[row] for row in sample.classes]
            assert [name for name, _ in picture.boxes] == wanted
            corners = [box for _, box in picture.boxes]
            assert np.allclose(np.reshape(corners, (-1, 4)), sample.boxes, atol=0.02)
    content = json.loads((folder / "annotations" / "instances_train.json").read_text())
    assert [one["id"] for one in content["categories"]] == [1, 2]
    assert len({one["id"] for one in content["annotations"]}) == len(content["annotations"])


@pytest.mark.parametrize("write", [write_yolo, write_coco])
def test_nothing_of_the_test_split_is_handed_over(dataset, tmp_path, write):
    folder = tmp_path / "data"
    write(dataset, folder)
    pictures = {load_image(sample.image).tobytes() for sample in dataset.samples("test")}
    files = [path for path in folder.rglob("*") if path.is_file()]
    images = [path for path in files if path.suffix in (".png", ".jpg")]
    assert len(images) == sum(len(dataset.samples(split)) for split in HANDED)
    assert not pictures & {load_image(image).tobytes() for image in images}
    assert not [path for path in files if "test" in str(path.relative_to(folder))]


def test_it_is_a_copy_that_may_be_written_over(dataset, tmp_path):
    folder = tmp_path / "data"
    write_yolo(dataset, folder)
    before = {sample.image: sample.image.read_bytes() for sample in dataset.samples("train")}
    for image in (folder / "images" / "train").iterdir():
        image.write_bytes(b"")
    assert {path: path.read_bytes() for path in before} == before


def test_data_yaml_names_its_own_folder(dataset, tmp_path):
    write_yolo(dataset, tmp_path / "data")
    content = yaml.safe_load((tmp_path / "data" / "data.yaml").read_text())
    assert content == {
        "path": str(tmp_path / "data"),
        "train": "images/train",
        "val": "images/val",
        "names": {0: "helmet", 1: "person"},
    }


def test_an_image_that_is_gone_is_told(dataset, tmp_path):
    dataset.samples("train")[0].image.unlink()
    with pytest.raises(DatasetInvalid, match="cannot be read"):
        write_yolo(dataset, tmp_path / "data")
