"""The first scenario of a zone, as YAML with comments, for a folder of photographs."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from guardianflow.names import ModelName

_TEMPLATE = """\
# {name}: what the model of this zone learns, and when it is good enough.
customer: {customer}
region: {region}
plant: {plant}
zone: {zone}
task: {task}
classes: {classes}

dataset:
  kind: folder
  path: {path}    # relative paths begin where a command is run

training:
  start: coco             # weights trained on 118,000 photographs (guardianflow weights fetch);
                          # scratch needs no download, but more photographs
  image_size: 416         # pixels; the smallest helmet should have 10 of them
  epochs: 16              # passes over the photographs

gate:
  min_map50: 0.3          # a version below this is offered to nobody; raise it with time
  max_regression: 0.05    # nor one that is worse than today's by more

health:
  min_map50: 0.2          # below this, three windows in a row, today's version is rolled back

versions:
  v1: {{}}
"""


def write_scenario(name: ModelName, path: Path, classes: Sequence[str]) -> str:
    """Return the YAML of a scenario whose only version is v1."""
    region, _, plant = name.site.partition("-")
    return _TEMPLATE.format(
        name=name.public,
        customer=name.customer,
        region=region,
        plant=plant,
        zone=name.zone,
        task=name.task,
        classes=_inline(list(classes)),
        path=_inline(str(path)),
    )


def _inline(value: object) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()
