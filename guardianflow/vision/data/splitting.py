"""Makes missing splits with a seed, and brings all images of one picture into one split.

    images --groups: copies, near duplicates, an exporter's copies--> whole groups in one split
                                                                          |
    a new folder: data.yaml, train.txt, val.txt, test.txt <---------------+

No file is moved or copied. Apart from duplicates, existing splits stay as they are.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from guardianflow.errors import DatasetInvalid, InputError
from guardianflow.machine.disk import telling_full
from guardianflow.progress import Progress
from guardianflow.vision.data.checker import UNNAMED, CheckResult, check_dataset
from guardianflow.vision.data.contamination import group_pictures
from guardianflow.vision.data.findings import errors, readable, refusal
from guardianflow.vision.data.rules import MIXED, FaultCode
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.data.yaml_file import SPLITS

# Number of random orders that are tried; the one with the fairest shares of classes is used.
_ORDERS = 64
_MENDED = (FaultCode.SPLITS_MISSING, *MIXED)
_SPLIT_AGAIN = "--anew to split all its images again."


@dataclass(frozen=True)
class SplitShares:
    """The shares of the images for val and test, and the seed of the draw."""

    val: float = 0.15
    test: float = 0.15
    seed: int = 0


@dataclass(frozen=True)
class SplitPlan:
    """The planned samples of each split; `SplitResult` describes the figures."""

    splits: Mapping[str, tuple[Sample, ...]]
    moved: int
    drawn: tuple[str, ...]


@dataclass(frozen=True)
class SplitResult:
    """The written splits.

    Attributes:
        checked: The check of the YOLO set.
        moved: Number of images that were moved to the split of their duplicates.
        drawn: The splits that were drawn.
    """

    checked: CheckResult
    moved: int
    drawn: tuple[str, ...]


def split_dataset(
    place: Path,
    to: Path,
    shares: SplitShares,
    *,
    base: Path | None = None,
    anew: bool = False,
    near_known: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> SplitResult:
    """Write a description of a data set without missing or mixed splits, and check it.

    Args:
        place: The folder of the data set, or its YAML file.
        to: A new folder for data.yaml and a list of images for each split.
        shares: Shares of the missing splits.
        base: Replaces `path` of data.yaml.
        anew: Whether to split all images again, also those that have a split.
        near_known: Whether near duplicates stay in their splits.
        on_progress: Called with the number of examined images.

    Raises:
        DatasetInvalid: The data set has other errors, or too few different images.
        InputError: There is nothing to do, or the folder cannot be written.
        DiskFull: The disk is full.
    """
    checked = check_dataset(place, base=base, on_progress=on_progress)
    if wrong := [finding for finding in errors(checked.findings) if finding.code not in _MENDED]:
        raise refusal(wrong)
    shared = plan_splits(checked, shares, anew=anew, near_known=near_known)
    if shared.splits == checked.splits:
        raise _nothing_missing(checked.root, near_known=near_known)
    with fresh_folder(to) as draft:
        # Paths are relative to the final folder.
        write_lists(shared.splits, checked.classes, draft, base or checked.root, to)
    made = check_dataset(to, needs=SPLITS, tolerated=tolerated_codes(near_known=near_known))
    if wrong := errors(made.findings):
        shutil.rmtree(to)
        raise refusal(wrong)
    return SplitResult(made, shared.moved, shared.drawn)


def _nothing_missing(root: Path, *, near_known: bool) -> InputError:
    known, use = "", "Add"
    if near_known:
        known = " except known near duplicates"
        use = "Use it as it is, with `near_duplicates: known` under dataset in the scenario; or add"
    return InputError(
        f"{readable(root)} has train, val and test, and no picture in two of them{known}: there is "
        "nothing to do.",
        remedy=f"{use} {_SPLIT_AGAIN}",
    )


def tolerated_codes(*, near_known: bool) -> tuple[FaultCode, ...]:
    """Return the errors that are tolerated if near duplicates are known."""
    return (FaultCode.IMAGE_NEARLY_TWICE,) if near_known else ()


def plan_splits(
    checked: CheckResult, shares: SplitShares, *, anew: bool = False, near_known: bool = False
) -> SplitPlan:
    """Plan splits so that none is missing, and no picture is in two of them.

    `split_dataset` describes the arguments. With `near_known`, drawn splits still have no near
    duplicates in train.

    Raises:
        DatasetInvalid: There are too few different pictures.
        InputError: There is no train split to draw from.
    """
    before = {split: samples for split, samples in checked.splits.items() if samples}
    whole = anew or UNNAMED in before
    if whole:
        before = {"train": tuple(sample for samples in before.values() for sample in samples)}
    there = _regrouped(before, near=not near_known)
    homes = {id(sample): split for split, samples in before.items() for sample in samples}
    moved = sum(homes[id(sample)] != split for split, ones in there.items() for sample in ones)
    missing = [split for split in SPLITS if split not in there]
    if not missing:
        return SplitPlan(there, moved, ())
    # Whether splits are missing only because of near duplicates.
    alike = not near_known and len(_regrouped(before, near=False)) > len(there)
    hint = "Add --near-known to keep near duplicates in their splits, or " if alike else ""
    if "train" in missing:
        raise InputError(
            f"{readable(checked.root)} has no train images to draw the other splits from.",
            remedy=f"{hint or 'Add '}{_SPLIT_AGAIN}",
        )
    drawn = _drawn(there, missing, shares, checked.root, hint)
    return SplitPlan(drawn, moved, SPLITS if whole else tuple(missing))


def _drawn(
    there: Mapping[str, tuple[Sample, ...]],
    missing: Sequence[str],
    shares: SplitShares,
    root: Path,
    hint: str,
) -> dict[str, tuple[Sample, ...]]:
    """All splits; the missing ones are drawn from train.

    Raises:
        DatasetInvalid: There are too few different pictures.
    """
    pool = sorted(there["train"], key=lambda sample: os.fspath(sample.image))
    total = sum(map(len, there.values()))
    wanted = {s: max(1, round(getattr(shares, s) * total)) for s in missing}
    taken = _draw(pool, wanted, shares.seed)
    if taken is None:
        add = "add images of other moments: all images of one picture stay in one split."
        raise DatasetInvalid(
            f"{len(pool)} images of {readable(root)} are too few, or too similar, to "
            f"take {', '.join(f'{count} for {split}' for split, count in wanted.items())} of them.",
            remedy=f"{hint}{add if hint else add.capitalize()}",
            value=len(pool),
        )
    chosen = {number for numbers in taken.values() for number in numbers}
    rest = tuple(sample for number, sample in enumerate(pool) if number not in chosen)
    made = {split: tuple(pool[n] for n in sorted(numbers)) for split, numbers in taken.items()}
    return {split: {**there, "train": rest, **made}[split] for split in SPLITS}


def _regrouped(
    splits: Mapping[str, Sequence[Sample]], *, near: bool
) -> dict[str, tuple[Sample, ...]]:
    """The existing splits, with each group in the split that has most of it, or the first of these.

    Splits that are empty afterwards are absent.
    """
    homes = [split for split in SPLITS for _ in splits.get(split, ())]
    samples = [sample for split in SPLITS for sample in splits.get(split, ())]
    for group in group_pictures(samples, near=near) if len(set(homes)) > 1 else ():
        counts = Counter(homes[place] for place in group)
        (home, _), *_ = counts.most_common()
        for place in group:
            homes[place] = home
    placed = list(zip(homes, samples, strict=True))
    return {s: tuple(one for home, one in placed if home == s) for s in SPLITS if s in homes}


def _draw(
    pool: Sequence[Sample], wanted: Mapping[str, int], seed: int
) -> dict[str, list[int]] | None:
    """Choose whole groups of images for each split; None if there are too few groups."""
    groups = group_pictures(pool)
    if len(groups) <= len(wanted):
        return None
    classes = max((int(s.classes.max()) + 1 for s in pool if len(s.classes)), default=1)
    counts = np.stack([np.bincount(sample.classes, minlength=classes) for sample in pool])
    generator = np.random.default_rng(seed)
    best: tuple[float, dict[str, list[int]]] | None = None
    for _ in range(_ORDERS):
        taken = _take([groups[n] for n in generator.permutation(len(groups))], wanted)
        if taken and (best is None or _unfairness(counts, taken) < best[0]):
            best = (_unfairness(counts, taken), taken)
    return best[1] if best else None


def _take(groups: Sequence[list[int]], wanted: Mapping[str, int]) -> dict[str, list[int]] | None:
    """Take groups in order while they fit; only the first group of a split may be too large."""
    taken: dict[str, list[int]] = {split: [] for split in wanted}
    left = len(groups)
    for group in groups:
        for split, numbers in taken.items():
            if left > 1 and (not numbers or len(numbers) + len(group) <= wanted[split]):
                numbers += group
                left -= 1
                break
    sizes = sum(map(len, groups)), sum(map(len, taken.values()))
    # Train must stay at least as large as the largest drawn split.
    enough = sizes[0] - sizes[1] >= max(map(len, taken.values()))
    return taken if all(taken.values()) and enough else None


def _unfairness(counts: NDArray[np.intp], taken: Mapping[str, list[int]]) -> float:
    """How far the splits' shares of boxes, shape (images, classes), are from those of images."""
    whole = np.maximum(counts.sum(axis=0), 1)
    return sum(
        float(np.abs(counts[numbers].sum(axis=0) / whole - len(numbers) / len(counts)).sum())
        for numbers in taken.values()
    )


