"""The question that a request puts to people: asked, answered, void or closed, each once.

    asked --answers that count, enough of them--> decided --> closed
      |  +--an answer that does not count--> asked again, with the reason
      |  +--five wrong codes--> over
      +--policy, files or champion changed--> void; the next round asks again

All of it is in the approval log, so the worker that continues days later finds what was asked and
answered. What was asked is read from the record in MLflow and compared with the digest in the log:
an account that can only write evidence cannot change a question.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NoReturn, assert_never

from mlflow import MlflowClient
from pydantic import Field

from guardianflow.errors import ApprovalVoid, ArtifactMissing, InputError, StoredUnreadable
from guardianflow.mlflow_store.records import read_record
from guardianflow.promotion.approval.approval_log import (
    ApprovalLog,
    RoundKey,
    newest_approval_logs,
    open_approval_log,
)
from guardianflow.promotion.approval.one_time_codes import (
    approvers_file,
    matching_step,
    read_approvers,
    spend,
)
from guardianflow.promotion.approval.policy import (
    Answer,
    Choice,
    Given,
    Identity,
    Proof,
    decision_of,
    objection,
)
from guardianflow.promotion.approval.stored_rules import read_rule
from guardianflow.promotion.proposal import Proposal, require_in_time
from guardianflow.promotion.recorded_messages import recorded
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.release_state import champion_moves
from guardianflow.registry.rotation.request import MAX_TEXT
from guardianflow.stored import Stored, read_stored

MAX_WRONG_CODES = 5
"""How many codes may be tried for one question: three of a million are right at any time."""
LAST_DAY = timedelta(days=1)


class Asked(Stored):
    """What the approval log keeps of a question."""

    record: str = Field(description="The MLflow run that holds the proposal.")
    digest: str = Field(description="sha256 of the proposal.")
    model_name: str = Field(description="Public name that was asked for.")
    version: int = Field(description="The version that would become its champion.")
    versions: dict[str, int] = Field(description="Every version that would become champion.")
    expires: datetime = Field(description="Until when it may be answered, UTC.")
    time: datetime | None = Field(
        default=None, description="When it was asked, UTC; None in the log of an older version."
    )

    def is_ending(self, now: datetime) -> bool:
        """Whether its last day has begun; never of a question shorter than two days."""
        long = self.time is not None and self.expires - self.time >= 2 * LAST_DAY
        return long and now < self.expires <= now + LAST_DAY


@dataclass(frozen=True)
class QuestionStatus:
    """The answers to a question so far, and the decision."""

    answers: tuple[Given, ...] = ()
    decision: Choice | None = None

    @property
    def counted(self) -> tuple[Given, ...]:
        """The answers that say something about the promotion."""
        return tuple(answer for answer in self.answers if answer.counts)

    @property
    def complaint(self) -> str:
        """Why the last answer does not count; '' where it does, or there is none."""
        return self.answers[-1].problem if self.answers else ""

    @property
    def exhausted(self) -> bool:
        """Whether too many codes were wrong."""
        return sum(answer.wrong_code for answer in self.answers) >= MAX_WRONG_CODES


class Question:
    """One round of a request.

    Args:
        registry: The registry that it is about.
        request: Identifies the request: the flow run that asks.
        begun: When the request was made; it decides which log has it.
        number: The round, from 1 on.
    """

    def __init__(
        self, registry: ModelRegistryManager, request: str, begun: datetime, number: int
    ) -> None:
        self._registry = registry
        self._begun = begun
        self._key = RoundKey(request, number)

    def ask(self, make: Callable[[], Proposal]) -> Proposal:
        """Return what is asked: made and recorded the first time, read again afterwards.

        Raises:
            ApprovalVoid: The question is void, or its record is gone, unreadable or changed.
            StoredUnreadable: Another version of guardianflow asked, and has to continue.
            Refused: The proposal cannot be made.
        """
        found = self._entries()
        asked = _read_asked(found, self._key)
        if asked is None:
            proposal = make()
            if proposal.changes_nothing:
                return proposal
            moves = champion_moves(proposal.moves)
            mine = Asked(
                record=proposal.evidence_run_id,
                digest=proposal.digest,
                model_name=proposal.model_name,
                version=proposal.version,
                versions={name: after for name, (_, after) in moves.items()},
                expires=proposal.expires,
                time=proposal.time,
            )
            text = self._log.write(self._key.entry("ask"), mine.model_dump_json())
            asked = read_stored(Asked, text, _label(self._key))
            if asked == mine:
                return proposal
        try:
            proposal = read_record(self._registry.client, asked.record, Proposal)
        except ArtifactMissing as error:
            self.void(recorded("unreadable", why=error.message), error)
        if proposal.digest != asked.digest:
            self.void(recorded("record", run=asked.record))
        return proposal

    def status(self, proposal: Proposal) -> QuestionStatus:
        """Read the answers so far and the decision.

        Raises:
            ApprovalVoid: The question is void.
            StoredUnreadable: Another version of guardianflow recorded an answer.
        """
        found = self._entries()
        answers: list[Given] = []
        while text := found.get(self._key.answer(len(answers) + 1)):
            answers.append(read_stored(Given, text, f"answer to the {_label(self._key)}"))
        counted = [answer for answer in answers if answer.counts]
        decision = decision_of(proposal.policy, proposal.requested_by, counted)
        return QuestionStatus(tuple(answers), decision)

    def take(
        self,
        proposal: Proposal,
        number: int,
        answer: Answer,
        code: str = "",
        *,
        now: datetime | None = None,
    ) -> QuestionStatus:
        """Record an answer, and whether it counts; repeating it changes nothing.

        Args:
            proposal: What was asked.
            number: Number of the answer, from 1.
            answer: What somebody answered.
            code: The one-time code that came with it; it is not stored.
            now: The time of the answer.

        Raises:
            ApprovalExpired: It came too late.
            ApprovalVoid: The question is void, or the policy was changed.
        """
        now = now or datetime.now(UTC)
        status = self.status(proposal)
        if status.decision or number <= len(status.answers):
            return status
        require_in_time(proposal, now)
        rule = read_rule(self._registry.client, proposal.name)
        if rule.digest != proposal.policy.digest:
            self.void(recorded("policy"))
        problem = objection(rule, proposal.requested_by, status.counted, answer)
        wrong, identity = False, Identity.DECLARED
        if not problem:
            problem, wrong, identity = self._identify(
                rule.proof, answer.approver, code, number, now
            )
        given = Given(
            decision=answer.decision,
            approver=answer.approver,
            reason=answer.reason,
            identity=identity,
            number=number,
            problem=problem,
            wrong_code=wrong,
            time=now,
        )
        self._log.write(self._key.answer(number), given.model_dump_json())
        return self.status(proposal)

    @property
    def version(self) -> int | None:
        """The version that this request asks about; None before it asked in any round."""
        found = self._log.entries()
        for number in range(self._key.number, 0, -1):
            if asked := _read_asked(found, RoundKey(self._key.request, number)):
                return asked.version
        return None

    def void(self, why: str, cause: Exception | None = None) -> NoReturn:
        """Make the question void; the reason that was recorded first counts.

        Raises:
            ApprovalVoid: Always.
        """
        raise ApprovalVoid(self._log.write(self._key.entry("void"), why[:MAX_TEXT])) from cause

    def void_rounds(self) -> list[str]:
        """Return why each round of this request is void, up to the first that is not."""
        found = self._log.entries()
        reasons: list[str] = []
        while why := found.get(RoundKey(self._key.request, len(reasons) + 1).entry("void")):
            reasons.append(why)
        return reasons

    def close(self, outcome: str) -> None:
        """Record what came of it."""
        self._log.write(self._key.entry("closed"), outcome[:MAX_TEXT])

    def _identify(
        self, proof: Proof, approver: str, code: str, number: int, now: datetime
    ) -> tuple[str, bool, Identity]:
        """Return why a code proves nothing ('' if it does), if it was wrong, and the identity."""
        match proof:
            case Proof.NONE:
                return "", False, Identity.DECLARED
            case Proof.TOTP:
                return self._identify_by_code(approver, code, number, now)
            case _:
                assert_never(proof)

    def _identify_by_code(
        self, approver: str, code: str, number: int, now: datetime
    ) -> tuple[str, bool, Identity]:
        try:
            secrets = read_approvers(approvers_file())
        except (InputError, StoredUnreadable) as error:
            # A worker with a bad set-up must not end the question.
            return recorded("worker", why=error.message), False, Identity.DECLARED
        step = matching_step(secrets, approver, code, now)
        if step is None:
            return recorded("code"), True, Identity.DECLARED
        if not spend(self._registry.client, approver, step, f"{self._key}.{number}"):
            return recorded("spent"), True, Identity.DECLARED
        return "", False, Identity.CODE

    def _entries(self) -> dict[str, str]:
        found = self._log.entries()
        if why := found.get(self._key.entry("void")):
            raise ApprovalVoid(why)
        return found

    @cached_property
    def _log(self) -> ApprovalLog:
        return open_approval_log(self._registry.client, self._begun)


@dataclass(frozen=True)
class UnansweredQuestion:
    """A question whose outcome nobody has recorded yet."""

    key: RoundKey
    asked: Asked
    log: ApprovalLog
    reminded: bool = False
    """Whether people were told that its last day has begun."""

    @property
    def request(self) -> str:
        """The flow run that asks."""
        return self.key.request

    def remind(self) -> None:
        """Record that people were told that its last day has begun."""
        self.log.write(self.key.entry("reminded"), "a day before the end")

    def close(self, outcome: str) -> None:
        """Record what came of it."""
        self.log.write(self.key.entry("closed"), outcome[:MAX_TEXT])


def open_questions(client: MlflowClient) -> list[UnansweredQuestion]:
    """Return the last question of every request whose outcome nobody has recorded."""
    found: list[UnansweredQuestion] = []
    for log in newest_approval_logs(client):
        entries = log.entries()
        rounds = [key for text in entries if (key := RoundKey.parse(text))]
        last = {key.request: key for key in sorted(rounds, key=lambda key: key.number)}
        for key in last.values():
            if key.entry("closed") in entries:
                continue
            # What another version of guardianflow wrote is its own to watch.
            with suppress(StoredUnreadable):
                if asked := _read_asked(entries, key):
                    reminded = key.entry("reminded") in entries
                    found.append(UnansweredQuestion(key, asked, log, reminded))
    return found


def _read_asked(entries: Mapping[str, str], key: RoundKey) -> Asked | None:
    text = entries.get(key.entry("ask"))
    return read_stored(Asked, text, _label(key)) if text else None


def _label(key: RoundKey) -> str:
    return f"question {key} in the approval log"
