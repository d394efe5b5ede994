"""Checks a champion on a window of recent labelled frames, and keeps the report.

    frames -> camera well? -> measured -> judged, with the windows before it -> report -> event
                                             | failing
                                             +-> the last-known-good on the same frames

The frozen evaluation set never changes, so a champion cannot start to fail on it; on a window of
recent frames it can. Where the version before is no better on the same frames, the scene has
changed and going back would not help.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from guardianflow.errors import DatasetInvalid, NoCandidate, Refused
from guardianflow.evaluation.measurement import Measured, judged_scenario, measure_version
from guardianflow.health.champion_since import ChampionSince, champion_since
from guardianflow.health.figures import SampledFigures, is_measured, sample_figures, surely_better
from guardianflow.health.report import (
    Fallback,
    HealthReport,
    find_report,
    past_windows,
    save_report,
)
from guardianflow.health.verdict import Judgement, Verdict, conclude, judge_window, rules_of
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.registry.release_state import champion_moves
from guardianflow.scenario import HealthPolicy, Scenario, Today, nothing_known
from guardianflow.vision.data.dataset import load_image, open_window
from guardianflow.vision.data.sample import Dataset, Sample
from guardianflow.vision.metrics.camera import CameraFault, are_grey, check_camera
from guardianflow.vision.metrics.pictures import contact_sheet

WINDOW_SPLIT = "test"
_PICTURE_FRAMES = 9
_GREY = "the frames are grey, without colour (infra-red at night?)"


@dataclass(frozen=True, eq=False)
class _Frames:
    """The frames of a window without repeats, and what is wrong with their camera."""

    dataset: Dataset
    samples: Sequence[Sample]
    faults: tuple[CameraFault, ...]
    left_out: str
    """The end of a sentence that says what was left out; '' where nothing was."""


@dataclass(frozen=True, eq=False)
class _Checked:
    """One version, measured on the frames of a window."""

    frames: _Frames
    measured: Measured
    sampled: SampledFigures


def check_health(
    registry: ModelRegistryManager,
    name: ModelName,
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
        name: Base or variant.
        window: A YOLO data set whose split `test` holds the recent frames.
        token: The same token gives the same report; it is measured once.
        camera: Which camera took them; failing windows in a row are counted by camera.
        policy: Limits; None takes those of the scenario that the champion was made from.
        today: Looks up scenarios as they are now: their limits count, not those of the training.

    Raises:
        NoCandidate: The model has no champion that could be measured.
        DatasetInvalid: The window cannot be used.
    """
    if done := find_report(registry.client, token):
        return done
    champion = _champion(registry, name)
    since = champion_since(registry, name, champion.version)
    scenario = judged_scenario(registry, champion, today)
    frames = _open_frames(window, scenario)
    checked = _measure(registry, name, champion.version, frames)
    limits = policy or (scenario.health if scenario else HealthPolicy())
    report = _judge(registry, name, since, checked, limits, camera, window)
    return save_report(
        registry.client, token, report, lambda folder: _draw(checked, report, folder)
    )


def _champion(registry: ModelRegistryManager, name: ModelName) -> RegisteredModelInfo:
    champion = registry.get_champion(name)
    if champion is None:
        raise NoCandidate(
            f"{name} has no @champion whose health could be checked.",
            remedy=f"guardianflow promote {name}",
            name=name.public,
        )
    return champion


def _measure(
    registry: ModelRegistryManager, name: ModelName, version: int, frames: _Frames
) -> _Checked:
    samples, classes = frames.samples, frames.dataset.classes
    # The bounds are those of `sampled`, which can be compared with the way back.
    measured = measure_version(registry, name.public, version, samples, classes, draws=0)
    return _Checked(frames, measured, sample_figures(measured.seen, samples, classes))


def _judge(
    registry: ModelRegistryManager,
    name: ModelName,
    since: ChampionSince,
    checked: _Checked,
    policy: HealthPolicy,
    camera: str,
    window: Path,
) -> HealthReport:
    frames, evaluation = checked.frames, checked.measured.evaluation
    version, fingerprint = checked.measured.version, frames.dataset.fingerprint
    figures = checked.sampled.figures(policy.confidence)
    own = judge_window(
        policy,
        [rule for rule in rules_of(policy) if is_measured(rule.metric)],
        figures,
        images=evaluation.images,
        objects=evaluation.objects,
        faults=frames.faults,
    )
    bad = own.metric and own.verdict is not Verdict.HEALTHY
    if bad and are_grey(load_image(sample.image) for sample in frames.samples):
        own = replace(own, reason=f"{own.reason}; {_GREY}")
    past = past_windows(registry.client, name, version, camera, since=since.installed)
    concluded, row = conclude(own, policy, fingerprint, past)
    failed = own.verdict is Verdict.FAILING
    return HealthReport(
        model_name=name.public,
        version=version,
        camera=camera,
        window=str(window),
        window_fingerprint=fingerprint,
        evaluation=evaluation,
        figures=figures,
        faults=frames.faults,
        policy=policy,
        window_verdict=own.verdict,
        in_a_row=row,
        fallback=_fall_back(registry, name, checked, policy, own) if failed else None,
        verdict=concluded.verdict,
        reason=concluded.reason + frames.left_out,
        report_id="",
        time=datetime.now(UTC),
        operation=since.newest,
    )


def _fall_back(
    registry: ModelRegistryManager,
    name: ModelName,
    checked: _Checked,
    policy: HealthPolicy,
    own: Judgement,
) -> Fallback | None:
    """Measure the version that a rollback would bring back on the same frames, if there is one."""
    try:
        plan = registry.plan_rollback(name, write=False)
        moved = champion_moves(plan.moves).get(name.public)
        if moved is None:
            return None
        _, target = moved
        other = _measure(registry, name, target, checked.frames)
    except Refused:
        # No way back, or it cannot be measured: the rollback itself says so.
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


def _open_frames(window: Path, scenario: Scenario | None) -> _Frames:
    """Check the camera, and leave out frames that only repeat the one before."""
    dataset = open_window(window, scenario)
    samples = dataset.splits.get(WINDOW_SPLIT)
    if not samples:
        raise DatasetInvalid(
            f"The window {window} has no split {WINDOW_SPLIT!r} with frames.",
            remedy=f"Put the recent frames under images/{WINDOW_SPLIT} and name it in data.yaml.",
            file=str(window),
        )
    camera = check_camera(load_image(sample.image) for sample in samples)
    repeats = frozenset(camera.repeats)
    left_out = ""
    if repeats:
        only = "repeats" if len(repeats) == 1 else "repeat"
        left_out = f"; {len(repeats)} of {len(samples)} frames only {only} the one before: left out"
    samples = [sample for position, sample in enumerate(samples) if position not in repeats]
    return _Frames(dataset, samples, camera.faults, left_out)


def _draw(checked: _Checked, report: HealthReport, folder: Path) -> None:
    contact_sheet(
        checked.frames.samples[:_PICTURE_FRAMES],
        checked.measured.seen.shown()[:_PICTURE_FRAMES],
        checked.frames.dataset.classes,
        folder / "window.png",
        title=f"{report.model_name} version {report.version} on {Path(report.window).name}: "
        f"{report.verdict}",
    )
