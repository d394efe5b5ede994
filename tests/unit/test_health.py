import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from pydantic import ValidationError

from guardianflow.errors import ArtifactMissing, StoredUnreadable, VersionNotReady
from guardianflow.health import box_reports, limits
from guardianflow.health.champion_since import ChampionSince
from guardianflow.health.incident import incident_page
from guardianflow.health.report import Fallback, HealthReport, number_in, stamp_of
from guardianflow.health.verdict import (
    Judgement,
    PastWindow,
    Verdict,
    WindowFigure,
    conclude,
    failing_in_a_row,
    judge_window,
    rules_of,
)
from guardianflow.mlflow_store.registered_models import RegisteredModelInfo
from guardianflow.registry.release_state import Attribution
from guardianflow.registry.rotation.outcome import Operation
from guardianflow.scenario import HealthPolicy, HealthRule
from guardianflow.stored import read_stored
from guardianflow.vision.metrics.camera import CameraFault, FaultKind

POLICY = HealthPolicy(min_map50=0.3, min_images=16, min_objects=30)


def judged(figure, *, images=32, objects=64, policy=POLICY, faults=()):
    figures = {"map50": figure}
    return judge_window(
        policy, rules_of(policy), figures, images=images, objects=objects, faults=faults
    )


@pytest.mark.parametrize(
    ("figure", "images", "objects", "expected"),
    [
        (WindowFigure(value=0.31), 16, 30, Verdict.HEALTHY),
        (WindowFigure(value=0.30), 16, 30, Verdict.HEALTHY),
        (WindowFigure(value=0.29), 16, 30, Verdict.FAILING),
        (
            WindowFigure(value=0.00),
            15,
            300,
            Verdict.INCONCLUSIVE,
        ),  # too few frames to blame anybody
        (WindowFigure(value=0.00), 160, 29, Verdict.INCONCLUSIVE),
        (WindowFigure(value=0.25, low=0.2, high=0.29), 32, 64, Verdict.FAILING),
        (WindowFigure(value=0.25, low=0.2, high=0.31), 32, 64, Verdict.INCONCLUSIVE),  # by chance
        (WindowFigure(value=0.31, low=0.2, high=0.4), 32, 64, Verdict.HEALTHY),
    ],
)
def test_a_window_fails_only_with_enough_evidence(figure, images, objects, expected):
    found = judged(figure, images=images, objects=objects)
    assert found.verdict is expected
    assert str(images) in found.reason


def test_a_ceiling_fails_from_above_and_the_worst_rule_speaks():
    ceiling = HealthRule(metric="false_alarms_per_image", at_most=0.5)
    policy = POLICY.model_copy(update={"rules": (ceiling,)})
    figures = {
        "map50": WindowFigure(value=0.9),
        "false_alarms_per_image": WindowFigure(value=0.8, low=0.6, high=1.0),
    }
    found = judge_window(policy, rules_of(policy), figures, images=32, objects=64)
    assert found.verdict is Verdict.FAILING
    assert found.metric == "false_alarms_per_image"
    assert "0.800 on 32 frames is above 0.500" in found.reason
    doubtful = figures | {"false_alarms_per_image": WindowFigure(value=0.8, low=0.4, high=1.0)}
    found = judge_window(policy, rules_of(policy), doubtful, images=32, objects=64)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "down to 0.400" in found.reason


def test_a_camera_is_blamed_before_a_model():
    fault = CameraFault(kind=FaultKind.DARK, frames=20, of=32)
    found = judged(WindowFigure(value=0.0), faults=[fault])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason == "camera: 20 of 32 frames are dark"


def test_what_was_not_reported_is_no_failure():
    assert judge_window(POLICY, rules_of(POLICY), {}, images=32, objects=64).verdict is (
        Verdict.INCONCLUSIVE
    )
    assert judge_window(POLICY, [], {}, images=32, objects=64).verdict is Verdict.INCONCLUSIVE


def test_a_rule_has_one_limit():
    with pytest.raises(ValidationError, match="either at_least or at_most"):
        HealthRule(metric="map50")
    with pytest.raises(ValidationError, match="either at_least or at_most"):
        HealthRule(metric="map50", at_least=0.1, at_most=0.2)


def windows(*said):
    verdicts = {"F": Verdict.FAILING, "H": Verdict.HEALTHY, "I": Verdict.INCONCLUSIVE}
    return [PastWindow(word[1:] or str(i), verdicts[word[0]]) for i, word in enumerate(said)]


