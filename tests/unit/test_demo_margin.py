"""What is written about the margin of the demo's story."""

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
