"""What an approval is bound to: it holds for exactly these bytes, figures, rules and champions.

proposed: bind() -> kept in the record, its digest in the form and in the ledger
decided:  read again from MLflow -> differences() -> the answer is void, and the reason is said
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from guardianflow.errors import ArtifactMissing, VersionNotReady
from guardianflow.evaluation.gate import GateReport
from guardianflow.mlflow_store.artifacts import registered_files
from guardianflow.promotion.approval.policy import ApprovalRule
from guardianflow.promotion.recorded_messages import recorded
from guardianflow.registry import ModelRegistryManager, Move
from guardianflow.registry.release_state import champion_moves
from guardianflow.scenario import Scenario

_DIGEST_TAG = "guardianflow.scenario_digest"


class Binding(BaseModel):
    """Everything that has to be the same when an approval is carried out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_name: str = Field(description="Public name that was asked for.")
    version: int = Field(description="The version that would become its champion.")
    champions: dict[str, tuple[int | None, int]] = Field(
        description="By public name, its champion when it was asked, and the one to be."
    )
    files: dict[str, dict[str, str]] = Field(
        description="By public name, sha256 of every file of the version that would be champion."
    )
    gate: str = Field(description="sha256 of the gate's report.")
    scenario: dict[str, str] = Field(
        description="By public name, digest of the scenario that the version was made from; under "
        "gate, health, evidence and language digests of what judged and showed it then. Version "
        "0.1.0 keeps only names, and reads no more."
    )
    policy: str = Field(description="sha256 of the approval policy.")

    @property
    def digest(self) -> str:
        """sha256 over all of it, whatever the order of names and files."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def short(self) -> str:
        """The digest as people see it."""
        return self.digest[:12]


def bind(
    registry: ModelRegistryManager,
    asked: tuple[str, int],
    moves: Sequence[Move],
    gate: GateReport,
    rule: ApprovalRule,
    judging: Mapping[str, str],
) -> Binding:
    """Read from MLflow what an approval of these moves would hold for.

    `judging` has the digests of what judges and shows the version today, `Scenario.judging`.

    Raises:
        VersionNotReady: A version is gone.
    """
    files: dict[str, dict[str, str]] = {}
    scenario: dict[str, str] = {}
    champions = champion_moves(moves)
    for name, (_, version) in champions.items():
        files[name], scenario[name] = _version(registry, name, version)
    return Binding(
        model_name=asked[0],
        version=asked[1],
        champions=champions,
        files=files,
        gate=hashlib.sha256(gate.model_dump_json().encode()).hexdigest(),
        scenario={**scenario, **judging},
        policy=rule.digest,
    )


def differences(
    registry: ModelRegistryManager, bound: Binding, rule: ApprovalRule, now: Scenario | None
) -> list[str]:
    """What is not any more as it was approved, in words; champions are left to the rotation.

    It compares the fingerprints that MLflow keeps; that the bytes are those of the fingerprints
    the rotation checks before it moves anything.

    Rule and scenario are those of now; None where nobody knows the scenario, or nothing was bound
    to it.
    """
    said: list[str] = []
    if rule.digest != bound.policy:
        said.append(recorded("policy"))
    for group, digest in now.judging.items() if now else ():
        if bound.scenario.get(group, digest) != digest:
            what = f"{now.name} {now.version}" if now else ""
            said.append(recorded(group, scenario=what))
    for name, (_, version) in sorted(bound.champions.items()):
        what = {"model": name, "version": version}
        try:
            files, scenario = _version(registry, name, version)
        except VersionNotReady:
            said.append(recorded("deleted", **what))
            continue
        before = bound.files[name]
        for file in sorted(before.keys() | files.keys()):
            then, now_is = before.get(file, "absent"), files.get(file, "absent")
            if then != now_is:
                digests = {"before": then[:12], "after": now_is[:12]}
                said.append(recorded("file", file=file, **what, **digests))
        if scenario != bound.scenario[name]:
            said.append(recorded("scenario", **what))
    return said


def _version(registry: ModelRegistryManager, name: str, version: int) -> tuple[dict[str, str], str]:
    info = registry.get_version(name, version)
    try:
        files = registered_files(info)
    except ArtifactMissing:
        # Without fingerprints nothing is promoted: the rotation says so.
        files = {}
    return files, info.tags.get(_DIGEST_TAG, "")
