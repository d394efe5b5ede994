"""The files of a version: fingerprinted at registration, verified before they are used.

Every file of the model has two tags on the version, `guardianflow.sha256.<file>` and
`guardianflow.size.<file>`. A version without these tags, or with a file that differs, is not used.
MLflow itself checks nothing: a version without any file is READY as well, and downloads as an empty
folder.
"""

import hashlib
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from requests import HTTPError

from guardianflow.errors import ArtifactMissing, ModelInvalid
from guardianflow.machine.disk import scratch, telling_full
from guardianflow.machine.servers import private_home
from guardianflow.mlflow_store.client import (
    border,
    check_that_it_answers,
    is_absent,
    registry_store,
)
from guardianflow.mlflow_store.registered_models import RegisteredModelInfo
from guardianflow.names import ModelName

SHA_TAG = "guardianflow.sha256."
SIZE_TAG = "guardianflow.size."
_TAG_LENGTH = 250


def fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    """Return size in bytes and sha256 of every file in a folder, by relative path."""
    return {
        file.relative_to(folder).as_posix(): (file.stat().st_size, _sha256(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def fingerprint_tags(files: Mapping[str, tuple[int, str]]) -> dict[str, str]:
    """Return the tags that keep a fingerprint on a version.

    Raises:
        ArtifactMissing: A path is too long to be kept in a tag.
    """
    tags: dict[str, str] = {}
    for file, (size, sha256) in files.items():
        if len(SHA_TAG + file) > _TAG_LENGTH:
            raise ArtifactMissing(
                f"The path of the file {file!r} is too long to be kept in a tag.",
                remedy=f"Use paths of at most {_TAG_LENGTH - len(SHA_TAG)} characters.",
                file=file,
            )
        tags[SHA_TAG + file] = sha256
        tags[SIZE_TAG + file] = str(size)
    return tags


def registered_files(info: RegisteredModelInfo) -> dict[str, str]:
    """Return the registered sha256 of every file of a version, by path; fetches nothing.

    Raises:
        ArtifactMissing: The version was never fingerprinted.
    """
    return {file: sha256 for file, (_, sha256) in sorted(_expected(info).items())}


def verify_version(client: MlflowClient, info: RegisteredModelInfo) -> None:
    """Fetch every file of a version from the server and compare it with its tags.

    Raises:
        ArtifactMissing: A file is gone or differs, or the version was never fingerprinted.
    """
    with verified_files(client, info):
        pass


def verify_sizes(client: MlflowClient, info: RegisteredModelInfo) -> None:
    """Compare the files of a version with its tags by name and size; fetches nothing.

    Raises:
        ArtifactMissing: A file is gone or has another size, or the version was never
            fingerprinted.
    """
    expected = _expected(info)
    what = f"{info.name} version {info.version}"
    uri = _uri(client, info)
    with border(what):
        try:
            repository = get_artifact_repository(uri, tracking_uri=client.tracking_uri)
            found = dict(_listed(repository, None))
        except (MlflowException, HTTPError, FileNotFoundError) as error:
            if not _says_absent(error):
                raise
            raise _missing(what, "MLflow has no files for it") from error
    if not found:
        raise _missing(what, "MLflow has no files for it")
    for file, (size, _) in sorted(expected.items()):
        if file not in found:
            raise _missing(what, f"its file {file} is gone")
        if found[file] != size:
            raise _missing(what, f"its file {file} has {found[file]} bytes, {size} were registered")


def _uri(client: MlflowClient, info: RegisteredModelInfo) -> str:
    registered = ModelName.parse(info.name).registered
    with border(f"{info.name} version {info.version}"):
        return registry_store(client).get_model_version_download_uri(registered, str(info.version))


def _listed(repository: ArtifactRepository, folder: str | None) -> Iterator[tuple[str, int]]:
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            yield from _listed(repository, entry.path)
        else:
            yield entry.path, int(entry.file_size or 0)


def download_version(client: MlflowClient, info: RegisteredModelInfo) -> Path:
    """Return a local folder with the verified files of a version; it is kept for the next time.

    Raises:
        ArtifactMissing: A file is gone or differs, or the version was never fingerprinted.
    """
    expected = _expected(info)
    digest = hashlib.sha256(repr(sorted(expected.items())).encode()).hexdigest()
    kept = private_home("models") / digest
    if kept.is_dir():
        if fingerprint(kept) == expected:
            return kept
        shutil.rmtree(kept, ignore_errors=True)
    with verified_files(client, info) as folder:
        try:
            # In the same file system, so that the rename is atomic.
            folder.rename(kept)
        except OSError as error:
            # Another process was faster, or a damaged copy could not be removed.
            if not kept.is_dir():
                raise
            if fingerprint(kept) != expected:
                raise ArtifactMissing(
                    f"The local copy {kept} of {info.name} version {info.version} is damaged and "
                    "cannot be replaced.",
                    remedy="Delete this folder, or give this account the right to, and try again.",
                    folder=str(kept),
                ) from error
    return kept


@contextmanager
def fetched_files(
    client: MlflowClient, uri: str, what: str, *, max_bytes: int | None = None
) -> Generator[Path]:
    """Fetch the files behind an artifact address into a folder that is removed afterwards.

    `max_bytes` limits their total size, as the server states it, before any is fetched.

    Raises:
        ArtifactMissing: There are none.
        ModelInvalid: They are larger than that.
        DiskFull: There is no room for them on this machine.
    """
    with scratch(private_home("fetch")) as place:
        folder = place / "files"
        folder.mkdir()
        with border(f"fetch the files of {what}"):
            try:
                repository = get_artifact_repository(uri, tracking_uri=client.tracking_uri)
                if max_bytes is not None:
                    _refuse_huge(dict(_listed(repository, None)), max_bytes, what)
                with telling_full(folder):
                    repository.download_artifacts("", str(folder))
            except (MlflowException, HTTPError, FileNotFoundError) as error:
                if not _says_absent(error):
                    # MLflow reports a broken download only as text: does it still answer?
                    check_that_it_answers(client.tracking_uri)
                    raise
                raise _missing(what, "MLflow has no files for it") from error
        if not any(file.is_file() for file in folder.rglob("*")):
            raise _missing(what, "MLflow has no files for it")
        yield folder


def _refuse_huge(sizes: Mapping[str, int], max_bytes: int, what: str) -> None:
    total = sum(sizes.values())
    if total > max_bytes:
        largest = max(sizes, key=lambda file: sizes[file])
        raise ModelInvalid(
            f"The files of {what} have {total / 2**20:.0f} MiB together, {largest} alone "
            f"{sizes[largest] / 2**20:.0f}; at most {max_bytes // 2**20} are fetched.",
            remedy="Fetch the model's own files with `mlflow artifacts download -u "
            "runs:/RUN_ID/weights/best.onnx`, and import them with --onnx or --ir.",
            value=what,
        )


def _says_absent(error: Exception) -> bool:
    if isinstance(error, MlflowException):
        return is_absent(error) or bool(error.get_http_status_code() == 404)
    if isinstance(error, HTTPError):
        return error.response is not None and error.response.status_code == 404
    return True


@contextmanager
def verified_files(client: MlflowClient, info: RegisteredModelInfo) -> Generator[Path]:
    """Fetch the files of a version from the server, verified, until the block ends.

    Raises:
        ArtifactMissing: A file is gone or differs, or the version was never fingerprinted.
    """
    expected = _expected(info)
    what = f"{info.name} version {info.version}"
    with fetched_files(client, _uri(client, info), what) as folder:
        found = fingerprint(folder)
        for file in sorted(expected.keys() | found.keys()):
            if file not in found:
                raise _missing(what, f"its file {file} is gone")
            if file not in expected:
                raise _missing(what, f"the file {file} was added after the registration")
            if found[file] != expected[file]:
                raise _missing(what, f"its file {file} differs from what was registered")
        yield folder


def _expected(info: RegisteredModelInfo) -> dict[str, tuple[int, str]]:
    expected: dict[str, tuple[int, str]] = {}
    for tag, sha256 in info.tags.items():
        if tag.startswith(SHA_TAG):
            file = tag.removeprefix(SHA_TAG)
            size = info.tags.get(SIZE_TAG + file, "")
            expected[file] = (int(size) if size.isdecimal() else -1, sha256)
    if not expected:
        raise _missing(
            f"{info.name} version {info.version}", "it was registered without fingerprints"
        )
    return expected


def _missing(what: str, reason: str) -> ArtifactMissing:
    return ArtifactMissing(
        f"The files of {what} cannot be used: {reason}.",
        remedy="Restore the files in MLflow's artifact store, or register the model again with "
        "`guardianflow run SCENARIO --type train --version vN` (or --type quant).",
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
