"""The border to MLflow: the only place that makes clients and translates MLflow's errors.

Errors are told apart by error code, cause and the HTTP response behind them, never by their text.
A response that MLflow would never send comes from something else.
"""

import json
import os
import re
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.rest_store import RestStore
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request, verify_rest_response
from requests.exceptions import RetryError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_chain, wait_fixed

from guardianflow.errors import InputError, PermissionDenied, RegistryUnavailable, VersionNotReady
from guardianflow.machine.servers import SECRETS, WORKSPACE, find_servers, without_secrets
from guardianflow.machine.wrong_server import (
    answers_instead,
    causes,
    correct_the_address,
    distrusted,
    is_page,
    one_line,
    reason,
)

_ANSWER_TIMEOUT_S = 8
_START_IT = "Run `make up`, or set MLFLOW_TRACKING_URI to a server that runs."
_LOGIN = "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
_CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_ARTIFACTS = "/mlflow-artifacts/artifacts/"
_LOG_SAYS = (
    "its log says why, e.g. that its disk is full or its artifact store cannot be written; then "
    "run the command again."
)
_SEARCH = "/api/2.0/mlflow/experiments/search"
_SEARCH_KEYS = {"experiments", "next_page_token"}
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
PRESENT = ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS")
_DENIED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
COLLISION = "BAD_REQUEST"
_COLLISION_PAUSES_S = (0.05, 0.2, 0.5)
_VERSION = re.compile(r"[\w.+-]{1,40}")
# The version that a server stated last, by its address.
_versions: dict[str, str] = {}
_BUSY = ("TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED")


def connect(tracking_uri: str | None = None) -> MlflowClient:
    """Return a client of the MLflow server that this process has to use.

    Raises:
        RegistryUnavailable: The server does not answer within seconds.
        InputError: No server is configured, or the address is not that of a server.
    """
    uri = tracking_uri or find_servers().mlflow
    if not uri:
        raise InputError("No MLflow server is named.", remedy=_START_IT)
    if urlsplit(uri).scheme not in ("http", "https"):
        # A client that opens a database directly silently migrates it.
        raise InputError(
            f"{uri!r} is not the address of an MLflow server.",
            remedy="Give an http:// or https:// address; `make up` starts a server.",
            value=uri,
        )
    # MLflow's output would mix with ours, also in the JSON of --json.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    check_that_it_answers(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def registry_store(client: MlflowClient) -> RestStore:
    """Return MLflow's store, which writes aliases and tags without reading the model first.

    `MlflowClient` reads the whole model before every write, to tell a model from a prompt. The
    names written here come from listings that leave prompts out.
    """
    return RestStore(partial(get_default_host_creds, client.tracking_uri))


def _is_collision(error: BaseException) -> bool:
    return isinstance(error, MlflowException) and error.error_code == COLLISION


def server_version(client: MlflowClient) -> str:
    """Return the server's MLflow version, as stated on connecting; '' if it did not say."""
    uri = client.tracking_uri
    if uri not in _versions:
        check_that_it_answers(uri)
    return _versions.get(uri, "")


def server_time(client: MlflowClient) -> datetime:
    """Return the server's time, UTC, to the second; the local time where it does not say."""
    uri = client.tracking_uri
    with border(f"The MLflow server {uri}"):
        answer = http_request(get_default_host_creds(uri), "/version", "GET")
    said = answer.headers.get("Date", "") if answer is not None else ""
    try:
        return parsedate_to_datetime(said).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def check_that_it_answers(uri: str) -> None:
    """Check that MLflow answers, once and without MLflow's retries, which would take minutes.

    Raises:
        RegistryUnavailable: There is no answer within seconds, or not from MLflow.
        PermissionDenied: It requires another account.
        InputError: It has no such workspace, or the certificate file does not exist.
    """
    _require_certificate_file()
    with border(f"The MLflow server {uri}"):
        answer = _ask(uri, "/version")
        said = answer.text.strip()
        if answer.status_code == 200 and _VERSION.fullmatch(said):
            _versions[uri] = said
            return
        # A gateway may let only the API through.
        answer = _ask(uri, _SEARCH)
        _refuse_workspace(uri, answer)
        content = verify_rest_response(answer, _SEARCH).json()
        if not content.keys() <= _SEARCH_KEYS:
            raise _something_else(answer)


