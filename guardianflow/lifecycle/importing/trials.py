"""Answers the questions that a foreign file leaves open, by trying it on labelled images.

    questions --for each: the common answers, one after the other--> what sees best on val

A network that is read wrongly gives no error, only noise; the right reading is the one that finds
what people labelled. Of readings that find as much the usual one is taken; if it is not among them,
nobody guesses: the person who imports has to know.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from guardianflow.errors import ModelInvalid
from guardianflow.lifecycle.importing.options import ImportOptions
from guardianflow.machine.disk import scratch
from guardianflow.vision.data.sample import Dataset, Sample
from guardianflow.vision.ir.confined import IR, ReadingAnswer
from guardianflow.vision.ir.families import COMMON_PIXELS, COMMON_PLACEMENTS
from guardianflow.vision.ir.reading import (
    Background,
    BoxForm,
    OpenQuestion,
    Pixels,
    ScoreForm,
)
from guardianflow.vision.ir.serving import IrDetector
from guardianflow.vision.metrics.detections import Detections, detect
from guardianflow.vision.metrics.evaluation import evaluate

Read = Callable[[Path, ImportOptions], ReadingAnswer]
"""Reads the file into a folder; raises ModelInvalid if it cannot be read with these options."""
Report = Callable[[str, int, int], None]

# So many images are enough to tell a detector from noise, and take seconds.
_MOST_IMAGES = 48
# A smaller difference of mAP50-95 may be chance.
_EQUAL = 0.01
# Average precision knows only the order of scores: of readings that find as much, those with far
# lower scores are not the right ones.
_AS_SURE = 0.5
# Below this mAP50 nothing can be told apart.
_SEES = 0.05


@dataclass(frozen=True)
class Candidate:
    """One way of reading a file.

    Attributes:
        words: In words, e.g. `0..255 bgr`.
        flags: The options of `guardianflow import` that mean it.
        options: All options with it.
        unusual: How many of its answers are not the usual ones.
    """

    words: str
    flags: str
    options: ImportOptions
    unusual: int


@dataclass(frozen=True)
class Tried:
    """What a way of reading finds on val: its figures, and its detections in each image."""

    way: Candidate
    map50: float
    map50_95: float
    found: Sequence[Detections]

    @property
    def sureness(self) -> float:
        """The mean over images of the best score."""
        return float(np.mean([one.scores.max(initial=0) for one in self.found]))


class Trials:
    """Tries ways of reading one file on the val split.

    Args:
        path: The file, for messages.
        read: Reads it.
        dataset: The data set of the scenario.
        report: Told of the step, how many are done and of how many.
    """

    def __init__(self, path: Path, read: Read, dataset: Dataset, report: Report) -> None:
        self._path, self._read, self._dataset, self._report = path, read, dataset, report
        val = dataset.samples("val")
        chosen = np.linspace(0, len(val) - 1, min(_MOST_IMAGES, len(val))).round().astype(int)
        self._images: Sequence[Sample] = [val[index] for index in chosen.tolist()]
        self.notes: list[str] = []
        """What was tried and taken, in sentences."""

    def answer(self, options: ImportOptions, read: ReadingAnswer) -> ImportOptions:
        """Return the options with an answer to every question that reading the file left open.

        Raises:
            ModelInvalid: Two readings find as much, but not the same.
        """
        # Where to place a frame comes last: a network that is blind sees nothing in any place.
        first = [one for one in read.questions if one is not OpenQuestion.PLACEMENT]
        if first:
            options = self._settle(" and ".join(first), _readings(options, first, read))
        if OpenQuestion.PLACEMENT in read.questions:
            options = self._settle(OpenQuestion.PLACEMENT, _placements(options))
        return options

    def better(self, options: ImportOptions, read: ReadingAnswer, reached: float) -> Tried | None:
        """Return another reading that sees clearly more than the one that was said or usual."""
        tried = self._try("otherwise", _others(options, read))
        best = max(tried, key=lambda one: one.map50, default=None)
        return best if best and best.map50 > max(2 * reached, reached + 0.05) else None

    def _settle(self, what: str, candidates: Iterator[Candidate]) -> ImportOptions:
        """Try the candidates, the usual one first, and return the options of the best one."""
        tried = list(self._try(what, candidates))
        if not tried:
            raise ModelInvalid(
                f"{self._path} could not be read with any of the usual {what}.",
                remedy="Say how it is read (guardianflow import --help).",
                file=str(self._path),
            )
        best = max(tried, key=lambda one: one.map50_95)
        if best.map50 < _SEES:
            # It is blind however it is read; the caller says so.
            return tried[0].way.options
        equal = [one for one in tried if one.map50_95 >= best.map50_95 - _EQUAL]
        surest = max(one.sureness for one in equal)
        equal = [one for one in equal if one.sureness >= _AS_SURE * surest]
        taken, *rest = sorted(equal, key=lambda one: one.way.unusual)
        rivals = [one for one in rest if one.way.unusual == taken.way.unusual]
        doubtful = [one for one in rivals if not _same(one.found, taken.found)]
        if doubtful:
            raise self._undecided(what, [taken, *doubtful])
        others = ", ".join(
            f"{one.way.words} {one.map50_95:.3f}" for one in tried if one is not taken
        )
        self.notes.append(
            f"{what}: {taken.way.words}, because mAP50-95 is {taken.map50_95:.3f} on "
            f"{len(self._images)} images of val; {others}"
        )
        return taken.way.options

    def _try(self, what: str, candidates: Iterator[Candidate]) -> Iterator[Tried]:
        listed = list(candidates)
        for index, candidate in enumerate(listed):
            self._report(f"try {what}", index, len(listed))
            with scratch() as place:
                try:
                    self._read(place / "tried", candidate.options)
                except ModelInvalid as error:
                    # What passes a limit is too large however it is read.
                    if error.data.keys() & {"memory_gib", "minutes"}:
                        raise
                    # With such an option it cannot be read, e.g. bytes have only one range.
                    continue
                found = detect(IrDetector(place / "tried" / IR), self._images)
            figures = evaluate(found, self._images, self._dataset.classes)
            yield Tried(candidate, figures.map50, figures.map50_95, found)
        self._report(f"try {what}", len(listed), len(listed))

    def _undecided(self, what: str, equal: Sequence[Tried]) -> ModelInvalid:
        told = ", ".join(f"{one.way.words} mAP50-95 {one.map50_95:.3f}" for one in equal)
        return ModelInvalid(
            f"{self._path} does not say how it is read ({what}), and on {len(self._images)} images "
            f"of val it sees as much in more than one way: {told}.",
            remedy="Look it up where it was trained, and say it: "
            + " or ".join(one.way.flags for one in equal),
            file=str(self._path),
        )


def _readings(
    options: ImportOptions, questions: Sequence[OpenQuestion], read: ReadingAnswer
) -> Iterator[Candidate]:
    """All combinations of the usual answers to questions; the first is what was read."""
    forms = [read.scores]
    if OpenQuestion.SCORES in questions:
        forms = [ScoreForm.SOFTMAX, ScoreForm.LOGITS]
    places = [read.background]
    if OpenQuestion.BACKGROUND in questions:
        places = sorted(Background, key=lambda place: place is not read.background)
    pixels = COMMON_PIXELS if OpenQuestion.PIXELS in questions else (None,)
    for form, place, values in product(forms, places, pixels):
        unusual = (form is not forms[0]) + (place is not places[0]) + (values is not pixels[0])
        words, flags = list[str](), list[str]()
        chosen = options
        if values:
            words, flags = [values.describe()], [pixel_flags(values)]
            chosen = with_pixels(chosen, values)
        if len(forms) > 1:
            words, flags = [*words, form], [*flags, f"--scores {form}"]
            chosen = chosen.model_copy(update={"scores": form})
        if len(places) > 1:
            words, flags = [*words, f"no object {place}"], [*flags, f"--background {place}"]
            chosen = chosen.model_copy(update={"background": place})
        yield Candidate(", ".join(words), " ".join(flags), chosen, unusual)


def _placements(options: ImportOptions) -> Iterator[Candidate]:
    for placement in COMMON_PLACEMENTS:
        flags = f"--placement {placement}"
        chosen = options.model_copy(update={"placement": placement})
        yield Candidate(placement, flags, chosen, placement is not COMMON_PLACEMENTS[0])


def _others(options: ImportOptions, read: ReadingAnswer) -> Iterator[Candidate]:
    """Other readings than the one that was said or usual."""
    for pixels in COMMON_PIXELS:
        if pixels != read.pixels:
            words = f"pixels {pixels.describe()}"
            yield Candidate(words, pixel_flags(pixels), with_pixels(options, pixels), 1)
    form = BoxForm.of(centred=not read.boxes.centred, fractions=read.boxes.fractions)
    yield Candidate(
        f"boxes as {form}", f"--boxes {form}", options.model_copy(update={"boxes": form}), 1
    )
    if read.background:
        place = Background.LAST if read.background is Background.FIRST else Background.FIRST
        chosen = options.model_copy(update={"background": place})
        yield Candidate(f"no object {place}", f"--background {place}", chosen, 1)


def with_pixels(options: ImportOptions, pixels: Pixels) -> ImportOptions:
    """Return the options that say what pixels are."""
    return options.model_copy(update=pixels.model_dump())


def pixel_flags(pixels: Pixels) -> str:
    """Return the options of `guardianflow import` that say what pixels are."""
    flags = f"--input-range {pixels.input_range} --channels {pixels.channel_order}"
    for option, values in (("--mean", pixels.mean), ("--std", pixels.std)):
        if values:
            flags += f" {option} " + ",".join(f"{value:g}" for value in values)
    return flags


def _same(one: Sequence[Detections], other: Sequence[Detections]) -> bool:
    """Return whether two ways of reading find the same, but for rounding."""
    return all(
        len(first.scores) == len(second.scores)
        and np.array_equal(first.classes, second.classes)
        and np.allclose(first.boxes, second.boxes, atol=0.5)
        and np.allclose(first.scores, second.scores, atol=1e-3)
        for first, second in zip(one, other, strict=True)
    )
