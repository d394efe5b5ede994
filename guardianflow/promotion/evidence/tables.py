"""Tables of the evidence: what is found of a hundred; all figures, the gate, speed, what moves.

The Prefect UI wraps no cell and hides what is wider than the page, on a phone after 40 letters: the
table that people decide on has four short columns.
"""

from collections.abc import Iterator, Sequence

from guardianflow.evaluation.gate import GateOutcome, GateReason, GateReport, Subject
from guardianflow.evaluation.speed import VariantCost
from guardianflow.promotion.evidence.checks import reason_against
from guardianflow.promotion.evidence.floor_words import class_word
from guardianflow.promotion.evidence.numbers import (
    MEASURES,
    Span,
    false_alarms_per_100,
    recall_of,
    whole,
)
from guardianflow.promotion.evidence.sentences import sure_changes
from guardianflow.registry import Move
from guardianflow.vision.metrics.comparison import Difference
from guardianflow.wording.language import Language, say, say_if_known
from guardianflow.wording.markdown import plain, prose, table


def short_name(model_name: str) -> str:
    """The last segment, task and variant; the first lines of the page have the whole name."""
    return plain(model_name.rpartition("/")[2])


def floor_section(subject: Subject, gate: GateReport, language: Language) -> list[str]:
    """What is found of a hundred, and false alarms, in whole numbers: today, then, the change."""
    new, old, paired = subject.candidate, subject.champion, subject.difference
    if new is None:
        return []
    sure = sure_changes(subject, gate)
    rows: list[tuple[str, ...]] = []
    for name, figures in new.per_class.items():
        before = old.per_class.get(name) if old else None
        known = paired.recall.get(name) if paired else None
        found = (100 * before.recall if before else None, 100 * figures.recall)
        rows.append((class_word(name, language), *_floor_row(found, known, sure=name in sure)))
    alarms = (false_alarms_per_100(old).value if old else None, false_alarms_per_100(new).value)
    known = paired.false_alarms_per_image if paired else None
    rows.append((say(language, "floor.alarms"), *_floor_row(alarms, known, sure="" in sure)))
    header = ["", *(say(language, f"floor.{key}") for key in ("today", "new", "change"))]
    if old is None:
        header, rows = [header[0], header[2]], [(row[0], row[2]) for row in rows]
    lines = [f"### {say(language, 'floor')}", "", *table(header, rows), ""]
    if paired:
        key = "floor.about.sure" if sure else "floor.about.unsure"
        said = say(language, key, images=paired.images, confidence=f"{paired.confidence:.0%}")
        lines += [f"{say(language, 'floor.about')} {said}", ""]
    return lines


def _floor_row(
    figures: tuple[float | None, float], change: Difference | None, *, sure: bool
) -> tuple[str, str, str]:
    """Today, then, and the change, in whole numbers: a phone shows four columns only then."""
    before, after = figures
    if before is None or change is None:
        return ("-" if before is None else whole(before), whole(after), "-")
    # The change between what is shown: 119, 117 and -3 would look wrong.
    by = float(f"{after:.0f}") - float(f"{before:.0f}")
    said = f"{by:+.0f}" if by else "0"
    if sure:
        # A sure change is not zero.
        said = f"**{said}**" if by else f"**{100 * change.value:+.1g}**"
    return (whole(before), whole(after), said)


def subject_section(subject: Subject, language: Language) -> list[str]:
    """One model: all its figures, and those of each class."""
    title = f"### {short_name(subject.model_name)}"
    new, old, paired = subject.candidate, subject.champion, subject.difference
    if new is None:
        problem = plain(subject.problem) or "-"
        said = say(language, "unmeasured", version=subject.version, problem=problem)
        return [title, "", said, ""]
    versions = [
        say(language, "column.champion", version=subject.champion_version or "-"),
        say(language, "column.candidate", version=subject.version),
        say(language, "column.difference"),
    ]
    rows: list[tuple[str, ...]] = []
    for measure in MEASURES:
        before = measure.of(old) if old else None
        change = measure.change(paired) if paired else None
        cells = _cells((before, measure.of(new), change), measure.digits, language)
        rows.append((say(language, measure.key), *cells))
    lines = [title, "", *table(["", *versions], rows), "", *_classes(subject, versions, language)]
    if new.confidence:
        confidence = f"{new.confidence:.0%}"
        lines += ["", say(language, "intervals", confidence=confidence, images=new.images)]
    return [*lines, ""]


