"""Runs of training, quantization and import in MLflow: opened, filled, finished, and read.

    experiment  the public name of the base model
      run       tags say what it was made from; FINISHED is the last write
        model   LoggedModel "model": a pyfunc with the IR (and the weights), linked to the figures

A run counts only when it is FINISHED and its model READY: a half-written one is never reused.
"""

import time
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset as LoggedDataset
from mlflow.entities import DatasetInput, InputTag, LoggedModelStatus, Metric, Param, Run

from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.logged_models import link_output, logged_models
from guardianflow.mlflow_store.records import experiment_id
from guardianflow.names import metric_key
from guardianflow.scenario import Scenario
from guardianflow.stored import read_stored
from guardianflow.vision.data.sample import Dataset
from guardianflow.vision.metrics.evaluation import Evaluation

MODEL = "model"
EVALUATION_FILE = "evaluation.json"
SCENARIO_FILE = "scenario.json"
# MLflow's limit for a data set's digest.
_DIGEST_LENGTH = 36
_BATCH = 500
USE_TAG = "mlflow.data.context"
"""MLflow's own tag for what a data set was used for."""
COMMIT_TAG = "mlflow.source.git.commit"
"""MLflow's own tag for the commit of the code that made a run."""
START_SHA256_TAG = "guardianflow.start_sha256"
# Of weights from elsewhere that a training started from, or the champion that it started from.
START_WEIGHTS_TAG = "guardianflow.start_weights"
START_SOURCE_TAG = "guardianflow.start_source"
START_LICENCE_TAG = "guardianflow.start_licence"
# Of a detector that a trainer of another project made for us, and the run in which it trained.
TRAINER_TAG = "guardianflow.trainer"
TRAINER_DIGEST_TAG = "guardianflow.trainer_digest"
TRAINER_RUN_TAG = "guardianflow.trainer_run"
_CHECKOUT = Path(__file__).parents[2]
# What a model needs on the edge box, in the versions that it was measured with.
_SERVED_PACKAGES = ("openvino", "numpy", "pillow")


@dataclass(frozen=True)
class OpenRun:
    """A run that is being filled."""

    client: MlflowClient
    run_id: str
    experiment_id: str
    dataset: Dataset

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log the settings."""
        entries = [Param(key, str(value)) for key, value in params.items()]
        with border(f"run {self.run_id}"):
            self.client.log_batch(self.run_id, params=entries)

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        *,
        step: int = 0,
        split: str | None = None,
        model_id: str | None = None,
        time_ms: int | None = None,
    ) -> None:
        """Log figures, linked to the split they were measured on and to the model.

        Logged again with the same `time_ms`, the same figures change nothing.
        """
        now = time_ms or int(time.time() * 1000)
        entries = [
            Metric(
                metric_key(key),
                value,
                now,
                step,
                model_id=model_id,
                dataset_name=_split_name(self.dataset, split) if split else None,
                dataset_digest=split_digest(self.dataset, split) if split else None,
            )
            for key, value in metrics.items()
        ]
        with border(f"run {self.run_id}"):
            for start in range(0, len(entries), _BATCH):
                self.client.log_batch(self.run_id, metrics=entries[start : start + _BATCH])

    def log_splits(self, uses: Mapping[str, str]) -> None:
        """Log what each split was used for, e.g. `{"train": "training"}`."""
        inputs = [
            DatasetInput(
                LoggedDataset(
                    name=_split_name(self.dataset, split),
                    digest=split_digest(self.dataset, split),
                    source_type="local",
                    source=f'{{"uri": "{self.dataset.root.as_posix()}"}}',
                    profile=f'{{"images": {len(self.dataset.samples(split))}}}',
                ),
                [InputTag(USE_TAG, use)],
            )
            for split, use in uses.items()
        ]
        with border(f"run {self.run_id}"):
            self.client.log_inputs(self.run_id, inputs)

    def log_files(self, folder: Path, artifact_path: str | None = None) -> None:
        """Log a folder's files as artifacts of the run."""
        with border(f"run {self.run_id}"):
            self.client.log_artifacts(self.run_id, str(folder), artifact_path)

    def log_model(self, ir: Path, weights: Path | None, tags: Mapping[str, str]) -> str:
        """Log the IR, and the folder with best.pt, as the run's LoggedModel; return its id."""
        from guardianflow.vision.ir.processing import wrap

        with border(f"model of run {self.run_id}"), scratch() as place:
            model = self.client.create_logged_model(
                self.experiment_id, MODEL, source_run_id=self.run_id, tags=dict(tags)
            )
            folder = place / MODEL
            edge = wrap(ir, place / "edge")
            _save_pyfunc(folder, ir, edge, weights, run_id=self.run_id, model_id=model.model_id)
            self.client.log_model_artifacts(model.model_id, str(folder))
            link_output(self.client, self.run_id, model.model_id)
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model.model_id


