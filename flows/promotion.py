"""The flow `promote`: propose -> wait for people, without a process -> decide.

    round:  propose -> suspended --answer--> flow starts again from the top
                          ^                     what was asked and answered: read from MLflow
                          |  does not count, or one more is needed: asked again, new key
                          +---------------------+
                                                enough answers: decide -> event
    void, since the champion, a file or the policy changed: the next round, with new evidence

While it waits, no worker is needed: workers and servers may go and come back. What was asked and
answered is in MLflow (`guardianflow/promotion/question.py`), so another worker, or a newer version
of this flow, continues where one stopped. This flow keeps no result of its own.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, assert_never
from uuid import UUID, uuid4

from prefect import flow, get_client, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import SecretStr, ValidationError

from flows.approval_form import answer_form, given_answer, notes, unusable, wait_for
from flows.parameters import ModelVersion, PublicModelName, Text
from flows.promotion_pages import show_decision, show_evidence
from flows.publishing import ProgressBar, send_event
from flows.registry_access import mirror_policy, scenario_registry
from flows.retries import PATIENT, PATIENT_WITH_BLOCKS, run_token
from flows.scenario_blocks import today_in_blocks
from guardianflow.errors import (
    ApprovalExpired,
    ApprovalVoid,
    ArtifactMissing,
    ChampionChanged,
    InputError,
    ReleaseChanged,
)
from guardianflow.events import EventName, ModelEvent
from guardianflow.prefect_api.flowruns import ENDED
from guardianflow.prefect_api.run_tokens import TokenKind
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.policy import SERVER, Answer, Choice
from guardianflow.promotion.form import expired_sentence, outcome_sentence
from guardianflow.promotion.proposal import Proposal, require_in_time
from guardianflow.promotion.question import MAX_WRONG_CODES, Question, QuestionStatus
from guardianflow.promotion.recorded_messages import recorded_in_words, void_in_words
from guardianflow.registry import ModelRegistryManager
from guardianflow.wording.language import Language, say

MAX_ROUNDS = 5
"""How often people are asked, if each time what they approved was changed meanwhile."""
_NOTE = "guardianflow.note"


@flow(name="promote", flow_run_name="promote {model_name}")
def promote(
    model_name: PublicModelName,
    model_version: ModelVersion | None = None,
    requested_by: Text = "",
    reason: Text = "",
    *,
    force: bool = False,
) -> State[Any]:
    """Measure a version beside the champion, ask people, and make it @champion if approved.

    A rejection leaves every alias as it is. Who may approve, and how many, is in the block
    guardianflow-approval.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
        model_version: Version to promote, with the variants made from it. Without one: @candidate.
        requested_by: Who asks, as declared; it is shown with the question.
        reason: Why it is asked for; it is shown with the question. A version that was rejected is
            proposed again only with one.
        force: Ask although the gate says FAILED or the version was rolled back before; wants a
            reason, and one whom the policy lets as requested_by.
    """
    earlier = void_rounds()
    why, language = earlier[-1] if earlier else "", Language.EN
    for number in range(len(earlier) + 1, MAX_ROUNDS + 1):
        try:
            round_ = open_round(
                number, model_name, model_version, requested_by, reason, force=force
            )
            language = round_.proposal.language
            return settle(round_, why)
        except ApprovalVoid as void:
            why = void.message
            get_run_logger().warning("the answers are void: %s; asking again", why)
    said = say(language, "ended.rounds", rounds=MAX_ROUNDS, why=void_in_words(why, language))
    return end_undecided("Void", said, f"Asked {MAX_ROUNDS} times, and the last time void: {why}")


@dataclass(frozen=True)
class Round:
    """What is asked in one round, and the answers when the flow starts."""

    number: int
    proposal: Proposal
    status: QuestionStatus = field(default_factory=QuestionStatus)
    page: str = ""


@task(name="earlier-rounds", **PATIENT)
def void_rounds() -> list[str]:
    """Return why each round before this start of the flow is void."""
    _, question = _question(1)
    return question.void_rounds()


@task(name="propose", **PATIENT)
def open_round(
    number: int,
    model_name: str,
    model_version: int | None,
    requested_by: str,
    reason: str,
    *,
    force: bool,
) -> Round:
    """Measure, judge, keep the evidence in MLflow and show it; or read what was asked before.

    Raises:
        ApprovalVoid: The question of this round is void.
    """
    registry, question = _question(number)

    def make() -> Proposal:
        # Nobody is asked under old rules where the new ones cannot be used.
        mirror_policy(registry)
        return propose(
            registry,
            model_name,
            # A candidate that came meanwhile is not part of this request.
            question.version or model_version,
            # Nobody can guess it, so evidence of somebody else is never taken for ours.
            token=f"{run_token(TokenKind.PROMOTION)}-{uuid4()}",
            requested_by=requested_by or SERVER,
            reason=reason,
            force=force,
            today=today_in_blocks,
            on_progress=ProgressBar(),
        )

    proposal = question.ask(make)
    if proposal.changes_nothing:
        return Round(number, proposal)
    return Round(number, proposal, question.status(proposal), show_evidence(registry, proposal))


def settle(round_: Round, why: str) -> State[Any]:
    """Ask until there are enough answers, and carry them out; `why` the round before is void.

    Raises:
        ApprovalVoid: The answers are void.
    """
    proposal, status = round_.proposal, round_.status
    if proposal.changes_nothing:
        message = f"{proposal.model_name} version {proposal.version} is @champion already."
        return Completed(name="NothingToDo", message=message)
    try:
        while status.decision is None:
            if status.exhausted:
                return no_more_codes(proposal, status.complaint)
            answer, code = ask(round_, status, why)
            which = len(status.answers) + 1
            status = take_answer(round_.number, proposal, which, answer, code)
        message = decide_promotion(round_.number, proposal, status)
    except ApprovalExpired as expired:
        return end_undecided("Expired", expired_sentence(proposal, expired), str(expired))
    # The person who has just answered reads the message of the state.
    said = outcome_sentence(proposal, status.decision, status.counted)
    match status.decision:
        case Choice.REJECT:
            return Completed(name="Rejected", message=said)
        case Choice.APPROVE:
            tell_promoted(proposal, message)
            return Completed(name="Promoted", message=said)
        case _:
            assert_never(status.decision)


def ask(round_: Round, status: QuestionStatus, why: str) -> tuple[Answer, SecretStr]:
    """Wait for a person's answer; ask again if it cannot be used.

    The key has the digest of the proposal: an answer counts only for the evidence that was shown.
    """
    proposal, complaint, attempt = round_.proposal, status.complaint, 1
    while True:
        require_in_time(proposal, datetime.now(UTC))
        form = answer_form(proposal, status, round_.page, why, complaint)
        if said := " ".join(notes(status, why, complaint)):
            note(said)
        key = f"{round_.number}-{len(status.answers) + 1}-{attempt}-{proposal.digest[:32]}"
        try:
            return given_answer(wait_for(form, key, proposal.expires))
        except ValidationError as error:
            complaint, attempt = unusable(error), attempt + 1
            get_run_logger().warning("the answer cannot be used (%s), asking again", complaint)


@task(name="take-answer", **PATIENT)
def take_answer(
    number: int, proposal: Proposal, which: int, answer: Answer, code: SecretStr
) -> QuestionStatus:
    """Record an answer, and whether it counts; the code is checked and not stored."""
    _, question = _question(number)
    status = question.take(proposal, which, answer, code.get_secret_value())
    said = status.complaint or f"{answer.decision.value}: {status.answers[-1].who}"
    get_run_logger().info("answer %d: %s", which, said)
    return status


@task(name="decide", **PATIENT_WITH_BLOCKS)
def decide_promotion(number: int, proposal: Proposal, status: QuestionStatus) -> str:
    """Carry out the answers, once however often this is tried; return what was done.

    A scenario's block that cannot be used voids no answer: it is read again for five minutes.

    Raises:
        ApprovalVoid: What was approved is not what is there now.
    """
    registry, question = _question(number)
    token = run_token(TokenKind.PROMOTION)
    try:
        decided = decide(registry, proposal, status.counted, token=token, today=today_in_blocks)
    except (ApprovalVoid, ArtifactMissing, ChampionChanged, ReleaseChanged) as error:
        if status.decision is Choice.REJECT:
            raise
        question.void(error.message, error)
    question.close(str(status.decision))
    get_run_logger().info("%s", decided.message)
    show_decision(proposal, status, decided.message)
    return decided.message


def tell_promoted(proposal: Proposal, message: str) -> None:
    """Send an event for each model that has a new champion."""
    for subject in proposal.subjects:
        payload = ModelEvent(
            model=subject.model_name,
            version=subject.version,
            report=proposal.evidence_run_id,
            message=message,
        )
        send_event(EventName.PROMOTED, payload)


def no_more_codes(proposal: Proposal, complaint: str) -> State[Any]:
    """End a request for which too many one-time codes were wrong."""
    why = recorded_in_words(complaint, proposal.language)
    said = say(proposal.language, "ended.codes", most=MAX_WRONG_CODES, why=why)
    return end_undecided("Void", said, f"{MAX_WRONG_CODES} one-time codes were wrong: {complaint}.")


def end_undecided(name: str, said: str, recorded: str) -> State[Any]:
    """End without a decision: the state says it to the floor, events and tags in English."""
    note(recorded, ENDED)
    return Failed(name=name, message=said)


@task(name="note", **PATIENT)
def note(said: str, label: str = _NOTE) -> None:
    """Keep in a label, in English, what became of earlier answers, or how the flow run ended.

    Messages that a promotion waits, or that nobody decided, say so.
    """
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(UUID(flow_run.get_id()), {label: said})


def _question(number: int) -> tuple[ModelRegistryManager, Question]:
    """Open the question of this flow run, after copying the approval policy to MLflow.

    A policy that cannot be used voids no answer: the rules in MLflow stay in force.
    """
    registry = scenario_registry()
    try:
        mirror_policy(registry)
    except InputError as error:
        get_run_logger().warning("the approval policy is as it was: %s", error)
    run = UUID(flow_run.get_id())
    with get_client(sync_client=True) as client:
        begun = client.read_flow_run(run).created
    return registry, Question(registry, str(run), begun or datetime.now(UTC), number)
