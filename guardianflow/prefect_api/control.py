"""The face of Prefect from outside a flow: submit and follow runs, answer approvals, send events.

It never starts a server of its own: without an address it says what to do, and a server that does
not answer is reported within seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4, uuid5

from guardianflow.errors import InputError, OrchestratorUnavailable
from guardianflow.events import EventName, ModelEvent, resource
from guardianflow.prefect_api.answers import cannot_go_on, require_taken, resume
from guardianflow.prefect_api.client import detail, open_client, require_prefect
from guardianflow.prefect_api.flowruns import (
    FlowRunInfo,
    WaitingApproval,
    describe_run,
    describe_waiting,
)
from guardianflow.prefect_api.following import SeenLines, follow_run, pass_on
from guardianflow.prefect_api.listing import by_id, by_key, newest_ended, of_flow
from guardianflow.prefect_api.prefect_yaml import PROMOTION
from guardianflow.prefect_api.server_state import ServerState, read_server_state, why_it_waits
from guardianflow.scenario import ScenarioSpec

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

__all__ = ["FlowRunInfo", "Orchestrator", "WaitingApproval"]
_EVENT_NAMESPACE = UUID("6f0c1a52-3d0b-5b0e-9b57-6a7d0c0f9e11")


class Orchestrator:
    """One Prefect server.

    Args:
        api_url: Address of its API, e.g. `http://127.0.0.1:4200/api`; None takes Prefect's own
            setting (`PREFECT_API_URL` or the profile).

    Raises:
        OrchestratorUnavailable: There is no address.
    """

    def __init__(self, api_url: str | None = None) -> None:
        from prefect.settings import PREFECT_API_URL

        found = api_url or PREFECT_API_URL.value()
        if not found:
            raise OrchestratorUnavailable(
                "No Prefect server is known.",
                remedy="Start the embedded ones with `make up`, or set PREFECT_API_URL.",
            )
        self.api_url = found.rstrip("/")

    @property
    def ui_url(self) -> str:
        """The address of its UI."""
        return self.api_url.removesuffix("/api")

    def check(self) -> None:
        """Make sure that the server answers; the errors are those of `require_prefect`."""
        require_prefect(self.api_url)

    def _client(self) -> "AbstractContextManager[SyncPrefectClient]":
        return open_client(self.api_url)

    def submit(
        self,
        deployment: str,
        parameters: Mapping[str, object] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> FlowRunInfo:
        """Start a deployment such as `promote/guardianflow`.

        The server checks the parameters before anything runs. The same key starts one flow run,
        however often it is submitted; without one each call starts its own.

        Raises:
            InputError: There is no such deployment, or the server refuses a parameter.
            OrchestratorUnavailable: The server does not answer.
        """
        from prefect.exceptions import PrefectHTTPStatusError

        given = dict(parameters or {})
        with self._client() as client:
            found = self._deployment(client, deployment)
            try:
                run = client.create_flow_run_from_deployment(
                    found.id,
                    name=_run_name(deployment, given),
                    parameters=given,
                    # Prefect's client sends the request again when no answer comes: still one run.
                    idempotency_key=idempotency_key or str(uuid4()),
                )
            except PrefectHTTPStatusError as error:
                if error.response.status_code not in (409, 422):
                    raise
                raise InputError(
                    f"The Prefect server refuses the parameters of {deployment}: {detail(error)}.",
                    remedy="Correct the value.",
                    deployment=deployment,
                    status=error.response.status_code,
                ) from error
        return describe_run(run, self.ui_url)

    def _deployment(self, client: "SyncPrefectClient", name: str) -> "DeploymentResponse":
        from prefect.exceptions import ObjectNotFound

        try:
            return client.read_deployment_by_name(name)
        except ObjectNotFound as error:
            raise InputError(
                f"The Prefect server {self.api_url} has no deployment {name!r}.",
                remedy="Bring it there with `python -m deployments.apply`.",
                deployment=name,
            ) from error

    def why_it_waits(self, deployment: str) -> str:
        """Why no worker starts the flow runs of a deployment now; '' if one polls for them."""
        with self._client() as client:
            return why_it_waits(client, deployment)

    def read(self, run_id: str) -> FlowRunInfo:
        """How a flow run stands now.

        Raises:
            InputError: There is no such flow run.
        """
        with self._client() as client:
            return self._read(client, run_id)

    def _read(self, client: "SyncPrefectClient", run_id: str) -> FlowRunInfo:
        from prefect.exceptions import ObjectNotFound

        try:
            return describe_run(client.read_flow_run(_uuid(run_id)), self.ui_url)
        except ObjectNotFound as error:
            raise InputError(
                f"The Prefect server {self.api_url} has no flow run {run_id}.",
                remedy="`guardianflow status` lists what runs.",
                run=run_id,
            ) from error

    def find(self, idempotency_key: str) -> FlowRunInfo | None:
        """The flow run that was submitted with this key; None if there is none."""
        with self._client() as client:
            run = by_key(client, idempotency_key)
        return describe_run(run, self.ui_url) if run else None

    def find_all(self, run_ids: Sequence[str]) -> dict[str, FlowRunInfo]:
        """How flow runs stand now, by id; those that were deleted are left out."""
        with self._client() as client:
            found = by_id(client, [_uuid(run_id) for run_id in run_ids])
        return {
            str(run.id): describe_run(run, self.ui_url, orphaned=orphaned)
            for run, orphaned in found
        }

    def last_ended(self, flow: str) -> FlowRunInfo | None:
        """The flow run of a flow that ended last; no cancelled one, and none for one model."""
        with self._client() as client:
            run = newest_ended(client, flow)
        return describe_run(run, self.ui_url) if run else None

    def follow(
        self, run_id: str, on_log: Callable[[str], None], *, timeout_s: float | None = None
    ) -> FlowRunInfo:
        """Pass on the log of a flow run and its subflows until it is over or waits for a person.

        Lines of workers are left out. If the server is away for a moment, this waits, and the log
        goes on where it stopped. After `timeout_s` it returns the run as it stands.

        Raises:
            OrchestratorUnavailable: The server is away for more than half a minute.
        """
        told = SeenLines()

        def look() -> FlowRunInfo:
            with self._client() as client:
                info = self._read(client, run_id)
                pass_on(client, _uuid(run_id), told, on_log)
                return info

        return follow_run(look, timeout_s)

    def pending(self) -> list[WaitingApproval]:
        """The promotions that wait for a person, the oldest first."""
        return self._by_age(self._promotions("PAUSED"))

    def under_way(self) -> list[WaitingApproval]:
        """The promotions that do not ask anybody now, the oldest first.

        They wait for a worker, are being measured, or carry out an answer.
        """
        return self._by_age(self._promotions("SCHEDULED", "PENDING", "RUNNING"))

    def undecided(self) -> list[list[str]]:
        """The flow runs of `pending` and of `under_way`, by id, in one request."""
        runs = self._promotions("PAUSED", "SCHEDULED", "PENDING", "RUNNING")
        waiting = sorted(str(run.id) for run in runs if run.state and run.state.is_paused())
        return [waiting, sorted({str(run.id) for run in runs} - {*waiting})]

    def _promotions(self, *states: str) -> "list[FlowRun]":
        with self._client() as client:
            return of_flow(client, PROMOTION.partition("/")[0], states)

    def _by_age(self, runs: "list[FlowRun]") -> list[WaitingApproval]:
        found = [describe_waiting(run, self.ui_url) for run in runs]
        return sorted(found, key=lambda one: one.since)

    def cancel(self, run_id: str, why: str) -> None:
        """End a flow run that waits, and say why; one that is over already stays as it is."""
        from prefect.states import Cancelled

        with self._client() as client:
            client.set_flow_run_state(_uuid(run_id), Cancelled(message=why))

    def answer(
        self, run_id: str, decision: str, approver: str, reason: str, code: str = ""
    ) -> FlowRunInfo:
        """Answer a waiting promotion with approve or reject; the flow run goes on by itself.

        The code is the one-time code, where the form asks for one.

        Raises:
            NothingWaiting: The flow run does not wait (any more), or its deployment was deleted.
            AnswerInvalid: The server refuses the answer; the run goes on waiting.
        """
        info = self.find_all([run_id]).get(run_id)
        if info is not None and info.orphaned:
            raise cannot_go_on(info)
        given = {"decision": decision, "approver": approver, "reason": reason}
        with self._client() as client:
            result = resume(client, _uuid(run_id), given | ({"code": code} if code else {}))
        require_taken(result, run_id, f"{self.ui_url}/runs/flow-run/{run_id}")
        return self.read(run_id)

    def emit(
        self, event: EventName, payload: ModelEvent, *, related: Sequence[Mapping[str, str]] = ()
    ) -> str:
        """Send an event about a model, wait until the server has it, and return its id.

        `related` are other resources, e.g. the flow run that it happened in.
        """
        # The same event sent again by a retry has the same id: the server counts it once.
        event_id = str(uuid5(_EVENT_NAMESPACE, f"{event.value} {payload.model_dump_json()}"))
        body = {
            "id": event_id,
            "event": event.value,
            "occurred": payload.time.isoformat(),
            "resource": resource(payload.model),
            "related": [dict(one) for one in related],
            "payload": payload.model_dump(mode="json"),
        }
        with self._client() as client:
            client.request("POST", "/events", json=[body])
        return event_id

    def server_state(self) -> ServerState:
        """Automations, deployments, work pools, and the last pass of `reconcile`."""
        with self._client() as client:
            return read_server_state(client, self.ui_url, datetime.now(UTC))

    def read_scenario(self, name: str) -> ScenarioSpec | None:
        """The scenario that the server would run, from the block of its name; None without one.

        Raises:
            ScenarioInvalid: Somebody edited the block into something unusable.
        """
        from prefect.exceptions import ObjectNotFound

        with self._client() as client:
            try:
                data = client.read_block_document_by_name(name, "scenario-config").data
            except ObjectNotFound:
                return None
        return ScenarioSpec.from_block(name, data)


def _run_name(deployment: str, parameters: Mapping[str, object]) -> str | None:
    """The name of a flow run before it begins, which it keeps; None: Prefect's choice."""
    subject = [parameters.get(key) for key in ("scenario", "version", "model_name")]
    said = [str(one) for one in subject if one is not None]
    return " ".join([deployment.partition("/")[0], *said]) if said else None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is not the id of a flow run.",
            remedy="`guardianflow pending` and `guardianflow status` show the ids.",
            value=text,
        ) from error
