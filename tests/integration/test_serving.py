"""The champion as an edge box has it: an environment without torch and without guardianflow."""

import json
import os
import subprocess
import urllib.request
import venv
from pathlib import Path

import pytest

from deployments.processes import free_port
from guardianflow.machine.servers import NO_TELEMETRY
from guardianflow.registry import ModelAlias
from guardianflow.vision.data.dataset import load_image, prepare_dataset
from testbed.servers import restore_sigint, stop, wait_until_it_answers

# Installing the edge box's environment takes a minute, and several on a busy machine.
pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parent.parent.parent
INSTALL_TIMEOUT_S = 420


@pytest.fixture(scope="module")
def champion(learned):
    """The address of the INT8 champion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(learned.home))
        learned.registry.promote_to_champion(learned.name, learned.trained.version, reason="test")
    assert learned.registry.get_champion(learned.variant).version == learned.quantized.version
    return learned.registry.get_model_uri(learned.variant, ModelAlias.CHAMPION)


@pytest.fixture(scope="module")
def frame(learned):
    """A frame of the test split with people in it, shape (128, 128, 3)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUARDIANFLOW_HOME", str(learned.home))
        dataset = prepare_dataset(learned.scenario.dataset, learned.scenario.classes)
    return load_image(dataset.samples("test")[0].image)


@pytest.fixture(scope="module")
def edge_box(learned, tmp_path_factory):
    """The Python of an environment that holds what the model asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("edge")
    model = learned.registry.download(learned.variant, learned.quantized.version)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [
            *(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"),
            *("-r", model / "requirements.txt", "-c", ROOT / "constraints.txt"),
        ],
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    return python


@pytest.fixture(scope="module")
def environment(mlflow_server):
    return {**os.environ, **NO_TELEMETRY, "MLFLOW_TRACKING_URI": mlflow_server, "PYTHONPATH": ""}


def test_the_champion_detects_without_torch_and_guardianflow(
    champion, frame, edge_box, environment, tmp_path
):
    import numpy as np

    np.save(tmp_path / "frame.npy", frame)
    script = f"""
import importlib.util, json, sys
import numpy as np, mlflow
for name in ("torch", "guardianflow", "nncf"):
    assert importlib.util.find_spec(name) is None, name
model = mlflow.pyfunc.load_model({champion!r}, model_config={{"score_threshold": 0.05}})
print(json.dumps(model.predict(np.load("frame.npy")[None])))
"""
    answer = subprocess.run(
        [edge_box, "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    (found,) = json.loads(answer.stdout.splitlines()[-1])
    assert "person" in found["classes"]
    assert len(found["boxes"]) == len(found["scores"]) == len(found["class_ids"])
    assert found["scores"][0] >= 0.05


def test_the_champion_is_served_over_http(
    learned, champion, frame, edge_box, environment, tmp_path
):
    port = free_port()
    with (tmp_path / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [
                *(edge_box, "-m", "mlflow", "models", "serve", "-m", champion),
                *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)),
            ],
            env={**environment, "PATH": f"{edge_box.parent}:{os.environ['PATH']}"},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            start_new_session=True,
            preexec_fn=restore_sigint,
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/ping", server, tmp_path / "serve.log")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": frame[None].tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            (found,) = json.load(answer)["predictions"]
    finally:
        stop(server)
    assert set(found) == {"boxes", "scores", "classes", "class_ids"}
    # what is served is what an operator is shown
    limits = learned.quantized.variant.thresholds
    assert all(
        score >= limits[name] - 1e-5
        for score, name in zip(found["scores"], found["classes"], strict=True)
    )
