"""The border to Prefect: the one place where a client is made and its errors become ours.

Prefect's API answers only in JSON. Anything else, or JSON that no Prefect sends, comes from
something else at that address.
"""

import json
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from guardianflow.errors import InputError, OrchestratorUnavailable, PermissionDenied, Refused
from guardianflow.machine.servers import without_secrets
from guardianflow.machine.wrong_server import (
    answers_instead,
    correct_the_address,
    distrusted,
    one_line,
    reason,
)

if TYPE_CHECKING:
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectHTTPStatusError

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 30.0
_LOGIN = "PREFECT_API_KEY, PREFECT_API_AUTH_STRING or PREFECT_CLIENT_CUSTOM_HEADERS"
_CERTIFICATE = "PREFECT_API_SSL_CERT_FILE"
_LONGEST_DETAIL = 500
# Prefect's client sends the request again after these: only the last answer counts.
_PASSES = (408, 429)


@contextmanager
def open_client(
    api_url: str, *, read_timeout_s: float = _READ_TIMEOUT_S
) -> "Generator[SyncPrefectClient, None, None]":
    """A client of the server at `api_url`.

    Raises:
        OrchestratorUnavailable: The server does not answer, or something else does.
        PermissionDenied: It wants a password that was not given, or does not allow the request.
        Refused: It refuses the request.
        InputError: The file with its certificate does not exist.
    """
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_AUTH_STRING
    from pydantic import SecretStr, ValidationError

    _require_certificate_file()
    # Plain text where it was set by code, as Prefect's own client expects it, too.
    secret = PREFECT_API_AUTH_STRING.value()
    timeout = httpx.Timeout(read_timeout_s, connect=_CONNECT_TIMEOUT_S)
    try:
        with SyncPrefectClient(
            api_url,
            auth_string=(secret.get_secret_value() if isinstance(secret, SecretStr) else secret)
            or None,
            httpx_settings={
                **_trust(),
                "timeout": timeout,
                "event_hooks": {"response": [partial(_refuse_what_is_not_prefect, api_url)]},
            },
        ) as client:
            yield client
    except httpx.InvalidURL as error:
        raise InputError(
            f"PREFECT_API_URL {api_url!r} is no address: {error}.",
            remedy="Give it as http://HOST:PORT/api.",
            value=api_url,
        ) from error
    except httpx.TransportError as error:
        raise _unavailable(api_url, error) from error
    except (ValidationError, json.JSONDecodeError) as error:
        raise OrchestratorUnavailable(
            f"Something else than a Prefect API answers at {api_url}: its JSON is not Prefect's.",
            remedy=_remedy(api_url, 200),
            api_url=api_url,
        ) from error
    except PrefectHTTPStatusError as error:
        raise _refusal(api_url, error) from error


def require_prefect(api_url: str) -> None:
    """Make sure that a Prefect API answers at an address, within ten seconds.

    Raises:
        OrchestratorUnavailable: The server does not answer, or something else does.
        PermissionDenied: It wants a password that was not given.
    """
    from prefect.exceptions import PrefectHTTPStatusError

    with open_client(api_url, read_timeout_s=_CONNECT_TIMEOUT_S) as client:
        try:
            # Reading a flow needs the password where the server has one; /health does not.
            client.read_flows(limit=1)
        except PrefectHTTPStatusError as error:
            if error.response.status_code not in (404, 405):
                raise
            # Every Prefect can list its flows.
            raise _something_else(api_url, error.response) from error


def _something_else(api_url: str, response: "httpx.Response") -> OrchestratorUnavailable:
    """The error that something other than Prefect's API answers."""
    status = response.status_code
    return OrchestratorUnavailable(
        answers_instead("a Prefect API", str(response.url), status, response.text),
        remedy=_remedy(api_url, status),
        status=status,
        api_url=api_url,
    )


