"""Scenarios: what is trained, quantized, gated and watched for one customer x site x zone x task.

    ScenarioSpec  --version("v3")-->  Scenario

A `ScenarioSpec` is one YAML file or one Prefect block: common settings, and `versions` that
override them key by key. A `Scenario` is one version of it, frozen, with a digest.

    version    both, and their groups of settings
    file       finds and reads `scenarios/*.yaml`
"""

from guardianflow.scenario.version import (
    DatasetSettings,
    EvaluationSettings,
    EvidenceSettings,
    FolderData,
    GateSettings,
    HealthPolicy,
    HealthRule,
    Light,
    Precision,
    QuantizationSettings,
    Scenario,
    ScenarioSpec,
    StartingPoint,
    SyntheticData,
    TrainingSettings,
)

__all__ = [
    "DatasetSettings",
    "EvaluationSettings",
    "EvidenceSettings",
    "FolderData",
    "GateSettings",
    "HealthPolicy",
    "HealthRule",
    "Light",
    "Precision",
    "QuantizationSettings",
    "Scenario",
    "ScenarioSpec",
    "StartingPoint",
    "SyntheticData",
    "TrainingSettings",
]
