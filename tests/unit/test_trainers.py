"""trainers.yaml: what a machine lists, whom it trusts, and what a trainer does in its folder."""

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest
import yaml

from guardianflow.errors import InputError, ScenarioInvalid, TrainerFailed
from guardianflow.lifecycle.importing import ImportOptions
from guardianflow.lifecycle.training.trainers import (
    PLACEHOLDERS,
    ClassNames,
    DataForm,
    Trainer,
    fill_in,
    find_trainer,
    read_trainers,
)
from guardianflow.lifecycle.training.workshop import Workshop
from guardianflow.scenario import ScenarioSpec
from guardianflow.stored import INTRODUCED
from guardianflow.vision.ir.reading import InputRange
from testbed.tiny import tiny_spec

PYTHON = sys.executable
ENTRY = {"data": "yolo", "steps": [{"run": [PYTHON, "-c", "pass"]}]}
ROOT = os.getuid() == 0
PAGE = Path("docs/trainers.md")


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(folder))
    monkeypatch.delenv("GUARDIANFLOW_TRAINERS", raising=False)
    return folder


def write(home, text):
    path = home / "trainers.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    path.chmod(0o644)
    return path


def listed(home, **changes):
    return write(home, {"trainers": {"strange": ENTRY | changes}})


def test_an_entry_says_what_is_run(home):
    listed(home, reading={"input_range": "0..255"}, class_names="scenario", max_hours=2)
    trainer = find_trainer("strange")
    assert trainer.data is DataForm.YOLO
    assert trainer.steps[0].run == (PYTHON, "-c", "pass")
    assert trainer.class_names is ClassNames.SCENARIO
    assert trainer.reading == ImportOptions(input_range=InputRange.BYTES)
    assert (trainer.max_hours, trainer.processors) == (2.0, None)


def test_the_file_may_lie_elsewhere(home, tmp_path, monkeypatch):
    path = listed(home).rename(tmp_path / "others.yaml")
    assert read_trainers() == {}
    monkeypatch.setenv("GUARDIANFLOW_TRAINERS", str(path))
    assert list(read_trainers()) == ["strange"]


def test_an_unlisted_name_is_refused(home):
    with pytest.raises(ScenarioInvalid, match=r"no such trainer; .*trainers\.yaml is not there"):
        find_trainer("yolo11n")
    path = listed(home)
    with pytest.raises(ScenarioInvalid, match=r"'yolo11n': .* lists only strange") as refused:
        find_trainer("yolo11n")
    assert refused.value.data["key"] == "training.trainer"
    assert refused.value.data["file"] == str(path)


def test_a_program_that_is_not_there_is_refused(home):
    path = listed(home, record=[["/nowhere/python", "-m", "pip", "freeze"]])
    with pytest.raises(InputError, match="/nowhere/python of trainer strange cannot be run"):
        find_trainer("strange")
    path.unlink()


def writable_by_others(path):
    path.chmod(0o646)


def writable_by_its_group(path):
    path.chmod(0o664)
    # A group of this user alone would do.
    if ROOT:
        os.chown(path, 0, 12_345)


def of_somebody_else(path):
    os.chown(path, 12_345, 12_345)


def in_a_folder_of_everybody(path):
    path.parent.chmod(0o777)


def by_a_link_to_what_others_write(path):
    elsewhere = path.rename(path.with_name("elsewhere"))
    elsewhere.chmod(0o666)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (writable_by_others, "may be written by others"),
        pytest.param(
            writable_by_its_group,
            "may be written by others",
            marks=pytest.mark.skipif(not ROOT, reason="only root may give files away"),
        ),
        pytest.param(
            of_somebody_else,
            "belongs to another user",
            marks=pytest.mark.skipif(not ROOT, reason="only root may give files away"),
        ),
        (in_a_folder_of_everybody, "may be written by others"),
        (by_a_link_to_what_others_write, "may be written by others"),
    ],
)
def test_a_file_that_others_may_write_is_not_trusted(home, spoil, why):
    path = listed(home)
    spoil(path)
    with pytest.raises(InputError, match=why) as refused:
        find_trainer("strange")
    assert "not trusted" in str(refused.value)
    assert "chmod go-w" in refused.value.remedy


