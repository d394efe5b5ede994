"""The flow `lifecycle`: train -> quantize -> (both registered) -> the promotion is submitted.

It ends there: a promotion may wait for a person for days, in its own flow run.
"""

from prefect import flow, get_run_logger, tags, task
from prefect.artifacts import create_link_artifact
from prefect.runtime import flow_run

from flows.parameters import ScenarioDocument, ScenarioVersionName, Text
from flows.publishing import artifact_key
from flows.quantization import quantize
from flows.retries import worth_retrying
from flows.scenario_blocks import load_version
from flows.training import train
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.prefect_api.prefect_yaml import PROMOTION, TAG
from guardianflow.prefect_api.run_tokens import promotion_key
from guardianflow.promotion.approval.policy import LIFECYCLE


@flow(name="lifecycle", flow_run_name="lifecycle {scenario} {version}")
def lifecycle(
    scenario: ScenarioDocument, version: ScenarioVersionName, requested_by: Text = ""
) -> str:
    """Train and quantize a scenario version, then ask a person to promote it.

    Started again after a crash, it does not train again what has been trained.

    Args:
        scenario: Name of a Scenario Config block document, e.g. donghwa-entec-ppe.
        version: Version of the scenario's settings, e.g. v3.
        requested_by: Who asks for the promotion, as declared; needed where the approval policy
            says that who asks may not approve.

    Returns:
        Id of the promotion's flow run.
    """
    # Subflows do not inherit tags, and without them retention would not find these runs.
    with tags(TAG):
        model_version = train(scenario, version)
        quantize(scenario, version, model_version)
    name = load_version(scenario, version).model_name.public
    return submit_promotion(name, model_version, requested_by or LIFECYCLE)


@task(name="submit-promotion", retries=3, retry_delay_seconds=10, retry_condition_fn=worth_retrying)
def submit_promotion(model_name: str, model_version: int, requested_by: str) -> str:
    """Start the promotion's deployment; retries start it only once."""
    submitted = Orchestrator().submit(
        PROMOTION,
        {"model_name": model_name, "model_version": model_version, "requested_by": requested_by},
        idempotency_key=promotion_key(str(flow_run.get_id())),
    )
    get_run_logger().info("asked for the promotion: %s", submitted.url)
    create_link_artifact(
        link=submitted.url,
        link_text=f"Promotion of {model_name} version {model_version}",
        key=artifact_key("promotion", model_name),
        description="It measures both versions, then waits for a person.",
    )
    return submitted.id
