"""The flow `quantize`: an FP32 model version becomes a version of its variant, @candidate."""

from typing import TYPE_CHECKING

from prefect import flow, get_run_logger, task

from flows.parameters import ModelVersion, ScenarioDocument, ScenarioVersionName
from flows.publishing import ProgressBar, send_registered, show_candidate, show_table
from flows.registry_access import scenario_registry
from flows.retries import AGAIN
from flows.scenario_blocks import load_version
from guardianflow.scenario import Precision, Scenario
from guardianflow.wording.markdown import prose

if TYPE_CHECKING:
    from guardianflow.lifecycle.quantization import QuantizedModel


@flow(name="quantize", flow_run_name="quantize {scenario} {version}")
def quantize(
    scenario: ScenarioDocument,
    version: ScenarioVersionName,
    model_version: ModelVersion | None = None,
    precision: Precision | None = None,
) -> int:
    """Quantize an FP32 model version for the edge box and register its variants as @candidate.

    Args:
        scenario: Name of a Scenario Config block document, e.g. donghwa-entec-ppe.
        version: Version of the scenario's settings, e.g. v3.
        model_version: FP32 version to quantize. Without one: the unquarantined @candidate that was
            trained from the scenario version, else such a @champion.
        precision: The variant to make, int8 or fp16. Without one: those of the scenario.

    Returns:
        The version of the (first) variant.
    """
    settings = load_version(scenario, version)
    made: list[int] = []
    for wanted in [precision] if precision else settings.quantization.variants:
        quantized = quantize_model(settings, model_version, wanted)
        made.append(register_quantized(settings, quantized))
        name = settings.get_registered_model_name(settings.quantization.flavour(wanted))
        send_registered(name, made[-1], quantized.run_id, version)
    return made[0]


@task(name="quantize-model", retries=2, retry_delay_seconds=20, **AGAIN)
def quantize_model(
    scenario: Scenario, model_version: int | None, precision: Precision
) -> "QuantizedModel":
    """Make a variant and measure it beside its source, or find an earlier quantization."""
    from guardianflow.lifecycle.quantization import QuantizationRunner, choose_source

    registry = scenario_registry(scenario.name)
    source = model_version or choose_source(registry, scenario)
    get_run_logger().info("quantizing %s version %d", scenario.model_name, source)
    show = ProgressBar().show
    runner = QuantizationRunner(scenario, registry, source, precision=precision, on_progress=show)
    return runner.quantize()


@task(name="register-quantized", retries=3, retry_delay_seconds=10, **AGAIN)
def register_quantized(scenario: Scenario, quantized: "QuantizedModel") -> int:
    """Register the variant as @candidate and show what quantization cost and gained."""
    from guardianflow.lifecycle.quantization import QuantizationRunner

    registry = scenario_registry(scenario.name)
    precision = quantized.cost.precision
    runner = QuantizationRunner(scenario, registry, quantized.source_version, precision=precision)
    quantized = runner.register(quantized)
    version, speed, lost = quantized.version, quantized.speed, quantized.cost.difference.map50_95
    if version is None:
        raise ValueError(f"run {quantized.run_id} was registered without a version")
    name = scenario.get_registered_model_name(scenario.quantization.flavour(precision))
    get_run_logger().info(
        "%s version %d -> %s version %d",
        scenario.model_name,
        quantized.source_version,
        name,
        version,
    )
    said = (
        f"quantized from version {quantized.source_version}: "
        f"mAP50 {quantized.fp32.map50:.3f} → {quantized.variant.map50:.3f}, mAP50-95 "
        f"{lost.value:+.3f} ({lost.low:+.3f} to {lost.high:+.3f}).\n\n"
        f"{prose(speed.sentence())}.\n\nGate {prose(quantized.outcome.summary())}."
    )
    key = show_candidate(registry.client, name, version, quantized.run_id, said, "quantization")
    pairs = (
        ("FP32", quantized.fp32, speed.fp32),
        (precision.value.upper(), quantized.variant, speed.variant),
    )
    show_table(
        f"{key}-figures",
        [
            {
                "model": label,
                "mAP50": round(figures.map50, 4),
                "mAP50-95": round(figures.map50_95, 4),
                "false alarms per image": round(figures.false_alarms_per_image, 3),
                "p50 ms": round(latency.p50_ms, 2),
                "p95 ms": round(latency.p95_ms, 2),
            }
            for label, figures, latency in pairs
        ],
        f"Before and after quantization, on the held-out images: {name} version {version}.",
    )
    return version
