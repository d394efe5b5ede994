"""Makes the pictures of the README from this code: `make screenshots`.

It tells the story of `make demo`, but a browser answers the approvals, and takes pictures of what
it sees. Needs Debian's package chromium.
"""

import os
import shutil
import sys
from pathlib import Path

from deployments.demo import Story, console, demo_spec, save_scenario, stop_on_termination
from deployments.local import CHECKOUT, environment, running
from guardianflow.errors import GuardianflowError
from guardianflow.machine.servers import Servers, home
from guardianflow.names import ModelName
from guardianflow.prefect_api.control import WaitingApproval
from testbed.browser import (
    CHROMIUM,
    fill_approval,
    open_approval,
    open_browser,
    open_evidence,
    picture_of_aliases,
    submit_approval,
)

PICTURES = CHECKOUT / "docs" / "pictures"


class PicturedStory(Story):
    """The demo's story, answered in a browser and pictured."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self._servers = servers
        account = servers.account
        self._mlflow_login = (
            account["MLFLOW_TRACKING_USERNAME"],
            account["MLFLOW_TRACKING_PASSWORD"],
        )

    def answer(self, waiting: WaitingApproval) -> None:
        """Answer in the Prefect UI, as the safety manager would."""
        with open_browser(width=1440, height=1600, servers=self._servers) as page:
            open_evidence(page, waiting.url)
            page.screenshot(path=PICTURES / "evidence.png")
        with open_browser(height=1000, servers=self._servers) as page:
            open_approval(page, waiting.url)
            fill_approval(page, "approve", "Kim Minji", "looked at the figures and the pictures")
            page.screenshot(path=PICTURES / "approval-form.png")
            submit_approval(page)
        console.print("  answered in the browser as Kim Minji")

    def show_aliases(self) -> None:
        """Show them here and in the MLflow UI; the last two pictures are before and after."""
        super().show_aliases()
        before, after = PICTURES / "aliases-before.png", PICTURES / "aliases-after.png"
        if after.is_file():
            after.replace(before)
        registered = ModelName.parse(self.variant).registered
        with open_browser(width=1400, height=560, login=self._mlflow_login) as page:
            picture_of_aliases(page, self._servers.mlflow or "", registered, after)


def main() -> int:
    """Tell the story once and keep the pictures."""
    if CHROMIUM is None:
        print("error: chromium is not there; apt-get install chromium", file=sys.stderr)
        return 2
    stop_on_termination()
    state = home() / "screenshots"
    shutil.rmtree(state, ignore_errors=True)
    try:
        with running(state) as servers:
            os.environ.update(environment(state, servers.mlflow or "", servers.prefect or ""))
            save_scenario(demo_spec())
            PicturedStory(servers, state).tell()
        shutil.copy(state / "pictures" / "night-int8.png", PICTURES / "night.png")
    except GuardianflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
