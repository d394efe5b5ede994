"""The book of approvals: what was asked, answered, voided and closed, and which codes are spent.

    experiment guardianflow.ledger
      index run           approvals/2026-11 -> id of the month's book       (write-once params)
      book of the month   ask.<request>.<round>          what was asked     (write-once params)
                          answer.<request>.<round>.<n>   what was answered
                          void.<request>.<round>         why it does not hold any more
                          reminded.<request>.<round>     told that its last day has begun
                          closed.<request>.<round>       what came of it
                          code.<approver>.<step>         the answer that spent this code

It lies beside the ledger, where only those may write who may promote in any case: an engineer's
account can write the evidence, but neither an answer nor what was asked. A request stands in the
book of the month in which it was made, a code in that of its time: who looks knows where.
"""

import re
from collections.abc import Mapping
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

_BOOK = "approvals/"
_WHAT = "the book of approvals"
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

    def entries(self, prefix: str = "") -> dict[str, str]:
        """What stands in the book, by key, of the keys that begin so."""
        params: Mapping[str, str] = read_run(self._client, self.run_id, _WHAT).data.params
        return {key: value for key, value in params.items() if key.startswith(prefix)}

    def write(self, key: str, value: str) -> str:
        """Write an entry unless it is there; what stands there then, which may be another's.

        Raises:
            PermissionDenied: The account may not write beside the ledger.
        """
        run = write_once(self._client, self.run_id, key, value, _WHAT)
        return str(run.data.params[key])


def open_book(client: MlflowClient, when: datetime) -> ApprovalLog:
    """The book of the month of a moment; made where it does not exist yet.

    Raises:
        PermissionDenied: The account may not write beside the ledger.
    """
    index = find_index(client) or prepare_server(client, again=False)
    key = _BOOK + when.astimezone(UTC).strftime("%Y-%m")
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
            # Deleting needs more rights than writing: else it stays, empty and without meaning.
            client.delete_run(mine)
    return ApprovalLog(client, elected)


def newest_books(client: MlflowClient) -> list[ApprovalLog]:
    """The books of the newest months; none on a server that has not asked anybody yet."""
    index = find_index(client)
    if index is None:
        return []
    known = read_index(client, index)
    months = sorted(key for key in known if key.startswith(_BOOK))[-MONTHS:]
    return [ApprovalLog(client, known[key]) for key in months]
