"""Which flow runs are asked for, and that none is left out; no server."""

from types import SimpleNamespace

import pytest

from guardianflow.prefect_api.listing import of_flow


class Prefect:
    """Gives at most two hundred flow runs at once, as the server does."""

    def __init__(self, count):
        self.runs = [
            SimpleNamespace(id=number, deployment_id=number % 3) for number in range(count)
        ]

    def read_flow_runs(self, *, flow_filter, flow_run_filter, limit=200, offset=0):
        return self.runs[offset : offset + min(limit, 200)]


@pytest.mark.parametrize("count", [0, 3, 200, 450])
def test_all_that_wait_are_found_however_many(count):
    assert len(of_flow(Prefect(count), "promote", ("PAUSED",))) == count
