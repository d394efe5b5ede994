"""The processes of a chaos run: clients that ask for anything, a reader, an intruder.

Each runs in a process forked from one that has imported MLflow, draws its choices from a seed of
its own, and writes what it asks and what it is told into a file of its own before it goes on. Any
of them can be killed at any moment.
"""

import os
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from guardianflow.errors import (
    ChampionChanged,
    GuardianflowError,
    RegistryUnavailable,
    ServerUnreachable,
)
from guardianflow.mlflow_store.client import ABSENT, border
from guardianflow.mlflow_store.registered_models import read_aliases, read_versions
from guardianflow.names import ModelName
from guardianflow.registry import UNSET, ModelRegistryManager
from guardianflow.registry.release_state import Attribution, OperationKind, OperationRecord
from guardianflow.registry.rotation.outcome import Operation, Plan
from guardianflow.registry.rotation.request import RotationRequest
from guardianflow.registry.rotation.rules import rescue
from tests.chaos.evidence import Journal, read_lines

# What a client asks for, and how often; registrations keep the promotions going.
_MIX = {"register": 4, "promote": 9, "rollback": 5, "plan": 1, "finish": 1, "repair": 1}
_MIX_OF_HANDS = {**_MIX, "repair": 3, "adopt": 2, "rescue": 3}
_WITH_TOKEN = ("register", "promote", "rollback", "repair", "adopt")
_GLANCE_S = 0.1


@dataclass(frozen=True)
class Scene:
    """What all processes of a run share."""

    uri: str
    run_id: str
    releases: dict[str, list[str]]
    """The names of each release, by its base."""
    folder: Path
    seed: int
    hands: bool
    """Somebody moves aliases by hand."""
    end: Any
    """A shared number: other than 0, everybody stops."""
    asked: Any
    """A shared array: how many requests each client has begun."""


def connect(scene: Scene, retries: int) -> ModelRegistryManager:
    """A registry as soon as the server answers; some lives repeat their requests, some do not."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = str(retries)
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "30"
    os.environ["GUARDIANFLOW_HOME"] = str(scene.folder / "home")
    while not scene.end.value:
        try:
            return ModelRegistryManager(scene.uri)
        except RegistryUnavailable:
            time.sleep(_GLANCE_S)
    raise SystemExit(0)


class Client:
    """One life of a client: asks for random things until it is killed or the run ends."""

    def __init__(self, scene: Scene, slot: int, life: int) -> None:
        self.scene, self.slot, self.life = scene, slot, life
        self.choice = random.Random(f"{scene.seed}-client-{slot}-{life}")
        self.patience = self.choice.choice((0, 1, 3))
        self.registry = connect(scene, self.patience)
        self.journal = Journal(journal_of(scene, slot, life))

    def live(self) -> None:
        if self.life and self.choice.random() < 0.7:
            self.repeat_what_was_lost()
        mix = _MIX_OF_HANDS if self.scene.hands else _MIX
        while not self.scene.end.value:
            kind = self.choice.choices([*mix], weights=[*mix.values()])[0]
            try:
                asked = self.draw(kind)
            except ServerUnreachable:
                connect(self.scene, self.patience)
                continue
            self.ask(asked)
            if kind in _WITH_TOKEN and self.choice.random() < 0.15:
                # An event comes twice, an answer was lost: the same token, the same operation.
                self.ask(asked)

    def repeat_what_was_lost(self) -> None:
        """Ask again, with the same token, for what the life before was killed over."""
        former = journal_of(self.scene, self.slot, self.life - 1)
        lines = read_lines(former) if former.exists() else []
        # Only what has a token is the same request when it is asked again.
        if lines and lines[-1]["event"] == "invoke" and lines[-1]["kind"] in _WITH_TOKEN:
            self.ask({k: v for k, v in lines[-1].items() if k not in ("event", "start")})

    def draw(self, kind: str) -> dict[str, Any]:
        """A random request of a kind."""
        choice = self.choice
        base = choice.choice([*self.scene.releases])
        names = self.scene.releases[base]
        name = choice.choices(names, weights=[4, 1, 1][: len(names)])[0]
        asked: dict[str, Any] = {"token": uuid.uuid4().hex, "kind": kind, "name": name}
        if kind == "register":
            asked["name"] = choice.choice(names)
            if asked["name"] != base:
                made_from = [*read_aliases(self.registry.client, ModelName.parse(base)).values()]
                if not made_from:
                    return {**asked, "name": base}
                asked["source"] = choice.choice((max(made_from), choice.choice(made_from)))
        elif kind == "promote":
            asked["force"] = choice.random() < 0.4
            present = read_aliases(self.registry.client, ModelName.parse(asked["name"]))
            if choice.random() < 0.5:
                asked["version"] = choice.randint(1, max(present.values(), default=1))
            if choice.random() < 0.3:
                asked["expected"] = present.get("champion")
        elif kind == "rollback":
            asked["automatic"] = choice.random() < 0.35
            asked["only"] = choice.random() < 0.2
            if asked["automatic"]:
                present = read_aliases(self.registry.client, ModelName.parse(asked["name"]))
                asked["expected"] = present.get("champion")
        elif kind in ("repair", "adopt", "rescue", "finish"):
            asked["name"] = base
        return asked

    def ask(self, asked: dict[str, Any]) -> None:
        """Ask for it, and write down what was asked before and what was told after."""
        self.journal.write(event="invoke", start=time.monotonic(), **asked)
        self.scene.asked[self.slot] += 1
        told: dict[str, Any]
        try:
            told = {"outcome": "ok", "answer": perform(self.registry, self.scene.run_id, asked)}
        except ServerUnreachable as error:
            told = {"outcome": "unknown", "error": repr(error)}
            connect(self.scene, self.patience)
        except GuardianflowError as error:
            told = {"outcome": "refused", "error": f"{type(error).__name__}: {error.message}"}
            if isinstance(error, ChampionChanged):
                told["actual"] = error.actual
        except Exception as error:  # noqa: BLE001
            # The border of a process: what is none of our errors is a defect, which the run tells.
            told = {"outcome": "unknown", "error": repr(error), "defect": True}
        self.journal.write(event="answer", token=asked["token"], end=time.monotonic(), **told)


def perform(registry: ModelRegistryManager, run_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a request and return what it was answered, as data."""
    name, token = asked["name"], asked["token"]
    expected = asked.get("expected", UNSET)
    requests: dict[str, Callable[[], object]] = {
        "register": lambda: registry.register_model(
            run_id,
            "model",
            name,
            tags={"guardianflow.source_version": str(asked["source"])} if "source" in asked else {},
            token=token,
        ),
        "promote": lambda: registry.promote_to_champion(
            name,
            asked.get("version"),
            expected_champion=expected,
            token=token,
            force=asked["force"],
            reason="chaos" if asked["force"] else "",
        ),
        "rollback": lambda: registry.rollback(
            name,
            expected_champion=expected,
            token=token,
            automatic=asked["automatic"],
            only=asked["only"],
            reason="chaos",
        ),
        "plan": lambda: (
            registry.plan_promotion(name) if token < "8" else registry.plan_rollback(name)
        ),
        "finish": lambda: registry.release(name).finish(),
        "repair": lambda: registry.repair(name, "ledger", reason="chaos", token=token),
        "adopt": lambda: registry.repair(name, "mlflow", reason="chaos", token=token),
        "rescue": lambda: rescued(registry, ModelName.parse(name), token),
    }
    return as_data(requests[asked["kind"]]())


