"""Evidence for people: the page and the one line on which a promotion is decided, in plain words.

The page lies in MLflow as the record and is shown in the Prefect UI with the same content.
"""

from collections.abc import Sequence

from guardianflow.gate import GateReport, Subject
from guardianflow.measuring.evaluation import Evaluation
from guardianflow.proposal import Proposal


def missed_per_100(evaluation: Evaluation) -> float:
    """Objects of the evaluation set that were not seen, of 100."""
    objects = sum(figures.objects for figures in evaluation.per_class.values())
    seen = sum(figures.recall * figures.objects for figures in evaluation.per_class.values())
    return 100.0 * (1.0 - seen / objects) if objects else 0.0


def false_alarms_per_100(evaluation: Evaluation) -> float:
    """Things that were seen and are not there, in 100 images."""
    return 100.0 * evaluation.false_alarms_per_image


def headline(subjects: Sequence[Subject], gate: GateReport) -> str:
    """The key figures of what the floor would run, in one line."""
    measured = [subject for subject in subjects if subject.candidate]
    if not measured:
        return f"Gate {gate.outcome}: nothing could be measured."
    # The variant is what the edge boxes run: its figures are the ones that matter.
    subject = next((s for s in reversed(measured) if "__" in s.model_name), measured[0])
    flavour = subject.model_name.partition("__")[2] or "FP32"
    new, old = subject.candidate, subject.champion
    assert new is not None
    figures = [
        ("missed per 100 objects", missed_per_100, ".1f"),
        ("false alarms per 100 images", false_alarms_per_100, ".0f"),
        ("mAP50", lambda e: e.map50, ".3f"),
    ]
    words = [
        f"{label} {format(of(old), form)} → {format(of(new), form)}"
        if old
        else f"{label} {format(of(new), form)}"
        for label, of, form in figures
    ]
    return f"Gate {gate.outcome} · {flavour}: " + ", ".join(words)


def evidence_markdown(proposal: Proposal) -> str:
    """The page: words first, then tables; no title above level 2 (the box in the UI is small)."""
    first = proposal.expected_champion is None
    was = "there is none yet" if first else f"version {proposal.expected_champion}"
    lines = [
        f"**{proposal.headline}**",
        "",
        f"`{proposal.model_name}`: version **{proposal.version}** asks to become @champion; "
        f"@champion now: {was}. {_provenance(proposal)} Requested by {proposal.requested_by}"
        f"{f' ({proposal.reason})' if proposal.reason else ''}.",
        "",
        f"An approval needs {proposal.policy.in_words()}, until "
        f"{proposal.expires:%Y-%m-%d %H:%M} UTC, and holds for this alone (bound to "
        f"`{proposal.binding.short}`): these files, figures, rules and champions.",
        "",
        *_moves_table(proposal),
        "",
        *[table for subject in proposal.subjects for table in _subject_table(subject)],
        "### Gate",
        "",
        "| rule | model | says | measured | limit |",
        "|---|---|---|---|---|",
        *[
            f"| {r.rule} | {_short(r.model_name)} | {r.outcome} | {_figure(r.measured)} | "
            f"{_figure(r.limit)} |"
            for r in proposal.gate.reasons
        ],
    ]
    if proposal.warnings:
        lines += ["", "### Worth knowing", "", *[f"- {warning}" for warning in proposal.warnings]]
    return "\n".join(lines) + "\n"


def _provenance(proposal: Proposal) -> str:
    """What it was made from, and what is known of the images that it was measured on."""
    scenario, images = proposal.scenario or "unknown", proposal.images
    if proposal.origin:
        return (
            f"Imported from {proposal.origin} for scenario {scenario}, measured on {images} "
            "images; whether it has learned from them, nobody here knows."
        )
    return (
        f"Trained from scenario {scenario}, measured on {images} images that version "
        f"{proposal.version} has not learned from."
    )


def _moves_table(proposal: Proposal) -> list[str]:
    return [
        "| alias | model | from | to |",
        "|---|---|---|---|",
        *[
            f"| @{move.alias} | {_short(move.name)} | {move.before or '-'} | {move.after or '-'} |"
            for move in proposal.moves
        ],
    ]


def _subject_table(subject: Subject) -> list[str]:
    new, old = subject.candidate, subject.champion
    title = f"### {_short(subject.model_name)}"
    if new is None:
        return [title, "", f"Version {subject.version} could not be measured.", ""]
    rows = [
        (
            "missed per 100 objects",
            _pair(missed_per_100(new), missed_per_100(old) if old else None),
        ),
        (
            "false alarms per 100 images",
            _pair(false_alarms_per_100(new), false_alarms_per_100(old) if old else None),
        ),
        ("mAP50", _pair(new.map50, old.map50 if old else None)),
        ("mAP50-95", _pair(new.map50_95, old.map50_95 if old else None)),
    ]
    for name, figures in new.per_class.items():
        before = old.per_class.get(name) if old else None
        rows.append((f"recall: {name}", _pair(figures.recall, before.recall if before else None)))
    champion = f"champion (version {subject.champion_version or '-'})"
    return [
        title,
        "",
        f"| | {champion} | candidate (version {subject.version}) |",
        "|---|---|---|",
        *[f"| {label} | {before} | {after} |" for label, (before, after) in rows],
        "",
    ]


def _pair(new: float, old: float | None) -> tuple[str, str]:
    return _figure(old), _figure(new)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value > 1 else f"{value:.3f}"


def _short(model_name: str) -> str:
    """The last segment: task and variant; the page's first line has the whole name."""
    return model_name.rpartition("/")[2]