@pytest.mark.parametrize(
    ("past", "row"),
    [
        ([], 1),
        (["F"], 2),
        (["F", "F", "H", "F"], 3),
        (["H", "F"], 1),
        (["I", "F"], 2),  # a window that says nothing breaks no row
        (["Fsame", "Fsame"], 2),  # the same frames are no further evidence
        (["Fnow"], 1),
    ],
)
def test_a_row_of_failing_windows_is_counted(past, row):
    assert failing_in_a_row("now", windows(*past)) == row


@pytest.mark.parametrize(("consecutive", "expected"), [(1, "FAILING"), (2, "FAILING"), (3, "I")])
def test_nothing_moves_before_enough_windows_failed(consecutive, expected):
    policy = POLICY.model_copy(update={"consecutive": consecutive})
    own = Judgement(Verdict.FAILING, "mAP50 0.100 on 32 frames is below 0.300", "map50")
    concluded, row = conclude(own, policy, "now", windows("F", "H"))
    assert row == 2
    assert concluded.verdict.value.startswith(expected)
    assert own.reason in concluded.reason


@given(st.lists(st.sampled_from(["F", "I"]), max_size=6))
def test_a_healthy_window_always_ends_the_row(past):
    assert failing_in_a_row("now", windows("H", *past)) == 1


