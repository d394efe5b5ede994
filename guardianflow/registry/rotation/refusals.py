"""How the rules say no: one function for each refusal, with the command that helps. Pure."""

from guardianflow.errors import (
    AliasDrift,
    NoCandidate,
    NoRollbackTarget,
    ReleaseOnHold,
    RollbackHeld,
    SourceNotChampion,
    VersionNotReady,
    VersionQuarantined,
)
from guardianflow.names import ModelName
from guardianflow.registry.release_state import OperationRecord, RuleInputs, champion_of


def no_candidate(inputs: RuleInputs, name: str) -> NoCandidate:
    """Nothing was named and nothing waits; says where something does."""
    waiting = [other for other in sorted(inputs.candidates) if inputs.pending(other)]
    if waiting:
        return NoCandidate(
            f"No version of {name} waits for promotion, but one of {waiting[0]} does.",
            remedy=f"`guardianflow promote {waiting[0]}`",
            name=name,
            waiting=waiting,
        )
    champion = champion_of(inputs.state, name)
    serving = f" (@champion is version {champion})" if champion else ""
    kind = "quant" if ModelName.parse(name).is_variant else "train"
    return NoCandidate(
        f"No version of {name} waits for promotion{serving}.",
        remedy=f"Make one with `guardianflow run SCENARIO --type {kind} --version vN`, or name "
        f"one with --model-version; `guardianflow models {name}` lists them.",
        name=name,
    )


def quarantined(name: str, version: int) -> VersionQuarantined:
    """The version was rolled back before."""
    return VersionQuarantined(
        f"{name} version {version} was rolled back before and is quarantined.",
        remedy=f"`guardianflow history {name}` says why; `guardianflow promote {name} "
        f'--model-version {version} --force --reason "..."` promotes it all the same.',
        name=name,
        version=version,
    )


def on_hold(name: str, hold: OperationRecord) -> ReleaseOnHold:
    """A promotion came while the release is on hold."""
    return ReleaseOnHold(
        f"The release of {ModelName.parse(name).base} is on hold: an automation rolled it back at "
        f"{hold.time[:16]} UTC as operation {hold.seq} ({hold.by.reason or 'no reason given'}). "
        "Nothing was changed.",
        remedy=f"Look at `guardianflow history {name}` first. The hold ends by itself a day after "
        f'the rollback; `guardianflow promote {name} --force --reason "..."` ends it now.',
        name=name,
        held_by=hold.seq,
        since=hold.time,
    )


def no_way_back(name: str, champion: int) -> NoRollbackTarget:
    """No former state with another champion is good."""
    return NoRollbackTarget(
        f"{name} version {champion} has no earlier good champion to go back to; nothing was "
        "changed.",
        remedy="A second promotion gives it a way back: `guardianflow run SCENARIO --type train "
        f"--version vN`, then `guardianflow promote {name}`.",
        name=name,
        champion=champion,
    )


def had_none(name: str, version: int, missing: list[str]) -> NoRollbackTarget:
    """Going back would leave a name without a champion."""
    return NoRollbackTarget(
        f"When version {version} of {name} was champion, {', '.join(missing)} had no champion: "
        "going back would leave it empty. Nothing was changed.",
        remedy=f'Move this name alone with `guardianflow rollback {name} --only --reason "..."`, '
        f"or quantize version {version} with `guardianflow run SCENARIO --type quant "
        f"--version vN --model-version {version}` and promote that release.",
        name=name,
        missing=missing,
    )


def nothing_to_roll_back(name: str) -> NoRollbackTarget:
    """The name never had a champion."""
    return NoRollbackTarget(
        f"{name} has no champion, so there is nothing to roll back.",
        remedy=f"`guardianflow promote {name}` puts a version into production.",
        name=name,
    )


def rollback_held(name: str, champion: int) -> RollbackHeld:
    """An automation would take back what a rollback restored."""
    return RollbackHeld(
        f"{name} version {champion} was itself restored by a rollback, or its release is on hold "
        "after one: an automation goes back once and then leaves it to a person. Nothing was "
        "changed.",
        remedy=f"Look at it now: `guardianflow history {name}`, then `guardianflow rollback "
        f"{name}` or a promotion.",
        name=name,
        version=champion,
    )


def source_not_champion(
    inputs: RuleInputs, name: str, version: int, source: int | None
) -> SourceNotChampion:
    """A variant whose source is not, and will not become, the base in production."""
    base = inputs.base
    champion = champion_of(inputs.state, base)
    return SourceNotChampion(
        f"{name} version {version} was made from version {source or 'unknown'} of {base}, which is "
        f"neither its @champion ({champion or 'none'}) nor its @candidate "
        f"({inputs.pending(base) or 'none'}).",
        remedy=f"Promote the source first (`guardianflow promote {base} --model-version {source}`)."
        if source
        else "Quantize again with `guardianflow run SCENARIO --type quant --version vN`.",
        name=name,
        version=version,
        source_version=source,
    )


def champion_gone(name: str, former: int) -> AliasDrift:
    """MLflow's aliases cannot be adopted: one name would be left without a champion."""
    return AliasDrift(
        f"@champion of {name} is gone in MLflow, so MLflow's aliases cannot be kept.",
        remedy=f"`guardianflow repair {name} --keep ledger --reason ...` sets it to version "
        f"{former} again; if that version was deleted, `guardianflow rollback {name}` goes back to "
        f"the last good release. `guardianflow doctor {name}` says which.",
        name=name,
    )


def no_operation(base: str) -> AliasDrift:
    """The ledger cannot be kept: it is empty."""
    return AliasDrift(
        f"The ledger knows no operation of {base}.",
        remedy=f"`guardianflow repair {base} --keep mlflow --reason ...` adopts the aliases.",
        name=base,
    )


def no_version(base: str, name: str, version: int) -> VersionNotReady:
    """An alias cannot be put back: its version was deleted, or is none that we registered."""
    return VersionNotReady(
        f"{name} has no version {version} that guardianflow registered.",
        remedy=f'`guardianflow rollback {base} --reason "..."` goes back to the last good release, '
        f"`guardianflow repair {base} --keep mlflow` accepts the aliases that are left.",
        name=name,
        version=version,
    )


def champion_unknown(name: str, version: int | None) -> AliasDrift:
    """The ledger cannot be kept: it knows no champion of a name, and taking one away is no mending.

    Nothing of ours ever deletes @champion: a slow writer could hit the one of a later promotion.
    """
    return AliasDrift(
        f"@champion of {name} was set by hand to version {version}, and the ledger knows no "
        "champion of it: there is nothing to put back.",
        remedy=f'`guardianflow repair {name} --keep mlflow --reason "..."` accepts it; or delete '
        f"@champion of {name} in the MLflow UI, then repair again.",
        name=name,
        version=version,
    )


def nothing_left(name: str, champion: int) -> NoRollbackTarget:
    """The version in production was deleted, and no former one is left."""
    return NoRollbackTarget(
        f"{name} has no @champion: version {champion} was deleted in MLflow, and no earlier good "
        "champion of it is left.",
        remedy=f"Promote a version that exists: `guardianflow models {name}` lists them, set "
        f"@champion in MLflow to one you trust, then `guardianflow repair {name} --keep mlflow "
        '--reason "..."`.',
        name=name,
        version=champion,
    )
