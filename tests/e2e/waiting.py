"""A promotion that waits on a Prefect server, as the flow leaves it, without the flow."""

import json
import uuid

from prefect.input import keyset_from_paused_state
from prefect.states import Paused

SCHEMA = {
    "type": "object",
    "title": "PromotionAnswer",
    "properties": {
        "decision": {"enum": ["approve", "reject"], "type": "string", "title": "Decision"},
        "approver": {"type": "string", "title": "Approver"},
        "reason": {"type": "string", "title": "Reason"},
    },
    "required": ["decision", "approver", "reason"],
}


def wait_for_an_answer(client):
    """Make it; the id of its flow run and the keys of its form."""
    flow = client.create_flow_from_name("promote")
    made = {"flow_id": str(flow), "parameters": {"model_name": "a"}}
    run = client.request("POST", "/flow_runs/", json=made).json()["id"]
    state = Paused(timeout_seconds=600, pause_key=f"1-1-1-{uuid.uuid4().hex}")
    keys = keyset_from_paused_state(state)
    state.state_details.run_input_keyset = keys
    client.create_flow_run_input(uuid.UUID(run), keys["schema"], json.dumps(SCHEMA))
    client.create_flow_run_input(uuid.UUID(run), keys["description"], '"the evidence"')
    client.set_flow_run_state(uuid.UUID(run), state, force=True)
    return run, keys
