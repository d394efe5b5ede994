"""Parses data.yaml with its line numbers, and reports its faults as a YAML file."""

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
"""The splits of a data set; training needs all three."""
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Keys of exporters for each split, in any case; the first one that is present counts."""
_MAX_BYTES = 512 * 2**10


@dataclass(frozen=True)
class DescriptionReader:
    """A parsed data.yaml, and the findings about it."""

    file: Path
    tree: yaml.Node | None
    content: Mapping[str, object]
    findings: list[DataFinding]

    def add(self, fault: Fault, key: str | None = None, *, split: str | None = None) -> None:
        """Add a fault, at the line of its key."""
        line = line_of(self.tree, [key]) if key else None
        self.findings.append(fault.at(self.file, line=line, split=split))


def parse_file(file: Path, findings: list[DataFinding]) -> DescriptionReader:
    """Parse the file.

    Raises:
        Fault: The file cannot be used at all.
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
        remedy = "Correct the line." if error.line else "Export or write it again."
        what = f"is not YAML: {shortened(str(error))}"
        raise Fault(FaultCode.YAML_SYNTAX, what, remedy, line=error.line) from error
    if not isinstance(content, dict):
        raise Fault(FaultCode.YAML_NO_MAPPING, "has no keys", "Add keys such as names and train.")
    reader = DescriptionReader(file, tree, cast("Mapping[str, object]", content), findings)
    if not text.text.endswith("\n"):
        fault = Fault(
            FaultCode.YAML_NO_NEWLINE,
            "has no newline at its end",
            "Check whether something is missing there, then add a newline.",
        )
        reader.add(fault)
    _refuse_keys(reader)
    return reader


def _refuse_keys(reader: DescriptionReader) -> None:
    for repeated in repeated_keys(reader.tree):
        what, remedy = shortened(str(repeated)), "Keep the correct one."
        fault = Fault(
            FaultCode.YAML_KEY_TWICE, what, remedy, value=repeated.key, line=repeated.again
        )
        reader.add(fault)
    if "kpt_shape" in reader.content:
        fault = Fault(
            FaultCode.YAML_POSE,
            "describes key points (kpt_shape), whose rows look like polygons",
            "Export the data set for detection.",
        )
        reader.add(fault, "kpt_shape")
