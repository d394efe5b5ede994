"""The classes of a data set: reads `names` and `nc` of data.yaml, and finds the wanted ones.

names of a data set or a model --find_classes--> the index of each class of the scenario
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from guardianflow.names import class_key
from guardianflow.vision.data.findings import Fault, quoted, shortened
from guardianflow.vision.data.rules import FaultCode

_MAX_CLASSES = 10_000


def read_names(names: object) -> tuple[str, ...]:
    """Return the class names of a list or of a numbered mapping, in the order of their ids.

    Raises:
        Fault: The names cannot be used.
    """
    if isinstance(names, dict):
        names = _numbered(cast("dict[object, object]", names))
    if not isinstance(names, list) or not names:
        what = "names is missing or empty" if not names else f"names is {quoted(names)}"
        remedy = "List the class names in the order of their ids."
        code = FaultCode.NAMES_INVALID if names else FaultCode.NAMES_MISSING
        raise Fault(code, what, remedy, value=names)
    listed = cast("list[object]", names)
    if len(listed) > _MAX_CLASSES:
        what = f"names has {len(listed)} entries, more than {_MAX_CLASSES}"
        raise Fault(FaultCode.NAMES_INVALID, what, "List only classes.", value=len(listed))
    return tuple(_read_name(name) for name in listed)


def _numbered(keyed: dict[object, object]) -> list[object]:
    by_number: dict[int, object] = {}
    for key, name in keyed.items():
        if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 6:
            by_number[int(key)] = name
        elif isinstance(key, int) and not isinstance(key, bool):
            by_number[key] = name
    if sorted(by_number) != list(range(len(keyed))):
        raise Fault(
            FaultCode.NAMES_GAP,
            f"the keys of names are {shortened(list(keyed))}, not 0 to {len(keyed) - 1} in order",
            "Number the classes from 0 without a gap.",
            value=list(keyed),
        )
    return [by_number[number] for number in range(len(keyed))]


def _read_name(name: object) -> str:
    if isinstance(name, int) and not isinstance(name, bool) and abs(name) < 10**9:
        return str(name)
    if isinstance(name, str) and name.strip():
        return name.strip()
    what = f"class name {quoted(name)} is not text"
    raise Fault(FaultCode.NAMES_INVALID, what, "Put it in quotes.", value=name)


def judge_names(classes: Sequence[str]) -> Iterator[Fault]:
    """Find class names that are repeated, look alike, or are numbers."""
    for name, count in Counter(classes).items():
        if count > 1:
            what = f"class {shortened(name)!r} is named twice"
            yield Fault(FaultCode.NAMES_TWICE, what, "Merge the two.", value=name)
    first: dict[str, str] = {}
    for name in dict.fromkeys(classes):
        if name.isdigit():
            what = f"class name {shortened(name)!r} is a number"
            remedy = "Use a word: people read it in reports and on the screen."
            yield Fault(FaultCode.NAMES_NUMBER, what, remedy, value=name)
        key = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name)).casefold()
        if first.setdefault(key, name) != name:
            what = f"class {shortened(name)!r} looks like class {shortened(first[key])!r}"
            yield Fault(FaultCode.NAMES_ALIKE, what, "If they are one, merge them.", value=name)


def judge_count(nc: object, classes: Sequence[str]) -> Fault | None:
    """Return a fault if `nc` is not the number of classes; it may be left out."""
    # Some exporters write '2'.
    given = int(nc) if isinstance(nc, str) and re.fullmatch(r"[0-9]{1,5}", nc.strip()) else nc
    if given is None or (not isinstance(given, bool) and given == len(classes)):
        return None
    return Fault(
        FaultCode.NC_DIFFERS,
        f"nc is {quoted(nc)}, but names has {len(classes)} classes",
        "Correct one of them, or leave nc out.",
        value=nc,
    )


class ClassMismatch(Exception):
    """A wanted class has no match, or more than one.

    Attributes:
        name: The class in the scenario.
        called: The name that was looked for.
        problem: What is wrong; continues the words `it has`.
    """

    def __init__(self, name: str, called: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name
        self.called = called
        self.problem = problem


def find_classes(
    names: Sequence[str], wanted: Sequence[str], mapping: Mapping[str, str]
) -> tuple[int, ...]:
    """Return the index of each wanted class among the classes of a data set or a model.

    Case, spaces and hyphens make no difference. Neither do the order and additional classes.

    Args:
        names: The classes of the data set or the model, in the order of their indices.
        wanted: The classes of the scenario.
        mapping: By class of the scenario its name in `names`, if it is another word.

    Raises:
        ClassMismatch: A class has no match, or more than one.
    """
    rows: list[int] = []
    for name in wanted:
        called = mapping.get(name, name)
        exact = [index for index, given in enumerate(names) if given == called]
        key = class_key(called)
        found = exact or [i for i, given in enumerate(names) if class_key(given) == key]
        if len(found) == 1 and found[0] not in rows:
            rows += found
            continue
        if not found:
            problem = f"no class {called!r}, which the scenario wants as {name!r}"
        elif len(found) > 1:
            problem = f"{called!r} more than once"
        else:
            problem = f"{called!r} only once, but the scenario wants it twice"
        raise ClassMismatch(name, called, problem)
    return tuple(rows)
