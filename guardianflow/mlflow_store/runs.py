"""Runs of training and quantization in MLflow: opened, filled, finished, and found again.

    experiment  the public name of the base model
      run       tags say from what it was made; FINISHED is the last write
        model   LoggedModel "model": a pyfunc with the IR (and the weights), linked to the figures

A run counts only when it is FINISHED and its model READY: a half-written one is never reused.
"""

import time
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset as LoggedDataset
from mlflow.entities import DatasetInput, InputTag, LoggedModelStatus, Metric, Param, Run

from guardianflow.errors import ScenarioFrozen
from guardianflow.machine.disk import scratch
from guardianflow.mlflow_store.client import border
from guardianflow.mlflow_store.logged_models import link_output
from guardianflow.mlflow_store.records import experiment_id
from guardianflow.names import metric_key
from guardianflow.scenario import Scenario, edits
from guardianflow.stored import read_stored
from guardianflow.vision.data.dataset import Dataset
from guardianflow.vision.ir import serving
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.metrics.evaluation import Evaluation

MODEL = "model"
EVALUATION_FILE = "evaluation.json"
SCENARIO_FILE = "scenario.json"
WORK_DIGEST_TAG = "guardianflow.work_digest"
"""The digest of the work, on runs and versions; what version 0.1.0 made has only the next."""
FIRST_DIGEST_TAG = "guardianflow.scenario_digest"
"""As version 0.1.0 made it, of gate and health too: it goes on with what newer code trained."""
# What a model needs on the edge box; the versions are those that measured it.
_SERVED_PACKAGES = ("mlflow", "openvino", "numpy", "pillow")
# MLflow's limit for a data set's digest.
_DIGEST_LENGTH = 36
_BATCH = 500
_LOOKED_BACK = 100
_MOST_EDITS = 5
USE_TAG = "mlflow.data.context"
"""MLflow's own tag for what a data set was used for."""
COMMIT_TAG = "mlflow.source.git.commit"
"""MLflow's own tag for the commit of the code that made a run."""
_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class OpenRun:
    """A run that is being filled."""

    client: MlflowClient
    run_id: str
    experiment_id: str
    dataset: Dataset

    def log_params(self, params: Mapping[str, object]) -> None:
        """Keep the settings."""
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
        """Keep figures, linked to the split they were measured on and to the model.

        The same figures with the same `time_ms` again change nothing.
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
        """Say which splits were used for what, e.g. `{"train": "training"}`."""
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
        """Keep a folder's files as artifacts of the run."""
        with border(f"run {self.run_id}"):
            self.client.log_artifacts(self.run_id, str(folder), artifact_path)

    def log_model(self, ir: Path, weights: Path | None, tags: Mapping[str, str]) -> str:
        """Keep the served model as the run's LoggedModel; its id.

        Args:
            ir: Folder of the IR.
            weights: Folder with best.pt, where the model has one.
            tags: Tags of the LoggedModel.
        """
        with border(f"model of run {self.run_id}"), scratch() as place:
            model = self.client.create_logged_model(
                self.experiment_id, MODEL, source_run_id=self.run_id, tags=dict(tags)
            )
            folder = place / MODEL
            edge = wrap(ir, place / "edge")
            save_pyfunc(folder, ir, edge, weights, run_id=self.run_id, model_id=model.model_id)
            self.client.log_model_artifacts(model.model_id, str(folder))
            link_output(self.client, self.run_id, model.model_id)
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model.model_id


@contextmanager
def open_run(
    client: MlflowClient,
    scenario: Scenario,
    run_name: str,
    dataset: Dataset,
    tags: Mapping[str, str],
) -> Generator[OpenRun]:
    """A new run in the scenario's experiment; FINISHED at the end, FAILED or KILLED otherwise."""
    where = experiment_id(client, scenario.model_name.public)
    with border(f"a run in experiment {scenario.model_name}"):
        said = {**_code_tags(), **tags}
        run_id = client.create_run(where, run_name=run_name, tags=said).info.run_id
    status = "FAILED"
    try:
        with scratch() as folder:
            path = folder / SCENARIO_FILE
            path.write_text(scenario.to_stored(), encoding="utf-8")
            opened = OpenRun(client, run_id, where, dataset)
            opened.log_files(folder)
        yield opened
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with border(f"run {run_id}"):
            client.set_terminated(run_id, status)


