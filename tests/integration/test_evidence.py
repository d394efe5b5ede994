"""What people decide on, made from a real detector and one that sees nothing, on real servers."""

import io
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from PIL import Image
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client

from blocks import ApprovalPolicy, MlflowCredentials, ScenarioConfig
from blocks.approval_policy import POLICY_DOCUMENT
from blocks.mlflow_credentials import DEFAULT_DOCUMENT
from flows.promotion import promote
from flows.publishing import evidence_key
from flows.retention import forget_pictures as step
from guardianflow.mlflow_store.records import read_record
from guardianflow.mlflow_store.runs import read_run_text
from guardianflow.monitoring.retention import delete_pictures, find_overdue, mark_deleted
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.promotion import decide, propose
from guardianflow.promotion.approval.policy import Answer, Choice
from guardianflow.promotion.evidence.pictures import UNTIL_METRIC
from guardianflow.promotion.examination import EVIDENCE_PAGE
from guardianflow.promotion.page import Links, evidence_page
from guardianflow.promotion.proposal import Proposal
from guardianflow.scenario import EvidenceSettings, GateSettings
from guardianflow.vision.metrics.disagreement import Disagreement
from tests.integration.learned import SETTINGS
from tests.integration.release_kit import register_copy
from tests.integration.test_approval_flow import until

GATE = GateSettings(min_map50=0.0, max_regression=1.0)
YES = Answer(decision=Choice.APPROVE, approver="Kim Minji", reason="saw the pictures")


@flow(name="retention-test")
def forget_pictures() -> int:
    """The step of a pass, which logs in its flow run."""
    return step()


