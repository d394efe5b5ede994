"""Runs the commands that a finding's remedy names, as printed, in a shell that names no server."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from guardianflow.machine.private import private_folder, write_private
from guardianflow.machine.servers import STATE_FILE
from guardianflow.monitoring.findings import Finding

NOBODY = "http://127.0.0.1:1"


def commands_of(finding: Finding) -> list[list[str]]:
    """Return the commands that a remedy names, each split into words."""
    return [shlex.split(command) for command in re.findall(r"`([^`]*)`", finding.remedy)]


def carry_out(
    finding: Finding,
    folder: Path,
    command: int = 0,
    *,
    mlflow: str = NOBODY,
    prefect: str = f"{NOBODY}/api",
) -> None:
    """Run a command of the checkout that a finding names.

    Args:
        finding: The finding.
        folder: An empty folder for the files that `make up` would write.
        command: Index of the command in its remedy.
        mlflow: The address of MLflow in those files.
        prefect: The address of Prefect's API in those files.
    """
    program, *words = commands_of(finding)[command]
    assert program == "python"
    state = private_folder(folder / "up") / STATE_FILE
    write_private(state, json.dumps({"mlflow": mlflow, "prefect": prefect}))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_"))}
    env = {**kept, "GUARDIANFLOW_HOME": str(folder), "PREFECT_HOME": str(folder / "prefect")}
    done = subprocess.run(
        [sys.executable, *words], env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
