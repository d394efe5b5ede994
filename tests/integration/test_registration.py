"""Registration on a real MLflow server: exactly once, of verified files, with a source that fits.

Killing it before and after every write is the business of the fault harness.
"""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from benchmarks.http_calls import recorded
from guardianflow.errors import (
    ArtifactMissing,
    InputError,
    ModelUnknown,
    VersionNotReady,
    VersionQuarantined,
)
from guardianflow.names import ModelName
from guardianflow.registry import ModelAlias, ModelRegistryManager
from guardianflow.registry.rotation.aliases import set_candidate
from testbed.runs import make_run
from tests.integration.release_kit import files_on_server, set_status_in_database

FILES = {"MLmodel": b"{}", "artifacts/ir/model.bin": b"weights"}


def aliases(registry, name):
    found = (dict(m.aliases) for m in registry.list_models() if m.name == name)
    return next(found, None)


def registered(name):
    return ModelName.parse(name).registered


def numbers(registry, name):
    return [version.version for version in registry.list_versions(name)]


def variant(registry, name, run_id, **tags):
    """Register a run as the INT8 variant of version 1."""
    said = {"guardianflow.source_version": "1"} | {k.replace("__", "."): v for k, v in tags.items()}
    return registry.register_model(run_id, "model", f"{name}__openvino_int8", tags=said)


def test_a_registration_offers_a_verified_version_and_repeats_to_the_same(registry, factory):
    name, run_id = factory.name(), factory.run({"MLmodel": b"{}", "artifacts/ir/a.bin": b"abc"})
    info = registry.register_model(run_id, "model", name, tags={"guardianflow.scenario": "x"})
    again = registry.register_model(run_id, "model", registered(name))
    assert (again.version, again.run_id, again.aliases) == (1, run_id, ("candidate",))
    assert info.tags["guardianflow.size.artifacts/ir/a.bin"] == "3"
    assert info.tags["guardianflow.sha256.artifacts/ir/a.bin"].startswith("ba7816bf")
    assert info.tags["guardianflow.scenario"] == "x"
    assert [v.version for v in registry.list_versions(name)] == [1]
    summary = next(m for m in registry.list_models() if m.name == name)
    assert summary.tags["guardianflow.customer"] == "test"
    folder = registry.download(name, 1)
    assert (folder / "artifacts/ir/a.bin").read_bytes() == b"abc"
    assert registry.download(name, 1) == folder


def test_raw_weights_become_a_model_that_holds_them(registry, factory):
    name = factory.name()
    run_id = make_run(registry.client, {"weights/best.pt": b"weights"}, model=False)
    info = registry.register_model(run_id, "weights/best.pt", name)
    assert (registry.download(name, info.version) / "best.pt").read_bytes() == b"weights"
    assert registry.register_model(run_id, "weights/best.pt", name).version == info.version
    folder = registry.register_model(run_id, "weights", name)
    assert (registry.download(name, folder.version) / "best.pt").is_file()


def test_what_a_run_does_not_hold_is_not_registered(registry, factory):
    name = factory.name()
    with pytest.raises(ArtifactMissing, match="nothing-here"):
        registry.register_model(factory.run(), "nothing-here", name)
    with pytest.raises(VersionNotReady, match="no MLflow run"):
        registry.register_model("0" * 32, "model", name)
    with pytest.raises(InputError, match="@champion"):
        registry.register_model(factory.run(), "model", name, alias=ModelAlias.CHAMPION)
    with pytest.raises(ModelUnknown):
        registry.list_versions(name)


def test_a_variant_knows_its_source(registry, factory):
    name = factory.name()
    base = factory.base(name)
    twin = factory.twin(name, 1)
    assert twin.source_version == 1
    assert twin.tags["source_run_id"] == base.run_id
    assert (twin.tags["backend"], twin.tags["precision"]) == ("openvino", "int8")
    with pytest.raises(VersionNotReady, match="no version 7"):
        factory.twin(name, 7)
    with pytest.raises(InputError, match="source_version"):
        registry.register_model(factory.run(), "model", f"{name}__openvino_int8")


def test_a_registration_never_takes_candidate_from_a_newer_or_a_used_version(registry, factory):
    name, first, second = factory.name(), factory.run(), factory.run()
    registry.register_model(first, "model", name)
    registry.register_model(second, "model", name)
    assert registry.register_model(first, "model", name).aliases == ()
    registry.promote_to_champion(name)
    assert registry.register_model(second, "model", name).aliases == ("champion",)
    assert aliases(registry, name) == {"champion": 2}


