"""Finds exact and near duplicates between splits, and between new data and an evaluation set.

    train  val  test    compared with each other: a model must not be measured on training images
    a new data set      its train and val are compared with the frozen evaluation set of a scenario

Near duplicates are found with imagehash's pHash of 256 bits. Two pictures whose hashes differ in
at most 40 bits count as the same: decision 0010 says how this was measured, and what it misses.
"""

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from guardianflow.stored import Stored, Strict
from guardianflow.vision.data.decoding import IMAGE_SUFFIXES, UNSUPPORTED_SUFFIXES, load_image
from guardianflow.vision.data.examination import HASH_BITS, hash_picture
from guardianflow.vision.data.findings import DataFinding, Fault, readable
from guardianflow.vision.data.rules import FaultCode
from guardianflow.vision.data.sample import Sample

MAX_DISTANCE = 40
"""Two pictures count as the same if their hashes differ in at most so many of 256 bits."""
CONTAMINATION_FILE = "contamination.json"
_LEARNED = ("train", "val")
# The picture may have had another format, also an unsupported one, before its export.
_SUFFIXES = "|".join(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES | UNSUPPORTED_SUFFIXES))
_COPY = re.compile(rf"(?P<origin>.+)_(?i:{_SUFFIXES})\.rf\.[0-9A-Za-z_-]{{8,64}}")
_MAX_LISTED = 200
# Memory for one block of the comparison of all images with all.
_CHUNK_BYTES = 2**24


class Likeness(StrEnum):
    """How alike two images are."""

    EXACT = "exact"
    NEAR = "near"


class DuplicatePair(Strict):
    """An image, and the most similar one of another group."""

    likeness: Likeness = Field(description="The same bytes, or almost the same picture.")
    first_group: str = Field(description="Group of the other image, e.g. train.")
    second_group: str = Field(description="Group of the image, e.g. test.")
    first: str = Field(description="The other image.")
    second: str = Field(description="The image.")
    distance: int = Field(description="How many of the 256 bits of the hashes differ.", ge=0)


class ContaminationReport(Stored):
    """The duplicates between the splits of a data set, and between it and an evaluation set."""

    method: str = Field(description="How near duplicates were found.")
    max_distance: int = Field(description="Largest distance at which two pictures are the same.")
    images: dict[str, int] = Field(description="Number of images in each group.")
    exact: dict[str, int] = Field(
        description="Images of the second group that are in the first, by `first/second`."
    )
    near: dict[str, int] = Field(
        description="Images of the second group that look like one of the first."
    )
    pairs: tuple[DuplicatePair, ...] = Field(description="The first pairs, exact ones first.")

    def leaked(self, counts: Mapping[str, int]) -> int:
        """Count the test images (`exact` or `near`) in train or val; one in both counts twice."""
        return sum(counts.get(f"{split}/test", 0) for split in _LEARNED)


def find_duplicates(groups: Mapping[str, Sequence[Sample]]) -> tuple[DuplicatePair, ...]:
    """Compare each group with the groups before it, e.g. test with train and val.

    The groups come in the order train, val, test. Of each image, its most similar duplicate in each
    earlier group is returned; exact pairs first, then by distance.
    """
    return _sorted(
        pair
        for (first, ones), (second, others) in combinations(groups.items(), 2)
        for pair in _compare(first, ones, second, others)
    )


def exported_from(image: Path | str) -> str | None:
    """Return the name of the picture that an exporter copied; None if it is not such a copy.

    Roboflow writes `name_jpg.rf.0123456789abcdef.jpg`, several of them if it augments.
    """
    match = _COPY.fullmatch(Path(image).stem)
    return match["origin"] if match else None


def group_pictures(samples: Sequence[Sample], *, near: bool = True) -> list[list[int]]:
    """Group the samples that show one picture: same bytes, near duplicates, exporters' copies.

    For each group, the positions of its samples are returned, in their order.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places = {id(sample): place for place, sample in enumerate(samples)}
    edges: list[tuple[int, int]] = []
    for name in (_content, lambda sample: exported_from(sample.image)):
        first: dict[str, int] = {}
        for place, sample in enumerate(samples):
            if key := name(sample):
                edges.append((first.setdefault(key, place), place))
    shown, hashes = _hashed(samples if near else ())
    for row, column in _near(hashes):
        edges.append((places[id(shown[row])], places[id(shown[column])]))
    table = np.array(edges, np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(table.shape[1], np.int8), tuple(table)), shape=(len(samples),) * 2)
    _, labels = connected_components(links, directed=False)
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(place)
    return list(groups.values())


def copy_findings(groups: Mapping[str, Sequence[Sample]]) -> Iterator[DataFinding]:
    """Report an exporter's copies of one picture in two splits."""
    first: dict[str, tuple[str, Sample]] = {}
    for split, samples in groups.items():
        for sample in samples:
            origin = exported_from(sample.image)
            if origin is None:
                continue
            other, twin = first.setdefault(origin, (split, sample))
            if other != split:
                fault = Fault(
                    FaultCode.IMAGE_COPY_IN_TWO,
                    f"this image of {split} and {readable(twin.image.name)} of {other} are copies "
                    f"of one picture, {readable(origin)}",
                    "If they show different pictures, rename one of them.",
                    value=origin,
                )
                yield fault.at(sample.image, split=split, image=sample.image)


def find_leaks(
    splits: Mapping[str, Sequence[Sample]], group: str, evaluation: Sequence[Sample]
) -> tuple[DuplicatePair, ...]:
    """Compare train and val of a new data set with a frozen evaluation set, named `group`.

    The new test split is not compared: it may be that evaluation set.
    """
    return _sorted(
        pair
        for split, samples in splits.items()
        if split in _LEARNED
        for pair in _compare(split, samples, group, evaluation)
    )


