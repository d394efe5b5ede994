"""What a person says about a foreign model when it is imported."""

from collections.abc import Mapping

from pydantic import Field

from guardianflow.vision.ir.reading import (
    MAX_MEMORY_GIB,
    MAX_MINUTES,
    MIN_MEMORY_GIB,
    MIN_MINUTES,
    ReadingOptions,
)


class ImportOptions(ReadingOptions):
    """What the caller knows about a foreign model that its file may not say."""

    classes: tuple[str, ...] = Field(
        default=(), description="Its names in the order of their indices; empty: the file has them."
    )
    mapping: Mapping[str, str] = Field(
        default_factory=dict[str, str], description="Name in the file, by class of the scenario."
    )
    max_memory_gib: float = Field(
        default=8.0,
        ge=MIN_MEMORY_GIB,
        le=MAX_MEMORY_GIB,
        description="Memory limit for reading it and running it once.",
    )
    max_minutes: float = Field(
        default=10.0, ge=MIN_MINUTES, le=MAX_MINUTES, description="Time limit for that."
    )
    source: str = Field(
        default="", description="Where the file came from, if not from here: models:/ppe/3."
    )
