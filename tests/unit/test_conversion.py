"""Each exporter's files become a YOLO set that training takes, with the boxes where they were."""

import errno
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from guardianflow.cli.app import main
from guardianflow.errors import DatasetInvalid, DiskFull, InputError
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.conversion import ConversionResult, convert_dataset
from guardianflow.vision.data.dataset import open_dataset
from guardianflow.vision.data.findings import errors
from guardianflow.vision.data.foreign_sets import split_of
from guardianflow.vision.data.kinds import ExportFormat
from guardianflow.vision.data.splitting import SplitShares
from guardianflow.vision.data.yaml_file import SPLITS
from tests.unit.yolo_sets import draw, make

WIDTH, HEIGHT = 80, 60
CLASSES = ["person", "안전모"]
# Class, and corners in pixels.
BOXES = [("person", (8, 6, 24, 36)), ("안전모", (40, 30, 72, 54))]
IMAGES = [f"cam{number}.png" for number in range(8)]
SHARES = SplitShares(val=0.25, test=0.25)


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


def pictures(folder: Path) -> None:
    for number, name in enumerate(IMAGES):
        draw(folder / name, number, (WIDTH, HEIGHT))


def dump(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def coco(folder: Path) -> None:
    pictures(folder / "images")
    dump(
        folder / "annotations/instances_default.json",
        {
            "categories": [{"id": 7, "name": "안전모"}, {"id": 3, "name": "person"}],
            "images": [
                {"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT}
                for n, name in enumerate(IMAGES)
            ],
            "annotations": [
                {
                    "image_id": n,
                    "category_id": 3 if name == "person" else 7,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
                for n in range(len(IMAGES))
                for name, (x1, y1, x2, y2) in BOXES
            ],
        },
    )


def voc(folder: Path) -> None:
    pictures(folder / "JPEGImages")
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2) in BOXES
    )
    (folder / "Annotations").mkdir()
    for name in IMAGES:
        (folder / "Annotations" / name).with_suffix(".xml").write_text(
            f"<annotation><filename>{name}</filename><size><width>{WIDTH}</width>"
            f"<height>{HEIGHT}</height></size>{objects}</annotation>",
            encoding="utf-8",
        )


def cvat(folder: Path) -> None:
    pictures(folder / "images/default")
    boxes = "".join(
        f'<box label="{name}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'
        for name, (x1, y1, x2, y2) in BOXES[:1]
    )
    x1, y1, x2, y2 = BOXES[1][1]
    points = f"{x1},{y1};{x2},{y1};{x2},{y2};{x1},{y2}"
    images = "".join(
        f'<image id="{n}" name="default/{name}" width="{WIDTH}" height="{HEIGHT}">{boxes}'
        f'<polygon label="{BOXES[1][0]}" points="{points}"/><points label="person" points="1,1"/>'
        "</image>"
        for n, name in enumerate(IMAGES)
    )
    labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
    (folder / "annotations.xml").write_text(
        f"<annotations><meta><job><labels>{labels}</labels></job></meta>{images}</annotations>",
        encoding="utf-8",
    )


def label_studio(folder: Path) -> None:
    pictures(folder / "upload")
    results = [
        {
            "type": "rectanglelabels",
            "value": {
                "x": 100 * x1 / WIDTH,
                "y": 100 * y1 / HEIGHT,
                "width": 100 * (x2 - x1) / WIDTH,
                "height": 100 * (y2 - y1) / HEIGHT,
                "rotation": 0,
                "rectanglelabels": [name],
            },
        }
        for name, (x1, y1, x2, y2) in BOXES
    ]
    dump(
        folder / "project-1.json",
        [
            {"data": {"image": f"/data/upload/{name}"}, "annotations": [{"result": results}]}
            for name in IMAGES
        ],
    )


def supervisely(folder: Path) -> None:
    pictures(folder / "ds0/img")
    dump(folder / "meta.json", {"classes": [{"title": name} for name in CLASSES]})
    objects = [
        {
            "classTitle": name,
            "geometryType": "rectangle",
            "points": {"exterior": [[x2, y2], [x1, y1]], "interior": []},
        }
        for name, (x1, y1, x2, y2) in BOXES
    ]
    for name in IMAGES:
        size = {"width": WIDTH, "height": HEIGHT}
        dump(folder / f"ds0/ann/{name}.json", {"size": size, "objects": objects})


def rows() -> list[list[float]]:
    return [
        [
            CLASSES.index(name),
            (x1 + x2) / 2 / WIDTH,
            (y1 + y2) / 2 / HEIGHT,
            (x2 - x1) / WIDTH,
            (y2 - y1) / HEIGHT,
        ]
        for name, (x1, y1, x2, y2) in BOXES
    ]


def ndjson(folder: Path) -> None:
    pictures(folder)
    lines: list[object] = [
        {"type": "dataset", "task": "detect", "class_names": dict(enumerate(CLASSES))}
    ]
    lines += [
        {
            "type": "image", "file": name, "url": f"https://example.invalid/{name}",
            "width": WIDTH, "height": HEIGHT, "split": "train", "annotations": {"boxes": rows()},
        }
        for name in IMAGES
    ]  # fmt: skip
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "set.ndjson").write_text(text, encoding="utf-8")


