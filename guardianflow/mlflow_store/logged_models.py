"""Finds the LoggedModel that a run holds under a path, or makes one of the run's artifacts.

    run + path --READY model of that name--> LoggedModel
               --plain artifacts, wrapped--> LoggedModel, finalized

Plain artifacts, if registered directly, give a version that is READY and empty.
"""

import shutil
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException

from guardianflow.errors import ArtifactMissing, VersionNotReady
from guardianflow.machine.disk import scratch, telling_full
from guardianflow.mlflow_store.client import COLLISION, border, is_absent

_SOURCE_TAG = "guardianflow.artifact_path"


def get_run(client: MlflowClient, run_id: str) -> Run:
    """Return the run with this id.

    Raises:
        VersionNotReady: There is none.
    """
    with border(f"run {run_id}"):
        try:
            return client.get_run(run_id)
        except MlflowException as error:
            if _names_nothing(error):
                raise VersionNotReady(
                    f"There is no MLflow run {run_id!r}.",
                    remedy="Take the id from the MLflow UI, or train with `guardianflow run`.",
                    run_id=run_id,
                ) from error
            raise


def logged_models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Return the models that a run logged, whatever their names and states."""
    with border(f"models of run {run.info.run_id}"):
        return client.search_logged_models(
            [run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'"
        )


def find_model(client: MlflowClient, run: Run, artifact_path: str) -> LoggedModel:
    """Return the run's READY model of that name, or wrap its artifacts under that path as one.

    Raises:
        ArtifactMissing: The run has nothing under that path.
        VersionNotReady: The upload of the model was never finished.
    """
    run_id, models = run.info.run_id, logged_models(client, run)
    wrapped = [m for m in models if m.tags.get(_SOURCE_TAG) == artifact_path]
    logged = [m for m in models if m.name == artifact_path and _SOURCE_TAG not in m.tags]
    ready = [m for m in logged or wrapped if m.status == LoggedModelStatus.READY]
    if ready:
        return max(ready, key=lambda model: model.creation_timestamp)
    if logged:
        raise VersionNotReady(
            f"The model {artifact_path!r} of run {run_id} is {logged[0].status.value}, not READY: "
            "its upload was never finished.",
            remedy="Repeat the `guardianflow run`; it makes what is missing.",
            run_id=run_id,
            artifact_path=artifact_path,
        )
    # A model whose wrapping was killed is left as it is: nothing refers to it.
    return _wrap_artifacts(client, run, artifact_path)


def _wrap_artifacts(client: MlflowClient, run: Run, artifact_path: str) -> LoggedModel:
    run_id = run.info.run_id
    what = f"artifact {artifact_path!r} of run {run_id}"
    with scratch() as folder, border(what):
        try:
            with telling_full(folder):
                fetched = Path(client.download_artifacts(run_id, artifact_path, str(folder)))
        except (MlflowException, OSError) as error:
            if isinstance(error, MlflowException) and not _names_nothing(error):
                raise
            raise _nothing_there(run_id, artifact_path) from error
        content = folder / "content"
        content.mkdir()
        shutil.move(fetched, content / fetched.name)
        top = content if (content / fetched.name).is_file() else content / fetched.name
        if not any(file.is_file() for file in top.rglob("*")):
            raise _nothing_there(run_id, artifact_path)
        model = client.create_logged_model(
            run.info.experiment_id,
            # It must not contain a slash: weights/best.pt becomes the model weights-best-pt.
            name=artifact_path.strip("/").replace("/", "-").replace(".", "-"),
            source_run_id=run_id,
            tags={_SOURCE_TAG: artifact_path},
        )
        client.log_model_artifacts(model.model_id, str(top))
        link_output(client, run_id, model.model_id)
        return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def link_output(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Link a model to its run as the run's output."""
    try:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
    except MlflowException as error:
        # If the response is lost, MLflow's client asks again, and MLflow refuses the second link.
        if error.error_code != COLLISION:
            raise
        outputs = client.get_run(run_id).outputs
        if outputs is None or model_id not in {made.model_id for made in outputs.model_outputs}:
            raise


def _names_nothing(error: MlflowException) -> bool:
    return is_absent(error) or error.error_code == "INVALID_PARAMETER_VALUE"


def _nothing_there(run_id: str, artifact_path: str) -> ArtifactMissing:
    return ArtifactMissing(
        f"Run {run_id} holds no model and no artifact {artifact_path!r}.",
        remedy="Name one of the run's artifacts; the MLflow UI lists them.",
        run_id=run_id,
        artifact_path=artifact_path,
    )
