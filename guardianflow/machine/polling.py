"""Looks again and again until something has happened, for a limited time."""

from collections.abc import Callable
from typing import Any, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_not_result,
    stop_after_delay,
    stop_never,
    wait_fixed,
)

Seen = TypeVar("Seen")


def look_until(
    look: Callable[[], Seen],
    is_enough: Callable[[Seen], object] = bool,
    *,
    every_s: float,
    timeout_s: float | None,
) -> Seen:
    """Look until what is seen is enough, or the time is over; return what was seen last.

    By default anything at all is enough. Without `timeout_s` it looks for ever.
    """
    looking = Retrying(
        retry=retry_if_not_result(lambda seen: bool(is_enough(seen))),
        wait=wait_fixed(every_s),
        stop=stop_never if timeout_s is None else stop_after_delay(timeout_s),
        retry_error_callback=_seen_last,
    )
    return looking(look)


def _seen_last(state: RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()
