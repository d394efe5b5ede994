"""The question that a request puts to people: asked, answered, void or closed, each once.

    asked --answers that count, enough of them--> decided --> closed
      |  +--an answer that does not count--> asked again, and the reason said
      |  +--five wrong codes--> over
      +--policy, files or champion are others--> void; the next round asks anew

All of it stands in the book of approvals, so that whichever worker goes on days later finds what
was asked and answered. What was asked is read from the record in MLflow and compared with the
digest in the book: whoever can only write evidence cannot change a question that was put.
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
from guardianflow.promotion.approval import (
    Answer,
    Choice,
    Given,
    Identity,
    Proof,
    decision_of,
    objection,
)
from guardianflow.promotion.approval.approval_log import (
    ApprovalLog,
    RoundKey,
    newest_books,
    open_book,
)
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
        begun: When the request was made; it decides in which book it stands.
        number: The round, from 1 on.
    """

    def __init__(
        self, registry: ModelRegistryManager, request: str, begun: datetime, number: int
    ) -> None:
        self._registry = registry
        self._begun = begun
        self._key = RoundKey(request, number)

    def ask(self, make: Callable[[], Proposal]) -> Proposal:
        """What is asked: made and taken down the first time, read again after that.

        Raises:
            ApprovalVoid: It does not hold any more, or its record is gone, unreadable or changed.
            StoredUnreadable: Another version of guardianflow asked, and has to go on.
            Refused: The proposal cannot be made.
        """
        found = self._entries()
        asked = _read_asked(found, self._key)
        if asked is None:
            proposal = make()
            if proposal.changes_nothing:
                return proposal
            mine = _asked_of(proposal)
            text = self._book.write(self._key.entry("ask"), mine.model_dump_json())
            asked = read_stored(Asked, text, _label(self._key))
            if asked == mine:
                return proposal
        try:
            proposal = read_record(self._registry.client, asked.record, Proposal)
        except ArtifactMissing as error:
            self.void(f"What was asked cannot be read any more ({error.message})", error)
        if proposal.digest != asked.digest:
            self.void(f"The record of what was asked (MLflow run {asked.record}) was changed.")
        return proposal

    def status(self, proposal: Proposal) -> QuestionStatus:
        """How it stands now.

        Raises:
            ApprovalVoid: It does not hold any more.
            StoredUnreadable: Another version of guardianflow took an answer down.
        """
        found = self._entries()
        answers: list[Given] = []
        while text := found.get(self._key.answer(len(answers) + 1)):
            answers.append(read_stored(Given, text, f"answer to the {_label(self._key)}"))
        counted = [answer for answer in answers if answer.counts]
        return QuestionStatus(
            tuple(answers),
            decision_of(proposal.policy, proposal.requested_by, counted),
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
            number: Number of the answer, from 1.
            answer: What somebody answered.
            code: The one-time code that came with it; it is kept nowhere.
            now: The time of the answer.

        Raises:
            ApprovalExpired: It came too late.
            ApprovalVoid: The question does not hold any more, or the policy was changed.
        """
        now = now or datetime.now(UTC)
        status = self.status(proposal)
        if status.decision or number <= len(status.answers):
            return status
        require_in_time(proposal, now)
        rule = read_rule(self._registry.client, proposal.name)
        if rule.digest != proposal.policy.digest:
            self.void("the approval policy was changed")
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
        self._book.write(self._key.answer(number), given.model_dump_json())
        return self.status(proposal)

    @property
    def version(self) -> int | None:
        """The version that this request asks about; None before it has asked, in any round."""
        found = self._book.entries()
        for number in range(self._key.number, 0, -1):
            if asked := _read_asked(found, RoundKey(self._key.request, number)):
                return asked.version
        return None

    def void(self, why: str, cause: Exception | None = None) -> NoReturn:
        """Let no answer to it count any more, for the reason that was taken down first.

        Raises:
            ApprovalVoid: Always.
        """
        raise ApprovalVoid(self._book.write(self._key.entry("void"), why[:1000])) from cause

    def void_rounds(self) -> list[str]:
        """Why the first rounds of this request do not hold any more, up to one that does."""
        found = self._book.entries()
        reasons: list[str] = []
        while why := found.get(RoundKey(self._key.request, len(reasons) + 1).entry("void")):
            reasons.append(why)
        return reasons

    def close(self, outcome: str) -> None:
        """Take down what came of it."""
        self._book.write(self._key.entry("closed"), outcome[:1000])

    def _identify(
        self, proof: Proof, approver: str, code: str, number: int, now: datetime
    ) -> tuple[str, bool, Identity]:
        """Why a code proves nothing ('' if it does), whether it was wrong, and who answered so."""
        match proof:
            case Proof.NONE:
                return "", False, Identity.DECLARED
            case Proof.TOTP:
                problem, wrong = self._check_code(approver, code, number, now)
                return problem, wrong, Identity.DECLARED if problem else Identity.CODE
            case _:
                assert_never(proof)

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

    def _entries(self) -> dict[str, str]:
        found = self._book.entries()
        if why := found.get(self._key.entry("void")):
            raise ApprovalVoid(why)
        return found

    @cached_property
    def _book(self) -> ApprovalLog:
        return open_book(self._registry.client, self._begun)


@dataclass(frozen=True)
class UnansweredQuestion:
    """A question of the book of which nobody has taken down what came of it."""

    key: RoundKey
    asked: Asked
    book: ApprovalLog
    reminded: bool = False
    """Whether people were told that its last day has begun."""

    @property
    def request(self) -> str:
        """The flow run that asks."""
        return self.key.request

    def remind(self) -> None:
        """Take down that people were told that its last day has begun."""
        self.book.write(self.key.entry("reminded"), "a day before the end")

    def close(self, outcome: str) -> None:
        """Take down what came of it."""
        self.book.write(self.key.entry("closed"), outcome[:1000])


def open_questions(client: MlflowClient) -> list[UnansweredQuestion]:
    """The last question of every request of which nobody took down what came of it."""
    found: list[UnansweredQuestion] = []
    for book in newest_books(client):
        entries = book.entries()
        rounds = [key for text in entries if (key := RoundKey.parse(text))]
        last = {key.request: key for key in sorted(rounds, key=lambda key: key.number)}
        for key in last.values():
            if key.entry("closed") in entries:
                continue
            # One of another version of guardianflow is looked after by that.
            with suppress(StoredUnreadable):
                if asked := _read_asked(entries, key):
                    reminded = key.entry("reminded") in entries
                    found.append(UnansweredQuestion(key, asked, book, reminded))
    return found


def _read_asked(entries: Mapping[str, str], key: RoundKey) -> Asked | None:
    text = entries.get(key.entry("ask"))
    return read_stored(Asked, text, _label(key)) if text else None


def _label(key: RoundKey) -> str:
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
