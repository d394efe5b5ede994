import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import yaml

from guardianflow.errors import ModelInvalid
from guardianflow.vision.ir import confined, confinement
from guardianflow.vision.ir.confined import IR, ReadingRequest
from guardianflow.vision.ir.confinement import read_confined
from guardianflow.vision.ir.reading import BoxForm, ChannelOrder, InputRange, LayoutName
from guardianflow.vision.ir.serving import IrDetector
from tests import bombs

GIB = 2**30


def request(**changes):
    settings = {
        "wanted": ("helmet", "person"),
        "classes": (),
        "mapping": {},
        "size": 64,
        "layout": None,
        "input_range": None,
        "channel_order": ChannelOrder.RGB,
        "boxes": BoxForm.CENTRE,
        "memory_bytes": 2 * GIB,
        "seconds": 120,
    }
    return ReadingRequest(**{**settings, **changes})


def black(count=2):
    return [np.zeros((bombs.SIDE, bombs.SIDE, 3), np.uint8)] * count


def refusal(path, tmp_path, squares=(), **changes):
    with pytest.raises(ModelInvalid) as refused:
        read_confined(path, tmp_path / "read", request(**changes), squares)
    assert str(path) in refused.value.message
    assert "\n" not in str(refused.value)
    assert refused.value.remedy
    return refused.value


def big_boxes(path):
    """As `harmless`, with boxes of pixels."""
    table = np.full((1, 7, 9), 0.4, np.float32)
    table[:, :2], table[:, 2:4] = 32, 16
    return bombs.save(
        path,
        [bombs.helper.make_node("Add", ["none", "boxes"], ["output0"])],
        {"none": np.zeros((1, 1, 1), np.float32), "boxes": table},
    )


@pytest.fixture
def model(tmp_path):
    return big_boxes(tmp_path / "best.onnx")


def test_what_the_child_found_and_made_comes_back(model, tmp_path):
    found = read_confined(model, tmp_path / "read", request(), black())
    assert (found.layout, found.width, found.pixels.input_range) == (
        LayoutName.RAW,
        bombs.SIDE,
        InputRange.UNIT,
    )
    assert (found.boxes, found.usual) == (BoxForm.CENTRE, True)
    assert found.called == {"helmet": "helmet", "person": "person"}
    detector = IrDetector(tmp_path / "read" / IR)
    assert detector.classes == ("helmet", "person")
    assert detector.predict([black()[0]], 0.1)[0]["boxes"]


def test_errors_of_ours_come_back_as_they_are(model, tmp_path):
    refused = refusal(model, tmp_path, wanted=("mask",))
    assert "no class 'mask', which the scenario wants" in refused.message
    assert "--map mask=" in refused.remedy
    assert refused.data["value"] == "mask"


@pytest.mark.parametrize("make", ["filled", "tiled"])
def test_a_file_that_asks_for_all_memory_is_one_sentence(make, tmp_path):
    path = getattr(bombs, make)(tmp_path / "bomb.onnx", 200_000)
    refused = refusal(path, tmp_path)
    assert "needs more than 2 GiB of memory" in refused.message
    assert "--max-memory-gib 4" in refused.remedy


def test_a_file_that_never_ends_is_one_sentence(tmp_path):
    path = bombs.loop(tmp_path / "loop.onnx", 2**62)
    refused = refusal(path, tmp_path, seconds=6)
    assert "takes more than 0.1 minutes to be read and tried" in refused.message
    assert "--max-minutes 0.3" in refused.remedy


def test_what_other_pictures_could_ask_for_is_bounded_like_what_these_do(tmp_path):
    # silent on black frames
    refused = refusal(bombs.matched(tmp_path / "pairs.onnx"), tmp_path, black())
    assert "up to 3.0 GiB together; at most 2 are allowed" in refused.message
    assert "--max-memory-gib 3" in refused.remedy


def test_a_sparse_file_costs_nothing(tmp_path):
    path = tmp_path / "best.onnx"
    with path.open("wb") as file:
        file.truncate(40 * GIB)
    assert "have 40960 MiB" in refusal(path, tmp_path).message