def write_lists(
    splits: Mapping[str, Sequence[Sample]],
    classes: Sequence[str],
    folder: Path,
    base: Path,
    place: Path | None = None,
) -> None:
    """Write data.yaml and a list of images for each split into a folder.

    If the folder lies in `base`, the data set, the lists have relative paths, so that both can be
    moved together; otherwise absolute ones. `place` is the final path of the folder, if it will be
    renamed.

    Raises:
        InputError: The name of an image cannot be written in a list.
    """
    own = Path(os.path.realpath(place or folder))
    inside = own.is_relative_to(os.path.realpath(base))
    for split, samples in splits.items():
        images = [os.path.realpath(sample.image) for sample in samples]
        lines = [f"./{os.path.relpath(image, own)}" if inside else image for image in images]
        if odd := next((line for line in lines if not _is_line(line)), None):
            raise InputError(
                f"{readable(odd)} cannot be written in a list of images.",
                remedy="Rename it, with its label file.",
                value=readable(odd),
            )
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    content = {**{split: f"{split}.txt" for split in splits}, "names": list(classes)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _is_line(text: str) -> bool:
    """Whether a list preserves this text; file names may be in no known encoding."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\n" not in text and text == text.strip()


@contextmanager
def fresh_folder(to: Path) -> Generator[Path]:
    """Provide a temporary folder, which gets its final name only if the block succeeds.

    Raises:
        InputError: The name is taken, or the folder cannot be made.
        DiskFull: The disk is full.
    """
    if os.path.lexists(to) and not (os.path.isdir(to) and not os.listdir(to)):
        raise InputError(
            f"{readable(to)} exists already, so nothing is written there.",
            remedy="Give a new folder.",
            value=readable(to),
        )
    with _making(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        with telling_full(draft):
            yield draft
        with _making(to):
            # mkdtemp makes a folder that only its owner can read.
            draft.chmod(0o755)
            draft.rename(to)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _making(to: Path) -> Generator[None]:
    """Report a folder that cannot be made or renamed by its final name."""
    try:
        with telling_full(to.parent):
            yield
    except (OSError, ValueError) as error:
        raise InputError(
            f"The folder {readable(to)} cannot be written ({error}).",
            remedy="Give a folder that you may write to.",
            value=readable(to),
        ) from error
