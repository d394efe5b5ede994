"""What the floor calls classes, places and tasks, e.g. `no_helmet` as 안전모 미착용."""

import re
from typing import assert_never

from guardianflow.names import ModelName, class_key
from guardianflow.wording.language import Language
from guardianflow.wording.markdown import plain
from guardianflow.wording.phrases import KOREAN_CLASSES

_SHORT = 3
"""Tasks of so few letters are abbreviations: ppe is PPE."""


def class_word(name: str, language: Language) -> str:
    """A class in the words of the floor; one that the glossary lacks keeps its name."""
    match language:
        case Language.EN:
            return plain(name)
        case Language.KO:
            return KOREAN_CLASSES.get(class_key(name), plain(name))
        case _:
            assert_never(language)


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
