"""Who may approve a promotion, how many, proven how, and for how long. Pure: no I/O.

    rules (edited as a block in Prefect, mirrored to MLflow) -- the first that fits --> policy
    policy + who asked + answers that count + a new answer -> it counts, or why it does not

A typed name is *declared*: anybody may type it. Only a one-time code proves it.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Self, assert_never

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from guardianflow.names import ModelName
from guardianflow.promotion.recorded_messages import recorded
from guardianflow.registry.rotation.request import MAX_TEXT
from guardianflow.stored import Stored, as_json, settled
from guardianflow.wording.language import Language, say
from guardianflow.wording.printable import printable

LIFECYCLE = "lifecycle"
"""Who asks where the flow `lifecycle` does, and nobody is named."""
SERVER = "the Prefect server"
"""Who asks where a flow run was started without a name."""


class Choice(StrEnum):
    """What a person may answer."""

    APPROVE = "approve"
    REJECT = "reject"


class Proof(StrEnum):
    """What a policy asks for besides a name."""

    NONE = "none"
    TOTP = "totp"


class Identity(StrEnum):
    """How it is known who answered."""

    DECLARED = "declared"
    CODE = "proven by one-time code"
    ACCOUNT = "account of the command line"


class Answer(BaseModel):
    """A person's answer to a proposal; an answer that was not chosen is never a decision."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True
    )

    decision: Choice = Field(description="approve or reject; there is no default.")
    approver: str = Field(min_length=2, max_length=100, description="Who decides (declared).")
    reason: str = Field(min_length=3, max_length=500, description="Why.")
    identity: Identity = Field(
        default=Identity.DECLARED, description="How it is known who answered."
    )

    @field_validator("approver", "reason", mode="before")
    @classmethod
    def _without_controls(cls, typed: object) -> object:
        return printable(typed) if isinstance(typed, str) else typed

    @property
    def who(self) -> str:
        """The name with how it is known; the account of a command says so itself."""
        match self.identity:
            case Identity.DECLARED | Identity.CODE:
                return f"{self.approver} ({self.identity})"
            case Identity.ACCOUNT:
                return self.approver
            case _:
                assert_never(self.identity)


class ApprovalRule(BaseModel):
    """What an approval needs; by default one declared name."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    models: str = Field(
        default="*",
        min_length=1,
        max_length=200,
        description="For which models: a pattern of base names, e.g. donghwa-entec/*.",
    )
    approvers: tuple[str, ...] = Field(
        default=(), description="Names of those who may approve; empty: anybody."
    )
    overriders: tuple[str, ...] = Field(
        default=(),
        description="Names of those who may override the gate, a quarantine or a hold, with a "
        "reason; empty: anybody.",
    )
    four_eyes: bool = Field(default=False, description="Who asked may not approve.")
    approvals_needed: int = Field(
        default=1, ge=1, le=2, description="1, or 2 of different approvers."
    )
    proof: Proof = Field(
        default=Proof.NONE, description="none: the name is declared; totp: a one-time code."
    )
    expires_after_days: float = Field(
        default=7.0, gt=0, le=30, description="Days until an unanswered question expires."
    )

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        for what, listed in (("approver", self.approvers), ("overrider", self.overriders)):
            names = {plain_name(name) for name in listed}
            if len(names) != len(listed) or "" in names:
                raise ValueError(f"an {what} is named twice, or not at all")
        if self.approvers and len(self.approvers) < self.approvals_needed:
            raise ValueError("two approvals need at least two approvers")
        return self

    @property
    def digest(self) -> str:
        """sha256 over what it asks for; not over the pattern, which only finds it."""
        content = settled("ApprovalRule", self.model_dump(mode="json", exclude={"models"}))
        return hashlib.sha256(as_json(content).encode()).hexdigest()

    @property
    def asks_for_more_than_a_name(self) -> bool:
        """Whether an account at a command line cannot satisfy it."""
        return bool(
            self.approvers
            or self.four_eyes
            or self.approvals_needed > 1
            or self.proof is not Proof.NONE
        )

    @property
    def lasts(self) -> timedelta:
        """How long a question can be answered."""
        return timedelta(days=self.expires_after_days)

    def in_words(self, language: Language = Language.EN) -> str:
        """What it asks for, for the form."""
        said = say(language, "policy.two" if self.approvals_needed > 1 else "policy.one")
        if self.approvers:
            said = say(language, "policy.of", count=said, names=", ".join(self.approvers))
        keys = ["policy.four_eyes"] if self.four_eyes else []
        match self.proof:
            case Proof.NONE:
                keys.append("policy.name")
            case Proof.TOTP:
                keys.append("policy.code")
            case _:
                assert_never(self.proof)
        return ", ".join([said, *(say(language, key) for key in keys)])


DEFAULT_RULE = ApprovalRule()


def rule_for(rules: Sequence[ApprovalRule], name: ModelName) -> ApprovalRule:
    """The first rule that fits the base of a name; a variant is promoted by its base's rule."""
    base = name.base.public
    return next((rule for rule in rules if fnmatchcase(base, rule.models)), DEFAULT_RULE)


