"""What is written about the margin of the demo's story."""

import json
import sys

from benchmarks import demo_margin


def one(model, verdict, value, low, high):
    return {"model": model, "verdict": verdict, "value": value, "low": low, "high": high}


def test_the_version_nearest_to_the_other_verdict_is_told():
    results = [
        one("v1-0", "HEALTHY", 0.8, 0.75, 0.85),
        one("v1-1", "HEALTHY", 0.7, 0.62, 0.78),
        one("v2-0", "FAILING", 0.3, 0.2, 0.4),
        one("v2-1", "INCONCLUSIVE", 0.5, 0.4, 0.61),
    ]
    healthy, failing = demo_margin.rows({"seeds": 2, "limit": 0.6, "results": results})
    assert healthy[2] == "2 of 2; the nearest has mAP50 0.700 (0.620–0.780)"
    assert failing[2] == "1 of 2; the nearest has mAP50 0.500 (0.400–0.610)"


def test_each_result_says_with_how_many_threads_its_training_was_made(tmp_path, monkeypatch):
    made, said = {}, {"value": 0.3, "low": 0.2, "high": 0.4, "verdict": "FAILING"}
    monkeypatch.setattr(
        demo_margin, "make", lambda scenario, folder: made.update({folder.name: scenario.training})
    )
    monkeypatch.setattr(
        demo_margin, "looked_at", lambda _, models, __: [{"model": one, **said} for one in models]
    )
    words = ["--seeds", "0", "3", "--threads", "1", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["demo_margin", *words])
    demo_margin.main()
    found = json.loads((tmp_path / f"{demo_margin.NAME}.json").read_text())
    # A training with other threads is another one: each has a folder of its own.
    assert len(made) == 2 * 2 * 2
    assert len(found["results"]) == 2 * len(made)
    assert {one["threads"] for one in found["results"]} == {1, 2}
    for one in found["results"]:
        assert one["threads"] == made[one["model"]].threads
    assert "2 seeds, trained with 1 and 2 threads, FP32" in demo_margin.rows(found)[0][0]
