"""The pictures of a measured detector: curves, confusion, and crops of right and wrong boxes."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps, ImageStat

from guardianflow.vision.data.dataset import load_image
from guardianflow.vision.data.sample import Sample
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
    Outcome.TRUE: "found, the least certain first",
    Outcome.MISSED: "missed: labelled but not shown; lowest scores first, then the largest",
    Outcome.FALSE: "false alarms: shown but not labelled; the most certain first",
}
_TILE = 216
_CAPTION = 34
_COLUMNS = 6
_MAX_CROPS = 24
_GAP = 6
_HEADER = 28
# Context around a box, as a share of its longer side, and the smallest crop in pixels.
_CONTEXT = 0.8
_MIN_SIDE = 48
# Mean grey level, 0..255: drawn nights have 27 to 47 and drawn days 110 to 131; one in twenty
# photographs by day has less than 58.
_DARK_MEAN = 60.0
_PAGE, _INK = (24, 26, 30), (235, 235, 235)
# A light line on a dark one is visible on any picture; the sheet's title names the outcome.
_FRAMES = {
    Outcome.TRUE: (86, 180, 233),
    Outcome.MISSED: (255, 255, 255),
    Outcome.FALSE: (230, 159, 0),
}


def draw_album(
    seen: Seen, samples: Sequence[Sample], classes: Sequence[str], folder: Path
) -> SortedCases:
    """Draw all pictures of `FILES` into a folder, and return the cases in them."""
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
    """Draw the worst cases of one outcome, each cropped with some context and captioned."""
    cases = judged.of(outcome)
    chosen = cases[:_MAX_CROPS]
    rows = max(1, -(-len(chosen) // _COLUMNS))
    height = _HEADER + rows * (_TILE + _CAPTION + _GAP) + _GAP
    sheet = Image.new("RGB", (_COLUMNS * (_TILE + _GAP) + _GAP, height), _PAGE)
    pen = ImageDraw.Draw(sheet)
    heading = f"{_TITLES[outcome]}: {len(chosen)} of {len(cases)}"
    pen.text((_GAP, 5), heading if cases else f"{heading} (none)", _INK, font_for(15))
    names = drawn_names(classes)
    for index, case in enumerate(chosen):
        left = _GAP + index % _COLUMNS * (_TILE + _GAP)
        top = _HEADER + index // _COLUMNS * (_TILE + _CAPTION + _GAP)
        sheet.paste(crop(case, samples[case.image]), (left, top))
        score = "" if outcome is Outcome.MISSED else f" {case.score:.2f}"
        words = f"{names[case.label]}{score}\n{case.why}"
        small = font_for(12, words)
        pen.multiline_text((left + 2, top + _TILE + 2), words, _INK, small, spacing=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "JPEG", quality=88)
    return path


def crop(case: Case, sample: Sample) -> Image.Image:
    """Return a square crop around a box, inside the image if it is large enough, with a frame."""
    x1, y1, x2, y2 = case.box.tolist()
    width, height = sample.size
    wanted = max(_MIN_SIDE, (1 + 2 * _CONTEXT) * max(x2 - x1, y2 - y1))
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
    """Return whether a picture was taken in little light."""
    return ImageStat.Stat(picture.convert("L")).mean[0] < _DARK_MEAN


def with_lightened(picture: Image.Image) -> Image.Image:
    """Return a dark picture with a lightened copy below it, and any other picture unchanged."""
    if not is_dark(picture):
        return picture
    light = ImageOps.autocontrast(picture, cutoff=1, preserve_tone=True)
    # A square root brightens dark levels and keeps black and white.
    light = light.point([round(255 * (level / 255) ** 0.5) for level in range(256)] * 3)
    both = Image.new("RGB", (picture.width, 2 * picture.height + _GAP), _PAGE)
    both.paste(picture, (0, 0))
    both.paste(light, (0, picture.height + _GAP))
    return both


def _start(middle: float, side: int, length: int) -> int:
    """The start of a crop around a point: inside the image, or with the image in its middle."""
    if side >= length:
        return -((side - length) // 2)
    return min(max(0, round(middle - side / 2)), length - side)
