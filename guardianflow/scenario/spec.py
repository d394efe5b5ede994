"""A scenario with all its versions: common settings, and what each version overrides.

ScenarioSpec  --version("v3")-->  Scenario
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from pydantic import Field, ValidationError

from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario.values import VERSION, ScenarioName, ScenarioVersion, Settings
from guardianflow.scenario.version import Scenario


class ScenarioSpec(Settings):
    """A scenario with all its versions, as in a YAML file or a block."""

    name: ScenarioName = Field(description="Name of the YAML file and of the block.")
    common: dict[str, object] = Field(description="Settings that all versions share.")
    versions: dict[ScenarioVersion, dict[str, object]] = Field(
        min_length=1, description="What each version overrides."
    )

    def version(self, version: str) -> Scenario:
        """Return one version, merged with the common settings.

        Raises:
            ScenarioInvalid: There is no such version, or a value is wrong.
        """
        if version not in self.versions:
            add = ", or add it" if re.fullmatch(VERSION, version) else ""
            known = sorted(self.versions, key=lambda one: int(one[1:]))
            raise ScenarioInvalid(
                f"Scenario {self.name} has no version {version!r}.",
                remedy=f"Choose one of {', '.join(known)}{add}.",
                scenario=self.name,
                value=version,
            )
        return self._merged(version, f"Scenario {self.name}", lambda _: None)

    @classmethod
    def from_mapping(
        cls,
        name: str,
        content: Mapping[str, object],
        *,
        where: str | None = None,
        line_of: Callable[[Sequence[object]], int | None] = lambda _: None,
    ) -> "ScenarioSpec":
        """Read the content of a YAML file, and validate every version in it.

        Errors name `where` it is from, and the line of a nested key.

        Raises:
            ScenarioInvalid: A key or a value is wrong.
        """
        where = where or f"Scenario {name}"
        common = {key: value for key, value in content.items() if key != "versions"}
        # An empty entry (`v1:`) is a version that overrides nothing.
        versions = content.get("versions") or {}
        if isinstance(versions, Mapping):
            versions = {key: {} if value is None else value for key, value in versions.items()}
        try:
            spec = cls.model_validate({"name": name, "common": common, "versions": versions})
        except ValidationError as error:
            raise _invalid(where, None, error, line_of) from error
        for version in spec.versions:
            spec._merged(version, where, line_of)
        return spec

    @classmethod
    def from_block(cls, name: str, data: Mapping[str, Any]) -> "ScenarioSpec":
        """Read the content of a block, as the Prefect server returns it.

        Raises:
            ScenarioInvalid: The block cannot be used.
        """
        try:
            content = {**data["common"], "versions": data["versions"]}
        except (KeyError, TypeError) as error:
            raise ScenarioInvalid(
                f"The block {name} has no scenario in it.", remedy="Correct it in the Prefect UI."
            ) from error
        return cls.from_mapping(name, content)

    def _merged(
        self, version: str, where: str, line_of: Callable[[Sequence[object]], int | None]
    ) -> Scenario:
        merged = merge_settings(self.common, self.versions[version])
        try:
            return Scenario.model_validate({**merged, "name": self.name, "version": version})
        except ValidationError as error:
            raise _invalid(where, version, error, line_of) from error


def merge_settings(
    common: Mapping[str, object], override: Mapping[str, object]
) -> dict[str, object]:
    """Merge `override` into `common`, group by group; a data set of another kind replaces it."""
    merged = dict(common)
    for key, value in override.items():
        below = merged.get(key)
        same_kind = (
            isinstance(below, Mapping)
            and isinstance(value, Mapping)
            and value.get("kind", below.get("kind")) == below.get("kind")
        )
        if same_kind:
            merged[key] = merge_settings(
                cast("Mapping[str, object]", below), cast("Mapping[str, object]", value)
            )
        else:
            merged[key] = value
    return merged


def _invalid(
    where: str,
    version: str | None,
    error: ValidationError,
    line_of: Callable[[Sequence[object]], int | None],
) -> ScenarioInvalid:
    """The error about the first wrong value, with its line, key, value and remedy."""
    first = error.errors(include_url=False)[0]
    # A discriminated union puts its tag into the location: `dataset.synthetic.seed`.
    keys = [key for key in first["loc"] if key not in ("synthetic", "folder")]
    own = line_of(["versions", version, *keys]) if version else None
    # A missing key is reported at the closest group around it.
    groups = (keys[:length] for length in range(len(keys), 0, -1))
    line = own or next((found for group in groups if (found := line_of(group))), None)
    place = f"{where}:{line}" if line else where
    key = ".".join(str(part) for part in keys)
    label = f"{place} ({version})" if version else place
    value = first.get("input")
    if first["type"] == "extra_forbidden":
        message, remedy = f"{label}: unknown key {key!r}.", "Remove it, or correct its spelling."
    elif first["type"] == "missing":
        message, remedy = f"{label}: the key {key!r} is missing.", "Add it."
    elif not keys:
        # This is about several keys: the message does not repeat all their values.
        message = f"{label}: {first['msg'].removeprefix('Value error, ').rstrip('.')}."
        return ScenarioInvalid(message, remedy="Correct these values.")
    else:
        message = f"{label}: {key} = {value!r} is not allowed: {first['msg']}."
        remedy = "Correct the value; use lower-case letters, digits and single hyphens."
        if "pattern" not in first["type"]:
            remedy = "Correct the value."
        elif keys[0] == "versions":
            remedy = "Name versions v1, v2 and so on, without leading zeros."
    return ScenarioInvalid(message, remedy=remedy, key=key, value=repr(value), line=line)
