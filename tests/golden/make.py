"""Makes golden files of what this code stores: `python -m tests.golden.make FOLDER`.

Never run by a test: a golden file is read for ever as the code of its day wrote it, and never made
again. Whoever changes a format runs this once, at the commit that does so, into a folder of its own
beside those that are here (README.md). It takes a minute: servers and trainings are real, tiny.
"""

import importlib
import json
import lzma
import os
import shutil
import socket
import sqlite3
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import torch
import yaml
from pydantic import BaseModel

from deployments.local import State
from deployments.processes import ProcessRecord as Process
from guardianflow.evaluation.import_source import Origin
from guardianflow.evaluation.speed import SpeedReport, SpeedVerdict
from guardianflow.events import ModelEvent
from guardianflow.health.box_reports import BoxReport, judge_new, post_report
from guardianflow.health.window import check_health
from guardianflow.lifecycle.quantization import QuantizationRunner
from guardianflow.lifecycle.training import TrainingRunner, continuation
from guardianflow.machine import servers
from guardianflow.monitoring.alarms import AlarmBook, find_changes
from guardianflow.monitoring.drill import drill
from guardianflow.monitoring.findings import Finding, FindingCode, Severity
from guardianflow.monitoring.silence import find_silent
from guardianflow.names import ModelName
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.one_time_codes import write_approvers
from guardianflow.promotion.approval.policy import Answer, ApprovalRule, Choice, Proof
from guardianflow.promotion.approval.stored_rules import mirror_rules
from guardianflow.promotion.question import Question
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.entry import Former, encode_entry
from guardianflow.registry.ledger.mirror import encode_mirror
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
)
from guardianflow.scenario import Light, Scenario, ScenarioSpec
from guardianflow.scenario.file import read_scenario_file
from guardianflow.vision.ir.reading import ChannelOrder, InputRange, LayoutName
from guardianflow.vision.metrics.camera import CameraFault, FaultKind
from guardianflow.vision.metrics.latency import Latency
from guardianflow.vision.network.checkpoint import Checkpoint, Checkpoints
from guardianflow.vision.network.fitting import FittedDetector, fit
from guardianflow.vision.network.history import EpochFigures
from guardianflow.vision.synthetic.writing import draw_window
from testbed.servers import mlflow_server_on

REQUEST, ANSWERED = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
"""A question that waits, and one that was answered and carried out."""
LONG = "golden/plant-long/welding/ppe"
"""A release of more operations than one ledger run holds, of every kind."""
SETTINGS: dict[str, Any] = {
    "customer": "golden",
    "region": "lab",
    "plant": "bench",
    "zone": "welding",
    "task": "ppe",
    "classes": ["person", "helmet"],
    "dataset": {
        "kind": "synthetic",
        "image_size": 64,
        "train_images": 8,
        "val_images": 2,
        "test_images": 4,
    },
    "training": {"image_size": 64, "width": 4, "epochs": 1, "batch_size": 4},
    "quantization": {"calibration_images": 4, "preset": "mixed"},
    "gate": {
        "min_map50": 0.0,
        "max_regression": 1.0,
        "min_images": 1,
        "min_speedup": 0,
        "max_variant_drop": 1.0,
        "max_variant_recall_drop": 1.0,
    },
    "evidence": {"picture_days": 3650},
    "health": {
        "min_map50": 0.9,
        "min_images": 1,
        "min_objects": 1,
        "consecutive": 1,
        "silent_after_h": 24.0,
        "rules": [{"metric": "detections_per_frame", "at_least": 0.5}],
    },
    # The same weights, which the archive then holds once.
    "versions": {"v1": {}, "v2": {"evaluation": {"beta": 2.0}}, "v3": {"evaluation": {"beta": 3}}},
}
YES = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")


def _sparse_fit(*arguments: Any, **options: Any) -> FittedDetector:
    """The real training, of whose weights most are made nought: the archive stays small."""
    fitted = fit(*arguments, **options)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in fitted.detector.parameters():
            if weights.ndim == 4:
                weights *= torch.rand(weights.shape, generator=chance) < 0.1
    return fitted


