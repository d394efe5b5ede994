"""The flow `promote` on a real Prefect API and MLflow server: void, codes, two people, the end.

The versions hold a few bytes and are not measured: what is asked, answered and moved is real.
"""

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Running, Suspended
from pyotp.totp import TOTP

from blocks import ApprovalPolicy, MlflowCredentials
from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from flows.promotion import promote
from flows.questions import look_at_questions
from guardianflow.cli import main
from guardianflow.errors import AnswerInvalid, NothingWaiting, VersionRejected
from guardianflow.events import EventName, resource
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.one_time_codes import enrol, read_approvers
from guardianflow.promotion.approval.policy import Answer, ApprovalRule, Choice, Proof
from guardianflow.promotion.approval.stored_rules import read_rules
from guardianflow.promotion.question import Question
from guardianflow.vision.data.contamination import CONTAMINATION_FILE, ContaminationReport
from tests.integration.release_kit import files_on_server

DEADLINE_S = 120
KIM = ("approve", "Kim Minji", "saw the pictures")
LEE = ("approve", "Lee Jun", "saw them, too")


@pytest.fixture(scope="module")
def orchestrator(prefect_server, mlflow_server):
    MlflowCredentials.register_type_and_schema()
    MlflowCredentials(tracking_uri=mlflow_server).save(DEFAULT_DOCUMENT, overwrite=True)
    ApprovalPolicy.register_type_and_schema()
    return Orchestrator(prefect_server)


class Floor:
    """One model, and people who answer what is asked about it."""

    def __init__(self, factory, orchestrator):
        self.factory = factory
        self.registry = factory.registry
        self.orchestrator = orchestrator
        self.name = factory.name()
        factory.base(self.name)
        self.last = None

    def policy(self, **rule):
        rules = [ApprovalRule(models=self.name, **rule)] if rule else []
        ApprovalPolicy(rules=rules).save(POLICY_DOCUMENT, overwrite=True)

    def promote(self, *steps, reason="a test", requested_by="Park", force=False):
        """Run the promotion here; each step is an answer, or what is done before the next one."""
        with ThreadPoolExecutor(1) as pool:
            given = pool.submit(self.answer, steps)
            state = promote(self.name, None, requested_by, reason, force=force, return_state=True)
            given.result(DEADLINE_S)
        return state

    def answer(self, steps):
        for step in steps:
            waiting = self.waiting()
            if callable(step):
                step(waiting)
                continue
            self.orchestrator.answer(waiting.flow_run_id, *step)
            self.last = waiting

    def waiting(self):
        """The question that is open and was not answered yet."""
        return until(
            lambda: next(
                (
                    w
                    for w in self.orchestrator.pending()
                    if w.model_name == self.name
                    and (self.last is None or w.since != self.last.since)
                ),
                None,
            )
        )

    def form(self, waiting):
        """What the approver reads now."""
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(uuid.UUID(waiting.flow_run_id))
            keys = run.state.state_details.run_input_keyset
            return json.loads(client.read_flow_run_input(run.id, keys["description"]))

    def note(self, waiting):
        """What the message says besides, that it waits."""
        with get_client(sync_client=True) as client:
            return client.read_flow_run(uuid.UUID(waiting.flow_run_id)).labels["guardianflow.note"]

    def champion(self):
        found = self.registry.get_champion(self.name)
        return found.version if found else None

    def move_champion(self):
        """Somebody promotes another version meanwhile."""
        other = self.factory.base(self.name).version
        token = str(uuid.uuid4())
        proposal = propose(self.registry, self.name, other, token=token, requested_by="Choi")
        yes = Answer(decision=Choice.APPROVE, approver="Choi", reason="urgent")
        decide(self.registry, proposal, [yes], token=token)
        return other


@pytest.fixture
def floor(factory, orchestrator):
    made = Floor(factory, orchestrator)
    made.policy()
    yield made
    made.policy()


def until(look):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came in time")


def test_a_champion_that_moved_voids_the_answer_and_the_same_run_asks_again(floor):
    seen = []
    state = floor.promote(
        lambda _: floor.move_champion(),
        KIM,
        lambda waiting: seen.append((waiting, floor.form(waiting), floor.note(waiting))),
        LEE,
    )
    assert state.name == "Promoted", state.message
    [(again, form, told)] = seen
    assert again.flow_run_id == floor.last.flow_run_id
    first, _, note = form.partition("** **")
    assert first.startswith("**Nothing could be measured")
    assert "Please answer again: version 2 went into use meanwhile." in note
    # The message that it waits says it too: who approved before learns that it was void.
    assert told in note
    assert told.startswith("Please answer again: version 2 went into use")
    history = floor.registry.history(floor.name)
    assert [(o.before[floor.name], o.after[floor.name]) for o in history] == [(None, 2), (2, 1)]
    assert history[-1].actor == "Lee Jun (declared)"


