"""Scenarios: what is trained, quantized, gated and watched for one customer x site x zone x task.

    ScenarioSpec  --version("v3")-->  Scenario

A `ScenarioSpec` is one YAML file or one Prefect block: common settings, and `versions` that
override them key by key. A `Scenario` is one version of it, frozen, with a digest.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guardianflow.errors import NameInvalid, ScenarioInvalid
from guardianflow.names import SEGMENT, ModelName
from guardianflow.wording import Language

Segment = Annotated[str, Field(pattern=f"^{SEGMENT}$", max_length=60)]
ScenarioName = Annotated[str, Field(pattern=f"^{SEGMENT}$", max_length=80)]
ScenarioVersion = Annotated[str, Field(pattern=r"^v[1-9][0-9]{0,3}$")]
ClassName = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", max_length=40)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Settings(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Light(StrEnum):
    """The light in which a synthetic scene is drawn."""

    DAY = "day"
    NIGHT = "night"


class SyntheticData(Settings):
    """The embedded data set: welding-zone scenes that the project draws itself."""

    kind: Literal["synthetic"] = Field(description="Scenes drawn by guardianflow.synthetic.")
    seed: int = Field(default=7, ge=0, description="Seed of every split; same seed, same bytes.")
    image_size: int = Field(default=256, ge=64, le=1280, description="Side of a scene in pixels.")
    train_images: int = Field(default=240, ge=4, le=100_000, description="Scenes to learn from.")
    val_images: int = Field(default=48, ge=2, le=100_000, description="Scenes that choose best.pt.")
    test_images: int = Field(
        default=64, ge=2, le=100_000, description="Scenes of the frozen evaluation set."
    )
    train_light: tuple[Light, ...] = Field(
        default=(Light.DAY, Light.NIGHT), min_length=1, description="Light of train and val."
    )
    test_light: tuple[Light, ...] = Field(
        default=(Light.DAY,), min_length=1, description="Light of the frozen evaluation set."
    )


class FolderData(Settings):
    """A YOLO-format data set on disk."""

    kind: Literal["folder"] = Field(description="A folder with data.yaml, images/ and labels/.")
    path: str = Field(
        min_length=1,
        description="The folder; ${VARIABLE} is read from the environment, a relative path "
        "starts at the working directory.",
    )

    def resolve(self) -> Path:
        """The folder with the environment's variables filled in.

        Raises:
            ScenarioInvalid: A variable is not set, or there is no such folder.
        """
        missing = [name for name in re.findall(r"\$\{(\w+)\}", self.path) if name not in os.environ]
        if missing:
            raise ScenarioInvalid(
                f"dataset.path = {self.path!r} needs the environment variable {missing[0]}, "
                "which is not set.",
                remedy=f"export {missing[0]}=/path/to/data",
                key="dataset.path",
                value=self.path,
            )
        path = Path(os.path.expandvars(self.path)).expanduser().absolute()
        if not path.is_dir():
            raise ScenarioInvalid(
                f"dataset.path = {self.path!r}: the folder {path} does not exist.",
                remedy="Correct dataset.path in the scenario, or bring the folder there.",
                key="dataset.path",
                value=str(path),
            )
        return path


_SHOWN = ("language", "evidence")
DatasetSettings = Annotated[SyntheticData | FolderData, Field(discriminator="kind")]


class StartingPoint(StrEnum):
    """What a training begins with."""

    SCRATCH = "scratch"
    """Random weights."""
    CHAMPION = "champion"
    """The weights of the model's version in production; classes are matched by their names."""


