"""One automation for each message of `prefect_api/notifications.py`, found by its name.

    block that the operator chose -> each automation: absent -> created
                                                      different -> updated
                                                      ours, no longer described -> deleted

The automations themselves remember which block was chosen. Those of others are left alone.
"""

import json
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

from guardianflow.errors import InputError
from guardianflow.prefect_api.listing import all_pages
from guardianflow.prefect_api.notifications import TOLD, Notification

NOBODY = "none"
"""What an operator gives as the block to have no messages sent."""
_TAG = "guardianflow-told"
_CHOOSE = "choose a notification block: python -m deployments.apply --notify slack-webhook/oncall"


def apply_automations(client: SyncPrefectClient, notify: str | None = None) -> None:
    """Bring the automations that tell people to the described state.

    `notify` is `block-type/document` of a notification block, or `none` for no messages at all;
    None keeps the block that was chosen before.

    Raises:
        InputError: There is no such block, or it cannot notify.
    """
    mine = {automation.name: automation for automation in _ours(client)}
    if notify == NOBODY:
        for automation in mine.values():
            client.delete_automation(automation.id)
        print("no messages are sent from now on")
        return
    block = _find_block(client, notify) if notify else _remembered(client, list(mine.values()))
    if block is None:
        print(f"nobody is told of approvals, rollbacks and alarms; {_CHOOSE}")
        return
    for told in TOLD:
        _apply(client, _describe(told, block.id), mine.pop(told.name, None))
    for automation in mine.values():
        client.delete_automation(automation.id)
        print(f"deleted automation {automation.name!r}")
    print(f"people are told by the block {_label(block)}")


def _apply(client: SyncPrefectClient, wanted: AutomationCore, found: Automation | None) -> None:
    if found is None:
        client.create_automation(wanted)
        print(f"created automation {wanted.name!r}")
    elif _content(found) != _content(wanted):
        client.update_automation(found.id, wanted)
        print(f"updated automation {wanted.name!r}")


def _ours(client: SyncPrefectClient) -> list[Automation]:
    """The automations that this module made, whatever their names are now."""
    everything = all_pages(client.read_automations)
    return [automation for automation in everything if _TAG in automation.tags]


def _remembered(client: SyncPrefectClient, mine: list[Automation]) -> BlockDocument | None:
    """The block that was chosen before; None if none was, or if it is gone."""
    chosen = {
        action.block_document_id
        for automation in mine
        for action in automation.actions
        if isinstance(action, SendNotification)
    }
    for block_id in sorted(chosen):
        try:
            return client.read_block_document(block_id, include_secrets=False)
        except ObjectNotFound:
            print("the notification block that was chosen is gone")
    return None


def _find_block(client: SyncPrefectClient, notify: str) -> BlockDocument:
    block_type, _, document = notify.partition("/")
    try:
        block = client.read_block_document_by_name(document, block_type, include_secrets=False)
    except ObjectNotFound as error:
        raise InputError(
            f"The Prefect server has no block {notify!r}.",
            remedy="Make it in the Prefect UI under Blocks, then name it as type/document, e.g. "
            "slack-webhook/oncall or custom-webhook/oncall.",
            value=notify,
        ) from error
    schema = block.block_schema
    if schema is None or "notify" not in schema.capabilities:
        raise InputError(
            f"The block {notify!r} sends no notifications.",
            remedy="Choose a notification block, e.g. Slack Webhook, Email or Custom Webhook.",
            value=notify,
        )
    return block


def _label(block: BlockDocument) -> str:
    kind = block.block_type.slug if block.block_type else "?"
    return f"{kind}/{block.name}"


def _describe(told: Notification, block: UUID) -> AutomationCore:
    return AutomationCore(
        name=told.name,
        description=told.description,
        enabled=True,
        tags=[_TAG],
        trigger=EventTrigger.model_validate(told.trigger),
        actions=[
            SendNotification(
                block_document_id=block,
                subject=told.subject,
                body=told.body.replace("<ui>", _ui_address()),
            )
        ],
    )


def _ui_address() -> str:
    """Where people open Prefect: PREFECT_UI_URL, else what belongs to the API's address."""
    api = str(PREFECT_API_URL.value() or "").rstrip("/").removesuffix("/api")
    return str(PREFECT_UI_URL.value() or api).rstrip("/")


def _content(automation: AutomationCore) -> str:
    """What two automations are compared by, in a stable order."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if key != "id"}
        if isinstance(value, list):
            return sorted((plain(one) for one in value), key=json.dumps)
        return value

    fields = {"description", "enabled", "tags", "trigger", "actions"}
    return json.dumps(plain(automation.model_dump(mode="json", include=fields)), sort_keys=True)
