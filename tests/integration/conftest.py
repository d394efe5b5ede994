"""Real servers for the tests, started once for a session and ended by their process id."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from testbed.runs import make_run
from testbed.servers import mlflow_server_on

if TYPE_CHECKING:
    from guardianflow.prefect_api.control import Orchestrator
    from tests.integration.learned import Learned
    from tests.integration.releases import Releases

pytest.register_assert_rewrite("tests.integration.faults")


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's server keeps its database (mlflow.db) and its files (artifacts/)."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def mlflow_server(mlflow_folder: Path) -> Iterator[str]:
    """The address of a real MLflow server on SQLite that serves artifacts."""
    with mlflow_server_on(mlflow_folder) as server:
        yield server.uri


# Of this folder alone: at its end Prefect waits for every event that this process still wants to
# send, also to servers of the end-to-end tests that are long gone; then it would wait for ever.
@pytest.fixture(scope="package")
def prefect_server() -> Iterator[str]:
    """The address of a real Prefect API on a database of its own."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_ANALYTICS_ENABLED,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    with (
        temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False}),
        prefect_test_harness(server_startup_timeout=120),
        # The heartbeat costs every flow run a second, and no test looks at it.
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="package")
def applied(prefect_server: str) -> "Orchestrator":
    """The Prefect server after `python -m deployments.apply`, which takes 15 s, done once."""
    from deployments.apply import apply
    from guardianflow.prefect_api.control import Orchestrator

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
        apply()
    return Orchestrator(prefect_server)


@pytest.fixture(scope="module")
def releases(
    prefect_server: str, mlflow_server: str, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Releases]":
    """Releases on the MLflow server of the session, which the flows know by their credentials."""
    from blocks.mlflow_credentials import DEFAULT_DOCUMENT, MlflowCredentials
    from tests.integration.releases import Releases

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
        MlflowCredentials.register_type_and_schema()
        MlflowCredentials(tracking_uri=mlflow_server).save(DEFAULT_DOCUMENT, overwrite=True)
        yield Releases(mlflow_server, tmp_path_factory.mktemp("unused"))


@pytest.fixture
def registry(
    mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelRegistryManager:
    """A registry on the server, with its local state in the test's own folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    return ModelRegistryManager(mlflow_server)


@dataclass
class Factory:
    """Makes models for tests of the rotation, without any training."""

    registry: ModelRegistryManager

    def name(self) -> str:
        """A public name that no other test uses."""
        return f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"

    def run(self, files: dict[str, bytes] | None = None) -> str:
        """A run that holds a LoggedModel called `model` of a few bytes."""
        client = self.registry.client
        return make_run(client, files or {"MLmodel": b"{}", "artifacts/ir/model.bin": b"weights"})

    def base(self, name: str) -> RegisteredModelInfo:
        """A new version of a base."""
        return self.registry.register_model(self.run(), "model", name)

    def twin(self, name: str, source: int) -> RegisteredModelInfo:
        """A new version of the INT8 variant of a base, made from a version of it."""
        return self.registry.register_model(
            self.run(),
            "model",
            f"{name}__openvino_int8",
            tags={"guardianflow.source_version": str(source)},
        )


@pytest.fixture
def factory(registry: ModelRegistryManager) -> Factory:
    """Makes models on the session's server."""
    return Factory(registry)


@pytest.fixture(scope="session")
def learned(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> "Learned":
    """A detector that was really trained, quantized and registered; trained once for all tests."""
    # torch and nncf take seconds to import, and most tests need neither
    from tests.integration.learned import learn

    return learn(mlflow_server, tmp_path_factory.mktemp("learned"))
