"""Releases of versions that share their files, quick to make, and what goes wrong with them."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient

from guardianflow.names import ModelName
from guardianflow.registry import ModelRegistryManager
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    RuleInputs,
)
from guardianflow.registry.rotation.rules import plan_promotion
from testbed.runs import make_run

FILES = {"MLmodel": b"{}", "artifacts/ir/model.bin": b"weights"}


class Releases:
    """The releases of one server."""

    def __init__(self, uri: str, folder: Path) -> None:
        self.registry = ModelRegistryManager(uri)
        self.client = MlflowClient(uri, uri)
        """What somebody in the MLflow UI has."""
        self.folder = folder
        self.run_id = make_run(self.client, FILES)

    def name(self) -> str:
        """A public name that no other test uses."""
        return f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"

    def version(self, name: str, source: int | None = None, run_id: str = "") -> int:
        """A new version, which waits as @candidate."""
        tags = {} if source is None else {"guardianflow.source_version": str(source)}
        made = self.registry.register_model(
            run_id or self.run_id, "model", name, tags=tags, token=uuid.uuid4().hex
        )
        return made.version

    def release(self, *, variant: bool = False) -> str:
        """Versions 1 and 2, the second in production, with a way back."""
        name = self.name()
        for version in (1, 2):
            self.version(name)
            if variant:
                self.version(f"{name}__openvino_int8", version)
            self.registry.promote_to_champion(name, actor="kim", reason=f"release {version}")
        return name

    def interrupt(self, name: str, *, age: timedelta = timedelta(hours=1)) -> int:
        """Leave what a promotion leaves that was killed right after its commit."""
        version = self.version(name)
        base = ModelName.parse(name)
        ledger = Ledger(self.client, base)
        head = ledger.read()
        aliases = {name: {"candidate": version}}
        inputs = RuleInputs(name, head.state, aliases, {})
        after = plan_promotion(inputs, lambda: ledger.past(head), name).after
        time = (datetime.now(UTC) - age).isoformat(timespec="milliseconds")
        record = OperationRecord(
            0,
            OperationKind.PROMOTE,
            name,
            head.state,
            after,
            Attribution("kim", "killed", uuid.uuid4().hex),
            time,
        )
        ledger.commit(head, record)
        return version

    def file(self, name: str, version: int, path: str) -> Path:
        """Where the server keeps a file of a version."""
        registered = ModelName.parse(name).registered
        uri = self.client.get_model_version_download_uri(registered, str(version))
        return self.folder / "artifacts" / urlsplit(uri).path.lstrip("/") / path


def registered(name: str) -> str:
    """The name that MLflow knows."""
    return ModelName.parse(name).registered
