"""Checks a champion on a window of recent labelled frames, and keeps the report.

    frames -> camera well? -> measured -> judged, with the windows before it -> report -> event
                                             | failing
                                             +-> the last-known-good on the same frames

The frozen evaluation set cannot change, so it can never fail; a window can. Where the version
before is no better on the same frames, the scene has changed, and going back would help nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from guardianflow.errors import DatasetInvalid, Refused
from guardianflow.evaluation.measurement import Measured, judged_scenario, measure_version
from guardianflow.health.champion_since import ChampionSince, champion_since, champion_to_watch
from guardianflow.health.figures import Sampled, is_measured, sample_figures, surely_better
from guardianflow.health.report import Fallback, HealthReport, past_windows
from guardianflow.health.verdict import Judgement, Verdict, conclude, judge_window, rules_of
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.records import (
    HEALTH,
    Draft,
    close_record,
    find_record,
    open_record,
    read_record,
)
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.registry.release_state import champion_moves
from guardianflow.scenario import HealthPolicy, Scenario, Today, nothing_known
from guardianflow.vision.data.dataset import Dataset, Sample, load_image, open_window
from guardianflow.vision.metrics.camera import CameraFault, are_grey, check_camera
from guardianflow.vision.metrics.pictures import contact_sheet

WINDOW_SPLIT = "test"
_PICTURE_FRAMES = 9
_GREY = "the frames are grey, without colour (infra-red at night?)"


@dataclass(frozen=True, eq=False)
class _Window:
    """The frames of a window that say something, and what they say about their camera."""

    dataset: Dataset
    samples: Sequence[Sample]
    faults: tuple[CameraFault, ...]
    said: str
    """What was left out, as the end of a sentence; '' where nothing was."""


@dataclass(frozen=True, eq=False)
class _Checked:
    """A version on the frames of a window."""

    window: _Window
    measured: Measured
    sampled: Sampled


def check_health(
    registry: ModelRegistryManager,
    model_name: str,
    window: Path,
    *,
    token: str,
    camera: str = "",
    policy: HealthPolicy | None = None,
    today: Today = nothing_known,
) -> HealthReport:
    """Measure the champion on a window of labelled frames and keep the report in MLflow.

    Args:
        registry: The registry that knows the champion.
        model_name: Base or variant.
        window: A YOLO data set whose split `test` holds the recent frames.
        token: The same token gives the same report; it is measured once.
        camera: Which camera took them; failing windows are counted by camera.
        policy: Limits; None takes those of the scenario that the champion was made from.
        today: Knows scenarios as they stand now: their limits count, not those of the training.

    Raises:
        NoCandidate: The model has no champion that could be measured.
        DatasetInvalid: The window cannot be used.
    """
    client = registry.client
    if done := find_record(client, HEALTH, token):
        return read_record(client, done, HealthReport)
    champion = champion_to_watch(registry, model_name)
    standing = champion_since(registry, champion.name, champion.version)
    scenario = judged_scenario(registry, champion, today)
    frames = _look_at(*_open_window(window, scenario))
    checked = _measure(registry, champion.name, champion.version, frames)
    limits = policy or (scenario.health if scenario else HealthPolicy())
    run_id = open_record(client, HEALTH, token, f"health {champion.name} {champion.version}")
    report = _judge(registry, champion, standing, checked, limits, str(window), camera, run_id)
    with scratch() as folder:
        _draw(checked, report, folder)
        draft = Draft(folder, tags=report.tags(), metrics=report.metrics())
        close_record(client, run_id, report, draft)
    return report


def _measure(registry: ModelRegistryManager, name: str, version: int, window: _Window) -> _Checked:
    samples, classes = window.samples, window.dataset.classes
    # The bounds are those of `sampled`, which can be compared with the way back.
    measured = measure_version(registry, name, version, samples, classes, draws=0)
    return _Checked(window, measured, sample_figures(measured.seen, samples, classes))


def _judge(
    registry: ModelRegistryManager,
    champion: RegisteredModelInfo,
    standing: ChampionSince,
    checked: _Checked,
    policy: HealthPolicy,
    window: str,
    camera: str,
    run_id: str,
) -> HealthReport:
    seen, evaluation = checked.window, checked.measured.evaluation
    fingerprint = seen.dataset.fingerprint
    figures = checked.sampled.figures(policy.confidence)
    own = judge_window(
        policy,
        [rule for rule in rules_of(policy) if is_measured(rule.metric)],
        figures,
        images=evaluation.images,
        objects=evaluation.objects,
        faults=seen.faults,
    )
    if own.metric and own.verdict is not Verdict.HEALTHY:
        own = _with_colour(own, seen.samples)
    past = past_windows(
        registry.client, champion.name, champion.version, camera, since=standing.installed
    )
    concluded, row = conclude(own, policy, fingerprint, past)
    failed = own.verdict is Verdict.FAILING
    return HealthReport(
        model_name=champion.name,
        version=champion.version,
        camera=camera,
        window=window,
        window_fingerprint=fingerprint,
        evaluation=evaluation,
        figures=figures,
        faults=seen.faults,
        policy=policy,
        window_verdict=own.verdict,
        in_a_row=row,
        fallback=_fall_back(registry, champion.name, checked, policy, own) if failed else None,
        verdict=concluded.verdict,
        reason=concluded.reason + seen.said,
        report_id=run_id,
        time=datetime.now(UTC),
        operation=standing.newest,
    )


def _with_colour(own: Judgement, samples: Sequence[Sample]) -> Judgement:
    """Say of a bad figure where the frames have no colour: people then know where to look."""
    if not are_grey(load_image(sample.image) for sample in samples):
        return own
    return replace(own, reason=f"{own.reason}; {_GREY}")


def _fall_back(
    registry: ModelRegistryManager,
    name: str,
    checked: _Checked,
    policy: HealthPolicy,
    own: Judgement,
) -> Fallback | None:
    """Measure what a rollback would bring back on the same frames; None where nothing can tell."""
    try:
        plan = registry.plan_rollback(name, write=False)
        moved = champion_moves(plan.moves).get(name)
        if moved is None:
            return None
        _, target = moved
        other = _measure(registry, name, target, checked.window)
    except Refused:
        # No way back, or none that could be measured: the rollback itself says so.
        return None
    higher = next(r.at_least is not None for r in rules_of(policy) if r.metric == own.metric)
    better = surely_better(
        own.metric,
        checked.sampled,
        other.sampled,
        confidence=policy.confidence,
        higher=higher,
    )
    value = other.sampled.values.get(own.metric, 0.0)
    return Fallback(
        version=target,
        value=value,
        better=better,
        message=f"version {target} has {value:.3f} on the same frames, "
        + ("surely better" if better else "not surely better"),
    )


def _open_window(window: Path, scenario: Scenario | None) -> tuple[Dataset, Sequence[Sample]]:
    dataset = open_window(window, scenario)
    samples = dataset.splits.get(WINDOW_SPLIT)
    if not samples:
        raise DatasetInvalid(
            f"The window {window} has no split {WINDOW_SPLIT!r} with frames.",
            remedy=f"Put the recent frames under images/{WINDOW_SPLIT} and name it in data.yaml.",
            file=str(window),
        )
    return dataset, samples


def _look_at(dataset: Dataset, samples: Sequence[Sample]) -> _Window:
    """Look at the camera, and leave out what its recording only repeats."""
    camera = check_camera(load_image(sample.image) for sample in samples)
    repeats = frozenset(camera.repeats)
    left = [sample for position, sample in enumerate(samples) if position not in repeats]
    said = ""
    if repeats:
        only = "repeats" if len(repeats) == 1 else "repeat"
        said = f"; {len(repeats)} of {len(samples)} frames only {only} the one before: left out"
    return _Window(dataset, left, camera.faults, said)


def _draw(checked: _Checked, report: HealthReport, folder: Path) -> None:
    contact_sheet(
        checked.window.samples[:_PICTURE_FRAMES],
        checked.measured.seen.shown()[:_PICTURE_FRAMES],
        checked.window.dataset.classes,
        folder / "window.png",
        title=f"{report.model_name} version {report.version} on {Path(report.window).name}: "
        f"{report.verdict}",
    )
