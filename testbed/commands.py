"""Commands of ours in a Python of their own, as somebody types them."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def run_command(
    python: str | Path,
    words: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    expect: int = 0,
) -> Any:
    """Run a command with `--json`, and return its answer.

    Raises:
        AssertionError: It ended with another exit code than expected, or with a traceback.
    """
    done = subprocess.run(
        [python, "-m", "guardianflow.cli", *words, "--json"],
        env=dict(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == expect, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)