def test_a_file_that_others_may_only_read_is_trusted(home):
    path = listed(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert find_trainer("strange")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainers: [", r"trainers\.yaml:1: this is not YAML"),
        ("- yolo", "valid dictionary"),
        ("trainers:\n  a: {data: yolo, steps: []}\n", r":2: trainers\.a\.steps: "),
        ("trainers:\n  A b: {}\n", r"trainers\.A b\.\[key\]: .*match pattern"),
        ("trainers: {a: {}}\ntrainers: {b: {}}\n", r":2: the key trainers occurs twice"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_line(home, text, said):
    write(home, text)
    with pytest.raises(InputError, match=said) as refused:
        read_trainers()
    assert "docs/trainers.md" in refused.value.remedy


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "voc"}, "data: Input should be 'yolo' or 'coco'"),
        ({"shell": True}, "shell: Extra inputs"),
        ({"steps": [{"run": ["yolo", "train"]}]}, "'yolo' must be an absolute path"),
        ({"steps": [{"run": "/bin/yolo train"}]}, "steps.0.run: Input should be a valid tuple"),
        ({"steps": [{"run": ["/bin/yolo", "{dta}"]}]}, "{dta} is none of data, out"),
        ({"steps": [{"run": ["/bin/yolo", {"data": None}]}]}, "write '{data}'"),
        ({"steps": [{"run": ["/bin/yolo"], "resume": ["yolo"]}]}, "must be an absolute path"),
        ({"environment": {"A": "{x}"}}, "{x} is none of data, out"),
        ({"environment": {"A=B": "x"}}, "match pattern"),
        ({"onnx": "../best.onnx"}, "onnx: it must be a path below"),
        ({"onnx": "/best.onnx"}, "onnx: it must be a path below"),
        ({"reading": {"layuot": "raw"}}, "reading.layuot: Extra inputs"),
        ({"reading": {"max_memory_gib": float("inf")}}, "reading.max_memory_gib: Input should"),
        ({"reading": {"max_minutes": float("nan")}}, "reading.max_minutes: Input should be"),
        ({"reading": {"max_minutes": 0}}, "reading.max_minutes: Input should be greater"),
        ({"reading": {"mean": [float("nan"), 0, 0]}}, "reading.mean.0: Input should be"),
        ({"reading": {"std": [1, 0, 1]}}, "reading.std.1: Input should be greater"),
        ({"max_memory_gib": float("inf")}, "max_memory_gib: Input should be less"),
        ({"record": [[]]}, "record.0: Value should have at least 1 item"),
        ({"environment": {"A": "a\0b"}}, "environment.A: no program can be given a NUL byte"),
        ({"onnx": "a\0b"}, "onnx: it must be a path below"),
        ({"max_hours": 0}, "max_hours: Input should be greater than 0"),
    ],
)
def test_what_is_wrong_in_an_entry_is_named(home, changes, said):
    listed(home, **changes)
    with pytest.raises(InputError, match=re.escape(said)):
        read_trainers()


def test_a_value_is_not_read_for_placeholders_again():
    words = ["{data}/data.yaml", "epochs={epochs}", "{'a': 1}"]
    assert fill_in(words, {"data": "/x/{epochs}", "epochs": 3}) == [
        "/x/{epochs}/data.yaml",
        "epochs=3",
        "{'a': 1}",
    ]


