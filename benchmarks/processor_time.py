"""Training by processor time: a process is charged for what it and its children computed.

    probe: a short and a longer run --> Cost(start, epoch) --> epochs that end within a budget

Processor seconds, not seconds on the clock: another process on the machine then takes nothing from
either side of a comparison, but for the caches and the hyperthreads that they share.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from guardianflow.errors import GuardianflowError


@dataclass(frozen=True)
class Spent:
    """What one process took, with all of its children that it waited for."""

    processor_s: float
    wall_s: float


@dataclass(frozen=True)
class Cost:
    """What a training costs: the start and the end of the process, and every epoch."""

    start_s: float
    epoch_s: float

    def epochs_within(self, budget_s: float) -> int:
        """How many epochs come closest to the budget, at least one."""
        return max(1, round((budget_s - self.start_s) / self.epoch_s))


def charged(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str], folder: Path
) -> Spent:
    """Run a command to its end; what it prints goes to a file.

    Raises:
        GuardianflowError: It failed; with the end of what it printed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=dict(environment), cwd=folder
        )
        # wait4 tells the processor time of this one child; `getrusage` sums up all of them.
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace")[-1500:]
        raise GuardianflowError(
            f"`{' '.join(command[:6])} ...` ended with {process.returncode}, and said: {said}",
            remedy=f"Read {log}.",
        )
    return Spent(round(usage.ru_utime + usage.ru_stime, 2), round(time.monotonic() - began, 2))


def probe(
    train: Callable[[int], Spent], sizes: tuple[int, int]
) -> tuple[Cost, dict[str, dict[str, float]]]:
    """Learn what a training costs from two short ones.

    Args:
        train: Trains for so many epochs.
        sizes: For how many, the shorter one first.

    Returns:
        The cost, and what each of the two took.
    """
    short, longer = (train(epochs) for epochs in sizes)
    epoch = (longer.processor_s - short.processor_s) / (sizes[1] - sizes[0])
    start = max(0.0, short.processor_s - sizes[0] * epoch)
    spent = {str(epochs): asdict(one) for epochs, one in zip(sizes, (short, longer), strict=True)}
    return Cost(round(start, 2), round(epoch, 3)), spent
