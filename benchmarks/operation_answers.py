"""The answers of docs/benchmarks.md about releases and servers; see `answers`."""

from statistics import median

from benchmarks.figures import Results, Row, answer
from benchmarks.flow_overhead import JOB_S


def reaction(results: Results) -> list[Row]:
    """How quickly does it react?"""
    content, command = results.get("reaction"), "python -m benchmarks.reaction"
    if not content:
        return []
    found: list[Row] = []
    for what, key, most in (
        ("A failing report comes in: rolled back after?", "event", (8.0, 5.0)),
        ("A person approves: champion after?", "answer", (10.0, None)),
    ):
        for one, where in ((content, "SQLite"), (content.get("on_postgres"), "PostgreSQL")):
            if not one:
                continue
            p95, p50 = one[key]["p95_ms"] / 1000, one[key]["p50_ms"] / 1000
            met = p95 <= most[0] and (most[1] is None or p50 <= most[1])
            goal = f"p95 ≤ {most[0]:g} s" + (f", p50 ≤ {most[1]:g} s" if most[1] else "")
            said = f"p95 {p95:.1f} s, p50 {p50:.1f} s"
            found.append(answer(f"{what} (Prefect on {where})", goal, said, command, met=met))
    if last := content.get("window"):
        row = content["windows_in_a_row"]
        said = f"{row} to {row + 1} windows, and then {last['p50_ms'] / 1000:.0f} s"
        found.append(answer("From the first bad frame?", "-", said, command))
    return found


def right(results: Results) -> list[Row]:
    """Does it roll back what is bad, and nothing else?"""
    found: list[Row] = []
    if one := results.get("false-rollbacks"):
        command = "python -m benchmarks.false_rollbacks"
        for key, words in (
            ("as_trained", "with the default limit"),
            ("0.05", "only 0.05 above its limit"),
            ("0.02", "only 0.02 above its limit"),
        ):
            last = one["healthy"][key][-1]
            percent = 100 * last["false_rollbacks"] / last["months"]
            question = f"Months in which a healthy champion, {words}, is rolled back?"
            said = f"{percent:.2f} %"
            found.append(answer(question, "≤ 0.1 %", said, command, met=percent <= 0.1))
        lost = one["faults"]["0.2"]["own_limit"]
        hours = lost["windows_p50"] * one["window"]["every_minutes"] / 60
        question = "20 of 100 objects more are missed: rolled back, with a limit 0.10 below?"
        share = 100 * lost["rolled_back_within_a_week"]
        said = f"{share:.0f} % within a week, half in {hours:.0f} h"
        found.append(answer(question, "-", said, command))
    for group, one in results.get("right-action", {}).get("groups", {}).items():
        share = 100 * one["right"] / one["cases"]
        question = f"The right thing is done about a {group}?"
        said, command = f"{share:.0f} %", "python -m benchmarks.right_action"
        found.append(answer(question, "≥ 95 %", said, command, met=share >= 95))
    return found


def releases(results: Results) -> list[Row]:
    """What does a promotion or a rollback cost?"""
    found: list[Row] = []
    if one := results.get("rotation"):
        command = "python -m benchmarks.rotation"
        for what, words in (("promote", "promotion"), ("rollback", "rollback")):
            times = one["small_files"][what]
            ratio = times["p95_to_bare_client"]["ratio"]
            ms = times["guardianflow_without_file_checks"]["p95_ms"]
            question = f"A {words} of a model with its variant, against the bare alias writes?"
            said = f"{ratio:.1f}×, {ms / 1000:.1f} s (p95)"
            found.append(answer(question, "≤ 5×", said, command, met=ratio <= 5))
            calls = one["calls"][what]["without_file_checks"]
            question = f"HTTP requests of a {words}?"
            found.append(answer(question, "≤ 25", str(calls), command, met=calls <= 25))
    if one := results.get("ledger-growth"):
        worst = max(value["p50_ratio"]["ratio"] for value in one["next_operation"].values())
        question = f"The next one after {one['operations']['long']:,} operations, against after 10?"
        command = "python -m benchmarks.ledger_growth"
        found.append(answer(question, "≤ 1.1×", f"{worst:.2f}×", command, met=worst <= 1.1))
    if one := results.get("listing"):
        ratio = one["commands"]["p50_ratio"]["ratio"]
        question = f"`guardianflow models` with {one['models']:,} models, against a bare listing?"
        said = f"{ratio:.2f}×, {one['commands']['guardianflow']['p50_ms'] / 1000:.1f} s"
        command = "python -m benchmarks.listing"
        found.append(answer(question, "≤ 1.2×", said, command, met=ratio <= 1.2))
    return found


def idle(results: Results) -> list[Row]:
    """What does it cost to let it run?"""
    found: list[Row] = []
    if one := results.get("idle"):
        for key, goal, question in (
            ("processor_s_per_min_in_all", 5, "Processor seconds a minute, with nothing to do?"),
            ("database_mib_per_h", 1, "Growth of Prefect's database, MiB an hour?"),
        ):
            value = median(run[key] for run in one["runs"])
            met, command = value <= goal, "python -m benchmarks.idle"
            found.append(answer(question, f"≤ {goal}", f"{value:.2g}", command, met=met))
        memory = median(run["pss_mib_in_all"] for run in one["runs"])
        question = "Memory of the servers and two workers?"
        found.append(answer(question, "-", f"{memory:.0f} MiB", "python -m benchmarks.idle"))
    if one := results.get("flow-overhead"):
        share = 100 * one["more_s"]["mean"] / JOB_S
        question = "What flows add to a job of ten minutes?"
        said, command = f"{share:.1f} %", "python -m benchmarks.flow_overhead"
        found.append(answer(question, "≤ 2 %", said, command, met=share <= 2))
    return found


def survives(results: Results) -> list[Row]:
    """Does it survive being killed?"""
    found: list[Row] = []
    for name, words in (
        ("chaos-sqlite", "SQLite"),
        ("chaos-postgres", "PostgreSQL"),
        ("chaos-hands", "SQLite, with aliases moved by hand"),
    ):
        if not (one := results.get(name)):
            continue
        wrong = len(one["violations"]) + len(one["defects"])
        killed = one["clients killed with SIGKILL"] + one["kill -9 of the server"]
        question = f"Is every promotion and rollback kept whole when anything is killed? ({words})"
        said = f"{wrong} wrong of {one['operations in the ledgers']}, {killed} kills"
        found.append(answer(question, "0 wrong", said, "make chaos", met=not wrong))
    return found