def test_the_digest_is_of_what_decides_the_model():
    run = ["/opt/yolo", "train", "epochs={epochs}"]

    def digests(**changes):
        made = Trainer.model_validate({"data": "yolo", "steps": [{"run": run}], **changes})
        return made.training_digest, made.digest

    training, whole = digests()
    step = {"run": run, "resume": ["/opt/yolo"], "resume_needs": "last"}
    for same in ({"max_hours": 1}, {"record": [run]}, {"steps": [step]}, {"processors": 1}):
        assert digests(**same) == (training, whole)
    for read_otherwise in ({"reading": {"layout": "raw"}}, {"class_names": "scenario"}):
        assert digests(**read_otherwise)[0] == training
        assert digests(**read_otherwise)[1] != whole
    for other in ({"data": "coco"}, {"environment": {"A": "1"}}, {"onnx": "b.onnx"}):
        assert digests(**other)[0] != training
    # Options of `import` that are unset, or as they are anyway, change nothing.
    assert digests(reading={"max_minutes": 10.0}) == (training, whole)
    # It is stored with what was trained: another digest would train all of it again.
    assert whole == "1d39ffc74582129a153bca584221709fda762f7845ff86279fb8a391c5cc6634"


def test_a_scenario_without_a_trainer_keeps_its_digest():
    assert INTRODUCED["Scenario"]["training.trainer"] is None
    scenario = tiny_spec("plant").version("v1")
    assert "trainer" not in scenario.to_stored()
    training = scenario.training.model_copy(update={"trainer": "yolo11n"})
    assert scenario.model_copy(update={"training": training}).digest != scenario.digest


def test_a_scenario_names_a_trainer_and_no_command():
    spec = tiny_spec("plant")

    def changed(**training):
        content = {**spec.common, "versions": {"v1": {"training": training}}}
        return ScenarioSpec.from_mapping("tiny-plant", content).version("v1").training.trainer

    assert changed(trainer="yolo11n") == "yolo11n"
    for name in ("../yolo", "yolo train", "/bin/sh", ""):
        with pytest.raises(ScenarioInvalid, match="trainer"):
            changed(trainer=name)
    with pytest.raises(ScenarioInvalid, match=r"training\.start = coco has no meaning with"):
        changed(trainer="yolo11n", start="coco")


def test_the_page_explains_every_key_and_placeholder_and_its_entries_can_be_read(home):
    text = PAGE.read_text()
    entries = re.findall(r"```yaml\n(trainers:\n.*?)```", text, re.DOTALL)
    assert entries
    for entry in entries:
        write(home, entry)
        for trainer in read_trainers().values():
            assert trainer.record
            assert trainer.environment
    rows = "".join(line for line in text.splitlines() if line.startswith("|"))
    for name in Trainer.model_fields:
        assert f"`{name}`" in rows, name
    for name in PLACEHOLDERS:
        assert f"`{{{name}}}`" in rows, name


# In its folder.

TRAIN = """
import json, os, pathlib, signal, sys
told = json.loads(pathlib.Path("{settings}").read_text())
out, kept = pathlib.Path("{out}"), pathlib.Path("{out}/last.json")
given = sorted(os.listdir("{data}"))
print(" ".join(sys.argv[1:]), told["epochs"], told["classes"], given, flush=True)
kept.write_text(kept.read_text() + "again" if kept.exists() else "begun ")
if (out.parent / "kill").exists():
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
if (out.parent / "fail").exists():
    sys.exit(3)
pathlib.Path("{out}/model.onnx").write_text(kept.read_text())
"""


class Shop:
    """A workshop of the trainer above."""

    def __init__(self, folder, **changes):
        self.folder, self.lines, self.handed = folder, [], 0
        run = [PYTHON, "-c", TRAIN, "train"]
        steps = [{"run": run, "resume": [*run[:3], "resume"], "resume_needs": "last.json"}]
        trainer = Trainer.model_validate({"data": "yolo", "steps": steps} | changes)
        told = {"epochs": 3, "classes": ["person"]}
        self.made = Workshop(folder, "strange", trainer, told, self.lines.append)

    def hand_over(self, folder):
        self.handed += 1
        folder.mkdir(parents=True)
        (folder / "data.yaml").write_text("")

    def work(self):
        return self.made.work(self.hand_over)


