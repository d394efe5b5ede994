"""`guardianflow export-errors` against a real MLflow server."""

import json

import pytest

from guardianflow.cli import main
from guardianflow.vision.data.dataset import open_dataset


@pytest.fixture
def command(learned, mlflow_server, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))

    def run(*words):
        with pytest.raises(SystemExit) as stopped:
            main(["export-errors", *map(str, words), "--json"])
        return stopped.value.code, json.loads(capsys.readouterr().out)

    return run


def test_the_mistakes_of_a_version_open_as_a_data_set(learned, command, tmp_path):
    version = learned.quantized.version
    code, made = command(learned.variant, "--model-version", version, "--to", tmp_path / "out")
    assert code == 0
    figures = learned.quantized.variant
    missed = sum(round((1 - f.recall) * f.objects) for f in figures.per_class.values())
    assert (made["version"], made["missed"], made["of_images"]) == (version, missed, 12)
    assert made["false"] == pytest.approx(figures.false_alarms_per_image * 12)
    assert len(open_dataset(tmp_path / "out").samples("test")) == made["images"] > 0
    # what was written can be looked at again
    looked = ("--model-version", version, "--window", tmp_path / "out")
    code, again = command(learned.variant, *looked, "--to", tmp_path / "again")
    assert (code, again["missed"], again["false"]) == (0, made["missed"], made["false"])


def test_a_full_folder_is_2_and_a_missing_version_3(learned, command, tmp_path):
    (tmp_path / "mine").write_text("work")
    code, answer = command(learned.name, "--to", tmp_path)
    assert (code, answer["error"]["type"]) == (2, "InputError")
    code, answer = command(learned.name, "--model-version", 999, "--to", tmp_path / "out")
    assert (code, answer["error"]["type"]) == (3, "VersionNotReady")
    assert not (tmp_path / "out").exists()
