"""Every HTTP request of this process to MLflow, in order, with the line of ours that made it."""

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import requests

from guardianflow.mlflow_store.artifacts import verify_version

_CHECKOUT = Path(__file__).resolve().parents[1]
_OURS = str(_CHECKOUT / "guardianflow") + os.sep
# From its threads too: now and then it asks the server how it may download.
_FILES = os.sep + str(Path("mlflow", "store", "artifact")) + os.sep


@dataclass(frozen=True)
class Call:
    """One HTTP request."""

    method: str
    path: str
    line: str
    """The lines of ours that led to it, innermost first, or '' from a thread of MLflow's."""
    took_s: float
    of_files: bool
    """Whether it was made to check files, or their content."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Record the requests of a block; also those of threads that MLflow starts in it."""
    calls: list[Call] = []
    lock = threading.Lock()
    original = requests.Session.request

    def request(
        session: requests.Session, method: str, url: str, *args: Any, **kwargs: Any
    ) -> requests.Response:
        lines, of_files = _ours(sys._getframe(1))
        began = time.perf_counter()
        try:
            return original(session, method, url, *args, **kwargs)
        finally:
            path = urlsplit(url).path
            took = time.perf_counter() - began
            with lock:
                calls.append(Call(method.upper(), path, lines, took, of_files))

    with patch.object(requests.Session, "request", request):
        yield calls


def table(calls: Sequence[Call]) -> list[dict[str, object]]:
    """The requests as data: how often which, in the order of their first."""
    counted = Counter(str(call) for call in calls)
    return [{"call": call, "times": times} for call, times in counted.items()]


def _ours(frame: FrameType | None) -> tuple[str, bool]:
    found: list[str] = []
    of_files = False
    while frame is not None:
        code = frame.f_code
        of_files = of_files or _FILES in code.co_filename
        if code.co_filename.startswith(_OURS):
            file = code.co_filename.removeprefix(_OURS)
            found.append(f"{file}:{frame.f_lineno} {code.co_name}")
            of_files = of_files or code.co_name == verify_version.__name__
        frame = frame.f_back
    return " < ".join(found), of_files
