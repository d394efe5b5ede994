"""docs/tutorial.md, command by command, in its order, as a newcomer would type it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from guardianflow.scenario import Light, SyntheticData
from guardianflow.vision.synthetic import draw_dataset

TUTORIAL = (Path(__file__).parents[2] / "docs/tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
NAME = "my-company/seoul-plant1/my-line/ppe"
CLASSES = ("person", "helmet", "mask", "vest", "gloves")


@pytest.fixture(scope="module")
def newcomer(embedded, tmp_path_factory):
    """A folder with photographs, in which blocks of the tutorial are run after `make up`."""
    home, _ = embedded
    root = tmp_path_factory.mktemp("newcomer")
    (root / "scenarios").mkdir()
    # Drawn, since not every machine has photographs; small, so that training takes a minute.
    photos = SyntheticData(
        kind="synthetic",
        image_size=192,
        train_images=120,
        val_images=24,
        test_images=32,
        train_light=(Light.DAY,),
    )
    draw_dataset(root / "photos", photos, CLASSES)
    checkout = Path(__file__).parents[2]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_"))}
    environment = {
        **clean,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        "GUARDIANFLOW_HOME": str(home),
        "GUARDIANFLOW_SCENARIOS": str(root / "scenarios"),
        "OMP_NUM_THREADS": "1",
    }

    def run(command):
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_command_of_the_tutorial_works_in_its_order(newcomer):
    said = []
    for block in BLOCKS:
        done = newcomer(["bash", "-ec", block])
        assert done.returncode == 0, (block, done.stdout[-2000:], done.stderr[-2000:])
        said.append(done.stdout)
    history, models = said[-2], said[-3]
    assert [word in history for word in ("promote", "rollback", "trying it out")] == [True] * 3
    assert "former" in models
    assert "HEALTHY" in said[-1] or "INCONCLUSIVE" in said[-1]
    assert any("scores" in answer for answer in said)
