import io
import os
import random
import re
import shutil
import socket
import struct
import time
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from guardianflow.errors import DatasetInvalid
from guardianflow.vision.data import listing
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.dataset import load_image, open_dataset
from guardianflow.vision.data.decoding import MAX_PIXELS
from guardianflow.vision.data.findings import errors
from guardianflow.vision.data.rules import FaultCode, FaultSeverity
from guardianflow.vision.data.yaml_file import SPLITS
from tests.unit.yolo_sets import CLEAN, ROW, codes, draw, edit, found, make

# pytest forgets the filters of the process: what Pillow warns about is judged by the checker.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data")


def label(root: Path) -> Path:
    return root / "labels/train/train0.txt"


def image(root: Path) -> Path:
    return root / "images/train/train0.png"


def test_of_a_good_data_set_nothing_is_said(root: Path) -> None:
    checked = check_dataset(root)
    assert checked.findings == ()
    assert {split: len(samples) for split, samples in checked.splits.items()} == {
        "train": 12,
        "val": 2,
        "test": 2,
    }


def test_every_code_has_a_rule() -> None:
    assert all(code.meaning and code.severity in FaultSeverity for code in FaultCode)
    assert not [code for code in FaultCode if code.repair and code.severity != "WARNING"]


def test_everything_is_told_at_once(root: Path) -> None:
    edit(root, "nc: 2", "nc: 3")
    label(root).write_text("7 0.5 0.5 0.1 0.1\n")
    (root / "images/val/val0.png").write_bytes(b"no image")
    (root / "labels/test/test0.txt").unlink()
    wrong = {finding.code for finding in errors(check_dataset(root).findings)}
    assert wrong == {
        FaultCode.NC_DIFFERS,
        FaultCode.ROW_CLASS_UNKNOWN,
        FaultCode.IMAGE_BROKEN,
        FaultCode.LABEL_MISSING,
    }
    with pytest.raises(DatasetInvalid) as caught:
        open_dataset(root)
    assert caught.value.data["count"] == 4


def change(old: str, new: str) -> Callable[[Path], None]:
    return lambda root: edit(root, old, new)


def write_yaml(content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / "data.yaml").write_bytes(content) and None


def replace_yaml(put: Callable[[Path], object]) -> Callable[[Path], None]:
    def harm(root: Path) -> None:
        (root / "data.yaml").unlink()
        put(root / "data.yaml")

    return harm


def move_train(root: Path) -> None:
    """As some exporters have it: a folder for each split, with images and labels in it."""
    for kind in ("images", "labels"):
        (root / kind / "train").rename(root / kind / "moved")
        (root / "t").mkdir(exist_ok=True)
        shutil.move(root / kind / "moved", root / "t" / kind)
    edit(root, "train: images/train", "train: t")