def test_of_two_registrations_at_once_the_newer_waits(registry, factory, monkeypatch):
    name, newer_run = factory.name(), factory.run()
    other = ModelRegistryManager(registry.client.tracking_uri)

    def overtaken(client, model, version):
        """The other registration runs as a whole between this one's look and its write."""
        monkeypatch.setattr("guardianflow.registry.registration.set_candidate", set_candidate)
        assert other.register_model(newer_run, "model", name).aliases == ("candidate",)
        set_candidate(client, model, version)

    monkeypatch.setattr("guardianflow.registry.registration.set_candidate", overtaken)
    assert factory.base(name).aliases == ()
    assert aliases(registry, name) == {"candidate": 2}


def test_what_a_promotion_takes_away_at_the_same_moment_waits_again(registry, factory, monkeypatch):
    name, other = factory.name(), ModelRegistryManager(registry.client.tracking_uri)
    factory.base(name)

    def overtaken(client, model, version):
        """A promotion that saw version 1 wait takes @candidate away after version 2 has it."""
        monkeypatch.setattr("guardianflow.registry.registration.set_candidate", set_candidate)
        other.promote_to_champion(name, 1)
        set_candidate(client, model, version)
        client.delete_registered_model_alias(registered(name), ModelAlias.CANDIDATE)

    monkeypatch.setattr("guardianflow.registry.registration.set_candidate", overtaken)
    assert factory.base(name).aliases == ("candidate",)
    assert aliases(registry, name) == {"candidate": 2, "champion": 1}


def test_a_version_that_was_promoted_at_the_same_moment_waits_no_more(
    registry, factory, monkeypatch
):
    name, other = factory.name(), ModelRegistryManager(registry.client.tracking_uri)

    def overtaken(client, model, version):
        monkeypatch.setattr("guardianflow.registry.registration.set_candidate", set_candidate)
        set_candidate(client, model, version)
        other.promote_to_champion(name)

    monkeypatch.setattr("guardianflow.registry.registration.set_candidate", overtaken)
    assert factory.base(name).aliases == ("champion",)
    assert aliases(registry, name) == {"champion": 1}


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("source_run_id", "0" * 32),
        ("guardianflow__source_run_id", "0" * 32),
        ("backend", "onnx"),
        ("guardianflow__precision", "fp16"),
        ("guardianflow__name", "another/plant-1/zone/task"),
        ("guardianflow__status", "champion"),
        ("guardianflow__register_token", "mine"),
        ("guardianflow__sha256.MLmodel", "0" * 64),
        ("guardianflow__size.MLmodel", "2"),
    ],
)
def test_a_tag_that_cannot_be_true_is_refused(registry, factory, tag, value):
    name = factory.name()
    factory.base(name)
    with pytest.raises(InputError, match=tag.replace("__", r"\.")):
        variant(registry, name, factory.run(), **{tag: value})
    assert aliases(registry, f"{name}__openvino_int8") is None


def test_tags_that_are_true_are_taken(registry, factory):
    name = factory.name()
    base = factory.base(name)
    said = {"source_run_id": base.run_id, "guardianflow__source_run_id": base.run_id}
    info = variant(registry, name, factory.run(), **said, backend="openvino", note="kept")
    assert (info.tags["source_run_id"], info.tags["note"]) == (base.run_id, "kept")
    with pytest.raises(InputError, match="is a base"):
        registry.register_model(
            factory.run(), "model", name, tags={"guardianflow.source_version": "1"}
        )


@pytest.mark.parametrize("tag", ["source_run_id", "source_version"])
def test_what_was_quantized_from_another_base_does_not_become_a_variant_of_this_one(
    registry, factory, tag
):
    name, other = factory.name(), factory.name()
    factory.base(name)
    theirs = {"source_run_id": factory.base(other).run_id, "source_version": "2"}
    run_id = factory.run()
    registry.client.set_tag(run_id, f"guardianflow.{tag}", theirs[tag])
    with pytest.raises(InputError, match="made from another source"):
        variant(registry, name, run_id)
    assert aliases(registry, f"{name}__openvino_int8") is None