def check_that_it_works(uri: str) -> None:
    """Check that the server reads its database, once; `/version` is answered without one.

    Raises:
        RegistryUnavailable: The server or its database does not answer within seconds.
        PermissionDenied: It requires another account.
    """
    with border(f"The MLflow server {uri}"):
        answer = _ask(uri, _SEARCH)
        if answer.status_code >= 500:
            raise RegistryUnavailable(
                f"The MLflow server {uri} answers with errors ({answer.status_code}).",
                remedy=_LOG_SAYS.capitalize(),
                status=answer.status_code,
            )
        verify_rest_response(answer, _SEARCH)


def _ask(uri: str, path: str) -> requests.Response:
    answer = http_request(
        get_default_host_creds(uri),
        path,
        "GET",
        params={"max_results": 1} if path == _SEARCH else None,
        max_retries=0,
        timeout=_ANSWER_TIMEOUT_S,
        raise_on_status=False,
    )
    return cast("requests.Response", answer)


def _require_certificate_file() -> None:
    """Refuse a certificate file that does not exist; MLflow's own error would not say so."""
    file = os.environ.get(_CERTIFICATE)
    if file and not Path(file).exists():
        raise InputError(
            f"{_CERTIFICATE} names {file}, which does not exist.",
            remedy="Give the PEM file with the certificate of your CA.",
            file=file,
        )


def _refuse_workspace(uri: str, answer: requests.Response) -> None:
    """Blame the workspace, where one is set and MLflow refuses every request."""
    workspace = os.environ.get(WORKSPACE, "").strip()
    if workspace and answer.status_code != 200 and _says_what_failed(answer):
        raise InputError(
            f"The MLflow server {uri} refuses the workspace {workspace!r}: "
            f"{answer.json().get('message', 'no reason given')}",
            remedy=f"Set {WORKSPACE} to one that the server has, or unset it.",
            value=workspace,
        )


@contextmanager
def border(what: str) -> Generator[None]:
    """Translate MLflow's errors into ours; `what` says what was being done, for the message.

    Errors that are not about rights, absence or reachability pass unchanged.

    Raises:
        PermissionDenied: The account may not do it (HTTP 401 or 403).
        RegistryUnavailable: No answer, or not from MLflow.
        InputError: The account's token or password cannot be sent.
        VersionNotReady: The thing does not exist.
    """
    try:
        yield
    except MlflowException as error:
        if _has_cause(error, requests.exceptions.InvalidHeader):
            # Not chained: the cause repeats the secret.
            raise _unfit_credentials() from None
        answer = _answer_behind(error)
        if answer is not None and not _is_of_mlflow(answer):
            raise _something_else(answer) from error
        if error.error_code in _DENIED:
            raise _denied(what, answer) from error
        if error.error_code in _BUSY or _has_cause(error, requests.RequestException):
            raise _unavailable(what, error) from error
        if error.error_code in ABSENT:
            raise VersionNotReady(
                f"{what}: MLflow does not know it.",
                remedy="`guardianflow models` lists what is registered.",
            ) from error
        raise
    except json.JSONDecodeError as error:
        # Some of MLflow's calls parse the response without checking its status.
        answer = _answer_behind(error)
        if answer is None:
            raise
        raise _something_else(answer) from error
    except requests.HTTPError as error:
        # Artifacts come by plain HTTP, outside of MLflow's own errors.
        answer = error.response
        status = answer.status_code if answer is not None else 0
        if answer is not None and status < 500 and not _is_of_mlflow(answer):
            raise _something_else(answer) from error
        if status in (401, 403):
            raise _denied(what, answer) from error
        if status >= 500:
            raise _unavailable(what, error) from error
        raise
    except requests.exceptions.InvalidHeader:
        raise _unfit_credentials() from None
    except requests.RequestException as error:
        raise _unavailable(what, error) from error


@retry(
    retry=retry_if_exception(_is_collision),
    wait=wait_chain(*map(wait_fixed, _COLLISION_PAUSES_S)),
    stop=stop_after_attempt(len(_COLLISION_PAUSES_S) + 1),
    reraise=True,
)
def write_repeatably(write: Callable[[], object]) -> None:
    """Retry an idempotent write after a collision with another process.

    MLflow looks, then inserts: of two processes that set the same new tag or alias at once, one
    fails on the database's uniqueness with BAD_REQUEST, although both want the same row.
    """
    write()


