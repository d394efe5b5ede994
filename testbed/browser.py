"""Drives the Prefect and MLflow user interfaces in headless Chromium, as a person would.

Used by the browser tests and by the screenshots of the README: what the pictures show is what the
tests click.
"""

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import HttpCredentials, Page, expect, sync_playwright

from guardianflow.machine.servers import Servers

CHROMIUM = shutil.which("chromium")
# Without these the browser looks for hosts that an air-gapped machine cannot reach.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names of the attacker's own, which lead to this machine.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
]
_TIMEOUT_MS = 60_000
PHONE = {"width": 390, "height": 844}
"""What approvers have in their pocket."""


@contextmanager
def open_browser(
    *,
    width: int = 1280,
    height: int = 900,
    light: bool = False,
    login: tuple[str, str] | None = None,
    servers: Servers | None = None,
) -> Generator[Page, None, None]:
    """A page of a fresh browser, dark as Prefect is.

    Args:
        width: Of the page, in pixels.
        height: Of the page, in pixels.
        light: Not dark.
        login: User and password for servers that ask for them.
        servers: Embedded ones, at whose Prefect the person has signed in before.
    """
    account = HttpCredentials(username=login[0], password=login[1]) if login else None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height}, http_credentials=account
        )
        page.set_default_timeout(_TIMEOUT_MS)
        if light:
            page.add_init_script("localStorage.setItem('color-scheme', '\"light\"')")
        if servers:
            page.add_init_script(_sign_in(servers))
        try:
            yield page
        finally:
            browser.close()


def _sign_in(servers: Servers) -> str:
    """What Prefect's own page of signing in leaves in the browser."""
    ui = json.dumps(str(servers.prefect).removesuffix("/api"))
    login = json.dumps(servers.account["PREFECT_API_AUTH_STRING"])
    return f"if (location.origin === {ui}) localStorage.setItem('prefect-password', btoa({login}))"


def open_approval(page: Page, url: str) -> None:
    """Open a waiting flow run and its form.

    Prefect suspends the run first and saves the form a moment later: until then the dialog has no
    fields, and is opened again, as a person would.
    """
    for _ in range(5):
        page.goto(url)
        _open_form(page)
        expect(page.get_by_role("button", name="Submit")).to_be_visible()
        with suppress(AssertionError):
            expect(page.locator(".p-modal textarea").first).to_be_visible(timeout=5_000)
            return
    raise AssertionError(f"no form came at {url}")


def _open_form(page: Page) -> None:
    """Press Resume; on a phone it is in the menu of the flow run."""
    width = (page.viewport_size or PHONE)["width"]
    if width > PHONE["width"]:
        page.get_by_role("button", name="Resume").click()
        return
    expect(page.get_by_text("Suspended", exact=True).first).to_be_visible()
    page.locator(".p-icon-button-menu, [class*=menu] button").last.click()
    page.get_by_text("Resume", exact=True).first.click()


def hidden_text(page: Page) -> int:
    """Pixels of the form's texts, above the fields and beside them, that are seen by scrolling."""
    boxes = page.locator(".p-modal .markdown-renderer")
    hidden = boxes.evaluate_all("all => all.map(box => box.scrollHeight - box.clientHeight)")
    return int(max(hidden))


def open_evidence(page: Page, url: str) -> None:
    """Open the page of evidence of a waiting flow run, by the link in its form."""
    open_approval(page, url)
    # Its text follows the language of the floor.
    link = page.locator(".p-modal a[href*='/artifacts/artifact/']")
    page.goto(link.get_attribute("href") or "")
    expect(page.locator("table").first).to_be_visible()
    page.wait_for_load_state("networkidle")


def fill_approval(page: Page, decision: str, approver: str, reason: str) -> None:
    """Choose the decision from the list and type who decides and why."""
    form = page.locator(".p-modal")
    # A headless browser opens the list by the keyboard, not by the first click.
    form.locator(".p-select-button__control").focus()
    page.keyboard.press("Space")
    page.locator(".p-select-option", has_text=decision).first.click()
    texts = form.locator("textarea")
    texts.nth(0).fill(approver)
    texts.nth(1).fill(reason)


def submit_approval(page: Page) -> None:
    """Send the form; it closes when the server has accepted it.

    On SQLite the server may answer 503 under load: then it is sent again, as a person would.
    """
    button = page.get_by_role("button", name="Submit")
    for _ in range(5):
        button.click()
        page.wait_for_timeout(3_000)
        if not button.is_visible():
            return
    raise AssertionError("the form did not close after five attempts")


def picture_of_aliases(page: Page, mlflow: str, registered_name: str, path: Path) -> None:
    """Take a picture of a model's versions and their aliases in the MLflow UI.

    Each version has some thirty tags; all but the first two are folded away for the picture.
    """
    page.goto(f"{mlflow}/#/models/{registered_name}")
    expect(page.get_by_text("Version 1", exact=True)).to_be_visible()
    page.wait_for_timeout(2_000)
    # What MLflow shows over its page to a new visitor.
    for name in ("Try it now", "Close"):
        button = page.get_by_role("button", name=name)
        if button.count() and button.first.is_visible():
            button.first.click()
            page.wait_for_timeout(500)
    page.get_by_text("Tags", exact=True).first.click()
    page.evaluate(
        """() => document.querySelectorAll('[role=row] [role=cell]').forEach((cell) => {
            cell.style.maxHeight = '60px';
            cell.style.overflow = 'hidden';
        })"""
    )
    page.wait_for_timeout(800)
    page.screenshot(path=path)
