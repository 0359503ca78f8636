"""Control steps to success: ratios that can be computed by hand, and what failures do to each measure."""

from math import exp, log

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from kvlab.evidence import control_steps
from kvlab.study.settings import Setting
from made import made

NONE, SLOW = Setting("none"), Setting("full", "vision >= 0.9")
REACH = 12.706204736  # Student's t with one degree of freedom, 97.5 %


def records(none, slow):
    episodes = {s: [(won, steps, [False]) for won, steps in rows] for s, rows in ((NONE, none), (SLOW, slow))}
    return made(episodes)


def test_the_ratio_is_over_episodes_that_both_solve():
    found = control_steps.steps_ratio(
        records(
            [(True, 100), (True, 50), (True, 80), (False, 220)], [(True, 100), (True, 200), (False, 220), (True, 60)]
        ),
        SLOW,
        NONE,
    )
    assert found.estimate == pytest.approx(2)  # of 1 and 4
    assert (found.low, found.high) == pytest.approx((2 * exp(-REACH * log(2)), 2 * exp(REACH * log(2))))


def test_the_restricted_mean_counts_a_failure_as_the_limit():
    found = control_steps.restricted_difference(
        records([(True, 100), (True, 50)], [(True, 110), (False, 220)]), SLOW, NONE
    )
    assert found.estimate == (10 + 170) / 2
    assert found.high - found.estimate == pytest.approx(REACH * 80)


def test_one_common_success_has_no_interval_and_none_no_mean():
    some = records([(True, 100), (False, 220)], [(True, 100), (True, 50)])
    assert control_steps.steps_ratio(some, SLOW, NONE) is None
    assert control_steps.mean_steps(some, SLOW) == 75 and control_steps.mean_steps(some, NONE) == 100
    assert np.isnan(control_steps.mean_steps(records([(False, 220)] * 2, [(True, 9)] * 2), NONE))


def test_equal_values_say_nothing_of_their_spread():
    same = control_steps.steps_ratio(records([(True, 100)] * 3, [(True, 100)] * 3), SLOW, NONE)
    assert (same.estimate, same.low, same.high, same.collapsed) == (1, 1, 1, True)


@pytest.mark.parametrize(
    ("values", "says"), [([1.0, 0.0], "ratios above 0"), ([1.0], "two or more"), ([], "two or more")]
)
def test_what_has_no_mean_ratio(values, says):
    with pytest.raises(ValueError, match=says):
        control_steps.mean_ratio(pd.Series(values, dtype=float))


def test_other_episodes_are_refused():
    with pytest.raises(ValueError, match="were not run on the same episodes"):
        control_steps.steps_ratio(records([(True, 9)] * 2, [(True, 9)] * 3), SLOW, NONE)


def test_a_difference_of_means_is_welchs():
    """Worked out by hand: means 2 and 6, squared errors of 1/3 and 4/3, so 2.94 degrees of freedom."""
    found = control_steps.mean_difference(pd.Series([1.0, 2.0, 3.0]), pd.Series([4.0, 6.0, 8.0]))
    half = t.ppf(0.975, (5 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2)) * (5 / 3) ** 0.5
    assert (found.estimate, found.low, found.high) == pytest.approx((-4, -4 - half, -4 + half))
    with pytest.raises(ValueError, match="two or more differing values"):
        control_steps.mean_difference(pd.Series([1.0]), pd.Series([4.0, 6.0]))
