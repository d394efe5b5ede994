"""Real photographs through the whole life by the command line alone: `make real`.

Two versions of the scenario `openyard-helmets` are trained, quantized and promoted, then the second
is rolled back; every step is a `guardianflow ... --json` command against an embedded MLflow server.
The figures go to docs/results/real-photographs.json.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from deployments import CHECKOUT
from deployments.local import running, stop
from deployments.state import environment
from guardianflow.errors import GuardianflowError
from guardianflow.machine.servers import home
from guardianflow.scenario.file import load_scenario

SCENARIO = "openyard-helmets"
RESULT = CHECKOUT / "docs" / "results" / "real-photographs.json"


def command(*words: str) -> dict:
    """Run one command of ours and return what it says; progress is shown by its name alone.

    Raises:
        GuardianflowError: It failed; with what it said.
    """
    print("$ guardianflow", *words, flush=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "guardianflow.cli", *words, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = done.stdout.strip()[-500:] or "nothing"
    if done.returncode or isinstance(answer, str):
        error = answer.get("error", answer) if isinstance(answer, dict) else answer
        if isinstance(error, dict) and "remedy" in error:
            error = f"{error['message']} {error['remedy']}"
        raise GuardianflowError(
            f"`guardianflow {' '.join(words)}` ended with {done.returncode} and said: {error}"
        )
    if isinstance(answer, dict):
        answer["wall_s"] = round(time.monotonic() - began, 1)
    return answer


def release(version: str) -> dict:
    name = load_scenario(SCENARIO, version).model_name.public
    trained = command("run", SCENARIO, "--type", "train", "--version", version)
    quantized = command("run", SCENARIO, "--type", "quant", "--version", version)
    promoted = command("promote", name, "--yes", "--reason", f"scenario {version}")
    print(" ", promoted["message"])
    figures = {
        "model_version": trained["version"],
        "train_wall_s": trained["wall_s"],
        "quantize_wall_s": quantized["wall_s"],
        "fp32_map50": round(quantized["fp32"]["map50"], 3),
        "int8_map50": round(quantized["int8"]["map50"], 3),
        "fp32_map50_95": round(quantized["fp32"]["map50_95"], 3),
        "int8_map50_95": round(quantized["int8"]["map50_95"], 3),
        "difference": quantized["cost"]["difference"],
        "speed": quantized["cost"]["speed"],
        "outcome": quantized["outcome"]["outcome"],
    }
    print(json.dumps({k: v for k, v in figures.items() if k not in ("difference", "speed")}))
    return figures


def main() -> int:
    state = home() / "real"
    try:
        load_scenario(SCENARIO, "v1")
        # A fresh registry: version 2 of the last exercise would still be quarantined.
        stop(state)
        shutil.rmtree(state, ignore_errors=True)
        with running(state) as servers:
            os.environ.update(environment(state, servers.mlflow or "", servers.prefect or ""))
            results = exercise()
    except GuardianflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; the servers were stopped.", file=sys.stderr)
        return 130
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"figures: {RESULT}")
    return 0


def exercise() -> dict:
    results = {version: release(version) for version in ("v1", "v2")}
    name = load_scenario(SCENARIO, "v1").model_name.public
    back = command("rollback", name, "--yes", "--reason", "the exercise")
    print(" ", back["message"])
    results["rollback"] = {"message": back["message"], "wall_s": back["wall_s"]}
    results["aliases"] = {m["name"]: m["aliases"] for m in command_list("models")}
    return results


def command_list(*words: str) -> list[dict]:
    answer = command(*words)
    assert isinstance(answer, list)
    return answer


if __name__ == "__main__":
    # Ended by a signal of any kind, the servers are stopped as after Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
