"""Scenarios: every shipped file loads, versions differ, and what is wrong is named exactly."""

import unicodedata
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from pydantic import ValidationError, create_model

from guardianflow import stored
from guardianflow.errors import NameInvalid, ScenarioInvalid
from guardianflow.prefect_api import control
from guardianflow.scenario import (
    FolderData,
    GateSettings,
    QuantizationSettings,
    Scenario,
    ScenarioSpec,
    TrainingSettings,
    edits,
)
from guardianflow.scenario.file import load_scenario, load_spec, read_scenario_file
from guardianflow.scenario.spec import merge_settings

SHIPPED = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
GOOD = """\
customer: acme
region: east
plant: p1
zone: yard
task: ppe
classes: [person, helmet]
dataset:
  kind: synthetic
  seed: 3
versions:
  v1: {}
  v2:
    training: {epochs: 5}
"""


def write(folder, text):
    path = folder / "acme-yard.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_scenario_loads(path, monkeypatch, tmp_path):
    # Shipped scenarios may read their data from a folder that the machine names.
    monkeypatch.setenv("GUARDIANFLOW_REAL_DATA", str(tmp_path))
    spec = read_scenario_file(path)
    for version in spec.versions:
        scenario = spec.version(version)
        assert scenario.name == path.stem
        assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


def test_there_are_scenarios_of_two_customers():
    specs = [read_scenario_file(path) for path in SHIPPED]
    assert len({spec.common["customer"] for spec in specs}) >= 2


def test_the_versions_of_the_mission_differ_in_something_real():
    spec = read_scenario_file(next(p for p in SHIPPED if p.stem == "donghwa-entec-ppe"))
    scenarios = [spec.version(f"v{number}") for number in (1, 2, 3)]
    assert len({scenario.digest for scenario in scenarios}) == 3
    assert len({scenario.dataset.model_dump_json() for scenario in scenarios}) == 3
    assert {scenario.get_registered_model_name() for scenario in scenarios} == {
        "donghwa-entec/busan-plant1/welding/ppe"
    }


def test_the_names_of_base_and_variant(tmp_path):
    scenario = read_scenario_file(write(tmp_path, GOOD)).version("v1")
    assert scenario.get_registered_model_name() == "acme/east-p1/yard/ppe"
    flavour = scenario.quantization.flavour()
    assert scenario.get_registered_model_name(flavour) == "acme/east-p1/yard/ppe__openvino_int8"
    with pytest.raises(NameInvalid):
        scenario.get_registered_model_name("int8")


def test_a_scenario_may_ask_for_several_variants():
    settings = QuantizationSettings.model_validate({"variants": ["int8", "fp16"]})
    assert [settings.flavour(one) for one in settings.variants] == [
        "openvino_int8",
        "openvino_fp16",
    ]
    for wrong in ([], ["int4"]):
        with pytest.raises(ValidationError):
            QuantizationSettings.model_validate({"variants": wrong})


def test_a_version_overrides_the_common_settings_key_by_key(tmp_path):
    spec = read_scenario_file(write(tmp_path, GOOD))
    assert spec.version("v2").training.epochs == 5
    assert spec.version("v2").dataset == spec.version("v1").dataset
    assert merge_settings({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}}


def test_a_data_set_of_another_kind_replaces_the_common_one():
    common = {"dataset": {"kind": "synthetic", "seed": 3}}
    override = {"dataset": {"kind": "folder", "path": "x"}}
    assert merge_settings(common, override) == override


def test_the_digest_says_what_is_the_same_work(tmp_path):
    first = read_scenario_file(write(tmp_path, GOOD))
    # Comments, order and defaults that are written out change nothing.
    same = GOOD.replace("  seed: 3", "  seed: 3  # as ever\n  image_size: 256")
    assert read_scenario_file(write(tmp_path, same)).version("v1").digest == (
        first.version("v1").digest
    )
    assert first.version("v1").digest != first.version("v2").digest
    changed = GOOD.replace("seed: 3", "seed: 4")
    assert read_scenario_file(write(tmp_path, changed)).version("v1").digest != (
        first.version("v1").digest
    )


