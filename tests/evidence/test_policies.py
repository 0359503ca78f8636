"""An effect over several policies, against published examples and by hand."""

from math import sqrt

import pytest
from scipy.stats import norm, t

from kvlab.evidence.policies import ALL, FAILS, FEWEST, MOST, OPEN, further, held, pooled
from kvlab.evidence.stats import Interval, Pairs, paired_difference
from kvlab.evidence.verdicts import Prediction

# Log risk ratios of tuberculosis and their variances, 13 trials of BCG (Colditz et al. 1994; metafor's `dat.bcg`).
BCG = (
    (-0.8893, 0.3256), (-1.5854, 0.1946), (-1.3481, 0.4154), (-1.4416, 0.0200), (-0.2175, 0.0512), (-0.7861, 0.0069),
    (-1.6209, 0.2230), (0.0120, 0.0040), (-0.4694, 0.0564), (-1.3713, 0.0730), (-0.3394, 0.0124), (0.4459, 0.5325),
    (-0.0173, 0.0714),
)  # fmt: skip


def normal(estimate: float, variance: float, confidence: float = 0.95) -> Interval:
    half = norm.isf((1 - confidence) / 2) * sqrt(variance)
    return Interval(estimate, estimate - half, estimate + half, confidence, "normal")


def test_the_mean_over_trials_is_that_of_metafor():
    """rma(yi, vi, data=dat.bcg, method="PM"): tau^2 0.3181, estimate -0.7150."""
    found = pooled([normal(*one) for one in BCG])
    assert (found.spread**2, found.mean.estimate) == pytest.approx((0.3181, -0.7150), abs=1e-4)


def test_the_confidence_of_the_single_intervals_does_not_matter():
    wide = pooled([normal(*one, confidence=0.99) for one in BCG])
    narrow = pooled([normal(*one, confidence=0.8) for one in BCG])
    assert wide.mean.low == pytest.approx(narrow.mean.low) and wide.further.high == pytest.approx(narrow.further.high)


def test_the_prediction_interval_is_that_of_a_worked_example():
    """Borenstein et al. (2009), Introduction to Meta-Analysis, chapter 17: six studies, -0.2525 to 0.9690."""
    found = further(0.3582, 0.0373, 0.0111, 6)
    assert (found.low, found.high) == pytest.approx((-0.2525, 0.9690), abs=2e-4)


def test_with_equal_errors_all_is_counted_by_hand():
    """Then the mean is the plain one, and the variance of true effects what the errors leave of the plain one."""
    values, error = (-0.30, -0.10, -0.05, 0.05), 0.002
    found, middle = pooled([normal(value, error) for value in values], 0.9), -0.1
    plain = sum((value - middle) ** 2 for value in values) / 3
    assert found.mean.estimate == pytest.approx(middle) and found.spread**2 == pytest.approx(plain - error)
    half = t.ppf(0.95, 3) * sqrt(plain / 4)
    assert (found.mean.low, found.mean.high) == pytest.approx((middle - half, middle + half))
    half = t.ppf(0.95, 2) * sqrt(plain - error + plain / 4)
    assert (found.further.low, found.further.high) == pytest.approx((middle - half, middle + half))


def test_policies_that_agree_leave_no_spread_and_still_an_interval():
    equal = paired_difference(Pairs(100, 0, 0, 0))  # no pair differs
    found = pooled([equal] * 3)
    assert found.spread == 0 and found.mean.estimate == 0
    assert found.further.low < found.mean.low < 0 < found.mean.high < found.further.high


def test_an_effect_that_is_better_known_counts_more():
    few, many = paired_difference(Pairs(5, 0, 5, 0)), paired_difference(Pairs(500, 0, 0, 0))
    assert pooled([few, many, many]).mean.estimate > -0.5 / 3


def test_fewer_than_three_policies_have_no_mean():
    assert pooled([normal(0.1, 0.01)] * (FEWEST - 1)) is None and pooled([]) is None
    with pytest.raises(ValueError, match="needs 3 policies or more, got 2"):
        further(0, 1, 1, 2)


@pytest.mark.parametrize(
    ("shown", "verdict"),
    [
        ("+", ALL),
        ("+++", ALL),
        ("++?", MOST),
        ("++-", MOST),
        ("+?", OPEN),
        ("+-", OPEN),
        ("??-", OPEN),
        ("--+", FAILS),
        ("--", FAILS),
    ],
)
def test_where_a_finding_holds(shown, verdict):
    effects = {"+": (0.1, 0.3), "-": (-0.3, -0.1), "?": (-0.1, 0.1)}
    predictions = {
        str(n): Prediction(Interval(sum(effects[one]) / 2, *effects[one], 0.95, "t"), side=1)
        for n, one in enumerate(shown)
    }
    assert held(predictions) == verdict


def test_a_finding_of_no_policy_is_not_judged():
    with pytest.raises(ValueError, match="in one policy at least"):
        held({})
