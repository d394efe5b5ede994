"""Rights on a real MLflow server with accounts: who may promote and roll back, and who may not."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient
from pydantic import BaseModel

from deployments.apply import main
from guardianflow.errors import PermissionDenied
from guardianflow.mlflow_store.client import connect
from guardianflow.mlflow_store.records import (
    ALARMS,
    HEALTH,
    PROMOTIONS,
    Draft,
    close_record,
    open_record,
)
from guardianflow.mlflow_store.rights import require_alias_rights
from guardianflow.mlflow_store.runs import read_run_text
from guardianflow.monitoring.drill import drill
from guardianflow.monitoring.reconciliation import reconcile
from guardianflow.monitoring.retention import delete_pictures, find_overdue
from guardianflow.names import ModelName
from guardianflow.promotion.evidence.pictures import DAYS_TAG, FOLDER, KEPT_TAG, UNTIL_METRIC
from guardianflow.promotion.examination import EVIDENCE_PAGE
from guardianflow.registry import ModelAlias, ModelRegistryManager
from guardianflow.registry.ledger.log import LEDGER_EXPERIMENT, known_bases, prepare_server
from guardianflow.registry.ledger.write_once import HOLDS_TAG
from testbed.servers import mlflow_server_on
from tests.integration.conftest import Factory

ACCOUNTS = ("engineer", "operator", "halfway")


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    """A server with accounts, on which nothing was set up for guardianflow yet."""
    folder = tmp_path_factory.mktemp("rights")
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{folder}/accounts.db\n"
        "admin_username = admin\n"
        f"admin_password = {password('admin')}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        # Without it every request hashes the password once more, which takes most of its time.
        "auth_cache_ttl_seconds = 600\n"
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test",
    }
    with mlflow_server_on(
        folder, options=("--app-name", "basic-auth"), environment=environment
    ) as server:
        yield server.uri


@dataclass
class Accounts:
    """Lets this process be one account after the other."""

    server: str
    monkeypatch: pytest.MonkeyPatch

    def become(self, account):
        self.monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", account)
        self.monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password(account))
        return ModelRegistryManager(self.server)


@pytest.fixture
def accounts(mlflow_server, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(tmp_path / "home"))
    return Accounts(mlflow_server, monkeypatch)


@pytest.fixture(scope="module")
def known_accounts(mlflow_server):
    """The accounts of the server, made by its administrator."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        Accounts(mlflow_server, monkeypatch).become("admin")
        auth = AuthServiceClient(mlflow_server)
        for account in ACCOUNTS:
            auth.create_user(account, password(account))


def password(account):
    return f"{account}-has-a-long-one"


def name_of(registry):
    """A name with a version that the engineer registered."""
    factory = Factory(registry)
    name = factory.name()
    factory.base(name)
    return name


def registered(name):
    return ModelName.parse(name).registered


def aliases(registry, name):
    return next(dict(m.aliases) for m in registry.list_models() if m.name == name)


def test_the_first_use_by_an_ordinary_account_makes_it_no_owner(accounts, known_accounts):
    engineer = accounts.become("engineer")
    name = name_of(engineer)
    for act in (engineer.promote_to_champion, lambda _: prepare_server(engineer.client)):
        with pytest.raises(PermissionDenied, match="no administrator") as refused:
            act(name)
        assert "deployments.apply --mlflow" in refused.value.remedy
    assert main(["--mlflow"]) == 3
    assert [e.name for e in engineer.client.search_experiments() if "guardianflow" in e.name] == []
    assert aliases(engineer, name) == {"candidate": 1}


