"""Talks to Prefect from outside a flow: submit, follow, list and answer approvals, send events.

Clients are made in `connection.py`; what their answers mean stands in `flowruns.py` and
`machinery.py`. It never starts a server of its own: without an address it says what to do, and a
server that does not answer is reported within seconds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4, uuid5

from guardianflow.errors import (
    AnswerInvalid,
    InputError,
    NothingWaiting,
    OrchestratorUnavailable,
)
from guardianflow.events import EventName, ModelEvent, resource
from guardianflow.orchestration.connection import (
    CONNECT_TIMEOUT_S,
    detail,
    open_client,
    something_else,
)
from guardianflow.orchestration.flowruns import (
    FlowRunInfo,
    WaitingApproval,
    describe_run,
    describe_waiting,
)
from guardianflow.orchestration.logs import Told, pass_on
from guardianflow.orchestration.machinery import (
    PROMOTION,
    ROLLBACK,
    Machinery,
    read_machinery,
    why_it_waits,
)
from guardianflow.scenario import ScenarioSpec

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import OrchestrationResult

__all__ = [
    "PROMOTION",
    "ROLLBACK",
    "FlowRunInfo",
    "Orchestrator",
    "WaitingApproval",
    "promotion_key",
]

_POLL_S = 1.0
_PATIENCE_S = 30.0
_PAGE = 200
# Among them is one that was not made by hand for one model.
_NEWEST = 50
_FORM_TIMEOUT_S = 5.0
_FORM_POLL_S = 0.25
_NO_FORM_YET = "Run input schema not found"
_EVENTS = UUID("6f0c1a52-3d0b-5b0e-9b57-6a7d0c0f9e11")


def promotion_key(lifecycle_id: str) -> str:
    """The idempotency key under which a lifecycle's flow run submits its promotion."""
    return f"promotion-{lifecycle_id}"


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
        """Where people look at it."""
        return self.api_url.removesuffix("/api")

    def check(self) -> None:
        """Make sure that the server answers.

        Raises:
            OrchestratorUnavailable: It does not, within ten seconds, or something else does.
            PermissionDenied: It wants a password that was not given.
        """
        from prefect.exceptions import PrefectHTTPStatusError

        with open_client(self.api_url, read_timeout_s=CONNECT_TIMEOUT_S) as client:
            try:
                # Reading a flow needs the password where the server has one; /health does not.
                client.read_flows(limit=1)
            except PrefectHTTPStatusError as error:
                if error.response.status_code not in (404, 405):
                    raise
                # Every Prefect can list its flows.
                raise something_else(self.api_url, error.response) from error

    def submit(
        self,
        deployment: str,
        parameters: Mapping[str, object] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> FlowRunInfo:
        """Start a deployment such as `promote/guardianflow`.

        Args:
            deployment: `flow/deployment`.
            parameters: What the flow is given; the server checks them before anything runs.
            idempotency_key: The same key starts one flow run, however often it is submitted;
                without one each call starts its own.

        Raises:
            InputError: There is no such deployment, or the server refuses a parameter.
            OrchestratorUnavailable: The server does not answer.
        """
        from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

        with open_client(self.api_url) as client:
            try:
                found = client.read_deployment_by_name(deployment)
            except ObjectNotFound as error:
                raise InputError(
                    f"The Prefect server {self.api_url} has no deployment {deployment!r}.",
                    remedy="Bring it there with `python -m deployments.apply`.",
                    deployment=deployment,
                ) from error
            try:
                run = client.create_flow_run_from_deployment(
                    found.id,
                    name=_name_of(deployment, parameters or {}),
                    parameters=dict(parameters or {}),
                    # Prefect's client asks again where it hears of no answer: one run all the same.
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

    def why_it_waits(self, deployment: str) -> str:
        """Why nothing begins the flow runs of a deployment now; '' where a worker polls for them.

        Args:
            deployment: `flow/deployment`.
        """
        with open_client(self.api_url) as client:
            return why_it_waits(client, deployment)

    def read(self, run_id: str) -> FlowRunInfo:
        """How a flow run stands now.

        Raises:
            InputError: There is no such flow run.
        """
        from prefect.exceptions import ObjectNotFound

        with open_client(self.api_url) as client:
            try:
                return describe_run(client.read_flow_run(_uuid(run_id)), self.ui_url)
            except ObjectNotFound as error:
                raise InputError(
                    f"The Prefect server {self.api_url} has no flow run {run_id}.",
                    remedy="`guardianflow status` lists what runs.",
                    run=run_id,
                ) from error

    def find(self, idempotency_key: str) -> FlowRunInfo | None:
        """The flow run that was submitted with this key; None where there is none."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[idempotency_key]))
        with open_client(self.api_url) as client:
            runs = client.read_flow_runs(flow_run_filter=wanted, limit=1)
        return describe_run(runs[0], self.ui_url) if runs else None

    def find_all(self, run_ids: Sequence[str]) -> dict[str, FlowRunInfo]:
        """How flow runs stand now, by id; those that were deleted are left out."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        found: dict[str, FlowRunInfo] = {}
        with open_client(self.api_url) as client:
            for start in range(0, len(run_ids), _PAGE):
                wanted = [_uuid(run_id) for run_id in run_ids[start : start + _PAGE]]
                runs = client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=wanted)),
                    limit=_PAGE,
                )
                kept = _existing(client, runs)
                for run in runs:
                    orphaned = run.deployment_id is not None and run.deployment_id not in kept
                    found[str(run.id)] = describe_run(run, self.ui_url, orphaned=orphaned)
        return found

    def last_ended(self, flow: str) -> tuple[FlowRunInfo, datetime] | None:
        """The flow run of a flow that ended last, and when.

        Cancelled ones do not count, and none for one model.
        """
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType
        from prefect.client.schemas.sorting import FlowRunSort

        ended = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED]
        with open_client(self.api_url) as client:
            runs = client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ended))
                ),
                sort=FlowRunSort.END_TIME_DESC,
                limit=_NEWEST,
            )
        for run in runs:
            if run.end_time is not None and not run.parameters.get("model_name"):
                return describe_run(run, self.ui_url), run.end_time
        return None

    def follow(
        self, run_id: str, on_log: Callable[[str], None], *, timeout_s: float | None = None
    ) -> FlowRunInfo:
        """Pass on the log of a flow run and its subflows until it is over or waits for a person.

        Only what flows and tasks say, not what workers say about them.
        A server that is away for a moment is waited for; the log goes on where it stopped.

        Args:
            run_id: The flow run.
            on_log: Is given each line.
            timeout_s: After that many seconds the run is returned as it stands, neither final nor
                waiting; None follows to the end.
        """
        told = Told()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        patience = time.monotonic() + _PATIENCE_S
        while True:
            try:
                info = self.read(run_id)
                self._pass_on(run_id, told, on_log)
                patience = time.monotonic() + _PATIENCE_S
            except OrchestratorUnavailable:
                if time.monotonic() > patience:
                    raise
                time.sleep(_POLL_S)
                continue
            late = deadline is not None and time.monotonic() > deadline
            if info.final or info.waiting or late:
                # The last lines arrive at the server a moment after the state.
                time.sleep(_POLL_S)
                self._pass_on(run_id, told, on_log)
                return info
            time.sleep(_POLL_S)

    def _pass_on(self, run_id: str, told: Told, on_log: Callable[[str], None]) -> None:
        with open_client(self.api_url) as client:
            pass_on(client, _uuid(run_id), told, on_log)

    def pending(self) -> list[WaitingApproval]:
        """The promotions that wait for a person, the oldest first."""
        found = [describe_waiting(run, self.ui_url) for run in self._promotions("PAUSED")]
        return sorted(found, key=lambda waiting: waiting.since)

    def under_way(self) -> list[WaitingApproval]:
        """The promotions about which nobody can be asked yet, the oldest first.

        They wait for a worker, are being measured, or carry out an answer.
        """
        runs = self._promotions("SCHEDULED", "PENDING", "RUNNING")
        found = [describe_waiting(run, self.ui_url) for run in runs]
        return sorted(found, key=lambda one: one.since)

    def undecided(self) -> list[list[str]]:
        """The flow runs of `pending` and of `under_way`, by id, in one request."""
        runs = self._promotions("PAUSED", "SCHEDULED", "PENDING", "RUNNING")
        waiting = sorted(str(run.id) for run in runs if run.state and run.state.is_paused())
        return [waiting, sorted({str(run.id) for run in runs} - {*waiting})]

    def _promotions(self, *states: str) -> "list[FlowRun]":
        from prefect.client.schemas.filters import (
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType

        wanted = FlowRunFilterStateType(any_=[StateType(state) for state in states])
        promotions = FlowFilter(name=FlowFilterName(any_=[PROMOTION.partition("/")[0]]))
        with open_client(self.api_url) as client:
            return client.read_flow_runs(
                flow_filter=promotions,
                flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=wanted)),
            )

    def cancel(self, run_id: str, why: str) -> None:
        """End a flow run that waits, and say why; one that is over already stays as it is."""
        from prefect.states import Cancelled

        with open_client(self.api_url) as client:
            client.set_flow_run_state(_uuid(run_id), Cancelled(message=why))

    def answer(
        self, run_id: str, decision: str, approver: str, reason: str, code: str = ""
    ) -> FlowRunInfo:
        """Answer a waiting promotion; the flow run goes on by itself.

        Args:
            run_id: The flow run that waits.
            decision: approve or reject.
            approver: Who decides.
            reason: Why.
            code: The one-time code, where the form asks for one.

        Raises:
            NothingWaiting: The flow run does not wait (any more), or its deployment was deleted.
            AnswerInvalid: The server refuses the answer; the run goes on waiting.
        """
        from prefect.client.schemas.responses import SetStateStatus

        info = self.find_all([run_id]).get(run_id)
        if info is not None and info.orphaned:
            name, version = (info.parameters.get(key) for key in ("model_name", "model_version"))
            raise NothingWaiting(
                f"No answer to flow run {info.name} can be carried out: its deployment was deleted "
                "on the Prefect server. Nothing was answered.",
                remedy="Bring it back with `python -m deployments.apply`, from the checkout; the "
                "next pass of `reconcile` asks anew, or at once: "
                f"`guardianflow promote {name} --request"
                + (f" --model-version {version}`." if version else "`."),
                run=run_id,
            )
        given = {"decision": decision, "approver": approver, "reason": reason}
        result = self._resume(run_id, given | ({"code": code} if code else {}))
        if result.status == SetStateStatus.ABORT:
            raise NothingWaiting(
                f"Flow run {run_id} does not wait for an answer (any more).",
                # Also where this answer was taken and the word of it got lost: its pages tell.
                remedy="`guardianflow pending` lists those that do; what became of this one: "
                f"{self.ui_url}/runs/flow-run/{run_id}.",
                run=run_id,
            )
        if result.status != SetStateStatus.ACCEPT:
            why = _reason(result) or "no reason given"
            raise AnswerInvalid(
                f"The answer was refused: {why.rstrip('.')}.",
                remedy=f"The promotion goes on waiting; answer again, or in the UI: "
                f"{self.ui_url}/runs/flow-run/{run_id}.",
                run=run_id,
            )
        return self.read(run_id)

    def _resume(self, run_id: str, answer: dict[str, Any]) -> "OrchestrationResult[Any]":
        """Hand over the answer; where the question has no form yet, wait for it a moment.

        Prefect suspends the flow run first and saves the form's schema after that.
        """
        deadline = time.monotonic() + _FORM_TIMEOUT_S
        while True:
            with open_client(self.api_url) as client:
                result = client.resume_flow_run(_uuid(run_id), run_input=answer)
            if _NO_FORM_YET not in _reason(result) or time.monotonic() > deadline:
                return result
            time.sleep(_FORM_POLL_S)

    def emit(
        self, event: EventName, payload: ModelEvent, *, related: Sequence[Mapping[str, str]] = ()
    ) -> str:
        """Send an event about a model and wait until the server has it.

        Args:
            event: Which event.
            payload: What happened.
            related: Other resources, e.g. the flow run that it happened in.

        Returns:
            The event's id.
        """
        # The same event sent again by a retry has the same id: the server counts it once.
        event_id = str(uuid5(_EVENTS, f"{event.value} {payload.model_dump_json()}"))
        body = {
            "id": event_id,
            "event": event.value,
            "occurred": payload.time.isoformat(),
            "resource": resource(payload.model),
            "related": [dict(one) for one in related],
            "payload": payload.model_dump(mode="json"),
        }
        with open_client(self.api_url) as client:
            client.request("POST", "/events", json=[body])
        return event_id

    def machinery(self) -> Machinery:
        """What carries the flows: automations, deployments, work pools, and the last pass."""
        with open_client(self.api_url) as client:
            return read_machinery(client, self.ui_url, datetime.now(UTC))

    def read_scenario(self, name: str) -> ScenarioSpec | None:
        """The scenario that the server would run, from the block of its name; None without one.

        Raises:
            ScenarioInvalid: Somebody edited the block into something unusable.
        """
        from prefect.exceptions import ObjectNotFound

        with open_client(self.api_url) as client:
            try:
                data = client.read_block_document_by_name(name, "scenario-config").data
            except ObjectNotFound:
                return None
        return ScenarioSpec.from_mapping(name, {**data["common"], "versions": data["versions"]})


def _existing(client: "SyncPrefectClient", runs: "Sequence[FlowRun]") -> set[UUID]:
    """The deployments of flow runs that still exist."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    used = sorted({run.deployment_id for run in runs if run.deployment_id is not None})
    if not used:
        return set()
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=used))
    found = client.read_deployments(deployment_filter=wanted, limit=_PAGE)
    return {deployment.id for deployment in found}


def _name_of(deployment: str, parameters: Mapping[str, object]) -> str | None:
    """What a flow run is called before it begins, and calls itself then; None: Prefect's choice."""
    subject = [parameters.get(key) for key in ("scenario", "version", "model_name")]
    said = [str(one) for one in subject if one is not None]
    return " ".join([deployment.partition("/")[0], *said]) if said else None


def _reason(result: "OrchestrationResult[Any]") -> str:
    return str(getattr(result.details, "reason", None) or "")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is not the id of a flow run.",
            remedy="`guardianflow pending` and `guardianflow status` show the ids.",
            value=text,
        ) from error