def main(target: Path) -> None:
    """Make all of them in a folder that does not exist yet."""
    target = target.absolute()
    target.mkdir(parents=True)
    scenarios = Path("scenarios").absolute()
    # What is stored names the machine: golden files name none.
    socket.gethostname = lambda: "trainer"
    continuation.fit = _sparse_fit
    os.environ.update(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", LOGNAME="lifecycle")
    with tempfile.TemporaryDirectory(prefix="golden-") as text:
        os.environ["GUARDIANFLOW_HOME"] = f"{text}/home"
        server_folder = Path(text) / "mlflow"
        server_folder.mkdir()
        os.chdir(text)
        with mlflow_server_on(server_folder) as server:
            os.environ["MLFLOW_TRACKING_URI"] = server.uri
            registry = ModelRegistryManager(server.uri)
            _lifecycle(registry)
            _long_release(registry)
            _documents(registry, target)
        _pack(server_folder, target / "mlflow.tar.xz")
    _scenarios(scenarios, target)
    _files(target)
    _orchestration(target)


def _lifecycle(registry: ModelRegistryManager) -> None:
    """Two releases, a way back that was taken, a question that waits, reports about champions."""
    spec = ScenarioSpec.from_mapping("golden-ppe", SETTINGS)
    name = spec.version("v1").get_registered_model_name()
    for version in ("v1", "v2"):
        _train(registry, spec, version)
        request = ANSWERED if version == "v2" else str(uuid.uuid4())
        question = Question(registry, request, datetime.now(UTC), 1)
        proposal = question.ask(lambda: _propose(registry, name))
        if version == "v2":
            no_reason = YES.model_copy(update={"approver": "the one who asked"})
            question.take(proposal, 1, no_reason)
        standing = question.take(proposal, len(question.status(proposal).answers) + 1, YES)
        decide(registry, proposal, standing.counted, token=f"promotion-{request}")
        question.close("approve")
    champions = {model.name: 2 for model in registry.list_models()}
    find_silent(registry, champions)
    window = Path("window")
    draw_window(window, ("person", "helmet"), light=Light.NIGHT, images=4, seed=3, image_size=64)
    check_health(
        registry, ModelName.parse(f"{name}__openvino_int8"), window, token="window", camera="gate-2"
    )
    now = datetime.now(UTC)
    box = BoxReport(
        model=name,
        version=2,
        camera="gate-1",
        begin=now - timedelta(minutes=5),
        end=now,
        frames=100,
        metrics={"detections_per_frame": 0.25},
    )
    post_report(registry.client, box)
    judge_new(registry)
    fault = CameraFault(kind=FaultKind.DARK, frames=90, of=100)
    ailing = {"camera": "gate-3", "faults": (fault,), "objects": 3}
    # Posted, and judged by nobody yet.
    post_report(registry.client, box.model_copy(update=ailing))
    drill(registry, ModelName.parse(name))
    registry.rollback(name, actor="lee@control-room", reason="blind at night", token="rollback-1")
    drifted = Finding(
        name, FindingCode.CHAMPION_MOVED, Severity.ERROR, "@champion was moved", "Look at it."
    )
    [change] = find_changes({}, [drifted])
    AlarmBook(registry.client).write(change)
    _train(registry, spec, "v3")
    mirror_rules(registry.client, [ApprovalRule(models=f"{name}*", approvals_needed=2)])
    waiting = Question(registry, REQUEST, datetime.now(UTC), 1)
    proposal = waiting.ask(lambda: _propose(registry, name))
    waiting.take(proposal, 1, YES)


def _train(registry: ModelRegistryManager, spec: ScenarioSpec, version: str) -> None:
    scenario = spec.version(version)
    trained = TrainingRunner(scenario, registry).run()
    assert trained.version is not None
    QuantizationRunner(scenario, registry, trained.version).run()


def _propose(registry: ModelRegistryManager, name: str) -> Any:
    token = str(uuid.uuid4())
    return propose(registry, name, token=token, requested_by="the one who asked", reason="better")


def _long_release(registry: ModelRegistryManager) -> None:
    """Operations of every kind, and more of them than one ledger run holds."""
    client = registry.client
    experiment = client.create_experiment("rotation")
    run_id = client.create_run(experiment).info.run_id
    with tempfile.TemporaryDirectory() as text:
        (Path(text) / "MLmodel").write_text("{}")
        model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
        client.log_model_artifacts(model.model_id, text)
        client.finalize_logged_model(model.model_id, "READY")
    client.update_run(run_id, status="FINISHED")
    for _ in range(3):
        registry.register_model(run_id, "model", LONG, token=uuid.uuid4().hex)
    registered = ModelName.parse(LONG).registered
    for number in range(49):
        registry.promote_to_champion(
            LONG, number % 2 + 1, actor="kim", reason=f"turn {number}", token=f"turn-{number}"
        )
    client.set_registered_model_alias(registered, "champion", "3")
    registry.repair(LONG, "mlflow", reason="3 was put there by hand", actor="kim")
    client.set_registered_model_alias(registered, "champion", "2")
    registry.repair(LONG, "ledger", reason="2 was put there by hand", actor="kim")
    registry.rollback(LONG, actor="kim", reason="3 does not see", token="back")


def _documents(registry: ModelRegistryManager, target: Path) -> None:
    """Take out of MLflow what can be read without it: documents, tags and params."""
    client, documents = registry.client, target / "documents"
    everything: dict[str, Any] = {"experiments": {}, "models": {}, "versions": {}, "runs": {}}
    for experiment in client.search_experiments():
        everything["experiments"][experiment.name] = dict(experiment.tags)
        for run in client.search_runs([experiment.experiment_id], max_results=1000):
            kept = {"tags": dict(run.data.tags), "params": dict(run.data.params)}
            everything["runs"][f"{experiment.name}/{run.info.run_name}/{run.info.run_id}"] = kept
            _download(client, run.info.run_id, documents)
    for model in client.search_registered_models():
        everything["models"][model.name] = {"tags": model.tags, "aliases": model.aliases}
        for version in client.search_model_versions(f"name = '{model.name}'"):
            everything["versions"][f"{model.name}/{version.version}"] = dict(version.tags)
    _write(target / "mlflow.json", everything)


def _download(client: Any, run_id: str, documents: Path) -> None:
    """The JSON documents of a run; one of each kind is enough, the database has all."""
    for file in client.list_artifacts(run_id):
        kept = documents / file.path
        if file.path.endswith(".json") and not kept.exists():
            documents.mkdir(exist_ok=True)
            client.download_artifacts(run_id, file.path, str(documents))
        elif file.is_dir and file.path == "speed":
            client.download_artifacts(run_id, file.path, str(documents))


def _pack(folder: Path, archive: Path) -> None:
    """The database and the artifacts, as small as they get."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("VACUUM")
    database.close()
    # Equal files of several models lie side by side, and the window reaches over all of them.
    files = sorted((f for f in folder.rglob("*") if f.is_file()), key=lambda f: (f.suffix, f.name))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 26}]
    with (
        lzma.open(archive, "wb", filters=filters) as stream,
        tarfile.open(fileobj=stream, mode="w") as tar,
    ):
        for file in files:
            # Pictures are for people; no code reads one again.
            stored = file.name == "mlflow.db" or "artifacts" in file.relative_to(folder).parts
            if stored and file.suffix not in (".png", ".jpg"):
                tar.add(file, str(file.relative_to(folder)), filter=_nobody)


def _nobody(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def _scenarios(folder: Path, target: Path) -> None:
    """The shipped scenarios with the digest of every version, and as a block keeps them."""
    digests: dict[str, dict[str, str]] = {}
    blocks: dict[str, Any] = {}
    (target / "scenarios").mkdir()
    for path in sorted(folder.glob("*.yaml")):
        shutil.copy(path, target / "scenarios")
        spec = read_scenario_file(path)
        digests[path.stem] = {version: spec.version(version).digest for version in spec.versions}
        blocks[path.stem] = spec.model_dump(mode="json")
    spec = ScenarioSpec.from_mapping("golden-ppe", SETTINGS)
    digests["golden-ppe"] = {version: spec.version(version).digest for version in spec.versions}
    blocks["golden-ppe"] = spec.model_dump(mode="json")
    _write(target / "digests.json", digests)
    _write(target / "settings.json", sorted(set(settings_of(Scenario))))
    _write(target / "blocks.json", blocks)


def settings_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The paths of all settings of a scenario, e.g. `training.seed`; kinds share theirs."""
    for name, field in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        groups = list(_groups(field.annotation))
        yield here
        for group in groups:
            yield from settings_of(group, here)


def _groups(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _groups(part)


def _files(target: Path) -> None:
    """What is stored elsewhere than in MLflow, or by what the lifecycle above does not do."""
    base = ModelName.parse("golden/lab-bench/welding/ppe")
    before = {base.public: ProductionEntry(1, None, 1)}
    after = {
        base.public: ProductionEntry(2, 1, 2),
        f"{base.public}__openvino_int8": ProductionEntry(1, None, 1, 2),
    }
    time = "2026-11-29T12:00:00.000+00:00"
    entries = {
        kind.value: encode_entry(
            base,
            OperationRecord(
                7,
                kind,
                base.public,
                before,
                after,
                Attribution("김민지", "보았다", f"t-{kind}"),
                time,
            ),
            "0123456789abcdef",
        )
        for kind in OperationKind
        if kind is not OperationKind.OTHER
    }
    former = Former(digest="0123456789abcdef", tokens={"0123456789": 50}).to_line()
    mirror = encode_mirror(base, 7, "0123456789abcdef", after)
    _write(target / "ledger.json", {"entries": entries, "former": former, "mirror": mirror})
    rule = ApprovalRule(
        models="golden/*",
        approvers=("Kim Minji", "Lee Jun"),
        overriders=("Lee Jun",),
        four_eyes=True,
        approvals_needed=2,
        proof=Proof.TOTP,
        expires_after_days=3,
    )
    rules = [
        {"rule": one.model_dump(mode="json"), "digest": one.digest}
        for one in (rule, ApprovalRule())
    ]
    _write(target / "rules.json", rules)
    origin = Origin(
        file="yolo.onnx",
        source="models:/ppe/3",
        sha256="0" * 64,
        format="onnx",
        producer="pytorch",
        opset=17,
        licence="AGPL-3.0",
        layout=LayoutName.RAW,
        input_range=InputRange.UNIT,
        channel_order=ChannelOrder.RGB,
        size=640,
        precision="fp32",
        classes={"person": "person"},
    )
    documents = target / "documents"
    (documents / "origin.json").write_text(origin.model_dump_json(indent=1), encoding="utf-8")
    slow, quick = (
        Latency(
            p50_ms=p50,
            p95_ms=p50 + 1,
            precision="f32",
            instruction_set="AVX2",
            cpu="a processor",
            threads=1,
            image_size=64,
            repeats=60,
        )
        for p50 in (9.0, 4.0)
    )
    speed = SpeedReport(
        verdict=SpeedVerdict.FASTER,
        speedup=2.25,
        low=2.0,
        high=2.5,
        against="f32",
        machine="AVX2, a processor",
        fp32=slow,
        default=slow,
        variant=quick,
    )
    (documents / "SpeedReport.json").write_text(speed.model_dump_json(indent=1), encoding="utf-8")
    event = ModelEvent(model=base.public, version=2, message="promoted", time=datetime.now(UTC))
    (documents / "ModelEvent.json").write_text(event.model_dump_json(indent=1), encoding="utf-8")
    write_approvers(target / "approvers.json", {"Kim Minji": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"})
    (target / "approvers.json").chmod(0o644)
    figures = EpochFigures(1, 2.0, 1.0, 0.5, 0.01, None, 0.1, 1764400000000)
    state: Mapping[str, object] = {"weights": torch.zeros(2), "history": [figures.to_plain()]}
    Checkpoints(target / "checkpoints", "0" * 32).save(Checkpoint(1, state))


def _orchestration(target: Path) -> None:
    """What Prefect and the folder of `make up` keep: a flow run of each flow, servers, keys."""
    name, report = "golden/lab-bench/welding/ppe", "0" * 32
    scenario = {"scenario": "golden-ppe", "version": "v1"}
    runs: dict[str, dict[str, Any]] = {
        "train": scenario,
        "quantize": {**scenario, "model_version": 1, "precision": "int8"},
        "lifecycle": {**scenario, "requested_by": "kim"},
        "promote": {
            "model_name": name,
            "model_version": 2,
            "requested_by": "kim",
            "reason": "better",
            "force": True,
        },
        "check-health": {"model_name": name, "window": "/w", "incident": "i", "camera": "gate-1"},
        "rollback": {
            "model_name": name,
            "failing_version": 2,
            "report": report,
            "incident": "i",
            "reason": "blind",
        },
        "drill": {"model_name": name},
        "reconcile": {"model_name": name, "files": "size"},
    }
    for flow in flows():
        # Each says all that it can be told.
        assert set(runs[flow.name]) == set(flow.parameters.properties)
        flow.validate_parameters(runs[flow.name])
    _write(target / "flows.json", runs)
    process = Process("mlflow", 4711, 1764400000.25, "logs/mlflow.log")
    addresses = "http://127.0.0.1:5000", "http://127.0.0.1:4200/api"
    State(*addresses, {"mlflow": process}).write(target)
    # No real ones.
    keys = iter(("golden-prefect-key", "golden-mlflow-key"))
    servers.token_urlsafe = lambda _: next(keys)
    servers.Keys.make(target)
    for name in (servers.STATE_FILE, servers.KEY_FILE):
        (target / name).chmod(0o644)


def flows() -> list[Any]:
    """The flows of all deployments."""
    described = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text("utf-8"))
    places = [one["entrypoint"].rsplit(".", 1) for one in described["deployments"]]
    return [getattr(importlib.import_module(module), name) for module, name in places]


def _write(path: Path, content: object) -> None:
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
