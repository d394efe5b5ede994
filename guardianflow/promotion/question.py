"""The question that a request puts to people: asked, answered, void or closed, each once.

    asked --answers that count, enough of them--> decided --> closed
      |  +--an answer that does not count--> asked again, and the reason said
      |  +--five wrong codes--> over
      +--policy, files or champion are others--> void; the next round asks anew

All of it stands in the book of approvals, so that whichever worker goes on days later finds what
was asked and answered. What was asked is read from the record in MLflow and compared with the
digest in the book: whoever can only write evidence cannot change a question that was put.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from mlflow import MlflowClient
from pydantic import Field

from guardianflow.errors import ApprovalVoid, ArtifactMissing, InputError, StoredUnreadable
from guardianflow.mlflow_store.records import read_record
from guardianflow.names import ModelName
from guardianflow.promotion.approval import (
    Answer,
    Choice,
    Given,
    Identity,
    Proof,
    decision_of,
    objection,
)
from guardianflow.promotion.approval.approval_log import ApprovalLog, newest_books, open_book
from guardianflow.promotion.approval.one_time_codes import (
    approvers_file,
    matching_step,
    read_approvers,
    spend,
)
from guardianflow.promotion.approval.stored_rules import read_rule
from guardianflow.promotion.proposal import Proposal, champion_moves, require_in_time
from guardianflow.registry import ModelRegistryManager
from guardianflow.stored import Stored, read_stored

MAX_WRONG_CODES = 5
"""So many codes may be tried for one question: three of a million are right at any time."""
LAST_DAY = timedelta(days=1)
# Requests are flow runs.
_ASK = re.compile(r"ask\.(?P<request>[0-9a-f-]{36})\.(?P<round>[0-9]+)")


class Asked(Stored):
    """What the book keeps of a question."""

    record: str = Field(description="The MLflow run that holds the proposal.")
    digest: str = Field(description="sha256 of the proposal.")
    model_name: str = Field(description="Public name that was asked for.")
    version: int = Field(description="The version that would become its champion.")
    versions: dict[str, int] = Field(description="Every version that would become champion.")
    expires: datetime = Field(description="Until when it may be answered, UTC.")
    time: datetime | None = Field(
        default=None, description="When it was asked, UTC; None in an older version's book."
    )

    def is_ending(self, now: datetime) -> bool:
        """Whether its last day has begun, of two at least: of a short one nobody is reminded."""
        long = self.time is not None and self.expires - self.time >= 2 * LAST_DAY
        return long and now < self.expires <= now + LAST_DAY


@dataclass(frozen=True)
class QuestionStatus:
    """How a question stands."""

    answers: tuple[Given, ...]
    decision: Choice | None
    void: str = ""
    """Why it does not hold any more; '' where it does."""

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
        begun: When the request was made; it decides in which book it stands.
        number: The round, from 1 on.
    """

    def __init__(
        self, registry: ModelRegistryManager, request: str, begun: datetime, number: int
    ) -> None:
        self._registry = registry
        self._begun = begun
        self._key = f"{request}.{number}"

    def ask(self, make: Callable[[], Proposal]) -> Proposal:
        """What is asked: made and taken down the first time, read again after that.

        Raises:
            ApprovalVoid: The record is gone, unreadable or not what was asked.
            StoredUnreadable: Another version of guardianflow asked, and has to go on.
            Refused: The proposal cannot be made.
        """
        asked = self._asked()
        if asked is None:
            proposal = make()
            if proposal.changes_nothing:
                return proposal
            mine = _asked_of(proposal)
            text = self._book.write(f"ask.{self._key}", mine.model_dump_json())
            asked = read_stored(Asked, text, _label(self._key))
            if asked == mine:
                return proposal
        try:
            proposal = read_record(self._registry.client, asked.record, Proposal)
        except ArtifactMissing as error:
            raise ApprovalVoid(
                f"What was asked cannot be read any more ({error.message})", record=asked.record
            ) from error
        if proposal.digest != asked.digest:
            raise ApprovalVoid(
                f"The record of what was asked (MLflow run {asked.record}) was changed.",
                record=asked.record,
            )
        return proposal

    def status(self, proposal: Proposal) -> QuestionStatus:
        """How it stands now.

        Raises:
            StoredUnreadable: Another version of guardianflow took an answer down.
        """
        found = self._book.entries()
        answers: list[Given] = []
        while text := found.get(f"answer.{self._key}.{len(answers) + 1}"):
            answers.append(read_stored(Given, text, f"answer to the {_label(self._key)}"))
        counted = [answer for answer in answers if answer.counts]
        return QuestionStatus(
            tuple(answers),
            decision_of(proposal.policy, proposal.requested_by, counted),
            found.get(f"void.{self._key}", ""),
        )

    def take(
        self,
        proposal: Proposal,
        number: int,
        answer: Answer,
        code: str = "",
        *,
        now: datetime | None = None,
    ) -> QuestionStatus:
        """Take down an answer, and whether it counts; the same again changes nothing.

        Args:
            proposal: What was asked.
            number: The how manieth answer it is, from 1 on.
            answer: What somebody answered.
            code: The one-time code that came with it; it is kept nowhere.
            now: The time of the answer.

        Raises:
            ApprovalExpired: It came too late.
        """
        now = now or datetime.now(UTC)
        standing = self.status(proposal)
        if standing.void or standing.decision or number <= len(standing.answers):
            return standing
        require_in_time(proposal, now)
        rule = read_rule(self._registry.client, ModelName.parse(proposal.model_name))
        if rule.digest != proposal.policy.digest:
            self.void("the approval policy was changed")
            return self.status(proposal)
        problem = objection(rule, proposal.requested_by, standing.counted, answer)
        wrong, identity = False, Identity.DECLARED
        if not problem and rule.proof is Proof.TOTP:
            problem, wrong = self._check_code(answer.approver, code, number, now)
            identity = Identity.DECLARED if problem else Identity.CODE
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
        self._book.write(f"answer.{self._key}.{number}", given.model_dump_json())
        return self.status(proposal)

    @property
    def version(self) -> int | None:
        """The version that was asked about; None before it is."""
        asked = self._asked()
        return asked.version if asked else None

    def void(self, why: str) -> str:
        """Let no answer to it count any more; why that is, as it was first said."""
        return self._book.write(f"void.{self._key}", why[:1000])

    def voided(self) -> str:
        """Why it does not hold any more; '' where it does."""
        return self._book.entries().get(f"void.{self._key}", "")

    def close(self, outcome: str) -> None:
        """Take down what came of it."""
        self._book.write(f"closed.{self._key}", outcome[:1000])

    def _check_code(self, approver: str, code: str, number: int, now: datetime) -> tuple[str, bool]:
        """Why a code proves nothing, '' if it does, and whether that counts as a wrong one."""
        try:
            secrets = read_approvers(approvers_file())
        except (InputError, StoredUnreadable) as error:
            # A worker that is set up badly must not cost anybody the question.
            return f"this worker cannot check codes: {error.message}", False
        step = matching_step(secrets, approver, code, now)
        if step is None:
            return "the one-time code is wrong or too old", True
        if not spend(self._registry.client, approver, step, f"{self._key}.{number}"):
            return "the one-time code was used before; wait for the next one", True
        return "", False

    def _asked(self) -> Asked | None:
        text = self._book.entries().get(f"ask.{self._key}")
        return read_stored(Asked, text, _label(self._key)) if text else None

    @cached_property
    def _book(self) -> ApprovalLog:
        return open_book(self._registry.client, self._begun)


