"""Runs in MLflow that hold model files, without a training."""

import tempfile
from pathlib import Path

import numpy as np
from mlflow import MlflowClient

from guardianflow.vision.ir import ir


def make_run(client: MlflowClient, files: dict[str, bytes], *, model: bool = True) -> str:
    """A finished run that holds these files as a LoggedModel `model`, or as plain artifacts."""
    found = client.get_experiment_by_name("rotation")
    experiment = found.experiment_id if found else client.create_experiment("rotation")
    run_id = client.create_run(experiment).info.run_id
    with tempfile.TemporaryDirectory() as text:
        for name, content in files.items():
            path = Path(text) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if model:
            made = client.create_logged_model(experiment, name="model", source_run_id=run_id)
            client.log_model_artifacts(made.model_id, text)
            client.finalize_logged_model(made.model_id, "READY")
        else:
            client.log_artifacts(run_id, text)
    client.update_run(run_id, status="FINISHED")
    return run_id


def blinded(folder: Path) -> dict[str, bytes]:
    """The files of an IR whose every output is nought: boxes without size, scores of 0."""
    import openvino as ov
    from openvino import opset13 as op

    model = ov.Core().read_model(folder / ir.FILE)
    for result in model.results:
        nought = op.multiply(result.input_value(0), op.constant(np.float32(0)))
        result.input(0).replace_source_output(nought.output(0))
    with tempfile.TemporaryDirectory() as text:
        saved = ir.save(model, Path(text))
        return {
            f"artifacts/{folder.name}/{file.name}": file.read_bytes() for file in saved.iterdir()
        }
