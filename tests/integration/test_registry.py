"""The registry on a real MLflow server: what is registered, promoted, rolled back and refused."""

import time

import mlflow
import pytest

from deployments.processes import free_port
from guardianflow.errors import (
    AliasDrift,
    ArtifactMissing,
    ChampionChanged,
    InputError,
    ModelUnknown,
    NoCandidate,
    NoRollbackTarget,
    RegistryUnavailable,
    RollbackHeld,
    SourceNotChampion,
    VersionNotReady,
    VersionQuarantined,
)
from guardianflow.names import ModelName
from guardianflow.registry import ModelAlias, ModelRegistryManager, Move
from tests.integration.release_kit import register_release


def aliases(registry, name):
    return next(dict(m.aliases) for m in registry.list_models() if m.name == name)


def registered(name):
    return ModelName.parse(name).registered


def test_the_life_of_a_release(registry, factory):
    name = factory.name()
    int8 = f"{name}__openvino_int8"
    with pytest.raises(NoCandidate):
        registry.promote_to_champion(name)
    factory.base(name)
    factory.twin(name, 1)
    with pytest.raises(NoRollbackTarget):
        registry.rollback(name)
    plan = registry.plan_promotion(name)
    assert {(m.name, str(m.alias), m.after) for m in plan.moves} == {
        (n, alias, after)
        for n in (name, int8)
        for alias, after in [("champion", 1), ("candidate", None)]
    }
    assert registry.history(name) == []
    first = registry.promote_to_champion(name, actor="kim", reason="first", evidence="run-1")
    assert (first.changed, first.seq, dict(first.before)) == (True, 1, {name: None, int8: None})
    with pytest.raises(NoRollbackTarget, match="second promotion"):
        registry.rollback(name)
    factory.base(name)
    factory.twin(name, 2)
    registry.promote_to_champion(int8, token="same")
    assert registry.promote_to_champion(int8, token="same").seq == 2
    assert aliases(registry, name) == aliases(registry, int8) == {"champion": 2, "rollback": 1}
    back = registry.rollback(name, reason="blind at night")
    assert dict(back.after) == {name: 1, int8: 1}
    assert aliases(registry, name) == aliases(registry, int8) == {"champion": 1, "candidate": 2}
    assert registry.get_version(name, 2).status == "rolled_back"
    with pytest.raises(VersionQuarantined, match="--force"):
        registry.promote_to_champion(name)
    champion = registry.get_champion(name)
    assert champion is not None
    assert champion.aliases == ("champion",)
    history = registry.history(int8)
    assert [(o.seq, o.kind, o.actor, o.reason) for o in history[:1]] == [
        (1, "promote", "kim", "first")
    ]
    assert [o.kind for o in history] == ["promote", "promote", "rollback"]
    assert registry.promote_to_champion(name, 1).changed is False


def test_a_variant_that_comes_later_joins_the_release(registry, factory):
    name = factory.name()
    for _ in range(2):
        factory.base(name)
        registry.promote_to_champion(name)
    factory.twin(name, 1)
    with pytest.raises(SourceNotChampion):
        registry.promote_to_champion(f"{name}__openvino_int8")
    factory.twin(name, 2)
    registry.promote_to_champion(f"{name}__openvino_int8")
    assert aliases(registry, f"{name}__openvino_int8") == {"champion": 2}
    with pytest.raises(NoRollbackTarget, match="--only"):
        registry.rollback(name)


def test_a_base_promoted_by_its_number_says_how_its_older_twin_follows(registry, factory):
    name = factory.name()
    for source in (1, 2):
        factory.base(name)
        twin = factory.twin(name, source).name
    plan = registry.plan_promotion(name, 1)
    assert [move.name for move in plan.moves] == [name]
    [said] = [one for one in plan.warnings if twin in one]
    assert f"`guardianflow promote {twin} --model-version 1`" in said
    registry.promote_to_champion(name, 1)
    registry.promote_to_champion(twin, 1)
    assert not [one for one in registry.plan_promotion(name, 1).warnings if "until `" in one]


def test_an_automation_acts_once_and_only_on_the_failing_champion(registry, factory):
    name = factory.name()
    for _ in range(3):
        factory.base(name)
        registry.promote_to_champion(name)
    with pytest.raises(ChampionChanged) as refused:
        registry.rollback(name, expected_champion=2, automatic=True, token="late")
    assert refused.value.actual == 3
    done = registry.rollback(name, expected_champion=3, automatic=True, token="incident")
    again = registry.rollback(name, expected_champion=3, automatic=True, token="incident")
    assert again.seq == done.seq == 4
    with pytest.raises(RollbackHeld):
        registry.rollback(name, expected_champion=2, automatic=True, token="other")
    assert aliases(registry, name) == {"champion": 2, "rollback": 1, "candidate": 3}


