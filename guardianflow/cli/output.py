"""What commands print: results on stdout, progress and remarks on stderr, or JSON alone."""

import getpass
import json
import os
import re
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Protocol, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table

from guardianflow.machine.servers import without_secrets
from guardianflow.wording.printable import printable

if TYPE_CHECKING:
    from guardianflow.evaluation.gate import GateReport

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON alone, errors included.")]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask at the terminal.")]

# A file or a pipe has no width: nothing may be cut off or wrapped for it.
_WIDE = 240
# Signs that JSON leaves as they are, and some terminals obey.
_OBEYED = re.compile(r"[\x7f-\x9f]")


class Terminal(Console):
    """A console on which nothing that somebody typed is more than text.

    Whatever is printed passes here, cells of tables and steps of progress too; the colours and
    the cursor of rich itself are no text and stay.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich does, without what a terminal would obey."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


stderr = Terminal(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)
stdout = Terminal(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


class Meter(Protocol):
    """Told what is being done, how much of it is done, and how much there is."""

    def __call__(self, step: str, done: int, total: int, /) -> None:
        """Show it."""
        ...


def remark(text: str, *, style: str | None = None) -> None:
    """A remark for people; never on stdout, where a program may be listening."""
    stderr.print(escape(text), style=style, soft_wrap=True)


def print_result(data: Mapping[str, object] | Sequence[object], *, as_json: bool) -> None:
    """The machine's answer of a command, where it was asked for."""
    if as_json:
        text = json.dumps(data, indent=1, default=str, ensure_ascii=False)
        text = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
        # Half a character, as in the name of a file, is none that could be written.
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def print_error(error: Mapping[str, object], *, as_json: bool) -> None:
    """One paragraph on stderr, or the error as JSON on stdout; never with a secret in it."""
    error = {key: _scrubbed(value) for key, value in error.items()}
    if as_json:
        print_result({"error": error}, as_json=True)
        return
    text = f"{error['message']} {error['remedy']}".strip()
    stderr.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)


def _scrubbed(value: object) -> object:
    """A value of an error, without the secrets that it may repeat."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {key: _scrubbed(one) for key, one in cast("Mapping[str, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_scrubbed(one) for one in cast("Sequence[object]", value)]
    return value


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people on stdout; nothing is cut off when stdout is a file."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in columns:
        # Names are folded, never cut: half a model name is nobody's model.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*["-" if cell is None else escape(str(cell)) for cell in row])
    stdout.print(table)


def print_gate(gate: "GateReport") -> None:
    """What every rule of the gate says, as a table; its sentences begin with the model's name."""
    print_table(
        f"Gate {gate.outcome}",
        ("rule", "says", "why"),
        [(reason.rule, reason.outcome, reason.message) for reason in gate.reasons],
    )


def at_terminal() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask at a terminal; in a script the command itself is the decision."""
    if yes or not at_terminal():
        return True
    return typer.confirm(printable(question), default=False, err=True)


def actor() -> str:
    """Who gives the command, as far as this machine knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{os.uname().nodename} (CLI)"


@contextmanager
def meter(*, quiet: bool) -> Generator[Meter, None, None]:
    """A progress bar on stderr; a line per step where stderr is no terminal."""
    if quiet:
        yield lambda _step, _done, _total: None
        return
    if not stderr.is_terminal:
        seen: set[str] = set()

        def line(step: str, done: int, total: int) -> None:
            if step not in seen:
                seen.add(step)
                remark(f"{step} ({total})" if done < total else step)

        yield line
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=False,
    ) as progress:
        tasks: dict[str, int] = {}

        def bar(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(escape(step), total=total)
            progress.update(progress.task_ids[tasks[step]], completed=done, total=total)

        yield bar
