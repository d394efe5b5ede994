"""A person answers the promotion in the Prefect UI, in a real browser."""

import pytest

from guardianflow.names import ModelName
from guardianflow.promotion.evidence.floor_words import place_of
from testbed.browser import (
    CHROMIUM,
    PHONE,
    fill_approval,
    hidden_text,
    open_approval,
    open_browser,
    open_evidence,
    submit_approval,
)
from tests.e2e.plant import until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


@pytest.fixture
def page(embedded):
    with open_browser(servers=embedded[1]) as opened:
        yield opened


def test_a_promotion_is_approved_by_hand_in_the_ui(plant, page):
    waiting = plant.release("v1")
    open_approval(page, waiting.url)
    form = page.locator(".p-modal")
    # The evidence stands above the fields, and nothing is chosen beforehand.
    assert "nothing to compare with" in form.inner_text()
    assert place_of(ModelName.parse(plant.name)) in form.inner_text()
    assert form.locator(".p-select-button__control").inner_text().strip() == ""
    assert form.locator("textarea").count() == 2
    open_evidence(page, waiting.url)
    assert "What it misses" in page.inner_text("body")
    crops = page.locator("img[src*='get-artifact']")
    assert crops.count() > 0
    # The browser reached every one of them.
    assert all(width > 0 for width in crops.evaluate_all("all => all.map(i => i.naturalWidth)"))
    desktop = page.viewport_size
    page.set_viewport_size(PHONE)
    open_approval(page, waiting.url)
    # All of it is seen without scrolling: the box shows no bar where there is more.
    assert hidden_text(page) == 0
    link = page.locator(".p-modal a[href*='/artifacts/artifact/']").bounding_box()
    assert link
    assert link["y"] + link["height"] < PHONE["height"] / 2
    page.set_viewport_size(desktop)
    open_approval(page, waiting.url)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_timeout(1000)
    assert plant.asked(plant.name), "a form that nobody filled in was taken for an answer"

    fill_approval(page, "approve", "Kim Minji", "fewer missed masks")
    submit_approval(page)
    until(lambda: plant.champion() == waiting.version)
    operation = plant.registry.history(plant.name)[-1]
    assert operation.actor == "Kim Minji (declared)"
    assert operation.reason == "fewer missed masks"
