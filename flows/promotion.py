"""The flow `promote`: propose -> wait for people, without a process -> decide.

    round:  propose -> suspended --answer--> flow starts again from the top
                          ^                     what was asked and answered: read from MLflow
                          |  does not count, or one more is needed: asked again, new key
                          +---------------------+
                                                enough answers: decide -> event
    champion moved, a file or the policy differs: the next round, with new evidence

While it waits, no worker is needed: workers and servers may go and come back. What was asked and
answered lies in MLflow (`question.py`), so another worker, or a newer version of this flow, goes on
where one stopped. This flow keeps no result of its own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from prefect import flow, get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from prefect.states import Completed, Failed
from prefect.types import KeyValueLabelsField
from pydantic import SecretStr, ValidationError

from flows.approval_form import answer_form, given_answer, notes, unusable
from flows.parameters import ModelVersion, PublicModelName, Text
from flows.policy_mirror import mirror_policy
from flows.publishing import ProgressBar, artifact_key, evidence_key, send_event, show_page
from flows.registry_access import scenario_registry
from flows.retries import patient, patient_with_blocks, run_token
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
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.flowruns import ENDED
from guardianflow.promotion.approval import Answer, Choice
from guardianflow.promotion.form import expired_sentence, outcome_sentence
from guardianflow.promotion.proposal import Proposal, require_in_time
from guardianflow.promotion.question import MAX_WRONG_CODES, Question, QuestionStatus
from guardianflow.promotion.recorded_messages import recorded_in_words, void_in_words
from guardianflow.wording.language import Language, say
from guardianflow.wording.markdown import Markdown, plain, prose

if TYPE_CHECKING:
    from guardianflow.registry import ModelRegistryManager

MAX_ROUNDS = 5
"""So often is asked anew when what was approved is not what is there any more."""
_SHOWN = "guardianflow.shown"
_NOTE = "guardianflow.note"
_PAGE = "guardianflow.page"
# An answer that was given must outlive a restart of the servers: five minutes.
_PATIENCE: dict[str, Any] = {
    "retries": 30,
    "retry_delay_seconds": 10,
    "retry_condition_fn": patient,
    "cache_policy": NO_CACHE,
}
# So must one whose scenario somebody edits just now.
_LONG_PATIENCE: dict[str, Any] = {**_PATIENCE, "retry_condition_fn": patient_with_blocks}


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
    why, language = "", Language.EN
    for number in range(1, MAX_ROUNDS + 1):
        round_ = open_round(number, model_name, model_version, requested_by, reason, force=force)
        if round_.proposal and round_.proposal.changes_nothing:
            message = f"{model_name} version {round_.proposal.version} is @champion already."
            return Completed(name="NothingToDo", message=message)
        language = round_.proposal.language if round_.proposal else language
        # Another candidate that came meanwhile is none of this request.
        model_version = round_.version or model_version
        outcome = round_.void or settle(round_, why)
        if not isinstance(outcome, str):
            return outcome
        why = outcome
        get_run_logger().warning("an answer does not hold: %s; asking anew", why)
    words = void_in_words(why, language)
    said = say(language, "ended.rounds", rounds=MAX_ROUNDS, why=words)
    return over("Void", said, f"Asked {MAX_ROUNDS} times, and the last time void: {why}")


@dataclass(frozen=True)
class Round:
    """What is asked in one round; without a proposal it was void before anything was asked."""

    number: int
    version: int | None
    proposal: Proposal | None = None
    standing: QuestionStatus | None = None
    page: str = ""
    void: str = ""


@task(name="propose", **_PATIENCE)
def open_round(
    number: int,
    model_name: str,
    model_version: int | None,
    requested_by: str,
    reason: str,
    *,
    force: bool,
) -> Round:
    """Measure, judge, keep the evidence in MLflow and show it; or read what was asked before."""
    from guardianflow.promotion import propose

    registry, question = _question(number)
    version = question.version
    if why := question.voided():
        return Round(number, version, void=why)

    def make() -> Proposal:
        # Nobody is asked by rules of before where those of now cannot be used.
        mirror_policy(registry)
        return propose(
            registry,
            model_name,
            model_version,
            # Nobody can guess it: evidence that somebody else wrote is not taken for ours.
            token=f"{run_token('promotion')}-{uuid4()}",
            requested_by=requested_by or "the Prefect server",
            reason=reason,
            force=force,
            today=today_in_blocks,
            on_progress=ProgressBar(),
        )

    try:
        proposal = question.ask(make)
    except ApprovalVoid as error:
        return Round(number, version, void=question.void(error.message))
    if proposal.changes_nothing:
        return Round(number, proposal.version, proposal)
    standing = question.status(proposal)
    return Round(number, proposal.version, proposal, standing, _show(registry, proposal))


def _question(number: int) -> "tuple[ModelRegistryManager, Question]":
    """The question of this flow run, after the policy of now was copied to MLflow.

    One that cannot be used costs nobody an answer: the rules by which was asked go on counting.
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


