"""Crops of what only one of the two got right: a few, each with a caption in words.

People are on them, so they are cut out of their scene and kept for days
(`monitoring/retention.py`); the captions stay.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.promotion.evidence.floor_words import class_word
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.disagreement import Disagreement, find_disagreements
from guardianflow.vision.metrics.mistakes import Flaw
from guardianflow.wording.language import Language, say

FOLDER = "disagreements"
"""Their folder among the files of the record."""
KEPT_TAG = "guardianflow.pictures"
"""On the record: `kept` while there are crops, `deleted` after."""
DAYS_TAG = "guardianflow.picture_days"
LANGUAGE_TAG = "guardianflow.language"
UNTIL_METRIC = "guardianflow.pictures_until"
"""Seconds since 1970 until which they are kept; MLflow compares only metrics by size."""
_MOST = {
    Disagreement.LOST: 6,
    Disagreement.GAINED: 4,
    Disagreement.NEW_ALARM: 4,
    Disagreement.GONE_ALARM: 2,
    Disagreement.MISSED: 8,
}
# Only this module writes pictures into the page: text of others is escaped.
_PICTURE = re.compile(r"(?<!\\)!\[[^\]]*\]\([^)\s]*\)")


class Crop(BaseModel):
    """One crop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(description="Its path among the files of the record.")
    kind: Disagreement = Field(description="What it shows.")
    label: str = Field(description="The class of the object, or of the false alarm.")
    score: float = Field(
        description="Of the false alarm; of a missed object the best that was not shown, or 0."
    )
    limit: float = Field(description="From which score whoever missed it shows this class.")
    flaw: Flaw | None = Field(
        default=None,
        # Older questions are recognised by the digest of a record without it.
        exclude_if=lambda flaw: flaw is None,
        description="What is wrong with the box, or hid the object; None in older records.",
    )


class Pictures(BaseModel):
    """Where candidate and champion of one model disagree."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(description="The candidate.")
    champion: int | None = Field(description="The champion; None where there is none.")
    counts: dict[Disagreement, int] = Field(description="How often each kind was found.")
    shown: tuple[Crop, ...] = Field(description="Those of which there is a crop.")
    days: int = Field(description="How long crops are kept; 0: none is.")


def draw_pictures(
    versions: tuple[int, int | None],
    seen: tuple[Seen, Seen | None],
    samples: Sequence[Sample],
    classes: Sequence[str],
    folder: Path,
    *,
    days: int,
) -> Pictures:
    """Find where the two disagree and cut out the worst of it into the files of the record.

    Versions, and what they saw on the same images, are those of the candidate and the champion, if
    there is one. Classes are in the order of their indices. 0 days make no crop.
    """
    from guardianflow.vision.metrics.album import crop, with_lightened

    candidate, champion = seen
    found = find_disagreements(candidate, champion, samples, classes)
    shown: list[Crop] = []
    for kind, cases in found.items():
        # Who missed it: where the champion did, its thresholds say why.
        missed_by = champion if kind is Disagreement.GAINED and champion else candidate
        for number, case in enumerate(cases[: _MOST[kind] if days else 0], start=1):
            path = folder / FOLDER / f"{kind}-{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = with_lightened(crop(case, samples[case.image]))
            picture.save(path, "JPEG", quality=88)
            shown.append(
                Crop(
                    file=f"{FOLDER}/{path.name}",
                    kind=kind,
                    label=classes[case.label],
                    score=case.score,
                    limit=missed_by.thresholds[case.label],
                    flaw=case.flaw,
                )
            )
    return Pictures(
        version=versions[0],
        champion=versions[1],
        counts={kind: len(cases) for kind, cases in found.items()},
        shown=tuple(shown),
        days=days,
    )


def count_dark(samples: Sequence[Sample]) -> int | None:
    """How many images are dark: with none nobody knows what happens at night; None: no image."""
    if not samples:
        return None
    from PIL import Image

    from guardianflow.vision.data.dataset import load_image
    from guardianflow.vision.metrics.album import is_dark

    return sum(is_dark(Image.fromarray(load_image(sample.image))) for sample in samples)


def pictures_section(
    pictures: Pictures | None, links: Mapping[str, str], language: Language
) -> list[str]:
    """What the two disagree about, kind by kind: how often, and crops, each above its caption."""
    if pictures is None:
        return []
    title = "pictures" if pictures.champion else "pictures.first"
    kept = "pictures.kept" if pictures.days else "pictures.none"
    lines = [f"### {say(language, title)}", "", say(language, kept, days=pictures.days), ""]
    versions = {"candidate": pictures.version, "champion": pictures.champion or "-"}
    for kind, count in pictures.counts.items():
        shown = [one for one in pictures.shown if one.kind is kind]
        heading = say(language, f"kind.{kind}", count=count, **versions)
        if len(shown) < count and shown:
            heading += say(language, "pictures.some", shown=len(shown))
        lines += [f"**{heading}**", ""]
        for one in shown:
            # Not in a table: its columns do not become narrower than a picture and a line of words.
            if address := links.get(one.file):
                lines += [f"![{class_word(one.label, language)}]({address})", ""]
            lines += [_caption(one, pictures, language), ""]
    return lines


def retention_marks(
    pictures: Pictures | None, language: Language, time: datetime
) -> tuple[dict[str, str], dict[str, float]]:
    """Tags and metrics by which `monitoring/retention.py` finds the record of kept crops."""
    if pictures is None or not pictures.shown:
        return {}, {}
    until = time + timedelta(days=pictures.days)
    tags = {KEPT_TAG: "kept", DAYS_TAG: str(pictures.days), LANGUAGE_TAG: language.value}
    return tags, {UNTIL_METRIC: until.timestamp()}


def without_pictures(page: str, language: Language, days: int) -> str:
    """The page after its crops were deleted: captions and figures as they were."""
    return _PICTURE.sub(lambda _: say(language, "pictures.deleted", days=days), page)


def _caption(picture: Crop, pictures: Pictures, language: Language) -> str:
    """What is to be seen, in words."""
    missed = picture.kind not in (Disagreement.NEW_ALARM, Disagreement.GONE_ALARM)
    flaw = picture.flaw
    if missed and flaw is None:
        flaw = Flaw.UNSURE if picture.score > 0 else Flaw.NOTHING
    how = f"{'missed' if missed else 'alarm'}.{flaw.name if flaw else 'UNSAID'}"
    return say(
        language,
        f"caption.{picture.kind}",
        label=class_word(picture.label, language),
        candidate=pictures.version,
        champion=pictures.champion or "-",
        how=say(language, how),
    )
