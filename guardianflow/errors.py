"""All errors of guardianflow, with their exit codes.

    GuardianflowError                      exit code
    ├── InputError ............................. 2   the caller gave something unusable
    │   ├── NameInvalid                             a model name that cannot be registered
    │   ├── ScenarioInvalid                         YAML, key, segment, version, path
    │   ├── DatasetInvalid                          images, labels, data.yaml
    │   ├── ModelInvalid                            a file of another trainer that cannot be read
    │   ├── AnswerInvalid                           an answer to an approval that decides nothing
    │   └── PackageMissing                          an extra of guardianflow is not installed
    ├── Refused ................................ 3   a rule does not allow it
    │   ├── NoCandidate                             nothing to promote or quantize
    │   │   └── ModelUnknown                        no model of that name is registered
    │   ├── NoRollbackTarget                        no way back
    │   ├── DrillFailed                             there is a way back, but it would not work
    │   ├── RollbackHeld                            an automation may not undo a rollback
    │   ├── SceneChanged                            the way back is no better on the same frames
    │   ├── ReleaseOnHold                           an automation rolled it back a short time ago
    │   ├── LedgerDamaged                           the log of operations was deleted or edited
    │   ├── BackendUnfit                            the server does not keep params as first written
    │   ├── AliasDrift                              somebody moved an alias by hand
    │   ├── RotationConflict                        somebody else rotated at the same moment
    │   ├── ChampionChanged(expected, actual)       the question was about another champion
    │   ├── ReleaseChanged(expected, actual)        what would move is not what was approved
    │   ├── VersionQuarantined                      rolled back before, needs --force and a reason
    │   ├── SourceNotChampion                       a variant whose source is not in production
    │   ├── VersionNotReady                         the version is absent or not READY
    │   ├── ArtifactMissing                         a file of the version is missing or differs
    │   ├── StoredUnreadable                        this version of guardianflow cannot read it
    │   │   └── StoredNewer                         a newer one is needed, and it says which
    │   ├── TrainerFailed                           a trainer of another project left no model
    │   ├── CalibrationUnfit                        calibration images that must not set the ranges
    │   ├── QuantizationUnfit                       a variant that answers unlike its source
    │   ├── NotComparable                           not measured on the same images or classes
    │   ├── GateFailed                              the evidence speaks against it
    │   ├── ApprovalRequired                        the policy asks for more than was given
    │   ├── ApprovalVoid                            what was approved has changed since
    │   ├── ApprovalExpired                         nobody answered in time
    │   ├── VersionRejected                         rejected before, needs a reason
    │   ├── ScenarioFrozen                          a trained scenario version was edited
    │   ├── NothingWaiting                          no (single) approval to answer
    │   └── PermissionDenied                        the account may not do this
    ├── ServerUnreachable ...................... 4   try again; nothing was done unless it says so
    │   ├── RegistryUnavailable                     MLflow
    │   └── OrchestratorUnavailable                 Prefect
    └── DiskFull ............................... 4   free some space and try again

Anything else that reaches the command line is a bug in guardianflow: exit code 1.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from guardianflow.wording.printable import printable

if TYPE_CHECKING:
    from guardianflow.promotion.proposal import Proposal


class GuardianflowError(Exception):
    """What went wrong, with which value, and what to do about it.

    Args:
        message: What is wrong, naming the value; one or two sentences.
        remedy: What the reader can do now; a command where there is one.
        data: The values as data, for `--json`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "", **data: object) -> None:
        # It quotes names, reasons and servers' answers: these must not control the terminal.
        self.message = printable(message)
        self.remedy = printable(remedy)
        self.data = data
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def to_json(self) -> dict[str, object]:
        """The error as the value of `"error"` in the JSON answer of a command."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "remedy": self.remedy,
            **self.data,
        }


class InputError(GuardianflowError):
    """The caller gave something unusable; no work was done."""

    exit_code = 2


class NameInvalid(InputError):
    """A model name that does not follow `customer/region-plant/zone/task[__backend_precision]`."""


class ScenarioInvalid(InputError):
    """A scenario file, key, version or path that cannot be used."""


class DatasetInvalid(InputError):
    """A data set that cannot be trusted; the message names file, line and value."""


class ModelInvalid(InputError):
    """A model of another trainer that cannot be used; the message says what was found in it."""


class AnswerInvalid(InputError):
    """An answer to an approval that decides nothing."""


class PackageMissing(InputError):
    """A package of an extra is not installed, e.g. torch of `[train]`."""


class Refused(GuardianflowError):
    """A rule does not allow it; nothing was changed.

    The exception is a PermissionDenied or VersionNotReady that says `is decided, but`: it came
    after the commit to the ledger, so the operation stands, and the next command finishes it.
    """

    exit_code = 3


class NoCandidate(Refused):
    """There is no version that could be promoted, quantized or trained from."""


class NoRollbackTarget(Refused):
    """There is no known-good release to go back to."""


class DrillFailed(Refused):
    """The rehearsal of a rollback found something that would stop it."""


class RollbackHeld(Refused):
    """An automation asked to undo a rollback; a person has to decide."""


class SceneChanged(Refused):
    """The champion fails, and so does what a rollback would bring back: the scene has changed."""

    def __init__(self, name: str, version: int, reason: str, fallback: str) -> None:
        super().__init__(
            f"{name} version {version} fails ({reason}), but {fallback}: the scene has changed, "
            "not the model. Nothing was moved.",
            remedy="Check the camera and the scene; label recent frames and train with them. To "
            f"roll back anyway: `guardianflow rollback {name} --reason ...`.",
            name=name,
            version=version,
        )


class ReleaseOnHold(Refused):
    """An automation rolled the release back a short time ago; promoting needs force."""


class LedgerDamaged(Refused):
    """The log of operations in MLflow was deleted, cut or edited."""


class BackendUnfit(Refused):
    """MLflow's database lets params be overwritten, so it cannot hold a ledger."""


