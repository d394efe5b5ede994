"""The pictures of a measured detector: curves, confusion, and crops of what was right and wrong."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps, ImageStat

from guardianflow.vision.data.dataset import Sample, load_image
from guardianflow.vision.metrics.curves import confusion_table, precision_recall, threshold_curves
from guardianflow.vision.metrics.detections import Seen
from guardianflow.vision.metrics.lettering import drawn_names, font_for
from guardianflow.vision.metrics.mistakes import Case, Outcome, SortedCases, judge_boxes

FILES = (
    "precision-recall.png",
    "thresholds.png",
    "confusion.png",
    *(f"{outcome}.jpg" for outcome in Outcome),
)
_TITLES = {
    Outcome.TRUE: "found, the least sure first",
    Outcome.MISSED: "missed: labelled, but not shown; the least seen and largest first",
    Outcome.FALSE: "false alarms: shown, but not labelled; the surest first",
}
_TILE = 216
_WORDS = 34
_COLUMNS = 6
_MOST = 24
_GAP = 6
_HEADER = 28
# Context around a box, as a share of its longer side, and the least that is cut out.
_CONTEXT = 0.8
_LEAST = 48
# Mean grey level, 0..255: drawn nights have 27 to 47 and days 110 to 131, of photographs by day one
# in twenty has less than 58.
_DARK_MEAN = 60.0
_PAGE, _INK = (24, 26, 30), (235, 235, 235)
# Light and dark line together are seen on any picture; the sheet's title says which outcome it is.
_FRAMES = {
    Outcome.TRUE: (86, 180, 233),
    Outcome.MISSED: (255, 255, 255),
    Outcome.FALSE: (230, 159, 0),
}


def draw_album(
    seen: Seen, samples: Sequence[Sample], classes: Sequence[str], folder: Path
) -> SortedCases:
    """Draw all pictures of `FILES` into a folder.

    Args:
        seen: What the detector saw in the images.
        samples: The labelled images.
        classes: Class names in the order of their indices.
        folder: Where to.

    Returns:
        What they show.
    """
    judged = judge_boxes(seen, samples, classes)
    precision_recall(seen, samples, classes, folder / "precision-recall.png")
    threshold_curves(seen, samples, classes, folder / "thresholds.png")
    confusion_table(judged, classes, folder / "confusion.png")
    for outcome in Outcome:
        _crop_sheet(judged, outcome, samples, classes, folder / f"{outcome}.jpg")
    return judged


def _crop_sheet(
    judged: SortedCases,
    outcome: Outcome,
    samples: Sequence[Sample],
    classes: Sequence[str],
    path: Path,
) -> Path:
    """The worst cases of one outcome, each cut out with its surroundings and told in words."""
    cases = judged.of(outcome)
    chosen = cases[:_MOST]
    rows = max(1, -(-len(chosen) // _COLUMNS))
    height = _HEADER + rows * (_TILE + _WORDS + _GAP) + _GAP
    sheet = Image.new("RGB", (_COLUMNS * (_TILE + _GAP) + _GAP, height), _PAGE)
    pen = ImageDraw.Draw(sheet)
    heading = f"{_TITLES[outcome]}: {len(chosen)} of {len(cases)}"
    pen.text((_GAP, 5), heading if cases else f"{heading} (none)", _INK, font_for(15))
    names = drawn_names(classes)
    for index, case in enumerate(chosen):
        left = _GAP + index % _COLUMNS * (_TILE + _GAP)
        top = _HEADER + index // _COLUMNS * (_TILE + _WORDS + _GAP)
        sheet.paste(crop(case, samples[case.image]), (left, top))
        score = "" if outcome is Outcome.MISSED else f" {case.score:.2f}"
        words = f"{names[case.label]}{score}\n{case.why}"
        small = font_for(12, words)
        pen.multiline_text((left + 2, top + _TILE + 2), words, _INK, small, spacing=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "JPEG", quality=88)
    return path


def crop(case: Case, sample: Sample) -> Image.Image:
    """A square around a box, within the image where that is large enough; the box is framed."""
    x1, y1, x2, y2 = case.box.tolist()
    width, height = sample.size
    wanted = max(_LEAST, (1 + 2 * _CONTEXT) * max(x2 - x1, y2 - y1))
    side = max(1, round(min(wanted, max(width, height))))
    left = _start((x1 + x2) / 2, side, width)
    top = _start((y1 + y2) / 2, side, height)
    whole = Image.fromarray(load_image(sample.image))
    picture = whole.crop((left, top, left + side, top + side))
    picture = picture.resize((_TILE, _TILE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    scale = _TILE / side
    low = (x1 - left) * scale, (y1 - top) * scale
    high = max(low[0], (x2 - left) * scale), max(low[1], (y2 - top) * scale)
    pen.rectangle((*low, *high), outline=(0, 0, 0), width=4)
    pen.rectangle((*low, *high), outline=_FRAMES[case.outcome], width=2)
    return picture


def is_dark(picture: Image.Image) -> bool:
    """Whether a picture was taken with little light."""
    return ImageStat.Stat(picture.convert("L")).mean[0] < _DARK_MEAN


def with_lightened(picture: Image.Image) -> Image.Image:
    """A dark picture with the same lightened below it; any other one as it is."""
    if not is_dark(picture):
        return picture
    light = ImageOps.autocontrast(picture, cutoff=1, preserve_tone=True)
    # A square root lifts what is dark and keeps black and white.
    light = light.point([round(255 * (level / 255) ** 0.5) for level in range(256)] * 3)
    both = Image.new("RGB", (picture.width, 2 * picture.height + _GAP), _PAGE)
    both.paste(picture, (0, 0))
    both.paste(light, (0, picture.height + _GAP))
    return both


def _start(middle: float, side: int, length: int) -> int:
    """Where a stretch around a point begins: within the image, or the image in its middle."""
    if side >= length:
        return -((side - length) // 2)
    return min(max(0, round(middle - side / 2)), length - side)
