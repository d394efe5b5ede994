"""Writes the report of a check as one HTML file: figures, findings with pictures, examples.

The file contains its pictures and no script. Text from the data set is escaped.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from guardianflow import __version__
from guardianflow.errors import DatasetInvalid
from guardianflow.machine.disk import write_whole
from guardianflow.vision.data.checker import CheckResult
from guardianflow.vision.data.contamination import DuplicatePair, Likeness
from guardianflow.vision.data.decoding import load_image
from guardianflow.vision.data.findings import DataFinding, errors, in_order, readable
from guardianflow.vision.data.rules import FaultSeverity
from guardianflow.vision.data.sample import Sample
from guardianflow.vision.data.summary import (
    SplitFigures,
    box_sizes,
    boxes_by_image,
    figures_by_split,
    image_sizes,
)

_EXAMPLES = 12
_PICTURES_PER_CODE = 6
_PLACES_PER_CODE = 40
_PAIRS = 24
_SIDE = 360
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# Okabe and Ito's palette, which colour-blind people can distinguish.
_PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
    "#f0e442",
    "#8c8c8c",
)

# For light and dark, narrow and wide screens.
_SHEET = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff;
  --card: #f6f8fa; --line: #d0d7de; --error: #b42318; --warning: #8a5a00; --fine: #1a7f37;
  --bar: #4c78a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa4af; --paper: #0f1216;
  --card: #181d23; --line: #333b45; --error: #ff8a7a; --warning: #f0b64c; --fine: #56d364;
  --bar: #7aa6d6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .25rem 0; }
code, .path { font: .86em/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.verdict { font-weight: 600; }
.error { color: var(--error); } .warning { color: var(--warning); } .fine { color: var(--fine); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .75rem 1rem; margin: .75rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 7rem; }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--line); }
.swatch { display: inline-block; width: .75em; height: .75em; border-radius: 2px;
  margin-right: .4em; }
ul { margin: .5rem 0; padding-left: 1.1rem; }
li { margin: .2rem 0; }
.charts { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
.charts svg { width: 100%; height: auto; display: block; }
.charts rect { fill: var(--bar); } .charts text { fill: var(--soft); font: 11px system-ui; }
.pictures { display: grid; gap: .75rem; margin: .75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); }
figure { margin: 0; min-width: 0; }
figure svg { width: 100%; height: auto; display: block; border-radius: 4px; background: #000; }
figure rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
figcaption { font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; align-items: start; }
.pair figcaption { grid-column: 1 / -1; }
.lost { display: grid; place-items: center; aspect-ratio: 4/3; border: 1px dashed var(--line);
  border-radius: 4px; color: var(--soft); font-size: .85rem; text-align: center; padding: .5rem; }
summary { cursor: pointer; }
"""


def write_page(checked: CheckResult, path: Path, pairs: Sequence[DuplicatePair] = ()) -> Path:
    """Write the report of a check atomically, as a file in an existing folder.

    The pairs are duplicates across splits or data sets.

    Raises:
        DiskFull: The disk is full.
        OSError: The file cannot be written.
    """
    write_whole(path, "\n".join(_page(checked, pairs)).encode())
    return path


def _page(checked: CheckResult, pairs: Sequence[DuplicatePair]) -> Iterator[str]:
    name = escape(readable(checked.root.name))
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{name}: data set check</title><style>{_style_sheet()}</style></head><body>"
    yield f'<h1>{name}</h1><p class="path soft">{escape(readable(checked.root))}</p>'
    yield _verdict(checked.findings)
    figures = figures_by_split(checked)
    if figures:
        yield from _counts(checked.classes, figures)
        yield from _charts([s for samples in checked.splits.values() for s in samples])
    known = {str(s.image): s for samples in checked.splits.values() for s in samples}
    yield from _findings(checked, known)
    if pairs:
        yield from _pairs(pairs)
    for split, samples in checked.splits.items():
        yield from _examples(split, samples, checked.classes)
    yield f'<p class="soft">guardianflow {__version__}</p></body></html>'


def _style_sheet() -> str:
    """The whole sheet, with a colour for each class."""
    colours = [
        f".c{index} {{ stroke: {colour}; background: {colour}; }}"
        for index, colour in enumerate(_PALETTE)
    ]
    return _SHEET + "\n".join(colours)


def _verdict(findings: Sequence[DataFinding]) -> str:
    wrong = len(errors(findings))
    odd = len(findings) - wrong
    if wrong:
        text, look = f"Cannot be used: {wrong} errors, {odd} warnings", "error"
    elif odd:
        text, look = f"Can be used; {odd} warnings", "warning"
    else:
        text, look = "No problems found", "fine"
    return f'<p class="verdict {look}">{text}</p>'


def _counts(classes: Sequence[str], figures: Mapping[str, SplitFigures]) -> Iterator[str]:
    yield '<h2>Contents</h2><div class="card wide"><table><thead><tr><th></th>'
    yield "".join(f"<th>{escape(split)}</th>" for split in figures) + "</tr></thead><tbody>"
    rows = {
        "images": [one.images for one in figures.values()],
        "usable images": [one.usable for one in figures.values()],
        "images without objects": [one.empty for one in figures.values()],
    }
    for title, numbers in rows.items():
        yield _row(escape(title), numbers)
    for index, name in enumerate(classes):
        swatch = f'<span class="swatch c{index % len(_PALETTE)}"></span>'
        yield _row(f"{swatch}{escape(name)}", [one.boxes[name] for one in figures.values()])
    yield "</tbody></table></div>"


def _row(title: str, numbers: Sequence[int]) -> str:
    return f"<tr><td>{title}</td>" + "".join(f"<td>{n:,}</td>" for n in numbers) + "</tr>"


