"""The parameters of all flows: constrained, described, so that the server shows a form for them.

`Annotated` and not a default `Field(...)`: Prefect drops the constraints of the latter. The server
refuses bad values before a run starts. No parameter holds a secret; flows load blocks by name.
"""

from typing import Annotated

from pydantic import Field

from guardianflow.names import MAX_LENGTH, SEGMENT

_NAME = rf"^{SEGMENT}(/{SEGMENT}){{3}}(__[a-z0-9]+_[a-z0-9]+)?$"

ScenarioDocument = Annotated[
    str,
    Field(
        title="Scenario",
        pattern=rf"^{SEGMENT}$",
        max_length=80,
        description="Name of a Scenario Config block document, e.g. donghwa-entec-ppe.",
    ),
]
ScenarioVersionName = Annotated[
    str,
    Field(
        title="Scenario version",
        pattern=r"^v[1-9][0-9]{0,3}$",
        description="Version of the scenario's settings, e.g. v3.",
    ),
]
PublicModelName = Annotated[
    str,
    Field(
        title="Model name",
        pattern=_NAME,
        max_length=MAX_LENGTH,
        description="customer/region-plant/zone/task, for a variant with __backend_precision "
        "behind it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.",
    ),
]
ModelVersion = Annotated[
    int,
    Field(title="Model version", ge=1, description="Version number in the MLflow registry."),
]
FailingVersion = Annotated[
    int,
    Field(
        title="Failing version",
        ge=1,
        description="The champion that failed; another champion is left alone.",
    ),
]
Reason = Annotated[
    str, Field(title="Reason", max_length=500, description="Why; it stays in the history.")
]
Requester = Annotated[
    str, Field(title="Requested by", max_length=100, description="Who asks, as declared.")
]
Window = Annotated[
    str,
    Field(
        title="Window",
        min_length=1,
        max_length=1000,
        description="Folder with recent labelled frames (YOLO, split `test`), as a worker of the "
        "pool sees it.",
    ),
]
Report = Annotated[
    str,
    Field(
        title="Health report",
        pattern=r"^([0-9a-f]{32})?$",
        description="MLflow run that holds the failing health report; it is read again.",
    ),
]
Incident = Annotated[
    str,
    Field(title="Incident", max_length=100, description="What set this off, e.g. an event's id."),
]