class TrainingSettings(Settings):
    """How the detector is trained."""

    start: StartingPoint = Field(
        default=StartingPoint.SCRATCH, description="scratch, or the weights of the champion."
    )

    image_size: int = Field(default=256, ge=64, le=1280, multiple_of=32, description="Input side.")
    width: int = Field(default=8, ge=4, le=64, multiple_of=4, description="Channels of the stem.")
    epochs: int = Field(default=14, ge=1, le=10_000, description="Passes over the train split.")
    batch_size: int = Field(default=4, ge=1, le=1024, description="Images in one step.")
    matrix_rate: float = Field(
        default=0.03, gt=0, le=1, description="Peak rate of the convolutions, which Muon learns."
    )
    learning_rate: float = Field(
        default=8e-3, gt=0, le=1, description="Peak rate of all else, which AdamW learns."
    )
    weight_decay: float = Field(default=5e-4, ge=0, le=1, description="Decay of convolutions.")
    ema_decay: float = Field(default=0.96, ge=0, lt=1, description="Decay of averaged weights.")
    warmup_fraction: float = Field(default=0.03, ge=0, le=0.5, description="Share of warm-up.")
    mosaics: Fraction = Field(
        default=0.6, description="Share of the train images that are put together from four."
    )
    mosaic_epochs: Fraction = Field(
        default=0.85, description="Share of the epochs, from the first, that have mosaics."
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights, order and augmentation.")
    threads: int = Field(default=1, ge=0, le=256, description="CPU threads; 0 = all of them.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where to train.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Format of the forward pass; auto: 16 bits on a GPU alone."
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="Looks at val without anything better until the training stops; 0 = never.",
    )


class EvaluationSettings(Settings):
    """What a miss costs against a false alarm."""

    beta: float = Field(
        default=1.5,
        ge=0.25,
        le=4,
        description="From which score a box is shown: where F-beta is highest on val; above 1 a "
        "missed object costs more than a false alarm.",
    )


class Precision(StrEnum):
    """Number formats of the weights of a variant."""

    INT8 = "int8"
    FP16 = "fp16"


class QuantizationSettings(Settings):
    """How the FP32 IR becomes the variant for the edge box."""

    backend: Literal["openvino"] = Field(default="openvino", description="Runtime of the edge box.")
    variants: tuple[Precision, ...] = Field(
        default=(Precision.INT8,),
        min_length=1,
        description="What is made of the FP32 model: number formats of the weights.",
    )
    preset: Literal["auto", "mixed", "performance"] = Field(
        default="auto",
        description="NNCF's preset for int8: mixed keeps activations asymmetric; auto tries both "
        "and keeps what is better on val.",
    )
    max_drop: Fraction = Field(
        default=0.02,
        description="Where every preset loses more mAP50-95 on val, the layers that cost most stay "
        "FP32 (auto alone).",
    )
    calibration_images: int = Field(
        default=64, ge=1, le=10_000, description="Images from train that set the ranges."
    )

    def flavour(self, precision: Precision = Precision.INT8) -> str:
        """The variant's suffix, e.g. `openvino_int8`."""
        return f"{self.backend}_{precision}"


class GateSettings(Settings):
    """What a candidate has to show before a person is asked."""

    min_map50: Fraction = Field(default=0.3, description="Absolute floor of mAP50.")
    min_map50_95: Fraction = Field(
        default=0.0, description="Absolute floor of mAP50-95; 0 = not judged."
    )
    max_regression: Fraction = Field(
        default=0.05, description="How much mAP50 may be lost against the current champion."
    )
    max_recall_regression: Fraction = Field(
        default=1.0,
        description="How much recall may be lost against it in any class; 1 = not judged.",
    )
    max_miss_rate: Fraction = Field(
        default=1.0, description="Share of the objects of any class that may be missed; 1 = any."
    )
    max_miss_rates: dict[ClassName, Fraction] = Field(
        default_factory=dict[str, float], description="The same of single classes, e.g. helmet."
    )
    min_objects: int = Field(
        default=30, ge=1, description="A class with fewer objects is INCONCLUSIVE about misses."
    )
    max_false_alarms_per_image: float | None = Field(
        default=None, gt=0, description="Budget of false alarms; without one not judged."
    )
    min_images: int = Field(
        default=20,
        ge=1,
        description="On fewer images of the evaluation set figures neither pass nor fail.",
    )
    max_contaminated: int = Field(
        default=0,
        ge=0,
        description="Images of the evaluation set that may be, or look like, ones in train or val.",
    )
    max_latency_ms: float | None = Field(
        default=None,
        gt=0,
        description="What 19 of 20 frames may take on the machine that judges; without one not "
        "judged.",
    )
    max_variant_drop: Fraction = Field(
        default=0.02, description="How much mAP50-95 a variant may lose against its source."
    )
    max_variant_recall_drop: Fraction = Field(
        default=0.1,
        description="How much recall it may lose in any class.",
    )
    min_speedup: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="How many times as fast as its base an INT8 variant has to be on the machine "
        "that judges, against the best precision without quantization; 0 = speed is not judged.",
    )


