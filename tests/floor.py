"""The lower bounds of pyproject.toml as pip constraints: `make test-floor` installs exactly these.

    python -m tests.floor > floor.txt

What pyproject.toml does not name stays as in constraints.txt, so that the tests judge our bounds
and not other people's newest versions.
"""

import re
import tomllib
from pathlib import Path

_EXTRAS = ("train", "flows", "server", "box")
# Each version of pydantic and of psycopg asks for one version of these.
_BOUND_TO_OTHERS = {"pydantic-core", "psycopg-binary"}
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[.*\])?(.*)")


def floor() -> dict[str, str]:
    """The lowest version of each package that pyproject.toml names with `>=`."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(each for extra in _EXTRAS for each in extras[extra])]
    lowest: dict[str, str] = {}
    for requirement in asked:
        name, bounds = _REQUIREMENT.match(requirement).groups()
        if found := re.search(r">=([0-9.]+)", bounds):
            lowest[_normal(name)] = found[1]
    return lowest


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Print the constraints."""
    lowest = floor()
    pins = [
        line
        for line in Path("constraints.txt").read_text("utf-8").splitlines()
        if "==" in line and _normal(line.split("==")[0]) not in {*lowest, *_BOUND_TO_OTHERS}
    ]
    print(*pins, *(f"{name}=={version}" for name, version in lowest.items()), sep="\n")


if __name__ == "__main__":
    main()
