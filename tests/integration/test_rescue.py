"""Hands in the MLflow UI: an @champion that was deleted comes back, by itself or by a rollback."""

import pytest

from guardianflow.errors import (
    AliasDrift,
    LedgerDamaged,
    NoRollbackTarget,
    ReleaseOnHold,
    VersionNotReady,
)
from guardianflow.names import ModelName
from guardianflow.registry.ledger.mirror import HEAD_TAG, read_mirror
from guardianflow.registry.rotation.aliases import write_production


def registered(name):
    return ModelName.parse(name).registered


def aliases(registry, name):
    return dict(registry.release(name).inspect().models[name].aliases)


def release(factory, name, version):
    """A base and its twin, registered and promoted together."""
    factory.base(name)
    factory.twin(name, version)
    factory.registry.promote_to_champion(name)


@pytest.fixture
def plant(factory):
    """A release with two former states behind it."""
    name = factory.name()
    for version in (1, 2, 3):
        release(factory, name, version)
    return name, f"{name}__openvino_int8"


def test_a_champion_alias_deleted_by_hand_is_put_back(registry, plant):
    name, twin = plant
    assert registry.rescue(name) is None
    registry.client.delete_registered_model_alias(registered(twin), "champion")
    mended = registry.rescue(name, reason="found by the reconcile flow")
    assert mended is not None
    assert f"@champion of {twin} is version none" in mended.message
    assert [(m.name, m.after) for m in mended.moves] == [(twin, 3)]
    assert aliases(registry, twin) == {"champion": 3, "rollback": 2}
    assert registry.drift(name) == ()
    last = registry.history(name)[-1]
    assert (last.kind, last.seq) == ("repair", 4)
    assert "@champion of" in last.reason
    assert registry.rescue(name) is None
    assert len(registry.history(name)) == 4


def test_where_the_champion_version_was_deleted_the_release_goes_back(registry, plant):
    name, twin = plant
    registry.client.delete_model_version(registered(twin), "3")
    assert "champion" not in aliases(registry, twin)
    with pytest.raises(VersionNotReady, match="no version 3") as refused:
        registry.repair(name, "ledger", reason="it is gone")
    assert "guardianflow rollback" in refused.value.remedy
    back = registry.rescue(name)
    assert (back.kind, dict(back.after)) == ("rollback", {name: 2, twin: 2})
    assert aliases(registry, name) == {"champion": 2, "rollback": 1, "candidate": 3}
    assert aliases(registry, twin) == {"champion": 2, "rollback": 1}
    assert registry.drift(name) == ()
    with pytest.raises(ReleaseOnHold, match="on hold"):
        registry.promote_to_champion(name, 1)


def test_the_way_back_leads_past_versions_that_were_deleted(registry, plant):
    name, twin = plant
    # Champion and way back at once; nobody said which other version would do.
    for version in ("3", "2"):
        registry.client.delete_model_version(registered(twin), version)
    assert dict(registry.rescue(name).after) == {name: 1, twin: 1}
    assert aliases(registry, twin) == {"champion": 1}
    assert registry.drift(name) == ()


def test_a_quarantined_version_set_by_hand_is_taken_out_again(registry, plant):
    name, twin = plant
    registry.rollback(name, reason="blind at night")
    registry.client.set_registered_model_alias(registered(twin), "champion", "3")
    mended = registry.rescue(name)
    assert [(m.name, m.before, m.after) for m in mended.moves] == [(twin, 3, 2)]
    assert registry.drift(name) == ()


def test_a_way_back_without_its_files_is_passed_over(registry, plant):
    name, twin = plant
    registry.set_version_tag(twin, 2, "guardianflow.sha256.MLmodel", "0" * 64)
    registry.client.delete_model_version(registered(name), "3")
    assert dict(registry.rescue(name).after) == {name: 1, twin: 1}


def test_a_variant_that_was_deleted_as_a_whole_no_longer_stops_its_base(registry, plant, factory):
    name, twin = plant
    registry.client.delete_registered_model(registered(twin))
    factory.base(name)
    with pytest.raises(AliasDrift, match="guardianflow doctor"):
        registry.promote_to_champion(name)
    registry.repair(name, "mlflow", reason="nobody wants the twin any more")
    assert registry.drift(name) == ()
    assert dict(registry.promote_to_champion(name).after) == {name: 4}