def _classes(subject: Subject, versions: Sequence[str], language: Language) -> list[str]:
    """The share of the objects of each class that was found."""
    new, old, paired = subject.candidate, subject.champion, subject.difference
    rows: list[tuple[str, ...]] = []
    for name, figures in new.per_class.items() if new else ():
        before = old.per_class.get(name) if old else None
        change = paired.recall.get(name) if paired else None
        spans = (
            recall_of(before) if before else None,
            recall_of(figures),
            Span.between(change) if change else None,
        )
        rows.append((f"{plain(name)} ({figures.objects})", *_cells(spans, 2, language)))
    return table([say(language, "column.recall"), *versions], rows)


def gate_section(gate: GateReport, language: Language) -> list[str]:
    """What the gate says, first in words, then rule by rule, each model by itself."""
    outcome = say(language, f"outcome.{gate.outcome}")
    against = [one for one in gate.reasons if one.outcome is not GateOutcome.PASSED]
    said = [_reason(reason, language) for reason in against]
    lines = [
        f"### {say(language, 'gate', outcome=outcome)}",
        "",
        say(language, f"gate.{gate.outcome}"),
        "",
        *(f"- {one}" for one in said),
        *([""] if said else []),
    ]
    keys = ("gate.rule", "gate.says", "gate.measured", "gate.limit")
    header = [say(language, key) for key in keys]
    for name in dict.fromkeys(reason.model_name for reason in gate.reasons):
        rows = [
            (
                _rule(reason, language),
                say(language, f"outcome.{reason.outcome}"),
                _number(reason.measured),
                _number(reason.limit),
            )
            for reason in gate.reasons
            if reason.model_name == name
        ]
        lines += [f"**{short_name(name)}**", "", *table(header, rows), ""]
    return lines


def _reason(reason: GateReason, language: Language) -> str:
    """Why a rule does not say yes: as recorded, or in words with its two figures."""
    figures = reason.measured is not None and reason.limit is not None
    return say(
        language,
        "gate.reason" if figures else "gate.reason.recorded",
        model=short_name(reason.model_name),
        rule=_rule(reason, language),
        why=reason_against(reason, language),
        measured=_number(reason.measured),
        limit=_number(reason.limit),
        message=prose(reason.message),
    )


def moves_table(moves: Sequence[Move], language: Language) -> list[str]:
    """Every alias that would move."""
    header = ["alias", *(say(language, f"column.{key}") for key in ("model", "from", "to"))]
    rows = [
        (f"@{move.alias}", short_name(move.name), move.before or "-", move.after or "-")
        for move in moves
    ]
    return table(header, rows)


def cost_section(subjects: Sequence[Subject], language: Language) -> list[str]:
    """How fast and how large the variants are, and where that was measured."""
    lines: list[str] = []
    for subject in subjects:
        if subject.cost:
            lines += [*_cost(subject.model_name, subject.cost, language), ""]
    return [f"### {say(language, 'cost')}", "", *lines] if lines else []


def _cost(model_name: str, cost: VariantCost, language: Language) -> list[str]:
    size = say(
        language,
        "cost.size",
        model=short_name(model_name),
        size=f"{cost.size_kib:.0f}",
        source=f"{cost.source_size_kib:.0f}",
    )
    speed = cost.speed
    if speed is None:
        elsewhere = ", ".join(plain(machine) for machine in cost.measured_on) or "-"
        return [f"{size} {say(language, 'cost.unmeasured', elsewhere=elsewhere)}"]
    verdict = say(
        language,
        f"cost.{speed.verdict}",
        model=short_name(model_name),
        speedup=f"{speed.speedup:.2f}",
        low=f"{speed.low:.2f}",
        high=f"{speed.high:.2f}",
    )
    where = say(
        language,
        "cost.where",
        instructions=plain(speed.variant.instruction_set),
        cpu=plain(speed.variant.cpu),
        threads=speed.variant.threads,
        side=speed.variant.image_size,
        frames=speed.variant.repeats,
    )
    rows = [
        (name, latency.precision, f"{latency.p50_ms:.1f}", f"{latency.p95_ms:.1f}")
        for name, latency in (
            ("FP32", speed.fp32),
            (say(language, "cost.default"), speed.default),
            (short_name(model_name), speed.variant),
        )
    ]
    header = ["", say(language, "cost.precision"), "p50 ms", "p95 ms"]
    return [f"{verdict} {size}", "", *table(header, rows), "", where]


def _cells(
    spans: tuple[Span | None, Span, Span | None], digits: int, language: Language
) -> Iterator[str]:
    """Champion, candidate and their difference."""
    for span, signed in zip(spans, (False, False, True), strict=True):
        yield span.text(digits, language, signed=signed) if span else "-"


def _rule(reason: GateReason, language: Language) -> str:
    name = say_if_known(language, f"rule.{reason.rule}", plain(reason.rule))
    return f"{name}, {plain(reason.label)}" if reason.label else name


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
