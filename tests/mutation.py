"""Mutation test of the rotation's rules.

    python -m tests.mutation

Runs mutmut as configured in pyproject.toml and writes docs/results/mutation-rotation.md: how many
mutants were killed, and each survivor with its change and the reason why no test detects it. The
exit code is 1 if less than 90 % were killed, or a survivor is not explained.
"""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

_RESULT = Path("docs/results/mutation-rotation.md")
_FILES = ("release_state", "rotation.rules", "rotation.refusals")
_GOAL = 0.9
_KILLED = ("killed", "timeout", "caught by type check", "segfault")

# By part of a changed line, why the mutant behaves like the original.
EXPLAINED = {
    "draft = OperationRecord(": "The draft only shows the walk back what a rollback is about to "
    "do: its kind, before and after are read, nothing else of it, and it is never kept.",
    "only=None": "None stands for False: both are the whole release.",
    "setdefault((name, after), None)": "None stands for False: the version is not bad.",
    "setdefault((name, after), )": "The default None stands for False: the version is not bad.",
    "+    return True": "Reached for a name that no record moved; a name with a champion was moved "
    "by the record that made it champion, and the others are refused before.",
    "rollback or 1": "Versions begin at 1: the champion is never less.",
    "else 1)": "Versions begin at 1: the champion is never less.",
    "candidate or 1": "Versions begin at 1: the former champion is never less.",
}


def main() -> int:
    began = time.monotonic()
    # Results of an earlier run say nothing about today's tests.
    shutil.rmtree("mutants", ignore_errors=True)
    mutmut = [sys.executable, "-m", "mutmut"]
    subprocess.run([*mutmut, "run"], check=True)
    listed = subprocess.run(
        [*mutmut, "results", "--all", "true"], check=True, capture_output=True, text=True
    ).stdout
    found = re.findall(r"^\s*guardianflow\.registry\.([\w.]+)\.(\S+): (.+)$", listed, re.MULTILINE)
    lines = [
        "# Mutation testing of the rotation's rules",
        "",
        f"Written by `make mutation` with mutmut {version('mutmut')} in "
        f"{(time.monotonic() - began) / 60:.0f} minutes.",
        "",
        "| file | mutants | killed | survived | killed |",
        "|---|---|---|---|---|",
    ]
    good = True
    for file in _FILES:
        counts = Counter(status in _KILLED for where, _, status in found if where == file)
        total = counts.total()
        good &= total > 0 and counts[True] >= _GOAL * total
        lines.append(
            f"| guardianflow/registry/{file.replace('.', '/')}.py | {total} | {counts[True]} "
            f"| {counts[False]} | {counts[True] / max(total, 1):.1%} |"
        )
    lines += ["", "## Survivors", ""]
    for where, name, status in found:
        if status in _KILLED:
            continue
        change = _change(mutmut, f"guardianflow.registry.{where}.{name}")
        why = next((why for text, why in EXPLAINED.items() if text in change), "")
        good &= bool(why)
        lines += [f"`{where}.{name}` ({status})", "", "```diff", change, "```", ""]
        lines += [why or "**Not explained.**", ""]
    _RESULT.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print("\n".join(lines[:10]))
    print(f"{_RESULT} lists the survivors")
    return 0 if good else 1


def _change(mutmut: list[str], name: str) -> str:
    """The lines that a mutant changes."""
    shown = subprocess.run([*mutmut, "show", name], check=True, capture_output=True, text=True)
    return "\n".join(
        line
        for line in shown.stdout.splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    )


if __name__ == "__main__":
    sys.exit(main())
