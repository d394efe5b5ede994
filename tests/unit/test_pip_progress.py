"""What `make setup` shows of pip."""

import subprocess
from pathlib import Path

PROGRESS = Path(__file__).parents[2] / ".ci/pip-progress"
PIP = """
echo "Looking in links: /no/such"
echo "WARNING: Location '/no/such' is ignored: it is either a non-existing path or lacks ..." >&2
echo "Collecting mlflow"
echo "WARNING: Retrying after connection broken" >&2
echo "Installing collected packages: mlflow, torch"
echo "ERROR: no such package" >&2
printf "  its detail" >&2
exit 3
"""


def test_errors_and_warnings_come_through_but_for_places_that_are_not_there():
    done = subprocess.run(
        [PROGRESS, "bash", "-c", PIP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stdout.split("] ")[-1] == "pip installs 2 packages\n"
    assert done.stderr.splitlines() == [
        "WARNING: Retrying after connection broken",
        "ERROR: no such package",
        "  its detail",
    ]