def test_what_judges_the_work_is_no_part_of_its_digest(tmp_path):
    first = read_scenario_file(write(tmp_path, GOOD)).version("v1")
    judged = GOOD.replace("task: ppe", "task: ppe\nlanguage: ko\ngate: {min_map50: 0.9}")
    other = read_scenario_file(write(tmp_path, judged)).version("v1")
    assert other.digest == first.digest
    assert edits(first, other) == []
    different = {group for group in first.judging if first.judging[group] != other.judging[group]}
    assert different == {"gate", "language"}
    assert first.judged_like(other) == other


def test_a_setting_that_came_later_changes_no_digest_while_it_has_its_first_default(monkeypatch):
    old = ScenarioSpec.from_mapping("acme-yard", yaml.safe_load(GOOD)).version("v1")
    came_later = {"training.tea_breaks": 2, "gate.tea": None, "health.rules.cups": 1}
    monkeypatch.setattr(stored, "INTRODUCED", {"Scenario": came_later})

    def scenario(default, **given):
        training = create_model("Training", __base__=TrainingSettings, tea_breaks=(int, default))
        gate = create_model("Gate", __base__=GateSettings, tea=(str | None, None))
        made = create_model(
            "Scenario", __base__=Scenario, training=(training, ...), gate=(gate, ...)
        )
        content = {**old.model_dump(), "training": {**old.training.model_dump(), **given}}
        return made.model_validate(content), made

    new, kind = scenario(2)
    assert (new.digest, new.first_digest) == (old.digest, old.first_digest)
    assert new.judging == old.judging
    assert scenario(2, tea_breaks=3)[0].digest != old.digest
    assert edits(old, scenario(2, tea_breaks=3)[0]) == ["training.tea_breaks was not there, is 3"]
    # Its default was changed later: who does not write it out gets other work now ...
    changed, kind = scenario(5)
    assert changed.digest != old.digest
    # ... and what was stored before it came stands for what it was then.
    kept = stored.read_stored(kind, old.model_dump_json(), "scenario of then")
    assert kept.training.tea_breaks == 2
    assert kept.digest == old.digest


def test_the_content_survives_the_way_through_a_block(tmp_path):
    spec = read_scenario_file(write(tmp_path, GOOD))
    assert ScenarioSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert ScenarioSpec.from_mapping("acme-yard", yaml.safe_load(GOOD)) == spec


