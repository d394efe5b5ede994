"""Addresses that are nearly right, and disks without room, on real servers."""

import json
import uuid

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from guardianflow.cli import main
from guardianflow.errors import DiskFull, InputError, OrchestratorUnavailable, RegistryUnavailable
from guardianflow.mlflow_store.client import border, connect
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import PROMOTION, RELEASE_POOL
from testbed.servers import mlflow_server_on
from tests.room import little_room


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    # Each request fails for good: a second one would say the same.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


def run(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    out, err = capsys.readouterr()
    return stopped.value.code, out, " ".join(err.split())


def test_a_wrong_path_of_mlflow_is_named(mlflow_server):
    with pytest.raises(RegistryUnavailable, match=r"Something else than MLflow .*HTTP 404"):
        connect(f"{mlflow_server}/plant")


def test_a_wrong_workspace_of_mlflow_is_named(tmp_path, monkeypatch):
    with mlflow_server_on(tmp_path, web="uvicorn") as server:
        monkeypatch.setenv("MLFLOW_WORKSPACE", "plant-a")
        with pytest.raises(InputError, match=r"refuses the workspace 'plant-a'.*not enabled"):
            connect(server.uri)


def test_the_other_server_and_a_path_without_api_are_named(applied, mlflow_server):
    root = applied.ui_url
    with pytest.raises(RegistryUnavailable, match="Something else than MLflow"):
        connect(root)
    for address, remedy in (
        (root, f"try {root}/api"),
        (mlflow_server, f"try {mlflow_server}/api"),
        (f"{mlflow_server}/api", "Correct PREFECT_API_URL"),
        (f"{root}/api/plant", "Correct PREFECT_API_URL"),
    ):
        with pytest.raises(OrchestratorUnavailable, match="Something else than a Pre") as told:
            Orchestrator(address).check()
        assert remedy in told.value.remedy
        assert "<" not in told.value.message
    applied.check()


def test_status_takes_one_server_alone_and_tells_of_the_other(
    mlflow_server, monkeypatch, capsys, applied
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    code, out, _ = run(capsys, "status", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["prefect"] == "no server is named"
    assert answer["mlflow"].startswith("answers")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{mlflow_server}/plant")
    monkeypatch.setenv("PREFECT_API_URL", applied.api_url)
    code, out, _ = run(capsys, "status", "--json")
    answer = json.loads(out)
    assert code == 4
    assert answer["mlflow"].startswith("Something else than MLflow")
    assert answer["prefect"].startswith("answers")


def test_what_nobody_begins_says_why_and_the_champion_is_not_asked_for(
    applied, mlflow_server, factory, monkeypatch, capsys
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("PREFECT_API_URL", applied.api_url)
    name = factory.name()
    factory.base(name)
    code, _, err = run(capsys, "promote", name, "--request")
    assert code == 0
    assert f"nothing polls the work pool {RELEASE_POOL}: start a worker" in err
    assert f"`python -m deployments.worker {RELEASE_POOL}`" in err
    with get_client(sync_client=True) as client:
        client.update_work_pool(RELEASE_POOL, WorkPoolUpdate(is_paused=True))
        try:
            assert "is paused" in applied.why_it_waits(PROMOTION)
        finally:
            client.update_work_pool(RELEASE_POOL, WorkPoolUpdate(is_paused=False))
        factory.registry.promote_to_champion(name)
        before = len(client.read_flow_runs())
        code, out, _ = run(capsys, "promote", name, "--request", "--model-version", "1")
        assert code == 0
        assert "nothing to do" in out
        assert len(client.read_flow_runs()) == before


def test_a_registration_that_finds_no_room_can_be_made_again(registry, factory):
    name, run_id = factory.name(), factory.run({"MLmodel": b"{}", "model.bin": b"x" * 200_000})
    with little_room(100_000), pytest.raises(DiskFull, match="larger than this account") as full:
        registry.register_model(run_id, "model", name)
    assert "home/fetch" in full.value.message
    assert name not in [model.name for model in registry.list_models()]
    assert registry.register_model(run_id, "model", name).version == 1
    with little_room(100_000), pytest.raises(DiskFull):
        registry.download(name, 1)
    assert (registry.download(name, 1) / "model.bin").stat().st_size == 200_000


def test_a_store_that_cannot_be_written_is_told_with_where_to_look(
    mlflow_server, mlflow_folder, tmp_path
):
    client = connect(mlflow_server)
    experiment = client.create_experiment(f"store-{uuid.uuid4().hex}")
    # A file where its folder has to be: not even root can write below it.
    (mlflow_folder / "artifacts" / experiment).write_text("")
    run_id = client.create_run(experiment).info.run_id
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    with pytest.raises(RegistryUnavailable, match="did not accept") as told, border("run"):
        client.log_artifact(run_id, str(file))
    assert told.value.data["file"] == "model.bin"
    assert "artifact store" in told.value.remedy
