"""A champion that nobody reports about is found by a pass, whatever it costs and how many."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from guardianflow.health.box_reports import BoxReport, judge_new, post_report
from guardianflow.health.report import BOX_MODEL_TAG, NAME_TAG, VERSION_TAG, newest_report_time
from guardianflow.health.verdict import Verdict
from guardianflow.mlflow_store.records import ALARMS, COMPLETE_TAG, HEALTH
from guardianflow.mlflow_store.runs import SCENARIO_FILE
from guardianflow.monitoring import silence
from guardianflow.monitoring.alarms import find_changes, finding_digest
from guardianflow.monitoring.findings import FindingCode
from guardianflow.monitoring.overview import overview
from guardianflow.monitoring.pass_memory import Notes, Topic
from guardianflow.monitoring.reconciliation import PASS_EVERY
from guardianflow.monitoring.silence import Watched, find_silent, models_on_floor
from guardianflow.names import ModelName
from testbed.reports import keep_report
from testbed.runs import make_run
from testbed.tiny import tiny_spec
from tests.integration.releases import FILES, Releases

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def releases(mlflow_server, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(tmp_path_factory.mktemp("home")))
        made = Releases(mlflow_server, tmp_path_factory.mktemp("unused"))
        yield made


def recorded(releases, silent_after_h):
    """A run that says for how long its model may be silent."""
    scenario = tiny_spec("plant1").version("v1")
    health = scenario.health.model_copy(update={"silent_after_h": silent_after_h})
    run_id = make_run(releases.client, FILES)
    text = scenario.model_copy(update={"health": health}).model_dump_json()
    releases.client.log_text(run_id, text, SCENARIO_FILE)
    return run_id


@pytest.fixture(scope="module")
def talkative(releases):
    return recorded(releases, 24.0)


@pytest.fixture
def watched(releases, talkative):
    """A champion that a pass at noon has seen, and of whom somebody wants to hear every day."""
    name = releases.name()
    releases.version(name, run_id=talkative)
    releases.registry.promote_to_champion(name)
    assert silent(releases, name, NOON) == []
    return name


def silent(releases, name, now, version=1, **settings):
    return find_silent(releases.registry, {name: version}, now=now, **settings)


def test_nobody_reported_for_longer_than_the_scenario_allows(releases, watched):
    assert silent(releases, watched, NOON + timedelta(hours=23.9)) == []
    [finding] = silent(releases, watched, NOON + timedelta(hours=24.1))
    assert (finding.code, finding.model) == (FindingCode.SILENT, watched)
    assert "since 2030-06-01 12:00 UTC, for more than 24 h" in finding.message
    # The same however long it lasts, so that it is told once.
    [later] = silent(releases, watched, NOON + timedelta(days=9))
    assert finding_digest(later) == finding_digest(finding)
    told = {watched: {finding_digest(finding): finding.seen_by}}
    assert find_changes(told, [later]) == []
    [over] = find_changes(told, [])
    assert over.over


def test_a_report_about_any_version_ends_it_and_the_time_counts_from_there(
    releases, watched, monkeypatch
):
    after = NOON + timedelta(hours=25)
    assert silent(releases, watched, after)
    monkeypatch.setattr(time, "time", lambda: (NOON + timedelta(hours=20)).timestamp())
    keep_report(releases.client, watched, 7, Verdict.HEALTHY)
    assert silent(releases, watched, after) == []
    [again] = silent(releases, watched, NOON + timedelta(hours=44.1))
    assert "since 2030-06-02 08:00 UTC" in again.message


def test_what_a_box_posts_about_the_version_before_is_a_sign_of_life(
    releases, watched, monkeypatch
):
    monkeypatch.setattr(time, "time", lambda: (NOON + timedelta(hours=20)).timestamp())
    box = BoxReport(model=watched, version=9, camera="box-7", begin=NOON, end=NOON, frames=5)
    post_report(releases.client, box, now=NOON)
    assert silent(releases, watched, NOON + timedelta(hours=25)) == []


def test_what_a_box_writes_past_our_checks_ends_no_pass(releases, watched):
    client, name, now = releases.client, watched, datetime.now(UTC)
    begin = now - timedelta(minutes=5)
    box = BoxReport(model=name, version=1, camera="box-7", begin=begin, end=now, frames=5)
    odd = {"..": 1.0, "\U0001f600" * 80: 2.0, "detections_per_frame": 0.1}
    post_report(client, box.model_copy(update={"metrics": odd}))
    where = client.get_experiment_by_name(HEALTH).experiment_id
    tags = {BOX_MODEL_TAG: name, "guardianflow.judged": "no", COMPLETE_TAG: "true"}
    spoilt = client.create_run(where, start_time=10**15, tags=tags).info.run_id
    content = box.model_dump(mode="json") | {"begin": "0001-01-01T00:00:00+09:00"}
    client.log_text(spoilt, json.dumps(content), "BoxReport.json")
    [judged] = [one for one in judge_new(releases.registry) if one.model_name == name]
    assert set(judged.figures) == set(odd)
    assert "the year 1" in client.get_run(spoilt).data.tags["guardianflow.judged"]
    assert newest_report_time(client, ModelName.parse(name)).year == 9999
    client.set_tag(spoilt, NAME_TAG, name)
    client.set_tag(spoilt, VERSION_TAG, "1")
    [row] = [row for row in overview(releases.registry, []) if row["model"] == name]
    assert row["last report (UTC)"].startswith("9999")


@pytest.fixture
def box_says(releases, monkeypatch):
    """A report about a model, stamped by a clock that shows so many days after noon."""

    def say(name, days):
        monkeypatch.setattr(time, "time", lambda: (NOON + timedelta(days=days)).timestamp())
        keep_report(releases.client, name, 1, Verdict.HEALTHY)

    return say


def days_of_silence(releases, name, days):
    return [d for d in days if silent(releases, name, NOON + timedelta(days=d))]


def test_a_report_of_the_future_counts_once_when_it_is_first_seen(releases, watched, box_says):
    # The box reports for a while with a clock that is 90 days ahead, and dies.
    for days in (90, 90.2, 90.4):
        box_says(watched, days)
    assert days_of_silence(releases, watched, (1.1, 2)) == []
    note = Notes(releases.client, Topic.WATCHED, Watched).read()[watched]
    assert note.seen == NOON + timedelta(days=1.1)
    # Neither while it lies ahead, nor when its time has come.
    after = (2.2, 3, 10, 30, 60, 89, 90.1, 90.3, 90.5, 91, 95)
    assert days_of_silence(releases, watched, after) == list(after)
    # It comes back with a clock that is right.
    box_says(watched, 96)
    assert days_of_silence(releases, watched, (96.1, 96.9, 97.1)) == [97.1]


def test_a_box_whose_clock_was_put_right_is_heard_again(releases, watched, box_says):
    box_says(watched, 90)
    assert days_of_silence(releases, watched, (1.1, 2.2)) == [2.2]
    box_says(watched, 2.3)
    assert days_of_silence(releases, watched, (2.4, 3.2, 3.4)) == [3.4]


def test_a_box_that_goes_on_reporting_from_the_future_is_not_silent(releases, watched, box_says):
    for day in range(1, 6):
        box_says(watched, 90 + day)
        assert days_of_silence(releases, watched, (day + 0.1, day + 1.05)) == []
    assert days_of_silence(releases, watched, (6.2, 7.3)) == [7.3]


def test_a_pass_whose_clock_was_ahead_keeps_nobody_quiet(releases, watched, box_says):
    box_says(watched, 300)
    assert silent(releases, watched, NOON + timedelta(days=200)) == []
    assert days_of_silence(releases, watched, (0.5, 1.4, 1.6, 100)) == [1.6, 100]


def test_another_champion_begins_anew(releases, watched, talkative):
    late = NOON + timedelta(hours=30)
    assert silent(releases, watched, late)
    releases.version(watched, run_id=talkative)
    releases.registry.promote_to_champion(watched)
    assert silent(releases, watched, late, version=2) == []
    assert silent(releases, watched, late + timedelta(hours=25), version=2)


def test_who_does_not_want_to_hear_of_it_is_never_silent(releases):
    for run_id in (recorded(releases, None), releases.run_id):
        name = releases.name()
        releases.version(name, run_id=run_id)
        assert silent(releases, name, NOON) == []
        assert silent(releases, name, NOON + timedelta(days=400)) == []


def test_the_floor_runs_the_variants_where_there_are_any():
    base, other = "a/b-c/d/e", "a/b-c/d/f"
    champions = {base: 1, f"{base}__openvino_int8": 2, other: 3}
    assert models_on_floor(champions) == {f"{base}__openvino_int8": 2, other: 3}


class Counted:
    """Counts what a pass asks of MLflow."""

    def __init__(self, monkeypatch):
        self.reads, self.asks = [], []
        read, ask = silence.limits_of, silence.newest_report_time
        patch = monkeypatch.setattr
        patch(
            silence,
            "limits_of",
            lambda r, i, t: self.reads.append(i.name) or read(r, i, t),
        )
        patch(silence, "newest_report_time", lambda c, n: self.asks.append(n.public) or ask(c, n))


def test_a_pass_reads_a_policy_once_and_asks_only_where_time_is_up(releases, watched, monkeypatch):
    counted = Counted(monkeypatch)
    for hours in (1, 10, 23):
        assert silent(releases, watched, NOON + timedelta(hours=hours)) == []
    assert (counted.reads, counted.asks) == ([], [])
    late = NOON + timedelta(hours=25)
    # A doctor asks too, and notes nothing.
    monkeypatch.setattr(time, "time", lambda: (NOON + timedelta(hours=20)).timestamp())
    keep_report(releases.client, watched, 1, Verdict.HEALTHY)
    before = Notes(releases.client, Topic.WATCHED, Watched).read()[watched]
    assert silent(releases, watched, late, watch=False) == []
    assert Notes(releases.client, Topic.WATCHED, Watched).read()[watched] == before
    assert silent(releases, watched, late) == []
    assert len(counted.asks) == 2
    assert silent(releases, watched, late) == []
    assert len(counted.asks) == 2


def test_of_many_a_few_are_asked_in_each_pass_and_none_is_forgotten(
    releases, talkative, monkeypatch
):
    monkeypatch.setattr(silence, "READ_IN_ONE_PASS", 2)
    monkeypatch.setattr(silence, "ASKED_IN_ONE_PASS", 2)
    names = sorted(releases.name() for _ in range(5))
    for name in names:
        releases.version(name, run_id=talkative)
    champions = dict.fromkeys(names, 1)
    counted = Counted(monkeypatch)

    def make_pass(now, told=()):
        del counted.reads[:], counted.asks[:]
        return find_silent(releases.registry, champions, told=told, now=now)

    read = []
    for _ in range(3):
        make_pass(NOON)
        read += counted.reads
    assert sorted(read) == names
    late, told = NOON + timedelta(hours=25), set()
    for expected in (2, 4, 5):
        found = make_pass(late, told)
        told |= {finding_digest(finding) for finding in found}
        assert len(told) == expected
    # Those that were told last, also where nobody asks; each is asked in its turn.
    asked = set()
    for turn in range(3):
        assert len(make_pass(late + turn * PASS_EVERY, told)) == 5
        assert len(counted.asks) == 2
        asked |= set(counted.asks)
    assert asked == set(names)


def test_a_note_that_was_edited_by_hand_begins_anew(releases, watched):
    notes = Notes(releases.client, Topic.WATCHED, Watched)
    where = releases.client.get_experiment_by_name(ALARMS).experiment_id
    key = f"guardianflow.watched.{ModelName.parse(watched).registered}"
    edited = '{"version": 1, "after_h": "never", "seen": "yesterday"}'
    releases.client.set_experiment_tag(where, key, edited)
    assert silent(releases, watched, NOON + timedelta(days=9)) == []
    assert notes.read()[watched].after_h == 24.0