def test_a_file_that_changed_voids_the_answer_and_the_form_says_so(floor, mlflow_folder):
    path = files_on_server(floor.registry, mlflow_folder, floor.name, 1) / "artifacts/ir/model.bin"
    whole, seen = path.read_bytes(), []
    state = floor.promote(
        lambda _: path.write_bytes(b"another"),
        KIM,
        lambda waiting: seen.append(floor.form(waiting)),
        lambda _: path.write_bytes(whole),
        KIM,
    )
    assert state.name == "Promoted", state.message
    assert "its file artifacts/ir/model.bin differs from what was registered" in seen[0]
    assert floor.champion() == 1


def test_answers_that_never_hold_come_to_an_end(floor, monkeypatch):
    monkeypatch.setattr("flows.promotion.MAX_ROUNDS", 2)
    moves = (lambda _: floor.move_champion(), KIM)
    state = floor.promote(*moves * 2)
    assert (state.name, state.type) == ("Void", "FAILED")
    assert floor.champion() == 3
    assert "Asked 2 times" in told(floor)[0]


def test_a_failed_gate_asks_nobody_unless_one_who_may_overrides_it(floor, tmp_path):
    floor.policy(overriders=("Park",))
    spoilt = ContaminationReport(
        method="by hand",
        max_distance=0,
        images={"train": 1, "test": 1},
        exact={"train/test": 1},
        near={},
        pairs=(),
    )
    (tmp_path / CONTAMINATION_FILE).write_text(spoilt.model_dump_json(), "utf-8")
    run_id = floor.registry.get_version(floor.name, 1).run_id
    floor.registry.client.log_artifact(run_id, str(tmp_path / CONTAMINATION_FILE))
    ended = floor.promote()
    assert ended.is_failed()
    assert "GateFailed" in ended.message
    ended = floor.promote(requested_by="Choi", force=True)
    assert "ApprovalRequired: Choi may not override the gate" in ended.message
    assert floor.orchestrator.pending() == []
    seen = []
    state = floor.promote(lambda w: seen.append(floor.form(w)), KIM, force=True)
    assert state.name == "Promoted", state.message
    assert "**Park asks although the automatic check says no. Reason given: a test.**" in seen[0]
    assert "Automatic check: **no**" in seen[0]
    operation = floor.registry.history(floor.name)[-1]
    assert operation.reason == (
        "gate FAILED, overridden by Park: a test; approved: saw the pictures"
    )


def test_two_people_with_codes_and_what_is_not_counted_is_asked_again(floor, tmp_path, monkeypatch):
    path = tmp_path / "approvers.json"
    monkeypatch.setenv("GUARDIANFLOW_APPROVERS", str(path))
    kim, lee, park = (f"{who} {uuid.uuid4().hex[:8]}" for who in ("Kim", "Lee", "Park"))
    for who in (kim, lee, park):
        enrol(path, who)
    secrets = read_approvers(path)
    floor.policy(approvals_needed=2, proof=Proof.TOTP, four_eyes=True)
    seen, used = [], {}

    def look(waiting):
        seen.append(floor.form(waiting))

    def give(who, code=None):
        def step(waiting):
            used[who] = code() if code else TOTP(secrets[who]).at(datetime.now(UTC))
            given = ("approve", who, "saw it", used[who])
            floor.orchestrator.answer(waiting.flow_run_id, *given)
            floor.last = waiting

        return step

    def without_code(waiting):
        with pytest.raises(AnswerInvalid, match="code"):
            floor.orchestrator.answer(waiting.flow_run_id, "approve", kim, "saw it")

    state = floor.promote(
        without_code,
        give(park),  # who asked
        give(kim, lambda: TOTP(secrets[lee]).at(datetime.now(UTC))),  # somebody else's code
        look,
        give(kim),
        look,
        give(kim, lambda: used[kim]),  # the same person
        look,
        give(lee),
        requested_by=park,
    )
    assert state.name == "Promoted", state.message
    assert "the one-time code is wrong" in seen[0]
    assert "1 of 5 wrong codes" in seen[0]
    assert f"Approved by {kim} (proven by one-time code); one more person is needed" in seen[1]
    assert "has approved already" in seen[2]
    operation = floor.registry.history(floor.name)[-1]
    assert operation.actor == ", ".join(f"{w} (proven by one-time code)" for w in (kim, lee))
    assert everywhere(secrets.values(), used.values()) == []


