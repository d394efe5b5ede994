import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from guardianflow.scenario import Light
from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.metrics.camera import (
    FaultKind,
    are_grey,
    check_camera,
    faults_in_words,
)
from guardianflow.vision.synthetic import draw_window


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


def find_faults(frames):
    return check_camera(frames).faults


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


def clocked(frame, second, corner=0.0):
    """The frame with a clock, whose place is a fraction of the height."""
    picture = Image.fromarray(frame)
    place = (4, 3 + int(corner * picture.height))
    font = ImageFont.load_default(max(11, picture.width // 20))
    ImageDraw.Draw(picture).text(place, f"08:00:{second:02d}", fill="white", font=font)
    return np.asarray(picture)


def recompressed(frame, quality=80):
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def noisy(frame, random, noise=1.0):
    return np.clip(frame + random.normal(0, noise, frame.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("corner", [0.0, 0.85])
def test_a_picture_that_stands_still_under_a_running_clock_is_frozen(scenes, corner):
    for scene in scenes[:3]:
        still = [clocked(scene, second, corner) for second in range(12)]
        assert kinds(still) == [FaultKind.FROZEN]
        assert kinds([recompressed(frame) for frame in still]) == [FaultKind.FROZEN]


def test_a_still_scene_that_a_camera_goes_on_taking_is_not_frozen(scenes):
    random = np.random.default_rng(1)
    for scene in scenes[:3]:
        live = [clocked(noisy(scene, random), second) for second in range(12)]
        assert find_faults(live) == ()
        assert find_faults(recompressed(frame) for frame in live) == ()


@pytest.mark.parametrize(
    "qualities", [[75, 80, 85, 90] * 3, [90, 76, 83, 88, 79, 90, 85, 81, 76, 92, 87, 79]]
)
def test_a_picture_whose_quality_goes_up_and_down_is_frozen_all_the_same(scenes, qualities):
    random = np.random.default_rng(1)
    for scene in scenes[:3]:
        still = [clocked(scene, second) for second in range(12)]
        live = [clocked(noisy(scene, random, 0.5), second) for second in range(12)]
        for frames, expected in ((still, [FaultKind.FROZEN]), (live, [])):
            coded = [recompressed(f, q) for f, q in zip(frames, qualities, strict=True)]
            assert kinds(coded) == expected


def test_an_empty_hall_that_is_there_again_is_live_where_somebody_was_in_it(scenes):
    frames = [scenes[0].copy() for _ in range(12)]
    for second in (3, 4, 8, 9):
        # So large that not half of the picture stays as it was.
        frames[second][:, 20:160] = scenes[second][:, 20:160]
    assert find_faults(recompressed(clocked(f, n)) for n, f in enumerate(frames)) == ()


def test_photographs_under_a_clock_are_frozen_only_where_one_repeats(photographs):
    assert find_faults(clocked(f, n) for n, f in enumerate(photographs[:12])) == ()
    for photograph in photographs[:3]:
        still = [recompressed(clocked(photograph, second)) for second in range(12)]
        assert kinds(still) == [FaultKind.FROZEN]


def test_who_walks_through_a_picture_without_noise_is_no_clock(scenes):
    # A codec that takes all noise away leaves the background to the pixel.
    walk = []
    for step in range(12):
        frame = scenes[0].copy()
        frame[60:150, 14 * step : 14 * step + 24] = scenes[1][60:150, 80:104]
        walk.append(frame)
    assert find_faults(walk) == ()


@pytest.mark.parametrize("times", [2, 3])
def test_a_recording_faster_than_its_camera_is_not_frozen(scenes, times):
    recording = [frame for frame in scenes for _ in range(times)]
    check = check_camera(recording)
    assert check.faults == ()
    assert check.repeats == tuple(n for n in range(len(recording)) if n % times)
    again = check_camera([recompressed(frame) for frame in recording])
    assert again == check


def test_a_camera_that_stops_within_a_window_is_frozen(scenes):
    check = check_camera([*scenes[:6], *[scenes[6]] * 7])
    assert [(fault.kind, fault.frames, fault.of) for fault in check.faults] == [
        (FaultKind.FROZEN, 6, 13)
    ]
    assert check.repeats == ()


def test_a_window_of_two_frames_that_are_one_is_frozen(scenes):
    assert kinds([scenes[0]] * 2) == [FaultKind.FROZEN]


def test_few_bad_frames_are_no_fault(scenes):
    assert find_faults([*spoiled(scenes[:5], blurred), *scenes[5:]]) == ()


def test_no_frames_are_a_silent_camera():
    faults = find_faults([])
    assert [fault.kind for fault in faults] == [FaultKind.SILENT]
    assert faults_in_words(faults) == "the camera is silent: 0 frames"


def test_frames_of_any_shape_are_looked_at():
    for shape in ((1, 1, 3), (1, 900, 3), (2000, 2, 3)):
        assert isinstance(find_faults([np.full(shape, 90, np.uint8)]), tuple)


def test_frames_without_colour_are_known_and_are_no_fault(scenes):
    grey = spoiled(scenes, lambda picture: picture.convert("L").convert("RGB"))
    assert are_grey(grey)
    assert not find_faults(grey)
    assert not are_grey(scenes)
    assert not are_grey([*scenes, *grey[:-1]])
    assert not are_grey([])


def test_a_frame_of_another_shape_between_two_that_are_one_is_looked_at():
    random = np.random.default_rng(0)
    shapes = ((180, 320), (240, 320), (320, 240), (48, 48), (7, 300), (90, 160))
    pictures = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    pictures += [np.zeros((*shape, 3), np.uint8) for shape in shapes]
    assert find_faults([pictures[0], pictures[1], pictures[0]]) == ()
    assert FaultKind.FROZEN not in kinds([pictures[6], pictures[7], pictures[6]])
    for _ in range(40):
        chosen = random.integers(0, len(pictures), random.integers(2, 14))
        assert isinstance(find_faults([pictures[number] for number in chosen]), tuple)
