"""The block with a scenario: the content of the YAML file, for editing in the UI."""

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl

from blocks.mlflow_credentials import MlflowCredentials
from guardianflow.scenario import ScenarioSpec


class ScenarioConfig(Block):
    """A scenario with all its versions: common settings, and what each version overrides.

    The block has the scenario's name. Versions that were trained are frozen: add a new one.

    Example:
        Load a scenario and read one of its versions:
        ```python
        from blocks import ScenarioConfig

        config = ScenarioConfig.load("BLOCK_NAME")
        print(config.spec().version("v3").get_registered_model_name())
        ```
    """

    _block_type_name: ClassVar[str | None] = "Scenario Config"
    _block_type_slug: ClassVar[str | None] = "scenario-config"
    _description: ClassVar[str | None] = (
        "A guardianflow scenario: customer, site, zone, task, data and settings, in versions."
    )
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl(
        "https://docs.prefect.io/v3/concepts/blocks"
    )

    name: str = Field(
        default=...,
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        max_length=80,
        description="Name of the scenario, the same as the document's.",
    )
    common: dict[str, object] = Field(
        default=..., description="Settings that all versions share, as in the YAML file."
    )
    versions: dict[str, dict[str, object]] = Field(
        default=..., description="What each version (v1, v2, ...) overrides."
    )
    credentials: MlflowCredentials = Field(
        default=..., description="The saved MLflow Credentials that this scenario's flows use."
    )

    def spec(self) -> ScenarioSpec:
        """Return the scenario, with every version validated.

        Raises:
            ScenarioInvalid: A key or a value is wrong.
        """
        return ScenarioSpec.from_mapping(self.name, {**self.common, "versions": self.versions})
