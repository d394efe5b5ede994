"""A question that is suspended for real: asked again after answers that do not hold."""

import uuid

import pytest

from deployments import local
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.policy import Answer, Choice
from testbed.runs import make_run
from tests.e2e.plant import until

FILES = {"MLmodel": b"{}", "artifacts/ir/model.bin": b"weights"}


@pytest.mark.long
def test_answers_that_do_not_hold_are_asked_for_again_on_whichever_worker(plant):
    registry, name = plant.registry, f"test/lab-{uuid.uuid4().hex[:8]}/bench/ppe"

    def register():
        return registry.register_model(make_run(registry.client, FILES), "model", name).version

    def asked_after(before):
        def look():
            now = plant.asked(name)
            return now if now and now.since != before.since else None

        return until(look)

    def approve(waiting, approver):
        plant.orchestrator.answer(waiting.flow_run_id, "approve", approver, "an e2e test")

    version = register()
    parameters = {"model_name": name, "requested_by": "Park"}
    run = plant.orchestrator.submit("promote/guardianflow", parameters)
    first = until(lambda: plant.asked(name))
    assert (first.version, first.expires is not None) == (version, True)

    # Spaces name nobody: the server's schema takes them, the flow does not.
    approve(first, "   ")
    second = asked_after(first)

    token, other = str(uuid.uuid4()), register()
    proposal = propose(registry, name, other, token=token, requested_by="Choi")
    urgent = Answer(decision=Choice.APPROVE, approver="Choi", reason="urgent")
    decide(registry, proposal, [urgent], token=token)
    approve(second, "Kim Minji")
    third = asked_after(second)
    assert registry.get_champion(name).version == other
    assert third.version == version

    plant.kill("worker guardianflow-release")
    local.start(plant.state_dir)
    approve(third, "Lee Jun")
    done = plant.orchestrator.follow(run.id, lambda _: None)
    assert (done.state, registry.get_champion(name).version) == ("Promoted", version)
    history = registry.history(name)
    assert [operation.actor for operation in history] == ["Choi (declared)", "Lee Jun (declared)"]
