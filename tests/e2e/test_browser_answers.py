"""Every kind of answer, given in the Prefect UI by a real browser, and what comes of it.

The versions hold a few bytes and are not measured: what is asked, answered and moved is real.
"""

import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from prefect.settings import PREFECT_API_URL, temporary_settings
from pyotp.totp import TOTP

from blocks import ApprovalPolicy
from blocks.approval_policy import POLICY_DOCUMENT
from guardianflow.names import ModelName
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.one_time_codes import approvers_file, enrol, read_approvers
from guardianflow.promotion.approval.policy import Answer, ApprovalRule, Choice, Proof
from testbed.browser import CHROMIUM, fill_approval, open_approval, open_browser, submit_approval
from testbed.runs import make_run
from tests.e2e.plant import until

FILES = {"MLmodel": b"{}", "artifacts/ir/model.bin": b"weights"}
KIM, LEE = "Kim Minji", "Lee Jun"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


@pytest.fixture
def page(embedded):
    with open_browser(servers=embedded[1]) as opened:
        yield opened


class Floor:
    """One model, what is asked about it, and a person before the Prefect UI."""

    def __init__(self, plant, prefect_url):
        self.plant = plant
        self.registry, self.orchestrator = plant.registry, plant.orchestrator
        self.name = f"test/lab-{uuid.uuid4().hex[:8]}/bench/ppe"
        self._prefect_url = prefect_url

    def register(self):
        run_id = make_run(self.registry.client, FILES)
        return self.registry.register_model(run_id, "model", self.name).version

    def policy(self, **rule):
        rules = [ApprovalRule(models=self.name, **rule)] if rule else []
        with temporary_settings({PREFECT_API_URL: self._prefect_url}):
            # The browser keeps a loop running here, in which Prefect would not wait.
            ApprovalPolicy(rules=rules).save(POLICY_DOCUMENT, overwrite=True, _sync=True)

    def ask(self, requested_by="Park"):
        parameters = {"model_name": self.name, "requested_by": requested_by}
        self.orchestrator.submit("promote/guardianflow", parameters)
        return until(self.asked)

    def asked(self):
        return self.plant.asked(self.name)

    def asked_after(self, before):
        def look():
            now = self.asked()
            return now if now and now.since != before.since else None

        return until(look)

    def ended(self, waiting):
        return self.orchestrator.follow(waiting.flow_run_id, lambda _: None).state

    def champion(self):
        return self.plant.champion(self.name)

    def move_champion(self):
        """Somebody promotes another version meanwhile."""
        other, token = self.register(), str(uuid.uuid4())
        proposal = propose(self.registry, self.name, other, token=token, requested_by="Choi")
        yes = Answer(decision=Choice.APPROVE, approver="Choi", reason="urgent")
        decide(self.registry, proposal, [yes], token=token)

    def weights(self, version):
        """The file of a version on the MLflow server."""
        registered = ModelName.parse(self.name).registered
        uri = self.registry.client.get_model_version_download_uri(registered, str(version))
        artifacts = self.plant.state_dir / "mlflow" / "artifacts"
        return artifacts / urlsplit(uri).path.lstrip("/") / "artifacts/ir/model.bin"


@pytest.fixture
def floor(plant, embedded):
    _, servers = embedded
    made = Floor(plant, servers.prefect)
    made.register()
    yield made
    made.policy()


def send(page, waiting, decision="approve", who=KIM, why="saw the pictures", code=None):
    """Open the form, fill it in, send it."""
    open_approval(page, waiting.url)
    fill_approval(page, decision, who, why)
    if code is not None:
        page.locator(".p-modal textarea").nth(2).fill(code)
    submit_approval(page)


def read_form(page, waiting):
    open_approval(page, waiting.url)
    return page.locator(".p-modal").inner_text()


def test_a_rejection_moves_nothing_and_is_kept(floor, page):
    waiting = floor.ask()
    send(page, waiting, "reject", why="gloves are missed")
    assert floor.ended(waiting) == "Rejected"
    assert floor.champion() is None
    assert floor.registry.get_version(floor.name, 1).status == "rejected"
    # Whoever opens the run sees that it is over, and by whom.
    page.goto(waiting.url)
    expect(page.get_by_text("Rejected", exact=True).first).to_be_visible()
    said = floor.orchestrator.read(waiting.flow_run_id).message
    assert said.startswith(f"The rejection by {KIM} is recorded: gloves are missed.")


def test_what_the_form_does_not_take_is_said_and_the_question_stays_open(floor, page):
    waiting = floor.ask()
    open_approval(page, waiting.url)
    fill_approval(page, "approve", KIM, "x")
    button = page.get_by_role("button", name="Submit")
    button.click()
    page.wait_for_timeout(2_000)
    assert button.is_visible(), "a reason of one letter was taken for one"
    assert "'x' is too short" in page.inner_text("body")
    assert floor.asked().since == waiting.since
    fill_approval(page, "approve", KIM, "saw the pictures")
    submit_approval(page)
    assert floor.ended(waiting) == "Promoted"
    assert floor.registry.history(floor.name)[-1].reason == "saw the pictures"


