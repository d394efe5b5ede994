"""Reads what MLflow knows about our models, in our terms; writes nothing.

Aliases come from the registered model: MLflow's search for versions returns none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from guardianflow.errors import ModelUnknown, NameInvalid, VersionNotReady
from guardianflow.mlflow_store.client import border, is_absent
from guardianflow.names import ModelName

STATUS_TAG = "guardianflow.status"
REASON_TAG = "guardianflow.status_reason"
CHAMPION_STATUS = "champion"
FORMER_STATUS = "former"
ROLLED_BACK = "rolled_back"
REJECTED = "rejected"
EXPIRED = "expired"
"""Nobody decided about it in time, or the question was cancelled."""
SOURCE_VERSION_TAG = "guardianflow.source_version"
TOKEN_TAG = "guardianflow.register_token"
_UNFIT = (ROLLED_BACK, REJECTED)
_PAGE = 1000
# Up to this many single calls of milliseconds cost less than a search through all versions.
_FEW = 20
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class RegisteredModelInfo:
    """One version of a registered model."""

    name: str
    version: int
    run_id: str | None
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    created: datetime = _EPOCH
    ready: bool = True

    @property
    def status(self) -> str:
        """champion, former, rolled_back (quarantined), rejected, expired; '' if never proposed."""
        return self.tags.get(STATUS_TAG, "")

    @property
    def scenario(self) -> str:
        """Name of the scenario that it was made from; '' if unknown."""
        return self.tags.get("guardianflow.scenario", "")

    @property
    def scenario_version(self) -> str:
        """The scenario version that it was made from, e.g. v3; '' if unknown."""
        return self.tags.get("guardianflow.scenario_version", "")

    @property
    def source_version(self) -> int | None:
        """The version of the base that this variant was quantized from."""
        text = self.tags.get(SOURCE_VERSION_TAG, "")
        return int(text) if text.isdecimal() else None

    def with_aliases(self, aliases: Mapping[str, int]) -> "RegisteredModelInfo":
        """Return the version with those of the model's aliases that name it."""
        mine = sorted(alias for alias, version in aliases.items() if version == self.version)
        return replace(self, aliases=tuple(mine))

    def to_json(self) -> dict[str, object]:
        """Return the version as data, for `--json`."""
        return {**asdict(self), "created": self.created.isoformat(), "status": self.status}


