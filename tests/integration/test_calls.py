"""How many HTTP requests an operation makes: a claim that no busy machine can change."""

import uuid

import pytest

from benchmarks.http_calls import recorded
from benchmarks.plant import FLAVOUR, SMALL, Plant
from benchmarks.rotation import calls_of, counted
from guardianflow.names import ModelName
from guardianflow.registry.ledger.log import SEGMENT_LENGTH

AT_MOST = 25
SHORT = 10


@pytest.fixture
def plant(mlflow_server, tmp_path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    return Plant(mlflow_server)


def release(plant, operations=SHORT):
    """A release with a history; a server's first operation, which tries the server, is over."""
    name = plant.new_release()
    plant.write_history(name, operations)
    return name


def requests_of(plant, name):
    """By operation, the requests that are not for files, as text."""
    calls = calls_of(plant, name)
    return {what: [str(c) for c in made if not c.of_files] for what, made in calls.items()}


def numbers(found):
    return {what: len(made) for what, made in found.items()}


def test_a_twin_release_moves_with_at_most_25_requests(plant):
    found = requests_of(plant, release(plant))
    for what, made in found.items():
        assert len(made) <= AT_MOST, f"{what}: {made}"
        # Six aliases and the entry in the ledger are written: a recorder that misses most is none.
        aliases = [call for call in made if call.endswith("/registered-models/alias")]
        assert len(aliases) == 6
        assert any(call.startswith("POST") and "log-parameter" in call for call in made)


def test_the_requests_do_not_grow_with_versions(plant):
    small = numbers(requests_of(plant, release(plant)))
    name = plant.new_release()
    for _ in range(12):
        plant.bare_version(name, SMALL)
        plant.bare_version(name.variant(FLAVOUR), SMALL, {"guardianflow.source_version": "1"})
    plant.write_history(name, SHORT)
    assert numbers(requests_of(plant, name)) == small


def test_the_requests_do_not_grow_with_models_whose_names_begin_alike(plant):
    small = numbers(requests_of(plant, release(plant)))
    name = release(plant)
    plant.new_names(ModelName.parse(f"{name}-{number}") for number in range(30))
    assert numbers(requests_of(plant, name)) == small


def test_the_requests_do_not_grow_with_operations(plant):
    small = numbers(requests_of(plant, release(plant)))
    # In the third ledger run, at the same place of it.
    assert numbers(requests_of(plant, release(plant, SHORT + 2 * SEGMENT_LENGTH))) == small


def test_the_file_checks_are_counted_apart(plant):
    calls = calls_of(plant, release(plant))
    for made in calls.values():
        files = [call for call in made if call.of_files]
        content = [call for call in files if "model.bin" in call.path or "MLmodel" in call.path]
        assert len(content) == 4
        assert counted(made) == {
            "without_file_checks": len(made) - len(files),
            "file_checks": len(files),
        }


def test_a_listing_takes_no_request_more_however_the_candidates_stand(plant):
    # The server is shared: other tests may leave candidates that have to be asked for.
    with recorded() as before:
        plant.registry.list_models()
    names = [release(plant) for _ in range(2)]
    for name in names:
        calls_of(plant, name)
    with recorded() as calls:
        models = {model.name: model for model in plant.registry.list_models()}
    assert [str(call) for call in calls] == [str(call) for call in before]
    listings = [call for call in calls if call.path.endswith("/registered-models/search")]
    assert len(listings) == 1
    assert {models[name.public].candidate_status for name in names} == {"rolled_back"}


@pytest.mark.parametrize("few", [20, 0])
def test_a_candidate_that_is_not_the_newest_is_known_as_quarantined(plant, monkeypatch, few):
    name = release(plant)
    calls_of(plant, name)
    plant.bare_version(name, SMALL)
    # 0 asks as for very many of them: by a search.
    monkeypatch.setattr("guardianflow.mlflow_store.registered_models._FEW", few)
    models = {model.name: model for model in plant.registry.list_models()}
    assert models[name.public].candidate_status == "rolled_back"


def test_a_recorded_request_names_the_line_that_made_it(plant):
    with recorded() as calls:
        plant.registry.history(release(plant))
        assert plant.client.get_experiment_by_name(uuid.uuid4().hex) is None
    ours = [call for call in calls if "registry/manager.py" in call.line]
    assert ours
    assert not calls[-1].line
