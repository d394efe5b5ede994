"""Writes aliases; nothing else calls MLflow's alias writes.

    register            promote                          promote the next
    (files) ------> @candidate ------> @champion ------------------------> @rollback
                        ^                  |  ^                                |
                        |     roll back    |  |            roll back           |
                        +------------------+  +--------------------------------+
                     quarantined: wants force           known good: champion again

Order of writes, so that @champion is never absent and the way back is never lost for long:
a promotion writes @rollback, @champion, @candidate; a rollback writes @champion first. Every
write says what an alias is to be, so repeating them all after a crash is harmless. An alias that
names the champion of its own name counts as none: deleting may need more rights than setting.
@candidate belongs to registration, which may set it at any moment: it is read again right before.
"""

from collections.abc import Mapping

from mlflow import MlflowClient

from guardianflow.errors import PermissionDenied, VersionNotReady
from guardianflow.mlflow_store.client import border, registry_store, write_repeatably
from guardianflow.names import ModelName
from guardianflow.registry.release_state import Aliases, ModelAlias, OperationKind

_ORDER = {
    OperationKind.PROMOTE: (ModelAlias.ROLLBACK, ModelAlias.CHAMPION),
    OperationKind.ROLLBACK: (ModelAlias.CHAMPION, ModelAlias.ROLLBACK),
    OperationKind.ADOPT: (ModelAlias.CHAMPION, ModelAlias.ROLLBACK),
    OperationKind.REPAIR: (ModelAlias.CHAMPION, ModelAlias.ROLLBACK),
    OperationKind.OTHER: (ModelAlias.CHAMPION, ModelAlias.ROLLBACK),
}


def set_candidate(client: MlflowClient, name: ModelName, version: int) -> None:
    """Let @candidate name a version: what registration does, and nothing more.

    Raises:
        PermissionDenied: The account may not set aliases of this model.
    """
    _set(client, name, ModelAlias.CANDIDATE, version)


def write_production(
    client: MlflowClient,
    kind: OperationKind,
    wanted: Mapping[str, Aliases],
    present: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """Make @champion and @rollback of a release what an operation says, where they differ.

    A version that was deleted in MLflow meanwhile can have no alias: the others are written all
    the same, so that a deletion never holds up the rest of a release. What is wanted and what is
    present is told by public name; None takes an alias away.

    Returns:
        The names whose version to be champion does not exist any more.

    Raises:
        PermissionDenied: The account may not set aliases of one of the models.
    """
    lost: list[str] = []
    for alias in _ORDER[kind]:
        gone = _write(client, alias, wanted, present)
        lost += gone if alias is ModelAlias.CHAMPION else []
    return lost


def write_candidates(
    client: MlflowClient,
    wanted: Mapping[str, Aliases],
    present: Mapping[str, Mapping[str, int]],
) -> None:
    """Make @candidate of a release what an operation says, where it differs.

    Raises:
        PermissionDenied: The account may not set aliases of one of the models.
    """
    _write(client, ModelAlias.CANDIDATE, wanted, present)


def _write(
    client: MlflowClient,
    alias: ModelAlias,
    wanted: Mapping[str, Aliases],
    present: Mapping[str, Mapping[str, int]],
) -> list[str]:
    """Write one alias of every name; the names whose version does not exist any more."""
    gone: list[str] = []
    for public, aliases in wanted.items():
        version, now = aliases.get(alias), present.get(public, {}).get(alias)
        if version is not None and version != now:
            try:
                _set(client, ModelName.parse(public), alias, version)
            except VersionNotReady:
                gone.append(public)
        elif version is None and now is not None and alias is not ModelAlias.CHAMPION:
            _clear(client, ModelName.parse(public), alias, now, aliases.champion)
    return gone


def _set(client: MlflowClient, name: ModelName, alias: ModelAlias, version: int) -> None:
    store = registry_store(client)
    with border(f"set @{alias} of {name} to version {version}"):
        write_repeatably(
            lambda: store.set_registered_model_alias(name.registered, alias, str(version))
        )


def _clear(
    client: MlflowClient, name: ModelName, alias: ModelAlias, version: int, champion: int | None
) -> None:
    store = registry_store(client)
    try:
        with border(f"take @{alias} of {name} away"):
            write_repeatably(lambda: store.delete_registered_model_alias(name.registered, alias))
    except PermissionDenied:
        # Deleting needs more rights than setting: an alias that names the champion counts as none.
        if champion is None:
            raise
        if version != champion:
            _set(client, name, alias, champion)
    except VersionNotReady:
        # Gone already: that is what was wanted.
        return
