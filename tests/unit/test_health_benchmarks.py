"""The simulated months and the spoiled windows of the benchmarks of health, on made-up windows."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import false_rollbacks, flow_overhead, frames, reaction, right_action
from benchmarks.false_rollbacks import Judged, detected, healthy
from benchmarks.windows import METRIC, Champion, Window, thinned
from guardianflow.health.figures import SampledFigures
from guardianflow.scenario import HealthPolicy, Light
from guardianflow.vision.data.dataset import load_image, open_dataset
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.camera import FaultKind, check_camera
from guardianflow.vision.metrics.detections import Detections, Seen
from guardianflow.vision.synthetic import draw_window

POLICY = HealthPolicy()
GOOD, BAD = POLICY.min_map50 + 0.2, POLICY.min_map50 - 0.2


def window(ours, theirs):
    """A window whose figures are beyond doubt."""
    figures = [
        SampledFigures({METRIC: value}, {METRIC: np.full(50, value)}) for value in (ours, theirs)
    ]
    return Window(POLICY.min_images, POLICY.min_objects, *figures)


def champion(by_day, at_night=None):
    windows = {Light.DAY: by_day, Light.NIGHT: at_night or by_day}
    return Champion(windows, dict.fromkeys(Light, 0.5))


def test_a_champion_that_fails_is_rolled_back_after_as_many_windows_as_the_policy_says():
    found = detected(champion([window(BAD, GOOD)]), POLICY, runs=20)
    assert found["rolled_back_within_a_week"] == 1
    assert found["windows_p50"] == found["windows_p95"] == POLICY.consecutive


def test_a_way_back_that_is_no_better_is_alarms_and_no_rollback():
    judged = Judged(champion([window(BAD, BAD)]), POLICY)
    assert judged.run(2, 50, seed=1) == ([None, None], [51 - POLICY.consecutive] * 2)
    assert judged.failing() == 1


def test_a_healthy_champion_stays_and_one_that_fails_at_night_does_not():
    well, ill = window(GOOD, GOOD), window(BAD, GOOD)
    found = healthy(champion([well]), POLICY, months=30)
    assert (found["false_rollbacks"], found["windows_that_fail"]) == (0, 0)
    assert found["percent_at_most"] == pytest.approx(9.986, abs=0.01)
    assert healthy(champion([well], [ill]), POLICY, months=5)["false_rollbacks"] == 5


def test_good_windows_between_break_the_row():
    mixed = [window(BAD, GOOD), *[window(GOOD, GOOD)] * 9]
    alone = POLICY.model_copy(update={"consecutive": 1})
    ended, _ = Judged(champion(mixed), alone).run(200, 50, seed=1)
    patient, _ = Judged(champion(mixed), POLICY).run(200, 50, seed=1)
    assert sum(end is not None for end in ended) > 150
    # One in a thousand windows ends a row of three.
    assert sum(end is not None for end in patient) < 30


def test_lost_objects_take_their_boxes_with_them():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    sample = Sample(None, boxes[:1], np.zeros(1, np.int64), (100, 100))
    seen = Seen([Detections(boxes, np.ones(2, np.float32), np.zeros(2, np.int64))], (0.4,))
    assert len(thinned(seen, [sample], 0.0, 1).detections[0].boxes) == 2
    assert thinned(seen, [sample], 1.0, 1).detections[0].boxes.tolist() == boxes[1:].tolist()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "window"
    draw_window(folder, ["person"], light=Light.DAY, images=6, seed=4, image_size=128)
    return folder


def looked_at(window):
    samples = open_dataset(window).samples("test")
    return samples, [load_image(sample.image) for sample in samples]


@pytest.mark.parametrize("what", right_action.CAMERAS)
def test_every_spoiled_camera_is_one_that_the_limits_know(drawn, tmp_path, what):
    _, pictures = looked_at(right_action.CAMERAS[what](drawn, tmp_path / "spoiled"))
    kinds = {fault.kind for fault in check_camera(pictures).faults}
    assert kinds == {FaultKind(what.rpartition(" ")[0])}


@pytest.mark.parametrize("change", [frames.recoloured, frames.turned, frames.farther])
def test_a_changed_scene_is_no_fault_and_its_boxes_go_with_it(drawn, tmp_path, change):
    before, _ = looked_at(drawn)
    after, pictures = looked_at(frames.changed(drawn, tmp_path / "changed", change))
    assert check_camera(pictures).faults == ()
    sides = [
        np.concatenate([s.boxes[:, 2:] - s.boxes[:, :2] for s in one]) for one in (before, after)
    ]
    shrunk = 2 if change is frames.farther else 1
    np.testing.assert_allclose(sides[1] * shrunk, sides[0], atol=0.01)


def test_a_turned_picture_holds_at_the_turned_box_what_it_held_before():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[2:6, 4:12] = 255
    box = np.array([[0, 8 / 40, 4 / 40, 8 / 40, 4 / 40]])
    after, moved = frames.turned(Image.fromarray(picture), box)
    x, y, width, height = (moved[0, 1:] * 40).tolist()
    inside = np.asarray(after)[round(y - height / 2) : round(y + height / 2)]
    assert inside[:, round(x - width / 2) : round(x + width / 2)].min() == 255


def test_the_rows_say_what_was_counted():
    counted = right_action.tally(iter([("dark", "camera alarm"), ("dark", "rolled back")]), {"x"})
    assert (counted["cases"], counted["right"]) == (2, 0)
    content = {"limit": 0.4, "groups": {"camera": {**counted, "right": 1}}}
    assert right_action.rows(content)[0][2].startswith("50 % of 2 (")
    one = healthy(champion([window(GOOD, GOOD)]), POLICY, months=3)
    late = detected(champion([window(GOOD, GOOD)]), POLICY, runs=3)
    told = false_rollbacks.rows(
        {
            "window": {"frames": 16, "every_minutes": 10},
            "healthy": {"0.10": [one]},
            "faults": {"0.1": {"default_limit": late, "own_limit": late}},
        }
    )
    assert told[0][2].startswith("0.00 % (at most 99.86 %) of 3 months")
    assert told[1][2] == "0 % within a week"


def test_what_flows_add_is_told_as_a_share_of_ten_minutes():
    found = flow_overhead.compared([10.0, 12.0, 11.0], [16.0, 18.0, 17.0])
    assert found["more_s"] == {"mean": 6.0, "low": 6.0, "high": 6.0}
    assert flow_overhead.rows(found)[0][2].startswith("1.0 % (1.0–1.0): 6.0 s, 11.0 s without")


def test_the_time_from_the_first_bad_frame_is_told_in_windows():
    one = {"p50_ms": 4000.0, "p95_ms": 6000.0, "n": 5, "p50_s_of_steps": {"it acts": 1.0}}
    content = {"windows_in_a_row": 3, **dict.fromkeys(("event", "in_process", "answer"), one)}
    assert len(reaction.rows(content)) == 3
    told = reaction.rows({**content, "window": one})[-1][2]
    assert told.startswith("3 to 4 windows, as long as the site makes them, and then p95 6.0 s")
