"""The flow `train`: a scenario version becomes a model version, @candidate."""

from typing import TYPE_CHECKING

from prefect import flow, get_run_logger, task

from flows.parameters import ScenarioDocument, ScenarioVersionName
from flows.publishing import ProgressBar, send_registered, show_candidate, show_table
from flows.registry_access import scenario_registry
from flows.retries import AGAIN
from flows.scenario_blocks import load_version
from guardianflow.scenario import Scenario

if TYPE_CHECKING:
    from guardianflow.lifecycle.training import TrainedModel


@flow(name="train", flow_run_name="train {scenario} {version}")
def train(scenario: ScenarioDocument, version: ScenarioVersionName) -> int:
    """Train a scenario version and register the result as @candidate.

    Work that an earlier run finished is found in MLflow and not done again.

    Args:
        scenario: Name of a Scenario Config block document, e.g. donghwa-entec-ppe.
        version: Version of the scenario's settings, e.g. v3.

    Returns:
        The model version.
    """
    settings = load_version(scenario, version)
    trained = train_model(settings)
    model_version = register_trained(settings, trained)
    send_registered(settings.model_name.public, model_version, trained.run_id, version)
    return model_version


@task(name="train-model", retries=2, retry_delay_seconds=20, **AGAIN)
def train_model(scenario: Scenario) -> "TrainedModel":
    """Train the detector, or find an earlier training."""
    from guardianflow.lifecycle.training import TrainingRunner

    registry = scenario_registry(scenario.name)
    trained = TrainingRunner(scenario, registry, on_progress=ProgressBar().show).train()
    how = "was trained before, nothing to do" if trained.reused else "trained"
    get_run_logger().info("scenario %s %s: %s", scenario.name, scenario.version, how)
    return trained


@task(name="register-trained", retries=3, retry_delay_seconds=10, **AGAIN)
def register_trained(scenario: Scenario, trained: "TrainedModel") -> int:
    """Register the model as @candidate and show its figures."""
    from guardianflow.lifecycle.training import TrainingRunner

    registry = scenario_registry(scenario.name)
    registered = TrainingRunner(scenario, registry).register(trained)
    version = registered.version
    if version is None:
        raise ValueError(f"run {trained.run_id} was registered without a version")
    name = scenario.model_name.public
    figures = trained.evaluation
    made = (
        f"trained from scenario {scenario.name} {scenario.version}: mAP50 {figures.map50:.3f} on "
        f"{figures.images} held-out images."
    )
    key = show_candidate(registry.client, name, version, trained.run_id, made, "training")
    show_table(
        f"{key}-classes",
        [{"class": label, **row.model_dump()} for label, row in figures.per_class.items()],
        f"Per class, on the held-out images: {name} version {version}.",
    )
    return version
