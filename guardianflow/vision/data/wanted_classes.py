"""Matches the classes of a data set with those of a scenario, and renumbers the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from guardianflow.vision.data.class_names import ClassMismatch, find_classes
from guardianflow.vision.data.description import Description
from guardianflow.vision.data.examination import LabelFacts, objects_digest
from guardianflow.vision.data.findings import DataFinding, Fault, shortened
from guardianflow.vision.data.rules import FaultCode


@dataclass(frozen=True)
class WantedClasses:
    """The wanted classes, and the index of each class of data.yaml among them.

    Attributes:
        names: The wanted classes in the order of their indices.
        numbers: By index in data.yaml the index here, without the classes that are not wanted.
            None if both are the same.
    """

    names: tuple[str, ...]
    numbers: Mapping[int, int] | None = None

    @classmethod
    def of(
        cls,
        description: Description,
        wanted: Sequence[str] | None,
        mapping: Mapping[str, str],
        findings: list[DataFinding],
        *,
        frozen: bool = False,
    ) -> "WantedClasses":
        """Match the classes of data.yaml with the wanted ones; problems are added to `findings`.

        `checker.check_dataset` describes the other arguments.
        """
        own = description.classes
        if wanted is None or not own or tuple(wanted) == own:
            return cls(own)
        try:
            rows = find_classes(own, wanted, mapping)
        except ClassMismatch as error:
            findings.append(_names_differ(description, error, frozen=frozen).at(description.file))
            return cls(own)
        if rows == tuple(range(len(own))):
            return cls(tuple(wanted))
        return cls(tuple(wanted), {row: index for index, row in enumerate(rows)})

    def renumber(self, labels: LabelFacts) -> LabelFacts:
        """Return the labels of the wanted classes, with the indices of these classes."""
        if self.numbers is None:
            return labels
        rows = tuple(
            (self.numbers[row[0]], *row[1:]) for row in labels.rows if row[0] in self.numbers
        )
        return replace(labels, rows=rows, objects=objects_digest(rows))


def _names_differ(description: Description, error: ClassMismatch, *, frozen: bool) -> Fault:
    file = description.file.name
    if frozen:
        remedy = f"If it has another name, rename it to {error.called!r} in {file}: the scenario "
        remedy += "was trained already and cannot change."
    else:
        remedy = f"If it has another name, rename it in {file}, or give that name in the scenario: "
        remedy += f"dataset: {{classes: {{{error.name}: NAME}}}}."
    return Fault(
        FaultCode.NAMES_DIFFER,
        f"it has {error.problem}; its classes are {shortened(list(description.classes))}",
        remedy,
        value=error.called,
    )
