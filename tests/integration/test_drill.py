"""The rehearsal of a rollback on real models: it moves nothing, and finds what would stop one."""

import json
import shutil
import time

import numpy as np
import pytest

from benchmarks.http_calls import recorded
from guardianflow.cli import main
from guardianflow.errors import DrillFailed, NoRollbackTarget, RegistryUnavailable
from guardianflow.monitoring.drill import count_writes, drill
from guardianflow.monitoring.drill_report import DRILL_TAG, LastDrill
from guardianflow.names import ModelName
from guardianflow.stored import read_stored
from guardianflow.vision.ir.serving import IrDetector
from testbed.runs import make_run
from tests.integration.conftest import Factory
from tests.integration.release_kit import files_on_server, register_copy, set_status_in_database

STEPS = ["version", "files", "load", "predict"]


@pytest.fixture(autouse=True)
def same_home(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))


@pytest.fixture
def plant(learned):
    return Factory(learned.registry)


@pytest.fixture(scope="module")
def released(learned):
    """A release that was promoted twice, of models that really detect."""
    registry, name = learned.registry, Factory(learned.registry).name()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(learned.home))
        base = register_copy(learned, name)
        twin = register_copy(learned, name, source=1)
        registry.promote_to_champion(name)
        # The same files once more, which spares the server another upload.
        registry.register_model(base.run_id, "model", name, token="again")
        source = {"guardianflow.source_version": "2"}
        registry.register_model(twin.run_id, "model", twin.name, tags=source, token="again")
        registry.promote_to_champion(name)
    return name


def registered(name):
    return ModelName.parse(name).registered


def everything(registry, name):
    """Aliases, tags and history of a release: all that a drill might change."""
    seen = registry.release(name).inspect()
    models = {n: (dict(m.aliases), dict(m.tags)) for n, m in seen.models.items()}
    for _, tags in models.values():
        tags.pop(DRILL_TAG, None)
    versions = {n: registry.list_versions(n) for n in models}
    return models, versions, seen.head, seen.drift


def last_drill(registry, name):
    mark = registry.release(name).inspect().models[name].tags[DRILL_TAG]
    return read_stored(LastDrill, mark, "mark")


def writes(calls):
    return [
        str(call)
        for call in calls
        if call.method != "GET" and not call.path.endswith(("/search", "/health"))
    ]


def test_a_drill_proves_the_way_back_and_moves_nothing(learned, released, mlflow_folder):
    registry, twin = learned.registry, f"{released}__openvino_int8"
    registry.download(released, 1)
    before, told = everything(registry, released), []
    with recorded() as calls:
        report = drill(
            registry, ModelName.parse(released), on_progress=lambda *said: told.append(said)
        )
    assert everything(registry, released) == before
    assert report.targets == {released: (2, 1), twin: (2, 1)}
    tried = [(step.step, step.name, step.version) for step in report.steps]
    assert tried == [
        ("plan", released, None),
        *((step, name, 1) for name in (released, twin) for step in STEPS),
        ("ledger", released, None),
        ("write", released, None),
    ]
    assert all(step.ok and step.seconds > 0 and step.found for step in report.steps)
    assert "first frame of its evaluation set" in report.steps[4].found
    assert told[0] == (f"plan of {released}", 0, 1)
    assert len(told) == 2 * len(tried)
    # Every file came from the server, although a verified copy lies on this machine.
    for name in (released, twin):
        files = files_on_server(registry, mlflow_folder, name, 1)
        for file in (path for path in files.rglob("*") if path.is_file()):
            where = file.relative_to(mlflow_folder / "artifacts").as_posix()
            assert any(c.method == "GET" and c.path.endswith(where) for c in calls), where
    kept = last_drill(registry, twin.removesuffix("__openvino_int8"))
    assert kept.ok
    assert (kept.name, kept.problem) == (released, "")
    assert kept.seconds == pytest.approx(report.estimate.seconds, abs=0.001)
    estimate = report.estimate
    assert estimate.writes == count_writes(registry.plan_rollback(released, write=False))
    parts = estimate.plan_s + estimate.files_s + estimate.writes * estimate.write_s
    assert estimate.seconds == pytest.approx(parts)
    assert f"{estimate.writes} writes" in report.message
    # What the ledger says already; the tag twice, because the estimate is known after the first.
    written = [call.rpartition("/")[2] for call in writes(calls)]
    assert written == ["log-parameter", "set-tag", "set-tag"]


