"""Bring servers to the described state, and run embedded servers on one machine.

Commands (`python -m deployments.NAME`):
apply           the described state: pools, blocks, deployments, automations, the ledger
local           `make up|down`: the embedded servers and workers
demo            `make demo`: the life of a model on embedded servers
worker          a worker of one of our pools
tool            a command of Prefect's or MLflow's own, on the same servers
forwarding      a proxy that puts the guard before a Prefect server that has none

What `apply` does:
pools           work pools, and what earlier workers left in them
seeds           the blocks that a server begins with
deploying       `prefect deploy --all`, and a check of what came out
emergency       a prefilled rollback for each scenario
automations     the automations that tell people

What `local` runs:
mlflow_server   MLflow's application behind the guard
prefect_server  Prefect's application behind the guard, made fit for SQLite
guard           refuses requests that no program of ours sends
watcher         in the release worker: submits a pass of `reconcile` when something has changed
state           servers.json, and the environment of all processes
processes       starts and ends background processes
readiness       waits until servers answer, workers poll and a flow run ends
named           finds the Prefect server that a command works on
"""

import os
from pathlib import Path

from guardianflow.machine.servers import NO_TELEMETRY

CHECKOUT = Path(__file__).resolve().parents[1]
"""Where flows, scenarios and prefect.yaml lie; everything runs from there."""

# Here, because Prefect looks for it when it is imported.
os.environ.update(NO_TELEMETRY)