MERGE_BOMB = b"a0: &a0 {k: 1}\n" + b"".join(
    b"a%d: &a%d {<<: [%s], k%d: 1}\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9), n)
    for n in range(1, 40)
)
KOREAN = "train: images/train\nnames: [사람, 안전모]\n"


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda root: (root / "data.yaml").unlink(), FaultCode.YAML_MISSING),
        (replace_yaml(lambda file: file.symlink_to("nowhere")), FaultCode.YAML_UNREADABLE),
        (replace_yaml(lambda file: os.mkfifo(file)), FaultCode.FILE_IRREGULAR),
        (replace_yaml(lambda file: file.mkdir()), FaultCode.FILE_IRREGULAR),
        (write_yaml(b"a: [1"), FaultCode.YAML_SYNTAX),
        (write_yaml(b"\x00\x01"), FaultCode.YAML_SYNTAX),
        (write_yaml(b"[" * 5000), FaultCode.YAML_SYNTAX),
        (write_yaml(b"nc: !!int ''\n"), FaultCode.YAML_SYNTAX),
        (write_yaml(b"day: 2001-99-99\n"), FaultCode.YAML_SYNTAX),
        (write_yaml(b"nc: " + b"9" * 5000), FaultCode.YAML_SYNTAX),
        (write_yaml(MERGE_BOMB), FaultCode.YAML_SYNTAX),
        (write_yaml(b"a: &a {<<: *a}\n"), FaultCode.YAML_SYNTAX),
        (write_yaml(b"- person\n"), FaultCode.YAML_NO_MAPPING),
        (write_yaml(b""), FaultCode.YAML_NO_MAPPING),
        (write_yaml(b"train: images/train"), FaultCode.YAML_NO_NEWLINE),
        (write_yaml(b"#" * 2**20), FaultCode.FILE_HUGE),
        (write_yaml(KOREAN.encode("cp949")), FaultCode.TEXT_ENCODING),
        (write_yaml("names: [käse]\n".encode("latin-1")), FaultCode.TEXT_ENCODING),
        (write_yaml(KOREAN.encode("utf-16")), FaultCode.TEXT_RECODED),
        (write_yaml(KOREAN.encode("utf-8-sig")), FaultCode.TEXT_RECODED),
        (write_yaml(b"names: [a]\n"), FaultCode.SPLITS_MISSING),
        (write_yaml(b"train: images/train\n"), FaultCode.NAMES_MISSING),
        (change("nc: 2\n", "nc: 2\nnc: 2\n"), FaultCode.YAML_KEY_TWICE),
        (change("nc: 2\n", "kpt_shape: [17, 3]\n"), FaultCode.YAML_POSE),
        (change("nc: 2", "nc: true"), FaultCode.NC_DIFFERS),
        (change("nc: 2", "nc: two"), FaultCode.NC_DIFFERS),
        (change("[person, helmet]", "[person, 1.5]"), FaultCode.NAMES_INVALID),
        (change("[person, helmet]", "[person, [helmet]]"), FaultCode.NAMES_INVALID),
        (change("[person, helmet]", "&a [person, *a]"), FaultCode.NAMES_INVALID),
        (change("[person, helmet]", "{1: person, 2: helmet}"), FaultCode.NAMES_GAP),
        (change("[person, helmet]", "{a: person, b: helmet}"), FaultCode.NAMES_GAP),
        (change("[person, helmet]", "[person, person]"), FaultCode.NAMES_TWICE),
        (change("[person, helmet]", "[No-Helmet, no_helmet]"), FaultCode.NAMES_ALIKE),
        (change("[person, helmet]", "[person, 7]"), FaultCode.NAMES_NUMBER),
        (change("path: .", "path: 'D:\\data\\ppe'"), FaultCode.PATH_MISSING),
        (change("path: .", "path: /home/somebody/else"), FaultCode.PATH_MISSING),
        (change("path: .", "path: [1]"), FaultCode.PATH_MISSING),
        (change("path: .", 'path: "a\\0b"'), FaultCode.PATH_MISSING),
        (change("images/val", "D:/data/val"), FaultCode.SPLIT_MISSING),
        (change("images/val", "x" * 5000), FaultCode.SPLIT_MISSING),
        (change("images/val", '"\\ud800"'), FaultCode.SPLIT_MISSING),
        (change("images/val", "{a: 1}"), FaultCode.SPLIT_MISSING),
        (change("images/val", "/"), FaultCode.SPLIT_OUTSIDE),
        (change("images/val", "images/train"), FaultCode.SPLIT_SHARED),
        (change("images/val", "images/./train/../train/"), FaultCode.SPLIT_SHARED),
        (change("images/val", "images"), FaultCode.IMAGE_IN_TWO_SPLITS),
        (change("val: images/val", "valid: images/val"), FaultCode.SPLIT_RENAMED),
        (change("val: images/val", "validation: images/val"), FaultCode.SPLIT_RENAMED),
        (change("val: images/val", "Validation: images/val"), FaultCode.SPLIT_RENAMED),
        (change("train: images/train", "training: images/train"), FaultCode.SPLIT_RENAMED),
        (change("nc: 2", "nc: '3'"), FaultCode.NC_DIFFERS),
        (change("nc: 2", "nc: 2\nx: {a: 1, b: 2, a: 3}"), FaultCode.YAML_KEY_TWICE),
        (change("images/val", "../images/val"), FaultCode.SPLIT_MOVED),
        (move_train, FaultCode.SPLIT_ABOVE),
        (lambda root: edit(root, "images/val", str(root / "images/val")), FaultCode.SPLIT_ABSOLUTE),
    ],
)
def test_what_is_wrong_with_data_yaml(
    root: Path, harm: Callable[[Path], object], code: FaultCode
) -> None:
    harm(root)
    (finding, *_) = found(check_dataset(root), code)
    elsewhere = (FaultCode.IMAGE_IN_TWO_SPLITS, FaultCode.YAML_MISSING)
    assert finding.file.startswith(f"{root / 'data.yaml'}") or code in elsewhere
    assert finding.severity is code.severity
    assert finding.remedy


def test_what_is_empty_is_not_there_and_training_needs_all_three(root: Path) -> None:
    edit(root, "path: .", "path: ''")
    assert codes(root) == []
    for empty in ("", "test: ''\n", "test: []\n", "test:\n"):
        (root / "data.yaml").write_text(
            f"train: images/train\nval: images/val\n{empty}names: [person, helmet]\n"
        )
        assert codes(root) == []
        (finding,) = check_dataset(root, needs=SPLITS).findings
        assert (finding.code, finding.severity) == (FaultCode.SPLIT_UNNAMED, FaultSeverity.ERROR)
        assert "no images for test" in finding.what
        with pytest.raises(DatasetInvalid, match="no images for test"):
            open_dataset(root, needs=SPLITS)


def test_what_is_meant_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    edit(root, "path: .", f"path: ~/{root.name}")
    edit(root, "nc: 2", "common: &common {nc: '2'}\n<<: *common")
    assert codes(root) == []
    assert check_dataset(root).images == {"train": 12, "val": 2, "test": 2}