def _charts(samples: Sequence[Sample]) -> Iterator[str]:
    yield '<div class="charts">'
    yield _chart("Boxes by size (share of the image's side)", box_sizes(samples))
    yield _chart("Images by number of boxes", boxes_by_image(samples))
    yield _chart("Images by size in pixels", image_sizes(samples))
    yield "</div>"


def _chart(title: str, bars: Sequence[tuple[str, int]]) -> str:
    most = max((count for _, count in bars), default=0) or 1
    lines = [
        f'<text x="96" y="{20 * n + 14}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="102" y="{20 * n + 4}" width="{150 * count / most:.1f}" height="13" rx="2"/>'
        f'<text x="{106 + 150 * count / most:.1f}" y="{20 * n + 14}">{count:,}</text>'
        for n, (name, count) in enumerate(bars)
    ]
    box = f"0 0 310 {20 * len(bars) + 4}"
    svg = f'<svg viewBox="{box}" role="img" aria-label="{escape(title)}">{"".join(lines)}</svg>'
    return f'<div class="card"><h3>{escape(title)}</h3>{svg}</div>'


def _findings(checked: CheckResult, known: Mapping[str, Sample]) -> Iterator[str]:
    yield "<h2>Findings</h2>"
    groups: dict[str, list[DataFinding]] = {}
    for finding in in_order(checked.findings):
        groups.setdefault(finding.code, []).append(finding)
    if not groups:
        yield "<p>None.</p>"
    for findings in groups.values():
        yield from _group(findings, f"{readable(checked.root)}/", checked.classes, known)


def _group(
    findings: Sequence[DataFinding], root: str, classes: Sequence[str], known: Mapping[str, Sample]
) -> Iterator[str]:
    first, code = findings[0], findings[0].code
    look = "error" if first.severity is FaultSeverity.ERROR else "warning"
    total = sum(finding.count for finding in findings)
    yield f'<section class="card" id="{code}"><h3><span class="{look}">{first.severity}'
    yield f"</span> {escape(code.meaning)} <code>{code}</code> × {total:,}</h3>"
    mended = f" What is loaded: {escape(code.repair)}." if code.repair else ""
    yield f'<p class="soft">{escape(first.remedy)}{mended}</p>'
    yield "<details open><summary>Where</summary><ul>"
    for finding in findings[:_PLACES_PER_CODE]:
        place = f'<span class="path">{escape(finding.location.removeprefix(root))}</span>'
        yield f"<li>{place}<br>{escape(finding.what)}</li>"
    if len(findings) > _PLACES_PER_CODE:
        yield f"<li>and {len(findings) - _PLACES_PER_CODE:,} more places</li>"
    yield "</ul></details>"
    images = dict.fromkeys(finding.image for finding in findings if finding.image)
    if images:
        yield '<div class="pictures">'
        for image in list(images)[:_PICTURES_PER_CODE]:
            yield _figure(image, known.get(image), classes)
        yield "</div>"
    yield "</section>"


def _pairs(pairs: Sequence[DuplicatePair]) -> Iterator[str]:
    yield f"<h2>Duplicates across splits × {len(pairs):,}</h2>"
    yield '<div class="pictures">'
    for pair in pairs[:_PAIRS]:
        exact = pair.likeness is Likeness.EXACT
        how = "the same bytes" if exact else f"{pair.distance} of 256 bits apart"
        sides = _drawing(pair.first, None, ()) + _drawing(pair.second, None, ())
        names = f"{pair.first_group}: {Path(pair.first).name} · "
        names += f"{pair.second_group}: {Path(pair.second).name} · {how}"
        yield f'<figure class="pair">{sides}<figcaption>{escape(names)}</figcaption></figure>'
    yield "</div>"


def _examples(split: str, samples: Sequence[Sample], classes: Sequence[str]) -> Iterator[str]:
    if not samples:
        return
    step = max(1, len(samples) // _EXAMPLES)
    yield f"<h2>{escape(split)}: {min(len(samples), _EXAMPLES)} of {len(samples):,} images</h2>"
    yield '<div class="pictures">'
    for sample in samples[::step][:_EXAMPLES]:
        yield _figure(str(sample.image), sample, classes)
    yield "</div>"


def _figure(image: str, sample: Sample | None, classes: Sequence[str]) -> str:
    names = [classes[int(index)] for index in sample.classes] if sample and classes else []
    counted = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
    caption = escape(f"{readable(Path(image).name)} {'· ' + counted if counted else ''}")
    drawing = _drawing(image, sample, classes)
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def _drawing(image: str, sample: Sample | None, classes: Sequence[str]) -> str:
    """A picture with its boxes; an error message if it cannot be read."""
    try:
        picture = Image.fromarray(load_image(Path(image)))
    except DatasetInvalid as error:
        return (
            f'<div class="lost">{escape(error.message.removeprefix(f"{readable(image)}: "))}</div>'
        )
    width, height = picture.size
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=72)
    data = base64.b64encode(buffer.getvalue()).decode()
    href = f"data:image/jpeg;base64,{data}"
    boxes = "".join(_boxes(sample, classes)) if sample else ""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img"><image href="{href}" width="{width}" '
        f'height="{height}" preserveAspectRatio="none"/>{boxes}</svg>'
    )


def _boxes(sample: Sample, classes: Sequence[str]) -> Iterator[str]:
    for (x1, y1, x2, y2), index in zip(sample.boxes.tolist(), sample.classes.tolist(), strict=True):
        title = escape(str(classes[index]) if index < len(classes) else str(index))
        yield (
            f'<rect class="c{index % len(_PALETTE)}" x="{x1:.1f}" y="{y1:.1f}" '
            f'width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"><title>{title}</title></rect>'
        )