def everywhere(secrets, codes):
    """Secrets and codes in what Prefect shows to whoever reads lists of it."""
    with get_client(sync_client=True) as client:
        text = "".join(
            client.request("POST", f"/{path}/filter", json={"limit": 200}).text
            for path in ("flow_runs", "task_runs", "logs", "artifacts")
        )
    words = [*secrets, *(f'"{code}"' for code in codes), *(f"'{code}'" for code in codes)]
    return [word for word in words if word in text]


def test_five_wrong_codes_end_the_request_and_it_is_told_once(floor, tmp_path, monkeypatch):
    path = tmp_path / "approvers.json"
    monkeypatch.setenv("GUARDIANFLOW_APPROVERS", str(path))
    enrol(path, "Kim Minji")
    floor.policy(proof=Proof.TOTP)
    state = floor.promote(*[(*KIM, "000000")] * 5)
    assert (state.name, state.type) == ("Void", "FAILED")
    assert floor.champion() is None
    [said] = told(floor)
    assert "5 one-time codes were wrong" in said
    assert floor.registry.get_version(floor.name, 1).status == "expired"
    assert told(floor) == []
    assert len(until(lambda: undecided(floor.name))) == 1


def undecided(model_name):
    wanted = {"event": {"name": ["guardianflow.approval.undecided"]}}
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"]
    return [one["payload"] for one in found if one["payload"]["model"] == model_name]


def test_a_question_whose_run_was_cancelled_or_deleted_is_noticed(floor):
    with get_client(sync_client=True) as client:
        for ending, words in (("cancel", "its flow run is Cancelled"), ("delete", "was deleted")):
            run = client.create_flow_run(promote, parameters={"model_name": floor.name})
            question = Question(floor.registry, str(run.id), datetime.now(UTC), 1)
            token = str(uuid.uuid4())
            question.ask(
                lambda token=token: propose(
                    floor.registry, floor.name, token=token, requested_by="Park"
                )
            )
            assert told(floor) == []
            if ending == "cancel":
                client.set_flow_run_state(run.id, Cancelled(), force=True)
            else:
                client.delete_flow_run(run.id)
            [said] = told(floor)
            assert words in said
            assert floor.registry.get_version(floor.name, 1).status == "expired"
            assert told(floor) == []
    until(lambda: len(undecided(floor.name)) == 2)


def a_question(floor, run):
    """What a flow run asks, recorded in the approval log."""
    question = Question(floor.registry, str(run.id), datetime.now(UTC), 1)
    question.ask(
        lambda: propose(floor.registry, floor.name, token=str(uuid.uuid4()), requested_by="Park")
    )
    return question


def test_a_version_that_is_asked_about_anew_does_not_expire(floor):
    with get_client(sync_client=True) as client:
        first, second = (
            client.create_flow_run(promote, parameters={"model_name": floor.name, **version})
            for version in ({}, {"model_version": 1})
        )
        a_question(floor, first)
        a_question(floor, second)
        client.set_flow_run_state(first.id, Cancelled(), force=True)
        assert len(told(floor)) == 1
        assert floor.registry.get_version(floor.name, 1).status == ""
        client.set_flow_run_state(second.id, Cancelled(), force=True)
        assert len(told(floor)) == 1
    assert floor.registry.get_version(floor.name, 1).status == "expired"


