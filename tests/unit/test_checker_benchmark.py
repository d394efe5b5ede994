from pathlib import Path

import pytest

from benchmarks.checker import figures, prepare, rows, timed
from guardianflow.vision.data.checker import check_dataset


def test_the_three_steps_run_on_files_without_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    prepare(tmp_path / "scenes", images=14, distinct=10)
    splits = check_dataset(tmp_path / "scenes").splits
    assert sum(len(samples) for samples in splits.values()) == 14
    assert splits["train"][0].size[0] == 640
    for what in ("bare", "first", "second"):
        assert timed(tmp_path / "scenes", what, 2) > 0


def test_a_row_says_how_many_times_as_fast(tmp_path: Path) -> None:
    seconds = {"bare": [10.0, 20.0], "first": [12.5, 25.0], "second": [0.5, 1.0]}
    first, second = rows(figures(seconds, 1000, 2))
    assert first[1:3] == ("≥ 0.7×", "0.80× (0.80–0.80), 60 images/s against 75")
    assert second[2].startswith("20.00× (20.00–20.00)")
