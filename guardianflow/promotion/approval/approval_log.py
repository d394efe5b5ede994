"""The approval log: what was asked, answered, voided and closed, and which codes are spent.

    experiment guardianflow.ledger
      index run           approvals/2026-11 -> id of the month's log        (write-once params)
      log of the month    ask.<request>.<round>          what was asked     (write-once params)
                          answer.<request>.<round>.<n>   what was answered
                          void.<request>.<round>         why it does not hold any more
                          reminded.<request>.<round>     people were told that its last day began
                          closed.<request>.<round>       what came of it
                          code.<approver>.<step>         the answer that spent this code

It is stored beside the ledger, where only accounts that may promote can write: an engineer's
account can write the evidence, but neither an answer nor what was asked. A request is in the log of
the month in which it was made, a code in the log of its time.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from mlflow import MlflowClient

from guardianflow.errors import PermissionDenied
from guardianflow.mlflow_store.client import border
from guardianflow.registry.ledger.index import find_index, read_index
from guardianflow.registry.ledger.log import prepare_server
from guardianflow.registry.ledger.write_once import no_right, read_run, write_once

_MONTHS = "approvals/"
_WHAT = "the approval log"
# Requests are flow runs.
_ASK = re.compile(r"ask\.(?P<request>[0-9a-f-]{36})\.(?P<round>[0-9]+)")
MONTHS = 6
"""Months that are searched for open questions."""


@dataclass(frozen=True)
class RoundKey:
    """One round of a request, as the keys of its entries name it: `<request>.<round>`."""

    request: str
    number: int

    def __str__(self) -> str:
        return f"{self.request}.{self.number}"

    @classmethod
    def parse(cls, asked: str) -> Self | None:
        """The round of the key of what was asked, `ask.<request>.<round>`; None of another key."""
        match = _ASK.fullmatch(asked)
        return cls(match["request"], int(match["round"])) if match else None

    def entry(self, kind: str) -> str:
        """The key of an entry of this round, such as `void`."""
        return f"{kind}.{self}"

    def answer(self, number: int) -> str:
        """The key of an answer, from 1."""
        return f"{self.entry('answer')}.{number}"


class ApprovalLog:
    """The entries of one month."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def entries(self) -> dict[str, str]:
        """The entries by key."""
        return dict(read_run(self._client, self.run_id, _WHAT).data.params)

    def write(self, key: str, value: str) -> str:
        """Write an entry unless it is there; return what is there afterwards.

        Raises:
            PermissionDenied: The account may not write the ledger.
        """
        run = write_once(self._client, self.run_id, key, value, _WHAT)
        return str(run.data.params[key])


def open_approval_log(client: MlflowClient, when: datetime) -> ApprovalLog:
    """Return the log of the month of a moment; create it if it does not exist yet.

    Raises:
        PermissionDenied: The account may not write the ledger.
    """
    index = find_index(client) or prepare_server(client, again=False)
    key = _MONTHS + when.astimezone(UTC).strftime("%Y-%m")
    known = read_index(client, index)
    if run_id := known.get(key):
        return ApprovalLog(client, run_id)
    try:
        with border(f"create {_WHAT}"):
            run = client.create_run(index.experiment_id, run_name=key)
    except PermissionDenied as error:
        raise no_right(_WHAT) from error
    mine = run.info.run_id
    elected = write_once(client, index.run_id, key, mine, _WHAT).data.params[key]
    with suppress(PermissionDenied), border(f"create {_WHAT}"):
        if elected == mine:
            client.update_run(mine, status="FINISHED")
        else:
            # Deleting needs more rights than writing; without them an empty run stays.
            client.delete_run(mine)
    return ApprovalLog(client, elected)


def newest_approval_logs(client: MlflowClient) -> list[ApprovalLog]:
    """Return the logs of the newest months; none where nobody was ever asked."""
    index = find_index(client)
    if index is None:
        return []
    known = read_index(client, index)
    months = sorted(key for key in known if key.startswith(_MONTHS))[-MONTHS:]
    return [ApprovalLog(client, known[key]) for key in months]
