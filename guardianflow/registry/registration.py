"""Brings what a run made into the registry: exactly once, with verified files, as @candidate.

    run + path --find or make a LoggedModel--> fetch and fingerprint --> version
        --> one of its token --> fetch again and verify --> @candidate

MLflow's client repeats requests whose answer was lost, so one registration could become two
versions: a token on the version, looked for before and after, leaves exactly one. A version that
somebody deleted is registered anew, under a new number: a number that was once in production is
never given to anything else, because the ledger knows versions by their numbers.
"""

import hashlib
import logging
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException

from guardianflow.errors import LedgerDamaged, PermissionDenied, StoredUnreadable, VersionNotReady
from guardianflow.mlflow_store.artifacts import (
    fetched_files,
    fingerprint,
    fingerprint_tags,
    verify_version,
)
from guardianflow.mlflow_store.client import PRESENT, border
from guardianflow.mlflow_store.logged_models import find_model, get_run
from guardianflow.mlflow_store.registered_models import (
    STATUS_TAG,
    TOKEN_TAG,
    RegisteredModelInfo,
    read_aliases,
    read_versions,
)
from guardianflow.names import ModelName
from guardianflow.registry.ledger.log import Ledger
from guardianflow.registry.provenance import registration_tags
from guardianflow.registry.release_state import ModelAlias
from guardianflow.registry.rotation.aliases import set_candidate

DUPLICATE = "duplicate"
log = logging.getLogger(__name__)


def register(
    client: MlflowClient,
    run_id: str,
    artifact_path: str,
    name: ModelName,
    tags: Mapping[str, str],
    token: str | None,
) -> RegisteredModelInfo:
    """Register what a run holds under a path; the same registration again gives the same version.

    Raises what `ModelRegistryManager.register_model` raises.
    """
    what = f"{run_id}\n{artifact_path}\n{name.registered}"
    token = token or hashlib.sha256(what.encode()).hexdigest()[:32]
    found = _registered(client, name, token)
    if not found:
        run = get_run(client, run_id)
        tags = {**registration_tags(client, name, run, tags), TOKEN_TAG: token}
        model = find_model(client, run, artifact_path)
        with fetched_files(client, model.artifact_location, f"run {run_id}") as folder:
            tags = {**tags, **fingerprint_tags(fingerprint(folder))}
        _create_name(client, name)
        found = _create_versions(client, name, run_id, model, tags)
    return _offer(client, name, _keep_one(client, name, found))


def _registered(client: MlflowClient, name: ModelName, token: str) -> list[RegisteredModelInfo]:
    """The versions of a registration, oldest first, without the repeats that could not be removed.

    After the answer to a write was lost there may be several.
    """
    found = read_versions(client, name, token=token)
    return [version for version in found if version.status != DUPLICATE]


def _create_name(client: MlflowClient, name: ModelName) -> None:
    with border(f"register the name {name}"):
        try:
            client.create_registered_model(name.registered, tags=name.tags())
        except MlflowException as error:
            if error.error_code not in PRESENT:
                raise


def _create_versions(
    client: MlflowClient,
    name: ModelName,
    run_id: str,
    model: LoggedModel,
    tags: Mapping[str, str],
) -> list[RegisteredModelInfo]:
    """Create a version, and return all that came of it: a repeated request makes several.

    Where somebody deleted the whole model, MLflow counts from 1 again, but the ledger knows what
    these numbers were: they are used up.
    """
    used = _highest_in_production(client, name)
    while True:
        with border(f"register {name}"):
            client.create_model_version(
                name.registered,
                source=f"models:/{model.model_id}",
                run_id=run_id,
                tags=dict(tags),
                model_id=model.model_id,
                await_creation_for=0,
            )
        found = _registered(client, name, tags[TOKEN_TAG])
        if not found or found[0].version > used:
            return found
        for reused in found:
            log.warning(
                "%s was deleted in MLflow and begins again: number %d was in production before and "
                "is left out",
                name,
                reused.version,
            )
            _remove(client, name, reused)


def _highest_in_production(client: MlflowClient, name: ModelName) -> int:
    """The highest version that was ever champion; 0 where there was none, or nobody can say."""
    try:
        entry = Ledger(client, name.base).read().state.get(name.public)
    except (LedgerDamaged, StoredUnreadable, PermissionDenied) as error:
        # Nothing is promoted until that is mended; training need not wait for it.
        log.warning("%s", error)
        return 0
    return entry.newest if entry else 0


def _keep_one(
    client: MlflowClient, name: ModelName, found: list[RegisteredModelInfo]
) -> RegisteredModelInfo:
    """Keep one version of a registration; all who look come to the same choice.

    It is the oldest, unless a person put another one into production: with its version an alias
    would be gone, and production empty.
    """
    if not found:
        raise VersionNotReady(
            f"MLflow took the registration of {name} and then did not know it.",
            remedy="Run the same command again; it goes on where it stopped.",
            name=name.public,
        )
    if len(found) == 1:
        return found[0]
    aliases = read_aliases(client, name)
    serving = {aliases.get(ModelAlias.CHAMPION), aliases.get(ModelAlias.ROLLBACK)}
    used = [v for v in found if v.version in serving or v.status]
    kept = (used or found)[0]
    for surplus in found:
        if surplus is not kept and surplus not in used:
            _remove(client, name, surplus)
    return kept


def _remove(client: MlflowClient, name: ModelName, surplus: RegisteredModelInfo) -> None:
    try:
        with border(f"remove the repeated version {surplus.version} of {name}"):
            client.delete_model_version(name.registered, str(surplus.version))
    except PermissionDenied:
        client.set_model_version_tag(name.registered, str(surplus.version), STATUS_TAG, DUPLICATE)
    except VersionNotReady:
        return


def _offer(client: MlflowClient, name: ModelName, info: RegisteredModelInfo) -> RegisteredModelInfo:
    """Let @candidate name the version, unless a newer one waits or this one has had its turn."""
    aliases = read_aliases(client, name)
    current = aliases.get(ModelAlias.CANDIDATE)
    if current == aliases.get(ModelAlias.CHAMPION):
        current = None
    had_its_turn = bool(info.status) or info.version == aliases.get(ModelAlias.CHAMPION)
    if not had_its_turn and (current is None or current < info.version):
        verify_version(client, info)
        set_candidate(client, name, info.version)
        aliases = _settle(client, name, info)
    return info.with_aliases(aliases)


def _settle(client: MlflowClient, name: ModelName, info: RegisteredModelInfo) -> dict[str, int]:
    """Give @candidate to the newest version that waits, whatever came between reading and setting.

    Aliases have no compare-and-swap. Another registration may have set an older version after us:
    but a newer version exists before its own alias is set, so whoever sets @candidate last also
    sees it. A promotion may have taken away what it saw, which was no longer there: then it is set
    once more.
    """
    while True:
        # Oldest first: of the versions of one registration the first counts, the rest are repeats.
        originals = {v.tags.get(TOKEN_TAG, str(v)): v for v in read_versions(client, name)[::-1]}
        aliases = read_aliases(client, name)
        current = aliases.get(ModelAlias.CANDIDATE)
        production = (aliases.get(ModelAlias.CHAMPION), aliases.get(ModelAlias.ROLLBACK))
        waiting = [
            v.version
            for v in originals.values()
            if v.version >= info.version and not v.status and v.version not in production
        ]
        if not waiting or (current is not None and current >= max(waiting)):
            return aliases
        set_candidate(client, name, max(waiting))
