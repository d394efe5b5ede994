"""Follows a flow run: passes on its log, line by line, until it is over or waits for a person."""

import time
from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from guardianflow.errors import OrchestratorUnavailable
from guardianflow.machine.polling import look_until
from guardianflow.prefect_api.flowruns import FlowRunInfo

_POLL_S = 1.0
_PATIENCE_S = 30.0


def follow_run(
    read: Callable[[], FlowRunInfo], pass_on_log: Callable[[], None], timeout_s: float | None
) -> FlowRunInfo:
    """Read a flow run and its log every second until it is over, waits, or the time is.

    Raises:
        OrchestratorUnavailable: The server is away for more than half a minute.
    """

    def look() -> FlowRunInfo:
        info = read()
        pass_on_log()
        return info

    patiently = Retrying(
        retry=retry_if_exception_type(OrchestratorUnavailable),
        wait=wait_fixed(_POLL_S),
        stop=stop_after_delay(_PATIENCE_S),
        reraise=True,
    )
    info = look_until(
        lambda: patiently(look),
        lambda info: info.final or info.waiting,
        every_s=_POLL_S,
        timeout_s=timeout_s,
    )
    # The last lines arrive at the server a moment after the state.
    time.sleep(_POLL_S)
    pass_on_log()
    return info
