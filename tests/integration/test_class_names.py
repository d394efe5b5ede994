"""Class names of other people through training, quantization, the gate, evidence and health."""

import shutil
import uuid

import pytest
import yaml

from guardianflow.health.window import check_health
from guardianflow.lifecycle.quantization import QuantizationRunner
from guardianflow.lifecycle.training import TrainingRunner
from guardianflow.mlflow_store.runs import read_run_text
from guardianflow.names import ModelName
from guardianflow.promotion import propose
from guardianflow.promotion.examination import EVIDENCE_PAGE
from guardianflow.registry import ModelRegistryManager
from guardianflow.scenario import HealthPolicy, HealthRule, ScenarioSpec, SyntheticData
from guardianflow.vision.synthetic import draw_dataset

KOREAN, ODD = "안전모 미착용", "Safety *Vest*, (50 %)"
DRAWING = SyntheticData(
    kind="synthetic", image_size=64, train_images=8, val_images=2, test_images=4
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Their names, their order, one class more than is wanted; and a window in ours."""
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    theirs, window = tmp_path / "theirs", tmp_path / "window"
    draw_dataset(theirs, DRAWING, ["vest", "person", "helmet"])
    shutil.copytree(theirs, window)
    for folder, names in (
        (theirs, ["safety-*VEST*,-(50-%)", "person", "no helmet"]),
        (window, [ODD, "person", KOREAN]),
    ):
        content = yaml.safe_load((folder / "data.yaml").read_text())
        text = yaml.safe_dump({**content, "names": names}, allow_unicode=True)
        (folder / "data.yaml").write_text(text, encoding="utf-8")
    return theirs, window


@pytest.mark.long
def test_names_that_can_be_printed_go_the_whole_way(mlflow_server, data):
    theirs, window = data
    spec = {
        "customer": "test",
        "region": "lab",
        "plant": f"p{uuid.uuid4().hex[:10]}",
        "zone": "bench",
        "task": "ppe",
        "classes": [KOREAN, ODD],
        "dataset": {"kind": "folder", "path": str(theirs), "classes": {KOREAN: "No-Helmet"}},
        "training": {"image_size": 64, "width": 4, "epochs": 1, "batch_size": 4},
        "quantization": {"calibration_images": 4, "preset": "mixed"},
        "gate": {"min_map50": 0.0, "min_speedup": 0, "max_miss_rates": {KOREAN: 0.5}},
        "versions": {"v1": {}},
    }
    scenario = ScenarioSpec.from_mapping("names", spec).version("v1")
    registry = ModelRegistryManager(mlflow_server)
    trained = TrainingRunner(scenario, registry).run()
    assert trained.version is not None
    QuantizationRunner(scenario, registry, trained.version).run()
    name = scenario.get_registered_model_name()
    variant = scenario.get_registered_model_name("openvino_int8")
    metrics = registry.client.get_run(trained.run_id).data.metrics
    assert f"test.recall.{KOREAN}" in metrics
    assert "test.recall.Safety :2a:Vest:2a::2c: :28:50 :25::29:" in metrics

    asked = propose(registry, name, token=str(uuid.uuid4()), requested_by="lee")
    page = read_run_text(registry.client, asked.evidence_run_id, EVIDENCE_PAGE)
    assert KOREAN in page
    assert r"Safety \*Vest\*, (50 %)" in page

    registry.promote_to_champion(name)
    rule = HealthRule(metric=f"recall.{ODD}", at_least=0.0)
    policy = HealthPolicy(min_map50=0.0, min_images=1, min_objects=1, rules=(rule,))
    report = check_health(
        registry, ModelName.parse(variant), window, token=str(uuid.uuid4()), policy=policy
    )
    assert {f"recall.{KOREAN}", f"recall.{ODD}"} <= set(report.figures)