def test_an_alias_moved_by_hand_stops_everything_until_it_is_repaired(registry, factory):
    name = factory.name()
    for _ in range(2):
        factory.base(name)
        registry.promote_to_champion(name)
    registry.client.set_registered_model_alias(registered(name), "champion", "1")
    assert [str(d.alias) for d in registry.drift(name)] == ["champion"]
    for act in (registry.promote_to_champion, registry.rollback, registry.plan_rollback):
        with pytest.raises(AliasDrift, match="repair"):
            act(name)
    mended = registry.repair(name, "ledger", reason="a mistake", actor="kim", token="mend")
    assert mended.changed
    assert mended.moves == (Move(name, ModelAlias.CHAMPION, 1, 2),)
    assert mended.to_json()["moves"][0]["after"] == 2
    last = registry.history(name)[-1]
    assert (last.kind, last.actor, last.reason, last.seq) == ("repair", "kim", "a mistake", 3)
    assert registry.repair(name, "ledger", reason="again", token="mend").seq == 3
    assert not registry.repair(name, "ledger", reason="again").changed
    assert len(registry.history(name)) == 3
    assert aliases(registry, name) == {"champion": 2, "rollback": 1}
    registry.client.set_registered_model_alias(registered(name), "champion", "1")
    registry.repair(name, "mlflow", reason="an emergency")
    assert registry.drift(name) == ()
    assert registry.history(name)[-1].kind == "adopt"
    assert registry.get_version(name, 1).aliases == ("champion",)


def test_a_repair_does_not_begin_what_cannot_end(registry, factory):
    name = factory.name()
    for _ in range(2):
        factory.base(name)
        registry.promote_to_champion(name)
    registry.client.delete_model_version(registered(name), "1")
    with pytest.raises(VersionNotReady, match="no version 1"):
        registry.repair(name, "ledger", reason="it was deleted")
    assert len(registry.history(name)) == 2
    registry.repair(name, "mlflow", reason="it was deleted")
    assert aliases(registry, name) == {"champion": 2}


def test_a_damaged_local_copy_that_cannot_be_replaced_is_not_used(registry, factory, monkeypatch):
    name = factory.name()
    factory.base(name)
    folder = registry.download(name, 1)
    (folder / "MLmodel").write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        # A process that may not delete: with full rights nothing real would refuse it here.
        patch.setattr("guardianflow.mlflow_store.artifacts.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(ArtifactMissing, match="local copy"):
            registry.download(name, 1)
    assert (registry.download(name, 1) / "MLmodel").read_bytes() == b"{}"


def test_a_release_whose_files_are_gone_or_differ_does_not_move(registry, factory):
    name = factory.name()
    factory.base(name)
    registry.promote_to_champion(name)
    factory.base(name)
    registry.set_version_tag(name, 2, "guardianflow.sha256.MLmodel", "0" * 64)
    with pytest.raises(ArtifactMissing, match="MLmodel differs"):
        registry.promote_to_champion(name)
    with pytest.raises(ArtifactMissing):
        registry.download(name, 2)
    run_id = factory.run()
    bare = registry.client.create_model_version(
        registered(name), source=f"runs:/{run_id}/x", run_id=run_id
    )
    with pytest.raises(ArtifactMissing, match="fingerprints"):
        registry.promote_to_champion(name, int(bare.version))
    with pytest.raises(VersionNotReady, match="no version 99"):
        registry.promote_to_champion(name, 99)
    assert aliases(registry, name)["champion"] == 1
    assert len(registry.history(name)) == 1


def test_the_address_of_an_alias_loads_in_mlflow(learned, factory, monkeypatch, mlflow_server):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    name = factory.name()
    register_release(learned, name)
    uri = learned.registry.get_model_uri(name, ModelAlias.CANDIDATE)
    assert uri == f"models:/{registered(name)}@candidate"
    model = mlflow.pyfunc.load_model(uri)
    assert model.metadata.get_model_info().signature is not None


def test_a_server_that_is_not_there_is_reported_within_seconds():
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable, match="make up"):
        ModelRegistryManager(f"http://127.0.0.1:{free_port()}")
    assert time.monotonic() - started < 10


def test_no_server_named_is_a_mistake_of_the_caller(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="make up"):
        ModelRegistryManager()


@pytest.mark.parametrize("look", ["list_versions", "history", "plan_promotion"])
def test_a_name_that_nobody_registered_is_refused(registry, factory, look):
    for name in (factory.name(), f"{factory.name()}__openvino_int8"):
        with pytest.raises(ModelUnknown, match=r"guardianflow models") as refused:
            getattr(registry, look)(name)
        assert refused.value.exit_code == 3


def test_a_candidate_that_was_rolled_back_or_rejected_says_so(registry, factory):
    name = factory.name()

    def status():
        return next(m.candidate_status for m in registry.list_models() if m.name == name)

    factory.base(name)
    registry.promote_to_champion(name)
    factory.base(name)
    assert status() == ""
    registry.promote_to_champion(name)
    registry.rollback(name)
    assert status() == "rolled_back"
    factory.base(name)
    assert status() == ""
    registry.set_version_tag(name, 3, "guardianflow.status", "rejected")
    assert status() == "rejected"


def test_a_database_is_no_server():
    with pytest.raises(InputError, match="sqlite"):
        ModelRegistryManager("sqlite:///mlflow.db")
