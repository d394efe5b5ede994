"""The benchmarks that need everything of `make up`, at their smallest; no time is judged here."""

import pytest

from benchmarks import flow_overhead, idle, reaction


@pytest.mark.long
def test_the_benchmarks_of_reaction_and_of_flows_at_their_smallest(embedded):
    _, servers = embedded
    found = reaction.measure(servers, tries=1, windows=0)
    told = {row[0].partition(" →")[0]: row[2] for row in reaction.rows(found)}
    assert len(told) == 3
    assert found["event"]["n"] == found["answer"]["n"] == 1
    # What the steps take is what the whole took.
    whole, steps = found["event"]["p50_ms"] / 1000, found["event"]["p50_s_of_steps"]
    assert sum(steps.values()) == pytest.approx(whole, abs=0.05)
    assert min(steps.values()) >= 0
    flows = flow_overhead.measure(servers, rounds=0)
    assert flows["warm_up_s"]["flow"] > flows["warm_up_s"]["plain"] / 4 > 0


@pytest.mark.long
def test_the_benchmark_of_idle_servers_at_its_smallest(embedded):
    home, _ = embedded
    found = idle.measure(home / "up", seconds=1)
    assert len(found["processor_s_per_min"]) == len(found["pss_mib"]) == 4
    assert min(found["pss_mib"].values()) > 10
    assert [row[1] for row in idle.rows({"runs": [found]})] == ["≤ 5", "≤ 1", "stated"]