@pytest.fixture(scope="module")
def prepared(mlflow_server, known_accounts):
    """The server as docs/install.md wants it: set up by the administrator, rights granted."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        admin = Accounts(mlflow_server, monkeypatch).become("admin")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
        assert main(["--mlflow"]) == 0
        auth = AuthServiceClient(mlflow_server)
        for experiment in (LEDGER_EXPERIMENT, PROMOTIONS, HEALTH, ALARMS):
            where = admin.client.get_experiment_by_name(experiment).experiment_id
            right = "MANAGE" if experiment == PROMOTIONS else "EDIT"
            auth.grant_user_permission("operator", "experiment", where, right)
            auth.grant_user_permission("halfway", "experiment", where, "EDIT")
        auth.grant_user_permission("operator", "registered_model", "*", "EDIT")


def test_an_account_without_the_ledger_moves_nothing_through_us(accounts, prepared):
    engineer = accounts.become("engineer")
    name = name_of(engineer)
    with pytest.raises(PermissionDenied, match="neither promote nor roll back") as refused:
        engineer.promote_to_champion(name)
    assert "EDIT on the experiment guardianflow.ledger" in refused.value.remedy
    assert aliases(engineer, name) == {"candidate": 1}
    assert ModelName.parse(name) not in known_bases(engineer.client)
    operator = accounts.become("operator")
    operator.promote_to_champion(name)
    engineer = accounts.become("engineer")
    Factory(engineer).base(name)
    operator = accounts.become("operator")
    operator.promote_to_champion(name)
    engineer = accounts.become("engineer")
    with pytest.raises(PermissionDenied, match="neither promote nor roll back"):
        engineer.rollback(name, reason="not mine to decide")
    assert aliases(engineer, name)[ModelAlias.CHAMPION] == 2
    assert [o.seq for o in engineer.history(name)] == [1, 2]
    assert engineer.drift(name) == ()


def test_pictures_of_a_promotion_are_deleted_by_who_may_manage_them(accounts, prepared, tmp_path):
    client = accounts.become("operator").client
    run_id = open_record(client, PROMOTIONS, str(uuid.uuid4()), "promote")
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "lost-1.jpg").write_bytes(b"a worker")
    (tmp_path / EVIDENCE_PAGE).write_text("![mask](http://mlflow/lost-1.jpg)")
    tags = {KEPT_TAG: "kept", DAYS_TAG: "30", "guardianflow.name": "a/b-c/d/e"}
    close_record(client, run_id, Page(), Draft(tmp_path, tags, {UNTIL_METRIC: 1.0}))
    halfway = accounts.become("halfway").client
    [overdue] = find_overdue(halfway, datetime.now(UTC))
    with pytest.raises(PermissionDenied):
        delete_pictures(halfway, overdue)
    operator = accounts.become("operator").client
    delete_pictures(operator, overdue)
    assert operator.list_artifacts(run_id, FOLDER) == []
    assert read_run_text(operator, run_id, EVIDENCE_PAGE) == "(deleted after 30 days)"


class Page(BaseModel):
    """A document of no content: the record is about its files."""


def test_an_operator_with_edit_alone_leads_the_whole_life(accounts, prepared):
    """Deleting an alias needs MANAGE: what cannot be taken away names the champion, and is none."""
    engineer = accounts.become("engineer")
    name = name_of(engineer)
    int8 = f"{name}__openvino_int8"
    Factory(engineer).twin(name, 1)
    assert accounts.become("operator").promote_to_champion(name).seq == 1
    for version in (2, 3):
        engineer = accounts.become("engineer")
        Factory(engineer).base(name)
        Factory(engineer).twin(name, version)
        accounts.become("operator").promote_to_champion(name)
    operator = accounts.become("operator")
    assert aliases(operator, int8) == {"champion": 3, "rollback": 2, "candidate": 3}
    assert operator.drift(name) == ()
    assert operator.rollback(name, reason="blind at night").changed
    assert operator.rollback(name, reason="blind by day").changed
    # There is no way further back, and @rollback could not be taken away.
    assert aliases(operator, int8) == {"champion": 1, "rollback": 1, "candidate": 3}
    assert operator.drift(name) == ()
    with pytest.raises(MlflowException) as denied:
        operator.client.delete_registered_model_alias(registered(name), "rollback")
    assert denied.value.error_code == "PERMISSION_DENIED"
    assert operator.promote_to_champion(name, 3, force=True, reason="it was the lamp").changed
    assert aliases(operator, int8) == {"champion": 3, "rollback": 1, "candidate": 3}
    assert operator.drift(name) == ()


def test_what_is_moved_by_hand_is_found_and_mended_by_an_operator(accounts, prepared):
    engineer = accounts.become("engineer")
    name = name_of(engineer)
    accounts.become("operator").promote_to_champion(name)
    engineer = accounts.become("engineer")
    Factory(engineer).base(name)
    # The engineer owns the model: MLflow lets its owner move every alias.
    engineer.client.set_registered_model_alias(registered(name), "champion", "2")
    (found,) = engineer.drift(name)
    assert (found.alias, found.expected, found.actual) == (ModelAlias.CHAMPION, 1, 2)
    with pytest.raises(PermissionDenied):
        engineer.repair(name, "mlflow", reason="I want it so")
    operator = accounts.become("operator")
    assert [f.code for f in reconcile(operator, ModelName.parse(name)).alarms] == ["champion-moved"]
    operator.repair(name, "ledger", reason="moved by hand")
    assert aliases(operator, name)["champion"] == 1


def test_an_account_that_could_only_begin_is_told_before(accounts, prepared):
    engineer = accounts.become("engineer")
    name = ModelName.parse(name_of(engineer))
    for account in ("engineer", "operator", "admin"):
        require_alias_rights(accounts.become(account).client, [name])
    with pytest.raises(PermissionDenied, match=f"halfway has READ on {name}"):
        require_alias_rights(accounts.become("halfway").client, [name])
    # It may write the ledger: what is decided there would have to come to its end.
    with pytest.raises(PermissionDenied, match=f"halfway has READ on {name}"):
        accounts.become("halfway").promote_to_champion(name)
    assert accounts.become("operator").history(name) == []


def test_who_may_write_a_variant_alone_moves_its_champion(accounts, prepared):
    """The mirror, which comes first, stands on the base."""
    engineer = accounts.become("engineer")
    name = name_of(engineer)
    int8 = f"{name}__openvino_int8"
    Factory(engineer).twin(name, 1)
    accounts.become("operator").promote_to_champion(name)
    Factory(accounts.become("engineer")).twin(name, 1)
    accounts.become("admin")
    auth = AuthServiceClient(accounts.server)
    auth.grant_user_permission("halfway", "registered_model", registered(int8), "EDIT")
    halfway = accounts.become("halfway")
    with pytest.raises(PermissionDenied, match=r"Operation 2 .* is decided, but not all"):
        halfway.promote_to_champion(int8)
    assert aliases(halfway, int8)["champion"] == 2
    operator = accounts.become("operator")
    assert "was interrupted" in operator.promote_to_champion(int8).message
    assert operator.drift(name) == ()


def test_a_drill_says_who_could_not_roll_back(accounts, prepared):
    name = name_of(accounts.become("engineer"))
    accounts.become("operator").promote_to_champion(name)
    Factory(accounts.become("engineer")).base(name)
    accounts.become("operator").promote_to_champion(name)
    # These models are a few bytes: none of them loads, whoever asks.
    for account, stopped in (
        ("engineer", ["load", "ledger"]),
        ("halfway", ["load", "ledger", "write"]),
        ("operator", ["load"]),
    ):
        report = drill(accounts.become(account), ModelName.parse(name))
        assert [step.step for step in report.failures] == stopped, account
    operator = accounts.become("operator")
    assert [o.seq for o in operator.history(name)] == [1, 2]
    assert operator.drift(name) == ()


def test_an_operator_tries_out_a_new_version_of_mlflow(accounts, prepared):
    """The check needs no right beside EDIT on the ledger; its run stays where it may not delete."""
    engineer = accounts.become("engineer")
    name = name_of(engineer)
    admin = accounts.become("admin")
    where = admin.client.get_experiment_by_name(LEDGER_EXPERIMENT)
    (outcome,) = (key for key in where.tags if key.startswith(HOLDS_TAG))
    admin.client.delete_experiment_tag(where.experiment_id, outcome)
    with pytest.raises(PermissionDenied, match="not been checked"):
        accounts.become("engineer").promote_to_champion(name)
    operator = accounts.become("operator")
    assert operator.promote_to_champion(name).seq == 1
    assert outcome in operator.client.get_experiment_by_name(LEDGER_EXPERIMENT).tags


def test_an_operator_cannot_delete_the_ledger(accounts, prepared):
    operator = accounts.become("operator")
    where = operator.client.get_experiment_by_name(LEDGER_EXPERIMENT)
    for act in (
        lambda: operator.client.delete_experiment(where.experiment_id),
        lambda: operator.client.delete_run(where.tags["guardianflow.index_run"]),
    ):
        with pytest.raises(MlflowException) as denied:
            act()
        assert denied.value.error_code == "PERMISSION_DENIED"


def test_a_wrong_password_is_told_as_one(accounts, known_accounts, monkeypatch):
    accounts.become("operator")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(PermissionDenied, match="MLflow server http"):
        ModelRegistryManager(accounts.server)
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    with pytest.raises(PermissionDenied, match="MLflow server http"):
        connect(accounts.server)
