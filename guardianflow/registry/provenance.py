"""What a version says about itself: its tags, checked against its name, its run and its source.

    tags of the caller --nothing that we set, nothing that contradicts--> tags of the version
    variant: source version --there, READY, of the same base, the one that the run quantized-->

A variant goes into production with the base that it says it was made from, so what it says is
checked when it is registered. A quarantined source is no obstacle: quantizing it again may be the
very remedy, and no promotion takes such a variant without force.
"""

import logging
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Run

from guardianflow.errors import InputError, VersionNotReady
from guardianflow.mlflow_store.artifacts import SHA_TAG, SIZE_TAG
from guardianflow.mlflow_store.registered_models import (
    REASON_TAG,
    ROLLED_BACK,
    SOURCE_VERSION_TAG,
    STATUS_TAG,
    TOKEN_TAG,
    RegisteredModelInfo,
    read_version,
)
from guardianflow.names import ModelName

SOURCE_RUN_TAG = "guardianflow.source_run_id"
_KEPT_BY_US = (STATUS_TAG, REASON_TAG, TOKEN_TAG)
_QUANTIZE = (
    "`guardianflow run SCENARIO --type quant --version vN` registers it with the right tags."
)
log = logging.getLogger(__name__)


def registration_tags(
    client: MlflowClient, name: ModelName, run: Run, given: Mapping[str, str]
) -> dict[str, str]:
    """The tags of a version that is to be registered, without token and fingerprint.

    Raises:
        InputError: The caller says what only guardianflow sets, or what cannot be; a variant
            does not say from which version of its base it was made.
        VersionNotReady: The source version does not exist, or was never finished.
    """
    for key, value in given.items():
        if key in _KEPT_BY_US or key.startswith((SHA_TAG, SIZE_TAG)):
            raise InputError(
                f"The tag {key} ({value!r}) is set by guardianflow alone.",
                remedy="Leave it out.",
                name=name.public,
                tag=key,
            )
    own = _own_tags(client, name, run, given)
    for key, value in own.items():
        said = given.get(key, "")
        if said and said != value:
            raise _contradiction(name, f"the tag {key} says {said!r}", value)
    return {**given, **{key: value for key, value in own.items() if value}}


def _own_tags(
    client: MlflowClient, name: ModelName, run: Run, given: Mapping[str, str]
) -> dict[str, str]:
    """What name, run and source say."""
    own = {"guardianflow.name": name.public}
    if not name.is_variant:
        if said := given.get(SOURCE_VERSION_TAG):
            raise InputError(
                f"{name} is a base, but the tag {SOURCE_VERSION_TAG} says that it was made from "
                f"version {said}.",
                remedy=f"Register a variant under its own name, e.g. {name}__openvino_int8.",
                name=name.public,
            )
        return own
    for key in ("backend", "precision"):
        value = name.tags()[f"guardianflow.{key}"]
        own |= {key: value, f"guardianflow.{key}": value}
    source = _source(client, name, run, given)
    # Where the source has no run, nobody can say so either.
    own |= {"source_run_id": source.run_id or "", SOURCE_RUN_TAG: source.run_id or ""}
    return own


def _source(
    client: MlflowClient, name: ModelName, run: Run, given: Mapping[str, str]
) -> RegisteredModelInfo:
    """The version of the base that a variant says it was made from."""
    number = given.get(SOURCE_VERSION_TAG, "")
    if not number.isdecimal():
        raise InputError(
            f"{name} is a variant, but the tag {SOURCE_VERSION_TAG} does not say from which "
            f"version of {name.base} it was made ({number!r}).",
            remedy=f"Give the tag with the number of the version. {_QUANTIZE}",
            name=name.public,
            run_id=run.info.run_id,
        )
    source = read_version(client, name.base, int(number))
    if not source.ready:
        raise VersionNotReady(
            f"{name.base} version {number}, the source of this {name}, is not READY.",
            remedy="Register the source again, quantize that version.",
            name=name.base.public,
            version=source.version,
        )
    # What the quantization itself kept: the number alone would fit any base's version.
    for key, value in (
        (SOURCE_VERSION_TAG, str(source.version)),
        (SOURCE_RUN_TAG, source.run_id or ""),
    ):
        said = run.data.tags.get(key, "")
        if said and said != value:
            raise _contradiction(
                name, f"run {run.info.run_id} was made from another source ({key} is {said})", value
            )
    if source.status == ROLLED_BACK:
        log.warning(
            "%s is made from version %s of %s, which is quarantined: a promotion wants force",
            name,
            number,
            name.base,
        )
    return source


def _contradiction(name: ModelName, what: str, value: str) -> InputError:
    return InputError(
        f"{name} cannot be registered: {what}, but it is {value or 'nothing'!r}.",
        remedy=f"Name the version that it was made from, or leave the tag out. {_QUANTIZE}",
        name=name.public,
    )
