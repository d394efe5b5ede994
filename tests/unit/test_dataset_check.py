import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from docs.fault_codes import PAGE, written
from guardianflow.cli.app import main
from guardianflow.vision.data.checker import check_dataset
from guardianflow.vision.data.contamination import find_duplicates
from guardianflow.vision.data.report_page import write_page
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.summary import (
    box_sizes,
    boxes_by_image,
    figures_by_split,
    image_sizes,
)
from tests.unit.yolo_sets import CLEAN, draw, edit, make

EVIL = "<script>alert('x')</script>"


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "data")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["dataset", "check", *map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out)


def test_a_good_data_set_ends_with_zero_and_its_counts(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, "--json") == 0
    told = answer(capsys)
    assert (told["usable"], told["errors"], told["warnings"]) == (True, 0, 0)
    assert told["splits"]["train"] == {  # type: ignore[index]
        "images": 12,
        "usable": 12,
        "empty": 0,
        "boxes": {"person": 12, "helmet": 12},
    }
    assert told["contamination"]["pairs"] == []  # type: ignore[index]


def test_errors_end_with_two_and_json_is_alone_on_stdout(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "labels/train/train0.txt").write_text("7 0.5 0.5 0.1 0.1\n0 0.5 0.5 0 0\n")
    assert run(root, "--json") == 2
    told = answer(capsys)
    assert [
        (f["code"], f["severity"], f["line"], f["value"], f["repaired"])
        for f in told["findings"]  # type: ignore[attr-defined]
    ] == [
        ("row-class-unknown", "ERROR", 1, "7", False),
        ("row-empty", "WARNING", 2, "0 0.5 0.5 0 0", True),
    ]


