"""The blocks on a real Prefect API: Prefect's own suite, seeds, and no secret shown."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from blocks import ApprovalPolicy, MlflowCredentials, ScenarioConfig
from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from blocks.saved import default_credentials
from deployments import seeds as seeding
from deployments.apply import main
from deployments.seeds import apply_blocks
from flows.registry_access import mirror_policy
from flows.scenario_blocks import limits_in_blocks, load_config, today_in_blocks
from guardianflow.errors import InputError, ScenarioInvalid
from guardianflow.promotion.approval.policy import ApprovalRule
from guardianflow.scenario.file import load_spec

SECRET = "planted-7c1f-secret"


class _Suite(BlockStandardTestSuite):
    @pytest.mark.skip(reason="Prefect's logo test downloads a picture; factories are air-gapped")
    def test_has_a_valid_image(self, block):
        raise NotImplementedError


class TestMlflowCredentials(_Suite):
    @pytest.fixture
    def block(self):
        return MlflowCredentials


class TestScenarioConfig(_Suite):
    @pytest.fixture
    def block(self):
        return ScenarioConfig


class TestApprovalPolicy(_Suite):
    @pytest.fixture
    def block(self):
        return ApprovalPolicy


@pytest.fixture
def seeds(prefect_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5999")
    for variable in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{variable}", raising=False)
    apply_blocks(force=True)
    return prefect_server


def documents(client, *, include_secrets=False):
    return client.request(
        "POST", "/block_documents/filter", json={"include_secrets": include_secrets}
    ).text


def test_credentials_point_the_environment_at_the_server_and_account():
    credentials = MlflowCredentials(
        tracking_uri="http://127.0.0.1:5000/", username="kim", password=SECRET
    )
    assert credentials.environment() == {
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
        "MLFLOW_TRACKING_USERNAME": "kim",
        "MLFLOW_TRACKING_PASSWORD": SECRET,
    }


@pytest.mark.parametrize(
    "values",
    [
        {"tracking_uri": f"http://kim:{SECRET}@mlflow:5000"},
        {"tracking_uri": "sqlite:///mlflow.db"},
        {"tracking_uri": "http://mlflow:5000", "username": "kim"},
        {
            "tracking_uri": "http://mlflow:5000",
            "username": "kim",
            "password": SECRET,
            "token": SECRET,
        },
    ],
)
def test_credentials_that_cannot_work_are_refused(values):
    with pytest.raises(ValidationError) as refused:
        MlflowCredentials(**values)
    assert SECRET not in str(refused.value)


def test_credentials_give_a_client_that_lists_models(mlflow_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    client = MlflowCredentials(tracking_uri=mlflow_server).get_client()
    assert isinstance(client.search_registered_models(max_results=1), list)


def test_a_planted_secret_is_in_no_answer_that_does_not_ask_for_secrets(prefect_server):
    credentials = MlflowCredentials(
        tracking_uri="http://127.0.0.1:5000", username="kim", password=SECRET
    )
    credentials.save("planted", overwrite=True)
    stored = MlflowCredentials.load("planted")
    spec = load_spec("donghwa-entec-ppe").model_dump(mode="json")
    ScenarioConfig(**spec, credentials=stored).save("planted-scenario", overwrite=True)
    with get_client(sync_client=True) as client:
        assert SECRET not in documents(client)
        for path in ("/block_types/filter", "/block_schemas/filter", "/flow_runs/filter"):
            assert SECRET not in client.request("POST", path, json={}).text
        # The other way round: the search would have found it where it is.
        assert SECRET in documents(client, include_secrets=True)
    assert SECRET not in repr(stored)
    loaded = ScenarioConfig.load("planted-scenario")
    assert SECRET not in repr(loaded)
    assert loaded.credentials.environment()["MLFLOW_TRACKING_PASSWORD"] == SECRET


def test_a_scenario_block_holds_what_the_file_says(seeds):
    for path in sorted(Path("scenarios").glob("*.yaml")):
        assert ScenarioConfig.load(path.stem).spec() == load_spec(path.stem)


def test_seeds_applied_twice_change_nothing(seeds, capsys):
    with get_client(sync_client=True) as client:
        before = documents(client, include_secrets=True)
        capsys.readouterr()
        apply_blocks(force=False)
        assert documents(client, include_secrets=True) == before
    assert capsys.readouterr().out == ""


def test_an_edited_block_is_kept_and_the_difference_shown(seeds, capsys):
    edited = ScenarioConfig.load("donghwa-entec-ppe")
    edited.common["gate"] = {"min_map50": 0.77}
    edited.save("donghwa-entec-ppe", overwrite=True)
    apply_blocks(force=False)
    said = capsys.readouterr().out
    assert "common.gate.min_map50: server 0.77, file 0.6" in said
    assert ScenarioConfig.load("donghwa-entec-ppe").spec().version("v1").gate.min_map50 == 0.77
    apply_blocks(force=True)
    assert ScenarioConfig.load("donghwa-entec-ppe").spec() == load_spec("donghwa-entec-ppe")


def test_a_policy_that_was_edited_is_never_overwritten(seeds):
    rules = [ApprovalRule(models="donghwa-entec/*", approvals_needed=2, proof="totp")]
    ApprovalPolicy(rules=rules).save(POLICY_DOCUMENT, overwrite=True)
    apply_blocks(force=True)
    assert ApprovalPolicy.load(POLICY_DOCUMENT).rules == rules
    ApprovalPolicy.delete(POLICY_DOCUMENT)
    apply_blocks(force=False)
    assert ApprovalPolicy.load(POLICY_DOCUMENT).rules == []


def test_credentials_move_only_from_the_address_that_was_ours(seeds, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:6001")
    apply_blocks(force=False, former_mlflow="http://127.0.0.1:4444")
    assert MlflowCredentials.load(DEFAULT_DOCUMENT).tracking_uri == "http://127.0.0.1:5999"
    assert "kept" in capsys.readouterr().out
    apply_blocks(force=False, former_mlflow="http://127.0.0.1:5999")
    assert MlflowCredentials.load(DEFAULT_DOCUMENT).tracking_uri == "http://127.0.0.1:6001"


def test_the_account_of_one_server_is_not_sent_to_another(seeds, monkeypatch, capsys):
    block = MlflowCredentials(tracking_uri="http://old:5000", username="kim", password=SECRET)
    block.save(DEFAULT_DOCUMENT, overwrite=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://new:5000")
    apply_blocks(force=True)
    assert "http://old:5000 -> http://new:5000, no account" in capsys.readouterr().out
    moved = MlflowCredentials.load(DEFAULT_DOCUMENT)
    assert moved.environment() == {"MLFLOW_TRACKING_URI": "http://new:5000"}


@pytest.mark.parametrize(
    ("variable", "value", "there"),
    [
        ("URI", f"http://kim:{SECRET}@mlflow:5000", True),
        ("URI", f"http://kim:{SECRET}@mlflow:5000", False),
        ("PASSWORD", SECRET, False),
    ],
)
def test_applying_with_a_secret_in_the_wrong_place_is_refused_without_it(
    seeds, monkeypatch, capsys, variable, value, there
):
    if not there:
        monkeypatch.setattr(seeding, "DEFAULT_DOCUMENT", "absent")
    monkeypatch.setenv(f"MLFLOW_TRACKING_{variable}", value)
    monkeypatch.setenv("PREFECT_API_URL", seeds)
    assert main([]) == 2
    said = capsys.readouterr()
    assert "MLFLOW_TRACKING_USERNAME" in said.err
    assert SECRET not in said.out + said.err


def test_a_wrong_value_in_a_block_is_named(seeds):
    edited = ScenarioConfig.load("donghwa-entec-ppe")
    edited.versions["v1"] = {"training": {"epoch": 3}}
    with pytest.raises(ScenarioInvalid, match=r"training\.epoch"):
        edited.spec()


WRONG = {
    "scenario-config": ("donghwa-entec-ppe", {"name": "No Name"}, "name: "),
    "approval-policy": (POLICY_DOCUMENT, {"rules": [{"approvals_needed": 0}]}, "rules.0."),
    "mlflow-credentials": (DEFAULT_DOCUMENT, {"username": SECRET}, "user and password"),
}


@pytest.fixture
def spoilt(seeds):
    """Blocks as somebody may leave them: the server does not check what its UI saves."""
    with get_client(sync_client=True) as client:
        for kind, (document, data, _) in WRONG.items():
            block = client.read_block_document_by_name(document, kind)
            client.request("PATCH", f"/block_documents/{block.id}", json={"data": data})
    yield
    ApprovalPolicy.delete(POLICY_DOCUMENT)


def test_a_block_that_cannot_be_used_is_named_with_what_is_wrong_in_it(spoilt):
    for (document, _, said), read in zip(
        WRONG.values(),
        (
            lambda: load_config("donghwa-entec-ppe"),
            lambda: mirror_policy(None),
            default_credentials,
        ),
        strict=True,
    ):
        with pytest.raises(InputError, match=f"block {document} cannot be used: .*{said}") as wrong:
            read()
        assert SECRET not in str(wrong.value)
    # A promotion is not judged by what was recorded where somebody has set other limits.
    with pytest.raises(ScenarioInvalid):
        today_in_blocks("donghwa-entec-ppe", "v1")
    assert limits_in_blocks("donghwa-entec-ppe", "v1") is None


def test_seeds_take_the_place_of_blocks_that_cannot_be_used_only_with_force(spoilt, capsys):
    with pytest.raises(InputError, match=f"block {DEFAULT_DOCUMENT} cannot be used"):
        apply_blocks(force=False)
    apply_blocks(force=True)
    assert load_config("donghwa-entec-ppe").spec() == load_spec("donghwa-entec-ppe")
    assert default_credentials().username is None
    said = capsys.readouterr().out
    assert f"block {POLICY_DOCUMENT} cannot be used" in said
    assert SECRET not in said
    with pytest.raises(InputError, match=POLICY_DOCUMENT):
        mirror_policy(None)


@pytest.mark.parametrize("named", [True, False])
def test_the_seed_of_a_scenario_that_cannot_be_used_has_its_credentials(seeds, capsys, named):
    name = "donghwa-entec-ppe"
    MlflowCredentials(tracking_uri="http://127.0.0.1:5998").save("of-a-line", overwrite=True)
    edited = ScenarioConfig.load(name)
    edited.credentials = MlflowCredentials.load("of-a-line")
    edited.save(name, overwrite=True)
    with get_client(sync_client=True) as client:
        block = client.read_block_document_by_name(name, "scenario-config")
        # As the UI saves it.
        reference = {"$ref": {"block_document_id": str(edited.credentials._block_document_id)}}
        data = {"name": "No Name"} | ({"credentials": reference} if named else {})
        client.request("PATCH", f"/block_documents/{block.id}", json={"data": data})
    capsys.readouterr()
    apply_blocks(force=True)
    kept = load_config(name)
    assert kept.spec() == load_spec(name)
    assert kept.credentials._block_document_name == ("of-a-line" if named else DEFAULT_DOCUMENT)
    said = capsys.readouterr().out
    kept = "its credentials are kept" if named else f"now with those of {DEFAULT_DOCUMENT}"
    assert f"overwritten, {kept}" in said
    assert "created block" not in said


def test_one_scenario_that_cannot_be_used_keeps_no_other_one_away(seeds, capsys):
    ScenarioConfig.delete("openyard-helmets")
    with get_client(sync_client=True) as client:
        block = client.read_block_document_by_name("donghwa-entec-ppe", "scenario-config")
        data = {"data": {"name": "No Name"}}
        client.request("PATCH", f"/block_documents/{block.id}", json=data)
    apply_blocks(force=False)
    assert "Kept as it is (--force overwrites it)" in capsys.readouterr().out
    assert load_config("openyard-helmets").spec() == load_spec("openyard-helmets")
    with pytest.raises(ScenarioInvalid):
        load_config("donghwa-entec-ppe")
