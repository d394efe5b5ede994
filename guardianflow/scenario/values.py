"""The values that settings are made of, and the group that refuses what it does not know."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.names import SEGMENT

Segment = Annotated[str, Field(pattern=f"^{SEGMENT}$", max_length=60)]
ScenarioName = Annotated[str, Field(pattern=f"^{SEGMENT}$", max_length=80)]
ScenarioVersion = Annotated[str, Field(pattern=r"^v[1-9][0-9]{0,3}$")]
ClassName = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", max_length=40)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Settings(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
