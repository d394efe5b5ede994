"""Progress of long steps: runners report it, the command line and flows show it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_PAUSE_S = 0.5


@dataclass(frozen=True)
class Progress:
    """The progress of one step.

    Attributes:
        step: What is being done, e.g. `train`.
        message: The latest figure for people, or ''.
        remark: Something to be said once, e.g. where a training resumes; or ''.
    """

    step: str
    done: int
    total: int
    message: str = ""
    remark: str = ""


class Reporter:
    """Passes progress on, at most twice a second; the end of a step is always passed on."""

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self._show = on_progress
        self._step = ""
        self._last = 0.0

    def __call__(
        self, step: str, done: int, total: int, message: str = "", *, remark: str = ""
    ) -> None:
        """Report the progress of `step`."""
        now = time.monotonic()
        due = step != self._step or done >= total or remark or now - self._last >= _PAUSE_S
        if self._show is not None and due:
            self._step, self._last = step, now
            self._show(Progress(step, done, total, message, remark))
