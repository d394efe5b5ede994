"""Whoever acts without a person at the keyboard says which champion the act is about."""

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MOVES = ("rollback", "promote_to_champion")


def calls_that_move():
    """Every call of the registry's two rotations in what is delivered, by file and line."""
    for package in ("guardianflow", "flows", "blocks", "deployments"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                called = node.func if isinstance(node, ast.Call) else None
                if isinstance(called, ast.Attribute) and called.attr in MOVES:
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", node


def test_every_rotation_names_the_champion_that_it_expects():
    found = dict(calls_that_move())
    # health.py and flows/rollback.py, the decision on a proposal, the command line.
    assert len(found) >= 4
    for place, call in found.items():
        assert "expected_champion" in {keyword.arg for keyword in call.keywords}, place


def test_every_automation_that_rolls_back_names_version_and_report():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    triggers = [
        trigger
        for deployment in deployments
        if deployment["entrypoint"].endswith(".rollback")
        for trigger in deployment.get("triggers", [])
    ]
    assert triggers
    for trigger in triggers:
        assert trigger["parameters"].keys() >= {"model_name", "failing_version", "report"}
