"""`guardianflow dataset split` and `convert`: write YOLO sets that training takes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.output import Output, OutputOption
from guardianflow.errors import InputError
from guardianflow.vision.data.findings import readable, shell_command

if TYPE_CHECKING:
    from guardianflow.vision.data.conversion import ConversionResult
    from guardianflow.vision.data.splitting import SplitResult, SplitShares

_ValShare = Annotated[float, typer.Option("--val", help="Share of the images for val.")]
_TestShare = Annotated[float, typer.Option("--test", help="Share of the images for test.")]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed makes the same splits.")]
_Anew = Annotated[
    bool, typer.Option("--anew", help="Assign all images again, whatever split they are in.")
]
_NearKnown = Annotated[
    bool,
    typer.Option(
        "--near-known",
        help="Leave near duplicates in their splits, like `near_duplicates: known` in a scenario.",
    ),
]


def split(
    path: Annotated[Path, typer.Argument(help="Folder with data.yaml, or the YAML file.")],
    to: Annotated[Path, typer.Argument(help="New folder, e.g. PATH/split.")],
    val: _ValShare = 0.15,
    test: _TestShare = 0.15,
    seed: _Seed = 0,
    anew: _Anew = False,
    near_known: _NearKnown = False,
    root: Annotated[Path | None, typer.Option(help="Override `path:` in data.yaml.")] = None,
    *,
    out: OutputOption,
) -> None:
    """Make the missing splits of a data set, and bring duplicates into one split.

    Moves no image: TO gets data.yaml and a list of images for each split.

    [bold]Examples[/]

    guardianflow dataset split ~/data/ppe ~/data/ppe/split

    guardianflow dataset split ~/data/ppe ~/data/ppe/split --anew
    """
    from guardianflow.vision.data.splitting import split_dataset

    shares = _shares(val, test, seed)
    with out.meter() as show:
        made = split_dataset(
            path,
            to,
            shares,
            base=root,
            anew=anew,
            near_known=near_known,
            on_progress=lambda p: show(p.step, p.done, p.total),
        )
    _tell(out, made, to, seed=seed, near_known=near_known)


def convert(
    path: Annotated[Path, typer.Argument(help="Folder of the export, or its annotation file.")],
    to: Annotated[Path, typer.Argument(help="New folder.")],
    val: _ValShare = 0.15,
    test: _TestShare = 0.15,
    seed: _Seed = 0,
    anew: _Anew = False,
    near_known: _NearKnown = False,
    *,
    out: OutputOption,
) -> None:
    """Convert COCO, VOC, CVAT, Label Studio, Supervisely, NDJSON or a class list to a YOLO set.

    Copies the images. If the export has no val or test, makes them as `split` does; brings
    duplicates into one split.

    [bold]Examples[/]

    guardianflow dataset convert ~/Downloads/coco ~/data/ppe
    """
    from guardianflow.vision.data.conversion import convert_dataset

    shares = _shares(val, test, seed)
    with out.meter() as show:
        made = convert_dataset(
            path,
            to,
            shares,
            anew=anew,
            near_known=near_known,
            on_progress=lambda p: show(p.step, p.done, p.total),
        )
    extra = {"kind": made.kind, "left_out": dict(made.left_out)}
    _tell(out, made, to, seed=seed, near_known=near_known, **extra)
    for what, count in made.left_out.items():
        out.remark(f"left out: {count} {what}")


def _shares(val: float, test: float, seed: int) -> "SplitShares":
    """How much is kept apart, of which something must be left to learn from."""
    from guardianflow.vision.data.splitting import SplitShares

    if not (0 < val < 0.5 and 0 < test < 0.5):
        raise InputError(
            f"--val {val} --test {test}: each must be above 0 and below 0.5.",
            remedy="Training gets the rest.",
        )
    return SplitShares(val, test, seed)


def _tell(
    out: Output,
    made: "SplitResult | ConversionResult",
    to: Path,
    *,
    seed: int,
    near_known: bool,
    **extra: object,
) -> None:
    from guardianflow.vision.data.summary import figures_by_split

    counts = figures_by_split(made.checked)
    if out.as_json:
        splits = {split: asdict(figures) for split, figures in counts.items()}
        how = {"drawn": list(made.drawn), "moved": made.moved}
        out.result({"path": readable(to), "splits": splits, **extra, **how})
        return
    classes = made.checked.classes
    rows = [[name, *(one.boxes[name] for one in counts.values())] for name in classes]
    images = ["images", *(one.images for one in counts.values())]
    out.table(readable(to), ["", *counts], [images, *rows])
    if made.moved:
        leave = "" if near_known else "; --near-known leaves near duplicates where they are"
        out.remark(f"images moved to the split of their duplicates: {made.moved}{leave}")
    if made.drawn:
        out.remark(f"drawn with seed {seed}: {', '.join(made.drawn)}")
    known = ("--near-known",) if near_known else ()
    check = shell_command("guardianflow", "dataset", "check", to, *known)
    out.remark(f"next: {check} --report check.html")