def _show(registry: "ModelRegistryManager", proposal: Proposal) -> str:
    """Show the page of the record once in the Prefect UI; its address there.

    It is made again from what was asked: a page that somebody edited in MLflow is not shown.
    """
    from guardianflow.promotion.evidence.sentences import headline
    from guardianflow.promotion.page import Links, evidence_page

    run = UUID(flow_run.get_id())
    ui = Orchestrator().ui_url
    with get_client(sync_client=True) as client:
        known = client.read_flow_run(run).labels or {}
        if known.get(_SHOWN) == proposal.evidence_run_id and _PAGE in known:
            return f"{ui}/artifacts/artifact/{known[_PAGE]}"
        get_run_logger().info("%s", proposal.headline)
        page = evidence_page(proposal, Links.to(registry.client, proposal))
        key = evidence_key(proposal.model_name)
        # It stands above the page; the record and messages have it in English.
        said = headline(proposal.subjects, proposal.gate, proposal.language)
        shown = show_page(key, page, Markdown(said))
        # Let `guardianflow pending` see what is asked without opening the form.
        labels: KeyValueLabelsField = {
            "guardianflow.model.version": proposal.version,
            "guardianflow.headline": proposal.headline,
            _SHOWN: proposal.evidence_run_id,
            _PAGE: str(shown),
        }
        client.update_flow_run_labels(run, labels)
    return f"{ui}/artifacts/artifact/{shown}"


def settle(round_: Round, why: str) -> State[Any] | str:
    """Ask until there are enough answers and carry them out; a text says why they do not hold.

    Args:
        round_: What is asked.
        why: Why the round before is void, for the form.
    """
    proposal, standing = round_.proposal, round_.standing
    if proposal is None or standing is None:
        raise ValueError("a round that is asked has a proposal")
    try:
        return _settle(round_, proposal, standing, why)
    except ApprovalExpired as expired:
        return over("Expired", expired_sentence(proposal, expired), str(expired))


def _settle(
    round_: Round, proposal: Proposal, standing: QuestionStatus, why: str
) -> State[Any] | str:
    """As `settle` does; ApprovalExpired where no answer came in time."""
    while standing.decision is None and not standing.void:
        if standing.exhausted:
            language, complaint = proposal.language, standing.complaint
            words = recorded_in_words(complaint, language)
            said = say(language, "ended.codes", most=MAX_WRONG_CODES, why=words)
            recorded = f"{MAX_WRONG_CODES} one-time codes were wrong: {complaint}."
            return over("Void", said, recorded)
        answer, code = ask(round_.number, proposal, standing, round_.page, why)
        standing = take_answer(round_.number, proposal, len(standing.answers) + 1, answer, code)
    if standing.decision is None:
        return standing.void
    message, void = decide_promotion(round_.number, proposal, standing)
    if void:
        return void
    # What the state says is read by the person who has just answered.
    said = outcome_sentence(proposal, standing.decision, standing.counted)
    if standing.decision is Choice.REJECT:
        return Completed(name="Rejected", message=said)
    for subject in proposal.subjects:
        send_event(
            EventName.PROMOTED,
            ModelEvent(
                model=subject.model_name,
                version=subject.version,
                report=proposal.evidence_run_id,
                message=message,
            ),
        )
    return Completed(name="Promoted", message=said)


