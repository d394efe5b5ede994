"""Bring servers to the described state, and run embedded servers for one machine."""

import os

from guardianflow.servers import NO_TELEMETRY

# Here, because Prefect looks for it when it is imported.
os.environ.update(NO_TELEMETRY)