def test_a_source_that_was_deleted_or_never_finished_is_refused(registry, factory, mlflow_folder):
    name = factory.name()
    factory.base(name)
    set_status_in_database(mlflow_folder, name, 1)
    with pytest.raises(VersionNotReady, match="not READY"):
        variant(registry, name, factory.run())
    registry.client.delete_model_version(registered(name), "1")
    with pytest.raises(VersionNotReady, match="no version 1"):
        variant(registry, name, factory.run())
    assert aliases(registry, f"{name}__openvino_int8") is None


def test_a_quarantined_source_may_be_quantized_again_but_not_promoted_without_force(
    registry, factory, caplog
):
    name = factory.name()
    for _ in range(2):
        factory.base(name)
        registry.promote_to_champion(name)
    registry.rollback(name, reason="the variant was blind")
    int8 = factory.twin(name, 2)
    assert "is quarantined" in caplog.text
    assert int8.aliases == ("candidate",)
    for asked in (name, int8.name):
        with pytest.raises(VersionQuarantined):
            registry.promote_to_champion(asked)
    registry.promote_to_champion(int8.name, force=True, reason="quantized again")
    assert aliases(registry, name)["champion"] == 2
    assert aliases(registry, int8.name)["champion"] == 1


def test_a_model_whose_upload_was_never_finished_is_refused(registry, factory):
    client, run_id = registry.client, make_run(registry.client, FILES, model=False)
    experiment = client.get_run(run_id).info.experiment_id
    client.create_logged_model(experiment, name="model", source_run_id=run_id)
    with pytest.raises(VersionNotReady, match="PENDING, not READY"):
        registry.register_model(run_id, "model", factory.name())
    # A wrapping of plain artifacts that was killed is nobody's, and is done again.
    half = {"guardianflow.artifact_path": "artifacts"}
    client.create_logged_model(experiment, name="artifacts", source_run_id=run_id, tags=half)
    info = registry.register_model(run_id, "artifacts", factory.name())
    assert (registry.download(info.name, 1) / "ir/model.bin").read_bytes() == b"weights"


def test_no_alias_is_set_before_the_files_were_read_from_the_server(registry, factory):
    name, run_id = factory.name(), factory.run()
    with recorded() as calls:
        registry.register_model(run_id, "model", name)
    kinds = []
    for call in calls:
        if call.method == "GET" and call.path.endswith("model.bin"):
            kinds.append("file")
        elif call.method != "GET":
            kinds.append("/".join(call.path.split("/")[-2:]))
    found = [kind for kind in kinds if kind != "logged-models/search"]
    assert found == [
        *("file", "registered-models/create", "model-versions/create"),
        *("file", "registered-models/alias"),
    ]


def test_files_that_change_between_fetch_and_registration_are_no_candidate(
    registry, factory, monkeypatch, mlflow_folder
):
    name, run_id = factory.name(), factory.run()
    create = registry.client.create_model_version

    def meddle(*arguments, **options):
        made = create(*arguments, **options)
        file = files_on_server(registry, mlflow_folder, name, 1) / "artifacts/ir/model.bin"
        file.write_bytes(b"poison!")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(registry.client, "create_model_version", meddle)
        with pytest.raises(ArtifactMissing, match=r"model\.bin differs"):
            registry.register_model(run_id, "model", name)
    with pytest.raises(ArtifactMissing, match=r"model\.bin differs"):
        registry.register_model(run_id, "model", name)
    assert aliases(registry, name) == {}
    file = files_on_server(registry, mlflow_folder, name, 1) / "artifacts/ir/model.bin"
    file.write_bytes(b"weights")
    assert registry.register_model(run_id, "model", name).aliases == ("candidate",)
    assert numbers(registry, name) == [1]


def test_a_version_that_was_deleted_is_registered_anew_under_a_new_number(registry, factory):
    name, run_id = factory.name(), factory.run()
    registry.register_model(run_id, "model", name)
    registry.client.delete_model_version(registered(name), "1")
    again = registry.register_model(run_id, "model", name)
    assert (again.version, again.aliases) == (2, ("candidate",))
    assert numbers(registry, name) == [2]


def test_a_deleted_model_never_gives_a_number_of_production_to_anything_else(registry, factory):
    name = factory.name()
    for _ in range(3):
        factory.base(name)
        registry.promote_to_champion(name)
    registry.rollback(name)
    registry.client.delete_registered_model(registered(name))
    # MLflow counts from 1 again; 1 to 3 are in the ledger, good and bad.
    info = factory.base(name)
    assert (info.version, info.aliases) == (4, ("candidate",))
    assert numbers(registry, name) == [4]


