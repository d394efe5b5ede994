"""The drill: proves that the way back of a release works, without moving an alias.

    plan the rollback -> for every name that would move:
        version there and READY -> files from the server, verified -> load -> predict
    -> the ledger takes a write that changes nothing -> a harmless write on the model, timed
    -> estimate of a real rollback -> mark on the base model

Everything is tried and every failure is reported: whoever reads it at night wants the whole list.
Files come from the server and not from the local copy, which would prove nothing about them.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from mlflow.entities.model_registry import RegisteredModelTag

from guardianflow.errors import DrillFailed, Refused, VersionNotReady
from guardianflow.evaluation.trial import load_served, look_at, trial_frame
from guardianflow.mlflow_store.artifacts import verified_files
from guardianflow.mlflow_store.client import border, registry_store, write_repeatably
from guardianflow.mlflow_store.registered_models import RegisteredModelInfo
from guardianflow.mlflow_store.rights import require_alias_rights
from guardianflow.monitoring.drill_report import (
    DRILL_TAG,
    DrillReport,
    Estimate,
    LastDrill,
    Step,
    StepName,
)
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, Plan
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import champion_moves

Made = TypeVar("Made")
OnProgress = Callable[[str, int, int], None]


def drill(
    registry: ModelRegistryManager,
    model_name: str | ModelName,
    *,
    on_progress: OnProgress | None = None,
) -> DrillReport:
    """Rehearse a rollback: prove that it would work, and say how long it would take.

    No alias moves, no version changes, no operation is added to the ledger; the tag
    `guardianflow.drill` on the base's registered model keeps what was found.

    Args:
        registry: The registry that knows the release.
        model_name: Base or variant that would be rolled back.
        on_progress: Told which step is tried, and when it is over.

    Raises:
        NoRollbackTarget: There is no way back.
        DrillFailed: There is one, but a rollback would fail; every failure is named.
        Refused: A rollback would be refused now, e.g. AliasDrift or LedgerDamaged.
        RegistryUnavailable: The server went away: nothing is known about the way back.
    """
    name = model_name if isinstance(model_name, ModelName) else ModelName.parse(model_name)
    report = _Drill(registry, name, on_progress or (lambda _what, _done, _total: None)).run()
    if not report.ok:
        raise DrillFailed(report)
    return report


def count_writes(plan: Plan) -> int:
    """How many writes the rollback of a plan makes; a test compares it with a real one.

    One for each alias; on the version that comes back its status, on the one that leaves its
    status and the reason; the operation, its mirror, and that it is done.
    """
    return len(plan.moves) + 3 * len(champion_moves(plan.moves)) + 3


class _Drill:
    """One drill: what was tried so far, in order."""

    def __init__(self, registry: ModelRegistryManager, name: ModelName, show: OnProgress) -> None:
        self._registry = registry
        self._name = name
        self._show = show
        self._began = datetime.now(UTC)
        self._steps: list[Step] = []

    def run(self) -> DrillReport:
        """Try everything, and mark the base model with what was found."""
        plan = self._plan()
        targets = champion_moves(plan.moves)
        for name, (_, version) in sorted(targets.items()):
            self._try_version(ModelName.parse(name), version)
        self._try(StepName.LEDGER, self._name.base, None, self._touch_ledger)
        # Marked twice: how long a rollback would take is known once a write was timed.
        self._try(StepName.WRITE, self._name.base, None, self._first_mark)
        estimate = self._estimate(plan)
        if estimate is not None:
            self._mark(estimate.seconds)
        return DrillReport(
            model_name=self._name.public,
            time=self._began,
            targets=targets,
            steps=tuple(self._steps),
            estimate=estimate,
            warnings=(*plan.warnings, *self._drifted()),
        )

    def _plan(self) -> Plan:
        """What a rollback would move; a refusal of it is kept as what the drill found."""
        refusals: list[Refused] = []
        plan = self._try(StepName.PLAN, self._name, None, self._ask_for_plan, refusals)
        if plan is None:
            # There may be no model to mark, or no right to: the refusal itself counts.
            with suppress(Refused):
                self._mark()
            raise refusals[0]
        if not plan.moves:
            # The same rollback was interrupted: what it was to bring back is half there.
            self._steps[-1] = replace(
                self._steps[-1],
                problem=" ".join(plan.warnings),
                remedy=f"`guardianflow rollback {self._name}` finishes it; drill again then.",
            )
        return plan

    def _ask_for_plan(self) -> tuple[Plan, str]:
        plan = self._registry.plan_rollback(self._name, write=False)
        moved = champion_moves(plan.moves).items()
        back = [f"{name} to version {after}" for name, (_, after) in moved]
        return plan, ", ".join(back)

    def _drifted(self) -> list[str]:
        """What is not where the ledger says: a rollback may lead further back than it names."""
        return [
            f"{found}. `guardianflow doctor {self._name.base}` says what mends it."
            for found in self._registry.drift(self._name)
        ]

    def _try_version(self, name: ModelName, version: int) -> None:
        """Try one version that would come back, as far as one step leaves something to the next."""
        info = self._try(StepName.VERSION, name, version, lambda: self._find(name, version))
        if info is None:
            return
        label = f"{name} version {version}"
        frame = trial_frame(self._registry, info)
        with ExitStack() as stack:
            fetch = verified_files(self._registry.client, info)
            folder = self._try(
                StepName.FILES, name, version, lambda: _describe(stack.enter_context(fetch))
            )
            # What is not what was registered is never loaded: a model is code.
            if folder is None:
                return
            model = self._try(StepName.LOAD, name, version, lambda: load_served(folder, label))
            if model is None:
                return
            self._try(StepName.PREDICT, name, version, lambda: look_at(model, frame, label))

    def _find(self, name: ModelName, version: int) -> tuple[RegisteredModelInfo, str]:
        remedy = (
            f"`guardianflow doctor {name}` says what is left; the next promotion gives it a new "
            "way back."
        )
        try:
            info = self._registry.get_version(name, version)
        except VersionNotReady as error:
            raise VersionNotReady(error.message, remedy=remedy) from error
        if not info.ready:
            raise VersionNotReady(f"{name} version {version} is not READY.", remedy=remedy)
        return info, f"READY, registered {info.created:%Y-%m-%d %H:%M} UTC"

    def _try(
        self,
        step: StepName,
        name: ModelName,
        version: int | None,
        act: Callable[[], tuple[Made, str]],
        refusals: list[Refused] | None = None,
    ) -> Made | None:
        """Do one step and note what it found, or why a rollback would fail there.

        Returns:
            What the step made; None where it failed.
        """
        label = f"{step} of {name}" + ("" if version is None else f" version {version}")
        self._show(label, 0, 1)
        made: Made | None = None
        found = problem = remedy = ""
        began = time.monotonic()
        try:
            made, found = act()
        except Refused as refusal:
            problem, remedy = refusal.message, refusal.remedy
            if refusals is not None:
                refusals.append(refusal)
        seconds = time.monotonic() - began
        self._steps.append(Step(step, name.public, version, seconds, found, problem, remedy))
        self._show(label, 1, 1)
        return made

    def _estimate(self, plan: Plan) -> Estimate | None:
        """How long a rollback would take; None where it would fail anyway."""
        if any(not step.ok for step in self._steps):
            return None

        def seconds(wanted: StepName) -> float:
            return sum(step.seconds for step in self._steps if step.step is wanted)

        return Estimate(
            plan_s=seconds(StepName.PLAN),
            files_s=seconds(StepName.FILES),
            writes=count_writes(plan),
            write_s=seconds(StepName.WRITE),
        )

    def _touch_ledger(self) -> tuple[bool, str]:
        """Write into the ledger what it says already: proves the right to, and changes nothing.

        The aliases of every name have to be this account's to move, too: an operation that is
        decided and then half moved is worse than one that is refused.
        """
        client = self._registry.client
        ledger = Ledger(client, self._name.base)
        head = ledger.read()
        require_alias_rights(client, [ModelName.parse(name) for name in sorted(head.state)])
        if head.interrupted:
            return True, f"operation {head.seq} waits to be finished: nothing was written"
        ledger.mark_done(head.seq)
        return True, f"operation {head.seq} is the newest; the next may be written"

    def _first_mark(self) -> tuple[bool, str]:
        self._mark()
        return True, f"set the tag {DRILL_TAG}"

    def _mark(self, seconds: float | None = None) -> None:
        """Keep on the base model what is known so far: a real write that moves nothing."""
        problems = [step.problem for step in self._steps if not step.ok]
        mark = LastDrill(
            time=self._began,
            ok=not problems,
            name=self._name.public,
            seconds=seconds,
            problem=" ".join(problems),
        )
        base = self._name.base
        # As a rollback writes, so that the time is that of its writes.
        store = registry_store(self._registry.client)
        tag = RegisteredModelTag(DRILL_TAG, mark.to_line())
        with border(f"set the tag {DRILL_TAG} of {base}"):
            write_repeatably(lambda: store.set_registered_model_tag(base.registered, tag))


def _describe(folder: Path) -> tuple[Path, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return folder, f"{len(files)} files, {size / 1024:.0f} KiB, size and sha256 as registered"
