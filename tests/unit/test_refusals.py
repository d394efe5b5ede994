"""The words of each refusal: what, with which value, and a command that can be typed."""

from dataclasses import replace

import pytest

from guardianflow.errors import Refused
from guardianflow.registry.release_state import (
    Attribution,
    OperationKind,
    OperationRecord,
    ProductionEntry,
    RuleInputs,
)
from guardianflow.registry.rotation import refusals

BASE = "a/b-c/d/e"
TWIN = f"{BASE}__openvino_int8"
PLACE = ProductionEntry(champion=2, rollback=1, newest=3, source=None)
NOW = RuleInputs(BASE, {BASE: PLACE}, {BASE: {"champion": 2}}, {})
HOLD = OperationRecord(
    7,
    OperationKind.ROLLBACK,
    BASE,
    {},
    {},
    Attribution("health", token="t", automatic=True),
    "2026-11-23T10:20:30.123+00:00",
)


def waiting(name, version):
    return replace(NOW, aliases={BASE: {"champion": 2}, name: {"candidate": version}})


# Made within the test: mutation testing changes the functions after this file was imported.
CASES = {
    "something waits elsewhere": (
        lambda: refusals.no_candidate(waiting(TWIN, 4), BASE),
        f"No version of {BASE} waits for promotion, but one of {TWIN} does. "
        f"`guardianflow promote {TWIN}`",
        {"name": BASE, "waiting": [TWIN]},
    ),
    "nothing waits for a base": (
        lambda: refusals.no_candidate(NOW, BASE),
        f"No version of {BASE} waits for promotion (@champion is version 2). Make one with "
        "`guardianflow run SCENARIO --type train --version vN`, or name one with --model-version; "
        f"`guardianflow models {BASE}` lists them.",
        {"name": BASE},
    ),
    "nothing waits for a variant that never had a champion": (
        lambda: refusals.no_candidate(NOW, TWIN),
        f"No version of {TWIN} waits for promotion. Make one with `guardianflow run SCENARIO "
        "--type quant --version vN`, or name one with --model-version; "
        f"`guardianflow models {TWIN}` lists them.",
        {"name": TWIN},
    ),
    "quarantined": (
        lambda: refusals.quarantined(BASE, 3),
        f"{BASE} version 3 was rolled back before and is quarantined. `guardianflow history "
        f"{BASE}` says why; `guardianflow promote {BASE} --model-version 3 --force "
        '--reason "..."` promotes it all the same.',
        {"name": BASE, "version": 3},
    ),
    "on hold without a reason": (
        lambda: refusals.on_hold(TWIN, HOLD),
        f"The release of {BASE} is on hold: an automation rolled it back at 2026-11-23T10:20 UTC "
        "as operation 7 (no reason given). Nothing was changed. Look at `guardianflow history "
        f"{TWIN}` first. The hold ends by itself a day after the rollback; `guardianflow promote "
        f'{TWIN} --force --reason "..."` ends it now.',
        {"name": TWIN, "held_by": 7, "since": HOLD.time},
    ),
    "on hold with a reason": (
        lambda: refusals.on_hold(BASE, replace(HOLD, by=Attribution("health", "recall fell"))),
        f"The release of {BASE} is on hold: an automation rolled it back at 2026-11-23T10:20 UTC "
        "as operation 7 (recall fell). Nothing was changed. Look at `guardianflow history "
        f"{BASE}` first. The hold ends by itself a day after the rollback; `guardianflow promote "
        f'{BASE} --force --reason "..."` ends it now.',
        {"name": BASE, "held_by": 7, "since": HOLD.time},
    ),
    "no way back": (
        lambda: refusals.no_way_back(BASE, 2),
        f"{BASE} version 2 has no earlier good champion to go back to; nothing was changed. A "
        "second promotion gives it a way back: `guardianflow run SCENARIO --type train "
        f"--version vN`, then `guardianflow promote {BASE}`.",
        {"name": BASE, "champion": 2},
    ),
    "had none": (
        lambda: refusals.had_none(BASE, 1, [TWIN, "other"]),
        f"When version 1 of {BASE} was champion, {TWIN}, other had no champion: going back would "
        "leave it empty. Nothing was changed. Move this name alone with `guardianflow rollback "
        f'{BASE} --only --reason "..."`, or quantize version 1 with `guardianflow run SCENARIO '
        "--type quant --version vN --model-version 1` and promote that release.",
        {"name": BASE, "missing": [TWIN, "other"]},
    ),
    "nothing to roll back": (
        lambda: refusals.nothing_to_roll_back(BASE),
        f"{BASE} has no champion, so there is nothing to roll back. `guardianflow promote {BASE}` "
        "puts a version into production.",
        {"name": BASE},
    ),
    "rollback held": (
        lambda: refusals.rollback_held(BASE, 1),
        f"{BASE} version 1 was itself restored by a rollback, or its release is on hold after one: "
        "an automation goes back once and then leaves it to a person. Nothing was changed. "
        f"Look at it now: `guardianflow history {BASE}`, then `guardianflow rollback {BASE}` or a "
        "promotion.",
        {"name": BASE, "version": 1},
    ),
    "source not champion": (
        lambda: refusals.source_not_champion(waiting(BASE, 3), TWIN, 5, 1),
        f"{TWIN} version 5 was made from version 1 of {BASE}, which is neither its @champion (2) "
        "nor its @candidate (3). Promote the source first (`guardianflow promote "
        f"{BASE} --model-version 1`).",
        {"name": TWIN, "version": 5, "source_version": 1},
    ),
    "source unknown": (
        lambda: refusals.source_not_champion(replace(NOW, state={}, aliases={}), TWIN, 5, None),
        f"{TWIN} version 5 was made from version unknown of {BASE}, which is neither its "
        "@champion (none) nor its @candidate (none). Quantize again with `guardianflow run "
        "SCENARIO --type quant --version vN`.",
        {"name": TWIN, "version": 5, "source_version": None},
    ),
    "no operation": (
        lambda: refusals.no_operation(BASE),
        f"The ledger knows no operation of {BASE}. `guardianflow repair {BASE} --keep mlflow "
        "--reason ...` adopts the aliases.",
        {"name": BASE},
    ),
    "no version": (
        lambda: refusals.no_version(BASE, TWIN, 3),
        f"{TWIN} has no version 3 that guardianflow registered. `guardianflow rollback {BASE} "
        f'--reason "..."` goes back to the last good release, `guardianflow repair {BASE} --keep '
        "mlflow` accepts the aliases that are left.",
        {"name": TWIN, "version": 3},
    ),
    "champion gone": (
        lambda: refusals.champion_gone(BASE, 2),
        f"@champion of {BASE} is gone in MLflow, so MLflow's aliases cannot be kept. "
        f"`guardianflow repair {BASE} --keep ledger --reason ...` sets it to version 2 again; if "
        f"that version was deleted, `guardianflow rollback {BASE}` goes back to the last good "
        f"release. `guardianflow doctor {BASE}` says which.",
        {"name": BASE},
    ),
    "champion unknown": (
        lambda: refusals.champion_unknown(TWIN, 4),
        f"@champion of {TWIN} was set by hand to version 4, and the ledger knows no champion of "
        f"it: there is nothing to put back. `guardianflow repair {TWIN} --keep mlflow "
        f'--reason "..."` accepts it; or delete @champion of {TWIN} in the MLflow UI, then repair '
        "again.",
        {"name": TWIN, "version": 4},
    ),
    "nothing left": (
        lambda: refusals.nothing_left(BASE, 2),
        f"{BASE} has no @champion: version 2 was deleted in MLflow, and no earlier good champion "
        f"of it is left. Promote a version that exists: `guardianflow models {BASE}` lists them, "
        f"set @champion in MLflow to one you trust, then `guardianflow repair {BASE} "
        '--keep mlflow --reason "..."`.',
        {"name": BASE, "version": 2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_says_what_and_how_to_go_on(case):
    make, text, data = CASES[case]
    refusal = make()
    assert isinstance(refusal, Refused)
    assert refusal.message
    assert refusal.remedy
    assert str(refusal) == text
    assert refusal.data == data
