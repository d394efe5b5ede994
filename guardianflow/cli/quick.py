"""Asks the servers within a second: what may only be said if it is quick to find out.

MLflow's and Prefect's own clients take seconds to import, so this speaks HTTP.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

from guardianflow.machine.servers import WORKSPACE, Servers
from guardianflow.prefect_api.prefect_yaml import PROMOTION

_PATIENCE_S = 1.2
_ANSWER_S = 1.0
_MOST_MODELS = 1000


@dataclass(frozen=True)
class QuickAnswers:
    """What the servers said in time; None where one is not named or did not answer.

    Attributes:
        models: Each model with the version that each of its aliases names.
        waiting: How many promotions wait for a person.
    """

    models: Mapping[str, Mapping[str, int]] | None
    waiting: int | None


def ask_quickly(servers: Servers) -> QuickAnswers:
    """Ask both servers at once; whatever goes wrong counts as no answer."""
    models: list[dict[str, dict[str, int]]] = []
    waiting: list[int] = []
    threads = [
        # Daemons: a name that nobody resolves holds up no command that has ended.
        Thread(target=_keep, args=(found, ask, address), daemon=True)
        for found, ask, address in (
            (models, _models, servers.mlflow),
            (waiting, _waiting, servers.prefect),
        )
        if address
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return QuickAnswers(next(iter(models), None), next(iter(waiting), None))


def _keep(found: list[Any], ask: Callable[[str], Any], address: str) -> None:
    # `guardianflow status` says what is wrong; here it only counts that no answer came.
    with suppress(Exception):
        found.append(ask(address))


def _models(address: str) -> dict[str, dict[str, int]]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    workspace = os.environ.get(WORKSPACE, "").strip()
    content = _request(
        "GET",
        f"{address.rstrip('/')}/api/2.0/mlflow/registered-models/search?max_results={_MOST_MODELS}",
        login=f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}" if user else None,
        token=token,
        headers={"X-MLFLOW-WORKSPACE": workspace} if workspace else {},
    )
    found: dict[str, dict[str, int]] = {}
    for model in content.get("registered_models", []):
        tags = {tag["key"]: tag["value"] for tag in model.get("tags", [])}
        if name := tags.get("guardianflow.name"):
            aliases = model.get("aliases", [])
            found[name] = {one["alias"]: int(one["version"]) for one in aliases}
    return dict(sorted(found.items()))


def _waiting(address: str) -> int:
    flow = PROMOTION.partition("/")[0]
    asked = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}},
    }
    return int(
        _request(
            "POST",
            f"{address.rstrip('/')}/flow_runs/count",
            login=os.environ.get("PREFECT_API_AUTH_STRING"),
            token=os.environ.get("PREFECT_API_KEY"),
            json=asked,
        )
    )


def _request(method: str, url: str, *, login: str | None, token: str | None, **options: Any) -> Any:
    import httpx

    headers = {**options.pop("headers", {})}
    if token:
        headers["Authorization"] = f"Bearer {token}"
        login = None
    user, _, password = (login or "").partition(":")
    answer = httpx.request(
        method,
        url,
        headers=headers,
        auth=(user, password) if login else None,
        timeout=_ANSWER_S,
        **options,
    )
    answer.raise_for_status()
    return answer.json()
