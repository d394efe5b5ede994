"""Reads blocks from the Prefect server, and explains what is wrong with an invalid one.

The server hardly validates what is edited in its UI, and Prefect does not say which value of a
block is wrong.
"""

from typing import TypeVar, cast

from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from blocks.mlflow_credentials import DEFAULT_DOCUMENT, MlflowCredentials
from guardianflow.errors import InputError

_AnyBlock = TypeVar("_AnyBlock", bound=Block)


def load_saved(
    kind: type[_AnyBlock], document: str, *, unusable: type[InputError] = InputError
) -> _AnyBlock | None:
    """Load the block with this name; None if the server has none.

    An invalid one raises `unusable`, whose message names the key, but not the value.
    """
    try:
        return cast("_AnyBlock", kind.load(document))
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        raise
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        said = error.__cause__.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in said["loc"])
    wrong = said["msg"].removeprefix("Value error, ")
    raise unusable(
        f"The block {document} cannot be used: {f'{key}: ' if key else ''}{wrong}.",
        remedy="Correct it in the Prefect UI under Blocks.",
        value=document,
    )


def default_credentials() -> MlflowCredentials:
    """Load the address of MLflow and the account of the flows.

    Raises:
        InputError: The server has no such block, or it is invalid.
    """
    found = load_saved(MlflowCredentials, DEFAULT_DOCUMENT)
    if found is None:
        raise InputError(
            f"The Prefect server has no MLflow Credentials block named {DEFAULT_DOCUMENT!r}.",
            remedy="`python -m deployments.apply` creates it from MLFLOW_TRACKING_URI.",
            value=DEFAULT_DOCUMENT,
        )
    return found
