"""What is no YOLO set is called by its kind, with the sentence that helps."""

import json
import os
import shlex
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario.file import read_scenario_file
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.documents import read_json, read_xml
from guardianflow.vision.data.findings import DataFinding, Fault
from guardianflow.vision.data.kinds import ExportFormat, recognise
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.yaml_file import SPLITS
from tests.unit.yolo_sets import ROW, draw, make


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


def only(place: Path) -> DataFinding:
    (finding,) = check_dataset(place).findings
    return finding


def coco(folder: Path) -> None:
    content = {"images": [], "annotations": [], "categories": []}
    (folder / "annotations").mkdir()
    (folder / "annotations/instances_train.json").write_text(json.dumps(content))


def voc(folder: Path) -> None:
    (folder / "Annotations").mkdir()
    (folder / "Annotations/a.xml").write_text("<annotation><size/></annotation>")


def cvat(folder: Path) -> None:
    (folder / "annotations.xml").write_text("<annotations><version>1.1</version></annotations>")


def label_studio(folder: Path) -> None:
    task = {"id": 1, "data": {"image": "a.jpg"}, "annotations": []}
    (folder / "project-1.json").write_text(json.dumps([task]))


def label_studio_yolo(folder: Path) -> None:
    draw(folder / "images/0a1b-cam 1 50%.png", 1)
    (folder / "labels").mkdir()
    (folder / "labels/0a1b-cam 1 50%.txt").write_text(ROW)
    (folder / "classes.txt").write_text("person\nhelmet\n")
    (folder / "notes.json").write_text('{"categories": [{"id": 0, "name": "person"}]}')


def labelimg(folder: Path) -> None:
    draw(folder / "a.png", 1)
    (folder / "a.txt").write_text(ROW)
    (folder / "classes.txt").write_text("person\n")


def label_studio_min(folder: Path) -> None:
    row = {"photo": "a.jpg", "id": 1, "annotator": 1, "annotation_id": 7, "lead_time": 2.5}
    (folder / "project-1-min.json").write_text(json.dumps([row]))


def coco_names(folder: Path) -> None:
    labelimg(folder)
    (folder / "classes.txt").rename(folder / "coco.names")


def jsonl(folder: Path) -> None:
    (folder / "set.jsonl").write_text('\n{"type": "image", "file": "a.jpg"}\n{"type": "image"}\n')


def supervisely(folder: Path) -> None:
    (folder / "ds0/ann").mkdir(parents=True)
    (folder / "ds0/ann/a.png.json").write_text("{}")
    (folder / "meta.json").write_text('{"classes": []}')


def ndjson(folder: Path) -> None:
    (folder / "set.ndjson").write_text('{"type": "dataset"}\n')


def darknet(folder: Path) -> None:
    (folder / "obj.names").write_text("person\n")
    (folder / "obj.data").write_text("classes = 1\n")


KINDS = {
    ExportFormat.COCO: coco,
    ExportFormat.VOC: voc,
    ExportFormat.CVAT: cvat,
    ExportFormat.LABEL_STUDIO: label_studio,
    ExportFormat.SUPERVISELY: supervisely,
    ExportFormat.NDJSON: ndjson,
    ExportFormat.DARKNET: darknet,
    ExportFormat.CLASS_LIST: label_studio_yolo,
}


ALSO = [
    (ExportFormat.CLASS_LIST, labelimg),
    (ExportFormat.CLASS_LIST, coco_names),
    (ExportFormat.LABEL_STUDIO, label_studio_min),
    (ExportFormat.NDJSON, jsonl),
]


@pytest.mark.parametrize(("kind", "write"), [*KINDS.items(), *ALSO])
def test_each_exporter_is_recognised(
    tmp_path: Path, kind: ExportFormat, write: Callable[[Path], None]
) -> None:
    place = tmp_path / "export"
    place.mkdir()
    write(place)
    finding = only(place)
    assert (finding.code, finding.value, finding.file) == (
        FaultCode.FORMAT_FOREIGN,
        kind,
        str(place),
    )
    assert f"in the format {kind} " in finding.what
    assert f"guardianflow dataset convert {place}" in finding.remedy


