"""What is asked of a candidate, of the people who decide about it, and of a champion later on."""

from pydantic import Field, model_validator

from guardianflow.scenario.values import ClassName, Fraction, MetricName, Settings


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

    metric: MetricName = Field(
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
