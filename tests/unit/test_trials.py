"""What a file leaves open is found out on labelled images: planted squares, read in a child."""

from dataclasses import replace

import pytest
from PIL import Image

from guardianflow.errors import ModelInvalid
from guardianflow.lifecycle.importing.options import ImportOptions
from guardianflow.lifecycle.importing.trials import Trials, _readings, pixel_flags, with_pixels
from guardianflow.vision.data.dataset import open_dataset
from guardianflow.vision.ir.confined import ReadingRequest
from guardianflow.vision.ir.confinement import read_confined
from guardianflow.vision.ir.families import BYTES_BGR, IMAGENET_RGB, UNIT_BGR, UNIT_RGB
from guardianflow.vision.ir.reading import (
    Background,
    ChannelOrder,
    LayoutName,
    OpenQuestion,
    Placement,
    ScoreForm,
)
from guardianflow.vision.ir.serving import InputGeometry
from tests.planted import CLASSES, Planted, plant, save_planted

SQUARE = InputGeometry(128, 128)


@pytest.fixture
def make(tmp_path):
    """Plants a detector and labelled frames for it; returns its trials and a first reading."""

    def make(planted, *, height=96, width=160):
        data = write_dataset(tmp_path / "data", planted.geometry, height, width)
        path = save_planted(planted, tmp_path / "planted")

        def read(folder, options):
            said = options.model_dump(
                exclude={"max_memory_gib", "max_minutes", "source", "classes"}
            )
            limits = {"memory_bytes": 2**33, "seconds": 120}
            names = {"wanted": CLASSES, "classes": CLASSES}
            return read_confined(path, folder, ReadingRequest(size=128, **said, **names, **limits))

        trials = Trials(path, read, data, lambda *_: None)
        return trials, read(tmp_path / "first", ImportOptions())

    return make


def write_dataset(folder, geometry, height, width):
    for split in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(4):
            seed = 10 * ("train", "val", "test").index(split) + index
            frame, boxes, classes = plant(geometry, height, width, seed)
            Image.fromarray(frame).save(folder / "images" / split / f"{index}.png")
            rows = [
                f"{label} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
                f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
                for (x1, y1, x2, y2), label in zip(boxes, classes, strict=True)
            ]
            (folder / "labels" / split / f"{index}.txt").write_text("".join(rows))
    splits = "".join(f"{split}: images/{split}\n" for split in ("train", "val", "test"))
    (folder / "data.yaml").write_text(f"{splits}names: {list(CLASSES)}\n")
    return open_dataset(folder, CLASSES)


@pytest.mark.parametrize("pixels", [UNIT_RGB, BYTES_BGR, IMAGENET_RGB, UNIT_BGR], ids=pixel_flags)
def test_pixels_that_nothing_says_are_those_that_see(pixels, make):
    trials, read = make(Planted(geometry=SQUARE, pixels=pixels))
    assert read.questions == (OpenQuestion.PIXELS, OpenQuestion.PLACEMENT)
    options = trials.answer(ImportOptions(), read)
    found = (options.input_range, options.channel_order, options.mean, options.std)
    assert found == (pixels.input_range, pixels.channel_order, pixels.mean, pixels.std)
    assert trials.notes[0].startswith(f"pixels: {pixels.describe()}, because mAP50-95 is ")


@pytest.mark.parametrize("placement", list(Placement))
def test_frames_are_placed_where_the_detector_sees(placement, make):
    trials, read = make(Planted(geometry=InputGeometry(128, 128, placement)))
    said = ImportOptions(channel_order=ChannelOrder.RGB)
    options = trials.answer(said, replace_questions(read, OpenQuestion.PLACEMENT))
    assert options == said.model_copy(update={"placement": placement})
    assert placement in trials.notes[0]


def test_a_class_for_no_object_is_found_with_the_form_of_scores(make):
    planted = Planted(
        LayoutName.HEADS,
        geometry=SQUARE,
        pixels=BYTES_BGR,
        logits=True,
        fractions=True,
        background=Background.FIRST,
        outputs=("pred_logits", "pred_boxes"),
    )
    trials, read = make(planted)
    assert set(read.questions) == set(OpenQuestion)
    # With open pixels there are six times as many candidates.
    open_ones = replace_questions(read, OpenQuestion.SCORES, OpenQuestion.BACKGROUND)
    options = trials.answer(with_pixels(ImportOptions(), BYTES_BGR), open_ones)
    assert (options.scores, options.background) == (ScoreForm.SOFTMAX, Background.FIRST)


def test_what_sees_nothing_however_it_is_read_stays_as_usual(make):
    blind = Planted(geometry=SQUARE, pixels=replace_mean(UNIT_RGB, (0.9, 0.9, 0.9)))
    trials, read = make(blind)
    options = trials.answer(ImportOptions(), replace_questions(read, OpenQuestion.PIXELS))
    assert options.channel_order is ChannelOrder.RGB
    assert trials.notes == []


def test_two_readings_that_see_as_much_are_asked_for_unless_one_is_usual(make, monkeypatch):
    trials, read = make(Planted(geometry=SQUARE))

    def settle(candidates, scores):
        """As if they reached these figures, each with boxes in another place."""
        frame = candidates[0].found[0]
        tried = [
            replace(
                one,
                map50=score,
                map50_95=score,
                found=[replace(frame, boxes=frame.boxes + 5 * index)],
            )
            for index, (one, score) in enumerate(zip(candidates, scores, strict=True))
        ]
        monkeypatch.setattr(trials, "_try", lambda *_: iter(tried))
        return trials.answer(ImportOptions(), replace_questions(read, OpenQuestion.PIXELS))

    tried = list(trials._try("pixels", _readings(ImportOptions(), [OpenQuestion.PIXELS], read)))
    assert len(tried) == 6
    taken = settle(tried, [0.800, 0.805, 0.1, 0.1, 0.1, 0.1])
    assert taken == tried[0].way.options
    with pytest.raises(ModelInvalid, match=r"sees as much in more than one way") as asked:
        settle(tried, [0.1, 0.800, 0.805, 0.1, 0.1, 0.1])
    assert asked.value.remedy.endswith(f"{tried[1].way.flags} or {tried[2].way.flags}")


def test_another_reading_is_named_where_the_said_one_is_nearly_blind(make):
    trials, read = make(Planted(geometry=SQUARE, pixels=BYTES_BGR))
    better = trials.better(ImportOptions(), read, 0.0)
    assert better is not None
    assert better.way.flags == "--input-range 0..255 --channels bgr"


def replace_questions(read, *questions):
    return read.model_copy(update={"questions": questions})


def replace_mean(pixels, mean):
    return pixels.model_copy(update={"mean": mean})


def test_what_passes_a_limit_is_not_tried_in_other_ways(make, monkeypatch):
    trials, read = make(Planted(geometry=SQUARE))
    tried = []

    def too_slow(_folder, options):
        tried.append(options)
        raise ModelInvalid("It takes too long.", remedy="Choose another one.", minutes=10)

    monkeypatch.setattr(trials, "_read", too_slow)
    with pytest.raises(ModelInvalid, match="too long"):
        trials.answer(ImportOptions(), read)
    assert len(tried) == 1
