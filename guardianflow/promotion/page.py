"""The page on which a promotion is decided, and the short text of its form, in plain words.

MLflow keeps the page with the record, and the Prefect UI shows the same. The form repeats what
has to be read before the fields, and leads to the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Self

from mlflow import MlflowClient

from guardianflow.evidence.pictures import pictures_section
from guardianflow.evidence.sentences import deciding, floor_sentence, headline, worse_sentence
from guardianflow.evidence.tables import cost_section, gate_section, moves_table, subject_section
from guardianflow.links import file_link, run_link, version_link
from guardianflow.markdown import plain, prose, table
from guardianflow.promotion.proposal import Proposal
from guardianflow.wording import Language, say, say_if_known

# Korea has one time zone and no summer time.
_KOREA = timezone(timedelta(hours=9))


@dataclass(frozen=True)
class Links:
    """Where to read on in MLflow; what is empty is left out of the page.

    Attributes:
        record: The run that holds the evidence.
        version: The version that is asked about.
        made_by: The run that made it.
        pictures: Addresses of the record's pictures, by file.
    """

    record: str = ""
    version: str = ""
    made_by: str = ""
    pictures: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def to(cls, client: MlflowClient, proposal: Proposal) -> Self:
        """Those of a proposal whose record is kept."""
        run_id = proposal.evidence_run_id
        shown = proposal.pictures.shown if proposal.pictures else ()
        return cls(
            record=run_link(client, run_id),
            version=version_link(client, proposal.model_name, proposal.version),
            made_by=run_link(client, proposal.lineage.run_id) if proposal.lineage else "",
            pictures={one.file: file_link(client, run_id, one.file) for one in shown},
        )


def evidence_page(proposal: Proposal, links: Links) -> str:
    """The page: words first, then pictures and tables; no title above level 3."""
    language = proposal.language
    lines = [
        *_opening(proposal),
        "",
        *pictures_section(proposal.pictures, links.pictures, language),
        *[line for one in proposal.subjects for line in subject_section(one, language)],
        *gate_section(proposal.gate, language),
        "",
        *cost_section(proposal.subjects, language),
        f"### {say(language, 'moves')}",
        "",
        *moves_table(proposal.moves, language),
        "",
        *_lineage(proposal, links),
        "",
        *_warnings(proposal),
        _needs(proposal),
        "",
        _read_on(links, language),
    ]
    return "\n".join(lines).strip() + "\n"


def form_text(proposal: Proposal, notes: list[str], page: str) -> str:
    """What stands above the fields: figures in the first line, what it means, the way to the page.

    Args:
        proposal: What is asked.
        notes: What the person has to know about earlier answers.
        page: Address of the page.
    """
    first, *rest = _opening(proposal)
    lines = [
        first,
        *[line for note in notes for line in ("", f"**{prose(note)}**")],
        *rest,
        "",
        *([say(proposal.language, "form.page", page=page), ""] if page else []),
        *_warnings(proposal),
        _needs(proposal),
    ]
    return "\n".join(lines) + "\n"


def _opening(proposal: Proposal) -> list[str]:
    """The figures in one line, what they mean, who asks for what."""
    language, subject = proposal.language, deciding(proposal.subjects)
    worse = worse_sentence(subject, language)
    champion = proposal.expected_champion
    now = (
        say(language, "asks.none")
        if champion is None
        else say(language, "asks.version", version=champion)
    )
    why = say(language, "asks.why", reason=plain(proposal.reason)) if proposal.reason else ""
    asks = say(
        language,
        "asks",
        model=proposal.model_name,
        version=proposal.version,
        now=now,
        who=plain(proposal.requested_by),
        why=why,
    )
    return [
        f"**{headline(proposal.subjects, proposal.gate, language)}**",
        "",
        floor_sentence(subject, language) + (f" {worse}" if worse else ""),
        "",
        asks,
    ]


def _needs(proposal: Proposal) -> str:
    return say(
        proposal.language,
        "needs",
        policy=plain(proposal.policy.in_words(proposal.language)),
        until=_time(proposal.expires, proposal.language),
        binding=proposal.binding.short,
    )


def _time(time: datetime, language: Language) -> str:
    local = time.astimezone(_KOREA)
    return say(
        language, "needs.until", utc=f"{time:%Y-%m-%d %H:%M}", local=f"{local:%Y-%m-%d %H:%M}"
    )


def _warnings(proposal: Proposal) -> list[str]:
    if not proposal.warnings:
        return []
    said = [f"- {prose(warning)}" for warning in proposal.warnings]
    return [f"### {say(proposal.language, 'warnings')}", "", *said, ""]


def _lineage(proposal: Proposal, links: Links) -> list[str]:
    """Data, run and code that it was made from; whether it knew the images it was judged on."""
    language, lineage = proposal.language, proposal.lineage
    made = "lineage.imported" if proposal.origin else "lineage.trained"
    said = say(
        language,
        made if proposal.images else "lineage.unmeasured",
        scenario=plain(proposal.scenario) or say(language, "lineage.unknown"),
        images=proposal.images,
        version=proposal.version,
        origin=plain(proposal.origin),
    )
    lines = [f"### {say(language, 'lineage')}", "", said, ""]
    if lineage is None:
        return lines
    rows = [
        (
            say_if_known(language, f"lineage.{data.use}", plain(data.use)),
            f"{plain(data.name)}, {say(language, 'lineage.images', images=data.images or '?')}, "
            f"{say(language, 'lineage.digest')} `{data.digest[:12]}`",
        )
        for data in lineage.data
    ]
    run = f"[{lineage.run_id}]({links.made_by})" if links.made_by else lineage.run_id
    commit = f"`{lineage.commit[:12]}`" if lineage.commit else say(language, "lineage.unrecorded")
    rows += [(say(language, "lineage.run"), run), (say(language, "lineage.commit"), commit)]
    return [*lines, *table(["", ""], rows)]


def _read_on(links: Links, language: Language) -> str:
    named = (("link.record", links.record), ("link.version", links.version))
    return " · ".join(f"[{say(language, key)}]({address})" for key, address in named if address)