class EvidenceSettings(Settings):
    """What the people who decide are shown, and how long pictures of workers are kept."""

    picture_days: int = Field(
        default=30,
        ge=0,
        le=3650,
        description="Days until crops of a promotion that is over are deleted; 0: none is kept.",
    )


class HealthRule(Settings):
    """A limit for one figure of a window: a floor, or a ceiling."""

    metric: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=80)] = Field(
        description="A figure of an evaluation (map50, recall.helmet, false_alarms_per_image), or "
        "one that the edge boxes report."
    )
    at_least: float | None = Field(default=None, description="Less fails.")
    at_most: float | None = Field(default=None, description="More fails.")

    @model_validator(mode="after")
    def _one_limit(self) -> "HealthRule":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{self.metric}: give at_least or at_most, one of them")
        return self


class HealthPolicy(Settings):
    """When a champion counts as failing on recent frames."""

    min_map50: Fraction = Field(default=0.3, description="Below this mAP50 the champion fails.")
    rules: tuple[HealthRule, ...] = Field(default=(), description="Further limits.")
    min_images: int = Field(default=16, ge=1, description="Fewer frames are INCONCLUSIVE.")
    min_objects: int = Field(default=30, ge=1, description="Fewer objects are INCONCLUSIVE.")
    confidence: float = Field(
        default=0.99, ge=0.5, lt=1.0, description="How sure a window must be to say FAILING."
    )
    consecutive: int = Field(
        default=3, ge=1, le=100, description="Failing windows in a row before anything moves."
    )
    silent_after_h: float | None = Field(
        default=None, gt=0, description="Hours without any report after which an alarm is sent."
    )


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
            except ScenarioInvalid as error:
                raise ScenarioInvalid(
                    f"Scenario {self.name} {self.version}: {error.message}",
                    remedy=error.remedy,
                    scenario=self.name,
                    version=self.version,
                    **error.data,
                ) from error
        return self


class ScenarioSpec(Settings):
    """A scenario with all its versions, as a YAML file or a block holds it."""

    name: ScenarioName = Field(description="Name of the YAML file and of the block.")
    common: dict[str, object] = Field(description="Settings that all versions share.")
    versions: dict[ScenarioVersion, dict[str, object]] = Field(
        min_length=1, description="What each version overrides."
    )

    def version(self, version: str) -> Scenario:
        """One version, with the common settings underneath.

        Raises:
            ScenarioInvalid: There is no such version, or a value is wrong.
        """
        if version not in self.versions:
            raise ScenarioInvalid(
                f"Scenario {self.name} has no version {version!r}.",
                remedy=f"Choose one of {', '.join(sorted(self.versions))}, or add it.",
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
        """Read a mapping of the YAML file's shape and check every version of it.

        Args:
            name: Name of the scenario.
            content: The common settings, and `versions`.
            where: What an error calls it; the scenario's name if None.
            line_of: The line of a nested key, for errors, where there are lines.

        Raises:
            ScenarioInvalid: A key or a value is wrong.
        """
        where = where or f"Scenario {name}"
        common = {key: value for key, value in content.items() if key != "versions"}
        # `versions:` with an empty entry (`v1:`) is a version that overrides nothing.
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
    """Lay `override` over `common`, group by group; a data set of another kind replaces it."""
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
    """Say the first thing that is wrong, with its line, key, value and what to do."""
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
        # About several keys together: repeating all their values would bury the sentence.
        message = f"{label}: {first['msg'].removeprefix('Value error, ').rstrip('.')}."
        return ScenarioInvalid(message, remedy="Correct these values.")
    else:
        message = f"{label}: {key} = {value!r} is not allowed: {first['msg']}."
        remedy = "Correct the value; segments are small letters, digits and single hyphens."
        if "pattern" not in first["type"]:
            remedy = "Correct the value."
    return ScenarioInvalid(message, remedy=remedy, key=key, value=repr(value), line=line)