def _save_pyfunc(
    folder: Path, ir: Path, edge: Path, weights: Path | None, *, run_id: str, model_id: str
) -> None:
    """Write a model folder that MLflow loads and serves without torch and guardianflow."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from guardianflow.vision.ir import serving

    artifacts = {"ir": str(ir), "edge": str(edge), **({"weights": str(weights)} if weights else {})}
    # Unnamed, so that MLflow accepts a plain array.
    frames = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
    with warnings.catch_warnings():
        # An example is a whole frame, larger than the model.
        warnings.filterwarnings("ignore", r".*An input example was not provided", UserWarning)
        pyfunc.save_model(
            folder,
            python_model=str(Path(serving.__file__)),
            artifacts=artifacts,
            signature=ModelSignature(inputs=Schema([frames])),
            # Inferring them would take seconds and import the model again.
            pip_requirements=[
                # Here it may be only mlflow-skinny, of the same version.
                f"mlflow=={mlflow.__version__}",
                *(f"{name}=={version(name)}" for name in _SERVED_PACKAGES),
            ],
            # None: the thresholds of the IR. Only settings that are listed can be overridden.
            model_config={"inference_precision": "f32", "threads": 1, "score_threshold": None},
            mlflow_model=Model(run_id=run_id, model_uuid=model_id, model_id=model_id),
        )


@contextmanager
def open_run(
    client: MlflowClient,
    scenario: Scenario,
    run_name: str,
    dataset: Dataset,
    tags: Mapping[str, str],
) -> Generator[OpenRun]:
    """Open a run in the scenario's experiment; it ends as FINISHED, FAILED or KILLED."""
    where = experiment_id(client, scenario.model_name.public)
    with border(f"a run in experiment {scenario.model_name}"):
        said = {**_code_tags(), **tags}
        run_id = client.create_run(where, run_name=run_name, tags=said).info.run_id
    status = "FAILED"
    try:
        with border(f"run {run_id}"):
            client.log_text(run_id, scenario.to_stored(), SCENARIO_FILE)
        yield OpenRun(client, run_id, where, dataset)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with border(f"run {run_id}"):
            client.set_terminated(run_id, status)


def _code_tags() -> dict[str, str]:
    """Return the tag with the commit of this checkout; none where the code is installed."""
    from mlflow.utils.git_utils import get_git_commit

    commit = get_git_commit(str(_CHECKOUT)) if (_CHECKOUT / ".git").exists() else None
    return {COMMIT_TAG: commit} if commit else {}


def read_scenario(client: MlflowClient, run_id: str) -> Scenario | None:
    """Return the scenario that a run recorded; None if it recorded none.

    Raises:
        VersionNotReady: The run is gone.
        StoredUnreadable: Another version of guardianflow recorded it in a format of its own.
    """
    text = find_run_text(client, run_id, SCENARIO_FILE)
    return None if text is None else read_stored(Scenario, text, f"scenario of MLflow run {run_id}")


def has_model(client: MlflowClient, run: Run) -> bool:
    """Return whether a run has its model, and the model is READY."""
    models = logged_models(client, run)
    return any(m.name == MODEL and m.status == LoggedModelStatus.READY for m in models)


def read_run_text(client: MlflowClient, run_id: str, file: str) -> str:
    """Read one artifact of a run as text."""
    with border(f"{file} of run {run_id}"), scratch() as folder:
        path = Path(client.download_artifacts(run_id, file, str(folder)))
        return path.read_text(encoding="utf-8")


def find_run_text(client: MlflowClient, run_id: str, file: str) -> str | None:
    """Read one artifact of a run as text; None where the run has no such file."""
    with border(f"{file} of run {run_id}"):
        if file not in {entry.path for entry in client.list_artifacts(run_id)}:
            return None
    return read_run_text(client, run_id, file)


def foreign_start(tags: Mapping[str, str]) -> dict[str, str]:
    """Of the tags of a run or version, those about weights from elsewhere that it started from."""
    keys = (START_WEIGHTS_TAG, START_SOURCE_TAG, START_LICENCE_TAG)
    return {key: tags[key] for key in keys if key in tags}


def read_evaluation(client: MlflowClient, run_id: str, file: str = EVALUATION_FILE) -> Evaluation:
    """Read the figures of a run, or others that it keeps."""
    text = read_run_text(client, run_id, file)
    return read_stored(Evaluation, text, f"{file} of MLflow run {run_id}")


def split_digest(dataset: Dataset, split: str) -> str:
    """Return the digest of a split, as a run records it."""
    return dataset.split_fingerprint(split)[:_DIGEST_LENGTH]


def recorded_digest(client: MlflowClient, run_id: str | None) -> str | None:
    """Return the digest of the split that a run was evaluated on; None if unknown."""
    if run_id is None:
        return None
    with border(f"run {run_id}"):
        inputs = client.get_run(run_id).inputs
    for entry in inputs.dataset_inputs if inputs else ():
        if any((tag.key, tag.value) == (USE_TAG, "evaluation") for tag in entry.tags):
            return entry.dataset.digest
    return None


def _split_name(dataset: Dataset, split: str) -> str:
    return f"{dataset.root.name}-{split}"
