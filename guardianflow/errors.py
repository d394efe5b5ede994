"""The whole error tree: every way in which guardianflow says no.

    GuardianflowError                      exit code
    ├── InputError ............................. 2   the caller gave something unusable
    │   ├── NameInvalid                             a model name that cannot be registered
    │   ├── ScenarioInvalid                         YAML, key, segment, version, path
    │   ├── DatasetInvalid                          images, labels, data.yaml
    │   ├── ModelInvalid                            a file of another trainer that cannot be read
    │   ├── AnswerInvalid                           an answer to an approval that is no answer
    │   └── PackageMissing                          an extra of guardianflow is not installed
    ├── Refused ................................ 3   a rule says no
    │   ├── NoCandidate                             nothing to promote or to quantize
    │   │   └── ModelUnknown                        no model of that name is registered
    │   ├── NoRollbackTarget                        no way back
    │   ├── DrillFailed(report)                     there is a way back, but it would not work
    │   ├── RollbackHeld                            an automation may not undo a rollback
    │   ├── SceneChanged                            the way back is no better on the same frames
    │   ├── ReleaseOnHold                           an automation rolled it back a short time ago
    │   ├── LedgerDamaged                           the log of operations was deleted or edited
    │   ├── BackendUnfit                            the server does not keep params as first written
    │   ├── AliasDrift                              somebody moved an alias by hand
    │   ├── RotationConflict                        somebody else rotated at the same moment
    │   ├── ChampionChanged(expected, actual)       the question was about another champion
    │   ├── ReleaseChanged(expected, actual)        what would move is not what was approved
    │   ├── VersionQuarantined                      rolled back before, wants --force and a reason
    │   ├── SourceNotChampion                       a variant whose source is not in production
    │   ├── VersionNotReady                         the version is absent or not READY
    │   ├── ArtifactMissing                         a file of the version is gone or differs
    │   ├── StoredUnreadable                        kept by another version of guardianflow
    │   │   └── StoredNewer                         and says that this one must not read it
    │   ├── CalibrationUnfit                        ranges from unlike or evaluated images
    │   ├── NotComparable                           not measured on the same images or classes
    │   ├── GateFailed                              the evidence speaks against it
    │   ├── ApprovalRequired                        the policy asks for more than was given
    │   ├── ApprovalVoid                            what was approved is not what is there now
    │   ├── ApprovalExpired                         nobody answered in time
    │   ├── VersionRejected                         rejected before, wants a reason
    │   ├── ScenarioFrozen                          a trained scenario version was edited
    │   ├── NothingWaiting                          no (single) approval to answer
    │   └── PermissionDenied                        the account may not do this
    ├── ServerUnreachable ...................... 4   try again; nothing was done but what it says
    │   ├── RegistryUnavailable                     MLflow
    │   └── OrchestratorUnavailable                 Prefect
    └── DiskFull ............................... 4   try again once there is room

Anything else that reaches the command line is a defect of ours: exit code 1.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from guardianflow.wording.printable import printable

if TYPE_CHECKING:
    from guardianflow.monitoring.drill_report import DrillReport


class GuardianflowError(Exception):
    """What went wrong, with which value, and what to do about it.

    Args:
        message: What is wrong, naming the value; one or two sentences.
        remedy: What the reader can do now; a command where there is one.
        data: The values as data, for `--json`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "", **data: object) -> None:
        # Names, reasons and answers of servers stand in it: nothing that a terminal would obey.
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
    """The caller gave something unusable; no work was spent."""

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
    """A package that only an extra of guardianflow brings, e.g. torch of `[train]`."""


class Refused(GuardianflowError):
    """A rule says no; nothing was changed.

    But for a PermissionDenied or VersionNotReady that says `is decided, but`: it came after the
    commit to the ledger, so the operation stands. What is left of it the next command finishes.
    """

    exit_code = 3


class NoCandidate(Refused):
    """There is no version that could be promoted, quantized or trained from."""


class NoRollbackTarget(Refused):
    """There is no known-good release state to go back to."""


class DrillFailed(Refused):
    """The rehearsal of a rollback found something that would stop it."""

    def __init__(self, report: "DrillReport") -> None:
        failures = report.failures
        said = " ".join(f"{step.step}: {step.problem}" for step in failures)
        super().__init__(
            f"The way back of {report.model_name} would not work. {said}",
            remedy=" ".join(dict.fromkeys(step.remedy for step in failures if step.remedy)),
            name=report.model_name,
            failures=[step.to_json() for step in failures],
            report=report.to_json(),
        )
        self.report = report


