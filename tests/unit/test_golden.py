"""Reads what the code of other days stored: golden files, which are never made again."""

import hashlib
import json
from pathlib import Path

import pytest

from guardianflow.approval import ApprovalRule
from guardianflow.approval.one_time_codes import read_approvers
from guardianflow.catalog.models import ModelSummary
from guardianflow.data.contamination import ContaminationReport
from guardianflow.events import ModelEvent
from guardianflow.gate import GateReport
from guardianflow.health.box import BoxReport
from guardianflow.health.report import HealthReport
from guardianflow.measuring.cost import VariantCost
from guardianflow.measuring.evaluation import Evaluation
from guardianflow.measuring.speed import SpeedReport
from guardianflow.names import ModelName
from guardianflow.network.checkpoint import Checkpoints
from guardianflow.network.history import EpochFigures
from guardianflow.promotion.proposal import Proposal
from guardianflow.quantization.variants import Making
from guardianflow.release.entry import Former, decode
from guardianflow.release.mirror import HEAD_TAG, read_mirror
from guardianflow.release.state import Kind, Place
from guardianflow.scenario import Scenario, ScenarioSpec
from guardianflow.scenario.file import read_scenario_file
from guardianflow.stored import INTRODUCED, read_stored
from guardianflow.tracking.origin import Origin
from tests.golden.make import settings_of

GOLDEN = sorted(path for path in Path("tests/golden").glob("v*") if path.is_dir())
BASE = ModelName.parse("golden/lab-bench/welding/ppe")
INT8 = f"{BASE}__openvino_int8"
DOCUMENTS = {
    "BoxReport": BoxReport,
    "HealthReport": HealthReport,
    "ModelEvent": ModelEvent,
    "Proposal": Proposal,
    "SpeedReport": SpeedReport,
    "contamination": ContaminationReport,
    "cost": VariantCost,
    "evaluation": Evaluation,
    "fp32-evaluation": Evaluation,
    "making": Making,
    "origin": Origin,
    "outcome": GateReport,
    "scenario": Scenario,
}
golden = pytest.mark.parametrize("folder", GOLDEN, ids=lambda path: path.name)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@golden
def test_every_document_is_read_and_says_what_it_said(folder):
    assert {path.stem for path in (folder / "documents").iterdir()} == set(DOCUMENTS)
    for name, kind in DOCUMENTS.items():
        path = folder / "documents" / f"{name}.json"
        kept = load(path)
        said = read_stored(kind, path.read_text(), name).model_dump(mode="json")
        assert within(kept, said), name


def within(kept, said):
    """Whether all that was kept is said, at any depth."""
    if isinstance(kept, dict):
        return all(key in said and within(part, said[key]) for key, part in kept.items())
    if isinstance(kept, list):
        return len(kept) == len(said) and all(map(within, kept, said))
    return kept == said


@golden
def test_entries_of_the_ledger_are_read(folder):
    kept = load(folder / "ledger.json")
    assert set(kept["entries"]) == set(Kind) - {Kind.OTHER}
    for kind, entry in kept["entries"].items():
        record, previous = decode(BASE, 7, entry)
        assert (record.kind, record.actor, record.reason) == (Kind(kind), "김민지", "보았다")
        assert record.after == {BASE.public: Place(2, 1, 2), INT8: Place(1, None, 1, 2)}
        assert previous == "0123456789abcdef"
    assert Former.from_text(kept["former"]) == Former("0123456789abcdef", {"0123456789": 50})
    mirror = read_mirror(ModelSummary(BASE.public, {}, {HEAD_TAG: kept["mirror"]}))
    assert mirror is not None
    assert (mirror.seq, mirror.champions) == (7, {BASE.public: 2, INT8: 1})


@golden
def test_rules_are_read_and_their_digest_stays(folder):
    for kept in load(folder / "rules.json"):
        assert ApprovalRule.model_validate(kept["rule"]).digest == kept["digest"]


@golden
def test_an_import_of_then_is_found_again(folder):
    kept = load(folder / "documents" / "origin.json")
    content = {key: value for key, value in kept.items() if key not in ("file", "source")}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    origin = read_stored(Origin, json.dumps(kept), "it")
    assert origin.identity() == hashlib.sha256(text.encode()).hexdigest()


@golden
def test_scenario_files_and_blocks_are_read(folder):
    for path in (folder / "scenarios").glob("*.yaml"):
        assert read_scenario_file(path).versions
    for name, block in load(folder / "blocks.json").items():
        assert ScenarioSpec.model_validate(block).name == name


@golden
def test_digests_of_then_are_recognised(folder):
    kept = load(folder / "digests.json")
    for name, block in load(folder / "blocks.json").items():
        spec = ScenarioSpec.model_validate(block)
        assert {v: spec.version(v).first_digest for v in spec.versions} == kept[name]


def test_a_new_setting_is_entered_with_its_first_default():
    """This fails for who adds a setting: `guardianflow/stored.py` says what to do."""
    first = set(load(Path("tests/golden/v0.1.0/settings.json")))
    assert set(settings_of(Scenario)) - first == set(INTRODUCED["Scenario"])


@golden
def test_a_checkpoint_is_read(folder, tmp_path):
    path = folder / "checkpoints" / "epoch-000001.pt"
    checkpoints = Checkpoints(tmp_path, "0" * 32)
    checkpoints.adopt(path, 1)
    found = checkpoints.load()
    assert found is not None
    [plain] = found.state["history"]
    assert EpochFigures.from_plain(plain).loss == 2.0


@golden
def test_a_file_of_approvers_is_read(folder, tmp_path):
    path = tmp_path / "approvers.json"
    path.write_text((folder / "approvers.json").read_text())
    path.chmod(0o600)
    assert set(read_approvers(path)) == {"Kim Minji"}
