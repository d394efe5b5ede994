"""How far a long step is: what runners report and command line and flows show."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_PAUSE_S = 0.5


@dataclass(frozen=True)
class Progress:
    """How far a step is.

    Attributes:
        step: What is being done, e.g. `train`.
        done: How much of it.
        total: Out of how much.
        message: The latest figure for people, or ''.
        remark: What people have to be told once, e.g. where a training goes on; or ''.
    """

    step: str
    done: int
    total: int
    message: str = ""
    remark: str = ""


class Reporter:
    """Passes progress on, at most twice a second, but never swallows the end of a step."""

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self._show = on_progress
        self._step = ""
        self._last = 0.0

    def __call__(
        self, step: str, done: int, total: int, message: str = "", *, remark: str = ""
    ) -> None:
        """Say how far `step` is."""
        now = time.monotonic()
        due = step != self._step or done >= total or remark or now - self._last >= _PAUSE_S
        if self._show is not None and due:
            self._step, self._last = step, now
            self._show(Progress(step, done, total, message, remark))
