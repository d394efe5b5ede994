"""The types of settings, and their base class, which refuses unknown keys."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from guardianflow.names import SEGMENT


def _printable(name: str) -> str:
    """A name as one printable line in Unicode's composed form (NFC)."""
    composed = unicodedata.normalize("NFC", name)
    if not composed.isprintable() or composed != composed.strip():
        raise ValueError("it must be printable text in one line, without spaces around it")
    return composed


Segment = Annotated[str, Field(pattern=f"^{SEGMENT}$", max_length=60)]
ScenarioName = Annotated[str, Field(pattern=f"^{SEGMENT}$", max_length=80)]
VERSION = "v[1-9][0-9]{0,3}"
ScenarioVersion = Annotated[str, Field(pattern=f"^{VERSION}$")]
ClassName = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_printable)]
MetricName = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_printable)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Settings(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
