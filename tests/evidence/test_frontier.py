"""The frontier: who is on it by hand, how sure that is, and what is cheapest within a margin."""

import numpy as np
import pytest

from kvlab.evidence import frontier
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency
from made import TIMES, made

NONE, CLOCK, PREFIX = (parse_setting(text) for text in ("none", "full when every(2)", "prefix when every(2)"))
N, Y = False, True


def records(won_by_clock: int, won_by_prefix: int, suite: str = "libero_spatial"):
    return made(
        {
            NONE: [(True, 20, [N] * 4)] * 100,
            CLOCK: [(n < won_by_clock, 20, [N, Y, N, Y]) for n in range(100)],
            PREFIX: [(n < won_by_prefix, 20, [N, Y, N, Y]) for n in range(100)],
        },
        suite,
    )


def test_nobody_beats_a_member():
    price, success = np.array([[1.0, 2, 3, 3, 2]]), np.array([[5.0, 7, 7, 9, 7]])
    # dearer and no better than the second; equal to it in both, which does not beat it
    assert frontier.pareto(price, success).tolist() == [[True, True, False, True, True]]


def test_a_table_in_the_order_of_cost():
    table = frontier.frontier(records(64, 94), [NONE, CLOCK, PREFIX], TIMES, resamples=200)
    assert list(table.index) == [CLOCK, PREFIX, NONE]
    assert [i.estimate for i in table["ms_step"]] == pytest.approx([11.2, 11.6, 14.2])
    assert [i.estimate for i in table["success"]] == [0.64, 0.94, 1.0]
    assert table["pareto"].all() and (table["chance"] > 0.95).all()


def test_the_chance_is_a_coin_where_two_settings_differ_by_chance():
    """The dearer one solves one episode more: drawn again, it is not ahead in about every third study."""
    table = frontier.frontier(records(50, 51), [CLOCK, PREFIX], TIMES, resamples=4000)
    assert table["chance"][CLOCK] == 1
    # one episode decides: it is drawn at least once in 1 - (1 - 1/10)^10 = 65 % of the resamples (10 episodes a task)
    assert table["chance"][PREFIX] == pytest.approx(1 - 0.9**10, abs=0.03)


def test_the_cheapest_within_the_margin_in_both_suites():
    both = {"libero_spatial": records(64, 100), "libero_10": records(100, 100, "libero_10")}
    bought = frontier.within_margin(both, [NONE, CLOCK, PREFIX], NONE, {"machine": TIMES})
    assert list(bought.index) == [CLOCK, PREFIX, NONE] and frontier.cheapest(bought) == PREFIX
    assert bought["libero_spatial", "loss"].tolist() == ["outside", "inside", "inside"]
    assert bought["machine", "of_control"].tolist() == pytest.approx([56 / 71, 58 / 71, 1])
    assert frontier.cheapest(bought.drop([PREFIX, NONE])) is None


def test_settings_on_other_episodes_are_refused():
    some = made({NONE: [(True, 20, [N])] * 3, CLOCK: [(True, 20, [N])] * 2})
    with pytest.raises(ValueError, match="were not run on the same episodes"):
        frontier.frontier(some, [NONE, Setting("full", "every(2)")], TIMES)


def test_policies_are_compared_on_the_same_episodes_each_by_its_own_times():
    half = Latency("half", TIMES.stages / 2)
    runs = {"small": (records(90, 0), NONE, half), "large": (records(90, 0), CLOCK, TIMES)}
    table = frontier.of_runs(runs, resamples=200)
    assert list(table.index) == ["small", "large"]
    assert [one.estimate for one in table["ms_step"]] == pytest.approx([7.1, 11.2])
    assert table["pareto"].tolist() == [True, False]
    with pytest.raises(ValueError, match="all on the same episodes"):
        frontier.of_runs(runs | {"other": (made({NONE: [(True, 20, [N])] * 3}), NONE, TIMES)})
    with pytest.raises(ValueError, match="a frontier has runs"):
        frontier.of_runs({})