class AliasDrift(Refused):
    """An alias in MLflow differs from what the ledger says: somebody moved it by hand."""


class RotationConflict(Refused):
    """Another operation was committed at the same moment; trying again is safe."""


class ChampionChanged(Refused):
    """The champion is not the version that the request was about."""

    def __init__(self, name: str, expected: int | None, actual: int | None) -> None:
        super().__init__(
            f"@champion of {name} is version {actual or 'none'}, not {expected or 'none'} "
            "as the request expected; nothing was changed.",
            remedy="Run `guardianflow models` and ask again for the current champion.",
            name=name,
            expected=expected,
            actual=actual,
        )
        self.expected = expected
        self.actual = actual


class ReleaseChanged(Refused):
    """What would become champion now is not what was shown and approved."""

    def __init__(
        self,
        name: str,
        expected: Mapping[str, tuple[int | None, int | None]],
        actual: Mapping[str, tuple[int | None, int | None]],
    ) -> None:
        super().__init__(
            f"The release of {name} changed since it was proposed: {_in_words(expected)} was "
            f"approved, but now {_in_words(actual)} would move. Nothing was changed.",
            remedy=f"Propose it again and check the new evidence: `guardianflow promote {name}`.",
            name=name,
            expected=dict(expected),
            actual=dict(actual),
        )


def _in_words(champions: Mapping[str, tuple[int | None, int | None]]) -> str:
    return (
        ", ".join(
            f"{name} from version {before or 'none'} to {after}"
            for name, (before, after) in sorted(champions.items())
        )
        or "nothing"
    )


class VersionQuarantined(Refused):
    """The version was rolled back before; it needs force and a reason."""


class SourceNotChampion(Refused):
    """A variant was requested whose FP32 source is neither champion nor candidate."""


class ModelUnknown(NoCandidate):
    """No model of that name is registered."""


class VersionNotReady(Refused):
    """The version does not exist, or its upload was never finished."""


class ArtifactMissing(Refused):
    """A file of the version is missing, or its size or sha256 differs."""


class TrainerFailed(Refused):
    """A trainer of another project failed, passed a limit, or left no model; nothing was made."""


class CalibrationUnfit(Refused):
    """The calibration images are unlike the evaluated ones, or some of them."""


class QuantizationUnfit(Refused):
    """A variant answers unlike the version that it was made from; it is not registered."""


class NotComparable(Refused):
    """Two versions were not measured on the same images or classes."""


class GateFailed(Refused):
    """The gate's rules reject the candidate."""

    proposal: "Proposal | None" = None
    """The proposal in question, to be shown."""


class ApprovalRequired(Refused):
    """The approval policy asks for other people, more of them, or more proof than was given."""


class ApprovalVoid(Refused):
    """What was approved has changed since, so the answer does not count."""


class ApprovalExpired(Refused):
    """The answer came after the deadline, or after the question was decided."""


class VersionRejected(Refused):
    """A person rejected the version; proposing it again needs a reason."""


class StoredUnreadable(Refused):
    """A stored document that this version of guardianflow cannot read."""


class StoredNewer(StoredUnreadable):
    """A stored document that needs a newer version of guardianflow, which it names."""


class ScenarioFrozen(Refused):
    """A scenario version that has been trained was edited afterwards."""


class NothingWaiting(Refused):
    """No approval is waiting, or several are and none was named."""


class PermissionDenied(Refused):
    """The account may not do this."""


class ServerUnreachable(GuardianflowError):
    """A server did not answer; nothing was done unless the message says `is decided, but`."""

    exit_code = 4


class RegistryUnavailable(ServerUnreachable):
    """The MLflow server did not answer, or something else did at its address."""


class OrchestratorUnavailable(ServerUnreachable):
    """The Prefect server did not answer, or something else did at its address."""


class DiskFull(GuardianflowError):
    """There is no room to write a file; files that were complete before are unchanged.

    `safe` says in one sentence what was kept and how to continue.
    """

    exit_code = 4

    def __init__(self, place: str, why: str = "the disk is full", safe: str = "") -> None:
        super().__init__(
            f"{place or 'A file'} cannot be written: {why}.",
            remedy=f"{safe or 'Files that were complete before are unchanged.'} Free some space "
            "there and run it again.",
            file=place,
        )
        self.place, self.why = place, why

    def keeping(self, safe: str) -> "DiskFull":
        """Return the same error with a sentence on what is safe."""
        return DiskFull(self.place, self.why, safe)