def _remedy(url: str, status: int) -> str:
    address = urlsplit(url)
    # A gateway that wants a login says nothing of what is behind it.
    if "api" not in address.path.split("/") and status not in (401, 403, 407):
        # It serves its UI there, and the API below; what was pasted may be a page of the UI.
        host = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
        path = address.path.rstrip("/")
        root = f" or {host}/api" if path else ""
        return f"Prefect's API ends with /api: try {host}{path}/api{root}."
    return correct_the_address("PREFECT_API_URL", status, login=_LOGIN)


def _refuse_what_is_not_prefect(api_url: str, response: "httpx.Response") -> None:
    """Look at each answer before Prefect's client reads it."""
    status = response.status_code
    if status == 204 or status >= 500 or status in _PASSES or response.has_redirect_location:
        return
    if "json" not in response.headers.get("content-type", ""):
        response.read()
        raise _something_else(api_url, response)


def _refusal(
    api_url: str, error: "PrefectHTTPStatusError"
) -> OrchestratorUnavailable | PermissionDenied | Refused:
    """What an error status means."""
    status = error.response.status_code
    if status == 401:
        return PermissionDenied(
            f"The Prefect server {api_url} refuses the password.",
            remedy="Set PREFECT_API_AUTH_STRING.",
        )
    if status == 403:
        # This account may not do it, or a guard lets no account do it.
        said = one_line(without_secrets(detail(error))).removesuffix(".")
        return PermissionDenied(
            f"The Prefect server {api_url} does not allow that: {said or 'no reason given'}.",
            remedy=f"Do what it says; if it speaks of a login, set it ({_LOGIN}).",
            status=status,
        )
    if status < 400:
        return _something_else(api_url, error.response)
    if status >= 500:
        return OrchestratorUnavailable(
            f"The Prefect server {api_url} answers with errors ({status}).",
            remedy="Its log says why; then run the command again.",
            api_url=api_url,
        )
    return Refused(
        f"The Prefect server {api_url} refuses the request ({status}): {detail(error)}.",
        remedy="The server's log says more; `python -m deployments.apply` brings it to the "
        "state that this version of guardianflow expects.",
        status=status,
    )


def _trust() -> dict[str, ssl.SSLContext]:
    """Whom to trust, read once: Prefect's client would read all certificates for each client."""
    from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_TLS_INSECURE_SKIP_VERIFY

    if PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value():
        return {}
    return {"verify": _trusting(PREFECT_API_SSL_CERT_FILE.value())}


@cache
def _trusting(file: str | None) -> ssl.SSLContext:
    import httpx

    if file:
        return ssl.create_default_context(cafile=file)
    return httpx.create_ssl_context(trust_env=False)


def _require_certificate_file() -> None:
    from prefect.settings import PREFECT_API_SSL_CERT_FILE

    file = PREFECT_API_SSL_CERT_FILE.value()
    if file and not Path(file).exists():
        raise InputError(
            f"{_CERTIFICATE} names {file}, which does not exist.",
            remedy="Give the PEM file with the certificate of your CA.",
            file=file,
        )


def detail(error: "PrefectHTTPStatusError") -> str:
    """What the server says about a request that it refuses."""
    response = error.response
    if response.headers.get("content-type", "").startswith("application/json"):
        content = response.json()
        if isinstance(content, dict):
            said = cast("dict[str, object]", content).get("detail", response.text)
            return str(said)[:_LONGEST_DETAIL]
    return response.text[:_LONGEST_DETAIL]


def _unavailable(api_url: str, error: Exception) -> OrchestratorUnavailable:
    if why := distrusted(error):
        return OrchestratorUnavailable(
            f"The certificate of the Prefect server {api_url} is not trusted ({why}).",
            remedy=f"Set {_CERTIFICATE} to the PEM file with the certificate of your CA.",
            api_url=api_url,
        )
    return OrchestratorUnavailable(
        f"The Prefect server {api_url} does not answer ({reason(error)}).",
        remedy="Run `make up`, or set PREFECT_API_URL to a server that runs.",
        api_url=api_url,
    )