def spoil(folder, how):
    folder.mkdir(exist_ok=True)
    (folder / how).touch()


def test_it_is_told_what_to_do_and_leaves_a_file(tmp_path):
    shop = Shop(tmp_path / "work")
    assert shop.work() == tmp_path / "work" / "out" / "model.onnx"
    assert shop.lines == ["train 3 ['person'] ['data.yaml']"]
    assert shop.made.words.read_text().splitlines() == shop.lines
    shop.made.remove()
    assert not (tmp_path / "work").exists()


def test_killed_it_resumes_with_the_same_data(tmp_path):
    shop = Shop(tmp_path / "work")
    spoil(tmp_path / "work", "kill")
    with pytest.raises(TrainerFailed, match="ended with"):
        shop.work()
    (tmp_path / "work" / "kill").unlink()
    assert shop.work().read_text() == "begun again"
    assert shop.lines[1:] == [
        "step 1 of trainer strange did not finish, it resumes",
        "resume 3 ['person'] ['data.yaml']",
    ]
    assert shop.handed == 1


def test_killed_before_there_is_anything_to_resume_it_begins_again(tmp_path):
    shop = Shop(tmp_path / "work")
    spoil(tmp_path / "work", "kill")
    with pytest.raises(TrainerFailed):
        shop.work()
    (tmp_path / "work" / "kill").unlink()
    (tmp_path / "work" / "out" / "last.json").unlink()
    assert shop.work().read_text() == "begun "
    assert shop.handed == 2


def test_where_it_cannot_resume_it_begins_again_with_new_folders(tmp_path):
    shop = Shop(tmp_path / "work", steps=[{"run": [PYTHON, "-c", TRAIN, "train"]}])
    spoil(tmp_path / "work", "kill")
    with pytest.raises(TrainerFailed):
        shop.work()
    (tmp_path / "work" / "kill").unlink()
    assert shop.work().read_text() == "begun "
    assert shop.lines[1] == "step 1 of trainer strange did not finish, it begins again"


def test_what_fails_to_resume_begins_again(tmp_path):
    shop = Shop(tmp_path / "work")
    spoil(tmp_path / "work", "fail")
    for _ in range(2):
        with pytest.raises(TrainerFailed, match="ended with 3"):
            shop.work()
    (tmp_path / "work" / "fail").unlink()
    assert shop.work().read_text() == "begun "
    assert [line.split()[0] for line in shop.lines if "['person']" in line] == [
        "train",
        "resume",
        "train",
    ]


def test_a_finished_step_is_not_repeated(tmp_path):
    train = {"run": [PYTHON, "-c", TRAIN, "train"]}
    export = (
        "import os, pathlib, sys; os.path.exists('../ready') or sys.exit(4);"
        "pathlib.Path('b.onnx').write_text('b')"
    )
    steps = [train, {"run": [PYTHON, "-c", export]}]
    shop = Shop(tmp_path / "work", steps=steps, onnx="b.onnx")
    with pytest.raises(TrainerFailed, match=r"\(step 2\) ended with 4, and said: nothing"):
        shop.work()
    spoil(tmp_path / "work", "ready")
    assert shop.work().name == "b.onnx"
    assert shop.handed == 1
    assert shop.lines.count("train 3 ['person'] ['data.yaml']") == 1
    # And a trainer that is finished does not run at all.
    (tmp_path / "work" / "ready").unlink()
    assert shop.work().name == "b.onnx"


def test_other_data_are_never_taken_for_complete(tmp_path):
    shop = Shop(tmp_path / "work")

    def break_off(folder):
        folder.mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.made.work(break_off)
    assert shop.work().exists()
    assert shop.handed == 1


def test_its_last_words_say_why_it_failed(tmp_path):
    code = "import sys; print('CUDA out of memory'); sys.exit(1)"
    shop = Shop(tmp_path / "work", steps=[{"run": [PYTHON, "-c", code]}])
    with pytest.raises(TrainerFailed, match="ended with 1, and said: CUDA out of memory") as failed:
        shop.work()
    assert str(shop.made.words) in failed.value.remedy
    assert failed.value.exit_code == 3


