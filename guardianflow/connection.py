"""The border to MLflow: the one place where a client is made and its errors become ours.

MLflow's errors are judged by their error code and their cause, never by their text.
"""

import os
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import urlsplit

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from guardianflow.errors import (
    InputError,
    PermissionDenied,
    RegistryUnavailable,
    VersionNotReady,
)
from guardianflow.servers import SECRETS, find_servers, without_secrets

_ANSWER_TIMEOUT_S = 8
_START_IT = "Run `make up`, or set MLFLOW_TRACKING_URI to a server that runs."
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
PRESENT = ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")
_DENIED = ("PERMISSION_DENIED", "UNAUTHENTICATED")
COLLISION = "BAD_REQUEST"
_COLLISION_PAUSES_S = (0.05, 0.2, 0.5)
_VERSION = re.compile(r"[\w.+-]{1,40}")
# By the address of a server, the version that it said when it was asked last.
_versions: dict[str, str] = {}
_BUSY = ("TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED")


def connect(tracking_uri: str | None = None) -> MlflowClient:
    """A client of the MLflow server that this process is to use, which answers.

    Raises:
        RegistryUnavailable: Nobody answers within seconds.
        InputError: No server is named, or the address is not that of a server.
    """
    uri = tracking_uri or find_servers().mlflow
    if not uri:
        raise InputError("No MLflow server is named.", remedy=_START_IT)
    if urlsplit(uri).scheme not in ("http", "https"):
        # A newer client would silently migrate a database that it opens by itself.
        raise InputError(
            f"{uri!r} is not the address of an MLflow server.",
            remedy="Give an http:// or https:// address; `make up` starts a server.",
            value=uri,
        )
    # What MLflow prints would stand between ours, and in the JSON of --json.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    check_that_it_answers(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def registry_store(client: MlflowClient) -> RestStore:
    """MLflow's writes of aliases and tags without the question that comes before each of them.

    `MlflowClient` first reads the whole model, to tell a model from a prompt: one call more for
    every write. The names written here come from listings that leave prompts out.
    """
    return RestStore(partial(get_default_host_creds, client.tracking_uri))


def server_version(client: MlflowClient) -> str:
    """Which MLflow the server runs, as it said when it was connected to; '' if it did not say."""
    uri = client.tracking_uri
    if uri not in _versions:
        check_that_it_answers(uri)
    return _versions.get(uri, "")


def server_time(client: MlflowClient) -> datetime:
    """What time the server has, UTC, to the second; that of this machine where it does not say."""
    uri = client.tracking_uri
    with border(f"MLflow server {uri}"):
        answer = http_request(get_default_host_creds(uri), "/version", "GET")
    said = answer.headers.get("Date", "") if answer is not None else ""
    try:
        return parsedate_to_datetime(said).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def check_that_it_answers(uri: str) -> None:
    """Ask once without MLflow's retries, which would take minutes; any answer will do.

    Raises:
        RegistryUnavailable: Nobody answers within seconds.
    """
    with border(f"MLflow server {uri}"):
        answer = http_request(
            get_default_host_creds(uri),
            "/version",
            "GET",
            max_retries=0,
            timeout=_ANSWER_TIMEOUT_S,
            raise_on_status=False,
        )
    said = answer.text.strip() if answer is not None and answer.status_code == 200 else ""
    if _VERSION.fullmatch(said):
        _versions[uri] = said


@contextmanager
def border(what: str) -> Generator[None]:
    """Turn MLflow's errors into ours; `what` names what was being done, for the message.

    An error that says nothing about rights, absence or reachability goes through as it is.

    Raises:
        PermissionDenied: The account may not do it (HTTP 401 or 403).
        RegistryUnavailable: No answer, or none that the server itself gave.
        InputError: The account's token or password cannot be sent.
        VersionNotReady: The thing does not exist.
    """
    try:
        yield
    except MlflowException as error:
        if _has_cause(error, requests.exceptions.InvalidHeader):
            # Not chained: the cause repeats the secret.
            raise _unfit_credentials() from None
        if error.error_code in _DENIED:
            raise _denied(what) from error
        if error.error_code in _BUSY or _has_cause(error, requests.RequestException):
            raise _unavailable(what, error) from error
        if error.error_code in ABSENT:
            raise VersionNotReady(
                f"{what}: MLflow does not know it.",
                remedy="`guardianflow models` lists what is registered.",
            ) from error
        raise
    except requests.HTTPError as error:
        # Artifacts come by plain HTTP, outside of MLflow's own errors.
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise _denied(what) from error
        if status >= 500:
            raise _unavailable(what, error) from error
        raise
    except requests.exceptions.InvalidHeader:
        raise _unfit_credentials() from None
    except requests.RequestException as error:
        raise _unavailable(what, error) from error


def write_repeatably(write: Callable[[], object]) -> None:
    """Make a write that says what is to be, again when another process makes the same one.

    MLflow looks, then inserts: of two that set the same new tag or alias at once, one fails on the
    database's uniqueness with BAD_REQUEST, although both want the same row.
    """
    for pause_s in _COLLISION_PAUSES_S:
        try:
            write()
            return
        except MlflowException as error:
            if error.error_code != COLLISION:
                raise
            time.sleep(pause_s)
    write()


def is_absent(error: MlflowException) -> bool:
    """Whether the error says that the thing does not exist."""
    return error.error_code in ABSENT


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, kind):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _unfit_credentials() -> InputError:
    """Credentials that no request can carry; the message does not repeat them."""
    variable = next(
        (name for name in SECRETS if not os.environ.get(name, "").isprintable()),
        "A credential of MLflow",
    )
    return InputError(
        f"{variable} holds a character that no request can carry, such as a line break.",
        remedy="Set it again without it; a file with the line ends of Windows leaves one behind.",
        variable=variable,
    )


def _denied(what: str) -> PermissionDenied:
    return PermissionDenied(
        f"{what}: this account may not do that.",
        remedy="Use an account with the right, or have it granted in MLflow.",
    )


def _unavailable(what: str, error: Exception) -> RegistryUnavailable:
    return RegistryUnavailable(
        f"{what} does not answer ({without_secrets(str(error)).splitlines()[0][:200]}).",
        remedy=_START_IT,
    )
