"""The form of a promotion in the Prefect UI: the evidence, what an approval needs, the fields.

It is built field by field, so that titles, descriptions and constraints reach the server. It has
three fields; a field for a one-time code is added where the policy asks for one.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, assert_never

from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field, SecretStr, ValidationError, create_model

from guardianflow.promotion.approval.policy import Answer, Proof
from guardianflow.promotion.form import decision_text, decision_title, form_text, until
from guardianflow.promotion.proposal import Proposal
from guardianflow.promotion.question import MAX_WRONG_CODES, QuestionStatus
from guardianflow.promotion.recorded_messages import recorded, recorded_in_words, void_in_words
from guardianflow.wording.language import Language, say

_FIELDS = ("decision", "approver", "reason")
_TOO_SHORT = {"approver": recorded("name"), "reason": recorded("reason")}


def answer_form(
    proposal: Proposal, status: QuestionStatus, page: str = "", why: str = "", complaint: str = ""
) -> type[RunInput]:
    """Build the form for the next answer.

    `why` says why earlier answers are void, `complaint` why the last one does not count.
    """
    language = proposal.language
    texts: dict[str, Any] = {
        "decision": Field(
            title=decision_title(proposal),
            # In Chromium a click beside the arrows only marks the field.
            description=f"{decision_text(proposal)} {say(language, 'form.list')}",
        ),
        "approver": Field(
            title=say(language, "form.approver"),
            description=say(language, "form.approver.about", until=until(proposal)),
        ),
        "reason": Field(title=say(language, "form.reason")),
    }
    fields: dict[str, Any] = {}
    for name in _FIELDS:
        known = Answer.model_fields[name]
        fields[name] = Annotated[known.annotation, texts[name], *known.metadata]
    match proposal.policy.proof:
        case Proof.NONE:
            pass
        case Proof.TOTP:
            title, about = say(language, "form.code"), say(language, "form.code.about")
            fields["code"] = (str, Field(pattern="^[0-9]{6}$", title=title, description=about))
        case _:
            assert_never(proposal.policy.proof)
    form = create_model("PromotionAnswer", __base__=RunInput, **fields)
    said = notes(status, why, complaint, language)
    return form.with_initial_data(description=form_text(proposal, said, page))


def wait_for(form: type[RunInput], key: str, until: datetime) -> RunInput:
    """Wait for the form to be filled in, where there is a deployment without a process."""
    left = max(1, int((until - datetime.now(UTC)).total_seconds()))
    if deployment.get_id():
        return suspend_flow_run(wait_for_input=form, timeout=left, key=key)
    # A flow run that Python started itself cannot be started again by a worker: it waits here.
    return pause_flow_run(wait_for_input=form, timeout=left, poll_interval=1, key=key)


def given_answer(given: RunInput) -> tuple[Answer, SecretStr]:
    """Return what was filled in, and the code apart from it.

    Raises:
        ValidationError: It is not an answer.
    """
    values = {name: getattr(given, name) for name in _FIELDS}
    return Answer.model_validate(values), SecretStr(str(getattr(given, "code", "")))


def unusable(error: ValidationError) -> str:
    """Return what is wrong with an answer, without repeating its content."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "string_too_short" and field in _TOO_SHORT:
        return _TOO_SHORT[field]
    return f"{field}: {first['msg']}"


def notes(
    status: QuestionStatus, why: str, complaint: str, language: Language = Language.EN
) -> list[str]:
    """Return what people should know about earlier answers, for the form and the message."""
    said: list[str] = []
    if why:
        said.append(say(language, "form.anew", why=void_in_words(why, language).rstrip(".")))
    if complaint:
        said.append(say(language, "form.unusable", why=recorded_in_words(complaint, language)))
    if wrong := sum(answer.wrong_code for answer in status.answers):
        said.append(say(language, "form.wrong_codes", wrong=wrong, most=MAX_WRONG_CODES))
    if status.counted:
        given = ", ".join(answer.who for answer in status.counted)
        said.append(say(language, "form.one_more", who=given))
    return said
