import pytest

from guardianflow.health import Verdict, assess
from guardianflow.scenario import HealthSettings
from tests.unit.test_gate import figures

SETTINGS = HealthSettings(min_map50=0.3, min_images=16, min_objects=30)


@pytest.mark.parametrize(
    ("map50", "images", "objects", "expected"),
    [
        (0.31, 16, 30, Verdict.HEALTHY),
        (0.30, 16, 30, Verdict.HEALTHY),
        (0.29, 16, 30, Verdict.FAILING),
        (0.00, 15, 300, Verdict.INCONCLUSIVE),  # too few frames to blame anybody
        (0.00, 160, 29, Verdict.INCONCLUSIVE),
    ],
)
def test_a_window_fails_only_with_enough_evidence(map50, images, objects, expected):
    evaluation = figures(map50).model_copy(update={"images": images, "objects": objects})
    verdict, reason = assess(evaluation, SETTINGS)
    assert verdict is expected
    assert str(images) in reason
