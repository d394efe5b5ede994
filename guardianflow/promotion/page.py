"""The page on which a promotion is decided: words, pictures and whole numbers, then all figures.

MLflow keeps the page with the record, and the Prefect UI shows the same. The form (`form.py`)
begins with the same words and leads here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from mlflow import MlflowClient

from guardianflow.evaluation.gate import GateOutcome
from guardianflow.mlflow_store.links import file_link, run_link, version_link
from guardianflow.promotion.evidence.checks import left_out, looked_at, objections
from guardianflow.promotion.evidence.floor_words import place_of, task_of
from guardianflow.promotion.evidence.pictures import pictures_section
from guardianflow.promotion.evidence.sentences import deciding, level_sentence, opening
from guardianflow.promotion.evidence.tables import (
    cost_section,
    floor_section,
    gate_section,
    moves_table,
    subject_section,
)
from guardianflow.promotion.form import alerts, decision_text, sentence, until
from guardianflow.promotion.proposal import Proposal
from guardianflow.promotion.recorded_messages import is_for_engineers, recorded_in_words
from guardianflow.wording.language import Language, say, say_if_known
from guardianflow.wording.markdown import plain, prose, table
from guardianflow.wording.phrases import GLOSSARY

_ALL = 100


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
    """The page: for who decides first, for engineers after that; no title above level 3."""
    language, subject = proposal.language, deciding(proposal.subjects)
    others = [one for one in proposal.subjects if one is not subject]
    engineers = [*([subject] if subject else []), *others]
    lines = [
        *_opening(proposal),
        *_asked(proposal),
        # Before the pictures, which fill several screens.
        *(floor_section(subject, proposal.gate, language) if subject else []),
        *pictures_section(proposal.pictures, links.pictures, language),
        *_check(proposal),
        *_warnings(proposal),
        f"### {say(language, 'engineers')}",
        "",
        say(language, "engineers.about", model=plain(proposal.model_name)),
        "",
        *[line for one in engineers for line in subject_section(one, language)],
        *gate_section(proposal.gate, language),
        "",
        *cost_section(proposal.subjects, language),
        f"### {say(language, 'moves')}",
        "",
        *moves_table(proposal.moves, language),
        "",
        *_lineage(proposal, links),
        "",
        say(language, "binding", binding=proposal.binding.short),
        "",
        *_words(language),
        _read_on(links, language),
    ]
    return "\n".join(lines).strip() + "\n"


def _opening(proposal: Proposal) -> list[str]:
    begin = opening(proposal.subjects, proposal.gate, proposal.language)
    first = f"**{begin.first}**"
    lines = (first, *(f"**{one}**" for one in alerts(proposal)), *begin.rest)
    return [part for line in lines for part in (line, "")]


def _asked(proposal: Proposal) -> list[str]:
    """Who asks for what, where, what an answer does, and whether today's level is good enough."""
    language, name = proposal.language, proposal.name
    reason = plain(sentence(proposal.reason))
    why = say(language, "asked.why", reason=reason) if reason else ""
    dark = proposal.dark_images
    light = "" if dark is None else say(language, "light.none" if dark == 0 else "light", dark=dark)
    said = [
        say(language, "where", place=place_of(name), task=task_of(name)),
        say(language, "asked", who=plain(proposal.requested_by), why=why),
        plain(decision_text(proposal)),
        level_sentence(deciding(proposal.subjects), proposal.gate, language),
        say(language, "measured", images=proposal.images, light=light) if proposal.images else "",
        say(
            language,
            "needs",
            policy=plain(proposal.policy.in_words(language)),
            until=until(proposal),
        ),
    ]
    return [*(f"- {one}" for one in said if one), ""]


def _check(proposal: Proposal) -> list[str]:
    """What the automatic check says, did look at, and did not look at."""
    language, gate, subject = proposal.language, proposal.gate, deciding(proposal.subjects)
    said = [say(language, f"check.{gate.outcome}.short")]
    if gate.outcome is not GateOutcome.PASSED:
        said += objections(gate, subject, language, _ALL)
    looked = looked_at(gate, subject, language)
    left = left_out(gate, subject, proposal.dark_images, language)
    if looked:
        said.append(say(language, "check.looked", looked=", ".join(looked)))
    if left:
        said.append(say(language, "check.left", left=", ".join(left)))
    return [f"### {say(language, 'check')}", "", *(f"- {one}" for one in said), ""]


def _warnings(proposal: Proposal) -> list[str]:
    known = [one for one in proposal.warnings if is_for_engineers(one)]
    said = [f"- {prose(recorded_in_words(one, proposal.language))}" for one in known]
    if not said:
        return []
    return [f"### {say(proposal.language, 'warnings')}", "", *said, ""]


def _lineage(proposal: Proposal, links: Links) -> list[str]:
    """Data, run and code that it was made from; whether it knew the images it was judged on."""
    language, lineage = proposal.language, proposal.lineage
    made = "lineage.imported" if proposal.origin else "lineage.trained"
    if lineage and lineage.trainer:
        made = "lineage.handed"
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
    run = f"[{lineage.run_id[:12]}]({links.made_by})" if links.made_by else lineage.run_id[:12]
    commit = f"`{lineage.commit[:12]}`" if lineage.commit else say(language, "lineage.unrecorded")
    rows += [(say(language, "lineage.run"), run), (say(language, "lineage.commit"), commit)]
    if lineage.start:
        rows.append((say(language, "lineage.start"), plain(lineage.start)))
    return [*lines, *table(["", ""], rows)]


def _words(language: Language) -> list[str]:
    """What the words of the figures mean."""
    said = [f"- **{word}**: {say(language, key)}" for word, key in GLOSSARY]
    return [f"### {say(language, 'words')}", "", *said, ""]


def _read_on(links: Links, language: Language) -> str:
    named = (("link.record", links.record), ("link.version", links.version))
    return " · ".join(f"[{say(language, key)}]({address})" for key, address in named if address)
