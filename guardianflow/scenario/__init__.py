"""Scenarios: the settings of training, quantization, gate and health for one zone and task.

    ScenarioSpec  --version("v3")-->  Scenario

A `ScenarioSpec` is one YAML file or one Prefect block: common settings, and `versions` that
override them key by key. A `Scenario` is one version of it, frozen, with a digest.

    version      Scenario -> dataset_settings, training_settings, gate_settings
    spec         ScenarioSpec
    file         finds and reads `scenarios/*.yaml`
    template     the first one of a zone
    yaml_lines   parses YAML with line numbers
    values       names, fractions, and the base class of all settings
"""

from guardianflow.scenario.dataset_settings import (
    DatasetSettings,
    FolderData,
    Light,
    NearDuplicates,
    SyntheticData,
)
from guardianflow.scenario.gate_settings import (
    EvidenceSettings,
    GateSettings,
    HealthPolicy,
    HealthRule,
)
from guardianflow.scenario.spec import ScenarioSpec
from guardianflow.scenario.training_settings import (
    EvaluationSettings,
    Precision,
    QuantizationSettings,
    StartingPoint,
    TrainingSettings,
)
from guardianflow.scenario.values import MetricName
from guardianflow.scenario.version import Scenario, Today, edits, nothing_known

__all__ = [
    "DatasetSettings",
    "EvaluationSettings",
    "EvidenceSettings",
    "FolderData",
    "GateSettings",
    "HealthPolicy",
    "HealthRule",
    "Light",
    "MetricName",
    "NearDuplicates",
    "Precision",
    "QuantizationSettings",
    "Scenario",
    "ScenarioSpec",
    "StartingPoint",
    "SyntheticData",
    "Today",
    "TrainingSettings",
    "edits",
    "nothing_known",
]
