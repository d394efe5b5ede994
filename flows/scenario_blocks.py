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
    """The scenario block with this name.

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
    """The block, read once in a flow run: all its steps see the same settings."""
    return _saved_config(document) if run else None


def load_version(document: str, version: str) -> Scenario:
    """One version of a scenario block, checked before any work is spent."""
    return load_config(document).spec().version(version).check()


def today_in_blocks(name: str, version: str) -> Scenario | None:
    """A version of a scenario as its block says now; None where there is no such block or version.

    The limits of gate and health, the language and how long pictures of workers are kept are no
    part of a training: they count from the next question or report on. The other versions may be
    drafts.

    Raises:
        ScenarioInvalid: Something that the version says is wrong.
    """
    config = _saved_config(name)
    if config is None or version not in config.versions:
        return None
    content = {**config.common, "versions": {version: config.versions[version]}}
    return ScenarioSpec.from_mapping(config.name, content).version(version)


def limits_in_blocks(name: str, version: str) -> Scenario | None:
    """As `today_in_blocks`, but of a block that is wrong what was recorded counts.

    So a slip of somebody who edits a block leaves no model unwatched.
    """
    try:
        return today_in_blocks(name, version)
    except ScenarioInvalid as error:
        log.warning("health is judged by the limits of the training: %s", error.message)
        return None


def _saved_config(document: str) -> ScenarioConfig | None:
    return load_saved(ScenarioConfig, document, unusable=ScenarioInvalid)
