"""What commands print: results on stdout, progress and remarks on stderr, or only JSON."""

import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from guardianflow.machine.servers import without_secrets
from guardianflow.wording.language import Language
from guardianflow.wording.printable import printable

if TYPE_CHECKING:
    from guardianflow.evaluation.gate import GateReport
    from guardianflow.registry import Move


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


Meter = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


class Output:
    """Prints what a command has to say: for people, or as JSON for a program.

    People read results on stdout; remarks, progress and errors on stderr. As JSON there is only
    the result or the error, on stdout.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def say(self, text: str | Text, *, style: str | None = None) -> None:
        """Print a line of the result for people."""
        if not self.as_json:
            stdout.print(text, style=style, soft_wrap=True, markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table for people; nothing is cut off when stdout is a file."""
        if self.as_json:
            return
        table = Table(title=escape(title), title_justify="left", title_style="bold")
        for column in columns:
            # Names are folded, never cut: half a model name is nobody's model.
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*["-" if cell is None else escape(str(cell)) for cell in row])
        stdout.print(table)

    def gate(self, gate: "GateReport") -> None:
        """Print what every rule of the gate says; its sentences begin with the model's name."""
        self.table(
            f"Gate {gate.outcome}",
            ("rule", "says", "why"),
            [(reason.rule, reason.outcome, reason.message) for reason in gate.reasons],
        )

    def moves(self, title: str, moves: "Sequence[Move]") -> None:
        """Print what moves, or has moved, from which version to which."""
        rows = [(f"@{move.alias}", move.name, move.before, move.after) for move in moves]
        if rows:
            self.table(title, ("alias", "model", "from", "to"), rows)

    def remark(self, text: str, *, style: str | None = None, always: bool = False) -> None:
        """Print a remark for people on stderr; `always` also beside JSON."""
        if always or not self.as_json:
            stderr.print(escape(text), style=style, soft_wrap=True)

    def notes(self, warnings: Iterable[str]) -> None:
        """Print what a person should know beside what moves; records of the rotation in words."""
        from guardianflow.promotion.recorded_messages import is_for_engineers, recorded_in_words

        for one in warnings:
            said = recorded_in_words(one, Language.EN) if is_for_engineers(one) else one
            self.remark(f"  note: {said}", style="yellow")

    def asks(self, *, yes: bool) -> bool:
        """Whether a person is asked first; in a script the command itself is the decision."""
        return not (yes or self.as_json) and at_terminal()

    def confirmed(self, question: str, *, yes: bool) -> bool:
        """Ask, where somebody can be asked, and say whether it is to be done."""
        if not self.asks(yes=yes):
            return True
        return typer.confirm(printable(question), default=False, err=True)

    @contextmanager
    def meter(self, *, quiet: bool = False) -> Generator[Meter, None, None]:
        """Show progress on stderr: a bar, or a line per step where stderr is no terminal."""
        if self.as_json or quiet:
            yield lambda _step, _done, _total: None
        elif stderr.is_terminal:
            with _bars() as show:
                yield show
        else:
            yield self._lines()

    def _lines(self) -> Meter:
        seen: set[str] = set()

        def line(step: str, done: int, total: int) -> None:
            if step not in seen:
                seen.add(step)
                self.remark(f"{step} ({total})" if done < total else step)

        return line

    def result(self, data: Mapping[str, object] | Sequence[object]) -> None:
        """Print the answer of a command for a program, where JSON was asked for."""
        if self.as_json:
            text = json.dumps(data, indent=1, default=str, ensure_ascii=False)
            text = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
            # Half a character, as in the name of a file, is none that could be written.
            sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")

    def error(self, error: Mapping[str, object]) -> None:
        """Print one paragraph on stderr, or the error as JSON; never with a secret in it."""
        error = {key: _scrubbed(value) for key, value in error.items()}
        self.result({"error": error})
        if not self.as_json:
            text = f"{error['message']} {error['remedy']}".strip()
            stderr.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)


def _output(context: typer.Context, as_json: bool) -> Output:
    # `guardianflow --json models` means the same as `guardianflow models --json`.
    before = context.parent and context.parent.params.get("out")
    return Output(as_json=as_json or (isinstance(before, Output) and before.as_json))


if TYPE_CHECKING:
    OutputOption = Output
else:
    # typer makes a flag of a bool only; the callback turns it into what the command prints with.
    OutputOption = Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print only JSON, errors included.",
            default_factory=bool,
            show_default=False,
            callback=_output,
        ),
    ]


@contextmanager
def _bars() -> Generator[Meter, None, None]:
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


def _scrubbed(value: object) -> object:
    """A value of an error, without the secrets that it may repeat."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {key: _scrubbed(one) for key, one in cast("Mapping[str, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_scrubbed(one) for one in cast("Sequence[object]", value)]
    return value


def at_terminal() -> bool:
    """Whether a person sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def actor() -> str:
    """Who gives the command, as far as this machine knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{os.uname().nodename} (CLI)"
