"""The approval rules on the MLflow server, where every command finds them.

Operators edit the rules as a block in Prefect. The release worker copies them to a tag of the
ledger's experiment before it asks and before it decides, so that a laptop without Prefect cannot
bypass them. An account that may write there may promote anyway (decision 0017).
"""

import json
from collections.abc import Sequence
from typing import cast

from mlflow import MlflowClient
from pydantic import TypeAdapter, ValidationError

from guardianflow.errors import ApprovalRequired, InputError
from guardianflow.mlflow_store.client import border, write_repeatably
from guardianflow.names import ModelName
from guardianflow.promotion.approval.policy import ApprovalRule, rule_for
from guardianflow.registry.ledger.index import find_index
from guardianflow.registry.ledger.log import prepare_server
from guardianflow.stored import require_reader

RULES_TAG = "guardianflow.approval_rules"
_MAX_VALUE = 5000
"""Characters of an experiment's tag in MLflow."""
_RULES = TypeAdapter(tuple[ApprovalRule, ...])


def read_rules(client: MlflowClient) -> tuple[ApprovalRule, ...]:
    """The rules of a server; none where nobody ever wrote any.

    Raises:
        InputError: Somebody edited them, and they are not rules any more.
        StoredUnreadable: They are for a newer version of guardianflow.
        LedgerDamaged: The ledger, which carries them, was deleted or renamed.
    """
    index = find_index(client)
    text = index.tags.get(RULES_TAG, "") if index else ""
    if not text:
        return ()
    try:
        content: object = json.loads(text)
        for rule in cast("list[object]", content) if isinstance(content, list) else ():
            require_reader(rule, f"approval rule in the tag {RULES_TAG}")
        return _RULES.validate_python(content, extra="ignore")
    except (ValueError, RecursionError) as error:
        first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        raise InputError(
            f"The tag {RULES_TAG} of the experiment guardianflow.ledger holds no approval rules: "
            f"{first['msg'] if first else error}.",
            remedy="Nothing is promoted until the flow `reconcile` has written those of the block "
            "guardianflow-approval again; it does so within ten minutes.",
        ) from error


def read_rule(client: MlflowClient, name: ModelName) -> ApprovalRule:
    """What an approval of a model needs now.

    Raises:
        InputError: The rules cannot be read.
    """
    return rule_for(read_rules(client), name)


def mirror_rules(client: MlflowClient, rules: Sequence[ApprovalRule]) -> bool:
    """Write the rules to the server unless they are there; return whether they were written.

    Raises:
        InputError: They are too long.
        PermissionDenied: The account may not write the ledger's experiment.
    """
    text = _RULES.dump_json(tuple(rules)).decode()
    if len(text) > _MAX_VALUE:
        raise InputError(
            f"The approval rules take {len(text)} characters, more than {_MAX_VALUE}.",
            remedy="Let one rule fit several models with a pattern, e.g. donghwa-entec/*.",
        )
    index = find_index(client)
    if (index.tags.get(RULES_TAG, "") if index else "") == text or (index is None and not rules):
        return False
    where = (index or prepare_server(client, again=False)).experiment_id
    with border("write the approval rules"):
        write_repeatably(lambda: client.set_experiment_tag(where, RULES_TAG, text))
    return True


def require_a_command_may(rule: ApprovalRule, name: ModelName) -> None:
    """Refuse to promote from the command line where the rule asks for more than a name.

    Raises:
        ApprovalRequired: It does.
    """
    if rule.asks_for_more_than_a_name:
        raise ApprovalRequired(
            f"A promotion of {name} needs {rule.in_words()}; an account at a command line "
            "is neither. Nothing was changed.",
            remedy=f"`guardianflow promote {name} --request` asks them.",
            name=name.public,
        )
