"""The border to Prefect: the one place where a client is made and its errors become ours."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from guardianflow.errors import OrchestratorUnavailable, PermissionDenied, Refused

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectHTTPStatusError

CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 30.0


@contextmanager
def open_client(
    api_url: str, *, read_timeout_s: float = _READ_TIMEOUT_S
) -> "Generator[SyncPrefectClient, None, None]":
    """A client of the server at `api_url`.

    Raises:
        OrchestratorUnavailable: The server does not answer.
        PermissionDenied: It wants a password that was not given.
        Refused: It refuses the request.
    """
    import httpx
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_AUTH_STRING
    from pydantic import SecretStr

    # Plain text where it was set by code, as Prefect's own client expects it, too.
    secret = PREFECT_API_AUTH_STRING.value()
    timeout = httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
    try:
        with SyncPrefectClient(
            api_url,
            auth_string=(secret.get_secret_value() if isinstance(secret, SecretStr) else secret)
            or None,
            httpx_settings={"timeout": timeout},
        ) as client:
            yield client
    except httpx.TransportError as error:
        raise _unavailable(api_url, error) from error
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise PermissionDenied(
                f"The Prefect server {api_url} refuses the password.",
                remedy="Set PREFECT_API_AUTH_STRING.",
            ) from error
        if status >= 500:
            raise _unavailable(api_url, error) from error
        raise Refused(
            f"The Prefect server {api_url} refuses the request ({status}): {detail(error)}.",
            remedy="The server's log says more; `python -m deployments.apply` brings it to the "
            "state that this version of guardianflow expects.",
            status=status,
        ) from error


def detail(error: "PrefectHTTPStatusError") -> str:
    """What the server says about a request that it refuses."""
    response = error.response
    if response.headers.get("content-type", "").startswith("application/json"):
        content = response.json()
        if isinstance(content, dict):
            return str(cast("dict[str, object]", content).get("detail", response.text))
    return response.text


def _unavailable(api_url: str, error: Exception) -> OrchestratorUnavailable:
    return OrchestratorUnavailable(
        f"The Prefect server {api_url} does not answer ({type(error).__name__}).",
        remedy="Start the embedded servers with `make up`, or correct PREFECT_API_URL.",
        api_url=api_url,
    )
