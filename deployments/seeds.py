"""The blocks that a Prefect server begins with; blocks that were edited stay.

Missing blocks are saved: credentials from the environment, scenarios from `scenarios/`, an approval
policy without rules. Of edited ones the differences are printed; `--force` overwrites them, but
never the policy.
"""

import json
import os
from collections.abc import Iterator
from typing import Any, cast

from prefect.client.orchestration import get_client
from pydantic import ValidationError

from blocks import ApprovalPolicy, MlflowCredentials, ScenarioConfig
from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from blocks.saved import load_saved
from deployments import CHECKOUT
from guardianflow.errors import InputError
from guardianflow.machine.servers import without_account
from guardianflow.scenario import ScenarioSpec
from guardianflow.scenario.file import read_scenario_file, scenario_files


def apply_blocks(*, force: bool, former_mlflow: str | None = None) -> None:
    """Register the block types and save those seed documents that do not exist yet.

    With `force` edited ones are overwritten. `former_mlflow` is the last address of the embedded
    server, which may have another port now: credentials for it are always replaced by those of the
    environment.
    """
    for block in (MlflowCredentials, ScenarioConfig, ApprovalPolicy):
        block.register_type_and_schema()
    _seed_policy()
    credentials = _seed_credentials(force=force, former=former_mlflow)
    for path in scenario_files(CHECKOUT / "scenarios").values():
        _seed_scenario(read_scenario_file(path), credentials, force=force)


def _seed_policy() -> None:
    """Save a policy without rules if there is none; an existing one is never overwritten."""
    try:
        stored = load_saved(ApprovalPolicy, POLICY_DOCUMENT)
    except InputError as error:
        # Nobody is asked for an approval until somebody has corrected it.
        print(error)
        return
    if stored is None:
        ApprovalPolicy().save(POLICY_DOCUMENT)
        print(f"created block {POLICY_DOCUMENT}")


def _seed_credentials(*, force: bool, former: str | None) -> MlflowCredentials:
    wanted = without_account("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI", ""))
    wanted = wanted.rstrip("/")
    try:
        stored = load_saved(MlflowCredentials, DEFAULT_DOCUMENT)
    except InputError as error:
        if not force:
            raise
        print(error.message)
        stored = None
    # The embedded server may have another address and another key now.
    embedded = stored is not None and stored.tracking_uri == former
    if stored is not None and not embedded:
        if not wanted or stored.tracking_uri == wanted:
            return stored
        if not force:
            print(
                f"block {DEFAULT_DOCUMENT} says {stored.tracking_uri}, the environment {wanted}; "
                "kept (--force overwrites)"
            )
            return stored
    # Also the account: one server must not learn that of another one.
    made = _credentials_of_the_environment(wanted)
    if stored is None:
        said = f"created block {DEFAULT_DOCUMENT}"
    else:
        account = "the environment's account" if len(made.environment()) > 1 else "no account"
        said = f"block {DEFAULT_DOCUMENT}: {stored.tracking_uri} -> {wanted}"
        said += "" if embedded else f", {account}"
    if stored is None or made.environment() != stored.environment():
        made.save(DEFAULT_DOCUMENT, overwrite=True)
        print(said)
    return made


def _credentials_of_the_environment(address: str) -> MlflowCredentials:
    if not address.startswith("http"):
        raise InputError(
            "MLFLOW_TRACKING_URI does not name an MLflow server.",
            remedy="Set it to the server's address, e.g. http://mlflow.plant:5000.",
            value=address,
        )

    def setting(name: str) -> Any:
        return os.environ.get(f"MLFLOW_TRACKING_{name}") or None

    try:
        return MlflowCredentials(
            tracking_uri=address,
            username=setting("USERNAME"),
            password=setting("PASSWORD"),
            token=setting("TOKEN"),
        )
    except ValidationError as error:
        # Pydantic's own text could repeat a secret.
        said = "; ".join(one["msg"] for one in error.errors(include_url=False, include_input=False))
        raise InputError(
            f"The MLFLOW_TRACKING_ variables make no credentials: {said}.",
            remedy="Set MLFLOW_TRACKING_USERNAME and _PASSWORD together, or only _TOKEN.",
        ) from error


def _seed_scenario(spec: ScenarioSpec, credentials: MlflowCredentials, *, force: bool) -> None:
    seed = spec.model_dump(mode="json")
    try:
        stored = load_saved(ScenarioConfig, spec.name)
    except InputError as error:
        print(error.message if force else f"{error} Kept as it is (--force overwrites it).")
        if force:
            named = _credentials_named_by(spec.name)
            ScenarioConfig(**seed, credentials=named or credentials).save(spec.name, overwrite=True)
            kept = "its credentials are kept" if named else f"now with those of {DEFAULT_DOCUMENT}"
            print(f"  overwritten, {kept}")
        return
    if stored is None:
        ScenarioConfig(**seed, credentials=credentials).save(spec.name, overwrite=True)
        print(f"created block {spec.name}")
        return
    differences = list(_differences(_content(stored), seed))
    if not differences:
        return
    print(f"block {spec.name} differs from scenarios/{spec.name}.yaml:")
    for line in differences:
        print(f"  {line}")
    if force:
        ScenarioConfig(**seed, credentials=stored.credentials).save(spec.name, overwrite=True)
        print("  overwritten")
    else:
        print("  kept as it is on the server (--force overwrites it)")


def _credentials_named_by(document: str) -> MlflowCredentials | None:
    """The credentials of a scenario that cannot be used; None if it has none that can be used."""
    slug = ScenarioConfig.get_block_type_slug()
    with get_client(sync_client=True) as client:
        found = client.read_block_document_by_name(document, slug).block_document_references
    name = found.get("credentials", {}).get("block_document", {}).get("name")
    try:
        return load_saved(MlflowCredentials, name) if name else None
    except InputError as error:
        print(f"  {error.message}")
        return None


def _content(config: ScenarioConfig) -> dict[str, object]:
    return {"name": config.name, "common": config.common, "versions": config.versions}


def _differences(stored: object, seed: object, key: str = "") -> Iterator[str]:
    """One line for each value that differs: its key, the server's value, the file's value."""
    if isinstance(stored, dict) and isinstance(seed, dict):
        left, right = cast("dict[str, object]", stored), cast("dict[str, object]", seed)
        for name in sorted({*left, *right}):
            below = f"{key}.{name}" if key else name
            yield from _differences(left.get(name), right.get(name), below)
    elif json.dumps(stored) != json.dumps(seed):
        yield f"{key}: server {json.dumps(stored)}, file {json.dumps(seed)}"
