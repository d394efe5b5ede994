"""What is done by hand in MLflow is found, and the command that doctor names mends it."""

import re
import shlex
import subprocess
import sys
import uuid

import pytest
from mlflow import MlflowClient

from guardianflow.cli import main
from guardianflow.doctor import examine
from guardianflow.errors import ModelUnknown
from guardianflow.findings import FileCheck, Severity
from guardianflow.names import ModelName
from tests.integration.conftest import make_run
from tests.servers import mlflow_server_on


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of this module's own: its database and its files are damaged here."""
    with mlflow_server_on(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="module")
def mlflow_server(server):
    return server.uri


@pytest.fixture
def client(registry):
    """What somebody in the MLflow UI has."""
    return registry.client


class Plant:
    """Releases of versions that share their files: quick to make."""

    def __init__(self, registry, factory, run_id):
        self.registry, self.factory, self.run_id = registry, factory, run_id

    def version(self, name, source=None):
        """A new version, which waits as @candidate."""
        tags = {} if source is None else {"guardianflow.source_version": str(source)}
        return self.registry.register_model(
            self.run_id, "model", name, tags=tags, token=uuid.uuid4().hex
        ).version

    def release(self, *, variant=False):
        """Versions 1 and 2, the second in production, with a way back."""
        name = self.factory.name()
        for version in (1, 2):
            self.version(name)
            if variant:
                self.version(f"{name}__openvino_int8", version)
            self.registry.promote_to_champion(name, actor="kim", reason=f"release {version}")
        return name


@pytest.fixture(scope="module")
def shared_run(server):
    return make_run(
        MlflowClient(server.uri, server.uri), {"MLmodel": b"{}", "artifacts/ir/model.bin": b"w"}
    )


@pytest.fixture
def plant(registry, factory, shared_run):
    return Plant(registry, factory, shared_run)


@pytest.fixture
def single(plant):
    """A base alone, with a way back."""
    return plant.release()


@pytest.fixture
def twins(plant):
    """A base and its variant, with a way back."""
    return plant.release(variant=True)


def registered(name):
    return ModelName.parse(name).registered


def found(registry, name, files=FileCheck.SIZE):
    return [finding.code for finding in examine(registry, name, files=files)]


def carry_out(finding, command=0):
    """Run the remedy as it is printed."""
    words = shlex.split(re.findall(r"`([^`]*)`", finding.remedy)[command])
    if words[0] == "guardianflow":
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        assert ended.value.code == 0
        return
    program = [sys.executable, *words[1:]] if words[0] == "python" else ["-m", *words]
    if words[0] == "mlflow":
        program = [sys.executable, "-m", *words]
    subprocess.run(program, check=True, capture_output=True)


@pytest.mark.parametrize("command", [0, 1], ids=["keep ledger", "keep mlflow"])
@pytest.mark.parametrize("alias", ["champion", "rollback"])
def test_an_alias_moved_by_hand_is_found_and_mended(registry, client, single, alias, command):
    client.set_registered_model_alias(
        registered(single), alias, "1" if alias == "champion" else "2"
    )
    finding = next(f for f in examine(registry, single) if f.severity is Severity.ERROR)
    assert finding.code == f"{alias}-moved"
    assert finding.model == single
    carry_out(finding, command)
    assert not [f for f in examine(registry, single) if f.severity is Severity.ERROR]
    champion = registry.get_champion(single).version
    assert champion == (1 if (alias, command) == ("champion", 1) else 2)


@pytest.mark.parametrize("alias", ["champion", "rollback"])
def test_an_alias_deleted_by_hand_is_found_and_mended(registry, client, twins, alias):
    int8 = f"{twins}__openvino_int8"
    client.delete_registered_model_alias(registered(int8), alias)
    (finding,) = examine(registry, int8)
    assert (finding.code, finding.model) == (f"{alias}-missing", int8)
    carry_out(finding)
    assert examine(registry, twins) == []


def test_a_champion_that_the_ledger_never_heard_of_is_adopted(registry, client, plant):
    name = plant.factory.name()
    plant.version(name)
    assert examine(registry, name) == []
    client.set_registered_model_alias(registered(name), "champion", "1")
    (finding,) = examine(registry, name)
    assert finding.code == "not-in-ledger"
    carry_out(finding)
    assert found(registry, name) == ["no-way-back"]


def test_a_deleted_champion_is_found_and_a_rollback_mends_it(registry, client, single):
    client.delete_model_version(registered(single), "2")
    findings = examine(registry, single)
    assert [f.code for f in findings] == ["version-deleted"]
    carry_out(findings[0])
    assert registry.get_champion(single).version == 1
    assert not [f for f in examine(registry, single) if f.severity is Severity.ERROR]


def test_a_deleted_champion_without_a_way_back_names_what_is_left(registry, client, plant):
    name = plant.factory.name()
    plant.version(name)
    plant.version(name)
    registry.promote_to_champion(name, 2)
    client.delete_model_version(registered(name), "2")
    finding = examine(registry, name)[0]
    assert finding.code == "version-deleted"
    assert "set @champion in MLflow" in finding.remedy
    client.set_registered_model_alias(registered(name), "champion", "1")
    carry_out(finding, 1)
    assert found(registry, name) == ["no-way-back"]


def test_a_deleted_way_back_is_found_and_accepted(registry, client, single):
    client.delete_model_version(registered(single), "1")
    (finding,) = examine(registry, single)
    assert finding.code == "version-deleted"
    assert "way back" in finding.message
    carry_out(finding)
    assert found(registry, single) == ["no-way-back"]


def test_a_renamed_model_is_found_and_renamed_back(registry, client, twins):
    int8 = f"{twins}__openvino_int8"
    client.rename_registered_model(registered(int8), "somebody's copy")
    (finding,) = examine(registry, twins)
    assert (finding.code, finding.model) == ("model-renamed", int8)
    carry_out(finding)
    assert examine(registry, twins) == []


def test_a_renamed_base_is_found_too(registry, client, twins):
    client.rename_registered_model(registered(twins), "renamed")
    (finding,) = examine(registry, twins)
    assert (finding.code, finding.model) == ("model-renamed", twins)
    carry_out(finding)
    assert examine(registry, twins) == []


def test_a_deleted_model_is_found_and_registered_again(registry, client, plant, twins):
    int8 = f"{twins}__openvino_int8"
    client.delete_registered_model(registered(int8))
    (finding,) = examine(registry, twins)
    assert (finding.code, finding.model) == ("model-deleted", int8)
    again = plant.version(int8, 2)
    client.set_registered_model_alias(registered(int8), "champion", str(again))
    carry_out(finding, 1)
    assert found(registry, twins) == ["no-way-back"]


def test_a_release_whose_models_are_all_gone_is_still_known(registry, client, twins):
    for name in (twins, f"{twins}__openvino_int8"):
        client.delete_registered_model(registered(name))
    assert found(registry, twins) == ["model-deleted", "model-deleted"]
    with pytest.raises(ModelUnknown):
        examine(registry, "nobody/knows-this/welding/ppe")
