"""Rebuilds the real photographs of tests and benchmarks from a clone of their public source.

    git clone https://github.com/Especializacion-IA/yolov8-hard-hat_test source
    python -m benchmarks.ppe_real_small source ppe-real-small
    export GUARDIANFLOW_REAL_DATA=$PWD          # the folder that holds ppe-real-small

The photographs are not part of this project: their licence (CC BY 4.0) is the uploader's word, and
faces are visible. ppe_real_small.csv names each source file and its sha256 at one commit, and the
sha256 of the image and the labels that have to come out. An image is scaled from 640 to 416 pixels
(Lanczos) and written as JPEG of quality 85 with optimized tables; with another JPEG library than
libjpeg-turbo the bytes may differ, then nothing is published unless `--other-bytes` is given.
"""

import argparse
import csv
import hashlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

from PIL import Image

from guardianflow.errors import GuardianflowError, InputError

SOURCE = "https://github.com/Especializacion-IA/yolov8-hard-hat_test"
COMMIT = "20c5ba627e40d001462e4728269f78f6159e6bb1"
MANIFEST = Path(__file__).with_suffix(".csv")
# hard_hat, no_hard_hat, no_head_wear, person of the source -> person, helmet, no_helmet.
_CLASS_IDS = {0: 1, 1: 2, 2: 2, 3: 0}
_SIDE = 416
_QUALITY = 85
_MIN_BOX_PX = 2
_DESCRIPTION = f"""\
# ppe-real-small
# from {SOURCE} @ {COMMIT} - CC BY 4.0 (declared in dataset/data.yaml and README.dataset.txt)
path: .
train: images/train
val: images/val
test: images/test
nc: 3
names: ["person", "helmet", "no_helmet"]
"""


def read_manifest(file: Path = MANIFEST) -> list[dict[str, str]]:
    """What the data set is made of: source path and sha256, image, sha256 of image and labels."""
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def rebuild(
    clone: Path,
    target: Path,
    rows: Sequence[Mapping[str, str]],
    commit: str = COMMIT,
    *,
    other_bytes: bool = False,
) -> list[str]:
    """Make the data set; it appears whole, or not at all.

    Args:
        clone: A clone of the source, with or without a work tree.
        target: The folder to make.
        rows: The manifest.
        commit: Which commit of the source.
        other_bytes: Publish also where an image came out with other bytes than the manifest says.

    Returns:
        The images that came out with other bytes.

    Raises:
        InputError: The target is there, the clone lacks a file, or a sha256 differs.
    """
    if target.exists():
        raise InputError(f"{target} is there already.", remedy="Name another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        paths = [path for row in rows for path in (row["source_path"], _labels_of(row))]
        contents = dict(zip(paths, read_blobs(clone, commit, paths), strict=True))
        differing = [row["file"] for row in rows if not _make(draft, row, contents)]
        if differing and not other_bytes:
            raise InputError(
                f"{len(differing)} of {len(rows)} images came out with other bytes than the "
                f"manifest says, e.g. {differing[0]}: this Pillow writes JPEG in another way.",
                remedy="Figures on them would not be comparable to the byte; --other-bytes keeps "
                "the data set all the same.",
            )
        (draft / "data.yaml").write_text(_DESCRIPTION, encoding="utf-8")
        draft.chmod(0o755)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return differing


def read_blobs(clone: Path, commit: str, paths: Sequence[str]) -> Iterator[bytes]:
    """The contents of files at a commit, in order.

    Raises:
        InputError: It is no clone, or lacks the commit or a file.
    """
    command = ["git", "-C", str(clone), "cat-file", "--batch"]
    asked = "".join(f"{commit}:{path}\n" for path in paths).encode()
    done = subprocess.run(command, input=asked, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise InputError(f"{clone} is no clone of {SOURCE}: {reason}", remedy="Clone it again.")
    answer = io.BytesIO(done.stdout)
    for path in paths:
        head = answer.readline().split()
        if len(head) != 3:
            raise InputError(
                f"{clone} has no {path} at {commit}.",
                remedy="Clone the whole history: git clone without --depth.",
            )
        yield answer.read(int(head[2]))
        answer.read(1)


def shrink(content: bytes) -> bytes:
    """The image in the size of the data set."""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def translate(content: bytes) -> bytes:
    """Labels of the source as boxes of the data set's classes, to six digits.

    Most rows of the source are polygons: their bounding boxes count. What is thinner than two
    pixels is left out.
    """
    lines: list[str] = []
    for row in content.decode("ascii").splitlines():
        class_id, *words = row.split()
        x1, y1, x2, y2 = _corners([float(word) for word in words])
        box = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        if min(box[2:]) * _SIDE >= _MIN_BOX_PX:
            numbers = " ".join(f"{number:.6f}" for number in box)
            lines.append(f"{_CLASS_IDS[int(class_id)]} {numbers}\n")
    return "".join(lines).encode("ascii")


def _corners(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    if len(numbers) == 4:
        cx, cy, width, height = numbers
        return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _make(draft: Path, row: Mapping[str, str], contents: Mapping[str, bytes]) -> bool:
    """Write one image with its labels; whether the image has the bytes of the manifest.

    Raises:
        InputError: The source or the labels are others.
    """
    source = contents[row["source_path"]]
    _verify(row["source_path"], source, row["source_sha256"])
    labels = translate(contents[_labels_of(row)])
    _verify(_labels_of(row), labels, row["label_sha256"])
    image = shrink(source)
    path = draft / row["file"]
    label = draft / row["file"].replace("images/", "labels/", 1)
    for file, content in ((path, image), (label.with_suffix(".txt"), labels)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return hashlib.sha256(image).hexdigest() == row["sha256"]


def _verify(path: str, content: bytes, sha256: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(
            f"{path} has sha256 {found}, the manifest says {sha256}.",
            remedy=f"Take an untouched clone of {SOURCE}.",
            value=found,
        )


def _labels_of(row: Mapping[str, str]) -> str:
    path = row["source_path"].replace("/images/", "/labels/", 1)
    return f"{path.removesuffix('.jpg')}.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clone", type=Path, help=f"a clone of {SOURCE}")
    parser.add_argument("target", type=Path, help="the folder to make, e.g. data/ppe-real-small")
    parser.add_argument("--other-bytes", action="store_true", help="accept another JPEG library")
    given = parser.parse_args()
    rows = read_manifest()
    try:
        differing = rebuild(given.clone, given.target, rows, other_bytes=given.other_bytes)
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    same = len(rows) - len(differing)
    print(f"{given.target}: {same} of {len(rows)} images are those of the manifest to the byte")
    print(f"export GUARDIANFLOW_REAL_DATA={given.target.absolute().parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