def test_a_limit_is_named_with_the_key_that_sets_it(tmp_path):
    steps = [{"run": [PYTHON, "-c", "import time; time.sleep(600)"]}]
    shop = Shop(tmp_path / "work", steps=steps, max_hours=1 / 3600)
    with pytest.raises(TrainerFailed, match=r"was ended after 0\.0\d+ h, its limit") as failed:
        shop.work()
    assert "max_hours of strange in" in failed.value.remedy


def test_what_is_not_where_it_should_be_is_said(tmp_path):
    shop = Shop(tmp_path / "work", onnx="weights/best.onnx")
    with pytest.raises(TrainerFailed, match=r"left no weights/best\.onnx .* there is model\.onnx"):
        shop.work()


def test_a_file_that_leads_elsewhere_is_not_taken(tmp_path):
    (tmp_path / "secret.onnx").write_text("x")
    code = f"import os; os.symlink({str(tmp_path / 'secret.onnx')!r}, 'model.onnx')"
    shop = Shop(tmp_path / "work", steps=[{"run": [PYTHON, "-c", code]}])
    with pytest.raises(TrainerFailed, match=r"left no model\.onnx"):
        shop.work()


def test_a_file_that_no_import_takes_is_refused_before_it_is_copied(tmp_path):
    code = "open('model.onnx', 'w'); open('model.onnx.data', 'w').truncate(40 * 2**30)"
    shop = Shop(tmp_path / "work", steps=[{"run": [PYTHON, "-c", code]}])
    with pytest.raises(TrainerFailed, match=r"model\.onnx with 40960 MiB .* at most 1024"):
        shop.work()


def test_a_secret_of_ours_that_it_finds_is_kept_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:hunter2-hunter2")
    code = "print('found admin:hunter2-hunter2'); raise SystemExit(3)"
    shop = Shop(tmp_path / "work", steps=[{"run": [PYTHON, "-c", code]}])
    with pytest.raises(TrainerFailed, match=r"said: found \*\*\*") as failed:
        shop.work()
    kept = [*shop.lines, shop.made.words.read_text(), repr(failed.value.data)]
    assert not [one for one in kept if "hunter2" in one]
    record = [[PYTHON, "-c", "print('pip at admin:hunter2-hunter2')"]]
    said = Shop(tmp_path / "asked", record=record).made.record()
    assert said.splitlines()[-1] == "pip at ***"


def test_of_a_flood_of_lines_some_are_told_and_all_are_kept(tmp_path):
    code = "for n in range(20_000): print('line', n)"
    steps = [{"run": [PYTHON, "-c", code + "\nopen('model.onnx', 'w')"]}]
    shop = Shop(tmp_path / "work", steps=steps)
    shop.work()
    assert 40 <= len(shop.lines) < 200
    assert len(shop.made.words.read_text().splitlines()) == 20_000


def test_its_environment_is_asked(tmp_path):
    shop = Shop(tmp_path / "work", record=[[PYTHON, "-c", "print('strange 1.0')"]])
    assert shop.made.record().splitlines()[-1] == "strange 1.0"
    broken = Shop(tmp_path / "broken", record=[[PYTHON, "-c", "import strange"]])
    with pytest.raises(TrainerFailed, match="No module named 'strange'"):
        broken.made.record()


def test_it_gets_no_secret_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "hunter2")
    code = "import json, os; print(json.dumps(dict(os.environ))); open('model.onnx', 'w')"
    steps = [{"run": [PYTHON, "-c", code]}]
    shop = Shop(tmp_path / "work", steps=steps, environment={"SEEN": "{out}"})
    shop.work()
    (line,) = shop.lines
    told = json.loads(line)
    assert told["SEEN"] == str(tmp_path / "work" / "out")
    assert "PREFECT_API_AUTH_STRING" not in told
    assert told["PATH"] == os.environ["PATH"]
