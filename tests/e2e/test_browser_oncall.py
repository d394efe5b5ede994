"""What the person on call opens in the Prefect UI: the rollback that asks for a reason, the page of
what runs where, and the page of the incident."""

import pytest
from playwright.sync_api import expect
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.emergency import apply_rollbacks
from guardianflow.prefect_api.notifications import STATUS_PAGE
from testbed.browser import CHROMIUM, open_browser
from tests.e2e.plant import until
from tests.integration.releases import Releases

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


@pytest.fixture
def page(embedded):
    with open_browser(servers=embedded[1]) as opened:
        yield opened


@pytest.fixture(scope="module")
def in_service(plant, embedded, prefect, tmp_path_factory):
    """The scenario's model with a champion and a way back, and its rollback deployment."""
    _, servers = embedded
    releases = Releases(servers.mlflow, tmp_path_factory.mktemp("unused"))
    for version in (1, 2):
        releases.version(plant.name)
        plant.registry.promote_to_champion(plant.name, actor="Kim", reason=f"release {version}")
    with temporary_settings({PREFECT_API_URL: servers.prefect}):
        apply_rollbacks(prefect)
    return plant


def test_in_an_emergency_one_reason_is_typed_and_nothing_else(in_service, prefect, page):
    plant, ui = in_service, in_service.orchestrator.ui_url
    deployment = prefect.read_deployment_by_name(f"rollback/{plant.spec.name}")
    page.goto(f"{ui}/deployments/deployment/{deployment.id}/run")
    expect(page.get_by_text("reason", exact=True)).to_be_visible()
    # No name with slashes is asked for.
    assert page.get_by_text("Model Name", exact=False).count() == 0
    page.locator("form textarea").first.fill("every alarm since six is false")
    page.get_by_role("button", name="Submit").click()
    until(lambda: plant.champion() == 1)
    operation = plant.registry.history(plant.name)[-1]
    assert (operation.kind, operation.reason) == ("rollback", "every alarm since six is false")

    incident = f"{ui}/artifacts/key/incident-{plant.name.replace('/', '-')}"
    until(lambda: "every alarm since six is false" in text_of(page, incident))


def test_one_page_says_what_runs_where(in_service, page):
    status = f"{in_service.orchestrator.ui_url}/artifacts/key/{STATUS_PAGE}"
    until(lambda: in_service.name in text_of(page, status))


def text_of(page, address):
    """What a person reads there now."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    return page.inner_text("body")
