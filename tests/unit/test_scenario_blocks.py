"""How often a flow run reads the block of its scenario."""

from types import SimpleNamespace

import pytest

from flows import scenario_blocks


@pytest.fixture
def read(monkeypatch):
    """The documents that were read from the server."""
    seen = []
    monkeypatch.setattr(
        scenario_blocks, "load_saved", lambda _, name, **__: seen.append(name) or object()
    )
    scenario_blocks._config_once.cache_clear()
    yield seen
    scenario_blocks._config_once.cache_clear()


def in_run(monkeypatch, run):
    monkeypatch.setattr(scenario_blocks, "flow_run", SimpleNamespace(get_id=lambda: run))


def test_the_steps_of_a_flow_run_read_its_block_once(read, monkeypatch):
    in_run(monkeypatch, "first")
    blocks = {scenario_blocks.load_config("helmets") for _ in range(3)}
    assert (len(blocks), read) == (1, ["helmets"])


def test_another_flow_run_and_another_block_are_read_again(read, monkeypatch):
    for run, document in (("first", "helmets"), ("second", "helmets"), ("second", "masks")):
        in_run(monkeypatch, run)
        scenario_blocks.load_config(document)
    assert read == ["helmets", "helmets", "masks"]


def test_outside_of_a_flow_run_a_block_is_read_each_time(read, monkeypatch):
    in_run(monkeypatch, None)
    for _ in range(2):
        scenario_blocks.load_config("helmets")
    assert read == ["helmets", "helmets"]