class RollbackHeld(Refused):
    """An automation asked to take back what a rollback restored; a person has to look."""


class SceneChanged(Refused):
    """The champion fails, and so does what a rollback would bring back: the scene has changed."""

    def __init__(self, name: str, version: int, reason: str, fallback: str) -> None:
        super().__init__(
            f"{name} version {version} fails ({reason}), but {fallback}: not the model has "
            "changed but what it looks at. Nothing was moved.",
            remedy="Look at the camera and the scene; label frames of now and train with them. To "
            f"go back all the same: `guardianflow rollback {name} --reason ...`.",
            name=name,
            version=version,
        )


class ReleaseOnHold(Refused):
    """An automation rolled the release back a short time ago; promoting wants force."""


class LedgerDamaged(Refused):
    """The log of operations in MLflow was deleted, cut or edited."""


class BackendUnfit(Refused):
    """What MLflow keeps its data in lets a written param change: no ledger can stand on it."""


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
            remedy="Look at `guardianflow models` and ask again for the champion of now.",
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
            f"The release of {name} changed since it was proposed: approved was "
            f"{_in_words(expected)}, but now {_in_words(actual)} would move. Nothing was changed.",
            remedy=f"Propose it again and look at the new evidence: `guardianflow promote {name}`.",
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
    """A variant was asked for whose FP32 source is neither champion nor candidate."""


class ModelUnknown(NoCandidate):
    """No model of that name is registered, so there is nothing to promote, quantize or show."""


class VersionNotReady(Refused):
    """The version does not exist, or its upload was never finished."""


class ArtifactMissing(Refused):
    """A file of the version is gone, or its size or sha256 differs."""


class CalibrationUnfit(Refused):
    """The images that would set quantization ranges are unlike, or part of, the evaluated ones."""


class NotComparable(Refused):
    """Two versions whose figures say nothing about each other."""


class GateFailed(Refused):
    """The gate's rules speak against the promotion.

    Attributes:
        proposal: The `promotion.proposal.Proposal` that it was about, for whoever shows it.
    """

    proposal: object = None


class ApprovalRequired(Refused):
    """The approval policy asks for other people, more of them, or more proof than was given."""


class ApprovalVoid(Refused):
    """What was approved is not what is there now: the answer does not count for it."""


class ApprovalExpired(Refused):
    """The answer came after the question was over."""


class VersionRejected(Refused):
    """A person rejected the version; proposing it again needs a reason."""


class StoredUnreadable(Refused):
    """What is stored says something that this version of guardianflow does not understand."""


class StoredNewer(StoredUnreadable):
    """What is stored says which newer version of guardianflow it needs."""


class ScenarioFrozen(Refused):
    """A scenario version that has been trained was edited afterwards."""


class NothingWaiting(Refused):
    """There is no approval waiting, or more than one and none was named."""


class PermissionDenied(Refused):
    """The account that was used may not do this."""


class ServerUnreachable(GuardianflowError):
    """Our server did not answer; nothing was done, unless the message says `is decided, but`."""

    exit_code = 4


class RegistryUnavailable(ServerUnreachable):
    """The MLflow server did not answer, or something else did at its address."""


class OrchestratorUnavailable(ServerUnreachable):
    """The Prefect server did not answer, or something else did at its address."""


class DiskFull(GuardianflowError):
    """There is no room to write a file; what was complete before is as it was.

    Args:
        place: The file or folder; '' where nobody says.
        why: What the disk says, e.g. `the disk is full`.
        safe: What was kept, and how it goes on; one sentence.
    """

    exit_code = 4

    def __init__(self, place: str, why: str = "the disk is full", safe: str = "") -> None:
        super().__init__(
            f"{place or 'A file'} cannot be written: {why}.",
            remedy=f"{safe or 'Files that were complete before are as they were.'} Make room there "
            "and run it again.",
            file=place,
        )
        self.place, self.why = place, why

    def keeping(self, safe: str) -> "DiskFull":
        """The same error, from one who knows what is safe."""
        return DiskFull(self.place, self.why, safe)
