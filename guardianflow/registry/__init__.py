"""The registry: versions come in, once, and are promoted and rolled back.

manager        ModelRegistryManager, the public face
registration   what a run made -> a version with verified files -> @candidate
provenance     what a version says about itself, checked against its run and its source
rotation/      what moves aliases, and the rules behind it
ledger/        the write-once log of what was moved
release_state  the words that both share: state, record, decision, drift
"""

from typing import TYPE_CHECKING

from guardianflow.registry.release_state import ModelAlias, Move

if TYPE_CHECKING:
    from guardianflow.registry.manager import (
        UNSET,
        ModelRegistryManager,
        ModelSummary,
        Operation,
        Plan,
        RegisteredModelInfo,
    )

__all__ = [
    "UNSET",
    "ModelAlias",
    "ModelRegistryManager",
    "ModelSummary",
    "Move",
    "Operation",
    "Plan",
    "RegisteredModelInfo",
]


def __getattr__(name: str) -> object:
    """The manager brings MLflow along, which takes a second: only for those who ask for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from guardianflow.registry import manager

    return getattr(manager, name)
