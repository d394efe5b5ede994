import hashlib
import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.ppe_real_small import read_manifest, rebuild, shrink, translate
from guardianflow.errors import InputError
from guardianflow.vision.data.dataset import open_dataset

SPLITS = ("train", "val", "test")


def git(folder: Path, *words: str) -> str:
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for role in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{role}_NAME": "t", f"GIT_{role}_EMAIL": "t@localhost"}
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        env={**os.environ, **identity},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, str, list[dict[str, str]]]:
    """A repository like the public source, its commit, and a manifest of three images."""
    folder = tmp_path / "source"
    rows = []
    for number, split in enumerate(SPLITS):
        blocks = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(blocks).resize((640, 640), 0).save(buffer, "JPEG", quality=95)
        labels = b"3 0.5 0.5 0.2 0.4\n0 0.5 0.35 0.1 0.1"
        path = f"dataset/{split}/images/{number}.jpg"
        for name, content in ((path, buffer.getvalue()), (path, labels)):
            place = folder / (name if content is not labels else labels_of(name))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        rows.append(
            {
                "file": f"images/{split}/esp_{number}.jpg",
                "source_path": path,
                "source_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
                "sha256": hashlib.sha256(shrink(buffer.getvalue())).hexdigest(),
                "label_sha256": hashlib.sha256(translate(labels)).hexdigest(),
            }
        )
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "as published")
    commit = git(folder, "rev-parse", "HEAD")
    # What came later does not count.
    (folder / rows[0]["source_path"]).write_bytes(b"other")
    git(folder, "commit", "-q", "-a", "-m", "later")
    git(tmp_path, "clone", "-q", "--bare", str(folder), "clone")
    return tmp_path / "clone", commit, rows


def labels_of(path: str) -> str:
    return path.replace("/images/", "/labels/").replace(".jpg", ".txt")


def test_a_clone_becomes_the_data_set(source, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    clone, commit, rows = source
    target = tmp_path / "made/ppe-real-small"
    assert rebuild(clone, target, rows, commit) == []
    dataset = open_dataset(target, ["person", "helmet", "no_helmet"])
    assert {split: len(samples) for split, samples in dataset.splits.items()} == dict.fromkeys(
        SPLITS, 1
    )
    sample = dataset.samples("test")[0]
    assert sample.size == (416, 416)
    assert sample.classes.tolist() == [0, 1]
    assert list(target.parent.iterdir()) == [target]


def test_polygons_become_boxes_and_slivers_are_left_out() -> None:
    rows = b"2 0.1 0.2 0.3 0.2 0.3 0.6\n3 0.5 0.5 0.25 0.5\n1 0.5 0.5 0.2 0.0047\n"
    assert translate(rows) == (
        b"2 0.200000 0.400000 0.200000 0.400000\n0 0.500000 0.500000 0.250000 0.500000\n"
    )


@pytest.mark.parametrize(
    ("column", "message"),
    [("source_sha256", "has sha256"), ("label_sha256", "has sha256"), ("sha256", "other bytes")],
)
def test_what_is_not_as_the_manifest_says_is_not_published(
    source, tmp_path: Path, column: str, message: str
) -> None:
    clone, commit, rows = source
    rows[1][column] = "0" * 64
    target = tmp_path / "made/set"
    with pytest.raises(InputError, match=message):
        rebuild(clone, target, rows, commit)
    assert list(target.parent.iterdir()) == []
    if column == "sha256":
        assert rebuild(clone, target, rows, commit, other_bytes=True) == [rows[1]["file"]]
        with pytest.raises(InputError, match="already"):
            rebuild(clone, target, rows, commit)


def test_a_folder_that_is_no_clone_or_lacks_the_commit_is_told(source, tmp_path: Path) -> None:
    clone, _, rows = source
    with pytest.raises(InputError, match=r"has no dataset/train/images/0\.jpg"):
        rebuild(clone, tmp_path / "a", rows, "1" * 40)
    with pytest.raises(InputError, match="no clone"):
        rebuild(tmp_path, tmp_path / "a", rows)


def test_the_manifest_names_480_images_each_once() -> None:
    rows = read_manifest()
    assert len(rows) == len({row["file"] for row in rows}) == 480
    counts = [sum(row["file"].startswith(f"images/{split}/") for row in rows) for split in SPLITS]
    assert counts == [336, 72, 72]
    assert all(len(row[key]) == 64 for row in rows for key in row if key.endswith("sha256"))


@pytest.mark.real_data
def test_the_manifest_describes_the_photographs_that_are_here() -> None:
    given = os.environ.get("GUARDIANFLOW_REAL_DATA")
    if not given:
        pytest.skip("GUARDIANFLOW_REAL_DATA is not set: no real photographs on this machine")
    root = Path(given) / "ppe-real-small"
    for row in read_manifest():
        label = root / labels_of(f"/{row['file']}").lstrip("/")
        assert hashlib.sha256((root / row["file"]).read_bytes()).hexdigest() == row["sha256"]
        assert hashlib.sha256(label.read_bytes()).hexdigest() == row["label_sha256"]