class Given(Answer, Stored):
    """An answer as it was taken down: whether it counts, and why not."""

    number: int = Field(ge=1, description="Number of the answer, from 1.")
    problem: str = Field(default="", description="Why it does not count; empty where it does.")
    wrong_code: bool = Field(default=False, description="Whether its one-time code was wrong.")
    time: datetime = Field(description="When it was taken down, UTC.")

    @property
    def counts(self) -> bool:
        """Whether it counts for the decision."""
        return not self.problem


def objection(rule: ApprovalRule, requester: str, earlier: Sequence[Answer], answer: Answer) -> str:
    """Return why an answer does not count beside those that do so far; '' if it does.

    Its code is not checked here. The requester is named as declared.
    """
    if rule.approvers and not any(same_name(answer.approver, name) for name in rule.approvers):
        names = ", ".join(rule.approvers)
        return recorded("approver", who=answer.approver, names=names)
    # The requester may withdraw the request.
    if answer.decision is Choice.REJECT:
        return ""
    if rule.four_eyes and same_person(answer.approver, requester):
        return recorded("requester", who=answer.approver)
    if any(same_person(answer.approver, other.approver) for other in earlier):
        return recorded("again", who=answer.approver)
    return ""


def names_a_person(requested_by: str) -> bool:
    """Whether a request names a person; four eyes cannot tell another one from the approver."""
    return requested_by.strip() not in ("", LIFECYCLE, SERVER)


def may_override(rule: ApprovalRule, who: str) -> bool:
    """Whether somebody may override the gate; an account of a command line by its full name.

    Unlike `same_person`, which keeps people out, this lets them in: `kim@laptop (CLI)` is
    `kim@laptop`, but not `kim`.
    """
    account = who.removesuffix("(CLI)")
    return not rule.overriders or any(same_name(account, name) for name in rule.overriders)


def decision_of(rule: ApprovalRule, requester: str, answers: Sequence[Answer]) -> Choice | None:
    """Return the decision; None while too few answers count."""
    counted: list[Answer] = []
    for answer in answers:
        if not _is_proven(rule.proof, answer) or objection(rule, requester, counted, answer):
            continue
        match answer.decision:
            case Choice.REJECT:
                return Choice.REJECT
            case Choice.APPROVE:
                counted.append(answer)
            case _:
                assert_never(answer.decision)
    return Choice.APPROVE if len(counted) >= rule.approvals_needed else None


def _is_proven(proof: Proof, answer: Answer) -> bool:
    """Whether the identity is known as the policy asks."""
    match proof:
        case Proof.NONE:
            return True
        case Proof.TOTP:
            return answer.identity is Identity.CODE
        case _:
            assert_never(proof)


def actor_of(answers: Sequence[Answer]) -> str:
    """Return who decided, for the ledger, with how each identity is known."""
    return ", ".join(answer.who for answer in answers)[:MAX_TEXT]


def reason_of(answers: Sequence[Answer]) -> str:
    """Why, for the ledger; of two answers each is shortened; the log has them whole."""
    if len(answers) == 1:
        return answers[0].reason
    share = MAX_TEXT // max(1, len(answers)) - 110
    return "; ".join(f"{a.approver}: {_shortened(a.reason, share)}" for a in answers)


def expires_at(rule: ApprovalRule, asked: datetime) -> datetime:
    """Return when a question that was asked then expires, UTC."""
    return asked.astimezone(UTC) + rule.lasts


def same_name(one: str, other: str) -> bool:
    """Whether two declared names differ only in case and spaces."""
    return plain_name(one) == plain_name(other)


def same_person(one: str, other: str) -> bool:
    """Whether two declared names may mean one person: `kim@laptop (CLI)` and `Kim` do."""
    return bool(_called(one) & _called(other))


def _called(name: str) -> set[str]:
    plain = plain_name(name.removesuffix("(CLI)"))
    return {plain, plain.partition("@")[0].strip()} - {""}


def plain_name(name: str) -> str:
    """A declared name without what two spellings of it may differ in."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
