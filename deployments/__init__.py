"""Bring servers to the described state, and run embedded servers for one machine."""

import os
from pathlib import Path

from guardianflow.machine.servers import NO_TELEMETRY

CHECKOUT = Path(__file__).resolve().parents[1]
"""Where flows, scenarios and prefect.yaml lie: all of it is run from there."""

# Here, because Prefect looks for it when it is imported.
os.environ.update(NO_TELEMETRY)