def _code_tags() -> dict[str, str]:
    """The commit of this checkout; nothing where the code was installed without one."""
    from mlflow.utils.git_utils import get_git_commit

    commit = get_git_commit(str(_CHECKOUT)) if (_CHECKOUT / ".git").exists() else None
    return {COMMIT_TAG: commit} if commit else {}


def scenario_tags(scenario: Scenario, dataset: Dataset, kind: str) -> dict[str, str]:
    """What every run says about where it comes from."""
    return {
        "guardianflow.kind": kind,
        **version_tags(scenario),
        "guardianflow.dataset_fingerprint": dataset.fingerprint,
    }


def version_tags(scenario: Scenario) -> dict[str, str]:
    """What a run and a version say about the scenario that they were made from."""
    return {
        "guardianflow.scenario": scenario.name,
        "guardianflow.scenario_version": scenario.version,
        FIRST_DIGEST_TAG: scenario.first_digest,
        WORK_DIGEST_TAG: scenario.digest,
    }


def find_finished(
    client: MlflowClient, scenario: Scenario, tags: Mapping[str, str], *, limit: int = 20
) -> list[Run]:
    """FINISHED runs of the scenario's experiment with these tags, the newest first."""
    where = experiment_id(client, scenario.model_name.public)
    query = f"attributes.status = 'FINISHED' and {has_tags(tags)}"
    with border(f"runs of {scenario.model_name}"):
        return list(
            client.search_runs(
                [where], query, max_results=limit, order_by=["attributes.start_time DESC"]
            )
        )


def has_tags(tags: Mapping[str, str]) -> str:
    """MLflow's filter for runs that have all these tags."""
    return " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())


def find_same_work(
    client: MlflowClient, scenario: Scenario, tags: Mapping[str, str]
) -> Iterator[Run]:
    """FINISHED runs of the same work, whatever the scenario is called, the newest first.

    Those of version 0.1.0 come last: they carry a digest that gate and health were part of.
    """
    yield from find_finished(client, scenario, same_work(tags))
    others = {key: value for key, value in same_work(tags).items() if key != WORK_DIGEST_TAG}
    for run in find_finished(client, scenario, others, limit=_LOOKED_BACK):
        if WORK_DIGEST_TAG not in run.data.tags and is_work_of(
            client, run.data.tags, run.info.run_id, scenario
        ):
            yield run


