"""One version of a scenario, frozen, with a digest: the settings of a whole lifecycle."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from pydantic import Field, model_validator

from guardianflow.errors import NameInvalid, ScenarioInvalid
from guardianflow.names import ModelName, class_key
from guardianflow.scenario.dataset_settings import DatasetSettings, FolderData
from guardianflow.scenario.gate_settings import EvidenceSettings, GateSettings, HealthPolicy
from guardianflow.scenario.training_settings import (
    EvaluationSettings,
    QuantizationSettings,
    TrainingSettings,
)
from guardianflow.scenario.values import ClassName, ScenarioName, ScenarioVersion, Segment, Settings
from guardianflow.stored import settled
from guardianflow.wording.language import Language

JUDGING: Final = ("gate", "health", "evidence", "language")
"""Settings outside of the digest: their current values count, whenever a model was trained."""


class Scenario(Settings):
    """One version of a scenario: all settings of a lifecycle."""

    name: ScenarioName = Field(description="Name of the YAML file and of the block.")
    version: ScenarioVersion = Field(description="Version of the settings, e.g. v3.")
    customer: Segment = Field(description="The customer.")
    region: Segment = Field(description="Region of the plant.")
    plant: Segment = Field(description="The plant within the region.")
    zone: Segment = Field(description="The zone that the cameras watch.")
    task: Segment = Field(description="What is detected, e.g. ppe.")
    classes: tuple[ClassName, ...] = Field(
        min_length=1, max_length=200, description="Class names in the order of their indices."
    )
    dataset: DatasetSettings = Field(description="The data set to train and evaluate on.")
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    quantization: QuantizationSettings = Field(default_factory=QuantizationSettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    language: Language = Field(
        default=Language.EN, description="Language of the approval form and its page: en or ko."
    )
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    health: HealthPolicy = Field(default_factory=HealthPolicy)

    @model_validator(mode="after")
    def _classes_differ(self) -> "Scenario":
        first: dict[str, str] = {}
        for name in self.classes:
            if (other := first.setdefault(class_key(name), name)) != name:
                raise ValueError(f"classes: {other} and {name} count as the same name")
        if len(first) != len(self.classes):
            raise ValueError("classes: a class is listed twice")
        return self

    @model_validator(mode="after")
    def _data_set_and_gate_know_the_classes(self) -> "Scenario":
        of_the_data = self.dataset.classes if isinstance(self.dataset, FolderData) else ()
        for key, names in (
            ("dataset.classes", of_the_data),
            ("gate.max_miss_rates", self.gate.max_miss_rates),
        ):
            for name in names:
                if name not in self.classes:
                    raise ValueError(f"{key}: {name} is not one of the classes")
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
        """The name of this scenario's base model."""
        return ModelName.parse(
            f"{self.customer}/{self.region}-{self.plant}/{self.zone}/{self.task}"
        )

    def get_registered_model_name(self, variant: str | None = None) -> str:
        """Return the public name of the model, e.g. `donghwa-entec/busan-plant1/welding/ppe`.

        A variant is named by its flavour, such as `openvino_int8`; None is the FP32 base.

        Raises:
            NameInvalid: The variant is not `backend_precision`.
        """
        name = self.model_name
        return (name if variant is None else name.variant(variant)).public

    def to_stored(self) -> str:
        """Return the scenario as a run stores it, readable by older versions if possible."""
        content = settled("Scenario", self.model_dump(mode="json"))
        return json.dumps(content, ensure_ascii=False, indent=1)

    @property
    def work(self) -> dict[str, Any]:
        """The settings that define the work: names, classes, data, training and quantization.

        Newer settings are absent while they have their first default (`stored.INTRODUCED`).
        """
        return self._settled("name", "version", *JUDGING)

    @property
    def digest(self) -> str:
        """sha256 of the work; two versions with the same digest are the same work."""
        return _sha256(self.work)

    @property
    def first_digest(self) -> str:
        """The digest as version 0.1.0 computed and stored it, including gate and health."""
        return _sha256(self._settled("name", "version", "language", "evidence"))

    @property
    def judging(self) -> dict[str, str]:
        """By group, the digest of the settings outside of the work."""
        content = settled("Scenario", self.model_dump(mode="json"))
        return {group: _sha256(content[group]) for group in JUDGING if group in content}

    def judged_like(self, other: "Scenario") -> "Scenario":
        """Return the same work with the gate, health, evidence and language of another scenario."""
        return self.model_copy(update={key: getattr(other, key) for key in JUDGING})

    def _settled(self, *without: str) -> dict[str, Any]:
        content = settled("Scenario", self.model_dump(mode="json"))
        # This decides whether training accepts the data, and does not change them.
        content["dataset"].pop("near_duplicates", None)
        return {key: value for key, value in content.items() if key not in without}

    def check(self) -> "Scenario":
        """Check that the paths exist on this machine, and return the scenario.

        Raises:
            ScenarioInvalid: A path or an environment variable is missing.
        """
        if isinstance(self.dataset, FolderData):
            try:
                self.dataset.resolve()
                self.dataset.base_folder()
            except ScenarioInvalid as error:
                raise ScenarioInvalid(
                    f"Scenario {self.name} {self.version}: {error.message}",
                    remedy=error.remedy,
                    scenario=self.name,
                    version=self.version,
                    **error.data,
                ) from error
        return self


Today = Callable[[str, str], Scenario | None]
"""Returns the current settings for the name and version of a scenario; None if unknown."""


def nothing_known(_name: str, _version: str) -> Scenario | None:
    """Return None: only the recorded settings are known."""
    return None


def edits(before: Scenario, after: Scenario) -> list[str]:
    """Describe how the work of two scenarios differs, e.g. `training.epochs was 14, is 20`."""
    then, now = dict(_leaves(before.work)), dict(_leaves(after.work))
    return [
        f"{key} was {then.get(key, 'not there')}, is {now.get(key, 'not there')}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]


def _leaves(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(cast("Mapping[str, Any]", value), f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