def twice(client, patch):
    """Let the next creation of a version be done twice, as the repeat of a lost answer does."""
    create = client.create_model_version

    def repeated(*arguments, **options):
        patch.setattr(client, "create_model_version", create)
        create(*arguments, **options)
        return create(*arguments, **options)

    patch.setattr(client, "create_model_version", repeated)


def test_a_repeat_of_a_lost_answer_is_removed(registry, factory, monkeypatch):
    name, run_id = factory.name(), factory.run()
    with monkeypatch.context() as patch:
        twice(registry.client, patch)
        info = registry.register_model(run_id, "model", name)
    assert (info.version, info.aliases) == (1, ("candidate",))
    assert numbers(registry, name) == [1]


def late_repeat(registry, name, version):
    """The request of a registration comes once more, after everybody has looked."""
    info = registry.get_version(name, version)
    source = registry.client.get_model_version(registered(name), str(version)).source
    made = registry.client.create_model_version(
        registered(name),
        source=source,
        run_id=info.run_id,
        tags=dict(info.tags),
        model_id=source.removeprefix("models:/"),
    )
    return int(made.version)


def test_a_repeat_that_comes_late_never_carries_an_alias(registry, factory, monkeypatch):
    name, first = factory.name(), factory.run()
    registry.register_model(first, "model", name)

    def overtaken(client, model, version):
        """The late repeat comes between another registration's look and its write."""
        monkeypatch.setattr("guardianflow.registry.registration.set_candidate", set_candidate)
        assert late_repeat(registry, name, 1) == 3
        set_candidate(client, model, version)

    monkeypatch.setattr("guardianflow.registry.registration.set_candidate", overtaken)
    assert factory.base(name).version == 2
    assert aliases(registry, name) == {"candidate": 2}
    assert registry.register_model(first, "model", name).version == 1
    assert numbers(registry, name) == [1, 2]
    assert aliases(registry, name) == {"candidate": 2}


def test_a_repeat_that_a_person_put_into_production_stays_there(registry, factory):
    name, run_id = factory.name(), factory.run()
    registry.register_model(run_id, "model", name)
    repeat = late_repeat(registry, name, 1)
    registry.promote_to_champion(name, repeat)
    info = registry.register_model(run_id, "model", name)
    assert (info.version, info.aliases) == (2, ("champion",))
    assert aliases(registry, name)["champion"] == 2
    assert numbers(registry, name) == [2]


def test_a_repeat_that_may_not_be_removed_is_marked_and_left_alone(registry, factory, monkeypatch):
    name, run_id = factory.name(), factory.run()

    def forbidden(*_arguments):
        raise MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with monkeypatch.context() as patch:
        twice(registry.client, patch)
        patch.setattr(registry.client, "delete_model_version", forbidden)
        assert registry.register_model(run_id, "model", name).version == 1
        assert registry.register_model(run_id, "model", name).version == 1
    assert registry.get_version(name, 2).status == "duplicate"
    assert aliases(registry, name) == {"candidate": 1}


def test_the_same_registration_by_several_at_once_is_one_version(registry, factory, mlflow_server):
    name, run_id = factory.name(), factory.run()
    together = [ModelRegistryManager(mlflow_server) for _ in range(4)]
    with ThreadPoolExecutor(len(together)) as pool:
        made = list(pool.map(lambda one: one.register_model(run_id, "model", name), together))
    assert {info.version for info in made} == {1}
    assert numbers(registry, name) == [1]
    assert aliases(registry, name) == {"candidate": 1}


def test_different_registrations_at_once_are_all_kept_and_the_newest_waits(
    registry, factory, mlflow_server
):
    name, run_id = factory.name(), factory.run()
    together = [(ModelRegistryManager(mlflow_server), uuid.uuid4().hex) for _ in range(4)]
    with ThreadPoolExecutor(len(together)) as pool:
        made = list(
            pool.map(lambda o: o[0].register_model(run_id, "model", name, token=o[1]), together)
        )
    assert sorted(info.version for info in made) == numbers(registry, name) == [1, 2, 3, 4]
    assert aliases(registry, name) == {"candidate": 4}