def class_list(folder: Path) -> None:
    pictures(folder / "images")
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows())
    for name in IMAGES:
        (folder / "labels" / name).with_suffix(".txt").write_text(text)


def darknet(folder: Path) -> None:
    class_list(folder)
    (folder / "classes.txt").rename(folder / "obj.names")
    (folder / "obj.data").write_text("classes = 2\nnames = data/obj.names\n")


def edit_label_studio(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        label_studio(folder)
        tasks = json.loads((folder / "project-1.json").read_text("utf-8"))
        dump(folder / "project-1.json", [change(task) or task for task in tasks])

    return write


def minimal(task: dict[str, Any]) -> object:
    """A task as a row of JSON-MIN."""
    drawn = [result["value"] for result in task["annotations"][0]["result"]]
    return {
        "photo": task["data"]["image"], "id": 1, "label": drawn, "annotator": 1,
        "annotation_id": 7, "created_at": "2026-11-30T00:00:00Z", "lead_time": 2.5,
    }  # fmt: skip


def asked_by_photo(task: dict[str, Any]) -> None:
    task["data"] = {"ref": "shift 3", "photo": task["data"].pop("image")}


def of_old(task: dict[str, Any]) -> None:
    task["completions"] = task.pop("annotations")


KINDS = {
    ExportFormat.COCO: coco,
    ExportFormat.VOC: voc,
    ExportFormat.CVAT: cvat,
    ExportFormat.LABEL_STUDIO: label_studio,
    ExportFormat.SUPERVISELY: supervisely,
    ExportFormat.NDJSON: ndjson,
    ExportFormat.CLASS_LIST: class_list,
    ExportFormat.DARKNET: darknet,
}


def convert(tmp_path: Path, write: Callable[[Path], None]) -> tuple[Path, ConversionResult]:
    (tmp_path / "from").mkdir()
    write(tmp_path / "from")
    return tmp_path / "to", convert_dataset(tmp_path / "from", tmp_path / "to", SHARES)


def by_polygons(task: dict[str, Any]) -> None:
    for result in task["annotations"][0]["result"]:
        value = result["value"]
        x, y, width, height = (value.pop(key) for key in ("x", "y", "width", "height"))
        result["type"] = "polygonlabels"
        value["polygonlabels"] = value.pop("rectanglelabels")
        value["points"] = [[x + width / 2, y], [x + width, y + height], [x, y + height / 2]]


def minimal_polygons(task: dict[str, Any]) -> object:
    by_polygons(task)
    return minimal(task)


ALSO = [
    (ExportFormat.LABEL_STUDIO, edit_label_studio(change))
    for change in (minimal, asked_by_photo, of_old, by_polygons, minimal_polygons)
]


@pytest.mark.parametrize(("kind", "write"), [*KINDS.items(), *ALSO])
def test_every_box_is_where_it_was_and_the_set_can_be_trained(
    tmp_path: Path, kind: ExportFormat, write: Callable[[Path], None]
) -> None:
    to, made = convert(tmp_path, write)
    drawn = ("val", "test") if kind is ExportFormat.NDJSON else SPLITS
    assert (made.kind, made.drawn) == (kind, drawn)
    dataset = open_dataset(to, CLASSES, needs=SPLITS)
    assert {split: len(ones) for split, ones in dataset.splits.items()} == {
        "train": 4, "val": 2, "test": 2,
    }  # fmt: skip
    samples = [sample for ones in dataset.splits.values() for sample in ones]
    assert sorted(sample.image.name for sample in samples) == IMAGES
    for sample in samples:
        there = dict(zip(sample.classes.tolist(), sample.boxes.tolist(), strict=True))
        expected = {CLASSES.index(name): list(corners) for name, corners in BOXES}
        assert there == {label: pytest.approx(box, abs=0.01) for label, box in expected.items()}
        before = next((tmp_path / "from").rglob(sample.image.name))
        assert sample.image.read_bytes() == before.read_bytes()
    left = {"shapes that are no box (points)": 8} if kind is ExportFormat.CVAT else {}
    assert dict(made.left_out) == left


def without_sizes(write: Callable[[Path], None], folder: Path) -> None:
    """As converters write a size that they do not know: not at all, or as 0."""
    write(folder)
    for file in [*folder.rglob("*.json"), *folder.rglob("*.xml")]:
        text = file.read_text("utf-8")
        text = re.sub(rf',? ?"(width|height)": ({WIDTH}|{HEIGHT})\b', "", text).replace("{, ", "{")
        text = re.sub(rf' (width|height)="({WIDTH}|{HEIGHT})"', "", text)
        text = re.sub(r"<(width|height)>\d+<", r"<\1>0<", text)
        file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("write", [coco, voc, cvat, supervisely])
def test_where_the_size_is_not_said_that_of_the_image_counts(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    _, known = convert(tmp_path / "with", write)
    to, made = convert(tmp_path / "without", partial(without_sizes, write))
    assert made.left_out == known.left_out
    there, wanted = (
        {label.name: label.read_text() for label in (place / "labels").rglob("*.txt")}
        for place in (to, tmp_path / "with/to")
    )
    assert there == wanted
    assert all(there.values())


def test_an_image_without_room_for_its_boxes_is_refused(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        without_sizes(voc, folder)
        draw(folder / "JPEGImages/cam3.png", 3, (WIDTH // 2, HEIGHT))

    with pytest.raises(
        DatasetInvalid, match=r"size for .*cam3\.png, .* 72, 54, but the image has 40 x 60"
    ):
        convert(tmp_path, write)


def test_splits_that_the_format_has_are_kept_and_a_missing_one_is_made(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        coco(folder)
        content = json.loads((folder / "annotations/instances_default.json").read_text())
        for split, some in (("train2017", range(6)), ("val2017", range(6, 8))):
            images = [one for one in content["images"] if one["id"] in some]
            dump(folder / f"annotations/instances_{split}.json", {**content, "images": images})
            # The same images once more, by their key points.
            dump(folder / f"annotations/person_keypoints_{split}.json", content)
        (folder / "annotations/instances_default.json").unlink()

    to, made = convert(tmp_path, write)
    splits = open_dataset(to, needs=SPLITS).splits
    assert {sample.image.name for sample in splits["val"]} == {"cam6.png", "cam7.png"}
    assert (len(splits["train"]), len(splits["test"]), made.drawn) == (4, 2, ("test",))


def mixed(folder: Path, copies: int, *ends: int) -> None:
    """An export whose last images look like its first one; its splits end at these places."""
    voc(folder)
    images = folder / "JPEGImages"
    for name in IMAGES[len(IMAGES) - copies :]:
        Image.open(images / IMAGES[0]).save(images / name, "PNG", compress_level=1)
    lists = folder / "ImageSets/Main"
    lists.mkdir(parents=True)
    for split, first, end in zip(SPLITS, (0, *ends), (*ends, len(IMAGES)), strict=True):
        stems = [Path(name).stem for name in IMAGES[first:end]]
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def in_splits(made: ConversionResult) -> dict[str, list[str]]:
    return {s: sorted(o.image.name for o in ones) for s, ones in made.checked.splits.items()}


def main_code(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["dataset", *map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_one_picture_in_two_splits_of_an_export_is_brought_into_one(tmp_path: Path) -> None:
    to, made = convert(tmp_path, lambda folder: mixed(folder, 1, 4, 6))
    assert in_splits(made) == {
        "train": [*IMAGES[:4], IMAGES[7]], "val": IMAGES[4:6], "test": [IMAGES[6]],
    }  # fmt: skip
    assert (made.moved, made.drawn) == (1, ())
    assert not errors(check_dataset(to, needs=SPLITS).findings)


def test_what_changed_split_is_told_and_a_split_that_was_emptied_counts_as_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, made = convert(tmp_path, lambda folder: mixed(folder, 1, 4, 7))
    assert (made.moved, made.drawn) == (1, ("test",))
    assert main_code("convert", tmp_path / "from", tmp_path / "b", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["moved"], told["drawn"]) == (1, ["test"])
    assert main_code("convert", tmp_path / "from", tmp_path / "c") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "images moved to the split of their duplicates: 1; --near-known leaves" in said
    assert "drawn with seed 0: test" in said


def test_near_duplicates_that_are_known_stay_in_the_splits_of_the_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "from").mkdir()
    mixed(tmp_path / "from", 2, 4, 6)
    made = convert_dataset(tmp_path / "from", tmp_path / "to", SHARES, near_known=True)
    assert in_splits(made) == {"train": IMAGES[:4], "val": IMAGES[4:6], "test": IMAGES[6:]}
    assert (made.moved, made.drawn) == (0, ())
    assert main_code("convert", tmp_path / "from", tmp_path / "b", "--near-known") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "changed split" not in said
    command = shlex.split(said.partition("next: ")[2].partition(" --report")[0])
    assert main_code(*command[2:]) == 0


@pytest.mark.parametrize("option", ["--near-known", "--anew"])
def test_where_nothing_is_left_to_learn_from_the_remedies_work(tmp_path: Path, option: str) -> None:
    (tmp_path / "from").mkdir()
    mixed(tmp_path / "from", 3, 1, 4)
    command = ["convert", tmp_path / "from", tmp_path / "to"]
    with pytest.raises(InputError, match="no train images to draw") as refused:
        convert_dataset(tmp_path / "from", tmp_path / "to", SHARES)
    assert option in refused.value.remedy
    assert main_code(*command) == 2
    assert main_code(*command, option) == 0


def test_a_class_list_in_each_split_has_to_be_the_same(tmp_path: Path) -> None:
    def write(folder: Path, *lists: str) -> None:
        for number, (split, names) in enumerate(
            zip(("train", "valid", "test"), lists, strict=True)
        ):
            draw(folder / split / f"cam{number}.png", number)
            (folder / split / f"cam{number}.txt").write_text("1 0.5 0.5 0.25 0.5\n")
            (folder / split / "_darknet.labels").write_text(names)

    same = "person\nhelmet\n"
    _, made = convert(tmp_path, lambda folder: write(folder, same, same, same.strip()))
    assert (made.kind, made.drawn) == (ExportFormat.CLASS_LIST, ())
    assert {split: len(ones) for split, ones in made.checked.splits.items()} == {
        "train": 1, "val": 1, "test": 1,
    }  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(DatasetInvalid, match="name different classes"):
        convert(other, lambda folder: write(folder, same, same, "helmet\nperson\n"))


@pytest.mark.parametrize("place", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_the_lists_of_voc_say_the_splits(tmp_path: Path, place: str) -> None:
    def write(folder: Path) -> None:
        folder /= place
        voc(folder)
        lists = folder / "ImageSets/Main"
        lists.mkdir(parents=True)
        for split, some in (("train", IMAGES[:4]), ("val", IMAGES[4:6]), ("test", IMAGES[6:])):
            (lists / f"{split}.txt").write_text("".join(f"{Path(name).stem}\n" for name in some))

    to, made = convert(tmp_path, write)
    assert not made.drawn
    assert (to / "data.yaml").read_text("utf-8").splitlines()[1:4] == [
        "train: images/train", "val: images/val", "test: images/test",
    ]  # fmt: skip


def test_each_year_of_voc_has_lists_of_its_own(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        for year, split in (("VOC2007", "val"), ("VOC2012", "test")):
            voc(folder / year)
            lists = folder / year / "ImageSets/Main"
            lists.mkdir(parents=True)
            (lists / f"{split}.txt").write_text("".join(f"{Path(n).stem}\n" for n in IMAGES))
        for number, name in enumerate(IMAGES):
            draw(folder / "VOC2012/JPEGImages" / name, 100 + number, (WIDTH, HEIGHT))
        for name in IMAGES:
            file = (folder / "VOC2012/Annotations" / name).with_suffix(".xml")
            shutil.copy(file, file.with_stem(f"new-{file.stem}"))
            draw(folder / f"VOC2012/JPEGImages/new-{name}", 200 + int(name[3]), (WIDTH, HEIGHT))

    to, made = convert(tmp_path, write)
    # What no list names is learned from.
    assert made.drawn == ()
    splits = open_dataset(to, needs=SPLITS).splits
    assert {split: len(ones) for split, ones in splits.items()} == {
        "train": 8, "val": 8, "test": 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "split"),
    [
        ("instances_train2017.json", "train"),
        ("valid/_annotations.coco.json", "val"),
        ("ds/Validation", "val"),
        ("testing", "test"),
        ("latest/contest.json", None),
        ("Train", "train"),
    ],
)
def test_a_split_is_known_by_its_name(place: str, split: str | None) -> None:
    assert split_of(place) == split


def test_images_in_no_split_are_learned_from_beside_those_that_have_one(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        ndjson(folder)
        rows = [json.loads(row) for row in (folder / "set.ndjson").read_text("utf-8").splitlines()]
        for row, split in zip(rows[1:], [*"?" * 4, "val", "val", "test", "test"], strict=True):
            row["split"] = split
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / "set.ndjson").write_text(text, encoding="utf-8")

    to, made = convert(tmp_path, write)
    assert not made.drawn
    splits = open_dataset(to, needs=SPLITS).splits
    assert {split: len(ones) for split, ones in splits.items()} == {
        "train": 4, "val": 2, "test": 2,
    }  # fmt: skip


def edit_coco(change: Callable[..., object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        coco(folder)
        file = folder / "annotations/instances_default.json"
        content = json.loads(file.read_text())
        change(content)
        dump(file, content)

    return write


def test_what_reaches_over_the_border_is_cut_and_counted(tmp_path: Path) -> None:
    def change(content: dict[str, list[dict[str, object]]]) -> None:
        content["annotations"][0]["bbox"] = [-10, 6, 34, 30]
        content["annotations"][1]["bbox"] = [90, 6, 34, 30]
        content["annotations"][2]["iscrowd"] = 1

    _, made = convert(tmp_path, edit_coco(change))
    assert dict(made.left_out) == {
        "parts of boxes beyond the border of the image": 2,
        "boxes without area": 1,
        "crowds": 1,
    }


@pytest.mark.parametrize("odd", [[], {}, [[1]], None])
def test_what_coco_names_by_no_id_is_left_out_and_counted(tmp_path: Path, odd: object) -> None:
    def change(content: dict[str, list[dict[str, object]]]) -> None:
        content["categories"].append({"id": odd, "name": "gloves"})
        content["images"][0]["id"] = odd
        content["annotations"][2]["image_id"] = odd
        content["annotations"][4]["category_id"] = odd

    to, made = convert(tmp_path, edit_coco(change))
    assert dict(made.left_out) == {
        "categories without id": 1,
        "annotations without image_id": 1,
        "images without id": 1,
        "boxes without a class": 1,
    }
    assert len([one for ones in open_dataset(to).splits.values() for one in ones]) == 7


def test_an_image_that_cannot_be_copied_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, copy: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(InputError, match=r"image .*cam\d\.png cannot be copied \(Permission"):
        convert(tmp_path, coco)
    assert not list(tmp_path.glob("*to*"))


def test_a_full_disk_is_told_by_the_file_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(source: Path, copy: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(copy))

    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(DiskFull) as full:
        convert(tmp_path, coco)
    assert "/images/all/cam" in full.value.place
    assert not list(tmp_path.glob("*to*"))


def test_an_image_is_found_by_its_stem_where_it_has_another_suffix(tmp_path: Path) -> None:
    def change(content: dict[str, list[dict[str, object]]]) -> None:
        for image in content["images"]:
            image["file_name"] = str(image["file_name"]).replace(".png", ".bmp")

    to, _ = convert(tmp_path, edit_coco(change))
    images = [one.image.name for ones in open_dataset(to).splits.values() for one in ones]
    assert sorted(images) == IMAGES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["images"][0].update(file_name="gone.png"), "'gone.png' is not below"),
        (lambda c: c["images"][0].update(file_name="../../etc/passwd"), "passwd' is not below"),
        (lambda c: c["images"][0].update(width=81), "has 81 x 60 pixels"),
        (lambda c: c["images"].clear(), "names no images"),
        (lambda c: c["categories"].clear(), "names no classes"),
    ],
)
def test_what_cannot_be_right_is_refused_and_leaves_nothing(
    tmp_path: Path, change: Callable[..., object], words: str
) -> None:
    with pytest.raises(DatasetInvalid, match=words):
        convert(tmp_path, edit_coco(change))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from", "home"] or sorted(
        path.name for path in tmp_path.iterdir()
    ) == ["from"]


def test_a_file_of_the_machine_is_never_taken_for_an_image(tmp_path: Path) -> None:
    draw(tmp_path / "secret/cam0.png", 99, (WIDTH, HEIGHT))

    def write(folder: Path) -> None:
        coco(folder)
        (folder / "images/cam0.png").unlink()
        (folder / "images/cam0.png").symlink_to(tmp_path / "secret/cam0.png")

    with pytest.raises(DatasetInvalid, match=r"'cam0\.png' is not below"):
        convert(tmp_path, write)


def test_images_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        pictures(folder / "a")
        for number, name in enumerate(IMAGES):
            draw(folder / "b" / name, 100 + number, (WIDTH, HEIGHT))
        dump(
            folder / "set.json",
            {
                "categories": [{"id": 1, "name": "person"}],
                "images": [
                    {"id": f"{part}{n}", "file_name": f"{part}/{name}", "width": 80, "height": 60}
                    for part in "ab"
                    for n, name in enumerate(IMAGES)
                ],
                "annotations": [],
            },
        )

    to, _ = convert(tmp_path, write)
    samples = [one for ones in open_dataset(to).splits.values() for one in ones]
    assert len({sample.image.read_bytes() for sample in samples}) == 16


def test_a_turned_photograph_with_boxes_of_before_is_refused(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        coco(folder)
        image = Image.open(folder / "images/cam0.png")
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(folder / "images/cam0.png", exif=exif)

    with pytest.raises(DatasetInvalid, match="after its EXIF rotation it has 60 x 80"):
        convert(tmp_path, write)


def test_what_is_no_export_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "yolo")
    with pytest.raises(InputError, match="is a YOLO set already"):
        convert_dataset(tmp_path / "yolo", tmp_path / "to", SHARES)
    with pytest.raises(DatasetInvalid, match="does not exist"):
        convert_dataset(tmp_path / "nowhere", tmp_path / "to", SHARES)
    (tmp_path / "video").mkdir()
    (tmp_path / "video/annotations.xml").write_text("<annotations><track/></annotations>")
    with pytest.raises(DatasetInvalid, match="videos"):
        convert_dataset(tmp_path / "video", tmp_path / "to", SHARES)
    coco(tmp_path / "export")
    with pytest.raises(SystemExit) as ended:
        main(["dataset", "convert", str(tmp_path / "export"), str(tmp_path / "to")])
    assert ended.value.code == 0
    assert "drawn with seed 0: train, val, test" in capsys.readouterr().err


FOUND = Path(os.environ.get("GUARDIANFLOW_REAL_DATA", "/nowhere")) / "found"


@pytest.mark.real_data
@pytest.mark.skipif(not FOUND.is_dir(), reason="GUARDIANFLOW_REAL_DATA is not set")
@pytest.mark.parametrize("case", ["03-cvat-yolo11", "04-label-studio"])
def test_what_was_found_in_the_field_is_converted(tmp_path: Path, case: str) -> None:
    shutil.copytree(FOUND / case, tmp_path / case)
    convert_dataset(tmp_path / case, tmp_path / "to", SHARES)
    dataset = open_dataset(tmp_path / "to", ["helmet", "person"], needs=SPLITS)
    assert sum(map(len, dataset.splits.values())) == 4
