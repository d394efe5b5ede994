"""Scenario files: finds and reads `scenarios/*.yaml`, and points at the line that is wrong.

scenarios/NAME.yaml  --load_spec-->  ScenarioSpec  --version("v3")-->  Scenario
"""

import os
import re
from functools import partial
from pathlib import Path
from typing import cast

from guardianflow.errors import ScenarioInvalid
from guardianflow.names import SEGMENT
from guardianflow.scenario.spec import ScenarioSpec
from guardianflow.scenario.version import Scenario
from guardianflow.yaml_lines import NoYaml, line_of, parse, repeated_keys


def scenarios_folder() -> Path:
    """Where scenario files lie: `GUARDIANFLOW_SCENARIOS`, or `scenarios/` of this directory."""
    return Path(os.environ.get("GUARDIANFLOW_SCENARIOS", "scenarios"))


def load_scenario(name: str, version: str, folder: Path | None = None) -> Scenario:
    """Read one version of a scenario from its YAML file and check it.

    Raises:
        ScenarioInvalid: File, key, value, version or path is wrong; the message names it.
    """
    return load_spec(name, folder).version(version).check()


def load_spec(name: str, folder: Path | None = None) -> ScenarioSpec:
    """Read a scenario's YAML file by the scenario's name.

    Raises:
        ScenarioInvalid: There is no such file, or something in it is wrong.
    """
    folder = folder or scenarios_folder()
    path = folder / f"{name}.yaml"
    if not re.fullmatch(SEGMENT, name) or not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        raise ScenarioInvalid(
            f"There is no scenario {name!r} in {folder.absolute()}.",
            remedy=f"Choose one of {', '.join(known)}."
            if known
            else "Run the command from the checkout, or set GUARDIANFLOW_SCENARIOS.",
            value=name,
        )
    return read_scenario_file(path)


def today_in_files(name: str, version: str) -> Scenario | None:
    """A version of a scenario as its file says now; None where there is no such file or version.

    Raises:
        ScenarioInvalid: Something in the file is wrong.
    """
    if not (scenarios_folder() / f"{name}.yaml").is_file():
        return None
    spec = load_spec(name)
    return spec.version(version) if version in spec.versions else None


def read_scenario_file(path: Path) -> ScenarioSpec:
    """Read a scenario's YAML file; every version in it is checked.

    Raises:
        ScenarioInvalid: The message names file, line, key, value and remedy.
    """
    try:
        content, tree = parse(path.read_text(encoding="utf-8"))
    except (NoYaml, UnicodeDecodeError) as error:
        place = f"{path}:{error.line}" if isinstance(error, NoYaml) and error.line else str(path)
        raise ScenarioInvalid(
            f"{place}: this is no YAML: {error}.",
            remedy="Correct the line; a scenario in scenarios/ shows the form.",
            file=str(path),
        ) from error
    if not isinstance(content, dict):
        raise ScenarioInvalid(
            f"{path}:1: a scenario is a mapping with keys such as customer and versions.",
            remedy="A scenario in scenarios/ shows the form.",
            file=str(path),
        )
    for repeated in repeated_keys(tree):
        raise ScenarioInvalid(
            f"{path}:{repeated.again}: the key {repeated}.",
            remedy="Keep the one that is meant; the last one would win silently.",
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