def same_work(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that tell work apart: settings with the same digest are it, however called."""
    names = ("guardianflow.scenario", "guardianflow.scenario_version", FIRST_DIGEST_TAG)
    return {key: value for key, value in tags.items() if key not in names}


def first_work(tags: Mapping[str, str]) -> dict[str, str]:
    """The same as version 0.1.0 knew it."""
    names = ("guardianflow.scenario", "guardianflow.scenario_version", WORK_DIGEST_TAG)
    return {key: value for key, value in tags.items() if key not in names}


def is_work_of(
    client: MlflowClient, tags: Mapping[str, str], run_id: str | None, scenario: Scenario
) -> bool:
    """Whether a run, or a version, was made from a scenario's work.

    Args:
        client: The MLflow server.
        tags: Of the run or the version.
        run_id: The run, whose recorded scenario is read where the tags do not decide.
        scenario: As it is now.
    """
    if known := tags.get(WORK_DIGEST_TAG):
        return known == scenario.digest
    if tags.get(FIRST_DIGEST_TAG) == scenario.first_digest:
        return True
    recorded = read_scenario(client, run_id) if run_id and FIRST_DIGEST_TAG in tags else None
    return recorded is not None and recorded.digest == scenario.digest


def read_scenario(client: MlflowClient, run_id: str) -> Scenario | None:
    """The scenario that a run recorded; None if it did not.

    Raises:
        VersionNotReady: The run is gone.
        StoredUnreadable: Another version of guardianflow recorded it, in words of its own.
    """
    with border(f"scenario of run {run_id}"):
        if SCENARIO_FILE not in {file.path for file in client.list_artifacts(run_id)}:
            return None
    text = read_run_text(client, run_id, SCENARIO_FILE)
    return Scenario.from_stored(text, f"scenario of MLflow run {run_id}")


def refuse_edited(client: MlflowClient, scenario: Scenario) -> None:
    """A scenario version that has been trained stays what it was.

    Raises:
        ScenarioFrozen: It was trained with other settings.
    """
    tags = {
        "guardianflow.scenario": scenario.name,
        "guardianflow.scenario_version": scenario.version,
    }
    made = [
        run
        for kind in ("train", "import")
        for run in find_finished(client, scenario, {"guardianflow.kind": kind, **tags})
    ]
    for run in made:
        run_id = run.info.run_id
        if is_work_of(client, run.data.tags, run_id, scenario):
            continue
        recorded = read_scenario(client, run_id)
        different = edits(recorded, scenario) if recorded else []
        said = f": {'; '.join(different[:_MOST_EDITS])}" if different else ""
        raise ScenarioFrozen(
            f"Scenario {scenario.name} {scenario.version} was trained with other settings "
            f"(run {run_id}) and edited since{said}.",
            remedy="Undo the edit, or put it into a new version of the scenario.",
            scenario=scenario.name,
            version=scenario.version,
            run_id=run_id,
            edits=different,
        )


def ready_model(client: MlflowClient, run: Run) -> str | None:
    """The id of a run's READY model, or None."""
    with border(f"model of run {run.info.run_id}"):
        models = client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
    ready = [m for m in models if m.name == MODEL and m.status == LoggedModelStatus.READY]
    return ready[0].model_id if ready else None


def read_run_text(client: MlflowClient, run_id: str, file: str) -> str:
    """One artifact of a run as text."""
    with border(f"{file} of run {run_id}"), scratch() as folder:
        path = Path(client.download_artifacts(run_id, file, str(folder)))
        return path.read_text(encoding="utf-8")


def read_evaluation(client: MlflowClient, run_id: str) -> Evaluation:
    """The figures that a run kept."""
    text = read_run_text(client, run_id, EVALUATION_FILE)
    return read_stored(Evaluation, text, f"{EVALUATION_FILE} of MLflow run {run_id}")


def save_pyfunc(
    folder: Path, ir: Path, edge: Path, weights: Path | None, *, run_id: str, model_id: str
) -> None:
    """Write a model folder that MLflow loads and serves without torch and guardianflow."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    artifacts = {"ir": str(ir), "edge": str(edge), **({"weights": str(weights)} if weights else {})}
    # Unnamed, so that a plain array is accepted.
    frames = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
    with warnings.catch_warnings():
        # An example is a whole frame, larger than the model.
        warnings.filterwarnings("ignore", r".*An input example was not provided", UserWarning)
        pyfunc.save_model(
            folder,
            python_model=str(Path(serving.__file__)),
            artifacts=artifacts,
            signature=ModelSignature(inputs=Schema([frames])),
            # Inferring them would cost seconds and import the model once more.
            pip_requirements=[f"{name}=={version(name)}" for name in _SERVED_PACKAGES],
            # None: the thresholds that the IR carries; only what is named can be overridden.
            model_config={"inference_precision": "f32", "threads": 1, "score_threshold": None},
            mlflow_model=Model(run_id=run_id, model_uuid=model_id, model_id=model_id),
        )


def split_digest(dataset: Dataset, split: str) -> str:
    """The content of a split as a run records it."""
    return dataset.split_fingerprint(split)[:_DIGEST_LENGTH]


def recorded_digest(client: MlflowClient, run_id: str, use: str) -> str | None:
    """The digest of the split that a run used for something, e.g. "evaluation"; None if unsaid."""
    with border(f"run {run_id}"):
        inputs = client.get_run(run_id).inputs
    for entry in inputs.dataset_inputs if inputs else ():
        if any((tag.key, tag.value) == (USE_TAG, use) for tag in entry.tags):
            return entry.dataset.digest
    return None


def _split_name(dataset: Dataset, split: str) -> str:
    return f"{dataset.root.name}-{split}"
