"""Checks a data set: collects all its problems, and loads the samples that can be used.

    data.yaml --> splits --> images, labels --> samples
        |            |              |              |
        +------------+-- findings --+--------------+

Training, health checks and `guardianflow dataset check` all read data sets here, so they cannot
disagree. Several threads examine the images (Pillow decodes without Python's lock); the result
does not depend on their number.
"""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from guardianflow.progress import Progress, Reporter
from guardianflow.vision.data.cache import Cache, file_stamp
from guardianflow.vision.data.contamination import copy_findings, find_duplicates, near_findings
from guardianflow.vision.data.decoding import read_content
from guardianflow.vision.data.description import Description, read_description
from guardianflow.vision.data.examination import (
    ExaminedImage,
    ImageFacts,
    LabelFacts,
    examine_image,
    examine_labels,
)
from guardianflow.vision.data.findings import DataFinding, Fault, readable, shell_command, shortened
from guardianflow.vision.data.listing import Listing, label_paths, list_images
from guardianflow.vision.data.neighbours import compare_images, compare_labels
from guardianflow.vision.data.rules import MIXED, FaultCode, FaultSeverity
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.data.texts import MAX_TEXT_BYTES
from guardianflow.vision.data.wanted_classes import WantedClasses

UNNAMED = "unnamed"
"""The split of all images, if data.yaml names no split that exists."""
_FEW_BOXES = 10
_TINY_BOX_PX = 2.0


