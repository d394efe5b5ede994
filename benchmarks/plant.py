"""Releases to measure on: real versions with real files, and histories and listings made fast.

Versions point to a LoggedModel that really lies in the artifact store and carry its fingerprints,
so promoting them checks the files as for any other version.
"""

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import create_sqlalchemy_engine
from mlflow.store.model_registry.dbmodels import models as tables
from sqlalchemy import Table, insert

from guardianflow.mlflow_store.artifacts import fingerprint, fingerprint_tags
from guardianflow.mlflow_store.client import PRESENT
from guardianflow.mlflow_store.registered_models import SOURCE_VERSION_TAG
from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
    ReleaseState,
)
from guardianflow.registry.rotation.aliases import set_candidate
from testbed.servers import mlflow_server_on, postgres_server

FLAVOUR = "openvino_int8"
SMALL = 4 * 1024
"""Bytes of a model file where files are not what is measured."""
_ROWS = 5000


@contextmanager
def plant_on(*, postgres: bool = False) -> Iterator["Plant"]:
    """A fresh MLflow server with its database and files in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="guardianflow-bench-") as text:
        folder = Path(text)
        with (
            patch.dict(os.environ, {"GUARDIANFLOW_HOME": str(folder / "home")}),
            postgres_server() if postgres else nullcontext() as uri,
            mlflow_server_on(folder, uri, web="uvicorn") as server,
        ):
            yield Plant(server.uri, server.database)


@dataclass(frozen=True)
class Stored:
    """A LoggedModel in the artifact store, and the fingerprints of its files as tags."""

    model_id: str
    run_id: str
    tags: dict[str, str]


@dataclass
class Plant:
    """Makes releases on one server."""

    uri: str
    database: str = ""
    """SQLAlchemy address of its database; '' where it is not needed."""
    registry: ModelRegistryManager = field(init=False)
    _stored: dict[int, Stored] = field(default_factory=dict[int, Stored])

    def __post_init__(self) -> None:
        self.registry = ModelRegistryManager(self.uri)

    @property
    def kind(self) -> str:
        """The kind of database."""
        return self.database.partition(":")[0].partition("+")[0]

    @property
    def client(self) -> MlflowClient:
        """The client of the registry."""
        return self.registry.client

    def new_release(self, prefix: str = "ppe") -> ModelName:
        """A base and its twin, registered without any version."""
        name = ModelName.parse(f"bench/plant-{uuid.uuid4().hex[:8]}/line/{prefix}")
        self.new_names([name, name.variant(FLAVOUR)])
        return name

    def new_names(self, names: Iterable[ModelName]) -> None:
        """Register names."""
        for name in names:
            self.client.create_registered_model(name.registered, tags=name.tags())

    def new_version(self, name: ModelName, size: int = SMALL) -> int:
        """A version of the base and its twin; both become @candidate."""
        base = self.bare_version(name, size)
        twin = self.bare_version(name.variant(FLAVOUR), size, {SOURCE_VERSION_TAG: str(base)})
        set_candidate(self.client, name, base)
        set_candidate(self.client, name.variant(FLAVOUR), twin)
        return base

    def bare_version(self, name: ModelName, size: int, tags: dict[str, str] | None = None) -> int:
        """A version with files of a size, and no alias."""
        stored = self._model(size)
        made = self.client.create_model_version(
            name.registered,
            source=f"models:/{stored.model_id}",
            run_id=stored.run_id,
            model_id=stored.model_id,
            tags={**stored.tags, **(tags or {}), "guardianflow.name": name.public},
            await_creation_for=0,
        )
        return int(made.version)

    def write_history(self, name: ModelName, operations: int) -> None:
        """Operations of a release, as many as are wanted, with aliases where the last one says.

        They go through the ledger's own commit and done; what is left out are the alias writes in
        between. Versions 1 and 2 take turns, so the release needs no others.
        """
        for _ in range(2):
            self.new_version(name)
        ledger = Ledger(self.client, name)
        head = ledger.read()
        for number in range(1, operations + 1):
            head = ledger.commit(head, _turn(name, number, head.state))
            if number < operations:
                ledger.mark_done(number)
        # The last one counts as interrupted: finishing it sets the aliases and the tags.
        self.registry.release(name).finish()

    def _model(self, size: int) -> Stored:
        if size not in self._stored:
            client = self.client
            experiment = _experiment(client)
            run_id = client.create_run(experiment).info.run_id
            model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
            with tempfile.TemporaryDirectory() as text:
                folder = Path(text)
                (folder / "MLmodel").write_text("{}", encoding="utf-8")
                weights = folder / "artifacts" / "ir" / "model.bin"
                weights.parent.mkdir(parents=True)
                weights.write_bytes(os.urandom(size))
                client.log_model_artifacts(model.model_id, text)
                tags = fingerprint_tags(fingerprint(folder))
            client.finalize_logged_model(model.model_id, "READY")
            self._stored[size] = Stored(model.model_id, run_id, tags)
        return self._stored[size]


def _experiment(client: MlflowClient) -> str:
    try:
        return client.create_experiment("benchmarks")
    except MlflowException as error:
        found = client.get_experiment_by_name("benchmarks")
        if error.error_code not in PRESENT or found is None:
            raise
        return found.experiment_id


def _turn(name: ModelName, number: int, before: ReleaseState) -> OperationRecord:
    """A promotion of version 1 or 2, whichever is not champion."""
    champion = 2 - number % 2
    former = 3 - champion if number > 1 else None
    newest = min(number, 2)
    after = {
        name.public: ProductionEntry(champion, former, newest),
        name.variant(FLAVOUR).public: ProductionEntry(champion, former, newest, champion),
    }
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    token = uuid.uuid4().hex
    return OperationRecord(
        0,
        OperationKind.PROMOTE,
        name.public,
        before,
        after,
        Attribution("bench", "bench", token),
        time,
    )


def fill_listing(database: str, models: int, versions: int, first: int = 0) -> None:
    """Rows of a registry as large as wanted, straight into the tables that MLflow made.

    With `first` the names go on behind those of an earlier call.

    Half of the names are bases, half their twins. Every name has a champion and a way back; every
    second a candidate, of which some are quarantined or rejected. A tenth of the older versions
    were rolled back: what a listing must not pay for.
    """
    rows: dict[type, list[dict[str, object]]] = {
        tables.SqlRegisteredModel: [],
        tables.SqlRegisteredModelTag: [],
        tables.SqlRegisteredModelAlias: [],
        tables.SqlModelVersion: [],
        tables.SqlModelVersionTag: [],
    }
    for number in range(first, first + models):
        base = ModelName.parse(f"bench/plant-{number // 20}/line-{number // 2 % 10}/ppe")
        name = base.variant(FLAVOUR) if number % 2 else base
        registered = name.registered
        rows[tables.SqlRegisteredModel].append({"name": registered})
        rows[tables.SqlRegisteredModelTag] += _tag_rows(registered, name.tags())
        aliases = {"champion": max(versions - 1, 1), "rollback": max(versions - 2, 1)}
        if number % 4 < 2:
            aliases["candidate"] = versions
        rows[tables.SqlRegisteredModelAlias] += [
            {"name": registered, "alias": alias, "version": version}
            for alias, version in aliases.items()
        ]
        for version in range(1, versions + 1):
            rows[tables.SqlModelVersion].append(
                {
                    "name": registered,
                    "version": version,
                    "source": f"models:/m-{uuid.uuid4().hex}",
                    "run_id": uuid.uuid4().hex,
                    "current_stage": "None",
                }
            )
            status = _status(number, version, versions)
            rows[tables.SqlModelVersionTag] += _tag_rows(
                registered, _version_tags(name, version, status), version=version
            )
    engine = create_sqlalchemy_engine(database)
    try:
        with engine.begin() as connection:
            for kind, content in rows.items():
                table: Table = kind.__table__
                for start in range(0, len(content), _ROWS):
                    connection.execute(insert(table), content[start : start + _ROWS])
    finally:
        engine.dispose()


def _status(number: int, version: int, versions: int) -> str:
    if version == versions:
        # The candidate, where there is one: waiting, rejected, or quarantined.
        return ("", "rejected", "", "rolled_back")[number % 16 // 4]
    if version == versions - 1:
        return "champion"
    return "rolled_back" if (number + version) % 10 == 0 else "former"


def _version_tags(name: ModelName, version: int, status: str) -> dict[str, str]:
    """As many tags of as much text as a registered version really has."""
    files = ("MLmodel", "artifacts/ir/model.xml", "artifacts/ir/model.bin", "requirements.txt")
    tags = {
        "guardianflow.name": name.public,
        "guardianflow.register_token": uuid.uuid4().hex,
        "guardianflow.scenario": "ppe",
        "guardianflow.scenario_version": f"v{version}",
        "guardianflow.scenario_digest": uuid.uuid4().hex,
        "guardianflow.source_version": str(version),
    }
    for file in files:
        tags[f"guardianflow.sha256.{file}"] = uuid.uuid4().hex * 2
        tags[f"guardianflow.size.{file}"] = "4096"
    if status:
        tags["guardianflow.status"] = status
    return tags


def _tag_rows(name: str, tags: dict[str, str], **columns: object) -> list[dict[str, object]]:
    return [{"name": name, "key": key, "value": value, **columns} for key, value in tags.items()]
