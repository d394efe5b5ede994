"""What import-linter cannot see: who may call the dangerous methods of MLflow."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import guardianflow

ROOT = Path(guardianflow.__file__).parent.parent
PACKAGES = ("guardianflow", "flows", "blocks", "deployments")


@pytest.mark.parametrize("call", ["set_registered_model_alias", "delete_registered_model_alias"])
def test_only_one_file_writes_aliases(call):
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    assert len(files) > 50
    callers = {str(f.relative_to(ROOT)) for f in files if f"{call}(" in f.read_text("utf-8")}
    assert callers == {"guardianflow/registry/rotation/aliases.py"}


def test_the_wheel_holds_every_file_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    named = {
        ROOT / package.replace(".", "/") / name
        for package, names in settings["package-data"].items()
        for name in names
    }
    files = (ROOT / "guardianflow").rglob("*")
    assert named == {f for f in files if f.is_file() and f.suffix not in (".py", ".pyc")}


def test_prefect_finds_the_file_that_the_package_holds():
    assert (ROOT / "prefect.yaml").resolve() == ROOT / "guardianflow/prefect_api/prefect.yaml"


@pytest.mark.parametrize(
    ("package", "foreign"),
    [
        ("benchmarks", {"tests"}),
        ("docs", {"tests"}),
        ("testbed", {"tests", "benchmarks", "docs"}),
        *((name, {"testbed", "tests", "benchmarks", "docs"}) for name in PACKAGES),
    ],
)
def test_what_both_tests_and_benchmarks_need_stands_in_testbed(package, foreign):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    found = {(str(file), name) for file in files for name in _imported(file)}
    assert {(file, name) for file, name in found if name in foreign} == set()


def _imported(file: Path) -> Iterator[str]:
    """The packages that a file imports, by their first name, at its top or in a function."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]


MAPPED = [
    init
    for package in (*PACKAGES, "testbed")
    for init in sorted((ROOT / package).rglob("__init__.py"))
    if init.parent.name != "cli"  # its map is of commands: tests/unit/test_cli.py
]


@pytest.mark.parametrize("init", MAPPED, ids=lambda init: str(init.parent.relative_to(ROOT)))
def test_the_map_of_a_package_names_all_that_is_in_it(init):
    drawn = ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""
    modules = {file.stem for file in init.parent.glob("*.py")} - {"__init__"}
    packages = {folder.parent.name for folder in init.parent.glob("*/__init__.py")}
    # At the start of a line, or after an arrow, a comma, a semicolon, a bar, or in backticks.
    named = set(re.findall(r"(?:^|->|[,;|`])[ ]*(\w+)(?=[ ,;:/`]|$)", drawn, re.MULTILINE))
    assert (modules | packages) - named == set()


def test_the_map_of_the_rooms_is_the_one_that_is_checked():
    rows = re.findall(r"^    (\| )?(\w+) ", guardianflow.__doc__ or "", re.MULTILINE)
    drawn = "".join(f" | {room}" if beside else f"\n{room}" for beside, room in rows)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    rooms = next(one for one in contracts["contracts"] if one.get("containers") == ["guardianflow"])
    assert drawn.split("\n")[1:] == rooms["layers"]


def test_public_names_are_where_they_were_promised():
    from guardianflow import lifecycle, quantization, training
    from guardianflow.lifecycle.making import Made
    from guardianflow.lifecycle.quantization import QuantizationRunner
    from guardianflow.lifecycle.training import TrainingRunner

    assert training.TrainingRunner is TrainingRunner
    assert quantization.QuantizationRunner is QuantizationRunner
    for module in (training, quantization):
        behind = getattr(lifecycle, module.__name__.rpartition(".")[2])
        assert {name: getattr(module, name) for name in module.__all__} == {
            name: getattr(behind, name) for name in behind.__all__
        }
    # Both words of `register_model`, whatever made the version.
    made = Made("a run")
    assert (made.run_id, made.artifact_path) == ("a run", "model")


ALLOWED_HOMONYMS = {
    "check_health": "a flow and the domain function that it calls",
    "create_app": "each server has one, by the name that uvicorn and gunicorn expect",
    "drill": "a command, a flow and the domain function that both call",
    "export_errors": "a command and the domain function that it calls",
    "main": "each program has one",
    "promote": "a command and a flow with the same steps",
    "reconcile": "a flow and the domain function that it calls",
    "rollback": "a command and a flow of the same operation",
}


def test_no_public_name_is_defined_twice():
    defined: dict[str, list[str]] = {}
    for package in ("guardianflow", "flows", "deployments"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(file.read_text("utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    defined.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert len(defined) > 1000
    homonyms = {
        name: files
        for name, files in defined.items()
        if len(files) > 1 and not name.startswith("_")
    }
    assert {name: homonyms[name] for name in homonyms.keys() - ALLOWED_HOMONYMS.keys()} == {}
    assert ALLOWED_HOMONYMS.keys() - homonyms.keys() == set()


def test_files_that_share_costly_parts_exist():
    from tests.conftest import SHARING

    assert [file for file in sorted(SHARING) if not (ROOT / file).is_file()] == []
