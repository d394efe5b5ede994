"""The classes that a scenario wants of a data set: labels get its numbers when they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from guardianflow.vision.data.class_names import ClassMismatch, find_classes
from guardianflow.vision.data.description import Description
from guardianflow.vision.data.examination import LabelFacts, objects_digest
from guardianflow.vision.data.findings import DataFinding, Fault, shortened
from guardianflow.vision.data.rules import FaultCode


@dataclass(frozen=True)
class WantedClasses:
    """The classes that are wanted, and which label of a file is which of them.

    Attributes:
        names: In the order of their indices.
        numbers: By the index in data.yaml the index here; what is not wanted is absent. None where
            the two are the same.
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
        """Match the classes of data.yaml with those that are wanted.

        Args:
            description: What data.yaml says.
            wanted: The classes of the scenario; None takes those of data.yaml.
            mapping: What one of them is called in data.yaml, where it is another word.
            findings: What is wrong is added here.
            frozen: Whether the scenario was trained, and so stays as it is.
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
        """The labels of what is wanted, by the numbers of what is wanted."""
        if self.numbers is None:
            return labels
        rows = tuple(
            (self.numbers[row[0]], *row[1:]) for row in labels.rows if row[0] in self.numbers
        )
        return replace(labels, rows=rows, objects=objects_digest(rows))


def _names_differ(description: Description, error: ClassMismatch, *, frozen: bool) -> Fault:
    remedy = f"Where it is there by another word, rename it in {description.file.name}"
    if frozen:
        remedy += f": call it {error.called!r}. The scenario stays as it was trained."
    else:
        remedy += f", or say so in the scenario: dataset: {{classes: {{{error.name}: WORD}}}}."
    return Fault(
        FaultCode.NAMES_DIFFER,
        f"it has {error.problem}; its classes are {shortened(list(description.classes))}",
        remedy,
        value=error.called,
    )
