"""A release as MLflow and the ledger would hold it, moved by the rules alone; no server."""

from guardianflow.registry.release_state import (
    Attribution,
    Decision,
    ModelAlias,
    OperationKind,
    OperationRecord,
    RuleInputs,
)
from guardianflow.registry.rotation.rules import plan_promotion, plan_rollback, projected

BASE = "a/b-c/d/e"
INT8 = f"{BASE}__openvino_int8"
INT4 = f"{BASE}__openvino_int4"


class World:
    """A release as MLflow and the ledger would hold it, moved by the rules alone."""

    def __init__(self):
        self.records: list[OperationRecord] = []
        self.aliases: dict[str, dict[str, int]] = {}
        self.sources: dict[tuple[str, int], int] = {}
        self.newest: dict[str, int] = {}
        self.gone: set[tuple[str, int]] = set()

    @property
    def state(self):
        return self.records[-1].after if self.records else {}

    @property
    def champions(self):
        return {name: place.champion for name, place in self.state.items()}

    @property
    def inputs(self):
        return RuleInputs(BASE, self.state, self.aliases, self.sources, gone=frozenset(self.gone))

    def past(self):
        return reversed(self.records)

    def register(self, name, source=None):
        version = self.newest.get(name, 0) + 1
        self.newest[name] = version
        if source is not None:
            self.sources[name, version] = source
        self.aliases.setdefault(name, {})["candidate"] = version
        return version

    def delete(self, name, version):
        """MLflow deletes the aliases of a version with it."""
        self.gone.add((name, version))
        present = self.aliases.get(name, {})
        self.aliases[name] = {a: v for a, v in present.items() if v != version}

    def apply(self, decision: Decision, *, automatic=False):
        """Commit a decision and bring the aliases there; a repair is one although nothing moves."""
        if not decision.changed and decision.kind is not OperationKind.REPAIR:
            return decision
        record = OperationRecord(
            len(self.records) + 1,
            decision.kind,
            decision.name,
            decision.before,
            decision.after,
            Attribution("actor", "reason", "token", automatic=automatic),
            "time",
        )
        self.records.append(record)
        candidates = {n: a.get("candidate") for n, a in self.aliases.items()}
        for name, aliases in projected(
            decision.kind, decision.before, decision.after, candidates
        ).items():
            wanted = {alias.value: aliases.get(alias) for alias in ModelAlias}
            self.aliases[name] = {
                alias: version
                for alias, version in wanted.items()
                if version is not None and (name, version) not in self.gone
            }
        return decision

    def promote(self, name=BASE, version=None, **options):
        return self.apply(plan_promotion(self.inputs, self.past, name, version, **options))

    def roll_back(self, name=BASE, **options):
        return self.apply(
            plan_rollback(self.inputs, self.past, name, **options),
            automatic=options.get("automatic", False),
        )

    def release(self):
        """A base and its twin, registered and promoted together."""
        version = self.register(BASE)
        self.register(INT8, version)
        self.promote()
        return version