def test_a_metadata_file_that_unfolds_is_bounded(model, tmp_path):
    import openvino as ov

    ov.save_model(ov.Core().read_model(model), tmp_path / "best.xml")
    folds = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for one, other in zip("abcdefghi", "bcdefghij", strict=True):
        folds += f"{other}: &{other} [{', '.join([f'*{one}'] * 10)}]\n"
    assert yaml.safe_load(folds)
    (tmp_path / "metadata.yaml").write_text(folds)
    assert "of memory" in refusal(tmp_path / "best.xml", tmp_path, memory_bytes=GIB).message


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (-signal.SIGKILL, "", "was killed, most likely because the machine ran out of memory"),
        (
            -signal.SIGSEGV,
            "",
            "crashed (SIGSEGV), which may mean that 2 GiB of memory is too little",
        ),
        (-signal.SIGABRT, "terminate called after throwing 'std::bad_alloc'", "GiB of memory"),
        (-signal.SIGXCPU, "", "takes more than 2 minutes"),
        (1, "Traceback\n  File\nRuntimeError: no kernel for it\n", "no kernel for it"),
        (0, "", "failed: without a message"),
    ],
)
def test_each_death_of_the_child_is_one_sentence(
    status, said, message, model, tmp_path, monkeypatch
):
    script = tmp_path / "child.py"
    end = f"os.kill(os.getpid(), {-status})" if status < 0 else f"sys.exit({status})"
    script.write_text(f"import os, sys\nsys.stderr.write({said!r})\nsys.stderr.flush()\n{end}\n")
    real = subprocess.run

    def run(command, **how):
        return real([sys.executable, str(script)], **how)

    monkeypatch.setattr(confinement.subprocess, "run", run)
    assert message in refusal(model, tmp_path).message


@pytest.mark.parametrize("answer", ["", "{}", '{"answer": {}}', '{"error": 1}', "[]", "\xff"])
def test_an_answer_that_is_none_is_not_believed(answer, model, tmp_path, monkeypatch):
    def run(command, **how):
        folder = tmp_path / "read"
        (folder / confinement.ANSWER).write_text(answer, encoding="latin-1")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(confinement.subprocess, "run", run)
    assert "cannot be used" in refusal(model, tmp_path).message


@pytest.mark.parametrize("kind", ["long", "pipe", "link"])
def test_what_is_no_small_file_is_not_read_as_an_answer(kind, model, tmp_path, monkeypatch):
    def run(command, **how):
        answer, text = tmp_path / "read" / confinement.ANSWER, '{"error": {"type": "", '
        text += f'"message": "{"x" * 2**20 if kind == "long" else ""}", "remedy": "believed"}}}}'
        if kind == "pipe":
            os.mkfifo(answer)
        elif kind == "link":
            (tmp_path / "elsewhere").write_text(text)
            answer.symlink_to(tmp_path / "elsewhere")
        else:
            answer.write_text(text)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(confinement.subprocess, "run", run)
    refused = refusal(model, tmp_path)
    assert "cannot be used" in refused.message
    assert refused.remedy != "believed"


def test_a_system_that_lets_nobody_set_who_is_ended_first_is_no_hindrance(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(confined.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(confined.Path, "write_text", refuse)
    confined._confine(request())


def test_the_child_gets_no_credentials_and_no_library_of_the_working_directory(
    model, tmp_path, monkeypatch
):
    seen = {}
    real = subprocess.run

    def run(command, **how):
        seen.update(how["env"])
        return real(command, **how)

    (tmp_path / "json.py").write_text("raise SystemExit('taken for the library')")
    monkeypatch.chdir(tmp_path)
    secrets = (
        "MLFLOW_TRACKING_TOKEN",
        "GUARDIANFLOW_PREFECT_DATABASE",
        "GITHUB_TOKEN",
        "PGPASSWORD",
    )
    for variable in secrets:
        monkeypatch.setenv(variable, "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(confinement.subprocess, "run", run)
    assert read_confined(model, tmp_path / "read", request()).width == bombs.SIDE
    assert seen["OMP_NUM_THREADS"] == "2"
    assert "secret" not in seen.values()


def test_threads_of_the_parent_hold_nothing_in_the_child(model, tmp_path):
    lock, stop = threading.Lock(), threading.Event()

    def hold():
        while not stop.is_set():
            with lock:
                bytearray(2**20)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert read_confined(model, tmp_path / "read", request()).width == bombs.SIDE
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_child_loads_neither_mlflow_nor_torch():
    code = (
        "import sys\nfrom guardianflow.vision.ir import adaptation, confined, foreign, ir\n"
        "class Model:\n    def set_rt_info(self, *said): pass\n"
        "ir.describe(Model(), classes=['a,b'], precision='fp32')\n"
        "print([m for m in ('mlflow', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