def report_contamination(
    pairs: Sequence[DuplicatePair], groups: Mapping[str, Sequence[Sample]]
) -> ContaminationReport:
    """Make the report of a comparison, as the gate reads it."""
    counted = {
        likeness: Counter(
            f"{pair.first_group}/{pair.second_group}" for pair in pairs if pair.likeness is likeness
        )
        for likeness in Likeness
    }
    version = importlib.metadata.version("imagehash")
    return ContaminationReport(
        method=f"sha256; imagehash {version} pHash, {HASH_BITS} bits",
        max_distance=MAX_DISTANCE,
        images={name: len(samples) for name, samples in groups.items()},
        exact=dict(counted[Likeness.EXACT]),
        near=dict(counted[Likeness.NEAR]),
        pairs=tuple(pairs[:_MAX_LISTED]),
    )


def leak_findings(pairs: Sequence[DuplicatePair]) -> Iterator[DataFinding]:
    """Report images that are in an evaluation set."""
    for pair in pairs:
        exact = pair.likeness is Likeness.EXACT
        fault = Fault(
            FaultCode.EVALUATION_IMAGE if exact else FaultCode.EVALUATION_NEARLY,
            f"this image of {pair.first_group} {'is' if exact else 'looks like one'} in the "
            f"{pair.second_group}: {readable(pair.second)}",
            "Remove it from the training data: the evaluation set is frozen.",
            value=pair.second,
        )
        yield fault.at(pair.first, split=pair.first_group, image=pair.first)


def near_findings(pairs: Sequence[DuplicatePair]) -> Iterator[DataFinding]:
    """Report near duplicates; `neighbours` finds exact ones."""
    for pair in pairs:
        if pair.likeness is Likeness.NEAR:
            fault = Fault(
                FaultCode.IMAGE_NEARLY_TWICE,
                f"this image of {pair.second_group} looks like one of {pair.first_group} "
                f"({pair.distance} of {HASH_BITS} bits apart): {readable(pair.first)}",
                "Frames of one moment belong in one split. If a fixed camera saw the same scene at "
                "other times, accept them with `near_duplicates: known` under `dataset` in the "
                "scenario.",
                value=pair.first,
            )
            yield fault.at(pair.second, split=pair.second_group, image=pair.second)


def _compare(
    first: str, ones: Sequence[Sample], second: str, others: Sequence[Sample]
) -> Iterator[DuplicatePair]:
    same = {_content(sample): sample for sample in reversed(ones)}
    exact = {id(sample): same[key] for sample in others if (key := _content(sample)) in same}
    for sample in others:
        if twin := exact.get(id(sample)):
            yield _pair(Likeness.EXACT, first, twin, second, sample, 0)
    ours, hashes = _hashed(ones)
    rest, wanted = _hashed([sample for sample in others if id(sample) not in exact])
    for sample, (index, distance) in zip(rest, _nearest(wanted, hashes), strict=True):
        if distance <= MAX_DISTANCE:
            yield _pair(Likeness.NEAR, first, ours[index], second, sample, distance)


def _sorted(pairs: Iterable[DuplicatePair]) -> tuple[DuplicatePair, ...]:
    return tuple(sorted(pairs, key=lambda pair: (pair.distance, pair.second, pair.first)))


def _pair(
    likeness: Likeness, first: str, twin: Sample, second: str, sample: Sample, distance: int
) -> DuplicatePair:
    return DuplicatePair(
        likeness=likeness,
        first_group=first,
        second_group=second,
        first=readable(twin.image),
        second=readable(sample.image),
        distance=distance,
    )


def _nearest(rows: NDArray[np.uint64], columns: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """For each row, the index of the most similar column and their distance in bits."""
    if not len(columns):
        yield from [(0, HASH_BITS)] * len(rows)
        return
    for _, distances in _distances(rows, columns):
        best = distances.argmin(axis=1)
        yield from zip(best.tolist(), distances.min(axis=1).tolist(), strict=True)


def _near(hashes: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """All pairs of rows that count as the same picture."""
    for start, distances in _distances(hashes, hashes):
        for row, column in np.argwhere(distances <= MAX_DISTANCE).tolist():
            if start + row < column:
                yield start + row, column


def _distances(
    rows: NDArray[np.uint64], columns: NDArray[np.uint64]
) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """Distances in bits, shape (rows, columns), in blocks of rows that start at an index."""
    step = max(1, _CHUNK_BYTES // max(1, columns[:, 0].nbytes))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        distances = np.zeros((len(part), len(columns)), np.uint16)
        for word in range(columns.shape[1]):
            distances += np.bitwise_count(part[:, word, None] ^ columns[None, :, word])
        yield start, distances


def _hashed(samples: Sequence[Sample]) -> tuple[list[Sample], NDArray[np.uint64]]:
    """The samples that have a hash, and the hashes, shape (N, 4), uint64."""
    hashes = [(sample, _hash(sample)) for sample in samples]
    shown = [(sample, text) for sample, text in hashes if text]
    content = b"".join(bytes.fromhex(text) for _, text in shown)
    table = np.frombuffer(content, np.uint64).reshape(-1, HASH_BITS // 64)
    return [sample for sample, _ in shown], table


def _hash(sample: Sample) -> str:
    # The checker sets both the digest and the hash of a sample.
    if sample.digest:
        return sample.picture_hash
    return hash_picture(Image.fromarray(load_image(sample.image)))


def _content(sample: Sample) -> str:
    return sample.digest.partition(":")[0] or str(sample.image)
