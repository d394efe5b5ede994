"""`guardianflow run`: trains or quantizes here, or submits the deployment that does."""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from guardianflow import errors
from guardianflow.cli.opening import open_orchestrator, open_registry, warn_of_waiting
from guardianflow.cli.options import ScenarioArgument
from guardianflow.cli.output import Output, OutputOption, actor
from guardianflow.errors import (
    GuardianflowError,
    InputError,
    Refused,
    ScenarioInvalid,
    ServerUnreachable,
)
from guardianflow.progress import Progress
from guardianflow.scenario import Precision, Scenario
from guardianflow.scenario.file import load_scenario, load_spec, scenario_files, scenarios_folder

if TYPE_CHECKING:
    from guardianflow.lifecycle.quantization import QuantizedModel
    from guardianflow.prefect_api.control import FlowRunInfo, Orchestrator
    from guardianflow.registry import ModelRegistryManager


class WorkType(StrEnum):
    """What `run` does with a scenario."""

    TRAIN = "train"
    QUANT = "quant"
    LIFECYCLE = "lifecycle"


# The deployments are named after the flows: `quant` is the command's word for `quantize`.
_FLOWS = {WorkType.TRAIN: "train", WorkType.QUANT: "quantize", WorkType.LIFECYCLE: "lifecycle"}


def run(
    scenario: ScenarioArgument,
    work: Annotated[
        WorkType, typer.Option("--type", help="lifecycle does both, and asks for the promotion.")
    ],
    version: Annotated[str, typer.Option(help="Scenario version, e.g. v3.")],
    submit: Annotated[
        bool, typer.Option("--submit", help="Run on a worker and follow it; lifecycle always does.")
    ] = False,
    model_version: Annotated[
        int | None,
        typer.Option(help="With quant: FP32 version to quantize.", min=1),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="With quant: variant to make (default: those of the scenario)."),
    ] = None,
    *,
    out: OutputOption,
) -> None:
    """Train or quantize a scenario version, and register the result as @candidate.

    [bold]Examples[/]

    guardianflow run donghwa-entec-ppe --type train --version v3

    guardianflow run donghwa-entec-ppe --type quant --version v3

    guardianflow run donghwa-entec-ppe --type quant --version v3 --precision fp16

    guardianflow run donghwa-entec-ppe --type lifecycle --version v3
    """
    choices = (
        ("--model-version", model_version, "what is quantized"),
        ("--precision", precision, "the variant"),
    )
    for option, given, chosen in choices:
        if given is not None and work is not WorkType.QUANT:
            raise InputError(
                f"{option} {given} has no meaning with --type {work}.",
                remedy=f"Use it with --type quant, to choose {chosen}.",
            )
    if submit or work is WorkType.LIFECYCLE:
        _submit(out, scenario, work, version, model_version, precision)
        return
    settings = load_scenario(scenario, version)
    registry = open_registry(out)
    match work:
        case WorkType.TRAIN:
            _train(out, registry, settings)
        case WorkType.QUANT:
            _quantize(out, registry, settings, model_version, precision)
        case _:
            assert_never(work)


def _train(out: Output, registry: "ModelRegistryManager", scenario: Scenario) -> None:
    from guardianflow.lifecycle.training import TrainingRunner

    with out.meter() as show:
        told: set[str] = set()

        def on_progress(progress: Progress) -> None:
            show(progress.step, progress.done, progress.total)
            if progress.remark and progress.remark not in told:
                told.add(progress.remark)
                out.remark(progress.remark)

        trained = TrainingRunner(scenario, registry, on_progress=on_progress).run()
    name = scenario.model_name.public
    figures = trained.evaluation
    how = "was trained before; nothing to do" if trained.reused else "trained"
    if trained.resumed_at:
        how = f"resumed at epoch {trained.resumed_at} of {scenario.training.epochs}"
    out.say(
        f"scenario {scenario.version} -> model version {trained.version} ({how}): {name}, "
        f"mAP50 {figures.map50:.3f} on {figures.images} held-out images, @candidate"
    )
    # Promoted now, it would leave the edge boxes behind.
    quantize = f"run {scenario.name} --type quant --version {scenario.version}"
    step = quantize if scenario.quantization.variants else f"promote {name}"
    out.remark(f"next: guardianflow {step}")
    out.result(
        {
            "model_name": name,
            "scenario": scenario.name,
            "scenario_version": scenario.version,
            "version": trained.version,
            "run_id": trained.run_id,
            "reused": trained.reused,
            "resumed_at": trained.resumed_at,
            "evaluation": figures.model_dump(mode="json"),
        }
    )


