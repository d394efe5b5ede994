"""What people call the classes of objects, e.g. `no_helmet` as 안전모 미착용."""

from typing import assert_never

from guardianflow.names import class_key
from guardianflow.wording.language import Language
from guardianflow.wording.markdown import plain
from guardianflow.wording.phrases import KOREAN_CLASSES


def class_word(name: str, language: Language) -> str:
    """A class in the words of the floor; one that the glossary lacks keeps its name."""
    match language:
        case Language.EN:
            return plain(name)
        case Language.KO:
            return KOREAN_CLASSES.get(class_key(name), plain(name))
        case _:
            assert_never(language)
