"""The file data.yaml itself: parsed with its lines, and the faults that it has as a text."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from guardianflow.scenario.yaml_lines import InvalidYaml, line_of, parse_yaml, repeated_keys
from guardianflow.vision.data.findings import DataFinding, Fault, shortened
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.texts import read_text

SPLITS = ("train", "val", "test")
"""What a data set has images for; training needs all three."""
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What exporters call each split, in capitals or not; the first word that is there counts."""
_MAX_BYTES = 512 * 2**10


@dataclass(frozen=True)
class DescriptionReader:
    """A parsed data.yaml, and where its faults are collected."""

    file: Path
    tree: yaml.Node | None
    content: Mapping[str, object]
    findings: list[DataFinding]

    def add(self, fault: Fault, key: str | None = None, *, split: str | None = None) -> None:
        """Collect a fault, at the line of a key where it is about one."""
        line = line_of(self.tree, [key]) if key else None
        self.findings.append(fault.at(self.file, line=line, split=split))


def parse_file(file: Path, findings: list[DataFinding]) -> DescriptionReader:
    """Parse the file.

    Raises:
        Fault: Nothing of it can be used.
    """
    try:
        text = read_text(file, _MAX_BYTES)
    except Fault as fault:
        if fault.code is FaultCode.FILE_UNREADABLE:
            fault.code = FaultCode.YAML_UNREADABLE
        raise
    if text.fault:
        findings.append(text.fault.at(file))
    try:
        content, tree = parse_yaml(text.text)
    except InvalidYaml as error:
        remedy = "Correct the line." if error.line else "Write it anew, or take the exporter's."
        what = f"is no YAML: {shortened(str(error))}"
        raise Fault(FaultCode.YAML_SYNTAX, what, remedy, line=error.line) from error
    if not isinstance(content, dict):
        raise Fault(
            FaultCode.YAML_NO_MAPPING, "is no mapping", "It has keys such as names and train."
        )
    reader = DescriptionReader(file, tree, cast("Mapping[str, object]", content), findings)
    if not text.text.endswith("\n"):
        fault = Fault(
            FaultCode.YAML_NO_NEWLINE,
            "has no newline at its end",
            "See whether something is missing there; then end the last line.",
        )
        reader.add(fault)
    _refuse_keys(reader)
    return reader


def _refuse_keys(reader: DescriptionReader) -> None:
    for repeated in repeated_keys(reader.tree):
        what, remedy = shortened(str(repeated)), "Keep the one that is meant."
        fault = Fault(
            FaultCode.YAML_KEY_TWICE, what, remedy, value=repeated.key, line=repeated.again
        )
        reader.add(fault)
    if "kpt_shape" in reader.content:
        fault = Fault(
            FaultCode.YAML_POSE,
            "describes key points (kpt_shape); their rows look like polygons",
            "Export the data set for detection.",
        )
        reader.add(fault, "kpt_shape")