@dataclass(frozen=True, eq=False)
class CheckResult:
    """The result of a check.

    Attributes:
        root: The folder of the data set.
        classes: Class names; empty if they cannot be used.
        splits: The usable samples of each split.
        images: Number of images in each split, usable or not.
        findings: All findings, in the order of reading.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Sample, ...]]
    images: Mapping[str, int]
    findings: tuple[DataFinding, ...]


def check_dataset(
    place: Path,
    classes: Sequence[str] | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    base: Path | None = None,
    needs: Sequence[str] = (),
    tolerated: Collection[FaultCode] = (),
    frozen: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    workers: int | None = None,
) -> CheckResult:
    """Check a data set in YOLO format; never raises, whatever the folder contains.

    Args:
        place: The folder with data.yaml, or the YAML file.
        classes: The wanted classes, in the order of their label indices; None takes those of
            data.yaml.
        mapping: By wanted class its name in data.yaml, if more than case, spaces and hyphens
            differ.
        base: Replaces `path` of data.yaml.
        needs: The required splits.
        tolerated: Errors to report as warnings.
        frozen: Whether the scenario was trained already, so that it cannot change.
        on_progress: Called with the number of examined images.
        workers: Number of threads; None uses one per core.
    """
    findings: list[DataFinding] = []
    place = place.absolute()
    description = read_description(place, findings, base)
    if description is None:
        return CheckResult(place, (), {}, {}, tuple(findings))
    known = WantedClasses.of(description, classes, mapping or {}, findings, frozen=frozen)
    how_to_split = _how_to_split(place, description.root, base)
    findings += _unnamed(description, needs, how_to_split)
    if not any(description.sources.values()):
        # No split exists: check everything beside data.yaml instead.
        everything = {UNNAMED: (Path(os.path.realpath(description.root)),)}
        description = replace(description, sources=everything, lines={UNNAMED: None})
    listings = {s: list_images(description, s, findings) for s in description.sources}
    cache = Cache(description.root, len(description.classes))
    check = _Check(description, known, findings, cache)
    splits = check.read(listings, Reporter(on_progress), workers or _cores())
    _judge_classes(description, known.names, splits, findings)
    findings += copy_findings(splits)
    findings += near_findings(find_duplicates(splits))
    findings = [_for_this_use(one, tolerated, how_to_split) for one in findings]
    counts = {split: len(listing.images) for split, listing in listings.items()}
    return CheckResult(description.root, known.names, splits, counts, tuple(findings))


def _how_to_split(place: Path, root: Path, base: Path | None) -> str:
    """The command that makes usable splits of a data set, and what to do with its result."""
    # The first free name: nothing is written into an existing folder.
    names = itertools.chain(("split",), (f"split-{n}" for n in itertools.count(2)))
    to = next(root / name for name in names if not os.path.lexists(root / name))
    given = () if base is None else ("--root", base)
    # The command writes full paths of the images.
    without = "" if base is None else ", without --root and `dataset.root`"
    command = shell_command("guardianflow", "dataset", "split", place, to, *given)
    return f"`{command}`, then use that folder{without}"


@dataclass
class _Check:
    description: Description
    known: WantedClasses
    findings: list[DataFinding]
    cache: Cache
    root: str = field(init=False)

    def __post_init__(self) -> None:
        self.root = os.path.realpath(self.description.root)

    def read(
        self, listings: Mapping[str, Listing], report: Reporter, workers: int
    ) -> Mapping[str, tuple[Sample, ...]]:
        """Examine every image and label of every split; return the usable samples."""
        total = sum(len(listing.images) for listing in listings.values())
        done, looked = 0, dict[str, list[ExaminedImage]]()
        for split, listing in listings.items():
            looked[split] = []
            places = label_paths(listing.images, self.root)
            for one in self._look(places, workers):
                looked[split].append(one)
                done += 1
                report("check", done, total)
        samples = {
            split: tuple(s for one in ones if (s := self._sample(split, one)) is not None)
            for split, ones in looked.items()
        }
        self.findings += compare_labels(looked, self.description, self.root)
        self.findings += compare_images(looked)
        self.cache.save()
        return samples

    def _look(self, places: Mapping[str, tuple[str, ...]], workers: int) -> Iterator[ExaminedImage]:
        """Examine images with their labels, in order; cached facts are not read again."""
        known = {image: self._known(image, label) for image, label in places.items()}
        pool = ThreadPoolExecutor(workers, thread_name_prefix="check")
        try:
            waiting = {
                image: pool.submit(self._examine, image, label)
                for image, label in places.items()
                if known[image] is None
            }
            for image, found in known.items():
                one = found or waiting.pop(image).result()
                self._keep(one)
                yield one
        finally:
            pool.shutdown(cancel_futures=True)

    def _known(self, image: str, places: tuple[str, ...]) -> ExaminedImage | None:
        facts = self.cache.image(image)
        label = _existing(places)
        labels = self.cache.labels(label) if facts else None
        return ExaminedImage(image, label, facts, labels) if facts and labels else None

    def _examine(self, image: str, places: tuple[str, ...]) -> ExaminedImage:
        """Read an image and its labels. Runs in a thread, so it must not change this object."""
        faults: list[DataFinding] = []
        stamps = file_stamp(image), file_stamp(label := _existing(places))
        facts = labels = None
        try:
            content = read_content(image)
            sha256 = hashlib.sha256(content).hexdigest()
            known = self.cache.image_by_content(image, sha256)
            facts = known or examine_image(image, sha256, content)
        except Fault as fault:
            faults.append(fault.at(image, image=image))
        try:
            if stamps[1] is None:
                raise _no_label(label)
            content = read_content(label, MAX_TEXT_BYTES)
            labels = examine_labels(label, content, len(self.description.classes))
        except Fault as fault:
            place = image if fault.code is FaultCode.LABEL_MISSING else label
            faults.append(fault.at(place, image=image))
        return ExaminedImage(image, label, facts, labels, tuple(faults), stamps)

    def _keep(self, one: ExaminedImage) -> None:
        of_image, of_label = one.stamps
        if of_image and one.facts:
            self.cache.keep_image(one.image, of_image, one.facts)
        if of_label and one.labels:
            self.cache.keep_labels(one.label, of_label, one.labels)

    def _sample(self, split: str, one: ExaminedImage) -> Sample | None:
        """Return the sample of a usable image, else None; collect the findings about it."""
        seen = {"split": split, "image": one.image}
        about = (*one.faults, *(one.labels.findings if one.labels else ()))
        self.findings += [finding.model_copy(update=seen) for finding in about]
        if one.facts is None:
            return None
        for problem in one.facts.problems:
            fault = Fault(*problem)
            self.findings.append(fault.at(one.image, split=split, image=one.image))
        if not one.facts.usable or one.labels is None:
            return None
        sample = _sample(one.image, one.facts, self.known.renumber(one.labels))
        self._warn_tiny(split, one, sample)
        return sample

    def _warn_tiny(self, split: str, one: ExaminedImage, sample: Sample) -> None:
        if not len(sample.boxes):
            return
        thin = (sample.boxes[:, 2:] - sample.boxes[:, :2]).min(axis=1)
        if count := int((thin < _TINY_BOX_PX).sum()):
            what = (
                f"{count} boxes are thinner than {_TINY_BOX_PX:g} pixels, down to {thin.min():.2f}"
            )
            remedy = "Check whether they are objects: no detector finds boxes that thin."
            fault = Fault(FaultCode.BOX_TINY, what, remedy, value=f"{thin.min():.2f}")
            finding = fault.at(one.label, split=split, image=one.image, count=count)
            self.findings.append(finding)


def _sample(image: str, facts: ImageFacts, labels: LabelFacts) -> Sample:
    width, height = facts.size
    table = np.array(labels.rows, np.float64).reshape(-1, 5)
    return Sample(
        image=Path(image),
        boxes=(table[:, 1:] * (width, height, width, height)).astype(np.float32),
        classes=table[:, 0].astype(np.int64),
        size=facts.size,
        digest=f"{facts.sha256}:{labels.objects}",
        picture_hash=facts.picture_hash,
    )


def _for_this_use(
    finding: DataFinding, tolerated: Collection[FaultCode], how_to_split: str
) -> DataFinding:
    """Set the severity of a finding for this use; name the command that repairs mixed splits."""
    if finding.code in MIXED:
        remedy = f"Bring them into one split with {how_to_split}. {finding.remedy}"
        finding = finding.model_copy(update={"remedy": remedy})
    if finding.code in tolerated:
        finding = finding.model_copy(update={"severity": FaultSeverity.WARNING})
    return finding


def _existing(places: tuple[str, ...]) -> str:
    return next((path for path in places if os.path.lexists(path)), places[0])


def _no_label(label: str) -> Fault:
    return Fault(
        FaultCode.LABEL_MISSING,
        f"has no label file {readable(label)}",
        "Label the image, or create an empty file if there are no objects in it.",
    )


def _unnamed(
    description: Description, needs: Sequence[str], how_to_split: str
) -> Iterator[DataFinding]:
    """Report required splits that are not named; if none is named, another finding says so."""
    missing = [split for split in needs if split not in description.sources]
    for split in missing if description.sources else ():
        fault = Fault(
            FaultCode.SPLIT_UNNAMED,
            f"names no images for {split}, which is needed ({', '.join(needs)})",
            f"Name a folder of images for {split}, or choose them with {how_to_split}.",
            value=split,
        )
        yield fault.at(description.file)


def _judge_classes(
    description: Description,
    names: Sequence[str],
    splits: Mapping[str, Sequence[Sample]],
    findings: list[DataFinding],
) -> None:
    """Warn of classes with too few boxes to learn or to measure."""
    for split, samples in splits.items():
        if split == UNNAMED:
            continue
        counts = Counter(int(index) for sample in samples for index in sample.classes)
        for index, name in enumerate(names if samples else ()):
            if not counts[index]:
                what = f"{split}: class {shortened(name)!r} has no box"
                remedy = "Label some, or remove the class; it may be a synonym of another one."
                fault = Fault(FaultCode.CLASS_UNSEEN, what, remedy, value=name)
            elif split == "train" and counts[index] < _FEW_BOXES:
                what = f"train: class {shortened(name)!r} has only {counts[index]} boxes"
                remedy = "Label more of them: so few are not enough to learn from."
                fault = Fault(FaultCode.CLASS_RARE, what, remedy, value=name)
            else:
                continue
            findings.append(fault.at(description.file, split=split))


def _cores() -> int:
    return len(os.sched_getaffinity(0))
