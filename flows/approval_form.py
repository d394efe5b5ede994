"""The form of a promotion in the Prefect UI: the evidence, what an approval needs, the fields.

Built field by field, so that titles, descriptions and constraints reach the server. With the
default policy it has three fields; a field for a one-time code comes only where the policy asks.
"""

from typing import Any

from prefect.input import RunInput
from pydantic import Field, SecretStr, ValidationError, create_model

from guardianflow.approval import Answer, Proof
from guardianflow.evidence import evidence_markdown
from guardianflow.proposal import Proposal
from guardianflow.question import MAX_WRONG_CODES, Standing

_FIELDS = ("decision", "approver", "reason")


def answer_form(
    proposal: Proposal, standing: Standing, links: str = "", why: str = "", complaint: str = ""
) -> type[RunInput]:
    """The form for one more answer.

    Args:
        proposal: What is asked.
        standing: What was answered so far.
        links: To the evidence in MLflow and its pictures.
        why: Why an earlier answer does not hold any more.
        complaint: Why the last answer does not count.
    """
    fields: dict[str, Any] = {
        name: (Answer.model_fields[name].annotation, Answer.model_fields[name]) for name in _FIELDS
    }
    if proposal.policy.proof is Proof.TOTP:
        code = Field(pattern="^[0-9]{6}$", description="The code that your app shows now.")
        fields["code"] = (str, code)
    form = create_model("PromotionAnswer", __base__=RunInput, **fields)
    first, _, rest = evidence_markdown(proposal).partition("\n")
    said = "".join(f"\n\n**{note}**" for note in notes(standing, why, complaint))
    return form.with_initial_data(description=f"{first}{said}\n{rest}{links}")


def given_answer(given: RunInput) -> tuple[Answer, SecretStr]:
    """What was filled in, the code apart from the rest.

    Raises:
        ValidationError: It is no answer.
    """
    values = {name: getattr(given, name) for name in _FIELDS}
    return Answer.model_validate(values), SecretStr(str(getattr(given, "code", "")))


def unusable(error: ValidationError) -> str:
    """What is wrong with an answer, without repeating it."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def notes(standing: Standing, why: str, complaint: str) -> list[str]:
    """What is to be known of earlier answers, for the form and for the message that it waits."""
    said: list[str] = []
    if why:
        said.append(f"Asked anew: {why.rstrip('.')}. Earlier answers do not count.")
    if complaint:
        said.append(f"The last answer could not be used ({complaint}). Please answer again.")
    if wrong := sum(answer.wrong_code for answer in standing.answers):
        said.append(f"{wrong} of {MAX_WRONG_CODES} wrong codes; then this request is over.")
    if standing.counted:
        given = ", ".join(answer.who for answer in standing.counted)
        said.append(f"Approved by {given}; one more person is needed.")
    return said
