"""Judges a history: was every reported operation done once, in a legal and serial order?

Pure functions over the evidence of one release; each rule names its violation. Nothing here uses
the rules of the product: what is legal is told a second time in `tests/chaos/law.py`.

The order of the ledger is the serial order. It has to agree with real time: what was reported
before another was asked for comes before it. What only reads (a plan, a refusal, "nothing was to
do") has to fit a state of the time in which it was asked.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.evidence import Call, Champions, Entry, Evidence
from tests.chaos.law import Law


class Fault(StrEnum):
    """What can be wrong with a history."""

    GAP = "the numbers of the ledger have a gap"
    BROKEN_CHAIN = "an operation begins with another state than the one before it ended with"
    EMPTIED = "an operation took the champion of a name away"
    LOST = "a reported success is not in the ledger"
    DOUBLED = "a request is in the ledger more than once"
    UNASKED = "an operation that nobody asked for"
    NOT_REFUSED = "a request was refused, and done"
    OTHER_EFFECT = "the ledger says something else than the client was told"
    ILLEGAL = "the rules do not allow it"
    SWAPPED = "an operation stands before one that had ended before it was asked for"
    NEVER_SO = "a client was told of a state that never was at that time"
    MISSING_CHAMPION = "a name had no champion at a moment after it had one"
    STRANGE_CHAMPION = "a champion was seen that no operation had made"
    OTHER_ALIAS = "an alias is not what the last operation made it"
    OTHER_VERSIONS = "a registration has no version, or several, or another"


@dataclass(frozen=True)
class Violation:
    fault: Fault
    text: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.text}"


Violations = Iterator[Violation]
_ENTRIES_OF = {
    "promote": {"promote"},
    "rollback": {"rollback"},
    "repair": {"repair"},
    "adopt": {"adopt"},
    "rescue": {"repair", "rollback"},
    "finish": set[str](),
    "plan": set[str](),
    "register": set[str](),
}
# What is deleted by hand goes away within this time after it was decided.
_SLOW_HAND_S = 5.0
_WITHOUT_STATE = ("register", "finish", "rescue")


def check(evidence: Evidence) -> list[Violation]:
    """All that is wrong with the history of one release; empty when it is as it must be."""
    found = list(_check_numbers(evidence))
    if found:
        # Everything else is about places in the order.
        return found
    checks = (
        _check_tokens,
        _check_rules,
        _check_order,
        _check_readings,
        _check_samples,
        _check_end,
    )
    return [violation for each in checks for violation in each(evidence)]


def _check_numbers(evidence: Evidence) -> Violations:
    """1..n, and each operation begins where the one before it ended."""
    state: Champions = {}
    for place, entry in enumerate(evidence.history, start=1):
        if entry.seq != place:
            yield Violation(Fault.GAP, f"operation {place} is called {entry.seq}")
            return
        if dict(entry.before) != dict(state):
            yield Violation(
                Fault.BROKEN_CHAIN,
                f"operation {place} begins with {dict(entry.before)}, not with {dict(state)}",
            )
        if gone := entry.before.keys() - entry.after.keys():
            yield Violation(Fault.EMPTIED, f"operation {place} of {', '.join(sorted(gone))}")
        state = entry.after


def _check_tokens(evidence: Evidence) -> Violations:
    """Each success is there once and as it was told; nothing is there that nobody asked for."""
    calls = {call.token: call for call in evidence.calls}
    counted = Counter(entry.token for entry in evidence.history)
    for entry in evidence.history:
        call = calls.get(entry.token)
        if call is None or entry.kind not in _ENTRIES_OF[call.kind]:
            yield Violation(Fault.UNASKED, f"operation {entry.seq}, token {entry.token!r}")
        elif call.outcome == "refused" and not call.lost_attempts:
            yield Violation(Fault.NOT_REFUSED, f"operation {entry.seq}: {call.error}")
        elif fault := _other_effect(call, entry):
            yield Violation(Fault.OTHER_EFFECT, f"operation {entry.seq}: {fault}")
    for token, count in counted.items():
        if count > 1:
            yield Violation(Fault.DOUBLED, f"token {token!r} is there {count} times")
    for call in evidence.calls:
        answer = call.answer
        if call.outcome != "ok" or answer is None or call.kind == "register" or not answer.changed:
            continue
        if not 0 < answer.seq <= len(evidence.history):
            yield Violation(Fault.LOST, f"{call.kind} {call.token!r}, operation {answer.seq}")
            continue
        entry = evidence.history[answer.seq - 1]
        if entry.token != answer.token:
            yield Violation(Fault.LOST, f"{call.kind} {call.token!r}: {answer.seq} is another's")
        elif dict(entry.after) != dict(answer.after):
            yield Violation(Fault.OTHER_EFFECT, f"operation {entry.seq} led to {entry.after}")
        elif call.token in counted and answer.token != call.token:
            yield Violation(Fault.OTHER_EFFECT, f"{call.token!r} was told of another operation")
        elif (
            answer.token != call.token
            and call.kind not in ("finish", "rescue")
            and (entry.kind, entry.name) != (call.kind, call.name)
        ):
            yield Violation(Fault.LOST, f"{call.kind} {call.token!r} got {entry.kind}")


def _other_effect(call: Call, entry: Entry) -> str:
    """How an operation differs from the request with its token; empty if it does not."""
    before = entry.before.get(call.name)
    if call.kind == "promote" and call.version not in (None, entry.after.get(call.name)):
        return f"version {call.version} was asked for"
    if call.expected != "any" and call.expected != before:
        return f"champion {call.expected} was expected, it was {before}"
    if call.kind in ("promote", "rollback") and entry.name != call.name:
        return f"{call.name} was asked for"
    if call.kind == "rollback" and call.only and set(entry.moved()) != {call.name}:
        return f"{call.name} alone was asked for"
    if call.automatic != entry.automatic and call.kind != "rescue":
        return "it says wrongly who asked, a person or an automation"
    return ""


def _check_rules(evidence: Evidence) -> Violations:
    """Each operation was legal in the state in which it was made."""
    calls = {call.token: call for call in evidence.calls}
    sources = {(v.name, v.version): v.source for v in evidence.versions}
    law = Law(evidence.base, sources)
    for entry in evidence.history:
        call = calls.get(entry.token)
        for text in law.judge(entry, force=call is not None and call.force):
            yield Violation(Fault.ILLEGAL, f"operation {entry.seq} ({entry.kind}): {text}")
        law.go_on(entry)


def _check_order(evidence: Evidence) -> Violations:
    """The order of the ledger agrees with real time."""
    started = {call.token: call.start for call in evidence.calls}
    ended = _reported(evidence)
    earliest, where = float("inf"), 0
    for entry in reversed(evidence.history):
        start = started.get(entry.token)
        if start is not None and earliest < start:
            yield Violation(
                Fault.SWAPPED, f"operation {where} had ended before {entry.seq} was asked for"
            )
        if ended.get(entry.seq, float("inf")) < earliest:
            earliest, where = ended[entry.seq], entry.seq


def _reported(evidence: Evidence) -> dict[int, float]:
    """When each operation was reported first, by its number."""
    ended: dict[int, float] = {}
    for call in evidence.calls:
        answer = call.answer
        # A registration has no number, nor has what found nothing to do.
        if call.end is not None and answer is not None and answer.changed and answer.seq:
            seq = answer.seq
            ended[seq] = min(ended.get(seq, call.end), call.end)
    return ended


class _Times:
    """Which states a moment could see."""

    def __init__(self, evidence: Evidence) -> None:
        self.states: list[Champions] = [{}, *(entry.after for entry in evidence.history)]
        started = {call.token: call.start for call in evidence.calls}
        # Nothing is made before it is asked for, nor before what stands before it.
        self._starts = list(
            itertools.accumulate(
                (started.get(entry.token, 0.0) for entry in evidence.history), max, initial=0.0
            )
        )
        ended = _reported(evidence)
        latest = itertools.accumulate(
            (ended.get(entry.seq, float("inf")) for entry in reversed(evidence.history)), min
        )
        # Whoever is told of an operation has seen all that stand before it.
        self._ends = [0.0, *reversed(list(latest))]

    def first(self, start: float) -> int:
        """The number of the newest operation that was over for certain."""
        return max(seq for seq, end in enumerate(self._ends) if end < start or seq == 0)

    def last(self, end: float) -> int:
        """The number of the newest operation that can have been made."""
        return max(seq for seq, start in enumerate(self._starts) if start <= end)

    def during(self, start: float, end: float, *, before: int = 0) -> list[Champions]:
        return self.states[max(0, self.first(start) - before) : self.last(end) + 1]


def _check_readings(evidence: Evidence) -> Violations:
    """What only reads was told of a state of the time in which it was asked."""
    times = _Times(evidence)
    for call in evidence.calls:
        if call.end is None or call.lost_attempts:
            continue
        states = times.during(call.start, call.end)
        if call.actual != "any" and all(s.get(call.name) != call.actual for s in states):
            yield Violation(
                Fault.NEVER_SO, f"{call.token!r}: champion {call.actual} of {call.name}"
            )
        answer = call.answer
        if answer is None or call.kind in _WITHOUT_STATE:
            continue
        if call.kind == "plan":
            # What an interrupted operation answers already is planned on the state before it.
            states = times.during(call.start, call.end, before=1)
        if not answer.changed and all(dict(s) != dict(answer.after) for s in states):
            yield Violation(Fault.NEVER_SO, f"{call.kind} {call.token!r}: {dict(answer.after)}")
        # Told of somebody else's operation: it was not finished when this one was asked for.
        foreign = answer.changed and answer.token != call.token
        if foreign and not times.first(call.start) < answer.seq <= times.last(call.end):
            yield Violation(Fault.NEVER_SO, f"{call.token!r} got operation {answer.seq}")


def _check_samples(evidence: Evidence) -> Violations:
    """Who looks all the time sees a champion, from the first one on, and one that was made."""
    times = _Times(evidence)
    deleted = [i for i in evidence.intrusions if i.alias == "champion" and i.version is None]
    moved = {(i.name, i.version) for i in evidence.intrusions if i.alias == "champion"}
    since: dict[str, float] = {}
    latest: dict[str, float] = {}
    for seq, end in sorted(_reported(evidence).items()):
        for name in evidence.history[seq - 1].after if seq <= len(evidence.history) else ():
            since[name] = min(since.get(name, end), end)
    for sample in sorted(evidence.samples, key=lambda sample: sample.start):
        name, champion = sample.name, sample.champion
        if champion is None:
            by_hand = any(
                i.name == name
                and i.start < sample.end
                and latest.get(name, 0.0) < i.start + _SLOW_HAND_S
                for i in deleted
            )
            if since.get(name, float("inf")) < sample.start and not by_hand:
                yield Violation(Fault.MISSING_CHAMPION, f"{name} at {sample.start:.3f}")
            continue
        latest[name] = sample.start
        since[name] = min(since.get(name, sample.end), sample.end)
        made = any(s.get(name) == champion for s in times.states[: times.last(sample.end) + 1])
        if not made and (name, champion) not in moved:
            yield Violation(
                Fault.STRANGE_CHAMPION, f"{name} version {champion} at {sample.start:.3f}"
            )


def _check_end(evidence: Evidence) -> Violations:
    """At the end the aliases are as the last operation says; a registration has one version."""
    last = evidence.history[-1] if evidence.history else None
    for name in sorted(evidence.aliases.keys() | (last.after.keys() if last else set())):
        found = evidence.aliases.get(name, {})
        champion = last.after.get(name) if last else None
        rollback = last.rollback.get(name) if last else None
        if found.get("champion") != champion:
            yield Violation(
                Fault.OTHER_ALIAS, f"@champion of {name} is {found.get('champion')}, not {champion}"
            )
        # An alias that names the champion counts as none.
        if found.get("rollback") not in (rollback, champion if rollback is None else rollback):
            yield Violation(
                Fault.OTHER_ALIAS, f"@rollback of {name} is {found.get('rollback')}, not {rollback}"
            )
    made: dict[str, list[tuple[str, int]]] = {}
    for version in evidence.versions:
        made.setdefault(version.token, []).append((version.name, version.version))
    for call in evidence.calls:
        if call.kind == "register" and call.outcome == "ok" and call.answer is not None:
            told = [(call.name, call.answer.version)]
            if made.get(call.token, []) != told:
                yield Violation(
                    Fault.OTHER_VERSIONS, f"{call.token!r}: told {told}, is {made.get(call.token)}"
                )
