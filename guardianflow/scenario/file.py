"""Finds and reads the scenario files in `scenarios/`; errors name the wrong line.

scenarios/NAME.yaml  --load_spec-->  ScenarioSpec  --version("v3")-->  Scenario
"""

import os
from functools import partial
from pathlib import Path
from typing import cast

from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario.spec import ScenarioSpec
from guardianflow.scenario.version import Scenario
from guardianflow.scenario.yaml_lines import InvalidYaml, line_of, parse_yaml, repeated_keys

_SUFFIXES = (".yaml", ".yml")


def scenarios_folder() -> Path:
    """Return the folder of scenario files: `GUARDIANFLOW_SCENARIOS`, or `scenarios/` here."""
    return Path(os.environ.get("GUARDIANFLOW_SCENARIOS", "scenarios"))


def load_scenario(name: str, version: str, folder: Path | None = None) -> Scenario:
    """Read one version of a scenario from its YAML file, and check its paths.

    Raises:
        ScenarioInvalid: A file, key, value, version or path is wrong.
    """
    return load_spec(name, folder).version(version).check()


def load_spec(name: str, folder: Path | None = None) -> ScenarioSpec:
    """Read the YAML file of a scenario, by the name of the scenario or of the file.

    Raises:
        ScenarioInvalid: There is no such file, or something in it is wrong.
    """
    folder = folder or scenarios_folder()
    files = scenario_files(folder)
    path = files.get(name) or files.get(Path(name).stem if Path(name).suffix in _SUFFIXES else "")
    if path is None:
        raise ScenarioInvalid(
            f"There is no scenario {name!r} in {folder.absolute()}.",
            remedy=f"Choose one of {', '.join(files)}."
            if files
            else "Run the command in the checkout, or set GUARDIANFLOW_SCENARIOS.",
            value=name,
        )
    return read_scenario_file(path)


def today_in_files(name: str, version: str) -> Scenario | None:
    """Return a version of a scenario from its current file; None if there is none.

    Raises:
        ScenarioInvalid: Something in the file is wrong.
    """
    if name not in scenario_files(scenarios_folder()):
        return None
    spec = load_spec(name)
    return spec.version(version) if version in spec.versions else None


def scenario_files(folder: Path) -> dict[str, Path]:
    """Return the scenario files of a folder by name of the scenario, sorted.

    Raises:
        ScenarioInvalid: Two files have the same name.
    """
    found: dict[str, Path] = {}
    for file in sorted(file for file in folder.glob("*") if file.suffix in _SUFFIXES):
        if file.stem in found:
            raise ScenarioInvalid(
                f"{found[file.stem]} and {file} have the same name.",
                remedy="Delete one of them.",
                file=str(file),
            )
        found[file.stem] = file
    return found


def read_scenario_file(path: Path) -> ScenarioSpec:
    """Read a scenario's YAML file, and validate every version in it.

    Raises:
        ScenarioInvalid: Something is wrong; the message names file, line, key and value.
    """
    try:
        content, tree = parse_yaml(path.read_text(encoding="utf-8"))
    except (InvalidYaml, UnicodeDecodeError) as error:
        place = (
            f"{path}:{error.line}" if isinstance(error, InvalidYaml) and error.line else str(path)
        )
        raise ScenarioInvalid(
            f"{place}: this is not YAML: {error}.",
            remedy="Correct the line; the files in scenarios/ are examples.",
            file=str(path),
        ) from error
    if not isinstance(content, dict):
        raise ScenarioInvalid(
            f"{path}:1: a scenario is a mapping with keys such as customer and versions.",
            remedy="The files in scenarios/ are examples.",
            file=str(path),
        )
    for repeated in repeated_keys(tree):
        raise ScenarioInvalid(
            f"{path}:{repeated.again}: the key {repeated}.",
            remedy="Keep the correct one; YAML would silently use the last one.",
            file=str(path),
            key=repeated.key,
            line=repeated.again,
        )
    return ScenarioSpec.from_mapping(
        path.stem,
        cast("dict[str, object]", content),
        where=str(path),
        line_of=partial(line_of, tree),
    )
