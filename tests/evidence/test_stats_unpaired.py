"""Unpaired comparisons, families, posteriors, pilots and power: published and library values, properties, edges."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from kvlab.evidence.stats import (
    holm,
    independent_difference,
    pilot_hypergeometric,
    pilot_predictive,
    posterior,
    power_paired,
    power_unpaired,
    probability_better,
    probability_drop_below,
    rate_interval,
    smallest_drop_paired,
    smallest_drop_unpaired,
    unpaired_difference,
    unpaired_p,
)
from kvlab.evidence.stats.power import p_value_table

two_settings = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda n: st.tuples(st.integers(0, n[0]), st.just(n[0]), st.integers(0, n[1]), st.just(n[1]))
)
EDGES = [(0, 5, 0, 5), (5, 5, 5, 5), (5, 5, 0, 5), (0, 1, 1, 1), (3, 3, 7, 7)]


def test_three_of_three_against_none():
    assert unpaired_p(3, 3, 0, 3, "fisher") == pytest.approx(0.1)
    # The only tables as extreme are the two with all against none: at most 2 (1/2)^6.
    assert unpaired_p(3, 3, 0, 3, "boschloo") == pytest.approx(2 / 64)
    assert unpaired_p(3, 3, 0, 3, "barnard") == pytest.approx(2 / 64)


@pytest.mark.parametrize("test", ["boschloo", "barnard"])
def test_vaccine_example_of_mehta_and_senchaudhuri(test):
    # 7 of 15 against 12 of 15. R's Exact 3.x, a nuisance resolution of 1e-8: 0.06821831 (in scipy's own tests).
    assert unpaired_p(7, 15, 12, 15, test) == pytest.approx(0.06821831, rel=1e-4)


def test_barnard_keeps_ties_that_scipy_loses():
    # By hand: as extreme are 1/3 against 3/3 with its three mirror images (3 outcomes each) and the two tables of all
    # against none (1 each), together likeliest at a common rate of 1/2: (4 * 3 + 2) / 64.
    assert unpaired_p(1, 3, 3, 3, "barnard") == pytest.approx(14 / 64)


@pytest.mark.parametrize("test", ["boschloo", "barnard", "fisher"])
@pytest.mark.parametrize("counts", [(0, 5, 0, 5), (5, 5, 5, 5), (0, 2, 0, 7)])
def test_arms_without_contrast_have_p_one(counts, test):
    assert unpaired_p(*counts, test) == 1.0


@given(two_settings, st.sampled_from(["boschloo", "barnard", "fisher"]))
@settings(max_examples=40, deadline=None)
def test_p_value_does_not_depend_on_labels(counts, test):
    a, n, b, m = counts
    p = unpaired_p(a, n, b, m, test)
    assert 0 <= p <= 1
    assert unpaired_p(b, m, a, n, test) == pytest.approx(p, rel=1e-3)
    assert unpaired_p(n - a, n, m - b, m, test) == pytest.approx(p, rel=1e-3)


@settings(deadline=None)
@given(two_settings, st.floats(0.3, 0.99), st.floats(0.3, 0.99))
def test_difference_contains_is_nested_and_mirrors(counts, one, other):
    a, n, b, m = counts
    narrow, wide = (unpaired_difference(*counts, confidence) for confidence in sorted((one, other)))
    assert wide.low - 1e-12 <= narrow.low <= narrow.estimate <= narrow.high <= wide.high + 1e-12
    assert narrow.width > 0
    mirrored = unpaired_difference(n - a, n, m - b, m, narrow.confidence)
    assert (mirrored.low, mirrored.high) == pytest.approx((-narrow.high, -narrow.low), abs=1e-9)


def test_the_difference_of_two_rates_from_their_wilson_intervals_is_newcombes():
    one, other = rate_interval(56, 70, "wilson"), rate_interval(48, 80, "wilson")
    found, newcombe = independent_difference(one, other), unpaired_difference(56, 70, 48, 80)
    assert (found.estimate, found.low, found.high) == pytest.approx((newcombe.estimate, newcombe.low, newcombe.high))
    with pytest.raises(ValueError, match="intervals of 95% and 90%"):
        independent_difference(one, rate_interval(48, 80, confidence=0.9))


def test_newcombe_published_values():
    # Newcombe (1998), Statistics in Medicine 17:873, Table II, method 10: 56/70 - 48/80 and 10/10 - 0/10.
    first, last = unpaired_difference(56, 70, 48, 80), unpaired_difference(10, 10, 0, 10)
    assert (round(first.low, 4), round(first.high, 4)) == (0.0524, 0.3339)
    assert (round(last.low, 4), round(last.high, 4)) == (0.6075, 1.0)


def test_holm_by_hand():
    adjusted = holm(pd.Series({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}))
    # Ordered 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, then made non-decreasing (R's p.adjust gives the same).
    assert adjusted.to_dict() == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=10, deadline=None)  # statsmodels collects garbage at every call: 0.1 s
def test_holm_lies_between_raw_and_bonferroni(p_values):
    adjusted = holm(pd.Series(p_values)).to_numpy()
    raw = np.array(p_values)
    assert (adjusted >= raw - 1e-12).all() and (adjusted <= np.minimum(1, raw * len(raw)) + 1e-12).all()


@pytest.mark.parametrize("a, b", [(8, 3), (40, 60), (1, 1)])
def test_probability_better_agrees_with_simulation(a, b):
    rng = np.random.default_rng(3)
    n = 100
    setting, control = (posterior(k, n).rvs(400_000, random_state=rng) for k in (a, b))
    assert probability_better(a, n, b, n) == pytest.approx(np.mean(setting > control), abs=0.003)
    assert probability_drop_below(a, n, b, n, 0.05) == pytest.approx(np.mean(control - setting < 0.05), abs=0.003)


@given(two_settings)
@settings(max_examples=40, deadline=None)
def test_probability_better_mirrors_and_grows_with_the_margin(counts):
    a, n, b, m = counts
    better = probability_better(*counts)
    assert probability_better(b, m, a, n) == pytest.approx(1 - better, abs=1e-5)
    assert probability_better(n - a, n, m - b, m) == pytest.approx(1 - better, abs=1e-5)
    assert better - 1e-6 <= probability_drop_below(*counts, 0.1) <= 1


@pytest.mark.parametrize("counts", EDGES)
def test_everything_is_defined_at_the_edges(counts):
    values = [unpaired_difference(*counts).low, probability_better(*counts), probability_drop_below(*counts, 0.1)]
    assert all(math.isfinite(value) for value in values)


def test_pilot_as_a_draw_from_the_full_run():
    check = pilot_hypergeometric(3, 3, 10, 100)
    assert check.at_least == pytest.approx(10 * 9 * 8 / (100 * 99 * 98))
    assert check.expected == pytest.approx(0.3)
    assert check.at_most == pytest.approx(1)
    one = pilot_hypergeometric(1, 3, 50, 100)
    assert one.at_most + one.at_least - 1 == pytest.approx(3 * 50 * (50 * 49 / 2) / 161700 / 3)


def test_pilot_two_sided_is_fishers():
    # Drawing the pilot from the full run is Fisher's test of the pilot against the rest of that run.
    check = pilot_hypergeometric(3, 10, 60, 100)
    fisher = scipy_stats.fisher_exact([[3, 7], [57, 33]]).pvalue
    assert check.two_sided == pytest.approx(fisher)


def test_pilot_prediction_agrees_with_simulation():
    rng = np.random.default_rng(9)
    full = rng.binomial(100, posterior(3, 3).rvs(400_000, random_state=rng))
    check = pilot_predictive(3, 3, 57, 100)
    assert check.at_most == pytest.approx(np.mean(full <= 57), abs=0.003)
    assert check.at_least == pytest.approx(np.mean(full >= 57), abs=0.003)
    assert check.expected == pytest.approx(87.5)


@pytest.mark.parametrize("pairs, expected", [(100, 0.373077084), (249, 0.801446921)])
def test_power_of_mcnemar_as_in_pwrss(pairs, expected):
    # R pwrss, power.exact.mcnemar(prob10 = 0.20, prob01 = 0.10, ...), validated there against G*Power and PASS.
    assert power_paired(pairs, 0.20, 0.10) == pytest.approx(expected, abs=1e-8)


def test_power_of_unpaired_tests_as_in_r_exact():
    # Exact::power.exact.test(0.3, 0.1, 40, 40, method = "fisher") and (0.2, 0.1, 100, 100), whose default is z-pooled.
    assert power_unpaired(40, 40, 0.3, 0.1, "fisher") == pytest.approx(0.5339897, abs=1e-6)
    assert power_unpaired(100, 100, 0.2, 0.1, "barnard") == pytest.approx(0.501577, abs=1e-5)


@pytest.mark.parametrize("test", ["boschloo", "barnard", "fisher"])
@pytest.mark.parametrize("n, m", [(3, 3), (7, 5)])
def test_all_p_values_at_once_are_those_one_by_one(test, n, m):
    one_by_one = [[unpaired_p(a, n, b, m, test) for b in range(m + 1)] for a in range(n + 1)]
    assert p_value_table(n, m, test) == pytest.approx(np.array(one_by_one), rel=1e-3)


def test_boschloo_is_never_less_powerful_than_fisher():
    for control in (0.5, 0.8, 1.0):
        assert power_unpaired(10, 10, 0.3, control) >= power_unpaired(10, 10, 0.3, control, "fisher")


def test_three_episodes_find_next_to_nothing():
    assert smallest_drop_unpaired(3, 1.0, "fisher") == math.inf
    assert smallest_drop_paired(3) == math.inf
    # Only 3/3 against 0/3 is significant by Boschloo, and it must happen with chance 0.8: (1 - p)^3 = 0.8.
    assert smallest_drop_unpaired(3, 1.0) == pytest.approx(0.8 ** (1 / 3), abs=1e-5)


@pytest.mark.parametrize("flips", [0.0, 0.02, 0.1])
def test_smallest_drop_has_the_power_asked_for(flips):
    drop = smallest_drop_paired(100, flips, power=0.9)
    assert power_paired(100, flips, flips + drop) == pytest.approx(0.9, abs=1e-4)


def test_smallest_drop_shrinks_with_episodes():
    drops = [smallest_drop_paired(n, 0.02) for n in (20, 50, 100, 200)]
    assert drops == sorted(drops, reverse=True)


def test_power_by_simulation():
    rng = np.random.default_rng(2)
    cells = rng.multinomial(60, [0.05, 0.25, 0.70], size=2000)
    rejected = [b + c > 0 and scipy_stats.binomtest(int(b), int(b + c)).pvalue <= 0.05 for b, c, _ in cells]
    assert power_paired(60, 0.05, 0.25) == pytest.approx(np.mean(rejected), abs=0.03)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: unpaired_p(4, 3, 1, 3), r"successes = 4 must lie in 0\.\.3"),
        (
            lambda: unpaired_p(1, 3, 1, 3, "welch"),
            "test = 'welch' is not known; choose one of boschloo, barnard, fisher",
        ),
        (lambda: unpaired_difference(0, 0, 1, 3), "episodes = 0 is an empty group"),
        (lambda: unpaired_difference(1, 3, 1, 3, 95), "confidence = 95 must lie strictly"),
        (lambda: holm(pd.Series(dtype=float)), "family is empty"),
        (lambda: holm(pd.Series({"full": 1.2})), r"p-value 1.2 of 'full' must lie in \[0, 1\]"),
        (lambda: holm(pd.Series({"full": math.nan})), r"p-value nan of 'full' must lie in \[0, 1\]"),
        (lambda: posterior(-1, 3), "successes = -1"),
        (lambda: pilot_hypergeometric(3, 30, 3, 10), "30 episodes must not outnumber the full run's 10"),
        (lambda: pilot_predictive(3, 2, 3, 10), r"successes = 3 must lie in 0\.\.2"),
        (lambda: power_paired(0, 0.1, 0.2), "pairs = 0 must be a whole number of at least 1"),
        (lambda: power_paired(10, 0.6, 0.6), r"setting_only \+ control_only = 1.2 must lie in \[0, 1\]"),
        (lambda: power_unpaired(10, 10, 1.1, 0.5), "setting_rate = 1.1"),
        (lambda: smallest_drop_paired(10, flips=0.5), r"flips = 0.5 must lie in \[0, 0.5\)"),
        (lambda: smallest_drop_unpaired(10, 0.5, power=1), "power = 1 must lie strictly"),
    ],
)
def test_bad_input_names_the_value_and_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()