@dataclass(frozen=True)
class ModelSummary:
    """One registered model with its aliases."""

    name: str
    aliases: Mapping[str, int]
    candidate_status: str = ""
    """rolled_back (quarantined) or rejected, where @candidate is; `read_models` knows."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


def read_models(client: MlflowClient) -> list[ModelSummary]:
    """Return all of our models, sorted by name; foreign models on a shared server are left out.

    It costs as much as a plain listing, which includes the newest version and so, mostly, the
    status of the candidate. Only a candidate that is not the newest version needs a call.
    """
    with border("list models"):
        listed = sorted(_listed(client, ""), key=lambda entry: entry[0].name)
        older = [s for s, newest in listed if s.aliases.get("candidate") not in (None, newest)]
        status = _candidate_status(client, older)
    return [replace(s, candidate_status=status.get(s.name, s.candidate_status)) for s, _ in listed]


def _candidate_status(client: MlflowClient, models: Sequence[ModelSummary]) -> dict[str, str]:
    """Return the status of the candidates: one call each if they are few, else one search."""
    names = {s.name: ModelName.parse(s.name).registered for s in models}
    if len(models) > _FEW:
        known = {
            (entry.name, int(entry.version)): text
            for text in _UNFIT
            for entry in _versions(client, f"tags.`{STATUS_TAG}` = '{text}'")
        }
        return {s.name: known.get((names[s.name], s.aliases["candidate"]), "") for s in models}
    found: dict[str, str] = {}
    for summary in models:
        try:
            version = str(summary.aliases["candidate"])
            found[summary.name] = _unfit(client.get_model_version(names[summary.name], version))
        except MlflowException as error:
            # It was deleted since the listing, and its alias with it.
            if not is_absent(error):
                raise
    return found


def list_models(client: MlflowClient) -> list[ModelSummary]:
    """Return all of our models with aliases and tags, sorted by name: one call per thousand."""
    with border("list models"):
        return sorted((s for s, _ in _listed(client, "")), key=lambda summary: summary.name)


def check_registered(client: MlflowClient, name: ModelName) -> None:
    """Refuse a name under which no model is registered.

    Raises:
        ModelUnknown: No model of that name is registered.
    """
    try:
        with border(f"model {name}"):
            client.get_registered_model(name.registered)
    except VersionNotReady as error:
        raise ModelUnknown(
            f"No model is registered as {name}.",
            remedy="`guardianflow models` lists those that are; `guardianflow run SCENARIO --type "
            "train --version vN` makes the first version of one.",
            name=name.public,
        ) from error


def find_renamed(client: MlflowClient, name: ModelName) -> str | None:
    """Return the registered name of a model that is not found under its own; None if gone."""
    with border(f"look for {name}"):
        found = client.search_registered_models(f"tags.`guardianflow.name` = '{name.public}'")
    return next((model.name for model in found if model.name != name.registered), None)


def read_release_models(client: MlflowClient, base: ModelName) -> dict[str, ModelSummary]:
    """Return the base and its variants by public name, in one call."""
    # LIKE may find too many (`ppe` also finds `ppe-yard`), never too few.
    with border(f"read {base}"):
        found = [s for s, _ in _listed(client, f"name LIKE '{base.registered}%'")]
    return {s.name: s for s in found if ModelName.parse(s.name).base == base}


def read_version(client: MlflowClient, name: ModelName, version: int) -> RegisteredModelInfo:
    """Return one version without its aliases, in one call.

    Raises:
        VersionNotReady: There is no such version.
    """
    with border(f"{name} version {version}"):
        try:
            return _info(name, client.get_model_version(name.registered, str(version)))
        except MlflowException as error:
            if is_absent(error):
                raise VersionNotReady(
                    f"{name} has no version {version}.",
                    remedy=f"`guardianflow models {name}` lists its versions.",
                    name=name.public,
                    version=version,
                ) from error
            raise


def read_versions(
    client: MlflowClient, name: ModelName, *, token: str | None = None
) -> list[RegisteredModelInfo]:
    """Return all versions of a name, oldest first, or only those registered with a token."""
    where = f"name = '{name.registered}'"
    if token is not None:
        where += f" and tags.`{TOKEN_TAG}` = '{token}'"
    aliases = read_aliases(client, name) if token is None else {}
    with border(f"list versions of {name}"):
        found = list(_versions(client, where))
    infos = (_info(name, entry).with_aliases(aliases) for entry in found)
    return sorted(infos, key=lambda info: info.version)


def read_aliases(client: MlflowClient, name: ModelName) -> dict[str, int]:
    """Return the version that each alias of a name means; empty if the name is not registered."""
    with border(f"read aliases of {name}"):
        try:
            return _aliases(client.get_registered_model(name.registered))
        except MlflowException as error:
            if is_absent(error):
                return {}
            raise


def _listed(client: MlflowClient, where: str) -> Iterator[tuple[ModelSummary, int | None]]:
    """Yield our models, each with the number of its newest version."""
    token: str | None = None
    while True:
        page = client.search_registered_models(where or None, max_results=_PAGE, page_token=token)
        for model in page:
            try:
                name = ModelName.parse(model.name)
            except NameInvalid:
                continue
            # The newest version of each stage; all of ours are in the same stage.
            entries: list[ModelVersion] = model.latest_versions or []
            newest = max(entries, key=lambda entry: int(entry.version), default=None)
            aliases = _aliases(model)
            number = int(newest.version) if newest else None
            status = _unfit(newest) if newest and aliases.get("candidate") == number else ""
            yield ModelSummary(name.public, aliases, status, dict(model.tags)), number
        token = page.token
        if not token:
            return


def _versions(client: MlflowClient, where: str) -> Iterator[ModelVersion]:
    token: str | None = None
    while True:
        page = client.search_model_versions(where, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _unfit(version: ModelVersion) -> str:
    status = version.tags.get(STATUS_TAG, "")
    return status if status in _UNFIT else ""


def _aliases(model: RegisteredModel) -> dict[str, int]:
    return {alias: int(version) for alias, version in model.aliases.items()}


def _info(name: ModelName, entry: ModelVersion) -> RegisteredModelInfo:
    return RegisteredModelInfo(
        name=name.public,
        version=int(entry.version),
        run_id=entry.run_id or None,
        tags=dict(entry.tags),
        created=datetime.fromtimestamp((entry.creation_timestamp or 0) / 1000, UTC),
        ready=entry.status == "READY",
    )
