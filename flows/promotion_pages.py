"""Pages of a promotion in the Prefect UI: the evidence that is decided on, and the decision."""

from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.runtime import flow_run
from prefect.types import KeyValueLabelsField

from flows.publishing import artifact_key, evidence_key, show_page
from guardianflow.prefect_api.control import Orchestrator
from guardianflow.promotion.evidence.sentences import headline
from guardianflow.promotion.page import Links, evidence_page
from guardianflow.promotion.proposal import Proposal
from guardianflow.promotion.question import QuestionStatus
from guardianflow.registry import ModelRegistryManager
from guardianflow.wording.markdown import Markdown, plain, prose

_SHOWN = "guardianflow.shown"
_PAGE = "guardianflow.page"


def show_evidence(registry: ModelRegistryManager, proposal: Proposal) -> str:
    """Show the evidence once in the Prefect UI; return the address of the page.

    The page is made from what was asked: one that somebody edited in MLflow is not shown.
    """
    run = UUID(flow_run.get_id())
    ui = Orchestrator().ui_url
    with get_client(sync_client=True) as client:
        known = client.read_flow_run(run).labels or {}
        if known.get(_SHOWN) == proposal.evidence_run_id and _PAGE in known:
            return f"{ui}/artifacts/artifact/{known[_PAGE]}"
        get_run_logger().info("%s", proposal.headline)
        page = evidence_page(proposal, Links.to(registry.client, proposal))
        key = evidence_key(proposal.model_name)
        # The line above the page; the record and messages have it in English.
        said = headline(proposal.subjects, proposal.gate, proposal.language)
        shown = show_page(key, page, Markdown(said))
        # Let `guardianflow pending` see what is asked without opening the form.
        labels: KeyValueLabelsField = {
            "guardianflow.model.version": proposal.version,
            "guardianflow.headline": proposal.headline,
            _SHOWN: proposal.evidence_run_id,
            _PAGE: str(shown),
        }
        client.update_flow_run_labels(run, labels)
    return f"{ui}/artifacts/artifact/{shown}"


def show_decision(proposal: Proposal, status: QuestionStatus, message: str) -> None:
    """Show who answered what, and what came of it."""
    answers = "\n".join(
        f"- **{a.decision}** by {plain(a.who)}: {plain(a.reason)}" for a in status.counted
    )
    show_page(
        artifact_key("decision", proposal.model_name),
        f"{answers}\n\n{prose(message)}\n",
        f"{proposal.model_name} version {proposal.version}: {status.decision}",
    )
