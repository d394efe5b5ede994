"""Checks Prefect's automations, deployments and work pools; pure: data in, findings out.

    described (notifications.py, prefect.yaml) against found (server_state.py)
        automations   missing, off, edited, their block gone, their last action failed
        deployments   missing; `reconcile` not scheduled, or no pass for 25 minutes
        work pools    missing, paused, a queue paused, without a worker, flow runs that wait

A pass of `reconcile` reports what it finds. That passes have stopped can only be found from
outside, by `guardianflow doctor`.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from shlex import quote

from guardianflow.errors import GuardianflowError
from guardianflow.monitoring.findings import Finding, FindingCode, Severity, worst_first
from guardianflow.prefect_api.notifications import TOLD, Notification
from guardianflow.prefect_api.prefect_yaml import RECONCILE, RELEASE_POOL, ROLLBACK, described
from guardianflow.prefect_api.server_state import PASS_LATE, AutomationInfo, Json, ServerState

_APPLY = "`python -m deployments.apply`, from the checkout"
_CHOOSE = "`python -m deployments.apply --notify TYPE/DOCUMENT`"
_TOLD = {told.name: told for told in TOLD}
_WITHOUT_ROLLBACK = "until then a failing champion goes back only with the next pass of `reconcile`"


def examine_prefect(server: ServerState, now: datetime) -> list[Finding]:
    """What is wrong with a Prefect server, the worst first."""
    if not (server.deployments or server.pools):
        return [_not_applied("Nothing of guardianflow was brought to the Prefect server.")]
    return worst_first(
        [
            *_deployments(server),
            *_passes(server, now),
            *_pools(server),
            *_automations(server),
            *_blocks(server),
            *_failures(server),
        ]
    )


def unreadable_prefect(error: GuardianflowError) -> Finding:
    """A Prefect server that could not be examined."""
    return _finding(
        FindingCode.ORCHESTRATOR_UNREADABLE, Severity.ERROR, error.message, error.remedy
    )


def _finding(code: FindingCode, severity: Severity, message: str, remedy: str) -> Finding:
    return Finding("", code, severity, message, remedy)


def _not_applied(message: str) -> Finding:
    remedy = f"Bring it there: {_APPLY}."
    return _finding(FindingCode.NOT_APPLIED, Severity.ERROR, message, remedy)


def _deployments(server: ServerState) -> Iterator[Finding]:
    missing = [name for name in described().deployments if name not in server.deployments]
    missing += [f"work pool {name}" for name in described().pools if name not in server.pools]
    if missing:
        yield _not_applied(f"Missing on the Prefect server: {', '.join(missing)}.")


def _passes(server: ServerState, now: datetime) -> Iterator[Finding]:
    """Whether passes of `reconcile` are made."""
    deployment = server.deployments.get(RECONCILE)
    if deployment is None:
        return
    unseen = "What is moved by hand, lost, silent or expired is noticed by nobody"
    if failed := server.failed_pass:
        since = server.last_pass
        last = f"the last one that ended well did so at {since:%Y-%m-%d %H:%M} UTC" if since else ""
        yield _finding(
            FindingCode.PASS_FAILED,
            Severity.ERROR,
            f"The newest pass of `reconcile` is {failed.state} since {failed.ended:%Y-%m-%d %H:%M} "
            f"UTC, {last or 'and none has ever ended well'}: {_said(failed.message)}",
            f"{unseen} until one ends well. Its log: {failed.url}; where it is empty, that of the "
            f"worker of {RELEASE_POOL}, which has to run in a checkout, with its Python.",
        )
    if not deployment.scheduled:
        yield _finding(
            FindingCode.PASS_OFF,
            Severity.ERROR,
            f"The schedule of {RECONCILE} is off. {unseen}.",
            f"Switch it on in the Prefect UI under Deployments, or: {_APPLY}.",
        )
    elif server.last_pass is None and not server.failed_pass:
        yield _finding(
            FindingCode.PASS_LATE,
            Severity.NOTE,
            "No pass of `reconcile` has ended yet.",
            "The worker starts one when it starts; look again in a minute.",
        )
    elif server.last_pass and now - server.last_pass > PASS_LATE:
        yield _finding(
            FindingCode.PASS_LATE,
            Severity.ERROR,
            f"The last pass of `reconcile` ended at {server.last_pass:%Y-%m-%d %H:%M} UTC. "
            f"{unseen}.",
            f"Look at the worker of {RELEASE_POOL} and its log; a pass that still holds the only "
            "slot is cancelled in the Prefect UI.",
        )


def _pools(server: ServerState) -> Iterator[Finding]:
    for name, pool in sorted(server.pools.items()):
        release = name == RELEASE_POOL
        severity = Severity.ERROR if release else Severity.WARNING
        what = "promoted, rolled back or looked after" if release else "trained or quantized"
        runs = "flow run waits" if pool.late == 1 else "flow runs wait"
        waiting = f" {pool.late} {runs}." if pool.late else ""
        if pool.paused:
            yield _finding(
                FindingCode.POOL_PAUSED,
                severity,
                f"The work pool {name} is paused: nothing is {what} by a flow.",
                f"`python -m deployments.tool prefect work-pool resume {name}`, from the "
                f"checkout.{waiting}",
            )
            continue
        for queue in pool.paused_queues:
            yield _finding(
                FindingCode.QUEUE_PAUSED,
                severity,
                f"The work queue {queue!r} of the work pool {name} is paused: nothing is {what} by "
                "a flow, although the pool is not paused.",
                f"`python -m deployments.tool prefect work-queue resume {quote(queue)} --pool "
                f"{name}`, from the checkout.{waiting}",
            )
        if not pool.has_worker:
            yield _finding(
                FindingCode.NO_WORKER,
                severity,
                f"No worker polls the work pool {name}: nothing is {what} by a flow.",
                f"`python -m deployments.worker {name}`, from a checkout; "
                f"on one machine `make up`.{waiting}",
            )
        elif release and pool.late and not pool.paused_queues:
            # Trainings wait for one another, by design.
            yield _finding(
                FindingCode.RUNS_WAIT,
                Severity.WARNING,
                f"Flow runs of the work pool {name} have waited for more than five minutes "
                "although a worker polls it.",
                f"Look at the worker's log, or start one on another machine.{waiting}",
            )


def _automations(server: ServerState) -> Iterator[Finding]:
    found = server.automations
    wanted = [described().rollback_trigger.name, *(_TOLD if _TOLD.keys() & found.keys() else ())]
    if len(wanted) == 1:
        yield _finding(
            FindingCode.NOBODY_TOLD,
            Severity.NOTE,
            "Nobody is told of approvals, rollbacks and alarms.",
            f"Choose a notification block of the Prefect server: {_CHOOSE}.",
        )
    for name in wanted:
        severity = Severity.ERROR if _acts(name) else Severity.WARNING
        mend = f"Put it right: {_APPLY}" + _until(name)
        mine = found.get(name, ())
        if not mine:
            missing = f"The automation {name!r} is missing."
            yield _finding(FindingCode.AUTOMATION_MISSING, severity, missing, mend)
        elif not all(one.enabled for one in mine):
            off = f"The automation {name!r} is switched off."
            here = f"Switch it on: {mine[0].url}{_until(name)}"
            yield _finding(FindingCode.AUTOMATION_OFF, severity, off, here)
        elif changed := _changed(name, mine, server):
            said = f"The automation {name!r} {changed}."
            yield _finding(FindingCode.AUTOMATION_CHANGED, severity, said, mend)


def _until(name: str) -> str:
    return f"; {_WITHOUT_ROLLBACK}." if _acts(name) else "."


def _acts(name: str) -> bool:
    """Whether an automation rolls back; all others only tell people."""
    return name == described().rollback_trigger.name


def _changed(name: str, mine: Sequence[AutomationInfo], server: ServerState) -> str:
    """How an automation differs from its description; '' where it does not."""
    if len(mine) > 1:
        return f"is there {len(mine)} times"
    (found,) = mine
    told = _TOLD.get(name)
    wanted = told.trigger if told else described().rollback_trigger.trigger
    edited = [
        key for key, value in wanted.items() if _plain(found.trigger.get(key)) != _plain(value)
    ]
    ours = [_tells(told, one) if told else _rolls_back(one, server) for one in found.actions]
    if ours != [True]:
        edited.append("actions")
    return f"was edited: {', '.join(edited)}" if edited else ""


def _plain(value: object) -> object:
    """A value of a trigger; lists in a fixed order."""
    return sorted(value, key=str) if isinstance(value, list) else value


def _rolls_back(action: Json, server: ServerState) -> bool:
    deployment = server.deployments.get(ROLLBACK)
    return (
        action.get("type") == "run-deployment"
        and deployment is not None
        and action.get("deployment_id") == deployment.id
        and action.get("parameters") == described().rollback_trigger.parameters
    )


def _tells(told: Notification, action: Json) -> bool:
    """Whether an action sends this message; the address in its links may be any."""
    words = r"\S*".join(re.escape(part) for part in told.body.split("<ui>"))
    return (
        action.get("type") == "send-notification"
        and action.get("subject") == told.subject
        and re.fullmatch(words, str(action.get("body"))) is not None
    )


def _blocks(server: ServerState) -> Iterator[Finding]:
    if lost := [
        name
        for name in _TOLD
        for automation in server.automations.get(name, ())
        if automation.blocks - server.blocks
    ]:
        yield _finding(
            FindingCode.BLOCK_MISSING,
            Severity.ERROR,
            f"The notification block of {len(lost)} automations was deleted: nobody is told of "
            "approvals, rollbacks and alarms.",
            f"Make it again in the Prefect UI under Blocks and choose it: {_CHOOSE}.",
        )


def _said(message: str) -> str:
    """What Prefect says, in one line."""
    return " ".join((message or "no reason given").split())[:300]


def _failures(server: ServerState) -> Iterator[Finding]:
    """Automations whose last action failed, also those of others: Prefect shows that nowhere."""
    for automation in (one for mine in server.automations.values() for one in mine):
        failure = automation.failure
        if failure is None:
            continue
        how = f"Open it: {automation.url}"
        if automation.name in _TOLD:
            how = (
                "Correct the notification block in the Prefect UI under Blocks, or choose another: "
                f"{_CHOOSE}"
            )
        often = f", {failure.times} times in the last week" if failure.times > 1 else ""
        yield _finding(
            FindingCode.AUTOMATION_FAILED,
            Severity.ERROR if _acts(automation.name) else Severity.WARNING,
            f"The last action of the automation {automation.name!r} failed: "
            f"{_said(failure.reason)}",
            f"{how}. It failed at {failure.time:%Y-%m-%d %H:%M} UTC{often}; this is over when an "
            f"action of it works{_until(automation.name)}",
        )
