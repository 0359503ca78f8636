"""Intervals of one rate and their bootstraps: published values, properties, behaviour at the edges."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from kvlab.evidence.stats import bootstrap_rate, rate_interval

METHODS = ("clopper_pearson", "wilson", "jeffreys")
# Newcombe (1998), Statistics in Medicine 17:857, Table I (methods 5 and 3), printed to four decimals.
NEWCOMBE = {
    (81, 263): {"clopper_pearson": (0.2527, 0.3676), "wilson": (0.2553, 0.3662)},
    (15, 148): {"clopper_pearson": (0.0578, 0.1617), "wilson": (0.0624, 0.1605)},
    (0, 20): {"clopper_pearson": (0.0000, 0.1684), "wilson": (0.0000, 0.1611)},
    (1, 29): {"clopper_pearson": (0.0009, 0.1776), "wilson": (0.0061, 0.1718)},
}
counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
studies = st.lists(
    st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2, max_size=10
)


@pytest.mark.parametrize("method", ["clopper_pearson", "wilson"])
@pytest.mark.parametrize("k_n", NEWCOMBE)
def test_published_values_of_newcombe(k_n, method):
    interval = rate_interval(*k_n, method)
    assert (round(interval.low, 4), round(interval.high, 4)) == NEWCOMBE[k_n][method]


@pytest.mark.parametrize("k, n", [(1, 7), (3, 7), (62, 100)])
def test_jeffreys_is_the_central_part_of_its_posterior(k, n):
    interval = rate_interval(k, n, "jeffreys", 0.9)
    assert (interval.low, interval.high) == pytest.approx(scipy_stats.beta(k + 0.5, n - k + 0.5).interval(0.9))


def test_jeffreys_reaches_the_boundary_that_was_observed():
    assert rate_interval(0, 10, "jeffreys").low == 0
    assert rate_interval(10, 10, "jeffreys").high == 1


def test_three_of_three():
    assert round(rate_interval(3, 3).low, 2) == 0.29
    assert round(rate_interval(3, 3, "wilson").low, 2) == 0.44


@settings(deadline=None)
@given(counts, st.sampled_from(METHODS), st.floats(0.5, 0.999))
def test_interval_contains_the_estimate_and_stays_in_the_unit_range(k_n, method, confidence):
    interval = rate_interval(*k_n, method, confidence)
    assert interval.estimate in interval
    assert 0 <= interval.low <= interval.high <= 1
    assert interval.width > 0


@settings(deadline=None)
@given(counts, st.sampled_from(METHODS), st.floats(0.05, 0.99), st.floats(0.05, 0.99))
def test_intervals_are_nested_in_confidence(k_n, method, one, other):
    narrow, wide = (rate_interval(*k_n, method, confidence) for confidence in sorted((one, other)))
    assert wide.low <= narrow.low + 1e-12 and narrow.high <= wide.high + 1e-12


@settings(deadline=None)
@given(counts, st.sampled_from(METHODS), st.floats(0.05, 0.999))
def test_exchanging_success_and_failure_mirrors_the_interval(k_n, method, confidence):
    k, n = k_n
    one, other = rate_interval(k, n, method, confidence), rate_interval(n - k, n, method, confidence)
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)
    assert one.high == pytest.approx(1 - other.low, abs=1e-9)


@given(studies, st.sampled_from(["episodes", "stratified", "cluster"]), st.sampled_from(["percentile", "bca"]))
@settings(max_examples=60, deadline=None)
def test_bootstrap_contains_the_estimate_is_nested_and_has_width(study, scheme, method):
    k, n = map(np.array, zip(*study, strict=True))
    narrow, wide = (bootstrap_rate(k, n, scheme, method, confidence, resamples=2000) for confidence in (0.8, 0.99))
    assert narrow.estimate == k.sum() / n.sum()
    # A few tasks give so coarse a cluster distribution that a BCa tail may stop beside the estimate: then by one atom.
    if (scheme, method) != ("cluster", "bca"):
        assert narrow.estimate in narrow
    assert narrow.width > 0
    if not narrow.collapsed and not wide.collapsed:
        assert wide.low <= narrow.low and narrow.high <= wide.high


@given(studies, st.sampled_from(["episodes", "stratified", "cluster"]))
@settings(max_examples=30, deadline=None)
def test_bootstrap_mirrors_under_exchange(study, scheme):
    k, n = map(np.array, zip(*study, strict=True))
    assume(scheme != "cluster" or len(set(k / n)) > 1)
    one = bootstrap_rate(k, n, scheme, resamples=20_000)
    other = bootstrap_rate(n - k, n, scheme, resamples=20_000)
    # The tails fall on atoms that are at most one episode (one task, for clusters) apart.
    step = (1 if scheme != "cluster" else n.max()) / n.sum() + 1e-9
    assert one.low == pytest.approx(1 - other.high, abs=step)


def test_percentile_bootstrap_of_one_group_is_the_binomial():
    interval = bootstrap_rate([62], [100], "episodes", resamples=200_000)
    expected = scipy_stats.binom(100, 0.62).ppf([0.025, 0.975]) / 100
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_agrees_with_scipys_bootstrap_over_rows(method):
    rows = np.repeat([0.0, 1.0], [91, 9])
    reference = scipy_stats.bootstrap((rows,), np.mean, n_resamples=20_000, method=method, rng=1).confidence_interval
    interval = bootstrap_rate([9], [100], "episodes", method.lower(), resamples=20_000, seed=1)
    assert (interval.low, interval.high) == pytest.approx(reference, abs=0.0101)


def test_bca_of_clusters_agrees_with_scipys_bootstrap_over_tasks():
    k = np.array([3, 5, 10, 7, 9, 10, 0, 4, 8, 6])
    reference = scipy_stats.bootstrap((k / 10,), np.mean, n_resamples=50_000, method="BCa", rng=1).confidence_interval
    interval = bootstrap_rate(k, np.full(10, 10), "cluster", "bca", seed=1)
    assert (interval.low, interval.high) == pytest.approx(reference, abs=0.0101)


def test_stratified_is_narrower_and_cluster_wider_when_tasks_differ():
    k, n = np.array([0, 0, 1, 2, 5, 5, 8, 9, 10, 10]), np.full(10, 10)
    stratified, pooled, cluster = (bootstrap_rate(k, n, s).width for s in ("stratified", "episodes", "cluster"))
    assert stratified < 0.8 * pooled < pooled < 0.8 * cluster


@pytest.mark.parametrize("scheme", ["episodes", "stratified", "cluster"])
@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("k", [0, 10])
def test_collapsed_bootstrap_gives_exact_bounds_and_says_so(scheme, method, k):
    interval = bootstrap_rate([k] * 10, [10] * 10, scheme, method)
    exact = rate_interval(10 * k, 100)
    assert interval.collapsed and interval.method == "clopper_pearson"
    assert (interval.low, interval.high) == (exact.low, exact.high)
    assert "collapsed" in str(interval)


def test_equal_tasks_collapse_the_cluster_bootstrap_inside_the_range_too():
    interval = bootstrap_rate([5] * 10, [10] * 10, "cluster")
    assert interval.collapsed and interval.width > 0.1


def test_seed_decides():
    study = ([3, 5, 9, 12, 20], [10, 11, 13, 17, 29])
    runs = [bootstrap_rate(*study, "cluster", resamples=500, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: rate_interval(4, 3), r"successes = 4 must lie in 0\.\.3"),
        (lambda: rate_interval(-1, 3), r"successes = -1 must lie in 0\.\.3"),
        (lambda: rate_interval(0, 0), "episodes = 0 is an empty group"),
        (lambda: rate_interval(1.5, 3), "successes = 1.5 must be a whole number"),
        (lambda: rate_interval(1, 3, "wald"), "method = 'wald' is not known; choose one of clopper_pearson"),
        (lambda: rate_interval(1, 3, confidence=1.0), "confidence = 1.0 must lie strictly between 0 and 1"),
        (lambda: rate_interval(1, 3, confidence=float("nan")), "confidence = nan must lie strictly"),
        (lambda: bootstrap_rate([1, 2], [3]), "lists of equal length"),
        (lambda: bootstrap_rate([], []), "lists of equal length >= 1"),
        (lambda: bootstrap_rate([1, 0], [3, 0]), "episodes = 0 is an empty group"),
        (lambda: bootstrap_rate([0.5], [3]), "successes = 0.5 must be a whole number"),
        (lambda: bootstrap_rate([1], [3], "cluster"), "cluster bootstrap needs at least 2 tasks"),
        (lambda: bootstrap_rate([1], [3], "rows"), "scheme = 'rows' is not known"),
        (lambda: bootstrap_rate([1], [3], method="t"), "method = 't' is not known"),
        (lambda: bootstrap_rate([1], [3], resamples=10), "resamples = 10 must be a whole number of at least 100"),
        (lambda: bootstrap_rate([1], [3], confidence=0), "confidence = 0 must lie strictly"),
    ],
)
def test_bad_input_names_the_value_and_the_rule(call, message):
    with pytest.raises(ValueError, match=message):
        call()
