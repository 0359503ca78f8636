"""The coverage simulation: it agrees with exact sums, and shows what the chapter says."""

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence.stats import coverage, rate_interval
from kvlab.paths import DATA


def covered(frame, method, target="these tasks"):
    return frame.query("method == @method and target == @target").coverage.item()


def test_exact_coverage_by_hand():
    # One episode: Clopper-Pearson is [0, 0.975] after a failure and [0.025, 1] after a success.
    low = rate_interval(1, 1).low
    rates = np.array([low / 2, 0.5, 1 - low / 2])
    assert coverage.exact_coverage("clopper_pearson", 1, rates).tolist() == pytest.approx([1 - low / 2, 1, 1 - low / 2])


def test_clopper_pearson_never_covers_less_than_it_says():
    rates = np.linspace(0, 1, 501)
    for episodes in (1, 3, 10, 100):
        assert coverage.exact_coverage("clopper_pearson", episodes, rates).min() >= 0.95


def test_three_episodes_by_simulation_are_the_exact_sum():
    frame = coverage.simulate_rates(1, 3, 0.9, 0.0, studies=4000, resamples=1000, seed=1)
    for method in ("clopper_pearson", "wilson", "jeffreys", "percentile"):
        exact = coverage.exact_coverage(method, 3, np.array([0.9])).item()
        assert covered(frame, method) == pytest.approx(exact, abs=0.025)
    # The percentile bootstrap misses whenever all three end alike: 1 - 0.9^3 - 0.1^3.
    assert covered(frame, "percentile") == pytest.approx(1 - 0.9**3 - 0.1**3, abs=0.025)


def test_correlated_tasks_separate_the_two_questions():
    frame = coverage.simulate_rates(10, 10, 0.7, 0.3, studies=400, resamples=400, seed=2)
    assert covered(frame, "clopper_pearson") > 0.97
    assert covered(frame, "clopper_pearson", "new tasks") < 0.85
    assert covered(frame, "cluster", "new tasks") > 0.85
    assert covered(frame, "stratified") > 0.88


def test_paired_differences_that_never_differ_defeat_the_bootstrap():
    frame = coverage.simulate_differences(1, 3, 0.9, 0.0, 0.0, studies=2000, resamples=400, seed=3)
    assert covered(frame, "tango") > 0.95
    # It misses unless a pair differs, which happens with chance 1 - 0.995^3.
    assert covered(frame, "percentile") == pytest.approx(1 - 0.995**3, abs=0.02)


def test_seed_decides():
    def run(seed):
        return coverage.simulate_rates(4, 5, 0.6, 0.2, studies=60, resamples=200, seed=seed)

    pd.testing.assert_frame_equal(run(5), run(5))
    assert not run(5).equals(run(6))


def test_committed_data_are_of_this_code():
    # One setting of the benchmark, as its command makes it.
    committed = pd.read_csv(DATA / "coverage" / "rates.csv").query("tasks == 1 and rate == 0.05")
    studies = int(committed.studies.iloc[0])
    again = coverage.simulate_rates(1, 3, 0.05, 0.0, studies=studies, resamples=1000, seed=2026)
    assert again.coverage.tolist() == pytest.approx(committed.coverage.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    "setting, message",
    [
        (dict(icc=1.0), r"icc = 1.0 must lie in \[0, 1\)"),
        (dict(rate=1.2), r"rate = 1.2 must lie in \[0, 1\]"),
        (dict(tasks=0), "tasks = 0 must be a whole number of at least 1"),
        (dict(studies=0), "studies = 0 must be a whole number of at least 1"),
    ],
)
def test_bad_input_names_the_value_and_the_rule(setting, message):
    usual = dict(tasks=2, trials=3, rate=0.5, icc=0.1, studies=5, resamples=100, seed=0)
    with pytest.raises(ValueError, match=message):
        coverage.simulate_rates(**{**usual, **setting})
