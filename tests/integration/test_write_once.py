"""Whether params stay as first written: tried on real backends, and on backends that cheat."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from mlflow.entities import ViewType

from guardianflow.errors import BackendUnfit
from guardianflow.mlflow_store.client import connect
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.log import LEDGER_EXPERIMENT, prepare_server
from guardianflow.registry.ledger.write_once import FAILS_TAG, HOLDS_TAG
from testbed.servers import MlflowServer, mlflow_server_on
from tests.integration.conftest import Factory

CHEATS = {
    # What it does with a second value; what the check says of it.
    "the last writer wins": "writers were told|values of one param",
    "the last writer wins, and is told that it lost": "values of one param|changed|to have won",
    "long values are cut": "came back as 500",
    "nothing is kept": "writers were told",
    "the same value again is refused": "refused the second time",
    "a second value is ignored": "writers were told",
}


class Cheat(ThreadingHTTPServer):
    """A server in front of MLflow that keeps params itself, and not as MLflow does."""

    daemon_threads = True

    def __init__(self, upstream, way):
        super().__init__(("127.0.0.1", 0), Passing)
        self.upstream, self.way = upstream, way
        self.params, self.lock, self.writes = {}, threading.Lock(), 0
        self.uri = f"http://127.0.0.1:{self.server_port}"

    def write(self, run_id, key, value):
        """Whether the writer is told that its value was taken."""
        with self.lock:
            self.writes += 1
            params = self.params.setdefault(run_id, {})
            known = params.get(key)
            if self.way == "nothing is kept":
                return True
            if self.way == "long values are cut":
                value = value[:500]
            if known is None:
                params[key] = value
                return True
            if self.way.startswith("the last writer wins"):
                params[key] = value
                return known == value or self.way == "the last writer wins"
            if self.way == "a second value is ignored":
                return True
            return known == value and self.way != "the same value again is refused"


class Passing(BaseHTTPRequestHandler):
    """Passes everything on, but for params."""

    protocol_version = "HTTP/1.1"
    server: Cheat

    def do_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path.endswith("/runs/log-parameter"):
            asked = json.loads(body)
            taken = self.server.write(asked["run_id"], asked["key"], asked["value"])
            refused = {"error_code": "INVALID_PARAMETER_VALUE", "message": "it has a value"}
            return self.answer(200 if taken else 400, json.dumps({} if taken else refused).encode())
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        found = requests.request(
            self.command, self.server.upstream + self.path, data=body, headers=headers, timeout=60
        )
        content = found.content
        if url.path.endswith("/runs/get") and found.ok:
            answer = found.json()
            run_id = parse_qs(url.query)["run_id"][0]
            kept = self.server.params.get(run_id, {})
            answer["run"]["data"]["params"] = [{"key": k, "value": v} for k, v in kept.items()]
            content = json.dumps(answer).encode()
        return self.answer(found.status_code, content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_any  # noqa: N815 the base class's names

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        return


@contextmanager
def cheating(upstream, way):
    server = Cheat(upstream, way)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    """A server of these tests alone: whether it is fit is kept on it."""
    with mlflow_server_on(tmp_path_factory.mktemp("write-once")) as server:
        yield server.uri


def tags(client):
    return client.get_experiment_by_name(LEDGER_EXPERIMENT).tags


def checks(client, experiment):
    runs = client.search_runs([experiment], run_view_type=ViewType.ALL)
    return [run for run in runs if run.info.run_name == "write-once check"]


@pytest.mark.parametrize("way", CHEATS)
def test_a_backend_that_cheats_is_refused_and_says_how(mlflow_server, way):
    with cheating(mlflow_server, way) as server:
        client = connect(server.uri)
        with pytest.raises(BackendUnfit, match=CHEATS[way]) as refused:
            prepare_server(client)
    assert refused.value.exit_code == 3
    assert "3.17.2" in refused.value.message
    assert "postgresql" in refused.value.remedy


def test_an_unfit_server_moves_nothing_until_it_was_mended(mlflow_server, factory, registry):
    name = factory.name()
    factory.base(name)
    client = registry.client
    with cheating(mlflow_server, "the last writer wins") as server:
        behind = ModelRegistryManager(server.uri)
        for _ in range(2):
            with pytest.raises(BackendUnfit, match=r"nothing was changed"):
                behind.promote_to_champion(name)
        tried = server.writes
        with pytest.raises(BackendUnfit):
            behind.promote_to_champion(name)
        assert server.writes == tried
    assert registry.get_champion(name) is None
    assert registry.history(name) == []
    with pytest.raises(BackendUnfit):
        # It may have been a race that went well since: a person has to say that it was mended.
        registry.promote_to_champion(name)
    assert any(key.startswith(FAILS_TAG) for key in tags(client))
    prepare_server(client)
    assert not any(key.startswith(FAILS_TAG) for key in tags(client))
    assert any(key.startswith(HOLDS_TAG) for key in tags(client))
    assert registry.promote_to_champion(name).seq == 1


def test_another_version_of_mlflow_is_tried_out_again(mlflow_server, factory, registry):
    name, client = factory.name(), registry.client
    factory.base(name)
    prepare_server(client)
    where = client.get_experiment_by_name(LEDGER_EXPERIMENT)
    (now,) = (key for key in where.tags if key.startswith(HOLDS_TAG))
    client.delete_experiment_tag(where.experiment_id, now)
    client.set_experiment_tag(where.experiment_id, f"{HOLDS_TAG}3.16.0", "since last year")
    before = checks(client, where.experiment_id)
    registry.promote_to_champion(name)
    assert now in tags(client)
    after = checks(client, where.experiment_id)
    assert len(after) == len(before) + 1
    # The run of the check is put away.
    assert {run.info.lifecycle_stage for run in after} == {"deleted"}


def test_a_file_store_is_refused_by_name(tmp_path):
    """Its race was seen, but only with several server processes and not in every check."""
    server = MlflowServer(
        tmp_path, str(tmp_path / "store"), environment={"MLFLOW_ALLOW_FILE_STORE": "true"}
    )
    try:
        server.start()
        client = connect(server.uri)
        with pytest.raises(BackendUnfit, match="FileStore"):
            prepare_server(client)
        registry = ModelRegistryManager(server.uri)
        factory = Factory(registry)
        name = factory.name()
        factory.base(name)
        with pytest.raises(BackendUnfit, match="FileStore"):
            registry.promote_to_champion(name)
        assert registry.get_champion(name) is None
    finally:
        server.stop()