def test_a_key_that_stands_twice_is_told_with_both_lines(root: Path) -> None:
    edit(root, "nc: 2", "nc: 2\nval: images/test")
    (finding, *_) = found(check_dataset(root), FaultCode.YAML_KEY_TWICE)
    assert (finding.line, finding.what) == (6, "val occurs twice, in lines 3 and 6")


def test_any_one_yaml_that_describes_a_set_is_taken(root: Path) -> None:
    (root / "data.yaml").rename(root / "dataset.yaml")
    (root / "args.yaml").write_text("epochs: 100\n")
    assert codes(root) == []
    shutil.copy(root / "dataset.yaml", root / "other.yml")
    (finding,) = check_dataset(root).findings
    assert finding.code is FaultCode.YAML_SEVERAL
    assert "dataset.yaml, other.yml" in finding.what
    assert codes(root / "other.yml") == []


def test_jpegs_of_all_names_are_read(root: Path) -> None:
    for number, suffix in enumerate(("jpe", "jfif", "JFIF")):
        draw(root / f"images/train/x{number}.{suffix}", 9, format="JPEG")
        (root / f"labels/train/x{number}.txt").write_text(CLEAN)
    checked = check_dataset(root)
    assert len(checked.splits["train"]) == 15
    assert {finding.code.value for finding in checked.findings} == {"image-twice"}


@pytest.mark.parametrize("name", ["a.heic", "a.gif", "a.AVIF"])
def test_a_label_is_left_out_with_its_image(root: Path, name: str) -> None:
    (root / "images/train" / name).write_bytes(b"x")
    (root / "labels/train/a.txt").write_text(CLEAN)
    assert codes(root) == ["file-unsupported"]


@pytest.mark.parametrize(
    "name", ["labels.txt", "predefined_classes.txt", "obj.names", "notes.txt", "._train0.txt"]
)
def test_lists_of_classes_and_notes_beside_labels_are_no_labels(root: Path, name: str) -> None:
    (root / "labels/train" / name).write_text("person\nhelmet\n")
    assert codes(root) == []
    if name == "labels.txt":
        (root / "labels/train" / name).write_text("0 person\n1 helmet\n")
        assert codes(root) == []


def test_labels_of_all_splits_may_lie_in_one_folder(root: Path) -> None:
    for file in sorted((root / "labels").rglob("*.txt")):
        file.rename(root / "labels" / file.name)
    assert codes(root) == []
    # A label is left out with its image, in whichever split that lies.
    for split in SPLITS:
        (root / f"images/{split}/{split}.heic").write_bytes(b"x")
        (root / f"labels/{split}.txt").write_text(CLEAN)
    assert codes(root) == ["file-unsupported"]
    (root / "labels/lost.txt").write_text(CLEAN)
    assert codes(root) == ["file-unsupported", "label-orphan"]


@pytest.mark.parametrize("name", ["data.yaml", "ppe.yaml"])
def test_the_splits_of_cvat_are_known_by_their_capitals(root: Path, name: str) -> None:
    subsets = {"train": "Train", "val": "Validation", "test": "Test"}
    for split, subset in subsets.items():
        names = sorted((root / "images" / split).iterdir())
        lines = [f"data/{image.relative_to(root)}" for image in names]
        (root / f"{subset}.txt").write_text("\n".join(lines))
    (root / "data.yaml").unlink()
    (root / name).write_text(
        "Train: Train.txt\nValidation: Validation.txt\nTest: Test.txt\n"
        "names:\n  0: person\n  1: helmet\npath: .\n"
    )
    assert codes(root) == ["list-entry-moved", "split-renamed"]
    dataset = open_dataset(root, needs=SPLITS)
    assert {split: len(ones) for split, ones in dataset.splits.items()} == {
        "train": 12, "val": 2, "test": 2,
    }  # fmt: skip


def test_the_split_that_is_spelled_as_it_should_be_goes_first(root: Path) -> None:
    edit(root, "val: images/val\n", "Val: images/gone\nval: images/val\n3: x\n")
    assert codes(root) == []
    edit(root, "\nval: images/val", "\nval: []")
    assert codes(root) == ["split-missing", "split-renamed"]


def test_a_list_as_cvat_writes_it_is_read(root: Path) -> None:
    names = [f"data/images/val/val{n}.png" for n in range(2)]
    (root / "val.txt").write_text("\n".join(names))
    edit(root, "images/val", "val.txt")
    (finding,) = check_dataset(root).findings
    assert (finding.code, finding.count) == (FaultCode.LIST_ENTRY_MOVED, 2)
    # Where there is a folder of that name, it is meant.
    (root / "data").mkdir()
    assert "list-entry-missing" in codes(root)


