"""Where a model watches, as people call it: `donghwa-entec/busan-plant1/welding/ppe` in words."""

import re

from guardianflow.names import ModelName

_SHORT = 3
"""Tasks of so few letters are abbreviations: ppe is PPE."""


def place_of(name: ModelName) -> str:
    """Zone and plant, e.g. `Welding, Busan Plant 1`."""
    return f"{_words(name.zone)}, {_words(name.site)}"


def task_of(name: ModelName) -> str:
    """What is looked for there, e.g. `PPE`."""
    return name.task.upper() if len(name.task) <= _SHORT else _words(name.task)


def _words(segment: str) -> str:
    """`busan-plant1` as `Busan Plant 1`."""
    parted = re.sub(r"(?<=[a-z])(?=[0-9])", " ", segment.replace("-", " "))
    return " ".join(word.capitalize() for word in parted.split())