def test_every_failure_of_every_name_is_reported(learned, released, mlflow_folder, tmp_path):
    registry, twin = learned.registry, f"{released}__openvino_int8"
    gone = files_on_server(registry, mlflow_folder, released, 1) / "artifacts/ir/model.bin"
    changed = files_on_server(registry, mlflow_folder, twin, 1) / "artifacts/ir/model.bin"
    for file in (gone, changed):
        shutil.copy(file, tmp_path / file.parents[3].name)
    before = everything(registry, released)
    content = bytearray(changed.read_bytes())
    content[100] ^= 1
    changed.write_bytes(content)
    gone.unlink()
    try:
        report = drill(registry, ModelName.parse(released))
    finally:
        for file in (gone, changed):
            shutil.copy(tmp_path / file.parents[3].name, file)
    assert everything(registry, released) == before
    with pytest.raises(DrillFailed) as failed:
        report.require_success()
    problems = [(step.step, step.name, step.version) for step in report.failures]
    assert problems == [("files", released, 1), ("files", twin, 1)]
    assert f"files: The files of {released} version 1 " in failed.value.message
    assert "model.bin is gone" in failed.value.message
    assert "model.bin differs" in failed.value.message
    assert "artifact store" in failed.value.remedy
    # Nothing that was not verified was loaded, and no time is promised.
    assert "load" not in {step.step for step in report.steps}
    assert report.estimate is None
    kept = last_drill(registry, released)
    assert (kept.ok, kept.seconds) == (False, None)
    assert "model.bin is gone" in kept.problem
    assert drill(registry, ModelName.parse(released)).ok


def test_the_estimate_counts_the_writes_of_a_real_rollback(plant):
    registry, name = plant.registry, plant.name()
    for version in (1, 2):
        plant.base(name)
        plant.twin(name, version)
        registry.promote_to_champion(name)
    plant.base(name)
    expected = count_writes(registry.plan_rollback(name, write=False))
    with recorded() as calls:
        registry.rollback(name, reason="a test")
    assert len(writes(calls)) == expected


def test_a_version_deleted_during_the_drill_is_found(plant):
    registry, name = plant.registry, plant.name()
    for _ in range(2):
        plant.base(name)
        registry.promote_to_champion(name)

    def meddle(what, done, _total):
        if what.startswith("version of") and not done:
            registry.client.delete_model_version(registered(name), "1")

    with pytest.raises(DrillFailed, match=f"version: {name} has no version 1") as failed:
        drill(registry, ModelName.parse(name), on_progress=meddle).require_success()
    assert "guardianflow doctor" in failed.value.remedy


def test_a_way_back_that_was_deleted_before_is_said_and_the_older_one_tried(plant):
    registry, name = plant.registry, plant.name()
    for _ in range(3):
        plant.base(name)
        registry.promote_to_champion(name)
    registry.client.delete_model_version(registered(name), "2")
    report = drill(registry, ModelName.parse(name))
    assert not report.ok
    assert report.targets == {name: (3, 1)}
    assert "@rollback" in " ".join(report.warnings)
    assert "guardianflow doctor" in " ".join(report.warnings)


def test_a_version_that_was_never_finished_is_found(plant, mlflow_folder):
    registry, name = plant.registry, plant.name()
    for _ in range(2):
        plant.base(name)
        registry.promote_to_champion(name)
    set_status_in_database(mlflow_folder, name, 1)
    with pytest.raises(DrillFailed, match="not READY"):
        drill(registry, ModelName.parse(name)).require_success()


def test_a_model_that_does_not_load_is_found(plant):
    registry, name = plant.registry, plant.name()
    for _ in range(2):
        plant.base(name)
        registry.promote_to_champion(name)
    with pytest.raises(DrillFailed, match=f"load: {name} version 1 does not load") as failed:
        drill(registry, ModelName.parse(name)).require_success()
    assert "guardianflow promote" in failed.value.remedy
    bare = plant.name()
    for _ in range(2):
        run_id = make_run(registry.client, {"weights/best.pt": b"weights"}, model=False)
        registry.register_model(run_id, "weights/best.pt", bare)
        registry.promote_to_champion(bare)
    with pytest.raises(DrillFailed, match="holds no MLmodel"):
        drill(registry, ModelName.parse(bare)).require_success()


def test_a_model_that_computes_no_numbers_is_found(learned, plant, tmp_path):
    import openvino as ov

    registry, name = learned.registry, plant.name()
    folder = tmp_path / "model"
    shutil.copytree(registry.download(learned.name, 1), folder)
    edge = folder / "artifacts" / "edge"
    model = ov.Core().read_model(edge / "model.xml")
    for node in model.get_ops():
        # The weights of convolutions: other constants say how large something is.
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) == 4:
            broken = ov.op.Constant(np.full(node.data.shape, np.nan, np.float32))
            node.output(0).replace(broken.output(0))
    ov.save_model(model, tmp_path / "broken.xml", compress_to_fp16=False)
    for suffix in ("xml", "bin"):
        shutil.move(tmp_path / f"broken.{suffix}", edge / f"model.{suffix}")
    IrDetector(edge)
    files = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    registry.register_model(make_run(registry.client, files), "model", name)
    registry.promote_to_champion(name)
    plant.base(name)
    registry.promote_to_champion(name)
    with pytest.raises(DrillFailed, match=f"predict: {name} version 1 .* not numbers"):
        drill(registry, ModelName.parse(name)).require_success()


def test_without_a_way_back_the_refusal_says_so_and_is_kept(plant):
    registry, name = plant.registry, plant.name()
    with pytest.raises(NoRollbackTarget, match="no champion"):
        drill(registry, ModelName.parse(name))
    plant.base(name)
    registry.promote_to_champion(name)
    with pytest.raises(NoRollbackTarget, match="second promotion"):
        drill(registry, ModelName.parse(name))
    kept = last_drill(registry, name)
    assert not kept.ok
    assert "no earlier good champion" in kept.problem


