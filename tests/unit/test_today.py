"""Gate, health, evidence and language are those of today: of the block, or of the file."""

import pytest
import yaml

from flows import scenario_blocks
from flows.scenario_blocks import limits_in_blocks, today_in_blocks
from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario.file import today_in_files
from tests.unit.test_scenario import GOOD


class Config:
    """A block as Prefect loads it."""

    def __init__(self, **more):
        content = {**yaml.safe_load(GOOD), **more}
        self.name = "acme-yard"
        self.versions = content.pop("versions")
        self.common = content


def test_the_block_of_today_counts_where_there_is_one(monkeypatch):
    config = Config(gate={"min_map50": 0.7})
    monkeypatch.setattr(scenario_blocks, "load_saved", lambda *_, **__: config)
    assert today_in_blocks("acme-yard", "v1").gate.min_map50 == 0.7
    # Who trained v9 of a file that was never applied is judged as was recorded.
    assert today_in_blocks("acme-yard", "v9") is None
    monkeypatch.setattr(scenario_blocks, "load_saved", lambda *_, **__: None)
    assert today_in_blocks("acme-yard", "v1") is None


def test_a_wrong_block_stops_a_promotion_and_leaves_no_model_unwatched(monkeypatch, caplog):
    monkeypatch.setattr(scenario_blocks, "load_saved", lambda *_, **__: Config(colour="red"))
    with pytest.raises(ScenarioInvalid, match="unknown key 'colour'"):
        today_in_blocks("acme-yard", "v1")
    assert limits_in_blocks("acme-yard", "v1") is None
    assert "unknown key 'colour'" in caplog.text


def test_a_draft_of_another_version_is_no_matter_of_this_one(monkeypatch):
    config = Config()
    config.versions |= {"v5": {"colour": "red"}, "v 6": {}}
    monkeypatch.setattr(scenario_blocks, "load_saved", lambda *_, **__: config)
    assert today_in_blocks("acme-yard", "v1").version == "v1"
    with pytest.raises(ScenarioInvalid, match="unknown key 'colour'"):
        today_in_blocks("acme-yard", "v5")


def test_the_file_of_today_counts_for_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_SCENARIOS", str(tmp_path))
    assert today_in_files("acme-yard", "v1") is None
    (tmp_path / "acme-yard.yaml").write_text(f"{GOOD}gate: {{min_map50: 0.7}}\n")
    assert today_in_files("acme-yard", "v1").gate.min_map50 == 0.7
    assert today_in_files("acme-yard", "v9") is None
