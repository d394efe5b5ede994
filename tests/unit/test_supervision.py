"""Programs of other people: their words, their limits, their end; real processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from guardianflow.machine.polling import look_until
from guardianflow.machine.supervision import Allowance, Passed, end_leftovers, run_supervised

ROOM = Allowance(seconds=60, memory_bytes=2**31)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit it")
# It starts a child in its group and one that leaves it, writes all three numbers down, and waits.
FAMILY = """
    import json, os, pathlib, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    near, away = subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)
    pathlib.Path("draft").write_text(json.dumps([os.getpid(), near.pid, away.pid]))
    pathlib.Path("draft").rename("pids.json")
    time.sleep(600)
"""


def run(folder, code, *, limits=ROOM, environment=None, on_line=None):
    """Run Python code; how it ended, and its lines."""
    lines = []
    command = [sys.executable, "-c", textwrap.dedent(code)]
    ended = run_supervised(
        command,
        folder=folder,
        environment=environment or {},
        limits=limits,
        on_line=on_line or lines.append,
    )
    return ended, lines


def gone(folder):
    """Whether all of the family is gone, within a few seconds."""
    pids = json.loads((folder / "pids.json").read_text())
    return not look_until(
        lambda: [pid for pid in pids if alive(pid)],
        lambda left: not left,
        every_s=0.1,
        timeout_s=10,
    )


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_its_code_and_both_of_its_streams_are_told(tmp_path):
    ended, lines = run(tmp_path, "import sys; print('one'); sys.stderr.write('two'); sys.exit(7)")
    assert (ended.code, ended.passed) == (7, None)
    assert sorted(lines) == ["one", "two"]


def test_lines_come_while_it_runs(tmp_path):
    def answer(line):
        (tmp_path / line).write_text("heard")

    code = """
        import pathlib, time
        for word in ("first", "second"):
            print(word, flush=True)
            while not pathlib.Path(word).exists():
                time.sleep(0.01)
    """
    assert run(tmp_path, code, on_line=answer)[0].code == 0


def test_a_bar_is_one_line_and_what_moves_the_cursor_none(tmp_path):
    code = r"""
        import sys
        sys.stdout.write("1 of 3\r2 of 3\r\x1b[32m3 of 3\x1b[0m\n\n")
        sys.stdout.write("x" * 100_000 + "end\n\xff bytes\n")
    """
    _, lines = run(tmp_path, code, environment={"PYTHONIOENCODING": "latin-1"})
    assert lines[0] == "3 of 3"
    assert lines[1].endswith("xend")
    assert len(lines[1]) == 2000
    assert lines[2:] == ["\ufffd bytes"]


def test_it_gets_the_variables_that_it_is_given_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    code = "import os; print(sorted(os.environ)); print(os.getcwd())"
    _, lines = run(tmp_path, code, environment={"GIVEN": "1"})
    assert "'GIVEN'" in lines[0]
    assert "MLFLOW" not in lines[0]
    assert lines[1] == str(tmp_path)


def test_what_is_no_program_is_said(tmp_path):
    lines = []
    ended = run_supervised(
        ["/nowhere/yolo"], folder=tmp_path, environment={}, limits=ROOM, on_line=lines.append
    )
    assert ended.code == 127
    assert lines == ["/nowhere/yolo cannot be started: No such file or directory"]


def test_after_its_time_all_of_it_is_killed(tmp_path):
    ended, _ = run(tmp_path, FAMILY, limits=Allowance(2, 2**31))
    assert ended.passed is Passed.TIME
    assert gone(tmp_path)


def test_it_may_keep_what_it_has_before_it_is_killed(tmp_path):
    code = """
        import pathlib, signal, sys, time
        def keep(*_):
            pathlib.Path("kept").write_text("epoch 2")
            sys.exit(0)
        signal.signal(signal.SIGTERM, keep)
        time.sleep(600)
    """
    ended, _ = run(tmp_path, code, limits=Allowance(2, 2**31))
    assert ended.passed is Passed.TIME
    assert (tmp_path / "kept").read_text() == "epoch 2"


def test_what_it_leaves_running_ends_with_it(tmp_path):
    ended, _ = run(tmp_path, textwrap.dedent(FAMILY).replace("\ntime.sleep(600)", ""))
    assert ended.code == 0
    assert gone(tmp_path)


@LINUX
def test_one_process_gets_no_more_memory_than_its_limit(tmp_path):
    ended, lines = run(tmp_path, "x = bytearray(400 * 2**20)", limits=Allowance(60, 200 * 2**20))
    assert ended.code == 1
    assert lines[-1] == "MemoryError"


@LINUX
def test_many_processes_together_get_no_more_memory_than_the_limit(tmp_path):
    code = """
        import os, time
        for _ in range(4):
            if not os.fork():
                mine = b"x" * (100 * 2**20)
                time.sleep(600)
        time.sleep(600)
    """
    ended, _ = run(tmp_path, code, limits=Allowance(60, 250 * 2**20))
    assert ended.passed is Passed.MEMORY


@LINUX
def test_it_gets_as_many_processors_as_it_may(tmp_path):
    code = "import os; print(len(os.sched_getaffinity(0)))"
    assert run(tmp_path, code, limits=Allowance(60, 2**31, processors=1))[1] == ["1"]


def start_elsewhere(folder):
    """Run the family from a process of its own; that process, once the family is there."""
    code = f"""
        import sys
        from pathlib import Path
        from guardianflow.machine.supervision import Allowance, run_supervised
        run_supervised(
            [sys.executable, "-c", {textwrap.dedent(FAMILY)!r}],
            folder=Path({str(folder)!r}),
            environment={{}},
            limits=Allowance(600, 2**31),
            on_line=print,
        )
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    there = look_until((folder / "pids.json").exists, every_s=0.05, timeout_s=30)
    assert there
    return process


def test_killed_with_the_process_that_asked_for_it(tmp_path):
    process = start_elsewhere(tmp_path)
    process.kill()
    process.wait()
    began, pids = time.monotonic(), json.loads((tmp_path / "pids.json").read_text())
    look_until(lambda: not any(map(alive, pids[:2])), every_s=0.05, timeout_s=10)
    assert not any(map(alive, pids[:2]))
    assert time.monotonic() - began < 10
    # What left the group is found by the next run in the folder.
    assert alive(pids[2])
    run(tmp_path, "")
    assert gone(tmp_path)


def test_interrupted_all_of_it_ends(tmp_path):
    process = start_elsewhere(tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert gone(tmp_path)


def test_what_runs_in_another_folder_is_left_alone(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    process = start_elsewhere(tmp_path / "one")
    end_leftovers(tmp_path / "two")
    pids = json.loads((tmp_path / "one" / "pids.json").read_text())
    assert all(map(alive, pids))
    end_leftovers(tmp_path / "one")
    assert process.wait(timeout=30) == 0
    assert os.getpid() not in pids
