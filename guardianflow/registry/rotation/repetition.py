"""What an operation that was interrupted means for the next request. Pure: no I/O.

    committed -> killed -> anybody's next command: finish it, then look at what is asked for

A command that is repeated after it was killed asks for what is finished by then: it must not do
the same a second time, which for a rollback would be one version too far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from guardianflow.mlflow_store.registered_models import ModelSummary
from guardianflow.registry.release_state import (
    ModelAlias,
    OperationKind,
    OperationRecord,
    champion_of,
)
from guardianflow.registry.rotation.outcome import Plan
from guardianflow.registry.rotation.request import UNSET, RotationRequest
from guardianflow.registry.rotation.rules import projected

REPEATED_WITHIN = timedelta(minutes=15)
"""How long the same request of the same actor may be one whose answer was lost."""


def when_finished(
    record: OperationRecord, models: Mapping[str, ModelSummary]
) -> dict[str, ModelSummary]:
    """The models as they will be when an interrupted operation is finished."""
    candidates = {n: m.aliases.get(ModelAlias.CANDIDATE) for n, m in models.items()}
    wanted = projected(record.kind, record.before, record.after, candidates)
    after = dict(models)
    for name in wanted.keys() & models.keys():
        aliases = {alias.value: wanted[name].get(alias) for alias in ModelAlias}
        set_aliases = {alias: v for alias, v in aliases.items() if v is not None}
        after[name] = replace(models[name], aliases=set_aliases)
    return after


def answered(record: OperationRecord, request: RotationRequest, warnings: Sequence[str]) -> Plan:
    """The plan of a request that asks for what an interrupted operation did: nothing is left.

    Its champion is that of before, so that whoever goes on all the same is refused.
    """
    name = request.name.public
    return Plan(
        kind=request.kind.value,
        model_name=name,
        version=champion_of(record.after, name),
        champion={other: champion_of(record.before, other) for other in sorted(record.after)},
        moves=(),
        warnings=tuple(warnings),
    )


def answers(record: OperationRecord, request: RotationRequest) -> bool:
    """Whether an interrupted operation is what the same request, made again, asks for.

    No repair answers another: that one is about what is wrong by then.
    """
    if record.kind is not request.kind or record.name != request.name.public:
        return False
    if record.kind is OperationKind.REPAIR:
        return False
    before = champion_of(record.before, record.name)
    if request.expected_champion is not UNSET and request.expected_champion != before:
        return False
    if request.expected_moves is not None and record.moved() != dict(request.expected_moves):
        return False
    return request.version in (None, champion_of(record.after, record.name))


def may_repeat(record: OperationRecord | None, request: RotationRequest, now: datetime) -> bool:
    """Whether a request may be the newest operation again, whose answer its actor never saw.

    Somebody else, the reconcile flow for one, may have finished it meanwhile: nothing is
    interrupted then, and yet the one who asked knows of no success.
    """
    if record is None or not request.by.actor or record.by.actor != request.by.actor:
        return False
    age = now - datetime.fromisoformat(record.time)
    return answers(record, request) and abs(age) < REPEATED_WITHIN
