"""`guardianflow dataset check`: find everything that is wrong with a data set, before training."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.output import Meter, Output, OutputOption
from guardianflow.errors import InputError
from guardianflow.vision.data.findings import DataFinding, errors, in_order, readable
from guardianflow.vision.data.rules import ALIKE, FaultCode

if TYPE_CHECKING:
    from guardianflow.vision.data.checker import CheckResult
    from guardianflow.vision.data.contamination import DuplicatePair

_BAD_INPUT = 2
commands = typer.Typer(no_args_is_help=True, help="Check, split and convert data sets.")


class Use(StrEnum):
    """What a data set is to be used for."""

    TRAINING = "training"
    WINDOW = "window"


# A window is measured on, as what was trained before is: nothing is learned from it.
_TOLERATED: Mapping[Use, tuple[FaultCode, ...]] = {Use.TRAINING: (), Use.WINDOW: ALIKE}
_NEEDS = {Use.TRAINING: ("train", "val", "test"), Use.WINDOW: ("test",)}
_WORDS = {Use.TRAINING: "training", Use.WINDOW: "check-health"}


@commands.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder with data.yaml, or the YAML file.")],
    root: Annotated[Path | None, typer.Option(help="Override `path:` in data.yaml.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes of the scenario, e.g. person,helmet.")
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="Name of a class in data.yaml: SCENARIO=DATA."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Data set whose test split must not be among the training images."),
    ] = None,
    use: Annotated[
        Use, typer.Option("--for", help="Intended use; a window needs only a test split.")
    ] = Use.TRAINING,
    near_known: Annotated[
        bool,
        typer.Option(
            "--near-known",
            help="Allow near duplicates, like `near_duplicates: known` in a scenario.",
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page with a picture of each finding.")
    ] = None,
    *,
    out: OutputOption,
) -> None:
    """Check a YOLO data set; exit code 2 if training would refuse it. Changes no file.

    [bold]Examples[/]

    guardianflow dataset check ~/data/ppe --report check.html

    guardianflow dataset check ~/data/new --against ~/data/frozen --classes person,helmet
    """
    wanted = [name.strip() for name in classes.split(",")] if classes else None
    if report is not None:
        _require_place(report)
    mapping = _mapping(mapped or (), wanted)
    tolerated = {*_TOLERATED[use], *((FaultCode.IMAGE_NEARLY_TWICE,) if near_known else ())}
    with out.meter() as show:
        checked, pairs = _check(path, wanted, mapping, root, use, tolerated, against, show)
        if report is not None:
            _write(checked, pairs, report)
    wrong = len(errors(checked.findings))
    if out.as_json:
        out.result(_answer(checked, pairs, wrong, report))
    else:
        _tell(out, checked, wrong, use, report)
    if wrong:
        raise typer.Exit(_BAD_INPUT)


def _mapping(words: Sequence[str], wanted: Sequence[str] | None) -> dict[str, str]:
    """What was given as --map; each is SCENARIO=DATA with a class of the scenario."""
    pairs = [word.partition("=") for word in words]
    for name, sign, called in pairs:
        if not sign or not called.strip() or name.strip() not in (wanted or ()):
            raise InputError(
                f"--map {name}{sign}{called} is not CLASS=NAME with a class of --classes.",
                remedy="Write --classes person,helmet --map helmet=Hardhat.",
                value=name,
            )
    return {name.strip(): called.strip() for name, _, called in pairs}


def _check(
    path: Path,
    classes: list[str] | None,
    mapping: dict[str, str],
    root: Path | None,
    use: Use,
    tolerated: Collection[FaultCode],
    against: Path | None,
    show: Meter,
) -> tuple["CheckResult", tuple["DuplicatePair", ...]]:
    """Check a data set; what is alike in it, and in the evaluation set, where one was given."""
    from guardianflow.vision.data.checker import check_dataset
    from guardianflow.vision.data.contamination import find_duplicates, find_leaks, leak_findings
    from guardianflow.vision.data.dataset import open_dataset

    checked = check_dataset(
        path,
        classes,
        mapping=mapping,
        base=root,
        needs=_NEEDS[use],
        tolerated=tolerated,
        frozen=use is Use.WINDOW,
        on_progress=lambda p: show(p.step, p.done, p.total),
    )
    pairs = find_duplicates(checked.splits)
    if against is not None:
        other = open_dataset(against)
        leaks = find_leaks(checked.splits, f"test split of {against}", other.samples("test"))
        checked = replace(checked, findings=(*checked.findings, *leak_findings(leaks)))
        pairs = (*leaks, *pairs)
    return checked, pairs


def _require_place(report: Path) -> None:
    """Refuse a place where no report can be written, before anything is checked."""
    if report.parent.is_dir() and not report.is_dir():
        return
    wrong = (
        "is a folder" if report.is_dir() else f"cannot be written: {report.parent} is not a folder"
    )
    raise InputError(
        f"The report {report} {wrong}.",
        remedy="Name a file in a folder that exists, e.g. --report check.html.",
        value=str(report),
    )


def _write(checked: "CheckResult", pairs: tuple["DuplicatePair", ...], report: Path) -> None:
    from guardianflow.vision.data.report_page import write_page

    try:
        write_page(checked, report, pairs)
    except OSError as error:
        raise InputError(
            f"The report {report} cannot be written ({error.strerror}).",
            remedy="Name a file in a folder that you may write to.",
            value=str(report),
        ) from error


def _answer(
    checked: "CheckResult", pairs: tuple["DuplicatePair", ...], wrong: int, report: Path | None
) -> dict[str, object]:
    from guardianflow.vision.data.contamination import report_contamination
    from guardianflow.vision.data.summary import figures_by_split

    return {
        "root": readable(checked.root),
        "classes": list(checked.classes),
        "usable": not wrong,
        "errors": wrong,
        "warnings": len(checked.findings) - wrong,
        "splits": {split: asdict(one) for split, one in figures_by_split(checked).items()},
        "findings": [finding.model_dump(mode="json") for finding in in_order(checked.findings)],
        "contamination": report_contamination(pairs, checked.splits).model_dump(mode="json"),
        "report": str(report) if report else None,
    }


def _tell(out: Output, checked: "CheckResult", wrong: int, use: Use, report: Path | None) -> None:
    from guardianflow.vision.data.summary import figures_by_split

    root = readable(checked.root)
    figures = figures_by_split(checked)
    if figures:
        images = ["images (usable)", *(f"{one.images} ({one.usable})" for one in figures.values())]
        rows = [[name, *(one.boxes[name] for one in figures.values())] for name in checked.classes]
        out.table(root, ["", *figures], [images, *rows])
    counts: Counter[str] = Counter()
    first: dict[str, DataFinding] = {}
    listed = in_order(checked.findings)
    for one in listed:
        first.setdefault(one.code, one)
        counts[one.code] += one.count
    columns = ["", "code", "count", "first", "what to do"]
    cells = [
        (
            one.severity,
            code,
            counts[code],
            f"{one.location.removeprefix(f'{root}/')}: {one.what}",
            one.remedy,
        )
        for code, one in first.items()
    ]
    if cells:
        out.table("Findings", columns, cells)
    judged = "cannot be used as it is" if wrong else f"can be used for {_WORDS[use]}"
    odd = len(listed) - wrong
    out.say(f"{_counted(wrong, 'error')}, {_counted(odd, 'warning')}: {judged}")
    out.remark(f"report: {report}" if report else "--report FILE.html shows each with its picture")


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
