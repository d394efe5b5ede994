import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from guardianflow.data.dataset import load_image
from guardianflow.measuring.camera import FaultKind, find_faults, in_words
from guardianflow.scenario import Light
from guardianflow.synthetic import draw_window


@pytest.fixture(scope="module", params=list(Light))
def scenes(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    draw_window(folder, ["person"], light=request.param, images=12, seed=3, image_size=192)
    return [load_image(path) for path in sorted((folder / "images" / "test").iterdir())]


@pytest.fixture(scope="module")
def photographs():
    folder = os.environ.get("GUARDIANFLOW_REAL_DATA")
    if not folder:
        pytest.skip("GUARDIANFLOW_REAL_DATA is not set: no real photographs on this machine")
    files = sorted((Path(folder) / "ppe-real-small" / "images" / "test").iterdir())
    return [load_image(path) for path in files]


def spoiled(frames, change):
    return [np.asarray(change(Image.fromarray(frame))) for frame in frames]


def blurred(picture):
    return picture.filter(ImageFilter.GaussianBlur(0.015 * max(picture.size)))


def darkened(picture):
    return ImageEnhance.Brightness(picture).enhance(0.05)


def hazed(picture):
    return Image.blend(picture, Image.new("RGB", picture.size, (180, 180, 180)), 0.85)


def kinds(frames):
    return [fault.kind for fault in find_faults(frames)]


def test_a_healthy_camera_is_not_blamed(scenes):
    assert find_faults(scenes) == ()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (blurred, FaultKind.BLURRED),
        (darkened, FaultKind.DARK),
        (hazed, FaultKind.WASHED_OUT),
    ],
)
def test_a_spoiled_lens_is_named(scenes, change, kind):
    assert kinds(spoiled(scenes, change)) == [kind]


def test_photographs_are_told_from_spoiled_ones(photographs):
    assert find_faults(photographs) == ()
    assert kinds(spoiled(photographs, blurred)) == [FaultKind.BLURRED]
    assert kinds(spoiled(photographs, darkened)) == [FaultKind.DARK]
    assert kinds(spoiled(photographs, hazed)) == [FaultKind.WASHED_OUT]


def test_a_stopped_picture_is_frozen_and_a_still_scene_is_not(scenes):
    random = np.random.default_rng(1)
    noise = random.normal(0, 1.0, (12, *scenes[0].shape))
    still = [np.clip(scenes[0] + one, 0, 255).astype(np.uint8) for one in noise]
    assert find_faults(still) == ()
    assert kinds([scenes[0]] * 12) == [FaultKind.FROZEN]


def test_few_bad_frames_are_no_fault(scenes):
    assert find_faults([*spoiled(scenes[:5], blurred), *scenes[5:]]) == ()


def test_no_frames_are_a_silent_camera():
    faults = find_faults([], least=1)
    assert [fault.kind for fault in faults] == [FaultKind.SILENT]
    assert in_words(faults) == "the camera is silent: 0 frames"


def test_frames_of_any_shape_are_looked_at():
    for shape in ((1, 1, 3), (1, 900, 3), (2000, 2, 3)):
        assert isinstance(find_faults([np.full(shape, 90, np.uint8)]), tuple)
