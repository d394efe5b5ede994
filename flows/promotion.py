"""The flow `promote`: propose -> wait for a person, without a process -> decide.

    propose (kept, JSON) -> suspended --answer--> flow starts again from the top
                               ^                    propose: kept result
                               |                    answer unusable: asked again, new key
                               +--------------------+
                                                    answer usable: decide -> event

While it waits, no worker is needed: workers and servers may go and come back. The evidence lies in
MLflow under a token of this flow run, so another worker can go on where one stopped.
"""

from itertools import count
from typing import Any, cast
from uuid import UUID

from prefect import flow, get_client, get_run_logger, task
from prefect.cache_policies import INPUTS, NO_CACHE, RUN_ID
from prefect.client.schemas.objects import State
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment, flow_run
from prefect.states import Completed
from prefect.types import KeyValueLabelsField
from pydantic import ValidationError, create_model

from flows.connection import (
    connect,
    picture_links,
    run_link,
    run_token,
    version_link,
    worth_retrying,
)
from flows.parameters import ModelVersion, PublicModelName, Text
from flows.publishing import ProgressBar, artifact_key, send_event, show_page, show_pictures
from guardianflow.events import EventName, ModelEvent
from guardianflow.evidence import evidence_markdown
from guardianflow.proposal import Answer, Choice, Proposal

ANSWER_WITHIN_S = 7 * 24 * 3600


@flow(name="promote", flow_run_name="promote {model_name}")
def promote(
    model_name: PublicModelName,
    model_version: ModelVersion | None = None,
    requested_by: Text = "",
    reason: Text = "",
) -> State[Any]:
    """Measure a version beside the champion, ask a person, and make it @champion if approved.

    A rejection leaves every alias as it is.

    Args:
        model_name: customer/region-plant/zone/task, for a variant with __backend_precision behind
            it, e.g. donghwa-entec/busan-plant1/welding/ppe__openvino_int8.
        model_version: Version to promote, with the variants made from it. Without one: @candidate.
        requested_by: Who asks, as declared; it is shown with the question.
        reason: Why it is asked for; it is shown with the question.
    """
    asked_by = requested_by or "the Prefect server"
    kept = propose_promotion(
        model_name, model_version, f"{asked_by} ({reason})" if reason else asked_by
    )
    proposal = Proposal.model_validate(kept["proposal"])
    if proposal.changes_nothing:
        message = f"{proposal.model_name} version {proposal.version} is @champion already."
        return Completed(name="NothingToDo", message=message)
    answer = ask(proposal, kept["links"])
    message = decide_promotion(proposal, answer)
    if answer.decision is Choice.REJECT:
        return Completed(name="Rejected", message=message)
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
    return Completed(name="Promoted", message=message)


# Persisted as JSON under this flow run's id: the flow starts from the top after the answer, and
# the default policy holds the task's source, so that an edited file would ask again.
@task(
    name="propose",
    persist_result=True,
    cache_policy=INPUTS + RUN_ID,
    result_serializer="json",
    retries=3,
    retry_delay_seconds=10,
    retry_condition_fn=worth_retrying,
)
def propose_promotion(
    model_name: str, model_version: int | None, requested_by: str
) -> dict[str, Any]:
    """Measure, judge, keep the evidence in MLflow and show it."""
    from guardianflow.promotion import propose

    registry = connect()
    proposal = propose(
        registry,
        model_name,
        model_version,
        token=run_token("promotion"),
        requested_by=requested_by,
        on_progress=ProgressBar(),
    )
    get_run_logger().info("%s", proposal.headline)
    key = artifact_key("evidence", proposal.model_name)
    pictures = picture_links(registry, proposal.evidence_run_id)
    links = (
        f"\n[evidence in MLflow]({run_link(registry, proposal.evidence_run_id)}) · "
        f"[model version]({version_link(registry, proposal.model_name, proposal.version)})\n\n"
        + "\n\n".join(f"![{name}]({address})" for name, address in pictures.items())
    )
    show_page(key, evidence_markdown(proposal) + links, proposal.headline)
    show_pictures(key, pictures)
    _label(proposal)
    return {"proposal": proposal.model_dump(mode="json"), "links": links}


def _label(proposal: Proposal) -> None:
    """Let `guardianflow pending` see what is asked without opening the form."""
    run = UUID(flow_run.get_id())
    labels: KeyValueLabelsField = {
        "guardianflow.model.version": proposal.version,
        "guardianflow.headline": proposal.headline,
    }
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(run, labels)


def ask(proposal: Proposal, links: str) -> Answer:
    """Wait for a person's answer; one that cannot be used is asked for again.

    The key holds the proposal's digest: an answer counts only for the evidence it was given to.
    """
    complaint = ""
    for attempt in count(1):
        form = answer_form(proposal, links, complaint)
        key = f"{proposal.digest[:12]}-{attempt}"
        try:
            given = _wait_for(form, key)
            return Answer.model_validate(given.model_dump())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            complaint = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            get_run_logger().warning("the answer cannot be used (%s), asking again", complaint)
    raise AssertionError("unreachable: count() has no end")


def answer_form(proposal: Proposal, links: str = "", complaint: str = "") -> type[RunInput]:
    """The form that the Prefect UI shows: the fields of `Answer`, the evidence above them.

    Built field by field, so that titles, descriptions and constraints reach the server.
    """
    fields = {name: (field.annotation, field) for name, field in Answer.model_fields.items()}
    form = create_model("PromotionAnswer", __base__=RunInput, **cast("dict[str, Any]", fields))
    first, _, rest = evidence_markdown(proposal).partition("\n")
    again = f"\n\n**The last answer could not be used ({complaint}). Please answer again.**"
    return form.with_initial_data(description=f"{first}{again if complaint else ''}\n{rest}{links}")


def _wait_for(form: type[RunInput], key: str) -> RunInput:
    if deployment.get_id():
        return suspend_flow_run(wait_for_input=form, timeout=ANSWER_WITHIN_S, key=key)
    # A flow run that Python started itself cannot be started again by a worker: it waits here.
    return pause_flow_run(wait_for_input=form, timeout=ANSWER_WITHIN_S, poll_interval=1, key=key)


@task(
    name="decide",
    retries=5,
    retry_delay_seconds=5,
    retry_condition_fn=worth_retrying,
    cache_policy=NO_CACHE,
)
def decide_promotion(proposal: Proposal, answer: Answer) -> str:
    """Carry out the answer, once however often this is tried."""
    from guardianflow.promotion import decide

    decided = decide(connect(), proposal, answer, token=run_token("promotion"))
    get_run_logger().info("%s", decided.message)
    show_page(
        artifact_key("decision", proposal.model_name),
        f"**{answer.decision.value}** by {answer.approver}: {answer.reason}\n\n{decided.message}\n",
        f"{proposal.model_name} version {proposal.version}: {answer.decision.value}",
    )
    return decided.message
