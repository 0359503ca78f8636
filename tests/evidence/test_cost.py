"""What inference costs per control step and per solved episode, at the share of reuse in use, by hand."""

import pytest

from kvlab.evidence import cost
from kvlab.study.settings import Setting
from made import TIMES, made

N, Y = False, True


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


def test_a_longer_execution_needs_fewer_replans():
    none = Setting("none")
    often, seldom = (made({none: [(True, 40, [N] * many)]}) for many in (8, 4))
    assert cost.cost(none, seldom, TIMES) == cost.cost(none, often, TIMES) / 2
