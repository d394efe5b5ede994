"""Reads scenarios from their blocks on the Prefect server."""

import logging
from functools import lru_cache

from prefect.runtime import flow_run

from blocks import ScenarioConfig
from blocks.saved import load_saved
from guardianflow.errors import ScenarioInvalid
from guardianflow.scenario import Scenario, ScenarioSpec

log = logging.getLogger("guardianflow.flows")


def load_config(document: str) -> ScenarioConfig:
    """Load the scenario block with this name.

    Raises:
        ScenarioInvalid: The server has no such document, or it cannot be used.
    """
    config = _config_once(document, flow_run.get_id()) or _saved_config(document)
    if config is None:
        raise ScenarioInvalid(
            f"The Prefect server has no Scenario Config block named {document!r}.",
            remedy="`python -m deployments.apply` brings those of scenarios/; others are made in "
            "the UI under Blocks.",
            value=document,
        )
    return config


@lru_cache(maxsize=1)
def _config_once(document: str, run: str | None) -> ScenarioConfig | None:
    """Read the block once in a flow run, so that all its steps see the same settings."""
    return _saved_config(document) if run else None


def load_version(document: str, version: str) -> Scenario:
    """Load one version of a scenario block and check it, before any work is spent."""
    return load_config(document).spec().version(version).check()


def today_in_blocks(name: str, version: str) -> Scenario | None:
    """Read a version of a scenario from its block as it is now; None if it is not there.

    The limits of gate and health, the language and how long pictures of workers are kept are not
    part of a training: they count from the next question or report. Other versions may be drafts.

    Raises:
        ScenarioInvalid: Something that the version says is wrong.
    """
    config = _saved_config(name)
    if config is None or version not in config.versions:
        return None
    content = {**config.common, "versions": {version: config.versions[version]}}
    return ScenarioSpec.from_mapping(config.name, content).version(version)


def limits_in_blocks(name: str, version: str) -> Scenario | None:
    """As `today_in_blocks`, but None for a block that cannot be used: the recorded limits count.

    A mistake in a block must not leave a model unwatched.
    """
    try:
        return today_in_blocks(name, version)
    except ScenarioInvalid as error:
        log.warning("health is judged by the limits of the training: %s", error.message)
        return None


def _saved_config(document: str) -> ScenarioConfig | None:
    return load_saved(ScenarioConfig, document, unusable=ScenarioInvalid)
