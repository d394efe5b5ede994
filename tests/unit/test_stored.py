"""What other versions of guardianflow stored: newer documents, entries and rules, read by this."""

import functools
import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.status_page import _rows
from guardianflow import __version__
from guardianflow.errors import StoredNewer, StoredUnreadable
from guardianflow.health.box_reports import BoxReport
from guardianflow.mlflow_store.registered_models import ModelSummary
from guardianflow.names import ModelName
from guardianflow.promotion.approval.policy import Answer, Choice, Given
from guardianflow.promotion.proposal import Proposal
from guardianflow.promotion.question import Asked
from guardianflow.registry.ledger.entry import decode_entry
from guardianflow.registry.ledger.mirror import HEAD_TAG, read_mirror
from guardianflow.registry.release_state import OperationKind, ProductionEntry
from guardianflow.registry.rotation.outcome import operation_of
from guardianflow.scenario import Scenario
from guardianflow.stored import Stored, read_stored
from guardianflow.wording.markdown import cell
from tests.unit.test_golden import DOCUMENTS, lines_of, load

GOLDEN = Path("tests/golden/v0.1.0")
BASE = ModelName.parse("golden/lab-bench/welding/ppe")
LINES = {kind.__name__: (kind, texts[0]) for kind, texts in lines_of(GOLDEN).items()}
STORED = {name: kind for name, kind in DOCUMENTS.items() if name != "ModelEvent"} | {
    name: kind for name, (kind, _) in LINES.items()
}


def kept(name):
    if name in LINES:
        return LINES[name][1]
    return (GOLDEN / "documents" / f"{name}.json").read_text()


def changed(name, **more):
    return json.dumps({**json.loads(kept(name)), **more}, ensure_ascii=False)


@pytest.mark.parametrize("name", STORED)
def test_keys_of_a_newer_version_are_ignored(name):
    kind = STORED[name]
    assert read_stored(kind, changed(name, tea=1), name) == read_stored(kind, kept(name), name)


@pytest.mark.parametrize("name", STORED)
def test_what_needs_a_newer_version_says_which_in_one_sentence(name):
    with pytest.raises(StoredNewer) as refused:
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
        read_stored(Scenario, json.dumps(content), "scenario of MLflow run 1a2b")
    assert refused.value.message == (
        f"guardianflow {__version__} does not understand the scenario of MLflow run 1a2b: zone: "
        "Field required."
    )
    content["zone"] = content.pop("area")
    assert read_stored(Scenario, json.dumps(content), "it").zone == "welding"


WRONG = (None, True, -7, 0.5, "nonsense", "", [], ["nonsense"], {}, {"tea": None})


def places_of(content, path=()):
    """Every place in a document, as the keys that lead to it."""
    yield path
    parts = content.items() if isinstance(content, dict) else ()
    parts = enumerate(content) if isinstance(content, list) else parts
    for key, part in parts:
        yield from places_of(part, (*path, key))


def put(content, path, value):
    """The document with another value in one place."""
    if not path:
        return value
    copied = dict(content) if isinstance(content, dict) else list(content)
    copied[path[0]] = put(content[path[0]], path[1:], value)
    return copied


def read_or_refused(kind, text):
    try:
        found, refused = read_stored(kind, text, "it"), ""
    except StoredUnreadable as error:
        found, refused = None, error.message
    if found is None:
        assert re.fullmatch(r"[^\n]+\.", refused)
    else:
        # What was read can be kept again.
        read_stored(kind, found.model_dump_json(), "it")


@pytest.mark.parametrize("name", STORED)
def test_whatever_stands_in_a_place_of_a_document_is_read_or_refused_in_one_sentence(name):
    content = json.loads(kept(name))
    for path in sorted(places_of(content), key=repr)[:150]:
        for value in WRONG:
            read_or_refused(STORED[name], json.dumps(put(content, path, value)))
        if path:
            *above, key = path
            here = functools.reduce(lambda part, one: part[one], above, content)
            if isinstance(here, dict):
                rest = {other: part for other, part in here.items() if other != key}
                read_or_refused(STORED[name], json.dumps(put(content, above, rest)))


@pytest.mark.parametrize("name", STORED)
def test_a_document_that_was_cut_or_spoiled_is_read_or_refused_in_one_sentence(name):
    text = kept(name)
    for place in range(0, len(text), 1 + len(text) // 40):
        for spoiled in ("", "\x00", "\ufffd", "{", '"', "99"):
            read_or_refused(STORED[name], text[:place] + spoiled)
            read_or_refused(STORED[name], text[:place] + spoiled + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", "\x00", "[" * 100_000])
def test_what_is_no_document_is_told_in_one_sentence(text):
    for kind in (HealthLike, Asked):
        with pytest.raises(StoredUnreadable):
            read_stored(kind, text, "it")


class HealthLike(Stored):
    version: int


def test_a_report_about_what_is_no_model_is_refused_as_any_other_that_cannot_be_read():
    """A name is checked by the domain, whose errors pydantic does not take for its own."""
    with pytest.raises(StoredUnreadable, match=r"understand the it: 'tea' is not a model name"):
        read_stored(BoxReport, changed("BoxReport", model="tea"), "it")


def test_a_newer_answer_is_read():
    answer = Answer(decision=Choice.APPROVE, approver="Kim", reason="saw it")
    given = Given(**answer.model_dump(), number=1, time="2026-11-29T12:00:00Z")
    text = json.dumps({**json.loads(given.model_dump_json()), "tea": 1})
    assert read_stored(Given, text, "it") == given


def test_a_newer_operation_of_the_ledger_is_read_unless_it_says_that_it_must_not_be():
    content = json.loads(load(GOLDEN / "ledger.json")["entries"]["promote"])
    content |= {"kind": "retire", "tea": 1, "after": {"": [2, 1, 2, None, 77, "x"]}}
    record, _ = decode_entry(BASE, 7, json.dumps(content))
    assert record.kind is OperationKind.OTHER
    assert record.after == {BASE.public: ProductionEntry(2, 1, 2)}
    assert "to version 2 (was 1) as operation 7" in operation_of(record).message
    with pytest.raises(StoredNewer, match=r"operation 7 of .* needs guardianflow 99\.1"):
        decode_entry(BASE, 7, json.dumps({**content, "min_reader": "99.1"}))


def test_a_newer_mirror_is_read():
    content = json.loads(load(GOLDEN / "ledger.json")["mirror"])
    content |= {"tea": 1, "state": {"": [2, 1, "x"]}}
    mirror = read_mirror(ModelSummary(BASE.public, {}, tags={HEAD_TAG: json.dumps(content)}))
    assert mirror is not None
    assert mirror.state == {BASE.public: (2, 1)}


@pytest.mark.parametrize("actor", [r"PLANT\kim", "kim_park", "kim@plant.example", r"a\_b*"])
def test_a_status_page_of_before_texts_were_made_plain_is_read_as_it_was_written(actor):
    for written in (actor, cell(actor)):
        [row] = _rows(SimpleNamespace(data=json.dumps([{"put there by": written, "version": 2}])))
        assert row == {"put there by": actor, "version": 2}


@pytest.mark.parametrize("data", ["[1]", '["a", {"model": "m"}]', "{}", "no json", [None], 7])
def test_what_somebody_put_in_place_of_the_status_page_stops_no_pass(data):
    rows = _rows(SimpleNamespace(data=data))
    assert rows is None or all(isinstance(row, dict) for row in rows)
