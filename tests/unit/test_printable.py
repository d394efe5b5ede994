import json
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from rich.progress import Progress, TextColumn

from guardianflow.cli import output
from guardianflow.cli.output import Output, Terminal
from guardianflow.cli.promote import _show_proposal
from guardianflow.errors import ModelInvalid
from guardianflow.events import ModelEvent
from guardianflow.names import ModelName
from guardianflow.promotion.approval.policy import Answer, Choice
from guardianflow.registry.release_state import Attribution, OperationKind
from guardianflow.registry.rotation.request import RotationRequest
from guardianflow.wording.markdown import plain
from guardianflow.wording.printable import printable

CLEAR = "\x1b[2J\x1b[1;31m"
TITLE = "\x1b]0;owned\x07"
C1 = "\x9b2J"
TURNED = "\u202egnp.exe"
TYPED = [CLEAR, TITLE, C1, "\r", "\x08\x08", "\x7f", TURNED, "\x00"]


@pytest.fixture
def shown(monkeypatch, capsys):
    """What a command prints at a terminal with colours."""
    for name, error in (("stdout", False), ("stderr", True)):
        terminal = Terminal(stderr=error, highlight=False, force_terminal=True, width=100)
        monkeypatch.setattr(output, name, terminal)

    def both():
        out, err = capsys.readouterr()
        return out + err

    return both


def bare(text):
    """Without the colours that rich itself sets."""
    return text.replace("\x1b[1;31m", "").replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize("typed", TYPED)
def test_nothing_that_a_terminal_obeys_is_left(typed):
    made = printable(f"worker{typed} gone")
    assert made.startswith("worker")
    assert made.endswith("gone")
    assert not set(made) & set("\x1b\x07\x08\x0d\x7f\x9b\u202e\x00")


def test_words_of_all_languages_and_lines_stay():
    text = "작업자, Helm größer\n\tsecond – line 👷🏽‍♀️"
    assert printable(text) == text


def test_half_a_character_can_be_written():
    assert printable("caf\udce9.onnx").encode()
    assert plain("caf\udce9.onnx").encode()


@pytest.mark.parametrize("typed", [CLEAR, TITLE, C1, TURNED])
def test_what_people_typed_moves_nothing_in_remarks_errors_and_tables(typed, shown):
    error = ModelInvalid(f"no class {typed}x", remedy=f"--map {typed}=y", value=typed)
    out = Output()
    out.remark(f"reason: {typed}saw it")
    out.error(error.to_json())
    out.table(f"History of {typed}", ("when", f"why{typed}"), [(1, f"{typed}cold")])
    out.say(f"pending: {typed}x")
    text = bare(shown())
    assert "saw it" in text
    assert "cold" in text
    assert not set(text) & set("\x07\x9b\u202e")
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text


def test_names_that_look_like_markup_of_rich_are_shown_as_they_are(capsys):
    judged = SimpleNamespace(outcome="PASSED", reasons=[])
    proposal = SimpleNamespace(
        headline="[/] found in 53 of 100, today 70",
        model_name="acme/plant/line/ppe",
        version=2,
        moves=[],
        gate=judged,
        warnings=["[red] is new"],
        changes_nothing=False,
        evidence_run_id="",
    )
    _show_proposal(Output(), proposal)
    Output().table("/data/[/x]", ["", "train"], [["[/]", 3]])
    out, err = capsys.readouterr()
    assert "[/] found in 53 of 100" in out
    assert "/data/[/x]" in out
    assert "[red] is new" in err


def test_what_people_typed_moves_nothing_beside_a_progress_bar(capsys):
    terminal = Terminal(force_terminal=True, width=80)
    with Progress(TextColumn("{task.description}"), console=terminal) as progress:
        progress.add_task(f"open {TITLE}best.onnx")
    assert "\x1b]0" not in capsys.readouterr().out


def test_an_error_carries_none_of_it_to_logs_and_notifications():
    error = ModelInvalid(f"{CLEAR}bad", remedy=f"{C1}mend")
    assert str(error) == "[2J[1;31mbad 2Jmend"
    assert error.args == ("[2J[1;31mbad",)


def test_json_holds_what_was_typed_but_as_escapes(capsys):
    data = {"reason": f"{CLEAR}{C1}ok", "file": "caf\udce9.onnx"}
    Output(as_json=True).result(data)
    text = capsys.readouterr().out
    assert not set(text) & set("\x1b\x9b")
    assert json.loads(text) == data


@pytest.mark.parametrize("typed", [CLEAR, TITLE, C1, TURNED, "\x00"])
def test_what_is_kept_of_people_s_words_and_told_in_messages_holds_none_of_it(typed):
    obeyed = set("\x1b\x07\x9b\u202e\x00")
    answer = Answer(decision=Choice.APPROVE, approver=f"Kim{typed}", reason=f"saw{typed} it")
    name = ModelName.parse("a/b-c/d/e")
    asked = RotationRequest(
        OperationKind.ROLLBACK, name, by=Attribution(f"kim{typed}@host", f"misses{typed}")
    )
    event = ModelEvent(model="a/b-c/d/e", version=1, message=f"rolled{typed} back")
    for text in (answer.who, answer.reason, asked.by.actor, asked.by.reason, event.message):
        assert not set(text) & obeyed


def test_a_reason_of_controls_alone_is_none():
    with pytest.raises(ValidationError):
        Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="\x1b\x1b\x1b\x1b")
