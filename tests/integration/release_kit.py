"""Real, measurable versions for tests of promotion and health, without another training."""

import sqlite3
import tempfile
from pathlib import Path

from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager, RegisteredModelInfo
from guardianflow.scenario import Scenario
from guardianflow.vision.data.contamination import CONTAMINATION_FILE
from testbed.runs import blinded, make_run
from tests.integration.learned import Learned


def register_copy(
    learned: Learned,
    name: str,
    *,
    source: int | None = None,
    blind: bool = False,
    evaluated_on: str = "",
    **settings: object,
) -> RegisteredModelInfo:
    """Register the learned detector once more, under another name and with other thresholds.

    Args:
        learned: What was really trained.
        name: Public name of a base.
        source: Version of that base: registers the INT8 twin made from it.
        blind: Register one that sees nothing.
        evaluated_on: Digest of another evaluation set than that of the learned one.
        settings: Fields of the scenario to replace, e.g. `gate=...`.
    """
    registry, twin = learned.registry, source is not None
    folder = registry.download(learned.variant if twin else learned.name, 1)
    files = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    if blind:
        for kind in ("ir", "edge"):
            files |= blinded(folder / "artifacts" / kind)
    run_id = make_run(registry.client, files)
    made = learned.quantized if twin else learned.trained
    inputs = registry.client.get_run(made.run_id).inputs
    for entry in inputs.dataset_inputs if evaluated_on else ():
        if any(tag.value == "evaluation" for tag in entry.tags):
            entry.dataset._digest = evaluated_on
    registry.client.log_inputs(run_id, inputs.dataset_inputs)
    scenario: Scenario = learned.scenario.model_copy(update=settings)
    with tempfile.TemporaryDirectory() as text:
        path = Path(text) / "scenario.json"
        path.write_text(scenario.model_dump_json(), encoding="utf-8")
        registry.client.log_artifact(run_id, str(path))
        if not twin:
            kept = registry.client.download_artifacts(made.run_id, CONTAMINATION_FILE, text)
            registry.client.log_artifact(run_id, kept)
    target = f"{name}__openvino_int8" if twin else name
    tags = {"guardianflow.source_version": str(source)} if twin else {}
    return registry.register_model(run_id, "model", target, tags=tags)


def register_release(
    learned: Learned, name: str, *, blind: bool = False, **settings: object
) -> RegisteredModelInfo:
    """Register a base version with its INT8 twin; both become @candidate."""
    base = register_copy(learned, name, blind=blind, **settings)
    register_copy(learned, name, source=base.version, blind=blind, **settings)
    return base


def files_on_server(
    registry: ModelRegistryManager, server_folder: Path, name: str, version: int
) -> Path:
    """Where the server keeps the files of a version, for hands that meddle with them."""
    client = registry.client
    registered = ModelName.parse(name).registered
    source = client.get_model_version(registered, str(version)).source
    model = client.get_logged_model(source.removeprefix("models:/"))
    return server_folder / "artifacts" / model.artifact_location.removeprefix("mlflow-artifacts:/")


def set_status_in_database(
    server_folder: Path, name: str, version: int, status: str = "PENDING_REGISTRATION"
) -> None:
    """Make a version one that was never finished: MLflow's API cannot."""
    with sqlite3.connect(server_folder / "mlflow.db", timeout=30) as database:
        database.execute(
            "UPDATE model_versions SET status = ? WHERE name = ? AND version = ?",
            (status, ModelName.parse(name).registered, version),
        )
