"""The registry: versions come in, once, and are promoted and rolled back.

    manager        ModelRegistryManager, the public face
    registration   what a run made -> a version with verified files -> @candidate
    provenance     what a version says about itself, checked against its run and its source
    logged_models  the LoggedModel of a run, found or made

What moves aliases is `release/`; what is only read is `catalog/`.
"""

from guardianflow.registry.manager import (
    UNSET,
    ModelAlias,
    ModelRegistryManager,
    ModelSummary,
    Move,
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