def test_whoever_asked_may_not_approve_where_four_eyes_are_wanted(floor, page):
    floor.policy(four_eyes=True)
    first = floor.ask(requested_by=KIM)
    send(page, first)
    second = floor.asked_after(first)
    assert "could not be used" in read_form(page, second)
    assert floor.champion() is None
    send(page, second, who=LEE)
    assert floor.ended(second) == "Promoted"
    assert floor.registry.history(floor.name)[-1].actor == f"{LEE} (declared)"


def test_a_wrong_code_and_a_spent_one_do_not_count_and_two_people_do(floor, page):
    path = approvers_file()
    kim, lee = (f"{who} {uuid.uuid4().hex[:6]}" for who in (KIM, LEE))
    for who in (kim, lee):
        enrol(path, who)
    secrets = read_approvers(path)

    def code(who):
        # Of a phone whose clock is half a minute ahead, which counts: a busy machine needs more
        # than a minute until a worker looks at the code.
        return TOTP(secrets[who]).at(datetime.now(UTC) + timedelta(seconds=30))

    floor.policy(approvals_needed=2, proof=Proof.TOTP)
    first = floor.ask()
    send(page, first, who=kim, code=code(lee))
    second = floor.asked_after(first)
    assert "the one-time code is wrong" in read_form(page, second)

    spent = code(kim)
    send(page, second, who=kim, code=spent)
    third = floor.asked_after(second)
    assert f"Approved by {kim} (proven by one-time code)" in read_form(page, third)

    # Read over Kim's shoulder and typed again: it proves nobody.
    send(page, third, who=kim, code=spent)
    fourth = floor.asked_after(third)
    assert "could not be used" in read_form(page, fourth)
    assert floor.champion() is None

    send(page, fourth, who=lee, code=code(lee))
    assert floor.ended(fourth) == "Promoted"
    actor = ", ".join(f"{who} (proven by one-time code)" for who in (kim, lee))
    assert floor.registry.history(floor.name)[-1].actor == actor
    # A browser keeps addresses: they hold no code.
    assert spent not in page.url


def test_of_two_open_forms_one_counts(floor, page):
    waiting, late = floor.ask(), page.context.browser.new_page()
    open_approval(page, waiting.url)
    fill_approval(page, "approve", KIM, "saw the pictures")
    open_approval(late, waiting.url)
    fill_approval(late, "reject", LEE, "gloves are missed")
    submit_approval(page)
    assert floor.ended(waiting) == "Promoted"
    late.get_by_role("button", name="Submit").click()
    late.wait_for_timeout(3_000)
    [operation] = floor.registry.history(floor.name)
    assert (operation.actor, floor.champion()) == (f"{KIM} (declared)", 1)
    assert floor.registry.get_version(floor.name, 1).status == "champion"


def test_a_champion_that_moved_while_the_form_was_open_is_asked_about_anew(floor, page):
    first = floor.ask()
    open_approval(page, first.url)
    floor.move_champion()
    fill_approval(page, "approve", KIM, "saw the pictures")
    submit_approval(page)
    second = floor.asked_after(first)
    assert floor.champion() == 2
    form = read_form(page, second)
    assert "Please answer again: version 2 went into use meanwhile." in form
    assert "reject: version 2 stays." in form
    send(page, second, who=LEE)
    assert floor.ended(second) == "Promoted"
    assert floor.champion() == 1


def test_a_file_that_was_changed_while_the_form_was_open_is_not_promoted(floor, page):
    first, path = floor.ask(), floor.weights(1)
    whole = path.read_bytes()
    path.write_bytes(b"another")
    send(page, first)
    second = floor.asked_after(first)
    assert "differs from what was registered" in read_form(page, second)
    assert floor.champion() is None
    path.write_bytes(whole)
    send(page, second)
    assert floor.ended(second) == "Promoted"


def test_a_request_that_is_cancelled_in_the_ui_ends_as_expired(floor, page):
    waiting = floor.ask()
    page.goto(waiting.url)
    page.get_by_role("button", name="Cancel", exact=True).first.click()
    dialog = page.locator(".p-modal")
    dialog.wait_for()
    dialog.get_by_role("button", name="Confirm").click()
    until(lambda: floor.asked() is None)
    # A cancelled run runs no hook: the next scheduled pass notices.
    until(lambda: floor.registry.get_version(floor.name, 1).status == "expired")
    assert floor.champion() is None


def test_a_question_that_nobody_answered_in_time_takes_no_late_answer(floor, page):
    floor.policy(expires_after_days=45 / 86_400)
    waiting = floor.ask()
    open_approval(page, waiting.url)
    fill_approval(page, "approve", KIM, "saw the pictures")
    # Nobody is there when the time is over: the next scheduled pass notices.
    until(lambda: floor.registry.get_version(floor.name, 1).status == "expired", 180)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_timeout(5_000)
    assert floor.champion() is None
    assert floor.asked() is None
    # The next request is asked about anew, and for as long as the policy now says.
    floor.policy()
    second = floor.ask()
    send(page, second)
    assert floor.ended(second) == "Promoted"