def test_a_candidate_that_comes_while_aliases_are_written_stays(registry, plant, factory):
    name, _ = plant
    factory.base(name)
    newer = []

    def production(*arguments):
        newer.append(factory.base(name).version)
        return write_production(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("guardianflow.registry.rotation.projection.write_production", production)
        registry.promote_to_champion(name, 4)
    assert aliases(registry, name)["candidate"] == newer[0] == 5


def test_another_model_under_the_number_of_a_champion_is_not_put_back(registry, plant, factory):
    name, twin = plant
    client = registry.client
    client.delete_registered_model(registered(twin))
    client.create_registered_model(registered(twin))
    run_id = factory.run()
    for _ in range(3):
        client.create_model_version(registered(twin), f"runs:/{run_id}/model", run_id)
    with pytest.raises(NoRollbackTarget, match="deleted in MLflow"):
        registry.rescue(name)
    with pytest.raises(VersionNotReady, match="no version 3"):
        registry.repair(name, "ledger", reason="it is there again")
    assert aliases(registry, twin) == {}


def test_a_person_rolls_back_what_lost_its_champion(registry, plant):
    name, twin = plant
    registry.client.delete_model_version(registered(name), "3")
    plan = registry.plan_rollback(name)
    assert {(m.name, m.after) for m in plan.moves if m.alias == "champion"} == {
        (name, 2),
        (twin, 2),
    }
    assert dict(registry.rollback(name, reason="deleted").after) == {name: 2, twin: 2}
    # Moved is not missing: what somebody chose by hand is asked about.
    registry.client.set_registered_model_alias(registered(name), "champion", "1")
    with pytest.raises(AliasDrift):
        registry.rollback(name)
    assert registry.rescue(name) is None


def test_where_nothing_is_left_it_is_said_and_nothing_is_written(registry, factory):
    name = factory.name()
    factory.base(name)
    registry.promote_to_champion(name)
    factory.base(name)
    registry.client.delete_model_version(registered(name), "1")
    with pytest.raises(NoRollbackTarget, match="deleted in MLflow") as refused:
        registry.rescue(name)
    assert "--keep mlflow" in refused.value.remedy
    assert len(registry.history(name)) == 1
    registry.client.set_registered_model_alias(registered(name), "champion", "2")
    registry.repair(name, "mlflow", reason="the only one left")
    assert registry.drift(name) == ()


def test_a_version_deleted_between_decision_and_alias_does_not_hold_up_the_rest(
    registry, plant, factory, monkeypatch
):
    name, twin = plant
    factory.base(name)
    factory.twin(name, 4)

    def deleted_meanwhile(client, info):
        if info.name == twin:
            client.delete_model_version(registered(twin), str(info.version))

    with monkeypatch.context() as patch:
        patch.setattr(
            "guardianflow.registry.rotation.release_reader.verify_version", deleted_meanwhile
        )
        with pytest.raises(VersionNotReady, match="deleted in MLflow meanwhile"):
            registry.promote_to_champion(name)
    assert aliases(registry, name)["champion"] == 4
    assert aliases(registry, twin)["champion"] == 3
    assert registry.release(name).inspect().head.interrupted is None
    registry.repair(name, "mlflow", reason="the twin of 4 was deleted")
    assert registry.drift(name) == ()


def test_the_mirror_shows_an_edited_tail_and_a_person_may_overrule_it(registry, plant):
    name, twin = plant
    base = registry.release(name).inspect().models[name]
    mirror = read_mirror(base)
    champions = {each: champion for each, (champion, _) in mirror.state.items()}
    assert (mirror.seq, champions) == (3, {name: 3, twin: 3})
    assert mirror.agrees(registry.release(name).inspect().models)
    edited = base.tags[HEAD_TAG].replace(mirror.digest, "0" * 16)
    registry.client.set_registered_model_tag(registered(name), HEAD_TAG, edited)
    with pytest.raises(LedgerDamaged, match="another operation 3"):
        registry.rollback(name)
    registry.repair(name, "ledger", reason="somebody edited the tag")
    assert registry.rollback(name).seq == 5
    # Older than the ledger is nobody's fault: a writer was killed before it.
    registry.client.set_registered_model_tag(registered(name), HEAD_TAG, edited)
    assert registry.release(name).refresh_mirror()
    assert not registry.release(name).refresh_mirror()
    registry.client.set_registered_model_tag(registered(name), HEAD_TAG, "no json")
    assert read_mirror(registry.release(name).inspect().models[name]) is None
    assert registry.release(name).refresh_mirror()


def test_a_champion_set_by_hand_on_a_name_that_never_had_one_is_adopted_or_refused(
    registry, factory
):
    name = factory.name()
    twin = f"{name}__openvino_int8"
    factory.base(name)
    registry.promote_to_champion(name)
    factory.twin(name, 1)
    for alias in ("champion", "rollback"):
        registry.client.set_registered_model_alias(registered(twin), alias, "1")
    count = len(registry.history(name))
    with pytest.raises(AliasDrift, match="--keep mlflow"):
        registry.repair(name, "ledger", reason="nobody promoted it")
    assert len(registry.history(name)) == count
    # As the refusal says: either take it away by hand, or accept it.
    registry.client.delete_registered_model_alias(registered(twin), "champion")
    registry.repair(name, "ledger", reason="nobody promoted it")
    assert aliases(registry, twin) == {"candidate": 1}
    registry.client.set_registered_model_alias(registered(twin), "champion", "1")
    registry.repair(name, "mlflow", reason="it may stay")
    assert registry.drift(name) == ()
    assert registry.get_champion(twin).version == 1


def test_a_way_back_that_was_adopted_says_from_what_it_was_made(registry, factory):
    name = factory.name()
    twin = f"{name}__openvino_int8"
    factory.base(name)
    registry.promote_to_champion(name)
    for _ in range(2):
        factory.twin(name, 1)
    for alias, version in (("champion", "2"), ("rollback", "1")):
        registry.client.set_registered_model_alias(registered(twin), alias, version)
    registry.repair(name, "mlflow", reason="done by hand in the night")
    done = registry.rollback(twin, reason="it is slow")
    assert done.after == {name: 1, twin: 1}
    # It was made from the champion: nobody is to be told that the floor runs an older model.
    assert not any("older model" in warning for warning in done.warnings)