def over(name: str, said: str, recorded: str) -> State[Any]:
    """The end without a decision: the state says it to the floor, events and tags in English."""
    note(recorded, ENDED)
    return Failed(name=name, message=said)


def ask(
    number: int, proposal: Proposal, standing: QuestionStatus, page: str, why: str
) -> tuple[Answer, SecretStr]:
    """Wait for a person's answer; one that cannot be used is asked for again.

    The key holds the proposal's digest: an answer counts only for the evidence it was given to.
    """
    complaint = standing.complaint
    for attempt in count(1):
        require_in_time(proposal, datetime.now(UTC))
        form = answer_form(proposal, standing, page, why, complaint)
        if said := " ".join(notes(standing, why, complaint)):
            note(said)
        key = f"{number}-{len(standing.answers) + 1}-{attempt}-{proposal.digest[:32]}"
        try:
            return given_answer(_wait_for(form, key, proposal.expires))
        except ValidationError as error:
            complaint = unusable(error)
            get_run_logger().warning("the answer cannot be used (%s), asking again", complaint)
    raise AssertionError("unreachable: count() has no end")


@task(name="note", **_PATIENCE)
def note(said: str, label: str = _NOTE) -> None:
    """Keep with the flow run, in English, what became of earlier answers, or how it ended.

    The message that the promotion waits, and the one that nobody decided, say so.
    """
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(UUID(flow_run.get_id()), {label: said})


def _wait_for(form: type[RunInput], key: str, until: datetime) -> RunInput:
    left = max(1, int((until - datetime.now(UTC)).total_seconds()))
    if deployment.get_id():
        return suspend_flow_run(wait_for_input=form, timeout=left, key=key)
    # A flow run that Python started itself cannot be started again by a worker: it waits here.
    return pause_flow_run(wait_for_input=form, timeout=left, poll_interval=1, key=key)


@task(name="take-answer", **_PATIENCE)
def take_answer(
    number: int, proposal: Proposal, which: int, answer: Answer, code: SecretStr
) -> QuestionStatus:
    """Take down an answer, and whether it counts; the code is checked and kept nowhere."""
    _, question = _question(number)
    standing = question.take(proposal, which, answer, code.get_secret_value())
    said = standing.complaint or f"{answer.decision.value}: {standing.answers[-1].who}"
    get_run_logger().info("answer %d: %s", which, standing.void or said)
    return standing


@task(name="decide", **_LONG_PATIENCE)
def decide_promotion(number: int, proposal: Proposal, standing: QuestionStatus) -> tuple[str, str]:
    """Carry out the answers, once however often this is tried.

    A scenario's block that is wrong just now voids no answer: it is read again, for five minutes.

    Returns:
        What was done, or why the answers do not hold; the other is empty.
    """
    from guardianflow.promotion import decide

    registry, question = _question(number)
    try:
        decided = decide(
            registry,
            proposal,
            standing.counted,
            token=run_token("promotion"),
            today=today_in_blocks,
        )
    except (
        ApprovalVoid,
        ArtifactMissing,
        ChampionChanged,
        ReleaseChanged,
    ) as error:
        if standing.decision is Choice.REJECT:
            raise
        return "", question.void(error.message)
    question.close(str(standing.decision))
    get_run_logger().info("%s", decided.message)
    answers = "\n".join(
        f"- **{a.decision}** by {plain(a.who)}: {plain(a.reason)}" for a in standing.counted
    )
    show_page(
        artifact_key("decision", proposal.model_name),
        f"{answers}\n\n{prose(decided.message)}\n",
        f"{proposal.model_name} version {proposal.version}: {standing.decision}",
    )
    return decided.message, ""
