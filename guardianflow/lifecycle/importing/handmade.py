"""Finds and fetches the one model file in what was logged to MLflow by hand.

    NAME/VERSION, models:/NAME@alias, models:/m-ID, runs:/ID/PATH
        --files, of which one is .onnx, or .xml with its .bin--> a path

Whatever else is there (above all pickles) is fetched with it and never opened.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mlflow import MlflowClient

from guardianflow.errors import InputError, ModelInvalid, VersionNotReady
from guardianflow.evaluation.measurement import ir_folder
from guardianflow.mlflow_store.artifacts import SHA_TAG, fetched_files
from guardianflow.mlflow_store.client import border, registry_store
from guardianflow.mlflow_store.logged_models import get_run, logged_models
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.vision.ir import ir

_VERSION = re.compile(r"(?:models:/)?(?P<name>[^:@]+)/(?P<version>[1-9][0-9]*)")
_ALIAS = re.compile(r"(?:models:/)?(?P<name>[^:@]+)@(?P<alias>[\w.-]+)")
_LOGGED = re.compile(r"(?:models:/)?(?P<model_id>m-[0-9a-f]{32})(?:/(?P<path>(?!.*\.\.).+))?")
_RUN = re.compile(r"runs:/(?P<run_id>[0-9a-f]{32})(?:/(?P<path>(?!.*\.\.).+))?")
_SUFFIXES = (".onnx", ".xml")
_LISTED = 20
# Of all files behind an address: a model has at most a quarter, the rest are its checkpoints.
_MAX_BYTES = 4 * 2**30


@contextmanager
def fetched_model(
    registry: ModelRegistryManager, address: str, target: ModelName
) -> Generator[Path]:
    """Fetch the model file behind an address on the registry's server, until the block ends.

    An address is `NAME/VERSION` or `NAME@alias` of any registered model, `models:/m-ID` of a logged
    one, or `runs:/ID/PATH` of an artifact; `target` will get the version.

    Raises:
        InputError: The address is none of these, or names a version of the target itself.
        VersionNotReady: There is no such version or run.
        ArtifactMissing: There are no files behind it, or they are not those that were registered.
        ModelInvalid: There is not exactly one model file among them, or they are too large.
    """
    if match := _RUN.fullmatch(address):
        uri = _kept_by_run(registry.client, match["run_id"], (match["path"] or "").strip("/"))
    elif match := _LOGGED.fullmatch(address):
        with border(f"logged model {match['model_id']}"):
            model = registry.client.get_logged_model(match["model_id"])
        uri = _below(model.artifact_location, match["path"])
    elif match := _VERSION.fullmatch(address) or _ALIAS.fullmatch(address):
        given = match.groupdict()
        name = given["name"].replace("/", ".")
        version = given.get("version") or _aliased(registry.client, name, given["alias"])
        if _is_ours(registry, name, version, target):
            yield ir_folder(registry, name, int(version)) / ir.FILE
            return
        with border(f"{name} version {version}"):
            store = registry_store(registry.client)
            uri = store.get_model_version_download_uri(name, version).rstrip("/")
    else:
        raise InputError(
            f"{address!r} is not the address of a model in MLflow.",
            remedy="Write NAME/VERSION, e.g. helmets-by-hand/4, models:/NAME@alias, models:/m-ID "
            "or runs:/RUN_ID/PATH.",
            value=address,
        )
    # MLflow downloads the address of a single file as an empty folder, without an error.
    wanted = PurePosixPath(uri).name if PurePosixPath(uri).suffix.lower() in _SUFFIXES else ""
    whole = uri.removesuffix(f"/{wanted}")
    with fetched_files(registry.client, whole, address, max_bytes=_MAX_BYTES) as folder:
        yield _the_one(folder, wanted, address)


def _kept_by_run(client: MlflowClient, run_id: str, path: str) -> str:
    """Return the address of a run's files: of a model that it logged, or of its own artifacts.

    Since MLflow 3 `runs:/ID/model` is the model that was logged under that name; its files are not
    artifacts of the run.
    """
    run = get_run(client, run_id)
    name, _, rest = path.partition("/")
    logged = logged_models(client, run)
    with border(f"run {run_id}"):
        if not name and len(logged) == 1 and not client.list_artifacts(run_id):
            return _below(logged[0].artifact_location, None)
    named = [model for model in logged if model.name == name]
    if named:
        latest = max(named, key=lambda model: model.creation_timestamp)
        return _below(latest.artifact_location, rest)
    return _below(run.info.artifact_uri, path)


def _below(root: str | None, path: str | None) -> str:
    folder = (root or "").rstrip("/")
    return f"{folder}/{path.strip('/')}" if path else folder


def _aliased(client: MlflowClient, name: str, alias: str) -> str:
    """Return the version that an alias names."""
    with border(f"{name}@{alias}"):
        aliases = client.get_registered_model(name).aliases
    if alias not in aliases:
        listed = ", ".join(f"@{each}" for each in sorted(aliases)[:_LISTED]) or "none"
        raise VersionNotReady(
            f"{name} has no alias @{alias}. It has {listed}.",
            remedy=f"Name one of them, or a version: {name}/1",
            name=name,
            value=alias,
        )
    return str(aliases[alias])


def _is_ours(registry: ModelRegistryManager, name: str, version: str, target: ModelName) -> bool:
    """Return whether guardianflow registered a version, so that its files can be verified."""
    with border(f"{name} version {version}"):
        tags = registry.client.get_model_version(name, version).tags
    if not any(tag.startswith(SHA_TAG) for tag in tags):
        return False
    if ModelName.parse(name).base == target:
        raise InputError(
            f"Version {version} of {ModelName.parse(name)} is already registered.",
            remedy=f"`guardianflow promote {ModelName.parse(name)} --model-version {version}` "
            "makes it champion.",
            value=name,
        )
    return True


def _the_one(folder: Path, wanted: str, address: str) -> Path:
    """Return the only model file in a folder, or the one of that name at its top."""
    root = folder.resolve()
    files = [
        file
        for file in sorted(root.rglob("*"))
        if file.is_file() and not file.is_symlink() and file.resolve().is_relative_to(root)
    ]
    models = [file for file in files if _is_model(file, files)]
    if wanted:
        models = [file for file in models if file == root / wanted]
    if len(models) == 1:
        return models[0]
    inside = [file.relative_to(root).as_posix() for file in models or files]
    listed = ", ".join(inside[:_LISTED]) + (" ..." if len(inside) > _LISTED else "")
    raise ModelInvalid(
        f"{address} holds {'no' if not models else len(models)} model file"
        f"{'' if len(models) == 1 else 's'} that could be imported: {listed}.",
        remedy="A .onnx file, or a .xml with its .bin, is wanted; name one by runs:/RUN_ID/PATH. "
        "Pickles are not opened: export the model to ONNX (docs/import.md).",
        value=address,
        files=inside,
    )


def _is_model(file: Path, files: Sequence[Path]) -> bool:
    suffix = file.suffix.lower()
    return suffix == ".onnx" or (suffix == ".xml" and file.with_suffix(".bin") in files)
