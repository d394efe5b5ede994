"""The requirements for candidates, approvers' evidence and champions."""

from pydantic import Field, model_validator

from guardianflow.scenario.values import ClassName, Fraction, MetricName, Settings


class GateSettings(Settings):
    """The requirements for a candidate before people are asked."""

    min_map50: Fraction = Field(default=0.3, description="Minimum mAP50.")
    min_map50_95: Fraction = Field(default=0.0, description="Minimum mAP50-95; 0 = not checked.")
    max_regression: Fraction = Field(
        default=0.05, description="Maximum loss of mAP50 against the current champion."
    )
    max_recall_regression: Fraction = Field(
        default=1.0,
        description="Maximum loss of recall in any class against it; 1 = not checked.",
    )
    max_miss_rate: Fraction = Field(
        default=1.0, description="Maximum share of missed objects in any class; 1 = not checked."
    )
    max_miss_rates: dict[ClassName, Fraction] = Field(
        default_factory=dict[str, float], description="The same for single classes, e.g. helmet."
    )
    min_objects: int = Field(
        default=30, ge=1, description="Misses of a class with fewer objects are INCONCLUSIVE."
    )
    max_false_alarms_per_image: float | None = Field(
        default=None, gt=0, description="Maximum number of false alarms; empty = not checked."
    )
    min_images: int = Field(
        default=20,
        ge=1,
        description="On fewer images of the evaluation set, figures are INCONCLUSIVE.",
    )
    max_contaminated: int = Field(
        default=0,
        ge=0,
        description="Maximum number of evaluation images with duplicates in train or val.",
    )
    max_latency_ms: float | None = Field(
        default=None,
        gt=0,
        description="Maximum time of 19 of 20 frames on the gate's machine; empty = not checked.",
    )
    max_variant_drop: Fraction = Field(
        default=0.02, description="Maximum loss of mAP50-95 of a variant against its source."
    )
    max_variant_recall_drop: Fraction = Field(
        default=0.1, description="Maximum loss of recall of a variant in any class."
    )
    min_speedup: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="Minimum speed of an INT8 variant relative to the fastest precision without "
        "quantization, on the gate's machine; 0 = not checked.",
    )


class EvidenceSettings(Settings):
    """The evidence for approvers, and how long its pictures of workers are kept."""

    picture_days: int = Field(
        default=30,
        ge=0,
        le=3650,
        description="Days until pictures of a finished promotion are deleted; 0 = none are kept.",
    )


class HealthRule(Settings):
    """A minimum or a maximum for one figure of a window."""

    metric: MetricName = Field(
        description="A figure of an evaluation (map50, recall.helmet, false_alarms_per_image), or "
        "one that the edge boxes report."
    )
    at_least: float | None = Field(default=None, description="Lower values fail.")
    at_most: float | None = Field(default=None, description="Higher values fail.")

    @model_validator(mode="after")
    def _one_limit(self) -> "HealthRule":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{self.metric}: give either at_least or at_most")
        return self


class HealthPolicy(Settings):
    """When a champion counts as failing on recent frames."""

    min_map50: Fraction = Field(default=0.3, description="Below this mAP50 the champion fails.")
    rules: tuple[HealthRule, ...] = Field(default=(), description="Additional limits.")
    min_images: int = Field(default=16, ge=1, description="Fewer frames are INCONCLUSIVE.")
    min_objects: int = Field(default=30, ge=1, description="Fewer objects are INCONCLUSIVE.")
    confidence: float = Field(
        default=0.99, ge=0.5, lt=1.0, description="Confidence that a window needs for FAILING."
    )
    consecutive: int = Field(
        default=3, ge=1, le=100, description="Failing windows in a row before a rollback."
    )
    silent_after_h: float | None = Field(
        default=None, gt=0, description="Hours without any report after which an alarm is sent."
    )
