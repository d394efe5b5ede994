"""What `compare` says first: what the second version buys, and what it costs."""

import pytest

from guardianflow.cli.comparison_words import costs, counted, in_words
from guardianflow.evaluation.version_comparison import Side, VersionComparison
from guardianflow.evaluation.version_cost import (
    CostComparison,
    TimeRatio,
    VersionCost,
    measure_cost,
    weigh,
)
from guardianflow.scenario import SyntheticData
from guardianflow.vision.ir import ir
from guardianflow.vision.ir.processing import wrap
from guardianflow.vision.metrics.comparison import Difference, PairedComparison
from guardianflow.vision.metrics.evaluation import ClassFigures, Evaluation
from guardianflow.vision.metrics.latency import Latency
from guardianflow.vision.network.architectures import make_detector
from guardianflow.vision.network.detector import Architecture, DetectorShape
from guardianflow.vision.synthetic import draw_frame


def latency(ms, precision="f32"):
    return Latency(
        p50_ms=ms,
        p95_ms=2 * ms,
        precision=precision,
        instruction_set="AVX2",
        cpu="a CPU",
        threads=1,
        image_size=320,
        repeats=60,
    )


def evaluation(alarms, **recall):
    figures = {
        name: ClassFigures(ap50=value, recall=value, precision=0.5, objects=100)
        for name, value in recall.items()
    }
    return Evaluation(
        map50=0.5,
        map50_95=0.3,
        per_class=figures,
        false_alarms_per_image=alarms,
        images=72,
        objects=300,
        score_threshold=0.4,
    )


def by(value, width=0.01):
    return Difference(value=value, low=value - width, high=value + width)


def compared(**more):
    first = evaluation(0.2, person=0.9, helmet=0.8, no_helmet=0.81)
    second = evaluation(0.3, person=0.9, helmet=0.88, no_helmet=0.88)
    difference = PairedComparison(
        map50=by(0.0),
        map50_95=by(0.0),
        recall={"person": by(0.0), "helmet": by(0.08, 0.1), "no_helmet": by(0.07)},
        false_alarms_per_image=by(0.1),
        images=72,
        confidence=0.95,
        draws=100,
    )
    values = {
        "first": Side(model_name="a/b-c/d/ppe", version=1, evaluation=first),
        "second": Side(model_name="a/b-c/d/ppe", version=2, evaluation=second),
        "difference": difference,
        "gate": None,
        "cost": CostComparison(
            first=VersionCost(size_mib=2.04, latency=latency(14.6), memory_mib=71),
            second=VersionCost(size_mib=14.4, latency=latency(42.3), memory_mib=106),
            time_ratio=TimeRatio(value=2.9, low=2.7, high=3.1),
        ),
        **more,
    }
    return VersionComparison(**values)


def test_what_is_bought_comes_before_what_it_costs():
    assert in_words(compared()) == [
        "Better: of 100 workers without a helmet it misses 12 instead of 19.",
        "Worse: 30 false alarms in 100 pictures instead of 20.",
        "Not certain: of 100 helmets it misses 12 instead of 20.",
        "Cost on this machine: 2.9x the time per frame (42 ms instead of 15), 14 MiB of files "
        "instead of 2.0, 106 MiB of memory instead of 71.",
    ]


def test_the_greatest_gain_comes_first_and_a_busy_machine_is_named():
    one = compared()
    recall = {name: by(value) for name, value in (("person", 0.01), ("no_helmet", 0.07))}
    better = one.difference.model_copy(
        update={"recall": recall, "false_alarms_per_image": by(-0.1, 0.01)}
    )
    cost = one.cost.model_copy(update={"busy": True})
    gains, paid = in_words(compared(difference=better, cost=cost))
    assert gains.startswith("Better: 30 false alarms in 100 pictures instead of 20; of 100 workers")
    assert paid.startswith("Cost on this machine, busy with other work: 2.9x")


def test_where_nothing_differs_that_is_said():
    one = compared()
    same = compared(
        second=one.first,
        difference=one.difference.model_copy(
            update={
                "recall": dict.fromkeys(one.difference.recall, by(0.0)),
                "false_alarms_per_image": by(0.0),
            }
        ),
        cost=CostComparison(first=None, second=None),
    )
    assert in_words(same) == [
        "No difference in what is missed or falsely shown, as far as 72 pictures can show."
    ]


def test_one_whose_files_are_gone_is_named_and_the_other_is_still_weighed():
    one = compared()
    gone = one.first.model_copy(update={"problem": "Its file model.bin is gone."})
    cost = CostComparison(first=None, second=one.cost.second)
    found = compared(first=gone, difference=None, cost=cost)
    why, paid = in_words(found)
    assert why.startswith("ppe 1 could not be measured")
    assert why.endswith("Its file model.bin is gone.")
    assert "the second has 14 MiB of files, takes 42 ms per frame" in paid
    assert {row.says for row in found.rows()} == {"not to be told apart"}
    assert {row.difference for row in found.rows()} == {None}


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        ((0.5, 0.45, 0.55), "2.0x as fast per frame (7.2 ms instead of 15)"),
        ((1.2, 0.95, 1.4), "about the same time per frame (7.2 ms instead of 15)"),
        ((1.02, 1.01, 1.03), "about the same time per frame (7.2 ms instead of 15)"),
    ],
)
def test_a_time_within_chance_is_about_the_same(ratio, said):
    value, low, high = ratio
    cost = CostComparison(
        first=VersionCost(size_mib=2, latency=latency(15)),
        second=VersionCost(size_mib=1, latency=latency(7.2, "int8")),
        time_ratio=TimeRatio(value=value, low=low, high=high),
    )
    assert costs(cost) == f"{said}, 1.0 MiB of files instead of 2.0"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_helmet", "workers without a helmet"),
        ("No Gloves", "workers without gloves"),
        ("person", "people"),
        ("safety vest", "safety vests"),
        ("안전모", '"안전모"'),
    ],
)
def test_classes_are_counted_as_people_say_them(name, said):
    assert counted(name) == said


def test_two_are_timed_in_turns_and_weighed_in_files_and_memory(tmp_path):
    folders = []
    for shape in (DetectorShape(1, 4, 64), DetectorShape(1, 32, 128, Architecture.NANODET_G)):
        plain = tmp_path / f"plain-{shape.width}"
        ir.save(ir.convert_network(make_detector(shape).eval(), ("person",)), plain)
        folders.append(wrap(plain, tmp_path / f"edge-{shape.width}"))
    frames = [draw_frame(SyntheticData(kind="synthetic", image_size=128))]
    found = measure_cost(*folders, frames)
    ratio = found.second.latency.p50_ms / found.first.latency.p50_ms
    assert found.time_ratio.low <= found.time_ratio.value <= found.time_ratio.high
    assert found.time_ratio.value == pytest.approx(ratio)
    assert found.first.latency.threads == found.second.latency.threads == 1
    assert found.second.size_mib > 10 * found.first.size_mib
    assert found.second.memory_mib > found.first.memory_mib > 0
    alone = measure_cost(None, folders[1], frames)
    assert (alone.first, alone.time_ratio) == (None, None)
    assert alone.second.latency.p50_ms > 0
    assert weigh(folders[0], None).first == VersionCost(size_mib=found.first.size_mib)