def test_whoever_decides_on_a_report_loads_no_network():
    # A rollback waits for every import of its process.
    heavy = ("openvino", "torch", "guardianflow.vision.synthetic")
    code = f"""
import sys, guardianflow.health.reaction
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def posted(monkeypatch):
    """A report about a champion that nobody has judged, without a server; what was noted of it."""
    now = datetime.now(UTC)
    name = "test/plant-a/welding/ppe"
    report = box_reports.BoxReport(
        model=name, version=2, camera="box-7", begin=now - timedelta(minutes=5), end=now,
        frames=600, metrics={"detections_per_frame": 0.1},
    )  # fmt: skip
    noted: dict[str, str] = {}
    run = SimpleNamespace(info=SimpleNamespace(run_id="posted"))
    champion = RegisteredModelInfo(
        name, 2, "run", tags={"guardianflow.scenario": "ppe", "guardianflow.scenario_version": "v3"}
    )
    registry = SimpleNamespace(client=None, get_champion=lambda _: champion)
    for what, instead in {
        "_unjudged": lambda *_: [run],
        "_set_aside": lambda _, run_id, said: noted.update({run_id: said}),
        "read_record": lambda *_: report,
        "find_record": lambda *_: None,
        "champion_since": lambda *_: ChampionSince(2, 2),
        "past_windows": lambda *_, **__: iter(()),
        "open_record": lambda *_: "judged",
        "close_record": lambda *_: None,
    }.items():
        monkeypatch.setattr(box_reports, what, instead)
    return registry, noted


@pytest.mark.parametrize("error", [ArtifactMissing, StoredUnreadable, VersionNotReady])
def test_a_champion_whose_scenario_is_gone_is_judged_by_what_is_known_of_it(
    posted, monkeypatch, caplog, error
):
    def gone(*_):
        raise error("its run is gone.")

    registry, noted = posted
    monkeypatch.setattr(limits, "judged_scenario", gone)
    monkeypatch.setattr(limits, "read_run_text", gone)
    [judged] = box_reports.judge_new(registry)
    assert noted == {"posted": "judged"}
    assert judged.policy == HealthPolicy()
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.reason.endswith("cannot be read, so the default limits count")
    assert "its run is gone." in caplog.text
    policy = HealthPolicy(
        rules=(HealthRule(metric="detections_per_frame", at_least=0.5),), consecutive=1
    )
    kept = json.dumps({"health": {**policy.model_dump(mode="json"), "tea": 1}, "place": "?"})
    monkeypatch.setattr(limits, "read_run_text", lambda *_: kept)
    [judged] = box_reports.judge_new(registry)
    assert (judged.policy, judged.verdict) == (policy, Verdict.FAILING)
    assert judged.reason.endswith("cannot be read, so the limits that stand in it count")
    now = SimpleNamespace(health=policy.model_copy(update={"min_images": 9000}))
    [judged] = box_reports.judge_new(
        registry, lambda *named: now if named == ("ppe", "v3") else None
    )
    assert judged.policy.min_images == 9000
    assert judged.reason.endswith("so the limits that ppe v3 has today count")


@pytest.mark.parametrize(
    "error",
    [
        OverflowError("date value out of range"),
        ValueError("year -1 is out of range"),
        MlflowException("Invalid metric name", INVALID_PARAMETER_VALUE),
    ],
)
@pytest.mark.parametrize("step", ["past_windows", "close_record"])
def test_a_box_report_that_cannot_be_judged_is_set_aside(posted, monkeypatch, error, step):
    def failing(*_, **__):
        raise error

    registry, noted = posted
    monkeypatch.setattr(box_reports, step, failing)
    monkeypatch.setattr(box_reports, "limits_of", lambda *_: limits.Limits(POLICY))
    assert box_reports.judge_new(registry) == []
    assert noted["posted"].startswith("It cannot be judged: ")


@pytest.mark.parametrize(
    "error", [MlflowException("busy", INTERNAL_ERROR), json.JSONDecodeError("no JSON", "<html>", 0)]
)
def test_a_server_that_fails_costs_no_report(posted, monkeypatch, error):
    def failing(*_, **__):
        raise error

    registry, noted = posted
    monkeypatch.setattr(box_reports, "limits_of", lambda *_: limits.Limits(POLICY))
    monkeypatch.setattr(box_reports, "close_record", failing)
    with pytest.raises(type(error)):
        box_reports.judge_new(registry)
    assert noted == {}


@pytest.mark.parametrize("key", ["begin", "end"])
@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+09:00", "9999-12-31T23:00:00-09:00"])
def test_a_time_that_utc_does_not_know_is_no_time_of_a_window(key, time):
    given = {
        "model": "test/plant-a/welding/ppe", "version": 2, "camera": "box-7", "frames": 6,
        "begin": "2026-11-25T08:00:00+09:00", "end": "2026-11-25T09:00:00+09:00",
    }  # fmt: skip
    assert "+09:00" in box_reports.BoxReport.model_validate(given).model_dump_json()
    with pytest.raises(ValidationError, match="the year 1"):
        box_reports.BoxReport.model_validate(given | {key: time})
    with pytest.raises(StoredUnreadable, match="the year 1"):
        read_stored(box_reports.BoxReport, json.dumps(given | {key: time}), "it")


@pytest.mark.parametrize("start_time", [10**15, -(10**15), 2**63 - 1, 0])
def test_any_stamp_of_a_box_is_a_time(start_time):
    run = SimpleNamespace(info=SimpleNamespace(start_time=start_time))
    assert 1970 <= stamp_of(run).year <= 9999


def test_a_number_that_is_too_long_is_none():
    run = SimpleNamespace(data=SimpleNamespace(tags={"a": "9" * 5000, "b": "17", "c": "x"}))
    assert [number_in(run, tag) for tag in "abcd"] == [None, 17, None, None]


HOSTILE = "![x](http://evil.example/p.png) <img src=x> **a** www.evil.example"


def test_what_a_box_posts_is_plain_text_on_the_incident_page():
    now = datetime.now(UTC)
    said = f"{HOSTILE} 0.100 is below 0.300; see `guardianflow history`"
    report = HealthReport(
        model_name="test/plant-a/welding/ppe", version=2, camera=HOSTILE, window=HOSTILE,
        window_fingerprint="0", evaluation=None, figures={HOSTILE: WindowFigure(value=0.1)},
        policy=POLICY, window_verdict=Verdict.FAILING, verdict=Verdict.FAILING, reason=said,
        fallback=Fallback(version=1, value=0.4, better=True, message=said), report_id="r", time=now,
    )  # fmt: skip
    operation = Operation(
        3, "rollback", report.model_name, {}, {}, Attribution("kim", HOSTILE, "t"), now,
        changed=True, moves=(), message=said,
    )  # fmt: skip
    page = incident_page(operation, report, {}, {HOSTILE: "http://mlflow/p"})
    read = MarkdownIt("gfm-like", {"html": True}).parse(page)
    inside = [child for token in read for child in token.children or ()]
    assert not {child.type for child in inside} & {"image", "html_inline"}
    assert [c.attrs["href"] for c in inside if c.type == "link_open"] == ["http://mlflow/p"]
    text = "".join(child.content for child in inside)
    assert text.count(HOSTILE) == 8
    assert {c.content for c in inside if c.type == "code_inline"} >= {"guardianflow history"}


def test_a_box_report_that_cannot_be_read_is_set_aside(posted, monkeypatch):
    def unreadable(*_):
        raise StoredUnreadable("of another time.")

    registry, noted = posted
    monkeypatch.setattr(box_reports, "read_record", unreadable)
    assert box_reports.judge_new(registry) == []
    assert noted == {"posted": "of another time."}
