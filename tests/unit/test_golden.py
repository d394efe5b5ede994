"""Reads what the code of other days stored: golden files, which are never made again."""

import hashlib
import importlib
import json
import lzma
import pkgutil
import re
import tarfile
from collections import defaultdict
from pathlib import Path

import pytest
import torch

import guardianflow
from deployments.local import State
from deployments.processes import ProcessRecord
from guardianflow.evaluation.gate import GateReport
from guardianflow.evaluation.import_source import Origin
from guardianflow.evaluation.speed import SpeedReport, VariantCost
from guardianflow.events import ModelEvent
from guardianflow.health.box_reports import BoxReport
from guardianflow.health.report import HealthReport
from guardianflow.lifecycle.quantization.variants import Making
from guardianflow.machine.private import write_private
from guardianflow.machine.servers import KEY_FILE, Keys
from guardianflow.mlflow_store.registered_models import ModelSummary
from guardianflow.monitoring.alarms import Told
from guardianflow.monitoring.drill_report import LastDrill
from guardianflow.monitoring.silence import Watched
from guardianflow.names import ModelName
from guardianflow.promotion.approval.one_time_codes import read_approvers
from guardianflow.promotion.approval.policy import ApprovalRule, Given
from guardianflow.promotion.proposal import Proposal
from guardianflow.promotion.question import Asked
from guardianflow.registry.ledger.entry import Entry, Former, decode_entry, encode_entry
from guardianflow.registry.ledger.mirror import HEAD_TAG, MirrorTag, encode_mirror, read_mirror
from guardianflow.registry.release_state import OperationKind, ProductionEntry
from guardianflow.scenario import Scenario, ScenarioSpec
from guardianflow.scenario.file import read_scenario_file
from guardianflow.stored import INTRODUCED, Stored, read_stored
from guardianflow.vision.data.contamination import ContaminationReport
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.evaluation import Evaluation
from guardianflow.vision.network.checkpoint import Checkpoints
from guardianflow.vision.network.detector import Architecture, DetectorShape
from guardianflow.vision.network.history import EpochFigures
from guardianflow.vision.network.weights import load_weights
from tests.golden.make import flows, settings_of

GOLDEN = sorted(path for path in Path("tests/golden").glob("v*") if path.is_dir())
WEIGHTS_2 = Path("tests/golden/best-format-2.pt.xz")
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
LINES = {
    r"op\.\d{6}": Entry,
    r"former": Former,
    r"ask\..+": Asked,
    r"answer\..+": Given,
    r"guardianflow\.head": MirrorTag,
    r"guardianflow\.drill": LastDrill,
    r"guardianflow\.alarm\..+": Told,
    r"guardianflow\.watched\..+": Watched,
}
"""By the key of a tag or param, which document it holds."""
golden = pytest.mark.parametrize("folder", GOLDEN, ids=lambda path: path.name)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines_of(folder):
    """By kind, the documents that tags and params of MLflow held."""
    known = load(folder / "mlflow.json")
    places = [run[group] for run in known["runs"].values() for group in ("params", "tags")]
    places += [model["tags"] for model in known["models"].values()]
    found = defaultdict(list)
    for place in (*places, *known["experiments"].values()):
        for key, text in place.items():
            for pattern, kind in LINES.items():
                if re.fullmatch(pattern, key):
                    found[kind].append(text)
    return found


def stored_kinds(kind=Stored):
    """Every kind of document that guardianflow stores."""
    for module in pkgutil.walk_packages(guardianflow.__path__, "guardianflow."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {found for found in kind.__subclasses__() if found.__module__.startswith("guardianflow")}
    return ours.union(*map(stored_kinds, ours))


def test_every_kind_of_document_has_a_golden_file():
    """This fails for who adds one: `tests/golden/README.md` says how to make its file."""
    of_files = {kind for kind in DOCUMENTS.values() if issubclass(kind, Stored)}
    kept = of_files.union(*map(lines_of, GOLDEN))
    assert stored_kinds() == kept


@golden
def test_every_tag_and_param_is_read_and_would_be_written_byte_for_byte(folder):
    for kind, texts in lines_of(folder).items():
        for text in texts:
            assert read_stored(kind, text, "it").to_line() == text, kind


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
    assert set(kept["entries"]) == set(OperationKind) - {OperationKind.OTHER}
    for kind, entry in kept["entries"].items():
        record, previous = decode_entry(BASE, 7, entry)
        assert (record.kind, record.by.actor, record.by.reason) == (
            OperationKind(kind),
            "김민지",
            "보았다",
        )
        assert record.after == {
            BASE.public: ProductionEntry(2, 1, 2),
            INT8: ProductionEntry(1, None, 1, 2),
        }
        assert previous == "0123456789abcdef"
        # The chain is made of the bytes.
        assert encode_entry(BASE, record, previous) == entry
    former = read_stored(Former, kept["former"], "param former")
    assert former == Former(digest="0123456789abcdef", tokens={"0123456789": 50})
    assert former.to_line() == kept["former"]
    mirror = read_mirror(ModelSummary(BASE.public, {}, tags={HEAD_TAG: kept["mirror"]}))
    assert mirror is not None
    champions = {name: champion for name, (champion, _) in mirror.state.items()}
    assert (mirror.seq, champions) == (7, {BASE.public: 2, INT8: 1})
    assert encode_mirror(BASE, 7, "0123456789abcdef", record.after) == kept["mirror"]


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


@golden
def test_models_of_then_are_read(folder, tmp_path):
    with tarfile.open(folder / "mlflow.tar.xz") as archive:
        models = [part for part in archive if "/models/" in part.name]
        [trained, *_] = [part.name for part in models if part.name.endswith("best.pt")]
        model = trained.removesuffix("/weights/best.pt")
        here = [part for part in models if part.name.startswith(f"{model}/")]
        archive.extractall(tmp_path, members=here, filter="data")
    _, classes = load_weights(tmp_path / trained)
    for folder in ("ir", "edge"):
        assert IrDetector(tmp_path / model / folder).classes == classes == ("person", "helmet")


def test_weights_of_another_network_are_read(tmp_path):
    """Format 2 of best.pt, as the commit that introduced it wrote it; all weights are nought."""
    (tmp_path / "best.pt").write_bytes(lzma.decompress(WEIGHTS_2.read_bytes()))
    assert torch.load(tmp_path / "best.pt", weights_only=True)["format"] == 2
    detector, classes = load_weights(tmp_path / "best.pt")
    assert detector.shape == DetectorShape(3, 32, 416, Architecture.NANODET_G)
    assert classes == ("person", "helmet", "no_helmet")


@golden
def test_servers_that_the_code_of_then_started_are_known(folder, tmp_path):
    (tmp_path / "servers.json").write_text((folder / "servers.json").read_text())
    state = State.read(tmp_path)
    assert state is not None
    assert state.pids["mlflow"] == ProcessRecord("mlflow", 4711, 1764400000.25, "logs/mlflow.log")
    assert state.code == ""


@golden
def test_keys_of_the_servers_are_read(folder, tmp_path):
    write_private(tmp_path / KEY_FILE, (folder / KEY_FILE).read_text())
    assert Keys.read(tmp_path) == Keys("golden-prefect-key", "golden-mlflow-key")


@golden
def test_flow_runs_of_then_go_on(folder):
    """They wait in Prefect with the parameters of then, and are made again by automations."""
    known = {flow.name: flow for flow in flows()}
    for name, parameters in load(folder / "flows.json").items():
        known[name].validate_parameters(parameters)
