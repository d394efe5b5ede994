"""One version of a scenario, frozen, with a digest: what a whole lifecycle needs to know."""

import hashlib
import json

from pydantic import Field, model_validator

from guardianflow.errors import NameInvalid, ScenarioInvalid
from guardianflow.names import ModelName
from guardianflow.scenario.dataset import DatasetSettings, FolderData
from guardianflow.scenario.judging import EvidenceSettings, GateSettings, HealthPolicy
from guardianflow.scenario.learning import (
    EvaluationSettings,
    QuantizationSettings,
    TrainingSettings,
)
from guardianflow.scenario.values import ClassName, ScenarioName, ScenarioVersion, Segment, Settings
from guardianflow.wording import Language

_SHOWN = ("language", "evidence")


class Scenario(Settings):
    """One version of a scenario: everything that a lifecycle needs to know."""

    name: ScenarioName = Field(description="Name of the YAML file and of the block.")
    version: ScenarioVersion = Field(description="Version of the settings, e.g. v3.")
    customer: Segment = Field(description="Whose floor it is.")
    region: Segment = Field(description="Region of the plant.")
    plant: Segment = Field(description="The plant within the region.")
    zone: Segment = Field(description="The zone that the cameras watch.")
    task: Segment = Field(description="What is detected, e.g. ppe.")
    classes: tuple[ClassName, ...] = Field(min_length=1, max_length=200, description="In order.")
    dataset: DatasetSettings = Field(description="What to learn from.")
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    quantization: QuantizationSettings = Field(default_factory=QuantizationSettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    language: Language = Field(
        default=Language.EN, description="Of the approver's form and page: en or ko."
    )
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    health: HealthPolicy = Field(default_factory=HealthPolicy)

    @model_validator(mode="after")
    def _classes_differ(self) -> "Scenario":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a class is listed twice")
        return self

    @model_validator(mode="after")
    def _gate_knows_the_classes(self) -> "Scenario":
        for name in self.gate.max_miss_rates:
            if name not in self.classes:
                raise ValueError(f"gate.max_miss_rates: {name} is none of the classes")
        return self

    @model_validator(mode="after")
    def _names_can_be_registered(self) -> "Scenario":
        try:
            for precision in self.quantization.variants:
                self.model_name.variant(self.quantization.flavour(precision))
        except NameInvalid as error:
            raise ValueError(
                f"customer, region, plant, zone and task together: {error.message}"
            ) from error
        return self

    @property
    def model_name(self) -> ModelName:
        """The base model of this scenario."""
        return ModelName.parse(
            f"{self.customer}/{self.region}-{self.plant}/{self.zone}/{self.task}"
        )

    def get_registered_model_name(self, variant: str | None = None) -> str:
        """The public name of the model, e.g. `donghwa-entec/busan-plant1/welding/ppe`.

        Args:
            variant: A flavour such as `openvino_int8`, or None for the FP32 base.

        Raises:
            NameInvalid: The variant is not `backend_precision`.
        """
        name = self.model_name
        return (name if variant is None else name.variant(variant)).public

    @property
    def digest(self) -> str:
        """sha256 over the settings; two versions with the same digest are the same work.

        What people are shown of it is no part of the work.
        """
        content = self.model_dump(mode="json", exclude={"name", "version", *_SHOWN})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def shown_like(self, other: "Scenario") -> "Scenario":
        """The same work, shown to people as another version of the settings says."""
        return self.model_copy(update={key: getattr(other, key) for key in _SHOWN})

    def check(self) -> "Scenario":
        """Check what only the machine can tell (paths), before any work is spent.

        Raises:
            ScenarioInvalid: A path or an environment variable is missing.
        """
        if isinstance(self.dataset, FolderData):
            try:
                self.dataset.resolve()
                self.dataset.base()
            except ScenarioInvalid as error:
                raise ScenarioInvalid(
                    f"Scenario {self.name} {self.version}: {error.message}",
                    remedy=error.remedy,
                    scenario=self.name,
                    version=self.version,
                    **error.data,
                ) from error
        return self
