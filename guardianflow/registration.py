"""Brings what a run made into the registry: exactly once, with verified files, as @candidate.

    run + path --find or make a LoggedModel--> fetch and fingerprint --> version --> @candidate

MLflow's client repeats requests whose answer was lost, so one registration could become two
versions: a token on the version, looked for before and after, leaves exactly one.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Run
from mlflow.exceptions import MlflowException

from guardianflow.artifacts import fetched_files, fingerprint, fingerprint_tags
from guardianflow.catalog import (
    SOURCE_VERSION_TAG,
    STATUS_TAG,
    TOKEN_TAG,
    RegisteredModelInfo,
    read_aliases,
    read_version,
    read_versions,
)
from guardianflow.connection import PRESENT, border, is_absent
from guardianflow.errors import (
    ArtifactMissing,
    InputError,
    PermissionDenied,
    VersionNotReady,
)
from guardianflow.names import ModelName
from guardianflow.release.aliases import set_candidate
from guardianflow.release.state import ModelAlias

_SOURCE_TAG = "guardianflow.artifact_path"


def register(
    client: MlflowClient,
    run_id: str,
    artifact_path: str,
    name: ModelName,
    tags: Mapping[str, str],
    token: str | None,
) -> RegisteredModelInfo:
    """Register what a run holds under a path; the same registration again gives the same version.

    Args:
        client: The MLflow server.
        run_id: The run that made it.
        artifact_path: Name of a LoggedModel of the run, or a path of the run's artifacts.
        name: Base or variant.
        tags: Tags of the version, beside those that are set here.
        token: Identifies the registration; by default run, path and name do.

    Raises:
        ArtifactMissing: The run holds nothing under that path.
        VersionNotReady: The run, or the source version of a variant, does not exist.
        InputError: A variant without `guardianflow.source_version`.
    """
    token = token or _digest(f"{run_id}\n{artifact_path}\n{name.registered}")
    found = read_versions(client, name, token=token)
    if not found:
        run = _get_run(client, run_id)
        tags = {**_own_tags(client, name, run_id, tags), **tags, TOKEN_TAG: token}
        model = _logged_model(client, run, artifact_path)
        with fetched_files(client, model.artifact_location, f"run {run_id}") as folder:
            tags = {**tags, **fingerprint_tags(fingerprint(folder))}
        _create_name(client, name)
        with border(f"register {name}"):
            client.create_model_version(
                name.registered,
                source=f"models:/{model.model_id}",
                run_id=run_id,
                tags=tags,
                model_id=model.model_id,
                await_creation_for=0,
            )
        found = read_versions(client, name, token=token)
    version = _keep_one(client, name, found)
    return _offer(client, name, version)


def _own_tags(
    client: MlflowClient, name: ModelName, run_id: str, tags: Mapping[str, str]
) -> dict[str, str]:
    """What the name and the source say about a version."""
    own = {"guardianflow.name": name.public}
    if not name.is_variant:
        return own
    source = tags.get(SOURCE_VERSION_TAG, "")
    if not source.isdecimal():
        raise InputError(
            f"{name} is a variant, but the tag {SOURCE_VERSION_TAG} does not say from which "
            f"version of {name.base} it was made ({source!r}).",
            remedy="Give the tag with the number of the version; `guardianflow run SCENARIO "
            "--type quant --version vN` does it.",
            name=name.public,
            run_id=run_id,
        )
    made_from = read_version(client, name.base, int(source))
    for key in ("backend", "precision"):
        value = name.tags()[f"guardianflow.{key}"]
        own |= {key: value, f"guardianflow.{key}": value}
    if made_from.run_id:
        own |= {
            "source_run_id": made_from.run_id,
            "guardianflow.source_run_id": made_from.run_id,
        }
    return own


def _get_run(client: MlflowClient, run_id: str) -> Run:
    with border(f"run {run_id}"):
        try:
            return client.get_run(run_id)
        except MlflowException as error:
            if is_absent(error) or error.error_code == "INVALID_PARAMETER_VALUE":
                raise VersionNotReady(
                    f"There is no MLflow run {run_id!r}.",
                    remedy="Take the id from the MLflow UI, or train with `guardianflow run`.",
                    run_id=run_id,
                ) from error
            raise


def _logged_model(client: MlflowClient, run: Run, artifact_path: str) -> LoggedModel:
    """The run's model of that name, or one made from the run's artifacts under that path."""
    run_id = run.info.run_id
    # A model's name may hold no slash: weights/best.pt becomes the model weights-best-pt.
    derived = artifact_path.strip("/").replace("/", "-").replace(".", "-")
    with border(f"find {artifact_path} of run {run_id}"):
        models = client.search_logged_models(
            [run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
        )
    ready = [m for m in models if m.status == LoggedModelStatus.READY]
    named = [m for m in ready if m.name == artifact_path] or [
        m for m in ready if m.name == derived and m.tags.get(_SOURCE_TAG) == artifact_path
    ]
    if named:
        return max(named, key=lambda model: model.creation_timestamp)
    return _wrap_artifacts(client, run, artifact_path, derived)


def _wrap_artifacts(
    client: MlflowClient, run: Run, artifact_path: str, model_name: str
) -> LoggedModel:
    """Make a LoggedModel of plain artifacts, which by themselves register as an empty model."""
    run_id = run.info.run_id
    what = f"artifact {artifact_path!r} of run {run_id}"
    with tempfile.TemporaryDirectory() as text, border(what):
        folder = Path(text)
        try:
            fetched = Path(client.download_artifacts(run_id, artifact_path, text))
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
            name=model_name,
            source_run_id=run_id,
            tags={_SOURCE_TAG: artifact_path},
        )
        client.log_model_artifacts(model.model_id, str(top))
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _names_nothing(error: MlflowException) -> bool:
    return is_absent(error) or error.error_code == "INVALID_PARAMETER_VALUE"


def _nothing_there(run_id: str, artifact_path: str) -> ArtifactMissing:
    return ArtifactMissing(
        f"Run {run_id} holds no model and no artifact {artifact_path!r}.",
        remedy="Look at the run's artifacts in the MLflow UI and name one of them.",
        run_id=run_id,
        artifact_path=artifact_path,
    )


def _create_name(client: MlflowClient, name: ModelName) -> None:
    with border(f"register the name {name}"):
        try:
            client.create_registered_model(name.registered, tags=name.tags())
        except MlflowException as error:
            if error.error_code not in PRESENT:
                raise


def _keep_one(
    client: MlflowClient, name: ModelName, found: list[RegisteredModelInfo]
) -> RegisteredModelInfo:
    """Keep the oldest version of a registration; all who look come to the same choice."""
    if not found:
        raise VersionNotReady(
            f"MLflow took the registration of {name} and then did not know it.",
            remedy="Run the same command again; it goes on where it stopped.",
            name=name.public,
        )
    for surplus in found[1:]:
        try:
            with border(f"remove the repeated version {surplus.version} of {name}"):
                client.delete_model_version(name.registered, str(surplus.version))
        except PermissionDenied:
            client.set_model_version_tag(
                name.registered, str(surplus.version), STATUS_TAG, "duplicate"
            )
        except VersionNotReady:
            continue
    return found[0]


def _offer(client: MlflowClient, name: ModelName, info: RegisteredModelInfo) -> RegisteredModelInfo:
    """Let @candidate name the version, unless a newer one waits or this one has had its turn."""
    aliases = read_aliases(client, name)
    current = aliases.get(ModelAlias.CANDIDATE)
    if current == aliases.get(ModelAlias.CHAMPION):
        current = None
    had_its_turn = bool(info.status) or info.version == aliases.get(ModelAlias.CHAMPION)
    if not had_its_turn and (current is None or current < info.version):
        set_candidate(client, name, info.version)
        aliases = _settle(client, name, info)
    return info.with_aliases(aliases)


def _settle(client: MlflowClient, name: ModelName, info: RegisteredModelInfo) -> dict[str, int]:
    """Give @candidate to a newer version whose registration came between reading and setting.

    Aliases have no compare-and-swap; but a newer version exists before its own alias is set, so
    whoever sets @candidate last also sees it.
    """
    mine = info.tags.get(TOKEN_TAG)
    while True:
        versions = read_versions(client, name)
        aliases = read_aliases(client, name)
        current = aliases.get(ModelAlias.CANDIDATE)
        newer = [
            v.version
            for v in versions
            if v.version > info.version and not v.status and v.tags.get(TOKEN_TAG) != mine
        ]
        production = (aliases.get(ModelAlias.CHAMPION), aliases.get(ModelAlias.ROLLBACK))
        waiting = [version for version in newer if version not in production]
        if current is None or not waiting or current >= max(waiting):
            return aliases
        set_candidate(client, name, max(waiting))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
