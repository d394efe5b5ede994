"""Rehearses a rollback: proves that the way back of a release works, and moves no alias.

    plan the rollback -> for every name that would move:
        version there and READY -> files from the server, verified -> load -> predict
    -> the ledger takes a write that changes nothing -> a harmless write on the model, timed
    -> estimate of a real rollback -> mark on the base model

It tries everything and reports every failure, so that people see the whole list at once. Files come
from the server, since a local copy proves nothing about them.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from mlflow.entities.model_registry import RegisteredModelTag

from guardianflow.errors import Refused, VersionNotReady
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
from guardianflow.registry.release_state import champion_moves

Made = TypeVar("Made")
OnProgress = Callable[[str, int, int], None]


def drill(
    registry: ModelRegistryManager,
    name: ModelName,
    *,
    on_progress: OnProgress = lambda _what, _done, _total: None,
) -> DrillReport:
    """Rehearse a rollback: find out whether it would work, and how long it would take.

    No alias moves, no version changes, no operation is added to the ledger; the tag
    `guardianflow.drill` on the base's registered model keeps what was found.
    `on_progress` is called when a step begins and when it ends.

    Raises:
        NoRollbackTarget: There is no way back.
        Refused: A rollback would be refused now, e.g. AliasDrift or LedgerDamaged.
        RegistryUnavailable: The server went away.
    """
    return _Drill(registry, name, on_progress).run()


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
            remedy = f"`guardianflow rollback {self._name}` finishes it; drill again then."
            problem = {"problem": " ".join(plan.warnings), "remedy": remedy}
            self._steps[-1] = self._steps[-1].model_copy(update=problem)
        return plan

    def _ask_for_plan(self) -> tuple[Plan, str]:
        plan = self._registry.plan_rollback(self._name, write=False)
        moved = champion_moves(plan.moves).items()
        back = [f"{name} to version {after}" for name, (_, after) in moved]
        return plan, ", ".join(back)

    def _drifted(self) -> list[str]:
        """Aliases that differ from the ledger: a rollback may go further back than they say."""
        return [
            f"{found}. `guardianflow doctor {self._name.base}` says what mends it."
            for found in self._registry.drift(self._name)
        ]

    def _try_version(self, name: ModelName, version: int) -> None:
        """Try one version that would come back, until a step fails."""
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
            # A model is code: only files that were verified are loaded.
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
        """Try one step and note what it found, or why a rollback would fail there; then None."""
        label = f"{step} of {name}" + ("" if version is None else f" version {version}")
        self._show(label, 0, 1)
        made: Made | None = None
        found: dict[str, str] = {}
        began = time.monotonic()
        try:
            made, found["found"] = act()
        except Refused as refusal:
            found = {"problem": refusal.message, "remedy": refusal.remedy}
            if refusals is not None:
                refusals.append(refusal)
        seconds = time.monotonic() - began
        tried = Step(step=step, name=name.public, version=version, seconds=seconds, **found)
        self._steps.append(tried)
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
        """Write into the ledger what it already says: that proves the right to write.

        The account also has to be allowed to move the aliases of every name: a half moved
        operation is worse than a refused one.
        """
        client = self._registry.client
        ledger = self._registry.ledger(self._name)
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
        """Store what is known so far on the base model: a real write that moves nothing."""
        problems = [step.problem for step in self._steps if not step.ok]
        mark = LastDrill(
            time=self._began,
            ok=not problems,
            name=self._name.public,
            seconds=seconds,
            problem=" ".join(problems),
        )
        base = self._name.base
        # The way a rollback writes, so that the time is comparable.
        store = registry_store(self._registry.client)
        tag = RegisteredModelTag(DRILL_TAG, mark.to_line())
        with border(f"set the tag {DRILL_TAG} of {base}"):
            write_repeatably(lambda: store.set_registered_model_tag(base.registered, tag))


def _describe(folder: Path) -> tuple[Path, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return folder, f"{len(files)} files, {size / 1024:.0f} KiB, size and sha256 as registered"
