"""Tokens of what flow runs do: the same for every attempt, so that it is done once."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_TOKEN = re.compile(r"(?P<kind>[a-z]+)-(?P<run_id>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class TokenKind(StrEnum):
    """What a flow run does once."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    HEALTH = "health"
    DRILL = "drill"


@dataclass(frozen=True)
class RunToken:
    """What the ledger and records remember of the flow run that did something."""

    kind: TokenKind
    run_id: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.run_id}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The flow run of a token; None where none made it."""
        match = _TOKEN.fullmatch(text)
        if match is None or match["kind"] not in set(TokenKind):
            return None
        return cls(TokenKind(match["kind"]), match["run_id"])


def promotion_key(lifecycle_id: str) -> str:
    """The idempotency key under which a lifecycle's flow run submits its promotion.

    Prefect keeps it; it looks like a token of the ledger, and is none.
    """
    return f"promotion-{lifecycle_id}"
