"""What other versions of guardianflow stored: newer documents, entries and rules, read by this."""

import hashlib
import json
from pathlib import Path

import pytest

from guardianflow import __version__
from guardianflow.approval import Answer, Choice
from guardianflow.approval.policy import Given
from guardianflow.catalog.models import ModelSummary
from guardianflow.errors import StoredUnreadable
from guardianflow.health.box import BoxReport
from guardianflow.names import ModelName
from guardianflow.promotion.proposal import Proposal
from guardianflow.promotion.question import Asked
from guardianflow.release.entry import decode
from guardianflow.release.mirror import HEAD_TAG, read_mirror
from guardianflow.release.outcome import operation_of
from guardianflow.release.state import Kind, Place
from guardianflow.scenario import Scenario
from guardianflow.stored import Stored, read_stored
from tests.unit.test_golden import DOCUMENTS, load

GOLDEN = Path("tests/golden/v0.1.0")
BASE = ModelName.parse("golden/lab-bench/welding/ppe")
STORED = {name: kind for name, kind in DOCUMENTS.items() if name != "ModelEvent"}


def kept(name):
    return (GOLDEN / "documents" / f"{name}.json").read_text()


def changed(name, **more):
    return json.dumps({**json.loads(kept(name)), **more}, ensure_ascii=False)


@pytest.mark.parametrize("name", STORED)
def test_keys_of_a_newer_version_are_ignored(name):
    kind = STORED[name]
    assert read_stored(kind, changed(name, tea=1), name) == read_stored(kind, kept(name), name)


@pytest.mark.parametrize("name", STORED)
def test_what_needs_a_newer_version_says_which_in_one_sentence(name):
    with pytest.raises(StoredUnreadable) as refused:
        read_stored(STORED[name], changed(name, min_reader="99.1", schema_version=7), name)
    assert refused.value.message == (
        f"The {name} needs guardianflow 99.1 to be read, and this is {__version__}."
    )
    assert refused.value.remedy == "Upgrade guardianflow to 99.1 or newer."
    # Of one that this version reads it says nothing.
    read_stored(STORED[name], changed(name, min_reader=__version__, schema_version=7), name)


def test_keys_of_a_newer_version_are_ignored_at_any_depth():
    content = json.loads(kept("Proposal"))
    for group in ("policy", "binding", "gate", "lineage"):
        content[group]["tea"] = 1
    content["subjects"][0]["candidate"]["tea"] = 1
    assert read_stored(Proposal, json.dumps(content), "it") == read_stored(
        Proposal, kept("Proposal"), "it"
    )


@pytest.mark.parametrize("name", ["Proposal", "BoxReport"])
def test_the_digest_is_that_of_what_was_written_whatever_is_understood_of_it(name):
    kind, text = STORED[name], changed(name, tea=[1, "  two  ", 'quo"te'])
    compact = json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    wanted = hashlib.sha256(compact.encode()).hexdigest()
    for layout in (text, compact, json.dumps(json.loads(text), indent=3, ensure_ascii=False)):
        assert read_stored(kind, layout, name).digest == wanted
    here = read_stored(kind, kept(name), name)
    written = kind.model_validate(here.model_dump())
    assert written.digest == read_stored(kind, written.model_dump_json(indent=1), name).digest
    field, value = ("version", 9)
    assert here.model_copy(update={field: value}).digest != here.digest


def test_the_first_version_of_a_document_has_no_keys_that_version_0_1_0_refuses():
    box = read_stored(BoxReport, kept("BoxReport"), "it")
    assert set(json.loads(box.model_dump_json())) == set(json.loads(kept("BoxReport")))
    newer = box.model_copy(update={"schema_version": 2, "min_reader": "0.2.0"})
    assert json.loads(newer.model_dump_json())["min_reader"] == "0.2.0"


def test_a_key_that_is_needed_and_has_another_name_is_told_in_one_sentence():
    content = json.loads(kept("scenario"))
    content["area"] = content.pop("zone")
    content["gate"]["floor"] = content["gate"].pop("min_map50")
    with pytest.raises(StoredUnreadable) as refused:
        Scenario.from_stored(json.dumps(content), "scenario of MLflow run 1a2b")
    assert refused.value.message == (
        f"guardianflow {__version__} does not understand the scenario of MLflow run 1a2b: zone: "
        "Field required."
    )
    content["zone"] = content.pop("area")
    assert Scenario.from_stored(json.dumps(content), "it").zone == "welding"


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", "\x00", "[" * 100_000])
def test_what_is_no_document_is_told_in_one_sentence(text):
    for kind in (HealthLike, Asked):
        with pytest.raises(StoredUnreadable):
            read_stored(kind, text, "it")


class HealthLike(Stored):
    version: int


def test_a_newer_answer_is_read():
    answer = Answer(decision=Choice.APPROVE, approver="Kim", reason="saw it")
    given = Given(**answer.model_dump(), number=1, time="2026-11-29T12:00:00Z")
    text = json.dumps({**json.loads(given.model_dump_json()), "tea": 1})
    assert read_stored(Given, text, "it") == given


def test_a_newer_operation_of_the_ledger_is_read_unless_it_says_that_it_must_not_be():
    content = json.loads(load(GOLDEN / "ledger.json")["entries"]["promote"])
    content |= {"kind": "retire", "tea": 1, "after": {"": [2, 1, 2, None, 77, "x"]}}
    record, _ = decode(BASE, 7, json.dumps(content))
    assert record.kind is Kind.OTHER
    assert record.after == {BASE.public: Place(2, 1, 2)}
    assert "to version 2 (was 1) as operation 7" in operation_of(record).message
    with pytest.raises(StoredUnreadable, match=r"operation 7 of .* needs guardianflow 99\.1"):
        decode(BASE, 7, json.dumps({**content, "min_reader": "99.1"}))


def test_a_newer_mirror_is_read():
    content = json.loads(load(GOLDEN / "ledger.json")["mirror"])
    content |= {"tea": 1, "state": {"": [2, 1, "x"]}}
    mirror = read_mirror(ModelSummary(BASE.public, {}, {HEAD_TAG: json.dumps(content)}))
    assert mirror is not None
    assert mirror.champions == {BASE.public: 2}