@pytest.mark.parametrize(
    "name",
    [
        "_annotations.csv",
        "via_region_data.json",
        "_annotations.txt",
        "train/cam.json",
        "metadata.jsonl",
        "_annotations.train.jsonl",
        "broken.ndjson",
    ],
)
def test_annotations_that_nobody_reads_are_no_missing_labels(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "train/cam.png", 1)
    (tmp_path / name).write_text('{"shapes": []' if name.startswith("broken") else '{"shapes": []}')
    finding = only(tmp_path)
    assert (finding.code, finding.value) == (FaultCode.FORMAT_FOREIGN, Path(name).name)
    assert f"contains images and {name}, whose format is not supported" in finding.what


def test_two_lists_of_classes_are_a_choice_for_people(tmp_path: Path) -> None:
    coco_names(tmp_path)
    (tmp_path / "voc.names").write_text("aeroplane\n")
    finding = only(tmp_path)
    assert finding.code is FaultCode.YAML_MISSING
    assert finding.remedy.startswith("Write data.yaml with the class names")


def test_remedies_can_be_typed_where_a_path_has_blanks(tmp_path: Path) -> None:
    place = tmp_path / "my export"
    place.mkdir()
    labelimg(place)
    words = shlex.split(only(place).remedy.split("`")[1])
    assert words == ["guardianflow", "dataset", "convert", str(place), "NEW_FOLDER"]


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    make(tmp_path / "data")
    archive = Path(shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "data"))
    unnamed = archive.rename(tmp_path / "download")
    assert (only(unnamed).code, "Unpack it" in only(unnamed).remedy) == (
        FaultCode.FORMAT_FOREIGN,
        True,
    )
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "folder/export.zip", "w"):
        pass
    assert "the archive export.zip" in only(tmp_path / "folder").what


def test_the_folder_further_down_is_named(tmp_path: Path) -> None:
    make(tmp_path / "unpacked/ppe")
    assert str(tmp_path / "unpacked/ppe") in only(tmp_path / "unpacked").remedy


def test_odd_places_are_no_kind_and_nobody_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert only(tmp_path / "pipe").code is FaultCode.PLACE_MISSING
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder/a.json")
    (tmp_path / "folder/loop").symlink_to("/")
    (tmp_path / "folder/deep.json").write_text("[" * 100_000)
    assert recognise(tmp_path / "folder") is None
    assert only(tmp_path / "folder").code is FaultCode.YAML_MISSING


def test_no_entity_is_ever_expanded(tmp_path: Path) -> None:
    bomb = tmp_path / "a.xml"
    bomb.write_text('<!DOCTYPE a [<!ENTITY x "xxxx">]><annotation>&x;</annotation>')
    with pytest.raises(Fault, match="has a document type declaration"):
        read_xml(bomb)
    bomb.write_text("<annotation>&x;</annotation>")
    with pytest.raises(Fault, match="not XML"):
        read_xml(bomb)
    with pytest.raises(Fault, match="more than the limit"):
        read_json(bomb, max_bytes=3)


FOUND = Path(os.environ.get("GUARDIANFLOW_REAL_DATA", "/nowhere")) / "found"


@pytest.mark.real_data
@pytest.mark.skipif(not FOUND.is_dir(), reason="GUARDIANFLOW_REAL_DATA is not set")
@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        ("01b-fiftyone-here", {}),
        ("02b-cvat-data-prefix", {FaultCode.SPLIT_UNNAMED: "no images for test"}),
        ("03-cvat-yolo11", {FaultCode.FORMAT_FOREIGN: "YOLO 1.1 (Darknet)"}),
        ("04-label-studio", {FaultCode.FORMAT_FOREIGN: "with a class list (classes.txt)"}),
        ("05-roboflow-caps", {}),
        ("24-flat-labels", {}),
        ("25-odd-beside", {}),
    ],
)
def test_what_was_found_in_the_field_works_or_is_named(
    case: str, wrong: dict[FaultCode, str]
) -> None:
    checked = check_dataset(FOUND / case, needs=SPLITS)
    told = {f.code: f.what for f in checked.findings if f.severity == "ERROR"}
    assert told.keys() == wrong.keys()
    assert all(words in told[code] for code, words in wrong.items())


@pytest.mark.real_data
@pytest.mark.skipif(not FOUND.is_dir(), reason="GUARDIANFLOW_REAL_DATA is not set")
def test_a_scenario_with_two_zones_is_refused() -> None:
    (file,) = (FOUND / "60-scenario-key-twice").glob("*.yaml")
    with pytest.raises(ScenarioInvalid, match="zone occurs twice, in lines 4 and 5"):
        read_scenario_file(file)
