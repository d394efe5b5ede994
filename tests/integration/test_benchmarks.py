"""The benchmarks at their smallest, so that they do not rot; no time is judged here."""

import json
import shutil

import pytest

from benchmarks import figures, ledger_growth, listing, rotation, training_throughput
from benchmarks.figures import RESULTS
from benchmarks.page import PAGE, TABLES, replaced, write_pages
from benchmarks.plant import Plant, plant_on
from guardianflow.registry.ledger.log import SEGMENT_LENGTH


@pytest.fixture
def plant(mlflow_server, tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    return Plant(mlflow_server, "sqlite:///elsewhere")


@pytest.mark.long
def test_rotation_compares_times_and_counts_requests(plant, tmp_path, monkeypatch):
    monkeypatch.setattr(rotation, "_SHORT", 2)
    found = rotation.measure(
        plant,
        rounds=1,
        large_rounds=1,
        warm_up=0,
        large=64 * 1024,
        models=2,
        versions=2,
        history=SEGMENT_LENGTH,
    )
    promote = found["small_files"]["promote"]
    assert promote["guardianflow"]["n"] == 2
    assert promote["file_checks"]["p50_ms"] > 0
    assert promote["guardianflow"]["p50_ms"] > promote["bare_request"]["p50_ms"] > 0
    assert len(found["calls_of_grown_releases"]) == 5
    assert len(rotation.rows(found)) == 6
    kept = json.loads(figures.write("rotation", found, tmp_path).read_text("utf-8"))
    assert kept["calls"]["promote"]["list"]
    assert kept["machine"]["cores"] >= 1


@pytest.mark.long
def test_listing_compares_processes_and_memory():
    with plant_on() as plant:
        found = listing.measure(plant, models=8, versions=2, rounds=1, command_rounds=1)
        states = [model.candidate_status for model in plant.registry.list_models()]
    assert {"rejected", ""} <= set(states)
    assert found["http_requests"] == 1
    assert found["commands"]["guardianflow"]["peak_mib"] > 50
    assert len(listing.rows(found)) == 3


@pytest.mark.long
def test_ledger_growth_compares_two_histories(plant, monkeypatch):
    monkeypatch.setattr(ledger_growth, "SHORT", 2)
    found = ledger_growth.measure(plant, long=SEGMENT_LENGTH, pairs=1, rounds=1)
    assert found["operations"] == {"short": 2, "long": 2 + SEGMENT_LENGTH}
    assert [one["long"]["n"] for one in found["next_operation"].values()] == [1, 1]
    assert len(ledger_growth.rows(found)) == 2


@pytest.mark.long
def test_training_throughput_compares_with_the_bare_step():
    found = training_throughput.measure(
        sizes={"tiny": (4, 64, 2)}, threads=(1,), images=8, rounds=1
    )
    (row,) = training_throughput.rows(found)
    (figures,) = (one for one in found.values() if isinstance(one, dict) and "threads" in one)
    assert 0 < figures["later_epoch"]["to_bare"]["ratio"] < 5
    assert 0 <= figures["later_epoch"]["wait_share"] < 1
    assert "tiny: width 4, 64 px, batch 2, 1 threads" in row[0]


def test_the_pages_say_what_the_result_files_say(tmp_path):
    originals = [PAGE, *(RESULTS / f"{name}.md" for name in TABLES)]
    for one in originals:
        shutil.copy(one, tmp_path)
    write_pages(tmp_path / PAGE.name, tmp_path, RESULTS)
    for one in originals:
        assert (tmp_path / one.name).read_text("utf-8") == one.read_text("utf-8")


def test_a_question_without_figures_is_not_answered(tmp_path):
    for one in (PAGE, *(RESULTS / f"{name}.md" for name in TABLES)):
        shutil.copy(one, tmp_path)
    write_pages(tmp_path / PAGE.name, tmp_path, tmp_path)
    assert "| question |" not in (tmp_path / PAGE.name).read_text("utf-8")


def test_an_answer_says_first_whether_the_goal_is_met():
    said = [figures.answer("?", "≤ 1", "2", "make x", met=met)[2] for met in (True, False, None)]
    assert said == ["yes, 2", "**no**, 2", "2"]


def test_a_ratio_is_that_of_the_quantiles_with_its_interval():
    found = figures.ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], 0.5)
    assert found == {"ratio": 2.0, "low": 2.0, "high": 2.0}


def test_a_page_without_its_markers_is_refused():
    with pytest.raises(ValueError, match="lacks the line"):
        replaced("# A page", "releases", "table")