@pytest.fixture
def registry(learned, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_HOME", str(learned.home))
    return learned.registry


@pytest.fixture
def floor(learned, registry):
    """A model whose champion sees, and whose candidate is blind."""
    name = f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"
    register_copy(learned, name, gate=GATE)
    token = str(uuid.uuid4())
    first = propose(registry, name, token=token, requested_by="lee")
    decide(registry, first, [YES], token=token)
    register_copy(learned, name, gate=GATE, blind=True)
    return name, first


def files(registry, run_id, folder=None):
    return {file.path for file in registry.client.list_artifacts(run_id, folder)}


def test_the_page_shows_where_the_two_disagree_and_pictures_go_when_their_time_is_over(
    registry, floor
):
    name, first = floor
    missed = first.pictures.counts
    assert set(missed) == {Disagreement.MISSED}

    asked = propose(registry, name, token=str(uuid.uuid4()), requested_by="lee")
    client, run_id = registry.client, asked.evidence_run_id
    candidate, champion = asked.subjects[0].candidate, asked.subjects[0].champion
    counts = asked.pictures.counts
    found = sum(one.recall * one.objects for one in champion.per_class.values())
    assert counts[Disagreement.LOST] == round(found) > 0
    assert counts[Disagreement.GAINED] == counts[Disagreement.NEW_ALARM] == 0
    assert counts[Disagreement.GONE_ALARM] == round(champion.false_alarms_per_image * 12)
    assert candidate.found_bounds.high == 0
    assert asked.subjects[0].difference.found.high < 0

    page = read_run_text(client, run_id, EVIDENCE_PAGE)
    assert page == evidence_page(asked, Links.to(client, asked))
    assert page.startswith("**Only 12 pictures, 20 needed: nothing here is certain.**")
    assert "On these pictures: " in page
    links = Links.to(client, asked).pictures
    assert files(registry, run_id, "disagreements") == set(links)
    assert len(links) == len(asked.pictures.shown) <= 8
    for address in links.values():
        assert f"]({address})" in page
        answer = requests.get(address, timeout=30)
        # A dark one has the same lightened below it.
        assert Image.open(io.BytesIO(answer.content)).width == 216

    def overdue(days):
        due = find_overdue(client, asked.time + timedelta(days=days))
        return [one for one in due if one.run_id == run_id]

    assert overdue(29) == []
    [record] = overdue(31)
    # Killed after it deleted, before it marked: the next pass does it again.
    delete_pictures(client, record)
    assert overdue(31) == [record]
    delete_pictures(client, record)
    mark_deleted(client, record)
    assert overdue(31) == []
    assert files(registry, run_id, "disagreements") == set()
    tidied = read_run_text(client, run_id, EVIDENCE_PAGE)
    assert "get-artifact" not in tidied
    assert tidied.count("(deleted after 30 days)") == len(links)
    assert page.count("shows it") == tidied.count("shows it") > 0
    assert read_record(client, run_id, Proposal).digest == asked.digest


def test_a_scenario_without_pictures_keeps_none(registry, learned):
    name = f"test/plant-{uuid.uuid4().hex[:10]}/welding/ppe"
    register_copy(learned, name, gate=GATE, evidence=EvidenceSettings(picture_days=0), blind=True)
    asked = propose(registry, name, token=str(uuid.uuid4()), requested_by="lee")
    assert asked.pictures.counts[Disagreement.MISSED] == asked.subjects[0].candidate.objects
    assert files(registry, asked.evidence_run_id) == {EVIDENCE_PAGE, "Proposal.json"}
    assert UNTIL_METRIC not in registry.client.get_run(asked.evidence_run_id).data.metrics


def test_a_person_reads_the_same_in_prefect_in_the_language_of_the_floor(
    prefect_server, mlflow_server, registry, learned, floor, request
):
    name, _ = floor
    for block in (MlflowCredentials, ApprovalPolicy, ScenarioConfig):
        block.register_type_and_schema()
    MlflowCredentials(tracking_uri=mlflow_server).save(DEFAULT_DOCUMENT, overwrite=True)
    ApprovalPolicy(rules=[]).save(POLICY_DOCUMENT, overwrite=True)
    common = {key: value for key, value in SETTINGS.items() if key != "versions"}
    # The version was trained in English; what people read is settled when they are asked. Other
    # tests have gates of their own in what they record under this name.
    request.addfinalizer(lambda: ScenarioConfig.delete(learned.scenario.name))
    ScenarioConfig(
        name=learned.scenario.name,
        common={
            **common,
            "language": "ko",
            "evidence": {"picture_days": 7},
            "gate": GATE.model_dump(mode="json"),
        },
        versions=SETTINGS["versions"],
        credentials=MlflowCredentials.load(DEFAULT_DOCUMENT),
    ).save(learned.scenario.name, overwrite=True)
    orchestrator, seen = Orchestrator(prefect_server), {}

    def answer():
        waiting = until(
            lambda: next((w for w in orchestrator.pending() if w.model_name == name), None)
        )
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(uuid.UUID(waiting.flow_run_id))
            key = run.state.state_details.run_input_keyset["description"]
            seen["form"] = json.loads(client.read_flow_run_input(run.id, key))
        seen["page"] = Artifact.get(evidence_key(name)).data
        seen["record"] = run.labels["guardianflow.shown"]
        registry.client.log_metric(seen["record"], UNTIL_METRIC, 1.0)
        forget_pictures()
        seen["kept"] = files(registry, seen["record"], "disagreements")
        orchestrator.answer(waiting.flow_run_id, "reject", "김민지", "미검출이 늘었습니다")

    with ThreadPoolExecutor(1) as pool:
        given = pool.submit(answer)
        state = promote(name, None, "박 | 서준", "새 안전모", return_state=True)
        given.result(120)
    assert state.name == "Rejected", state.message
    assert state.message.startswith("김민지 님의 반려가 기록되었습니다(사유: 미검출이 늘었습니다).")
    assert seen["form"].startswith("**사진이 12장뿐입니다(20장 필요).")
    assert "요청자: 박 \\| 서준, 사유: 새 안전모." in seen["form"]
    assert "/artifacts/artifact/" in seen["form"]
    assert "|---" not in seen["form"]
    client, run_id = registry.client, seen["record"]
    assert seen["page"] == read_run_text(client, run_id, EVIDENCE_PAGE)
    assert seen["kept"], "a question that waits has lost its pictures"

    assert forget_pictures() >= 1
    assert files(registry, run_id, "disagreements") == set()
    after = Artifact.get(evidence_key(name)).data
    assert after == read_run_text(client, run_id, EVIDENCE_PAGE)
    assert "(7일이 지나 삭제됨)" in after
    assert "get-artifact" not in after
    assert forget_pictures() == 0