def test_a_bomb_of_aliases_is_shown_in_a_few_words(root: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (root / "data.yaml").write_text("\n".join(lines) + "\nnames: *a11\ntrain: *a11\n")
    began = time.monotonic()
    checked = check_dataset(root)
    assert time.monotonic() - began < 5
    assert max(len(finding.what) for finding in checked.findings) < 1000


def test_names_may_be_numbered_in_any_order_and_in_quotes(root: Path) -> None:
    edit(root, "[person, helmet]", "{'1': helmet, '0': person}")
    assert check_dataset(root).classes == ("person", "helmet")


def test_another_folder_stands_in_for_the_path_of_another_machine(root: Path) -> None:
    edit(root, "path: .", "path: D:\\data")
    (root / "data.yaml").rename(root.parent / "foreign.yaml")
    checked = check_dataset(root.parent / "foreign.yaml", base=root)
    assert len(checked.splits["train"]) == 12
    assert not errors(checked.findings)
    checked = check_dataset(root.parent / "foreign.yaml", base=root / "nowhere")
    assert [finding.code for finding in errors(checked.findings)] == [FaultCode.PATH_MISSING]


def test_a_split_may_be_a_list_of_images(root: Path) -> None:
    names = [f"./images/train/train{n}.png" for n in (3, 1, 3)] + ["images/no.png"]
    (root / "train.txt").write_text("\n".join(names))
    edit(root, "train: images/train", "train: train.txt")
    checked = check_dataset(root)
    assert [sample.image.name for sample in checked.splits["train"]] == ["train1.png", "train3.png"]
    assert [f.line for f in found(checked, FaultCode.LIST_ENTRY_TWICE)] == [3]
    assert [f.line for f in found(checked, FaultCode.LIST_ENTRY_MISSING)] == [4]
    assert not found(checked, FaultCode.LABEL_ORPHAN)


def test_labels_and_images_are_judged_also_where_the_splits_lie_elsewhere(root: Path) -> None:
    edit(root, "path: .", "path: D:\\data")
    label(root).write_text("7 0.5 0.5 0.1 0.1\n")
    assert codes(root) == ["path-missing", "row-class-unknown"]


@pytest.mark.parametrize(
    ("row", "code", "line"),
    [
        ("0 0.5 0.5 0.1", FaultCode.ROW_COLUMNS, 3),
        ("0 0.5 0.5 0.1 0.1 0.93", FaultCode.ROW_COLUMNS, 3),
        ("0,0.5,0.5,0.1,0.1", FaultCode.ROW_COLUMNS, 3),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", FaultCode.ROW_COLUMNS, 3),
        ("one 0.5 0.5 0.1 0.1", FaultCode.ROW_CLASS_TEXT, 3),
        ("0.5 0.5 0.5 0.1 0.1", FaultCode.ROW_CLASS_TEXT, 3),
        ("nan 0.5 0.5 0.1 0.1", FaultCode.ROW_CLASS_TEXT, 3),
        ("1e999 0.5 0.5 0.1 0.1", FaultCode.ROW_CLASS_TEXT, 3),
        ("2 0.5 0.5 0.1 0.1", FaultCode.ROW_CLASS_UNKNOWN, 3),
        ("-1 0.5 0.5 0.1 0.1", FaultCode.ROW_CLASS_UNKNOWN, 3),
        ("1.0 0.5 0.5 0.1 0.1", FaultCode.ROW_CLASS_DECIMAL, 3),
        ("0 0,5 0.5 0.1 0.1", FaultCode.ROW_NUMBER, 3),
        ("0 1_0 0.5 0.1 0.1", FaultCode.ROW_NUMBER, 3),
        ("0 ٠.٥ 0.5 0.1 0.1", FaultCode.ROW_NUMBER, 3),
        ("0 \0 0.5 0.1 0.1", FaultCode.ROW_NUMBER, 3),
        ("0 nan 0.5 0.1 0.1", FaultCode.ROW_NOT_FINITE, 3),
        ("0 0.1 0.1 0.2 inf 0.3 0.3", FaultCode.ROW_NOT_FINITE, 3),
        ("0 0.5 0.5 -0.1 0.1", FaultCode.ROW_NEGATIVE, 3),
        ("0 0.9 0.5 0.3 0.1", FaultCode.ROW_OUTSIDE, 3),
        ("0 120 80 40 60", FaultCode.ROW_OUTSIDE, 3),
        ("0 0.1 0.1 0.2 0.1 0.2 1.2", FaultCode.ROW_OUTSIDE, 3),
        ("0 0.5 0.5 1.001 0.5", FaultCode.ROW_CLIPPED, 3),
        ("0 0.431 0.493 0 0", FaultCode.ROW_EMPTY, 3),
        ("0 0.1 0.1 0.2 0.1 0.3 0.1", FaultCode.ROW_EMPTY, 3),
        (CLEAN.splitlines()[0], FaultCode.ROW_TWICE, 3),
        ("0 0.1 0.1 0.2 0.1 0.2 0.4", FaultCode.ROW_POLYGON, 3),
        ("1 0.5 0.5 0.25 0.5", FaultCode.BOX_TWO_CLASSES, None),
        ("0 0.5 0.5 1 1", FaultCode.BOX_EVERYTHING, 3),
        ("0 0.5 0.5 0.001 0.3", FaultCode.BOX_TINY, None),
    ],
)
def test_what_is_wrong_with_a_row(root: Path, row: str, code: FaultCode, line: int | None) -> None:
    label(root).write_text(f"{CLEAN}{row}\n", encoding="utf-8")
    checked = check_dataset(root)
    (finding,) = found(checked, code)
    assert (finding.file, finding.line) == (str(label(root)), line)
    assert (finding.split, finding.image) == ("train", str(image(root)))
    assert finding.remedy


def test_what_is_safe_is_mended_in_memory_alone(root: Path) -> None:
    polygon = "0 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4\n"
    text = f"{polygon}{ROW}{ROW}0 0.5 0.5 0 0.1\n0 0.95 0.5 0.1004 0.5\n1.0 0.3 0.3 0.1 0.1\n"
    label(root).write_text(text)
    dataset = open_dataset(root)
    sample = dataset.samples("train")[0]
    assert np.allclose(
        sample.boxes / (80, 60, 80, 60),
        [
            [0.1, 0.1, 0.3, 0.4],
            [0.375, 0.25, 0.625, 0.75],
            [0.8998, 0.25, 1, 0.75],
            [0.25, 0.25, 0.35, 0.35],
        ],
        atol=1e-4,
    )
    assert sample.classes.tolist() == [0, 0, 0, 1]
    assert label(root).read_text() == text
    mended = [f for f in check_dataset(root).findings if f.repaired]
    assert {f.code for f in mended} == {
        FaultCode.ROW_POLYGON,
        FaultCode.ROW_TWICE,
        FaultCode.ROW_EMPTY,
        FaultCode.ROW_CLIPPED,
        FaultCode.ROW_CLASS_DECIMAL,
    }
    assert "train: 1 label rows are polygons and are read as their bounding boxes" in (
        dataset.warnings
    )


def test_a_polygon_is_never_read_as_centre_and_size(root: Path) -> None:
    label(root).write_text("0 0.2 0.2 0.4 0.2 0.4 0.6 0.2 0.6\n")
    (box,) = check_dataset(root).splits["train"][0].boxes
    assert box == pytest.approx((16, 12, 32, 36))


def test_many_wrong_rows_are_listed_up_to_a_hundred_and_counted(root: Path) -> None:
    label(root).write_text("0 1 2\n" * 5000 + "x" * 1_000_000 + "\n")
    checked = check_dataset(root)
    assert len(found(checked, FaultCode.ROW_COLUMNS)) == 100
    assert [f.count for f in found(checked, FaultCode.LABEL_HOPELESS)] == [4901]


def test_an_empty_label_is_a_true_negative_and_a_missing_one_is_not(root: Path) -> None:
    label(root).write_bytes(b"")
    checked = check_dataset(root)
    assert checked.findings == ()
    assert len(checked.splits["train"][0].boxes) == 0
    label(root).unlink()
    assert codes(root) == ["label-missing"]


def encode(mode: str, suffix: str, **options: object) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        picture = Image.open(path).convert(mode)
        picture.save(path.with_suffix(suffix), **options)
        if suffix != path.suffix:
            path.unlink()

    return harm


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_jpeg(path: Path) -> None:
    draw(path.with_suffix(".jpg"), 4, (200, 200))
    path.unlink()
    cut(path.with_suffix(".jpg"))


def cut_jpeg_and_close(path: Path) -> None:
    """Cut, then ended as a JPEG has to end: libjpeg fills the rest with grey and says nothing."""
    cut_jpeg(path)
    jpeg = path.with_suffix(".jpg")
    jpeg.write_bytes(jpeg.read_bytes() + b"\xff\xd9")


def png_that_says(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def deep_rgb(path: Path) -> None:
    """A PNG with three times 16 bits, which Pillow cannot write."""
    width, height = 20, 20
    rows = b"".join(b"\0" + bytes(range(120)) for _ in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).convert("RGB").save(path.with_suffix(".jpg"), exif=exif)
    path.unlink()


def misnamed(path: Path) -> None:
    path.rename(path.with_suffix(".jpg"))


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_socket(path: Path) -> None:
    path.unlink()
    here = os.getcwd()  # noqa: PTH109
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def replaced_by_link(target: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return harm


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda path: path.write_bytes(b""), FaultCode.IMAGE_EMPTY),
        (lambda path: path.write_bytes(b"<html>404</html>"), FaultCode.IMAGE_BROKEN),
        (lambda path: path.write_bytes(png_that_says(20_000, 20_000)), FaultCode.IMAGE_BOMB),
        (lambda path: path.write_bytes(png_that_says(MAX_PIXELS + 1, 1)), FaultCode.IMAGE_BOMB),
        (lambda path: path.write_bytes(png_that_says(400, 400)), FaultCode.IMAGE_TRUNCATED),
        (lambda path: path.write_bytes(png_that_says(0, 5)), FaultCode.IMAGE_BROKEN),
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
            FaultCode.FILE_POINTER,
        ),
        (cut, FaultCode.IMAGE_TRUNCATED),
        (cut_jpeg, FaultCode.IMAGE_TRUNCATED),
        (cut_jpeg_and_close, FaultCode.IMAGE_TRUNCATED),
        (encode("I;16", ".png"), FaultCode.IMAGE_DEEP),
        (encode("F", ".tiff"), FaultCode.IMAGE_DEEP),
        (deep_rgb, FaultCode.IMAGE_MODE),
        (encode("L", ".png"), FaultCode.IMAGE_MODE),
        (encode("LA", ".png"), FaultCode.IMAGE_MODE),
        (encode("P", ".png"), FaultCode.IMAGE_MODE),
        (encode("RGBA", ".png"), FaultCode.IMAGE_MODE),
        (encode("CMYK", ".jpg"), FaultCode.IMAGE_MODE),
        (encode("1", ".bmp"), FaultCode.IMAGE_MODE),
        (misnamed, FaultCode.IMAGE_MISNAMED),
        (turned, FaultCode.IMAGE_ROTATED),
        (lambda path: draw(path, 5, (5000, 5000)), FaultCode.IMAGE_HUGE),
        (lambda path: draw(path, 5, (12, 40)), FaultCode.IMAGE_TINY),
        (lambda path: shutil.copy(path.with_name("train1.png"), path), FaultCode.IMAGE_TWICE),
        (
            lambda path: shutil.copy(path.parents[1] / "val/val0.png", path),
            FaultCode.IMAGE_IN_TWO_SPLITS,
        ),
        (replaced_by_folder, FaultCode.FILE_IRREGULAR),
        (replaced_by_pipe, FaultCode.FILE_IRREGULAR),
        (replaced_by_socket, FaultCode.FILE_IRREGULAR),
        (replaced_by_link("/dev/zero"), FaultCode.FILE_IRREGULAR),
        (replaced_by_link("train0.png"), FaultCode.LINK_BROKEN),
        (replaced_by_link("/nowhere/x.png"), FaultCode.LINK_BROKEN),
        (replaced_by_link("/etc/hostname"), FaultCode.LINK_OUTSIDE),
        (lambda path: (path.parent / "image").write_bytes(b"\n"), FaultCode.FILE_STRAY),
        (lambda path: (path.parent / "a.heic").write_bytes(b"\n"), FaultCode.FILE_UNSUPPORTED),
        (lambda path: draw(path.with_suffix(".bmp"), 9), FaultCode.LABEL_SHARED),
    ],
)
def test_what_is_wrong_with_an_image(
    root: Path, harm: Callable[[Path], object], code: FaultCode
) -> None:
    harm(image(root))
    checked = check_dataset(root)
    assert [finding.code for finding in checked.findings].count(code) == 1
    loaded = {sample.image.stem for sample in checked.splits["train"]}
    unusable = code.startswith(("file-i", "file-p", "link-b", "image-b", "image-d", "image-tr"))
    if unusable or code is FaultCode.IMAGE_EMPTY:
        assert "train0" not in loaded
        assert errors(checked.findings)


