"""The set for relabelling: opens as any data set, holds labels and predictions apart."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from guardianflow.errors import InputError
from guardianflow.vision.data.dataset import Sample, open_dataset
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.relabelling import export_errors
from tests.unit.scenes import LEFT, RIGHT, found

CLASSES = ("person", "helmet")


@pytest.fixture
def looked(tmp_path):
    """Three images, two of one name: a miss, a false alarm, and one without a mistake."""
    samples = []
    for index, place in enumerate(("a/x.png", "b/x.png", "b/y.png")):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((80, 100, 3), 40 * index + 40, np.uint8)).save(path)
        boxes = np.array([LEFT], np.float32)
        samples.append(Sample(path, boxes, np.array([0]), (100, 80)))
    right, also = (LEFT, 0, 0.9), (RIGHT, 1, 0.75)
    detections = [found(), found(right, also), found(right, (RIGHT, 1, 0.2))]
    return Seen(detections, (0.4, 0.4)), samples


def test_it_opens_as_a_data_set_with_the_labels_that_were_given(looked, tmp_path):
    seen, samples = looked
    made = export_errors(seen, samples, CLASSES, tmp_path / "out", title="a title: with a colon")
    assert (made.images, made.of_images, made.missed, made.false) == (2, 3, 1, 1)
    dataset = open_dataset(tmp_path / "out", CLASSES)
    assert list(dataset.splits) == ["test"]
    for sample, original in zip(reversed(dataset.samples("test")), samples, strict=False):
        assert sample.image.read_bytes() == original.image.read_bytes()
        assert np.allclose(sample.boxes, original.boxes, atol=1e-3)
        assert sample.classes.tolist() == [0]


def test_predictions_and_reasons_say_what_the_detector_did(looked, tmp_path):
    seen, samples = looked
    export_errors(seen, samples, CLASSES, tmp_path / "out", title="t")
    rows = {file.name: file.read_text() for file in (tmp_path / "out" / "predictions").iterdir()}
    first, second = sorted(rows)
    assert (first, second) == ("x-2.txt", "x.txt")
    first, second = second, first
    assert rows[first] == ""
    assert rows[second].splitlines()[1] == "1 0.725000 0.437500 0.350000 0.625000 0.7500"
    with (tmp_path / "out" / "reasons.csv").open(newline="") as stream:
        reasons = list(csv.DictReader(stream))
    assert [(r["outcome"], r["class"], r["score"]) for r in reasons] == [
        ("false", "helmet", "0.7500"),
        ("missed", "person", ""),
    ]
    for reason in reasons:
        assert (tmp_path / "out" / "images" / reason["image"]).is_file()
        assert reason["why"]
    assert reasons[0]["source"] == str(samples[1].image)


def test_a_folder_with_something_in_it_is_left_alone(looked, tmp_path):
    seen, samples = looked
    (tmp_path / "out").mkdir()
    export_errors(seen, samples, CLASSES, tmp_path / "out", title="into an empty one")
    label = next((tmp_path / "out" / "labels").iterdir())
    label.write_text("corrected")
    with pytest.raises(InputError, match="not empty"):
        export_errors(seen, samples, CLASSES, tmp_path / "out", title="again")
    assert label.read_text() == "corrected"
    with pytest.raises(InputError, match="is not a folder"):
        export_errors(seen, samples, CLASSES, label, title="a file")


def test_what_fails_half_way_leaves_nothing(looked, tmp_path):
    seen, samples = looked
    samples[1].image.unlink()
    with pytest.raises(InputError, match="cannot be written"):
        export_errors(seen, samples, CLASSES, tmp_path / "deep" / "out", title="t")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_detector_without_mistakes_leaves_an_empty_list(looked, tmp_path):
    _, samples = looked
    perfect = Seen([found((LEFT, 0, 0.9))] * 3, (0.4, 0.4))
    made = export_errors(perfect, samples, CLASSES, tmp_path / "out", title="t")
    assert (made.images, made.missed, made.false) == (0, 0, 0)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
