"""`guardianflow scenario init`: what it writes is a scenario, and nothing is overwritten."""

import json

import pytest
import yaml

from guardianflow.cli import main
from guardianflow.scenario import StartingPoint
from guardianflow.scenario.file import load_spec

NAME = "my-company/seoul-plant1/my-line/ppe"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUARDIANFLOW_SCENARIOS", str(tmp_path / "scenarios"))
    folder = tmp_path / "our photos: north"
    for split in ("train", "val", "test"):
        (folder / "images" / split).mkdir(parents=True)
    splits = {split: f"images/{split}" for split in ("train", "val", "test")}
    content = {"path": ".", **splits, "nc": 3, "names": ["person", "helmet, white", "안전모"]}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    return folder


def init(capsys, *words, expect=0):
    with pytest.raises(SystemExit) as ended:
        main(["scenario", "init", *map(str, words), "--json"])
    assert ended.value.code == expect
    said = capsys.readouterr()
    return json.loads(said.out or said.err)


def test_it_writes_a_scenario_of_the_photographs(photos, capsys):
    made = init(capsys, photos, NAME)
    assert made["scenario"] == "my-line-ppe"
    version = load_spec("my-line-ppe").version("v1")
    assert version.model_name.public == NAME
    assert version.classes == ("person", "helmet, white", "안전모")
    assert version.dataset.path == str(photos)
    assert version.training.start is StartingPoint.COCO


def test_a_scenario_that_exists_stays(photos, capsys, tmp_path):
    init(capsys, photos, NAME)
    file = tmp_path / "scenarios" / "my-line-ppe.yaml"
    before = file.read_bytes()
    error = init(capsys, photos, NAME, expect=2)["error"]
    assert "already" in error["message"]
    assert "--scenario" in error["remedy"]
    assert file.read_bytes() == before
    assert init(capsys, photos, NAME, "--scenario", "other")["scenario"] == "other"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{NAME}__openvino_int8", ()),
        ("my-company/seoul/my-line/ppe", ()),
        (NAME, ("--scenario", "Not A Name")),
    ],
)
def test_what_cannot_be_a_scenario_leaves_no_file(photos, capsys, tmp_path, name, words):
    assert init(capsys, photos, name, *words, expect=2)["error"]["remedy"]
    assert not [*tmp_path.glob("scenarios/*")]


def test_photographs_without_classes_are_refused(photos, capsys, tmp_path):
    (photos / "data.yaml").write_text("path: .\n")
    error = init(capsys, photos, NAME, expect=2)["error"]
    assert "names" in error["message"]
    (photos / "data.yaml").unlink()
    assert "dataset check" in init(capsys, photos, NAME, expect=2)["error"]["remedy"]
    assert not [*tmp_path.glob("scenarios/*")]
