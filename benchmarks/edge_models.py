"""From a trained network to what an edge box runs, as the lifecycle does it, without a server."""

from pathlib import Path

from guardianflow.lifecycle.quantization.variants import make_int8
from guardianflow.scenario import Scenario
from guardianflow.vision.data.dataset import Dataset
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.metrics.thresholds import settle_thresholds
from guardianflow.vision.network.detector import Detector


def make_edge_models(
    scenario: Scenario, dataset: Dataset, detector: Detector, folder: Path
) -> dict[str, Path]:
    """Write the edge IRs `edge-fp32` and `edge-int8` into a folder; where they are, by precision.

    Both show boxes from the thresholds that the FP32 IR has on val.
    """
    fp32 = ir.save(ir.convert_network(detector, dataset.classes), folder / "fp32")
    int8, _ = make_int8(scenario.quantization, fp32, dataset, folder, lambda *_: None)
    shown = settle_thresholds(fp32, dataset.samples("val"), beta=scenario.evaluation.beta)
    made: dict[str, Path] = {}
    for plain, precision in ((fp32, "fp32"), (int8, "int8")):
        ir.set_thresholds(plain, shown)
        made[precision] = wrap(plain, folder / f"edge-{precision}")
    return made
