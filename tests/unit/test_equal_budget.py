"""The accuracy benchmark is fair in what it counts, keeps and chooses; nothing is trained here."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import equal_budget, torchvision_ops
from benchmarks.contestants import kept_runs, run_within
from benchmarks.equal_budget import RECIPES, compared, rows
from benchmarks.judging import Judged, difference, mean_of
from benchmarks.processor_time import Cost, Spent, charged, probe
from benchmarks.rival import Rival, write_dataset
from guardianflow.errors import GuardianflowError
from guardianflow.vision.data.dataset import Sample
from guardianflow.vision.metrics.detections import Detections
from guardianflow.vision.metrics.evaluation import evaluate
from guardianflow.vision.metrics.intervals import bootstrap
from guardianflow.vision.metrics.matching import collect_overlaps

SPIN = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass\n"


def run_python(code: str, folder: Path) -> Spent:
    return charged(
        [sys.executable, "-c", code], log=folder / "log", environment=os.environ, folder=folder
    )


def test_a_process_is_charged_for_its_children_and_not_for_waiting(tmp_path):
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPIN.format(0.4)!r}])"
    spent = run_python(f"{child}\n{SPIN.format(0.4)}\nimport time; time.sleep(0.5)", tmp_path)
    assert spent.processor_s >= 0.8
    assert spent.wall_s >= spent.processor_s + 0.4


def test_a_process_that_fails_is_quoted(tmp_path):
    with pytest.raises(GuardianflowError, match="ended with 3, and said: no such thing"):
        run_python("print('no such thing', flush=True); raise SystemExit(3)", tmp_path)


def test_the_cost_of_an_epoch_is_told_from_that_of_the_start():
    cost, spent = probe(lambda epochs: Spent(7.0 + 2.5 * epochs, 99.0), (1, 3))
    assert cost == Cost(start_s=7.0, epoch_s=2.5)
    assert spent["3"]["processor_s"] == 14.5
    assert cost.epochs_within(7.0 + 2.5 * 40) == 40
    assert cost.epochs_within(7.0 + 2.5 * 40 + 1.3) == 41
    assert cost.epochs_within(1.0) == 1


def test_the_rival_keeps_its_own_schedule_where_there_is_room_for_it():
    assert RECIPES["default"].within(7) == {}
    recipe = RECIPES["steps-of-4"]
    assert recipe.within(7) == {"batch": 4, "nbs": 4, "warmup_epochs": 1.0, "close_mosaic": 2}
    assert recipe.within(104) == {"batch": 4, "nbs": 4, "warmup_epochs": 3.0, "close_mosaic": 10}


@dataclass
class Runner:
    """A contestant whose training is a process that does next to nothing."""

    recipe: str = "1"
    name: str = "runner"
    probes: tuple[int, int] = (1, 2)
    trained: list[tuple[str, int, int]] = field(default_factory=list)
    fails: bool = False

    def identity(self):
        return {"recipe": self.recipe, "sizes": (1, 2)}

    def train(self, run: Path, epochs: int, seed: int) -> Spent:
        if self.fails:
            raise GuardianflowError("killed")
        self.trained.append((run.name, epochs, seed))
        return Spent(10.0 + epochs, 0.0)

    def finish(self, run: Path) -> dict[str, object]:
        return {"parameters": 3}


def test_a_finished_run_is_not_done_again_and_an_unfinished_one_is(tmp_path):
    runner = Runner()
    first = run_within(runner, tmp_path, 60, 4)
    assert runner.trained[-1] == ("runner-60s-seed4", 50, 4)
    assert (first["epochs"], first["spent"]["processor_s"], first["parameters"]) == (50, 60.0, 3)
    assert run_within(runner, tmp_path, 60, 4) == first
    assert len(runner.trained) == 3
    runner.fails = True
    with pytest.raises(GuardianflowError):
        run_within(runner, tmp_path, 60, 5)
    runner.fails = False
    assert run_within(runner, tmp_path, 60, 5)["seed"] == 5
    assert [run["seed"] for run in kept_runs([runner], tmp_path)] == [4, 5]


def test_a_run_of_another_recipe_does_not_count(tmp_path):
    run_within(Runner(), tmp_path, 60, 0)
    changed = Runner(recipe="2")
    assert kept_runs([changed], tmp_path) == []
    run_within(changed, tmp_path, 60, 0)
    assert len(changed.trained) == 3
    assert [run["identity"]["recipe"] for run in kept_runs([changed], tmp_path)] == ["2"]


def plain_suppression(boxes, scores, overlap):
    """One box after the other, in the words of the definition."""
    kept: list[int] = []
    for one in sorted(range(len(scores)), key=lambda i: -scores[i]):
        x1, y1, x2, y2 = boxes[one]
        for other in kept:
            a1, b1, a2, b2 = boxes[other]
            common = max(0.0, min(x2, a2) - max(x1, a1)) * max(0.0, min(y2, b2) - max(y1, b1))
            areas = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1)
            if common / (areas - common) > overlap:
                break
        else:
            kept.append(one)
    return kept


@pytest.mark.parametrize("count", [0, 1, 5, 700])
def test_suppression_makes_the_choice_of_the_definition(count):
    random = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=random, dtype=torch.float64) * 120
    size = 1 + torch.rand(count, 2, generator=random, dtype=torch.float64) * 60
    boxes = torch.cat((corner, corner + size), 1)
    # Few different scores: of equals the first one wins.
    scores = torch.randint(0, 40, (count,), generator=random).double() / 40
    kept = torchvision_ops.suppress(boxes, scores, 0.5)
    assert kept.dtype == torch.int64
    assert kept.tolist() == plain_suppression(boxes.tolist(), scores.tolist(), 0.5)


# What torchvision does when it is imported beside a torch that its library was not built for.
TORCHVISION = {
    "__init__.py": "from . import extension\nimport torch\n"
    "for name in ('nms', 'qnms'):\n"
    "    torch.library.register_fake(f'torchvision::{name}')(lambda *_: None)\n",
    "extension.py": "def _has_ops():\n    return False\n",
}
USE = """
import torch, torchvision
assert torchvision.extension._has_ops()
boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
print(torch.ops.torchvision.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist())
"""


def test_torchvision_is_importable_where_its_operators_are_installed(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    for name, content in TORCHVISION.items():
        (package / name).write_text(content)

    def run(code: str):
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
            capture_output=True,
            text=True,
            check=False,
        )

    assert "operator torchvision::nms does not exist" in run(USE).stderr
    install = "torchvision_ops.install()"
    done = run(f"from benchmarks import torchvision_ops\n{install}\n{install}\n{USE}")
    assert done.stdout.strip() == "[1, 2]", done.stderr


def test_the_rival_works_on_a_copy_of_the_photographs(tmp_path):
    root = tmp_path / "original"
    for part, name in (("images", "a.jpg"), ("labels", "a.txt")):
        for split in ("train", "val", "test"):
            (root / part / split).mkdir(parents=True)
            (root / part / split / name).write_bytes(split.encode())
    file = write_dataset(root, ("person", "helmet"), tmp_path / "copy")
    copied = tmp_path / "copy" / "images" / "val" / "a.jpg"
    copied.write_bytes(b"rewritten by the rival")
    assert (root / "images" / "val" / "a.jpg").read_bytes() == b"val"
    assert "  1: helmet" in file.read_text("utf-8")


def test_the_figures_of_the_rivals_own_evaluator_are_those_of_all_classes(tmp_path, monkeypatch):
    log = (
        "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95)\n"
        "                   all         72        435   0.000983     0.0395      0.249      0.101\n"
        "                person         72        220    0.00285     0.0955      0.681      0.167\n"
    )
    monkeypatch.setattr(Rival, "_command", lambda *_: (tmp_path / "val.log").write_text(log))
    found = Rival(tmp_path, tmp_path).own_figures(tmp_path / "data.yaml", tmp_path, 320)
    assert found == {"map50": 0.249, "map50_95": 0.101}


TIMES = {
    "ours": {"image_size": 320},
    "ours_p50_ms": 5.0,
    "rival_p50_ms": 10.0,
    "p50": {"ratio": 0.5, "low": 0.4, "high": 0.6},
}


def scene(index: int) -> Sample:
    box = np.array([[10, 10, 60, 60 + index]], dtype=np.float32)
    return Sample(Path(f"{index}.jpg"), box, np.array([index % 2]), (100, 100))


def judged(contestant: str, seed: int, found_in: int, recipe: str = "") -> Judged:
    """A detector that finds the object in so many of twelve images, and nothing else."""
    samples = [scene(index) for index in range(12)]
    found = [
        Detections(
            sample.boxes[: index < found_in],
            np.full(int(index < found_in), 0.9, dtype=np.float32),
            sample.classes[: index < found_in],
        )
        for index, sample in enumerate(samples)
    ]
    figures = evaluate(found, samples, ("person", "helmet"))
    run = {
        "contestant": contestant,
        "run": f"{contestant}-{seed}",
        "seed": seed,
        "budget_s": 240.0,
        "identity": {"recipe": recipe},
        "own_evaluator": {"map50": 0.1, "map50_95": 0.1},
        "spent": asdict(Spent(1.0, 1.0)),
    }
    draws = bootstrap(collect_overlaps(found, samples), 2, 0.4)
    return Judged(run, Path(), figures, figures, draws)


def test_a_lead_is_that_of_pairs_and_the_mean_one_of_seeds():
    ours = [judged("guardianflow", seed, found) for seed, found in ((0, 12), (1, 10))]
    rivals = [judged("rival", seed, found) for seed, found in ((0, 6), (1, 4))]
    mean = mean_of(ours)
    assert mean["seeds"] == [0, 1]
    assert mean["map50"]["least"] < mean["map50"]["mean"] < mean["map50"]["most"] == 1.0
    ahead = difference(ours, rivals)["map50"]
    assert ahead["mean"] == pytest.approx(
        mean["map50"]["mean"] - mean_of(rivals)["map50"]["mean"], abs=1e-3
    )
    assert 0 < ahead["low"] < ahead["mean"] < ahead["high"]
    same = difference(ours, ours)["map50_95"]
    assert (same["low"], same["mean"], same["high"]) == (0, 0, 0)


def test_the_rival_is_represented_by_its_better_recipe_on_all_seeds():
    runs = [
        judged("yolo11n-default", 0, 2, "default"),
        judged("yolo11n-steps-of-4", 0, 8, "steps-of-4"),
        judged("yolo11n-steps-of-4", 1, 6, "steps-of-4"),
    ]
    found = compared(runs, data=None)  # type: ignore[arg-type]  # no latency without ours
    one = found["budgets"]["240"]
    assert one["rival"]["recipe"] == "steps-of-4"
    assert one["rival"]["seeds"] == [0, 1]
    assert "ahead" not in one
    assert len(one["runs"]) == 3
    said = " ".join(word for row in rows(json.loads(json.dumps(found))) for word in row)
    assert "steps-of-4" in said
    assert "0.627" in said


def test_ours_pretrained_is_set_beside_ours_and_is_no_rival(monkeypatch):
    monkeypatch.setattr(equal_budget, "compare_latency", lambda *_: TIMES)
    runs = [judged("guardianflow", seed, 6) for seed in (0, 1)]
    runs += [judged("guardianflow-coco", seed, 12) for seed in (0, 1)]
    runs.append(judged("yolo11n-steps-of-4", 0, 3, "steps-of-4"))
    found = compared(runs, data=None)  # type: ignore[arg-type]  # no detector is run
    one = found["budgets"]["240"]
    assert one["pretrained"]["map50"]["mean"] == 1.0
    assert one["gained"]["map50"]["mean"] > 0.3
    assert one["rival"]["recipe"] == "steps-of-4"
    said = [row for row in rows(json.loads(json.dumps(found))) if "ours pretrained" in row[0]]
    assert [row[2][:5] for row in said] == ["1.000", "1.000"]
    recipes = next(row for row in rows(found) if "recipes" in row[0])
    assert "coco" not in recipes[2]


def test_both_sides_are_compared_on_the_seeds_that_both_have(monkeypatch):
    monkeypatch.setattr(equal_budget, "compare_latency", lambda *_: TIMES)
    runs = [judged("guardianflow", seed, found) for seed, found in ((0, 12), (1, 1), (2, 1))]
    runs.append(judged("yolo11n-steps-of-4", 0, 6, "steps-of-4"))
    found = compared(runs, data=None)  # type: ignore[arg-type]  # no detector is run
    one = found["budgets"]["240"]
    assert one["ours"]["seeds"] == one["rival"]["seeds"] == [0]
    assert one["ours"]["map50"]["mean"] == 1.0
    first, *_ = rows(found)
    assert "1.000 (1.000–1.000) against" in first[2]
    assert "difference +0." in first[2]