@dataclass(frozen=True)
class UnansweredQuestion:
    """A question of the book of which nobody has taken down what came of it."""

    request: str
    number: int
    asked: Asked
    book: ApprovalLog
    reminded: bool = False
    """Whether people were told that its last day has begun."""

    def remind(self) -> None:
        """Take down that people were told that its last day has begun."""
        self.book.write(f"reminded.{self.request}.{self.number}", "a day before the end")

    def close(self, outcome: str) -> None:
        """Take down what came of it."""
        self.book.write(f"closed.{self.request}.{self.number}", outcome[:1000])


def open_questions(client: MlflowClient) -> list[UnansweredQuestion]:
    """The last question of every request of which nobody took down what came of it."""
    found: list[UnansweredQuestion] = []
    for book in newest_books(client):
        entries = book.entries()
        asks = [match for key in entries if (match := _ASK.fullmatch(key))]
        last = {match["request"]: match for match in sorted(asks, key=lambda m: int(m["round"]))}
        for match in last.values():
            if f"closed.{match['request']}.{match['round']}" in entries:
                continue
            # One of another version of guardianflow is looked after by that.
            with suppress(StoredUnreadable):
                asked = read_stored(Asked, entries[match.string], _label(match.string))
                request, number = match["request"], int(match["round"])
                reminded = f"reminded.{request}.{number}" in entries
                found.append(UnansweredQuestion(request, number, asked, book, reminded))
    return found


def _label(key: str) -> str:
    return f"question {key} in the book of approvals"


def _asked_of(proposal: Proposal) -> Asked:
    return Asked(
        record=proposal.evidence_run_id,
        digest=proposal.digest,
        model_name=proposal.model_name,
        version=proposal.version,
        versions={m.name: m.after for m in champion_moves(proposal.moves) if m.after is not None},
        expires=proposal.expires,
        time=proposal.time,
    )
