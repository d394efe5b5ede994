"""What is kept of what was tried: real NNCF on a detector of two layers that needs no training."""

import json
from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op
from PIL import Image

from guardianflow.errors import CalibrationUnfit, QuantizationUnfit
from guardianflow.lifecycle.quantization import variants
from guardianflow.lifecycle.quantization.calibration import choose, refuse_unlike
from guardianflow.scenario import QuantizationSettings
from guardianflow.vision.data.dataset import Dataset
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.compression import Preset
from guardianflow.vision.ir.serving import IrDetector

SIDE, CELL = 64, 8
CELLS = SIDE // CELL


@pytest.fixture(scope="module")
def lamps(tmp_path_factory):
    """A detector of white cells: the mean of each cell, and how far it is above grey."""
    square = op.parameter([1, SIDE, SIDE, 3], np.uint8)
    pixels = op.convert(op.transpose(square, np.array([0, 3, 1, 2])), "f32")
    pixels = op.multiply(pixels, np.float32(1 / 255))
    mean = np.full((4, 3, CELL, CELL), 1 / (3 * CELL * CELL), np.float32)
    layer = op.relu(convolved(pixels, mean, CELL))
    layer = convolved(layer, np.full((1, 4, 1, 1), 2.5, np.float32), 1)
    scores = op.sigmoid(op.subtract(layer, np.float32(8)))
    y, x = np.divmod(np.arange(CELLS * CELLS), CELLS)
    corner = np.stack([x, y], 1) * CELL
    boxes = np.concatenate([corner, corner + CELL], 1).astype(np.float32)[None]
    flat = op.transpose(
        op.reshape(scores, np.array([1, 1, -1]), special_zero=False), np.array([0, 2, 1])
    )
    cells = op.add(op.constant(boxes), op.multiply(flat, np.float32(0)))
    model = ov.Model([cells.output(0), flat.output(0)], [square], "lamps")
    ir.describe(model, classes=["lamp"], precision="fp32")
    return ir.save(model, tmp_path_factory.mktemp("lamps"))


def convolved(node, weights, stride):
    return op.convolution(node, op.constant(weights), [stride] * 2, [0, 0], [0, 0], [1, 1])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two lamps in each image, and greys of every shade that are none."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def sample(index):
        shades = random.integers(10, 200, CELLS * CELLS)
        lit = random.choice(CELLS * CELLS, 2, replace=False)
        shades[lit] = 240
        pixels = shades.reshape(CELLS, CELLS).repeat(CELL, 0).repeat(CELL, 1).astype(np.uint8)
        Image.fromarray(pixels).convert("RGB").save(folder / f"{index}.png")
        corner = np.stack([lit % CELLS, lit // CELLS], 1) * CELL
        boxes = np.concatenate([corner, corner + CELL], 1).astype(np.float32)
        return Sample(folder / f"{index}.png", boxes, np.zeros(2, np.int64), (SIDE, SIDE))

    samples = [sample(index) for index in range(24)]
    splits = {"train": samples[:8], "val": samples[8:16], "test": samples[16:]}
    return Dataset(folder, ("lamp",), {key: tuple(value) for key, value in splits.items()}, "")


def make(lamps, dataset, folder, **settings):
    chosen = QuantizationSettings(calibration_images=8, **settings)
    return variants.make_int8(chosen, lamps, dataset, folder, lambda *_: None)


def darken(monkeypatch):
    """Ranges are set by dark images although the check is on: it compares them with themselves."""

    def dark(*args, **kwargs):
        chosen = choose(*args, **kwargs)
        return replace(chosen, squares=tuple(square // 8 for square in chosen.squares))

    monkeypatch.setattr(variants, "choose", dark)
    monkeypatch.setattr(variants, "refuse_unlike", lambda ours, _: refuse_unlike(ours, ours))


def test_good_ranges_cost_nothing_and_nothing_is_controlled(lamps, dataset, tmp_path):
    folder, making = make(lamps, dataset, tmp_path)
    assert [trial.preset for trial in making.trials] == list(Preset)
    assert not any(trial.controlled for trial in making.trials)
    assert making.kept.map50_95 == pytest.approx(1.0, abs=0.02)
    assert making.kept.agreement == 1.0
    assert IrDetector(folder).weights_precision == "int8"


def test_one_preset_is_made_where_one_is_asked_for(lamps, dataset, tmp_path):
    _, making = make(lamps, dataset, tmp_path, preset="performance")
    assert [trial.preset for trial in making.trials] == ["performance"]


def test_accuracy_control_is_the_last_resort_and_measured_on_other_images(
    lamps, dataset, tmp_path, monkeypatch
):
    darken(monkeypatch)
    folder, making = make(lamps, dataset, tmp_path, max_drop=0.05)
    assert [trial.controlled for trial in making.trials] == [False, False, True]
    assert min(trial.drop for trial in making.trials[:2]) > 0.2
    assert making.kept == making.trials[2]
    assert making.kept.images == 4
    assert making.kept.drop <= 0.05
    assert folder.name == "controlled"
    assert json.loads(making.model_dump_json())["kept"]["controlled"]


def test_a_preset_that_was_asked_for_is_left_as_it_is(lamps, dataset, tmp_path, monkeypatch):
    darken(monkeypatch)
    monkeypatch.setattr(variants, "_MIN_AGREEMENT", 0.0)
    _, making = make(lamps, dataset, tmp_path, preset="mixed", max_drop=0.05)
    assert not making.kept.controlled
    assert making.kept.drop > 0.2


def test_what_answers_unlike_its_source_is_refused_with_the_figures(
    lamps, dataset, tmp_path, monkeypatch
):
    darken(monkeypatch)
    with pytest.raises(QuantizationUnfit, match=r"went from 1\.000 to 0\.000") as refused:
        make(lamps, dataset, tmp_path, preset="mixed")
    assert refused.value.data["agreement"] < 0.1
    assert refused.value.data["images"] == 8
    assert "fp16" in refused.value.remedy


def test_dark_ranges_are_refused_before_anything_is_made(lamps, dataset, tmp_path, monkeypatch):
    darken(monkeypatch)
    monkeypatch.setattr(variants, "refuse_unlike", refuse_unlike)
    with pytest.raises(CalibrationUnfit, match="input range"):
        make(lamps, dataset, tmp_path)
    assert not list(tmp_path.iterdir())


def attempt(name, map50_95, p50_ms):
    trial = variants.Trial(
        preset=name, controlled=False, images=8, map50_95=map50_95, drop=0, p50_ms=p50_ms
    )
    return variants._Attempt(None, trial)


@pytest.mark.parametrize(
    ("mixed", "performance", "kept"),
    [
        ((0.500, 4.0), (0.503, 4.0), "performance"),  # better
        ((0.503, 4.0), (0.500, 2.0), "mixed"),  # faster, but worse by more than chance
        ((0.501, 4.0), (0.500, 3.5), "performance"),  # as good, and faster
        ((0.501, 4.0), (0.500, 3.95), "mixed"),  # as good, and hardly faster
    ],
)
def test_the_better_is_kept_and_of_equals_the_faster(mixed, performance, kept):
    tried = [attempt("mixed", *mixed), attempt("performance", *performance)]
    assert variants._better(tried).trial.preset == kept
