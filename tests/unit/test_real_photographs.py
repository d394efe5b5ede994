"""The exercise on real photographs says what went wrong, whatever a command answered."""

import pytest

from benchmarks.real_photographs import command
from guardianflow.errors import GuardianflowError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "nobody", "--type", "train", "--version", "v1"), "There is no scenario 'nobody'"),
        (("no-such-command",), "ended with 2"),
    ],
)
def test_a_command_that_fails_is_quoted(words, said):
    with pytest.raises(GuardianflowError, match=said):
        command(*words)


def test_the_exercise_without_its_photographs_is_an_input_error(monkeypatch, capsys):
    from benchmarks import real_photographs

    monkeypatch.delenv("GUARDIANFLOW_REAL_DATA", raising=False)
    assert real_photographs.main() == 2
    assert "GUARDIANFLOW_REAL_DATA" in capsys.readouterr().err
