"""What inference costs: stage times that can be added by hand, and the recorded ones against their own totals."""

import pandas as pd
import pytest

from kvlab.evidence import cost
from kvlab.evidence.cost import MACHINES
from kvlab.paths import DATA
from kvlab.study.settings import Setting, parse_setting
from made import TIMES, made

N, Y = False, True


@pytest.mark.parametrize(
    ("text", "computed", "reused"),
    [
        ("full when every(2)", 71, 41),  # nothing is compared
        ("full when pixels >= 0.9", 72, 42),
        ("full when vision >= 0.9", 73, 53),  # the gate needs the image encoder
        ("full when vision >= 0.9 & state >= 0.9", 73, 53),
        ("prefix when vision >= 0.9", 73, 57),
        ("prefix when pixels >= 0.9 & age < 3", 72, 46),
        ("vision_only:splice when pixels >= 0.9", 72, 72),  # nothing is saved
    ],
)
def test_a_replan_is_the_sum_of_its_stages(text, computed, reused):
    setting = parse_setting(text)
    assert TIMES.replan_ms(setting, allowed=False) == computed
    assert TIMES.replan_ms(setting, allowed=True) == reused


def test_the_cost_is_at_the_share_of_reuse_in_use():
    none, full = Setting("none"), Setting("full", "every(2)")
    records = made(
        {none: [(True, 20, [N] * 4), (True, 10, [N] * 2)], full: [(True, 20, [N, Y, N, Y]), (True, 10, [N, Y])]}
    )
    assert cost.cost(none, records, TIMES) == 71 / 5
    assert cost.cost(full, records, TIMES) == pytest.approx((3 * 71 + 3 * 41) / 30)
    table = cost.savings(records, [none, full], none, TIMES)
    assert table["of_control"].tolist() == pytest.approx([1, 56 / 71]) and table["reuse"].tolist() == [0, 0.5]
    assert table["ms_replan"].tolist() == [71, 56] and table["of_budget"][none] == pytest.approx(71 / 250)


def test_what_is_saved_per_step_can_be_lost_by_more_steps():
    none, full = Setting("none"), Setting("full", "every(2)")
    records = made(
        {
            none: [(True, 20, [N] * 4), (True, 20, [N] * 4), (True, 5, [N])],
            full: [(True, 40, [N, Y] * 4), (True, 40, [N, Y] * 4), (False, 220, [N, Y] * 22)],
        }
    )
    assert cost.cost(full, records, TIMES) < cost.cost(none, records, TIMES)
    assert cost.inference_ratio(records, full, none, TIMES).estimate == pytest.approx(2 * 56 / 71)
    assert cost.inference_ratio(made({none: [(True, 5, [N])], full: [(True, 5, [N])]}), full, none, TIMES) is None


def test_lerobot_is_named_by_whether_it_was_compiled():
    facts = {"lerobot": "0.6.1", "lerobot_ms": [3.0, 1.0, 2.0], "lerobot_compiled_ms": [0.5, 0.7]}
    found = cost.lerobot(facts)
    assert found.to_dict() == {"LeRobot 0.6.1, not compiled": 2.0, "LeRobot 0.6.1, compiled": 0.6}
    assert cost.lerobot({"lerobot": None}).empty


def test_a_longer_execution_needs_fewer_replans():
    none = Setting("none")
    often, seldom = (made({none: [(True, 40, [N] * many)]}) for many in (8, 4))
    assert cost.cost(none, seldom, TIMES) == cost.cost(none, often, TIMES) / 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "layer_wise[2:]:skip when vision >= 0.9",
            r"no time of the mode `layer_wise\[2:\]:skip` on a machine; timed are full, pre",
        ),
        ("full when vision >= 0.9 if spread < 0.3 else 0.99", "measure their spread, of which there is no time"),
    ],
)
def test_what_was_not_timed_is_said(text, says):
    with pytest.raises(ValueError, match=says):
        TIMES.replan_ms(parse_setting(text), allowed=True)
    with pytest.raises(ValueError, match="no machine is called 'toaster'; times are recorded of cpu, h100"):
        cost.latency("toaster")


@pytest.mark.parametrize("machine", MACHINES)
def test_added_stages_agree_with_the_measured_totals(machine):
    _, table, implementation = MACHINES[machine]
    samples = pd.read_csv(DATA / "latency" / f"{table}.csv")
    samples = samples[samples["implementation"] == implementation] if implementation else samples
    times, seen = cost.latency(machine), 0
    for text, rows in samples.groupby("setting"):
        if " & " not in text:  # what watches every similarity is no setting of a study
            total = times.replan_ms(parse_setting(text), allowed=rows["reused"].iloc[0])
            assert total == pytest.approx(rows["ms_total"].median(), rel=0.04), text
            seen += 1
    assert seen >= 8
