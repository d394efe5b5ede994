"""What the account of this process may do on a server with MLflow's own accounts (basic-auth).

A server without accounts, or behind another kind of login, says nothing about rights: there the
first write that is refused tells. Where no account is set, nothing is asked.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from mlflow import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from guardianflow.errors import PermissionDenied
from guardianflow.mlflow_store.client import border
from guardianflow.names import ModelName

_WRITING = ("EDIT", "MANAGE")
_TIMEOUT_S = 8


def require_administrator(client: MlflowClient) -> None:
    """Let nobody but an administrator create what all accounts share: its maker owns it.

    Raises:
        PermissionDenied: The account is none.
    """
    account = _account(client)
    if account and _is_administrator(client, account) is False:
        raise PermissionDenied(
            f"This MLflow server is not set up for guardianflow yet, and {account} is no "
            "administrator of it: whoever creates the ledger owns it. Nothing was changed.",
            remedy="An administrator runs `python -m deployments.apply --mlflow` once; "
            "docs/install.md says how.",
        )


def require_alias_rights(client: MlflowClient, names: Iterable[ModelName]) -> None:
    """Refuse an account that could commit an operation and then not move its aliases.

    One request for each name, and none where no account is set.

    Raises:
        PermissionDenied: The account may not write aliases of one of the names.
    """
    account = _account(client)
    for name in names if account else ():
        what = {
            "username": account,
            "resource_type": "registered_model",
            "resource_id": name.registered,
        }
        answer = ask_server(client, f"/api/3.0/mlflow/users/permissions/get?{urlencode(what)}")
        right = answer.get("permission")
        # Of an administrator it says what everybody may.
        if right is None or right in _WRITING or _is_administrator(client, account) is not False:
            continue
        raise PermissionDenied(
            f"The account {account} has {right} on {name}: it may not move its aliases. Nothing "
            "was changed.",
            remedy="Use an account with EDIT on the model; docs/install.md lists which account "
            "needs which right.",
            name=name.public,
            account=account,
        )


def _account(client: MlflowClient) -> str:
    return get_default_host_creds(client.tracking_uri).username or ""


def _is_administrator(client: MlflowClient, account: str) -> bool | None:
    """None where the server does not say."""
    address = f"/api/2.0/mlflow/users/get?{urlencode({'username': account})}"
    user = ask_server(client, address).get("user")
    return bool(user.get("is_admin")) if isinstance(user, dict) else None


def ask_server(client: MlflowClient, address: str) -> Mapping[str, object]:
    """What a server says at an address that not every server has; nothing where it has none."""
    with border(f"ask MLflow for {address.partition('?')[0]}"):
        answer = http_request(
            get_default_host_creds(client.tracking_uri),
            address,
            "GET",
            timeout=_TIMEOUT_S,
            raise_on_status=False,
        )
    if answer is None or answer.status_code != 200:
        return {}
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
