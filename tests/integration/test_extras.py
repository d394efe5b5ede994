"""Each extra in an environment of its own: what it is for works there, the rest is one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from testbed.commands import run_command
from testbed.tiny import tiny_spec
from tests.integration.conftest import Factory

CHECKOUT = Path(__file__).parents[2]
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


class Installation:
    """guardianflow with some extras, in an environment that has nothing else."""

    def __init__(self, folder: Path, mlflow: str) -> None:
        self.folder, self.mlflow = folder, mlflow
        self.python = folder / "env" / "bin" / "python"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_"))}
        self.environment = {
            **clean,
            "GUARDIANFLOW_HOME": str(folder / "home"),
            "GUARDIANFLOW_SCENARIOS": str(folder / "scenarios"),
            "MLFLOW_TRACKING_URI": mlflow,
        }

    def install(self, wheel: Path, extra: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", self.folder / "env"], check=True)
        wanted = f"guardianflow{extra} @ {wheel.as_uri()}"
        # What is compiled is mostly never run here, and costs more than all the rest.
        pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
        constraints = ["-c", CHECKOUT / "constraints.txt"]
        subprocess.run([self.python, *pip, *constraints, wanted], check=True, timeout=1500)

    def run(self, *words: str, expect: int = 0):
        """A command with `--json`; it ends with the exit code that is expected."""
        return run_command(self.python, words, self.environment, folder=self.folder, expect=expect)

    def lacks(self, extra: str, *words: str) -> None:
        """A command that needs another extra says which, and does nothing."""
        error = self.run(*words, expect=2)["error"]
        assert error["type"] == "PackageMissing"
        assert error["remedy"] == f"Run: pip install 'guardianflow[{extra}]'"

    def imports(self, *modules: str) -> None:
        code = "; ".join(f"import {module}" for module in modules)
        subprocess.run([self.python, "-c", code], env=self.environment, check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Made from a copy: it would leave a folder in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, folder)
    shutil.copytree(CHECKOUT / "guardianflow", folder / "guardianflow")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, folder]
    subprocess.run(command, check=True)
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture
def installed(tmp_path, mlflow_server, wheel):
    """Installs guardianflow with an extra such as `[train]`, with a tiny scenario beside it."""

    def install(extra: str) -> Installation:
        made = Installation(tmp_path, mlflow_server)
        made.install(wheel, extra)
        (tmp_path / "scenarios").mkdir()
        spec = tiny_spec(f"extra{os.getpid()}")
        content = {**spec.common, "versions": spec.versions}
        (tmp_path / "scenarios" / "tiny.yaml").write_text(yaml.safe_dump(content))
        return made

    return install


def test_the_base_moves_aliases_and_says_what_it_lacks(installed, factory: Factory):
    base: Installation = installed("")
    name = factory.name()
    for _ in range(2):
        factory.base(name)
        factory.registry.promote_to_champion(name)
    assert name in [model["name"] for model in base.run("models")]
    assert base.run("rollback", name, "--reason", "all alarms are false")["kind"] == "rollback"
    assert [one["kind"] for one in base.run("history", name)][-1] == "rollback"
    assert factory.registry.get_champion(name).version == 1
    base.lacks("train", "run", "tiny", "--type", "train", "--version", "v1")
    base.environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    base.lacks("flows", "pending")


def test_the_extra_train_makes_and_measures_versions(installed):
    train: Installation = installed("[train]")
    made = train.run("run", "tiny", "--type", "train", "--version", "v1")
    assert made["version"] == 1
    variant = train.run("run", "tiny", "--type", "quant", "--version", "v1")
    assert variant["source_version"] == 1
    assert train.run("promote", made["model_name"])["changed"]
    train.environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    train.lacks("flows", "pending")


def test_the_extra_flows_asks_prefect(installed):
    flows: Installation = installed("[flows]")
    # Nothing listens there: it needs no package, but a server.
    flows.environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    assert flows.run("pending", expect=4)["error"]["type"] == "OrchestratorUnavailable"
    flows.lacks("train", "run", "tiny", "--type", "train", "--version", "v1")


def test_the_extras_server_and_box_bring_what_they_are_for(installed):
    both: Installation = installed("[server,box]")
    both.imports("mlflow.server.fastapi_app", "psycopg", "openvino", "PIL", "pandas")