def test_half_an_image_is_refused_whatever_another_library_told_pillow(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cut(image(root))
    with pytest.raises(DatasetInvalid, match="truncated"):
        load_image(image(root))


def test_a_jpeg_padded_with_grey_above_and_below_is_whole(root: Path) -> None:
    pixels = np.asarray(Image.open(image(root))).copy()
    pixels[:16] = pixels[-16:] = 128
    path = image(root).with_suffix(".jpg")
    Image.fromarray(pixels).save(path, quality=95)
    assert load_image(path).shape == (60, 80, 3)


def test_an_animation_gives_its_first_frame(root: Path) -> None:
    frames = [Image.open(path) for path in sorted((root / "images/train").glob("*1*.png"))]
    frames[0].save(image(root).with_suffix(".webp"), save_all=True, append_images=frames[1:])
    image(root).unlink()
    (finding,) = check_dataset(root).findings
    assert (finding.code, finding.repaired) == (FaultCode.IMAGE_ANIMATED, True)
    assert finding.value == str(len(frames))


def test_images_without_colour_are_counted_by_split(root: Path) -> None:
    for path in (root / "images/val").iterdir():
        # Stored as three channels: only the pixels tell.
        Image.open(path).convert("L").convert("RGB").save(path)
    (finding,) = check_dataset(root).findings
    assert (finding.code, finding.split, finding.count) == (FaultCode.IMAGES_GREY, "val", 2)


def test_names_that_other_systems_confuse_are_told(root: Path) -> None:
    for name, seed in (("TRAIN0", 90), (unicodedata.normalize("NFC", "안전"), 91)):
        draw(root / f"images/train/{name}.png", seed)
        (root / f"labels/train/{name}.txt").write_text(CLEAN)
    composed = unicodedata.normalize("NFD", "안전")
    draw(root / f"images/train/{composed}.png", 92)
    (root / f"labels/train/{composed}.txt").write_text(CLEAN)
    assert len(found(check_dataset(root), FaultCode.FILE_NAMES_COLLIDE)) == 2


def test_a_label_whose_name_differs_by_composed_letters_is_recognized(root: Path) -> None:
    composed, whole = (unicodedata.normalize(form, "안전") for form in ("NFD", "NFC"))
    draw(root / f"images/train/{composed}.png", 92)
    (root / f"labels/train/{whole}.txt").write_text(CLEAN)
    (finding,) = found(check_dataset(root), FaultCode.LABEL_ORPHAN)
    assert "Unicode composition" in finding.remedy


def test_labels_without_images_are_one_finding_with_their_count(root: Path) -> None:
    for number in range(2008):
        (root / f"labels/train/x{number:04}.txt").touch()
    (finding,) = check_dataset(root).findings
    assert (finding.code, finding.count) == (FaultCode.LABEL_ORPHAN, 2008)


def test_classes_txt_beside_the_labels_is_compared(root: Path) -> None:
    file = root / "labels/train/classes.txt"
    file.write_text("person\nhelmet\n")
    assert codes(root) == []
    file.write_text("helmet\nperson\n")
    assert codes(root) == ["classes-file"]


def test_links_to_folders_are_followed_once(root: Path) -> None:
    (root / "images/train/again").symlink_to(root / "images/train")
    (root / "images/train/above").symlink_to(root)
    elsewhere = root.parent / "elsewhere"
    draw(elsewhere / "e.png", 77)
    (elsewhere / "back").symlink_to(elsewhere)
    (root / "images/train/more").symlink_to(elsewhere)
    (root / "labels/train/more").mkdir()
    (root / "labels/train/more/e.txt").write_text(CLEAN)
    checked = check_dataset(root)
    assert len(checked.splits["train"]) == 13
    assert len(found(checked, FaultCode.LINK_LOOP)) == 3
    assert {Path(f.file).name for f in found(checked, FaultCode.LINK_OUTSIDE)} == {"more"}


def test_a_link_to_the_whole_system_is_not_walked(root: Path) -> None:
    (root / "images/train/all").symlink_to("/")
    checked = check_dataset(root)
    assert len(checked.splits["train"]) == 12
    assert [f.code for f in checked.findings] == [FaultCode.LINK_LOOP]


@pytest.mark.parametrize("linked", [True, False])
def test_a_folder_outside_that_is_no_folder_of_images_is_left(
    root: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_MAX_ASTRAY", 20)
    system = root.parent / "system"
    draw(system / "a" / "icon.png", 77)
    for number in range(30):
        (system / f"b{number}" / "lib").mkdir(parents=True)
    if linked:
        (root / "images/train/more").symlink_to(system)
    else:
        data = root / "data.yaml"
        text = re.sub("train: .*", "train: [images/train, ../system]", data.read_text())
        data.write_text(text)
    checked = check_dataset(root)
    assert len(checked.splits["train"]) == 12
    (left,) = found(checked, FaultCode.FOLDER_UNREADABLE)
    assert "not a folder of images: it contains more than 20 other files" in left.what


def test_an_entry_whose_place_may_not_be_told_is_one_finding(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as /proc/1/cwd is for everybody but root
    (root / "images/train/more").symlink_to(root.parent)
    real = os.path.realpath

    def closed(path: str, **how: object) -> str:
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, **how)

    monkeypatch.setattr(os.path, "realpath", closed)
    (told,) = found(check_dataset(root), FaultCode.LINK_BROKEN)
    assert "Permission denied" in told.what


def test_folders_upon_folders_end_somewhere(root: Path) -> None:
    deep = root / "images/train" / "/".join("d" * 200)
    deep.mkdir(parents=True)
    assert codes(root) == ["folder-unreadable"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(root: Path) -> None:
    image(root).chmod(0)
    (root / "labels/train/train1.txt").chmod(0)
    (root / "images/val").chmod(0)
    try:
        assert codes(root) == ["file-unreadable", "folder-unreadable", "split-empty"]
    finally:
        (root / "images/val").chmod(0o755)


def test_file_names_that_are_no_text_can_be_told(root: Path) -> None:
    name = os.fsencode(root / "images/train") + b"/bad\xff\x1b[31m\n.png"
    Path(os.fsdecode(name)).write_bytes(b"x")
    told = [finding.model_dump_json() for finding in check_dataset(root).findings]
    assert len(told) == 2
    assert all("bad\\\\xff\\\\x1b[31m\\\\n.png" in text for text in told)


def test_classes_that_nobody_can_learn_are_told(root: Path) -> None:
    edit(root, "nc: 2\nnames: [person, helmet]", "names: [person, helmet, gozluk, vest]")
    (root / "labels/val/val0.txt").write_text("2 0.5 0.5 0.2 0.2\n" + CLEAN)
    label(root).write_text("3 0.5 0.5 0.2 0.2\n" + CLEAN)
    checked = check_dataset(root)
    assert [f.value for f in found(checked, FaultCode.CLASS_RARE)] == ["vest"]
    assert ("train", "gozluk") in [
        (f.split, f.value) for f in found(checked, FaultCode.CLASS_UNSEEN)
    ]


def test_training_and_check_agree_whatever_the_threads(root: Path) -> None:
    for number in range(3):
        (root / f"images/train/train{number}.png").write_bytes(b"x")
    one = check_dataset(root, workers=1)
    shutil.rmtree(root.parent / "home")
    many = check_dataset(root, workers=7)
    assert one.findings == many.findings
    with pytest.raises(DatasetInvalid) as caught:
        open_dataset(root)
    assert caught.value.data["count"] == len(errors(one.findings)) == 3


# The same folder for all examples: making it anew takes longer than checking it.
FUZZ = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@FUZZ
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8")))
def test_no_label_file_brings_a_traceback(root: Path, content: bytes) -> None:
    label(root).write_bytes(content)
    check_dataset(root)


@FUZZ
@given(
    words=st.lists(
        st.sampled_from(["0", "1", "2", "0.5", "1.0", "-1", "nan", "inf", "1e999", "x", "0,5"]),
        max_size=12,
    )
)
def test_what_is_loaded_is_a_box_inside_of_the_image(root: Path, words: list[str]) -> None:
    label(root).write_text(" ".join(words))
    checked = check_dataset(root)
    sample = next((s for s in checked.splits["train"] if s.image == image(root)), None)
    if sample is not None and len(sample.boxes):
        x1, y1, x2, y2 = sample.boxes[0].tolist()
        assert 0 <= x1 < x2 <= 80
        assert 0 <= y1 < y2 <= 60
        assert sample.classes[0] in (0, 1)


@FUZZ
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8")))
def test_no_yaml_bytes_bring_a_traceback(root: Path, content: bytes) -> None:
    (root / "data.yaml").write_bytes(content)
    check_dataset(root)


@FUZZ
@given(
    values=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("path", "train", "val", "test", "nc", "names"), YAML_VALUES),
    )
)
def test_no_values_in_yaml_bring_a_traceback(root: Path, values: dict[str, object]) -> None:
    import yaml

    (root / "data.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), "utf-8")
    check_dataset(root)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF"])
def test_no_damaged_image_brings_a_traceback_or_half_an_image(root: Path, kind: str) -> None:
    picture = Image.open(image(root)).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    whole = buffer.getvalue()
    dice = random.Random(5)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(dice.randrange(1, 8)):
            damaged[dice.randrange(min(len(damaged), 400))] = dice.randrange(256)
        image(root).write_bytes(damaged)
        check_dataset(root)
    image(root).write_bytes(whole[: len(whole) * 2 // 3])
    assert errors(check_dataset(root).findings)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("y01-windows-absolute-paths", {"split-missing", "names-number"}),
        ("y03-nc-smaller-than-labels", {"split-missing", "row-class-unknown"}),
        ("y05-path-of-another-machine", {"path-missing"}),
        ("y07-synonym-class-and-no-test", {"split-missing", "yaml-no-newline"}),
        ("l01-zero-size-box", {"row-empty"}),
        ("l03-box-and-polygon-mixed", {"row-polygon"}),
        ("l05-empty-label-true-negative", set()),
        ("l07-duplicate-rows", {"row-twice"}),
        ("l09-label-without-image", {"label-orphan"}),
        ("i04-one-byte-file-without-extension", {"file-stray"}),
        ("i09-grey-noise-512", {"images-grey"}),
        ("i10-truncated-jpeg", {"image-truncated"}),
        ("i12-lfs-pointer", {"file-pointer"}),
    ],
)
def test_each_family_of_public_data_sets_is_found(
    root: Path, case: str, expected: set[str]
) -> None:
    """A case with a data.yaml is checked where it lies; the files of others join a good set."""
    given_folder = os.environ.get("GUARDIANFLOW_REAL_DATA")
    if not given_folder:
        pytest.skip("GUARDIANFLOW_REAL_DATA is not set: no real photographs on this machine")
    folder = Path(given_folder) / "bad-inputs" / case
    if (folder / "data.yaml").is_file():
        assert expected <= set(codes(folder))
        return
    edit(root, "nc: 2\nnames: [person, helmet]", f"names: {[f'c{n}' for n in range(11)]}")
    for number, file in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        if file.suffix == ".txt":
            shutil.copyfile(file, root / "labels/train" / file.name)
            if not list(folder.rglob(f"{file.stem}.jpg")) and "l09" not in case:
                draw(root / f"images/train/{file.stem}.png", 500 + number)
        else:
            shutil.copyfile(file, root / "images/train" / file.name)
            if file.suffix and not list(folder.rglob(f"{file.stem}.txt")):
                (root / f"labels/train/{file.stem}.txt").touch()
    others = {"class-unseen", "class-rare", "box-tiny", "box-everything"}
    assert set(codes(root)) - others == expected


def test_severity_is_text_in_json() -> None:
    assert [severity.value for severity in FaultSeverity] == ["ERROR", "WARNING"]