def test_people_see_each_kind_once_with_count_place_and_remedy(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        (root / f"labels/train/train{number}.txt").unlink()
    assert run(root) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert "label-missing │ 3 │ images/train/train0.png: has no label file" in out
    assert "create an empty file" in out
    assert "3 errors, 2 warnings: cannot be used as it is" in out


def test_a_data_yaml_of_another_machine_is_read_with_root_and_classes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(root, "path: .", "path: D:\\data")
    assert run(root, "--json") == 2
    assert "--root" in answer(capsys)["findings"][0]["remedy"]  # type: ignore[index]
    assert run(root / "data.yaml", "--root", root, "--classes", "person, helmet", "--json") == 0
    capsys.readouterr()
    assert run(root, "--root", root, "--classes", "vest,person", "--json") == 2
    (first, *_) = answer(capsys)["findings"]  # type: ignore[misc]
    assert (first["code"], "give that name in the scenario" in first["remedy"]) == (
        "names-differ",
        True,
    )
    words = ("--classes", "vest,person", "--for", "window", "--json")
    assert run(root, "--root", root, *words) == 2
    (first, *_) = answer(capsys)["findings"]  # type: ignore[misc]
    assert "rename it to 'vest' in data.yaml: the scenario" in first["remedy"]
    words = ("--classes", "hat,person", "--map", "hat=Helmet", "--json")
    assert run(root, "--root", root, *words) == 0
    assert answer(capsys)["classes"] == ["hat", "person"]
    assert run(root, "--root", root, "--classes", "hat,person", "--map", "cap=Helmet") == 2


def test_a_frozen_evaluation_set_must_not_be_learned_from(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = tmp_path / "frozen"
    shutil.copytree(root, frozen)
    assert run(root, "--against", frozen, "--json") == 0
    capsys.readouterr()
    shutil.copy(frozen / "images/test/test0.png", root / "images/train/train0.png")
    (root / "images/test/test0.png").unlink()
    (root / "labels/test/test0.txt").unlink()
    assert run(root, "--against", frozen, "--json") == 2
    told = answer(capsys)
    assert [f["code"] for f in told["findings"]] == ["evaluation-image"]  # type: ignore[attr-defined]
    assert told["contamination"]["exact"] == {  # type: ignore[index]
        f"train/test split of {frozen}": 1
    }
    (frozen / "data.yaml").unlink()
    assert run(root, "--against", frozen, "--json") == 2
    assert answer(capsys)["error"]["type"] == "DatasetInvalid"  # type: ignore[index]


@pytest.mark.parametrize(
    ("place", "code"),
    [("nowhere", "place-missing"), ("a.file", "yaml-missing"), ("empty", "yaml-missing")],
)
def test_what_is_no_data_set_is_told_without_a_traceback(
    tmp_path: Path, place: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.file").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    page = tmp_path / "page.html"
    assert run(tmp_path / place, "--json", "--report", page) == 2
    assert answer(capsys)["findings"][0]["code"] == code  # type: ignore[index]
    assert "Cannot be used" in page.read_text("utf-8")


def test_can_be_used_means_by_what_it_is_for(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(root, "val: images/val\n", "val: []\n")
    assert run(root) == 2
    assert "cannot be used" in capsys.readouterr().out
    assert run(root, "--for", "window") == 0
    assert "can be used for check-health" in capsys.readouterr().out


def test_odd_arguments_are_bad_input_and_no_defect(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("x" * 5000 + ".yaml", "--json") == 2
    assert run(root, "--root", "x" * 5000) == 2
    capsys.readouterr()
    assert run(root, "--report", root, "--json") == 2
    assert answer(capsys)["error"]["type"] == "InputError"  # type: ignore[index]


def test_names_that_no_terminal_bears_are_printed(root: Path) -> None:
    (root / "images/train" / "b\udcff\x1b[31m.png").write_bytes(b"x")
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "guardianflow.cli", "dataset", "check", str(root), *extra],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert b"\x1b[31m.png" not in done.stdout
        assert b"\\xff" in done.stdout


class Page(HTMLParser):
    """What a browser would load and run, and how many pictures and boxes it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "data")]
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag not in ("meta", "br", "rect", "image"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "image"):
            assert self.open.pop() == tag


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text("utf-8"))
    assert page.open == []
    return page


def test_the_page_needs_nothing_else_and_text_stays_text(root: Path, tmp_path: Path) -> None:
    edit(root, "[person, helmet]", f'["{EVIL}", helmet]')
    draw(root / f"images/train/{EVIL.replace('/', '')}.png", 5)
    (root / f"labels/train/{EVIL.replace('/', '')}.txt").write_text(f"{EVIL} 1 2 3 4\n")
    checked = check_dataset(root)
    page = read(write_page(checked, tmp_path / "page.html"))
    assert "script" not in page.tags
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert EVIL not in (tmp_path / "page.html").read_text("utf-8")


def test_the_page_shows_each_finding_with_its_picture(root: Path, tmp_path: Path) -> None:
    (root / "labels/train/train0.txt").write_text(CLEAN + CLEAN)
    (root / "images/train/train1.png").write_bytes(b"x")
    Image.open(root / "images/train/train2.png").save(root / "images/val/val0.png", optimize=True)
    checked = check_dataset(root)
    pairs = find_duplicates(checked.splits)
    text = write_page(checked, tmp_path / "page.html", pairs).read_text("utf-8")
    for code in ("row-twice", "image-broken", "image-nearly-twice"):
        assert f'id="{code}"' in text
        section = text.split(f'id="{code}"')[1].split("</section>")[0]
        assert "<figure>" in section
    assert "cannot be decoded" in text.split('class="lost"')[1][:200]
    assert text.count('class="pair"') == len(pairs) == 1
    assert text.count('<rect class="c1"') >= 16


def test_the_table_of_codes_in_the_docs_is_that_of_the_rules() -> None:
    page = PAGE.read_text("utf-8")
    assert written(page) == page


def test_many_findings_make_a_page_of_bounded_size(root: Path, tmp_path: Path) -> None:
    for number in range(300):
        (root / f"images/train/x{number:03}.png").write_bytes(b"x")
    checked = check_dataset(root)
    page = write_page(checked, tmp_path / "page.html").read_text("utf-8")
    assert len([f for f in checked.findings if f.code is FaultCode.IMAGE_BROKEN]) == 300
    assert "and 260 more places" in page
    assert len(page) < 500_000


def test_the_figures_are_those_of_the_data_set(root: Path) -> None:
    (root / "labels/val/val0.txt").write_text("")
    checked = check_dataset(root)
    assert figures_by_split(checked)["val"].empty == 1
    assert figures_by_split(checked)["val"].boxes == {"person": 1, "helmet": 1}
    samples = [s for split in checked.splits.values() for s in split]
    # sqrt(0.25 * 0.5) and sqrt(0.1 * 0.2) of the side.
    sizes = {name: count for name, count in box_sizes(samples) if count}
    assert sizes == {"10-20 %": 15, "20-40 %": 15}
    assert dict(boxes_by_image(samples))["2"] == 15
    assert image_sizes(samples) == [("80 x 60", 16)]
    assert sum(count for _, count in box_sizes([])) == 0
