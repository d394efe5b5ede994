"""What an approver reads in the form, and the one sentence after the answer, in plain words.

The box in the Prefect UI shows about ten lines on a phone and hides that there are more: here
stands what the decision needs, all else is on the page (`page.py`).
"""

from collections.abc import Sequence
from datetime import UTC, timedelta, timezone
from typing import assert_never

from guardianflow.errors import ApprovalExpired
from guardianflow.evaluation.gate import GateOutcome, GateRule
from guardianflow.promotion.approval.policy import Answer, Choice
from guardianflow.promotion.evidence.checks import check_sentence
from guardianflow.promotion.evidence.floor_words import place_of, task_of
from guardianflow.promotion.evidence.sentences import deciding, level_sentence, opening
from guardianflow.promotion.proposal import Proposal
from guardianflow.promotion.recorded_messages import (
    is_for_engineers,
    is_recorded_as,
    recorded_in_words,
)
from guardianflow.wording.language import say
from guardianflow.wording.markdown import plain, prose

# Korea has one time zone and no summer time.
_KOREA = timezone(timedelta(hours=9))
_LONGEST_REASON = 60


def form_text(proposal: Proposal, notes: Sequence[str], page: str) -> str:
    """What stands above the fields: what is asked, notes about earlier answers, the page's link."""
    language, subject = proposal.language, deciding(proposal.subjects)
    begin = opening(proposal.subjects, proposal.gate, language)
    check = check_sentence(proposal.gate, subject, proposal.dark_images, language)
    asked = say(language, "asked", who=plain(proposal.requested_by), why=_why(proposal))
    needs = say(language, "form.needs", policy=plain(proposal.policy.in_words(language)))
    first = [
        f"**{begin.first}**",
        *(f"**{prose(note)}**" for note in notes),
        *(f"**{one}**" for one in alerts(proposal)),
        *begin.rest,
        *([say(language, "form.page", page=page)] if page else []),
    ]
    last = [
        check,
        level_sentence(subject, proposal.gate, language),
        asked,
        *([needs] if proposal.policy.asks_for_more_than_a_name else []),
    ]
    return f"{' '.join(first)}\n\n{' '.join(one for one in last if one)}\n"


def decision_title(proposal: Proposal) -> str:
    """The title of the field of the decision: for which floor it is."""
    name = proposal.name
    return say(proposal.language, "form.decision", place=place_of(name), task=task_of(name))


def decision_text(proposal: Proposal) -> str:
    """What approving and rejecting do, and how that is undone; no Markdown, nothing typed."""
    before, language = proposal.expected_champion, proposal.language
    approve = "approve.stays" if proposal.stays else "approve"
    words = [say(language, approve, version=proposal.version)]
    if before is None:
        words += [say(language, "reject.first"), say(language, "undo.first")]
    else:
        undo = "undo" if _can_go_back(proposal) else "undo.unsure"
        words += [say(language, "reject", before=before), say(language, undo, before=before)]
    return " ".join(words)


def outcome_sentence(proposal: Proposal, decision: Choice, answers: Sequence[Answer]) -> str:
    """What came of the answers, in one sentence for people: the state of the flow run says it."""
    language, before = proposal.language, proposal.expected_champion
    key = f"answered.{decision}"
    match decision:
        case Choice.REJECT:
            answers = [answer for answer in answers if answer.decision is decision]
            key += "" if before is not None else ".first"
        case Choice.APPROVE if proposal.stays:
            key += ".stays"
        case Choice.APPROVE if before is None:
            key += ".first"
        case Choice.APPROVE:
            key += "" if _can_go_back(proposal) else ".unsure"
        case _:
            assert_never(decision)
    return say(
        language,
        key,
        who=", ".join(answer.approver for answer in answers),
        why="; ".join(sentence(answer.reason) for answer in answers),
        version=proposal.version,
        before=before or "-",
        place=place_of(proposal.name),
    )


def expired_sentence(proposal: Proposal, expired: ApprovalExpired) -> str:
    """That no answer came in time, for people: the state of the flow run says it."""
    key = "ended.late" if "expired" in expired.data else "ended.clock"
    return say(proposal.language, key, until=until(proposal))


def alerts(proposal: Proposal) -> list[str]:
    """What must not be overlooked whatever the figures say."""
    language = proposal.language
    said: list[str] = []
    if proposal.stays:
        said.append(say(language, "alert.stays"))
    elif any(is_recorded_as(warning, "apart") for warning in proposal.warnings):
        said.append(say(language, "alert.apart"))
    subject = deciding(proposal.subjects)
    if subject and "__" not in subject.model_name and len(proposal.subjects) > 1:
        # A variant that was measured would lead.
        said.append(say(language, "alert.unmeasured"))
    if proposal.overridden:
        who, why = plain(proposal.requested_by), plain(sentence(proposal.reason))
        said.append(say(language, "alert.forced", who=who, why=why))
    names = [subject.model_name for subject in proposal.subjects]
    for warning in proposal.warnings:
        if is_for_engineers(warning):
            continue
        text = recorded_in_words(warning, language)
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(f"{name} version", "version")
        said.append(prose(text.replace(" (declared)", "")))
    # The base and its variant were rejected with the same words.
    return list(dict.fromkeys(said))


def until(proposal: Proposal) -> str:
    """Until when it may be answered, in the time of the floor."""
    time = proposal.expires.astimezone(UTC)
    local = time.astimezone(_KOREA)
    times = {"utc": f"{time:%Y-%m-%d %H:%M}", "local": f"{local:%Y-%m-%d %H:%M}"}
    return say(proposal.language, "until", **times)


def sentence(text: str) -> str:
    """What somebody typed, to be followed by a full stop of ours."""
    return text.strip().rstrip(".。")


def _can_go_back(proposal: Proposal) -> bool:
    """Whether the check found no reason for which a rollback of the release would be refused."""
    asked = (reason for reason in proposal.gate.reasons if reason.rule is GateRule.WAY_BACK)
    return all(reason.outcome is GateOutcome.PASSED for reason in asked)


def _why(proposal: Proposal) -> str:
    reason = sentence(proposal.reason)
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[: _LONGEST_REASON - 1]}…"
    return say(proposal.language, "asked.why", reason=plain(reason)) if reason else ""