@pytest.fixture
def deployment(orchestrator):
    """Deploys `promote` where no worker looks, as often as it is called; the id each time."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("promote")
        made = []

        def deploy():
            made.append(client.create_deployment(flow_id, "guardianflow"))
            return made[-1]

        yield deploy
        for one in made:
            with suppress(ObjectNotFound):
                client.delete_deployment(one)


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_question_whose_deployment_was_deleted_is_put_anew_and_takes_no_answer(
    floor, deployment, cancelled
):
    with get_client(sync_client=True) as client:
        parameters = {"model_name": floor.name, "requested_by": "Park"}
        former = deployment()
        run = client.create_flow_run_from_deployment(former, parameters=parameters)
        question = a_question(floor, run)
        client.set_flow_run_state(run.id, Suspended(timeout_seconds=600), force=True)
        assert told(floor) == []
        client.delete_deployment(former)
        with pytest.raises(NothingWaiting, match="deployment was deleted") as refused:
            floor.orchestrator.answer(str(run.id), *KIM)
        assert "`python -m deployments.apply`" in refused.value.remedy
        # Until it is there again the question waits.
        assert told(floor) == []
        if cancelled:
            # What a worker does that was given the answer in the UI.
            said = f"Deployment {former} no longer exists, cancelled run."
            client.set_flow_run_state(run.id, Cancelled(message=said), force=True)
        anew = deployment()
        [said] = told(floor)
        assert "is asked again" in said
        assert client.read_flow_run(run.id).state.is_cancelled()
        [asking] = [one for one in client.read_flow_runs() if one.deployment_id == anew]
        assert asking.parameters == parameters | {"model_version": question.version}
        assert told(floor) == []
        assert floor.registry.get_version(floor.name, 1).status == ""
        client.delete_flow_run(asking.id)


def test_what_is_being_measured_is_no_question_yet_but_is_said(floor, capsys, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", floor.orchestrator.api_url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", floor.registry.client.tracking_uri)
    with get_client(sync_client=True) as client:
        asked = {"model_name": floor.name, "model_version": 1}
        run = client.create_flow_run(promote, parameters=asked)
        client.set_flow_run_state(run.id, Running(), force=True)
        said = command_line(capsys, 0, "pending")
        assert f"{floor.name} version 1 is being measured" in said
        said = command_line(capsys, 0, "promote", floor.name, "--request")
        assert f"flow run {run.name} already asks for this version" in said
        answer = ("approve", floor.name, "--approver", "Kim Minji", "--reason", "a test")
        assert "still being measured" in command_line(capsys, 3, *answer)
        client.delete_flow_run(run.id)


def command_line(capsys, code, *words):
    """What a command says on both streams."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    assert ended.value.code == code, said.err
    return said.out + said.err


def told(floor, now=None):
    """What a pass tells about this model."""

    @flow(name="questions-test")
    def look() -> list[str]:
        return look_at_questions(now)

    return [said for said in look() if floor.name in said]


@pytest.mark.parametrize(("days", "reminded"), [(7, True), (1.9, False)])
def test_the_last_day_of_a_question_is_told_once_unless_it_is_short(floor, days, reminded):
    floor.policy(expires_after_days=days)

    def a_day_before_the_end(waiting):
        early, late = (waiting.expires - timedelta(hours=left) for left in (25, 23))
        assert told(floor, early) == []
        said = told(floor, late)
        assert ["not decided yet" in one for one in said] == [True] * reminded
        assert told(floor, late) == []

    assert floor.promote(a_day_before_the_end, KIM).name == "Promoted"
    about = {"event": {"name": [EventName.EXPIRING]}, "resource": {"id": [resource_of(floor)]}}
    with get_client(sync_client=True) as client:

        def sent():
            answer = client.request("POST", "/events/filter", json={"filter": about}).json()
            return [event["payload"]["incident"] for event in answer["events"]]

        if reminded:
            assert until(sent) == [floor.last.flow_run_id]
        else:
            assert sent() == []


def resource_of(floor):
    return resource(floor.name)["prefect.resource.id"]


def test_nobody_answers_in_time(floor):
    floor.policy(expires_after_days=4 / 86400)
    state = floor.promote()
    assert state.is_failed()
    [said] = until(lambda: told(floor))
    assert floor.name in said
    assert floor.registry.get_version(floor.name, 1).status == "expired"


def test_a_question_says_until_when_it_may_be_answered(floor):
    floor.policy(expires_after_days=2)
    found = []
    floor.promote(found.append, KIM)
    assert abs((found[0].expires - found[0].since).total_seconds() - 2 * 86400) < 60


def test_a_rejected_version_is_asked_about_again_only_with_a_reason(floor):
    rejected = floor.promote(("reject", "Kim", "gloves are missed."))
    assert rejected.name == "Rejected"
    assert rejected.message.startswith("The rejection by Kim is recorded: gloves are missed. At ")
    with pytest.raises(VersionRejected, match="gloves are missed"):
        promote(floor.name, requested_by="Park")
    seen = []
    state = floor.promote(
        lambda waiting: seen.append(floor.form(waiting)), KIM, reason="new gloves"
    )
    assert state.name == "Promoted"
    assert "Kim rejected this version before: gloves are missed." in seen[0]
    assert "reason: new gloves" in seen[0]


def test_a_block_that_was_deleted_loosens_nothing(floor):
    floor.policy(approvals_needed=2)
    floor.promote(KIM, LEE)
    ApprovalPolicy.delete(POLICY_DOCUMENT)
    floor.factory.base(floor.name)
    floor.promote(KIM, LEE)
    assert floor.champion() == 2
    assert read_rules(floor.registry.client)[0].approvals_needed == 2
