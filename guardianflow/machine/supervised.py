"""Starts a program of other people, and ends all of it when the process that asked for it is gone.

    python -I supervised.py PIPE MEMORY PROCESSORS PROGRAM [ARGUMENT ...]

`supervision` starts it as the leader of a session of its own, by its path: it needs nothing but the
standard library, and believes no variable of Python in the program's environment. PIPE is a file
descriptor whose other end only the process that asked holds, so that it closes with that process,
however that ends.
"""

import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress

# As a shell says it.
_NOT_STARTED, _BY_SIGNAL = 127, 128


def main() -> int:
    """Be the supervisor; the exit code is that of the program, or 128 and its signal."""
    pipe, memory, processors = map(int, sys.argv[1:4])
    # The program gets it too, and may use it to keep what it has; a handler is not inherited.
    signal.signal(signal.SIGTERM, lambda *_: None)
    _limit(memory, processors)
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    try:
        code = subprocess.Popen(sys.argv[4:], stdin=subprocess.DEVNULL).wait()
    except OSError as error:
        print(f"{sys.argv[4]} cannot be started: {error.strerror}", file=sys.stderr, flush=True)
        return _NOT_STARTED
    return code if code >= 0 else _BY_SIGNAL - code


def _limit(memory: int, processors: int) -> None:
    """Set the limits that the kernel enforces on each process from here on."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lowest = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, lowest))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if processors and sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])


def _end_with(pipe: int) -> None:
    """Kill the whole group, this process included, as soon as the pipe is closed."""
    with suppress(OSError):
        os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
