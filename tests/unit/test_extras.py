"""What is installed by which extra, and what a command says where it is not."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from guardianflow.cli import main
from guardianflow.machine.extras import EXTRA_OF
from tests.floor import floor

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def names(requirements):
    return {re.match(r"[A-Za-z0-9_.-]+", each)[0].lower() for each in requirements}


def imported():
    """The top-level packages that modules of guardianflow import, but for their types alone."""
    for file in (ROOT / "guardianflow").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]
            elif isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)


def test_every_import_is_in_the_base_or_named_with_its_extra():
    base = names(PROJECT["dependencies"])
    # mlflow-skinny is the package mlflow, and brings these two.
    known = {"mlflow", "requests", "google", "guardianflow", *sys.stdlib_module_names, *EXTRA_OF}
    ours = packages_distributions()
    for package in set(imported()) - known:
        assert {name.lower() for name in ours[package]} & base, package


def test_every_extra_brings_what_is_said_of_it():
    ours = packages_distributions()
    for package, extra in EXTRA_OF.items():
        wanted = names(PROJECT["optional-dependencies"][extra])
        assert {name.lower() for name in ours[package]} & wanted, package


@pytest.mark.parametrize(("package", "extra"), [("torch.nn", "train"), ("prefect", "flows")])
def test_a_missing_extra_is_one_sentence(package, extra, capsys, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr("guardianflow.cli.app.app", missing)
    with pytest.raises(SystemExit) as ended:
        main(["models"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"pip install 'guardianflow[{extra}]'" in said
    assert "defect" not in said


def test_a_module_of_ours_that_is_missing_stays_a_defect(capsys, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'guardianflow.x'", name="guardianflow.x")

    monkeypatch.setattr("guardianflow.cli.app.app", missing)
    with pytest.raises(SystemExit) as ended:
        main(["models"])
    assert ended.value.code == 1
    assert "defect" in capsys.readouterr().err


def test_every_range_has_a_lower_bound_that_can_be_tried():
    lowest = floor()
    for each in PROJECT["dependencies"]:
        assert re.match(r"[A-Za-z0-9_.-]+", each)[0].lower() in lowest, each
    assert "==" not in "".join(PROJECT["dependencies"])
