"""Makes missing splits: seeded, and what shows one picture stays in one split, or is brought there.

    images --groups: copies, near duplicates, an exporter's copies--> whole groups in one split
                                                                          |
    a new folder: data.yaml, train.txt, val.txt, test.txt <---------------+

No image is moved or copied; else a split that is there stays as it is.
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

from guardianflow.errors import DatasetInvalid, InputError
from guardianflow.machine.disk import telling_full
from guardianflow.progress import Progress
from guardianflow.vision.data.checker import UNNAMED, CheckResult, check_dataset
from guardianflow.vision.data.contamination import group_pictures
from guardianflow.vision.data.findings import errors, readable, refusal
from guardianflow.vision.data.rules import MIXED, FaultCode
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.data.yaml_file import SPLITS

# Of so many orders of the groups the one is taken that leaves every class its share.
_ORDERS = 64
_MENDED = (FaultCode.SPLITS_MISSING, *MIXED)


@dataclass(frozen=True)
class SplitShares:
    """How much of the images is kept for val and for test, and the seed by which they are drawn."""

    val: float = 0.15
    test: float = 0.15
    seed: int = 0


@dataclass(frozen=True)
class SplitPlan:
    """The images of each split, and how they came there.

    Attributes:
        splits: The images.
        moved: How many were brought into another split, where the rest of their picture is.
        drawn: The splits that were drawn.
    """

    splits: Mapping[str, tuple[Sample, ...]]
    moved: int
    drawn: tuple[str, ...]


@dataclass(frozen=True)
class SplitResult:
    """A description that was written: what a check says of it, and as in `SplitPlan`."""

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
    """Write a description of a data set in which no split is missing or mixed, and check it.

    Args:
        place: The data set, or its YAML file.
        to: A new folder for data.yaml and a list of images for each split.
        shares: How much is taken for the splits that are missing.
        base: Stands in for `path` of data.yaml.
        anew: Whether all images are shared out again, also those that have a split.
        near_known: Whether near duplicates stay in the splits that they are in.
        on_progress: Told how many images were looked at.

    Raises:
        DatasetInvalid: The data set has errors that a split does not mend, or too few images that
            differ.
        InputError: Nothing is to be done, or the folder cannot be written.
        DiskFull: There is no room for it.
    """
    checked = check_dataset(place, base=base, on_progress=on_progress)
    if wrong := [finding for finding in errors(checked.findings) if finding.code not in _MENDED]:
        raise refusal(wrong)
    shared = plan_splits(checked, shares, anew=anew, near_known=near_known)
    if shared.splits == checked.splits:
        raise _nothing_missing(checked.root, near_known=near_known)
    with fresh_folder(to) as draft:
        # Seen from the folder as it will be called.
        write_lists(shared.splits, checked.classes, draft, base or checked.root, to)
    made = check_dataset(to, needs=SPLITS, tolerated=tolerated_codes(near_known=near_known))
    if wrong := errors(made.findings):
        shutil.rmtree(to)
        raise refusal(wrong)
    return SplitResult(made, shared.moved, shared.drawn)


def _nothing_missing(root: Path, *, near_known: bool) -> InputError:
    known, use = "", "Add"
    if near_known:
        known = " but near duplicates, which are known"
        use = "Use it as it is, with `near_duplicates: known` under dataset in the scenario; or add"
    return InputError(
        f"{readable(root)} has train, val and test, and no picture in two of them{known}: nothing "
        "is missing.",
        remedy=f"{use} --anew to share all of its images out again.",
    )


def tolerated_codes(*, near_known: bool) -> tuple[FaultCode, ...]:
    """What is no error of a data set whose near duplicates are known."""
    return (FaultCode.IMAGE_NEARLY_TWICE,) if near_known else ()


def plan_splits(
    checked: CheckResult, shares: SplitShares, *, anew: bool = False, near_known: bool = False
) -> SplitPlan:
    """Share the images out: no split is missing, and no picture is in two of them.

    Args:
        checked: The data set.
        shares: How much is taken for the splits that are missing.
        anew: Whether all images are shared out again.
        near_known: Whether near duplicates stay in the splits that they are in. What is drawn is
            drawn without them all the same.

    Raises:
        DatasetInvalid: There are too few pictures that differ.
        InputError: There is nothing to take from.
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
    # Whether splits are missing for their near duplicates alone.
    alike = not near_known and len(_regrouped(before, near=False)) > len(there)
    hint = "Add --near-known to leave what only looks alike in its split, or " if alike else ""
    if "train" in missing:
        anew_too = "--anew to share all of its images out again."
        raise InputError(
            f"{readable(checked.root)} has no images for train, from which the others are taken.",
            remedy=f"{hint or 'Add '}{anew_too}",
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
    """All splits, those that are missing taken from train.

    Raises:
        DatasetInvalid: There are too few pictures that differ.
    """
    pool = sorted(there["train"], key=lambda sample: os.fspath(sample.image))
    total = sum(map(len, there.values()))
    wanted = {s: max(1, round(getattr(shares, s) * total)) for s in missing}
    taken = _draw(pool, wanted, shares.seed)
    if taken is None:
        bring = "Bring images of other moments; what shows one picture stays in one split."
        raise DatasetInvalid(
            f"{len(pool)} images of {readable(root)} are too few, or too much alike, to "
            f"take {', '.join(f'{count} for {split}' for split, count in wanted.items())} of them.",
            remedy=f"{hint}{bring[0].lower() if hint else bring[0]}{bring[1:]}",
            value=len(pool),
        )
    chosen = {number for numbers in taken.values() for number in numbers}
    rest = tuple(sample for number, sample in enumerate(pool) if number not in chosen)
    made = {split: tuple(pool[n] for n in sorted(numbers)) for split, numbers in taken.items()}
    return {split: {**there, "train": rest, **made}[split] for split in SPLITS}


def _regrouped(
    splits: Mapping[str, Sequence[Sample]], *, near: bool
) -> dict[str, tuple[Sample, ...]]:
    """The splits that are there, each group in the one that has most of it, or the first of these.

    A split of which nothing is left is none.
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
    """Choose images for each split, whole groups; None where there are too few groups."""
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
    """Take groups in their order while they fit; the first one of a split may be too large."""
    taken: dict[str, list[int]] = {split: [] for split in wanted}
    left = len(groups)
    for group in groups:
        for split, numbers in taken.items():
            if left > 1 and (not numbers or len(numbers) + len(group) <= wanted[split]):
                numbers += group
                left -= 1
                break
    sizes = sum(map(len, groups)), sum(map(len, taken.values()))
    # At least as much is left to learn from as is taken from it for one split.
    enough = sizes[0] - sizes[1] >= max(map(len, taken.values()))
    return taken if all(taken.values()) and enough else None


def _unfairness(counts: np.ndarray, taken: Mapping[str, list[int]]) -> float:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
    """How far the shares of the classes are from the share of the images, over all splits."""
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

    Args:
        splits: The images.
        classes: Their classes.
        folder: Where the files are written.
        base: The data set. Where the folder lies in it, images are named as seen from the folder,
            so that both can be moved together; else by where they are.
        place: What the folder will be called; None: as it is.

    Raises:
        InputError: The name of an image cannot stand in a list.
    """
    own = Path(os.path.realpath(place or folder))
    inside = own.is_relative_to(os.path.realpath(base))
    for split, samples in splits.items():
        images = [os.path.realpath(sample.image) for sample in samples]
        lines = [f"./{os.path.relpath(image, own)}" if inside else image for image in images]
        if odd := next((line for line in lines if not _is_line(line)), None):
            raise InputError(
                f"{readable(odd)} cannot stand in a list of images.",
                remedy="Rename it, with its label file.",
                value=readable(odd),
            )
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    content = {**{split: f"{split}.txt" for split in splits}, "names": list(classes)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _is_line(text: str) -> bool:
    """Whether a text is read back from a list as it is; names of files may be in no encoding."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\n" not in text and text == text.strip()


@contextmanager
def fresh_folder(to: Path) -> Generator[Path]:
    """A folder to fill; it gets its name when the block ends well, and not before.

    Raises:
        InputError: There is something of that name already, or the folder cannot be made.
        DiskFull: What was done in the block failed for want of room.
    """
    if os.path.lexists(to) and not (os.path.isdir(to) and not os.listdir(to)):
        raise InputError(
            f"{readable(to)} is there already, so nothing is written there.",
            remedy="Name a new folder.",
            value=readable(to),
        )
    with _making(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        with telling_full(draft):
            yield draft
        with _making(to):
            # mkdtemp makes a folder for its owner alone.
            draft.chmod(0o755)
            draft.rename(to)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _making(to: Path) -> Generator[None]:
    """Let a folder that cannot be made, or get its name, be told by that name."""
    try:
        with telling_full(to.parent):
            yield
    except (OSError, ValueError) as error:
        raise InputError(
            f"The folder {readable(to)} cannot be written ({error}).",
            remedy="Name a folder that you may write to.",
            value=readable(to),
        ) from error