def rescued(registry: ModelRegistryManager, name: ModelName, token: str) -> Operation | None:
    """Rescue a release as the manager does, with a token; None where nothing was to be done."""
    by = Attribution(token=token, automatic=True)
    operation = registry.release(name).perform(
        RotationRequest(OperationKind.REPAIR, name, by=by), rescue
    )
    return operation if operation.changed else None


def as_data(result: object) -> dict[str, Any]:
    if result is None:
        return {"changed": False}
    if isinstance(result, Plan):
        champions = {name: version for name, version in result.champion.items() if version}
        return {"changed": False, "after": champions}
    if isinstance(result, OperationRecord):
        after = {name: place.champion for name, place in result.after.items()}
        return {"seq": result.seq, "token": result.by.token, "after": after}
    if isinstance(result, Operation):
        return {
            "seq": result.seq,
            "token": result.token,
            "changed": result.changed,
            "after": dict(result.after),
        }
    return {"version": result.version}


def journal_of(scene: Scene, slot: int, life: int) -> Path:
    return scene.folder / f"client-{slot}-{life:04d}.jsonl"


def read_all_the_time(scene: Scene) -> None:
    """Look at every champion, again and again, as those who serve it do."""
    client = connect(scene, 0).client
    journal = Journal(scene.folder / "reader.jsonl")
    names = [name for names in scene.releases.values() for name in names]
    while not scene.end.value:
        for name in names:
            start = time.monotonic()
            try:
                registered = ModelName.parse(name).registered
                with border("look"):
                    found = client.get_model_version_by_alias(registered, "champion")
                champion: int | str | None = int(found.version)
            except RegistryUnavailable:
                champion = "unreachable"
            except (GuardianflowError, MlflowException) as error:
                absent = (*ABSENT, "INVALID_PARAMETER_VALUE")
                known = not isinstance(error, MlflowException) or error.error_code in absent
                champion = None if known else f"{error!r}"
            journal.write(
                sync=False, name=name, start=start, end=time.monotonic(), champion=champion
            )
        time.sleep(_GLANCE_S)


def meddle(scene: Scene) -> None:
    """Move and delete aliases by hand now and then, as somebody in the MLflow UI would."""
    choice = random.Random(f"{scene.seed}-hands")
    registry = connect(scene, 3)
    journal = Journal(scene.folder / "hands.jsonl")
    names = [name for names in scene.releases.values() for name in names]
    while not scene.end.value:
        pause_until = time.monotonic() + choice.uniform(1, 6)
        while time.monotonic() < pause_until and not scene.end.value:
            time.sleep(_GLANCE_S)
        name, alias = ModelName.parse(choice.choice(names)), choice.choice(("champion", "rollback"))
        try:
            versions = [info.version for info in read_versions(registry.client, name)]
            if not versions:
                continue
            version = choice.choice([*versions, None, None])
            journal.write(name=name.public, alias=alias, version=version, start=time.monotonic())
            with border("meddle"):
                if version is None:
                    registry.client.delete_registered_model_alias(name.registered, alias)
                else:
                    registry.client.set_registered_model_alias(name.registered, alias, str(version))
        except (GuardianflowError, MlflowException):
            continue
