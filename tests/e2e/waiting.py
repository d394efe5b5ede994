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
    """Make it, a flow run of a deployment; its id and the keys of its form."""
    flow = client.create_flow_from_name("promote")
    deployment = client.create_deployment(flow, "guardianflow")
    parameters = {"model_name": "a"}
    run = client.create_flow_run_from_deployment(deployment, parameters=parameters).id
    state = Paused(timeout_seconds=600, pause_key=f"1-1-1-{uuid.uuid4().hex}")
    keys = keyset_from_paused_state(state)
    state.state_details.run_input_keyset = keys
    client.create_flow_run_input(run, keys["schema"], json.dumps(SCHEMA))
    client.create_flow_run_input(run, keys["description"], '"the evidence"')
    client.set_flow_run_state(run, state, force=True)
    return str(run), keys