@pytest.mark.parametrize(
    ("before", "after", "line", "key", "words"),
    [
        ("task: ppe", "task: ppe\ncolour: red", 6, "colour", "unknown key"),
        ("zone: yard", "zone: Yard!", 4, "zone", "'Yard!'"),
        ("plant: p1\n", "", None, "plant", "missing"),
        ("  seed: 3", "  seed: -3", 9, "dataset.seed", "-3"),
        ("  seed: 3", "  sed: 3", 9, "dataset.sed", "unknown key"),
        ("{epochs: 5}", "{epochs: many}", 13, "training.epochs", "'many'"),
        ("{epochs: 5}", "{epoch: 5}", 13, "training.epoch", "unknown key"),
        ("kind: synthetic", "kind: webcam", 7, "dataset", "webcam"),
        ("[person, helmet]", "[person, person]", None, "classes", "listed twice"),
        ("[person, helmet]", "[NO-Helmet, no_helmet]", None, "classes", "count as the same name"),
        ("[person, helmet]", '["a\\u200bb"]', 6, "classes", "printable"),
        ("[person, helmet]", '["a\\nb"]', 6, "classes", "printable"),
        ("[person, helmet]", "[' a']", 6, "classes", "without spaces around"),
        ("  v1: {}", "  first: {}", 11, "versions.first", "first"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_key_value_and_remedy(
    tmp_path, before, after, line, key, words
):
    assert before in GOOD
    path = write(tmp_path, GOOD.replace(before, after))
    with pytest.raises(ScenarioInvalid) as refused:
        read_scenario_file(path)
    error = refused.value
    assert str(path) in error.message
    if line is not None:
        assert f"{path}:{line}" in error.message
    assert key in error.message
    assert words in error.message
    assert error.remedy


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "", "\x00"])
def test_what_is_no_mapping_in_yaml_is_named_with_its_file(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(ScenarioInvalid, match="acme-yard") as refused:
        read_scenario_file(path)
    assert refused.value.remedy


def test_an_unknown_scenario_or_version_says_which_there_are(tmp_path, monkeypatch):
    write(tmp_path, GOOD)
    monkeypatch.setenv("GUARDIANFLOW_SCENARIOS", str(tmp_path))
    for name in ("nobody", "../etc/passwd", ""):
        with pytest.raises(ScenarioInvalid, match="acme-yard"):
            load_spec(name)
    with pytest.raises(ScenarioInvalid, match="v1, v2"):
        load_scenario("acme-yard", "v9")
    assert load_scenario("acme-yard", "v2").version == "v2"
    with pytest.raises(ScenarioInvalid, match="GUARDIANFLOW_SCENARIOS"):
        load_spec("acme-yard", tmp_path / "nowhere")


def test_a_missing_path_or_variable_is_found_before_any_work(tmp_path, monkeypatch):
    folder = "dataset:\n  kind: folder\n  path: ${SOME_DATA}/ppe\nversions: {v1: {}}\n"
    write(tmp_path, GOOD[: GOOD.index("dataset:")] + folder)
    monkeypatch.delenv("SOME_DATA", raising=False)
    with pytest.raises(ScenarioInvalid, match="SOME_DATA") as refused:
        load_scenario("acme-yard", "v1", tmp_path)
    assert "export" in refused.value.remedy
    assert refused.value.message.startswith("Scenario acme-yard v1: dataset.path = ")
    assert refused.value.data["key"] == "dataset.path"
    monkeypatch.setenv("SOME_DATA", str(tmp_path))
    with pytest.raises(ScenarioInvalid, match="does not exist") as refused:
        load_scenario("acme-yard", "v1", tmp_path)
    assert refused.value.message.startswith("Scenario acme-yard v1: dataset.path = ")
    (tmp_path / "ppe").mkdir()
    assert load_scenario("acme-yard", "v1", tmp_path).dataset.kind == "folder"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "zone: yard\n",
            "zone: yard\nzone: paint\n",
            ":5: the key zone occurs twice, in lines 4 and 5",
        ),
        (
            "  v1: {}\n",
            "  v1: {}\n  v1: {}\n",
            ":12: the key v1 occurs twice, in lines 11 and 12",
        ),
        ("{epochs: 5}", "{epochs: 5, epochs: 6}", ":13: the key epochs occurs twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path, before, after, words):
    path = write(tmp_path, GOOD.replace(before, after))
    with pytest.raises(ScenarioInvalid) as refused:
        read_scenario_file(path)
    assert words in refused.value.message


def test_a_data_set_may_be_named_by_its_yaml_file_and_stand_elsewhere(tmp_path, monkeypatch):
    data = FolderData(kind="folder", path=str(tmp_path / "sets" / "dataset.yaml"))
    with pytest.raises(ScenarioInvalid, match="does not exist"):
        data.resolve()
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "dataset.yaml").write_text("names: [a]\n")
    assert data.resolve() == tmp_path / "sets" / "dataset.yaml"
    (tmp_path / "my sets.zip").write_bytes(b"PK")
    with pytest.raises(ScenarioInvalid, match="is a file, but not the YAML file") as refused:
        FolderData(kind="folder", path=str(tmp_path / "my sets.zip")).resolve()
    assert f"`guardianflow dataset check '{tmp_path}/my sets.zip'`" in refused.value.remedy
    monkeypatch.setenv("SOME_DATA", str(tmp_path))
    rooted = FolderData(kind="folder", path="x", root="${SOME_DATA}/sets")
    assert rooted.base_folder() == tmp_path / "sets"
    with pytest.raises(ScenarioInvalid, match=r"dataset\.root"):
        FolderData(kind="folder", path="x", root="/nowhere").base_folder()


def test_classes_are_called_what_people_call_them(tmp_path):
    names = ["Hardhat", "NO-Hardhat", "Safety Vest", "안전모", "Gants (cuir), 50 %"]
    path = write(tmp_path, GOOD.replace("[person, helmet]", str(names)))
    assert read_scenario_file(path).version("v1").classes == tuple(names)
    # As file systems and exporters of some systems write it: in parts.
    parts = unicodedata.normalize("NFD", "안전모")
    path = write(tmp_path, GOOD.replace("[person, helmet]", f"[{parts}]"))
    assert read_scenario_file(path).version("v1").classes == ("안전모",)


def test_what_a_class_is_called_in_the_data_is_asked_of_known_classes_alone(tmp_path):
    data = "dataset: {kind: folder, path: x, classes: {helmet: Hardhat}}\nversions: {v1: {}}\n"
    text = GOOD[: GOOD.index("dataset:")] + data
    scenario = read_scenario_file(write(tmp_path, text)).version("v1")
    assert scenario.dataset.classes == {"helmet": "Hardhat"}
    path = write(tmp_path, text.replace("helmet: Hardhat", "hat: Hardhat"))
    with pytest.raises(ScenarioInvalid, match="hat is not one of the classes"):
        read_scenario_file(path)


def test_names_too_long_to_register_are_refused_before_any_work(tmp_path):
    # Each segment is allowed, together they are too long, the variant's name first of all.
    long = "x" * 60
    text = GOOD
    for key, value in (("customer", "acme"), ("region", "east"), ("plant", "p1"), ("zone", "yard")):
        text = text.replace(f"{key}: {value}", f"{key}: {long}")
    path = write(tmp_path, text)
    with pytest.raises(ScenarioInvalid, match="together") as refused:
        read_scenario_file(path)
    assert str(path) in refused.value.message


def test_a_scenario_may_end_in_yml_and_be_named_with_its_ending(tmp_path):
    (tmp_path / "yard.yml").write_text(GOOD)
    assert load_spec("yard", tmp_path).version("v1").zone == "yard"
    assert load_spec("yard.yml", tmp_path).name == "yard"
    (tmp_path / "yard.yaml").write_text(GOOD)
    with pytest.raises(ScenarioInvalid, match=r"yard\.yaml and .*yard\.yml have the same name"):
        load_spec("yard", tmp_path)


def test_a_version_that_is_none_is_not_to_be_added(tmp_path):
    spec = read_scenario_file(write(tmp_path, GOOD))
    with pytest.raises(ScenarioInvalid) as refused:
        spec.version("v01")
    assert refused.value.remedy == "Choose one of v1, v2."
    with pytest.raises(ScenarioInvalid) as refused:
        spec.version("v3")
    assert refused.value.remedy == "Choose one of v1, v2, or add it."
    with pytest.raises(ScenarioInvalid) as refused:
        read_scenario_file(write(tmp_path, GOOD.replace("  v1:", "  v01:")))
    assert "without leading zeros" in refused.value.remedy


@pytest.mark.parametrize(
    "data", [{"name": "a"}, {"common": ["a"], "versions": {}}, {"common": {}}, {"common": None}]
)
def test_a_block_that_somebody_edited_into_none_is_told_as_one(monkeypatch, data):
    client = SimpleNamespace(read_block_document_by_name=lambda *_: SimpleNamespace(data=data))
    monkeypatch.setattr(control, "open_client", lambda *_: nullcontext(client))
    with pytest.raises(ScenarioInvalid, match="The block wing has no scenario in it") as wrong:
        control.Orchestrator("http://127.0.0.1:5/api").read_scenario("wing")
    assert "Correct it in the Prefect UI" in wrong.value.remedy
