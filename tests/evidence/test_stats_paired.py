"""Paired comparisons: published values, properties, matching of episodes."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from kvlab.evidence.stats import (
    Pairs,
    mcnemar_p,
    pair,
    paired_bootstrap,
    paired_difference,
)

# Tango (1998), section 6.1: soft contact lenses, 43 both effective, 1 only under the standard; margin 0.1.
LENSES = Pairs(both=43, setting_only=0, control_only=1, neither=0)
# Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850: airway hyper-responsiveness before and after.
AIRWAYS = Pairs(both=1, setting_only=1, control_only=7, neither=12)

tables = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda cells: sum(cells) > 0).map(lambda cells: Pairs(*cells))


def swapped(pairs):
    return Pairs(pairs.both, pairs.control_only, pairs.setting_only, pairs.neither)


def failures(pairs):
    return Pairs(pairs.neither, pairs.control_only, pairs.setting_only, pairs.both)


def test_published_example_of_tango():
    assert round(paired_difference(LENSES, 0.90).low, 3) == -0.096  # one-sided 5 %
    # His score of the margin is 1.709 (p = 0.044): the interval with just that reach ends at the margin.
    assert round(paired_difference(LENSES, 1 - 2 * scipy_stats.norm.sf(1.709)).low, 3) == -0.1


def test_published_example_of_fagerland():
    interval = paired_difference(AIRWAYS)
    assert (round(interval.low, 3), round(interval.high, 3)) == (-0.517, -0.026)
    assert mcnemar_p(AIRWAYS) == pytest.approx(0.0703125)


def test_r_propcis():
    # scoreci.mp(25, 28, 618, conf.level = 0.90) prints -0.0148 and 0.0247; its difference is second minus first.
    interval = paired_difference(Pairs(both=300, setting_only=28, control_only=25, neither=265), 0.90)
    assert (round(interval.low, 4), round(interval.high, 4)) == (-0.0148, 0.0247)


@given(tables, st.floats(0.05, 0.999))
@settings(deadline=None)
def test_interval_contains_the_difference_has_width_and_stays_in_range(pairs, confidence):
    interval = paired_difference(pairs, confidence)
    assert -1 <= interval.low <= pairs.difference <= interval.high <= 1
    assert interval.width > 0


@given(tables, st.floats(0.05, 0.99), st.floats(0.05, 0.99))
@settings(deadline=None)
def test_intervals_are_nested_in_confidence(pairs, one, other):
    narrow, wide = (paired_difference(pairs, confidence) for confidence in sorted((one, other)))
    assert wide.low <= narrow.low + 1e-9 and narrow.high <= wide.high + 1e-9


@given(tables)
@settings(deadline=None)
def test_exchanging_arms_or_outcomes_mirrors_everything(pairs):
    interval = paired_difference(pairs)
    for other in (swapped(pairs), failures(pairs)):
        mirrored = paired_difference(other)
        assert (interval.low, interval.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)
        assert mcnemar_p(other) == pytest.approx(mcnemar_p(pairs))


@pytest.mark.parametrize("pairs", [Pairs(100, 0, 0, 0), Pairs(0, 0, 0, 100), Pairs(50, 0, 0, 50), Pairs(3, 0, 0, 0)])
def test_no_differing_pair_still_leaves_uncertainty(pairs):
    interval = paired_difference(pairs)
    z2 = scipy_stats.norm.isf(0.025) ** 2
    # With no differing pair the score equation has the closed solution z^2 / (n + z^2).
    assert (interval.low, interval.high) == pytest.approx((-z2 / (pairs.n + z2), z2 / (pairs.n + z2)), abs=1e-9)
    assert mcnemar_p(pairs) == 1.0
    bootstrap = paired_bootstrap(pairs, "episodes")
    assert bootstrap.collapsed and bootstrap.method == "tango" and bootstrap.width == pytest.approx(interval.width)


def test_mcnemar_is_the_binomial_test_of_differing_pairs():
    for b, c in itertools.product(range(8), repeat=2):
        if b + c:
            expected = scipy_stats.binomtest(b, b + c).pvalue
            assert mcnemar_p(Pairs(5, b, c, 2)) == pytest.approx(expected)


def test_paired_bootstrap_agrees_with_scipys_over_rows():
    rows = np.repeat([-1.0, 0.0, 1.0], [12, 83, 5])
    reference = scipy_stats.bootstrap((rows,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    interval = paired_bootstrap(Pairs(40, 5, 12, 43), "episodes", "bca", resamples=20_000)
    assert (interval.low, interval.high) == pytest.approx(reference, abs=0.0101)


def outcomes(successes, tasks=2):
    index = pd.MultiIndex.from_product([range(tasks), range(len(successes) // tasks)], names=["task", "initial_state"])
    return pd.Series(successes, index=index)


def test_pair_matches_by_episode_whatever_the_order():
    setting, control = outcomes([1, 1, 0, 0, 1, 0]), outcomes([1, 0, 0, 1, 0, 0]).astype(bool)
    pairs = pair(setting, control.sample(frac=1, random_state=3))
    assert (pairs.both, pairs.setting_only, pairs.control_only, pairs.neither) == (1, 2, 1, 2)
    assert pairs.by_task.tolist() == [[0, 2, 1], [1, 1, 1]]
    assert pairs.difference == pytest.approx(1 / 6)


def test_tango_covers_at_ten_by_ten_by_simulation():
    rng, covered = np.random.default_rng(11), 0
    truth = np.array([0.60, 0.05, 0.15, 0.20])
    for cells in rng.multinomial(100, truth, size=1000):
        covered += truth[1] - truth[2] in paired_difference(Pairs(*map(int, cells)))
    assert 930 <= covered <= 970


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: pair(outcomes([1, 0]), outcomes([1, 0, 1, 1])),
            r"2 episodes are not in both settings, \(0, 1\) for one",
        ),
        (
            lambda: pair(pd.concat([outcomes([1, 0])] * 2), outcomes([1, 0])),
            r"setting has the episode \(0, 0\) more than once",
        ),
        (
            lambda: pair(outcomes([1, 0]), outcomes([1, 2])),
            r"control's outcome .*2.* of episode \(1, 0\) must be 0 or 1",
        ),
        (lambda: pair(outcomes([1, np.nan]), outcomes([1, 0])), r"setting's outcome .*nan.* must be 0 or 1"),
        (lambda: pair(outcomes([]), outcomes([])), "no pairs"),
        (lambda: Pairs(1, -1, 0, 0), "setting_only = -1 must be a whole number of at least 0"),
        (lambda: Pairs(0, 0, 0, 0), "no pairs"),
        (lambda: paired_difference(LENSES, 1.5), "confidence = 1.5 must lie strictly between 0 and 1"),
        (lambda: paired_bootstrap(LENSES, "cluster"), "cluster bootstrap needs at least 2 tasks"),
    ],
)
def test_bad_input_names_the_value_and_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()
