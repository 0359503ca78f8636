"""How often a setting reuses: all replans, or those that no reuse needed; words that are kept for ever."""

import numpy as np
import pytest

from kvlab.evidence import matching, share
from kvlab.study.settings import Setting
from made import made

NONE, GATE = Setting("none"), Setting("full", "vision >= 0.9")
WORDS = Setting("text_fixed:skip", "vision >= 0.9")
N, Y = False, True
RECORDS = made(
    {
        NONE: [(True, 18, [N] * 4), (True, 13, [N] * 3)],
        GATE: [(False, 220, [N, Y, N, Y, Y, Y]), (True, 8, [N, Y])],
        WORDS: [(False, 220, [N, N, N, Y, Y, Y]), (True, 8, [N, N])],
    }
)


def test_the_share_counts_all_replans():
    assert share.reuse_share(RECORDS, NONE) == 0
    assert share.reuse_share(RECORDS, GATE) == 5 / 8
    assert share.exposure(RECORDS, GATE)[["reused", "replans"]].to_numpy().tolist() == [[4, 6], [1, 2]]
    assert share.exposure(RECORDS, GATE)["success"].tolist() == [False, True]


def test_words_that_are_kept_count_as_reused_at_every_replan_but_the_first():
    assert share.reuse_share(RECORDS, WORDS) == 6 / 8 and share.allowed_share(RECORDS, WORDS) == 3 / 8
    assert share.exposure(RECORDS, WORDS)["reused"].tolist() == [5, 1]
    assert share.exposure_within(RECORDS, WORDS, NONE)["reused"].tolist() == [3, 1]
    assert share.reuse_interval(RECORDS, WORDS).estimate == 6 / 8


def test_within_no_reuse_what_follows_a_failure_is_not_counted():
    within = share.exposure_within(RECORDS, GATE, NONE)
    assert within[["reused", "replans"]].to_numpy().tolist() == [[2, 4], [1, 2]]
    assert within["success"].tolist() == [False, True]
    assert share.reuse_share(RECORDS, GATE, NONE) == 3 / 6
    table = {
        name: matching.matched(RECORDS, [GATE], [NONE, WORDS], beyond=True, **how, resamples=100)
        for name, how in (("all", {}), ("within", {"within": NONE}))
    }
    assert (table["all"]["reuse"][GATE], table["within"]["reuse"][GATE]) == (5 / 8, 3 / 6)


def test_the_mean_age_is_that_of_what_is_reused():
    """Ages 1, 1, 2, 3 and 1; within the 4 and 3 replans of no reuse 1, 1 and 1."""
    assert share.mean_age(RECORDS, GATE) == 8 / 5
    assert share.mean_age(RECORDS, GATE, NONE) == 1
    assert np.isnan(share.mean_age(RECORDS, NONE))


def test_other_episodes_are_refused():
    fewer = made({NONE: [(True, 5, [N])], GATE: [(True, 5, [N]), (True, 10, [N, Y])]})
    with pytest.raises(ValueError, match="`full when vision >= 0.9` and `none` were not run on the same episodes"):
        share.exposure_within(fewer, GATE, NONE)


def test_the_interval_of_a_share_speaks_of_episodes():
    records = made({GATE: [(True, 50, [N] + [Y] * 9), (True, 50, [N] * 10)]})  # one nearly always reuses, one never
    interval = share.reuse_interval(records, GATE)
    assert (interval.estimate, interval.low, interval.high) == (9 / 20, 0, 0.9)
    assert np.isclose(share.reuse_share(records, GATE), interval.estimate)
