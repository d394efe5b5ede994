from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from guardianflow.mlflow_store.links import picture_links
from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.curves import training_curves
from guardianflow.vision.metrics.detections import Detections
from guardianflow.vision.metrics.pictures import (
    comparison_sheet,
    contact_sheet,
    draw_detections,
)
from guardianflow.vision.network.history import EpochFigures

CLASSES = ("person", "helmet")


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "frame.png"
    Image.new("RGB", (160, 80)).save(path)
    boxes = np.array([[20, 10, 60, 70]], np.float32)
    return Sample(path, boxes, np.array([0]), (160, 80))


def found(score):
    boxes = np.array([[80, 10, 120, 70]], np.float32)
    return Detections(boxes, np.array([score], np.float32), np.array([1]))


def test_boxes_are_drawn_where_they_are(sample):
    frame = np.zeros((80, 160, 3), np.uint8)
    picture = np.asarray(draw_detections(frame, found(0.9), CLASSES, sample))
    assert picture.shape == (160, 320, 3)
    # the label: white, at x 40 in the doubled picture; the detection: coloured, at x 160
    assert picture[100, 40].tolist() == [255, 255, 255]
    assert picture[100, 160].any()
    assert picture[100, 160].tolist() != [255, 255, 255]
    assert not picture[100, 20].any()


def test_what_is_not_shown_to_an_operator_is_not_drawn(sample):
    frame = np.zeros((80, 160, 3), np.uint8)
    empty = replace(sample, boxes=sample.boxes[:0], classes=sample.classes[:0])
    assert not np.asarray(draw_detections(frame, found(0.1).above(0.4), CLASSES, empty)).any()
    assert np.asarray(draw_detections(frame, found(0.1).above((0.4, 0.1)), CLASSES, empty)).any()


def test_sheets_of_any_length_are_written(sample, tmp_path):
    for count in (0, 1, 5):
        path = contact_sheet([sample] * count, [found(0.9)] * count, CLASSES, tmp_path / "s.png")
        assert Image.open(path).size[0] > 0
    columns = {"v1": [found(0.9)] * 2, "v2": [found(0.2)] * 2}
    path = comparison_sheet([sample] * 2, columns, CLASSES, tmp_path / "new" / "c.png")
    one = contact_sheet([sample], columns["v1"][:1], CLASSES, tmp_path / "o.png")
    assert Image.open(path).size[0] > Image.open(one).size[0] * 1.8


def test_curves_are_drawn_also_where_the_val_split_was_not_looked_at(tmp_path: Path):
    history = [EpochFigures(epoch, 2.0, 1.0, 1.0, 0.01, None) for epoch in (1, 2)]
    assert Image.open(training_curves(history, tmp_path / "curves.png")).format == "PNG"


def test_curves_and_sheets_of_crops_are_both_linked():
    def files(_, folder=None):
        names = {None: ["pictures", "best.pt"], "pictures": ["curves.png", "missed.jpg"]}[folder]
        paths = [f"{folder}/{name}" if folder else name for name in names]
        return [SimpleNamespace(path=path, is_dir=path == "pictures") for path in paths]

    client = SimpleNamespace(list_artifacts=files, tracking_uri="http://mlflow")
    assert picture_links(client, "0" * 32).keys() == {"curves.png", "missed.jpg"}