def is_absent(error: MlflowException) -> bool:
    """Return whether the error says that something does not exist."""
    return error.error_code in ABSENT


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    return any(isinstance(cause, kind) for cause in causes(error))


def _answer_behind(error: BaseException) -> requests.Response | None:
    """Return the HTTP response behind an error; MLflow drops it, but its frames still have it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        for value in frame.f_locals.values():
            if isinstance(value, requests.Response):
                return value
    return None


def _is_of_mlflow(answer: requests.Response) -> bool:
    """Return whether MLflow sends such a response.

    MLflow reports failures in JSON and a wrong account in plain text. HTML is no sign of MLflow:
    any server sends it for a page that does not exist.
    """
    return _says_what_failed(answer) or (
        answer.status_code in (401, 403) and not is_page(answer.text) and not _content(answer)
    )


def _says_what_failed(answer: requests.Response) -> bool:
    return "error_code" in _content(answer)


def _content(answer: requests.Response) -> dict[str, object]:
    """Return the JSON object of a response; empty if it holds none."""
    try:
        content = cast("object", json.loads(answer.text))
    except ValueError:
        return {}
    return cast("dict[str, object]", content) if isinstance(content, dict) else {}


def _something_else(answer: requests.Response) -> RegistryUnavailable:
    status = answer.status_code
    return RegistryUnavailable(
        answers_instead("MLflow", answer.url, status, without_secrets(answer.text)),
        remedy=correct_the_address("MLFLOW_TRACKING_URI", status, login=_LOGIN),
        status=status,
    )


def _unfit_credentials() -> InputError:
    """Return the error for credentials that cannot be sent; it does not repeat them."""
    variable = next(
        (name for name in SECRETS if not os.environ.get(name, "").isprintable()),
        "A credential of MLflow",
    )
    return InputError(
        f"{variable} holds a character that no request can carry, such as a line break.",
        remedy="Set it again without it; a file with Windows line endings leaves one behind.",
        variable=variable,
    )


def _denied(what: str, answer: requests.Response | None) -> PermissionDenied:
    """Return the error for what MLflow does not allow, with the reason that it gives."""
    text = "" if answer is None else str(_content(answer).get("message") or answer.text)
    said = one_line(without_secrets(text)).removesuffix(".")
    return PermissionDenied(
        f"{what}: MLflow does not allow that: {said or 'no reason given'}.",
        remedy="If it gives no other reason, use an account with the right, or have it granted in "
        "MLflow.",
    )


def _unavailable(what: str, error: Exception) -> RegistryUnavailable:
    if why := distrusted(error):
        return RegistryUnavailable(
            f"{what}: its certificate is not trusted ({why}).",
            remedy=f"Set {_CERTIFICATE} to the PEM file with the certificate of your CA.",
        )
    why, asked = reason(error), _asked_for(error)
    if file := urlsplit(asked.partition(_ARTIFACTS)[2]).path.rpartition("/")[2]:
        # MLflow says that it cannot write a file, or hangs up while it is sent.
        return RegistryUnavailable(
            f"{what}: MLflow did not accept or send the file {file} ({why}).",
            remedy=f"Where `guardianflow status` says that MLflow answers, {_LOG_SAYS}",
            file=file,
        )
    told = _has_cause(error, RetryError) or _has_cause(error, requests.HTTPError)
    if told or not _has_cause(error, requests.RequestException):
        return RegistryUnavailable(
            f"{what}: MLflow answers with errors ({why}).", remedy=_LOG_SAYS.capitalize()
        )
    server = f"{urlsplit(asked).scheme}://{urlsplit(asked).netloc.rpartition('@')[2]}"
    if asked and server not in what:
        what = f"{what}: the MLflow server {server}"
    return RegistryUnavailable(f"{what} does not answer ({why}).", remedy=_START_IT)


def _asked_for(error: BaseException) -> str:
    """Return the address that was asked; '' if no request is known."""
    requested = (getattr(cause, "request", None) for cause in causes(error))
    return next((str(request.url) for request in requested if request is not None), "")
