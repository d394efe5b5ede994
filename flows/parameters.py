"""The types of all flow parameters: the server shows them as a form and refuses bad values.

They use `Annotated`, as Prefect drops the constraints of a default `Field(...)`. It takes titles
from the parameters' names and descriptions from the flows' docstrings. No parameter holds a secret:
flows load blocks by name.
"""

from typing import Annotated

from pydantic import Field

from guardianflow.names import MAX_LENGTH, SEGMENT

ScenarioDocument = Annotated[str, Field(pattern=rf"^{SEGMENT}$", max_length=80)]
ScenarioVersionName = Annotated[str, Field(pattern=r"^v[1-9][0-9]{0,3}$")]
PublicModelName = Annotated[
    str,
    Field(pattern=rf"^{SEGMENT}(/{SEGMENT}){{3}}(__[a-z0-9]+_[a-z0-9]+)?$", max_length=MAX_LENGTH),
]
ModelVersion = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(max_length=500)]
Folder = Annotated[str, Field(min_length=1, max_length=1000)]
# Name of the camera or box; '' if unknown.
CameraName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=80)]
# An MLflow run id; '' for none.
ReportId = Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
