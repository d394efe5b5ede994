"""Finds the one model file in what was kept in MLflow by hand, and fetches it.

    NAME/VERSION, runs:/ID/PATH --files, of which one is .onnx, or .xml with its .bin--> a path

Whatever else lies there (pickles above all) is fetched with it and never opened.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from guardianflow.catalog.artifacts import SHA_TAG, fetched_files
from guardianflow.connection import border, registry_store
from guardianflow.edge import ir
from guardianflow.errors import InputError, ModelInvalid
from guardianflow.evaluation.measurement import ir_folder
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.logged_models import get_run

_VERSION = re.compile(r"(?:models:/)?(?P<name>[^:@]+)/(?P<version>[1-9][0-9]*)")
_RUN = re.compile(r"runs:/(?P<run_id>[0-9a-f]{32})(?:/(?P<path>(?!.*\.\.).+))?")
_SUFFIXES = (".onnx", ".xml")
_LISTED = 20


@contextmanager
def fetched_model(
    registry: ModelRegistryManager, address: str, target: ModelName
) -> Generator[Path]:
    """The model file behind an address on the registry's server, until the block ends.

    Args:
        registry: Whose server is meant.
        address: `NAME/VERSION` of any registered model, or `runs:/ID/PATH` of a run's artifacts.
        target: The model that it is to become a version of.

    Raises:
        InputError: The address is neither, or names a version that the target has already.
        VersionNotReady: There is no such version or run.
        ArtifactMissing: There are no files behind it, or they are not those that were registered.
        ModelInvalid: There is not exactly one model file among them.
    """
    if match := _RUN.fullmatch(address):
        root = (get_run(registry.client, match["run_id"]).info.artifact_uri or "").rstrip("/")
        uri = f"{root}/{match['path'].strip('/')}" if match["path"] else root
    elif match := _VERSION.fullmatch(address):
        name, version = match["name"].replace("/", "."), match["version"]
        if _is_ours(registry, name, version, target):
            yield ir_folder(registry, name, int(version)) / ir.FILE
            return
        with border(f"{name} version {version}"):
            store = registry_store(registry.client)
            uri = store.get_model_version_download_uri(name, version).rstrip("/")
    else:
        raise InputError(
            f"{address!r} names nothing in MLflow.",
            remedy="Write NAME/VERSION, e.g. helmets-by-hand/4, or runs:/RUN_ID/PATH.",
            value=address,
        )
    # MLflow downloads an address that is a single file as an empty folder, without an error.
    wanted = PurePosixPath(uri).name if PurePosixPath(uri).suffix in _SUFFIXES else ""
    with fetched_files(registry.client, uri.removesuffix(f"/{wanted}"), address) as folder:
        yield _the_one(folder, wanted, address)


def _is_ours(registry: ModelRegistryManager, name: str, version: str, target: ModelName) -> bool:
    """Whether guardianflow registered a version: then its files are verified.

    Raises:
        InputError: It is a version of the very model that it would be imported for.
    """
    with border(f"{name} version {version}"):
        tags = registry.client.get_model_version(name, version).tags
    if not any(tag.startswith(SHA_TAG) for tag in tags):
        return False
    if ModelName.parse(name).base == target:
        raise InputError(
            f"Version {version} of {ModelName.parse(name)} is in place already.",
            remedy=f"`guardianflow promote {ModelName.parse(name)} --model-version {version}` "
            "makes it champion.",
            value=name,
        )
    return True


def _the_one(folder: Path, wanted: str, address: str) -> Path:
    """The only model file in a folder, or the one of that name at its top."""
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
    return file.suffix == ".onnx" or (file.suffix == ".xml" and file.with_suffix(".bin") in files)