def _quantize(
    out: Output,
    registry: "ModelRegistryManager",
    scenario: Scenario,
    model_version: int | None,
    precision: Precision | None,
) -> None:
    from guardianflow.lifecycle.quantization import QuantizationRunner, choose_source

    source = model_version or choose_source(registry, scenario)
    answers: list[dict[str, object]] = []
    for wanted in [precision] if precision else scenario.quantization.variants:
        with out.meter() as show:
            runner = QuantizationRunner(
                scenario,
                registry,
                source,
                precision=wanted,
                on_progress=lambda p, show=show: show(p.step, p.done, p.total),
            )
            made = runner.run()
        answers.append(_tell_quantized(out, scenario, made))
    if answers and not out.as_json:
        # A base takes its variants along; only what is made of a champion goes by itself.
        champion = registry.get_champion(base := scenario.model_name)
        step = f"{base} --model-version {source}" if model_version else base.public
        alone = champion is not None and champion.version == source
        out.remark(f"next: guardianflow promote {answers[0]['model_name'] if alone else step}")
    # One variant is the usual answer; several are told in a list.
    out.result(answers[0] if len(answers) == 1 else {"variants": answers})


def _tell_quantized(out: Output, scenario: Scenario, made: "QuantizedModel") -> dict[str, object]:
    """Say what a variant costs and gains, and what the gate says of it."""
    precision = made.cost.precision
    name = scenario.get_registered_model_name(scenario.quantization.flavour(precision))
    how = "was quantized before; nothing to do" if made.reused else "quantized"
    lost = made.cost.difference.map50_95
    out.say(
        f"scenario {scenario.version} -> model version {made.version} ({how} from version "
        f"{made.source_version}): {name}, mAP50 {made.fp32.map50:.3f} -> "
        f"{made.variant.map50:.3f}, @candidate"
    )
    out.remark(
        f"mAP50-95 {lost.value:+.4f} ({lost.low:+.4f} to {lost.high:+.4f}), size "
        f"{made.cost.source_size_kib:.0f} -> {made.cost.size_kib:.0f} KiB"
    )
    out.remark(f"speed {made.speed.sentence()}")
    out.remark(f"gate {made.outcome.summary()}")
    return {
        "model_name": name,
        "scenario": scenario.name,
        "scenario_version": scenario.version,
        "source_version": made.source_version,
        "version": made.version,
        "run_id": made.run_id,
        "reused": made.reused,
        "fp32": made.fp32.model_dump(mode="json"),
        precision.value: made.variant.model_dump(mode="json"),
        "cost": made.cost.model_dump(mode="json"),
        "outcome": made.outcome.model_dump(mode="json"),
    }


def _check_block(out: Output, orchestrator: "Orchestrator", scenario: str, version: str) -> None:
    """Warn if the server's scenario differs from the file here: the server's is what runs."""
    block = orchestrator.read_scenario(scenario)
    if block is None:
        raise ScenarioInvalid(
            f"The Prefect server {orchestrator.api_url} has no scenario block {scenario!r}.",
            remedy="Create it with `python -m deployments.apply`.",
            value=scenario,
        )
    there = block.version(version)
    if file := scenario_files(scenarios_folder()).get(scenario):
        here = load_spec(scenario)
        if version not in here.versions or here.version(version) != there:
            out.remark(
                f"note: {scenario} {version} on the server differs from "
                f"{file}; the server's block is what runs",
                style="yellow",
                always=True,
            )


def _submit(
    out: Output,
    scenario: str,
    work: WorkType,
    version: str,
    model_version: int | None,
    precision: Precision | None,
) -> None:
    orchestrator = open_orchestrator(out)
    _check_block(out, orchestrator, scenario, version)
    parameters: dict[str, object] = {"scenario": scenario, "version": version}
    if precision is not None:
        parameters["precision"] = precision.value
    if model_version is not None:
        parameters["model_version"] = model_version
    if work is WorkType.LIFECYCLE:
        # Who asks for its promotion may not approve it, where the policy says so.
        parameters["requested_by"] = actor()
    deployment = f"{_FLOWS[work]}/guardianflow"
    started = orchestrator.submit(deployment, parameters)
    out.remark(f"flow run {started.name}: {started.url}")
    warn_of_waiting(out, orchestrator, deployment)
    final = orchestrator.follow(started.id, on_log=out.remark)
    if not final.ok:
        raise _failure(final)
    out.say(f"flow run {final.name}: {final.state}")
    out.result(
        {"flow_run": final.name, "id": str(final.id), "state": final.state, "url": final.url}
    )


def _failure(run: "FlowRunInfo") -> GuardianflowError:
    """The error that ended a flow run, as if the command had met it here.

    Prefect keeps an exception as text that begins with its class, which tells the exit code.
    """
    named = re.search(r"exception: (\w+)", run.message)
    kind: object = getattr(errors, named[1], None) if named else None
    code = kind.exit_code if isinstance(kind, type) and issubclass(kind, GuardianflowError) else 1
    families = {2: InputError, 3: Refused, 4: ServerUnreachable}
    return families.get(code, GuardianflowError)(
        f"Flow run {run.name} ended as {run.state}: {run.message}",
        remedy=f"Its log is at {run.url}",
        flow_run=run.id,
        url=run.url,
    )