def test_an_interrupted_rollback_has_to_be_finished_first(plant, monkeypatch):
    registry, name = plant.registry, plant.name()
    for _ in range(3):
        plant.base(name)
        registry.promote_to_champion(name)

    def cut(*_arguments):
        raise RegistryUnavailable("the connection is cut")

    with monkeypatch.context() as patch:
        patch.setattr("guardianflow.registry.rotation.projection.write_production", cut)
        with pytest.raises(RegistryUnavailable):
            registry.rollback(name)
    with pytest.raises(DrillFailed, match="interrupted") as failed:
        drill(registry, ModelName.parse(name)).require_success()
    assert f"guardianflow rollback {name}" in failed.value.remedy
    assert registry.release(name).inspect().head.interrupted
    registry.rollback(name)
    assert registry.get_champion(name).version == 2


def run(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    out, err = capsys.readouterr()
    return stopped.value.code, out, " ".join(err.split())


def test_the_command_shows_steps_and_estimate(released, plant, capsys, monkeypatch, mlflow_server):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    code, out, err = run(capsys, "drill", registered(released))
    assert code == 0
    for word in (*STEPS, "seconds", "a rollback would take about", "works", "KiB"):
        assert word in out
    assert f"files of {released} version 1" in err
    code, out, _ = run(capsys, "drill", released, "--json")
    report = json.loads(out)
    assert (code, report["ok"], report["model_name"]) == (0, True, released)
    assert report["targets"][released] == {"from": 2, "to": 1}
    assert set(report["estimate"]) == {"seconds", "plan_s", "files_s", "writes", "write_s"}
    bare = plant.name()
    for _ in range(2):
        plant.base(bare)
        plant.registry.promote_to_champion(bare)
    code, out, err = run(capsys, "drill", bare)
    assert code == 3
    assert "FAILED" in out
    assert "does not load" in err
    code, out, _ = run(capsys, "drill", bare, "--json")
    error = json.loads(out)["error"]
    assert (code, error["type"], error["report"]["ok"]) == (3, "DrillFailed", False)
    assert [failure["step"] for failure in error["failures"]] == ["load"]


@pytest.fixture
def block(prefect_server, mlflow_server, monkeypatch):
    """The credentials that flows use, and an environment that they may change."""
    from blocks import MlflowCredentials
    from blocks.mlflow_credentials import DEFAULT_DOCUMENT

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    MlflowCredentials(tracking_uri=mlflow_server).save(DEFAULT_DOCUMENT, overwrite=True)


def artifacts_of(model_name):
    """What the Prefect UI shows of the drills of a model, by key: how many, and the newest."""
    from prefect.client.orchestration import get_client

    from flows.publishing import artifact_key

    key = artifact_key("drill", model_name)
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json={"sort": "ID_DESC"}).json()
    found.sort(key=lambda artifact: artifact["created"])
    return {k: [a for a in found if a["key"] == k] for k in (key, f"{key}-steps")}


def alarms_about(model_name, count):
    """The payloads of so many alarms about a model; the server stores events in the background."""
    from prefect.client.orchestration import get_client

    wanted = {"event": {"name": ["guardianflow.model.alarm"]}}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with get_client(sync_client=True) as client:
            answer = client.request("POST", "/events/filter", json={"filter": wanted}).json()
        payloads = [event["payload"] for event in answer["events"]]
        found = [payload for payload in payloads if payload["model"] == model_name]
        if len(found) >= count:
            return sorted(found, key=lambda payload: payload["time"])
        time.sleep(0.1)
    raise AssertionError(f"{len(found)} of {count} alarms came in time")


def test_the_flow_says_what_it_found_on_one_page_for_each_model(block, released, plant):
    from flows.drill import drill as drill_flow

    for _ in range(2):
        state = drill_flow(released, return_state=True)
        assert (state.name, state.is_completed()) == ("Drilled", True), state.message
        assert "a rollback would take about" in state.message
    page, table = artifacts_of(released).values()
    assert (len(page), len(table)) == (2, 2)
    assert "works" in page[-1]["data"]
    rows = json.loads(table[-1]["data"])
    assert [row["step"] for row in rows] == ["plan", *STEPS, *STEPS, "ledger", "write"]
    bare = plant.name()
    plant.base(bare)
    plant.registry.promote_to_champion(bare)
    state = drill_flow(bare, return_state=True)
    assert state.is_failed()
    assert "NoRollbackTarget" in state.message
    plant.base(bare)
    plant.registry.promote_to_champion(bare)
    state = drill_flow(bare, return_state=True)
    assert state.is_failed()
    assert f"DrillFailed: The way back of {bare} would not work. load: " in state.message
    alarms = alarms_about(bare, 2)
    assert [alarm["version"] for alarm in alarms] == [1, 2]
    assert "would not work" in alarms[1]["message"]
    page, table = artifacts_of(bare).values()
    assert "no earlier good champion" in page[0]["data"]
    assert "does not load" in page[-1]["data"]
    assert "FAILED" in table[-1]["data"]
