"""The declared comparisons: one family of fixed size, whatever is recorded so far."""

import pandas as pd
import pytest

from kvlab.evidence.primary import NO_REUSE, PRIMARY, SUITES, primary
from kvlab.study.settings import parse_setting
from made import made

N = [False]


def records(suite: str, **lost: int):
    """100 episodes of no reuse, all solved, and of each named setting with so many lost."""
    outcomes = {NO_REUSE: [(True, 90, N)] * 100}
    for text, failures in lost.items():
        outcomes[parse_setting(text)] = [(n >= failures, 90, N) for n in range(100)]
    return made(outcomes, suite)


def test_the_family_is_both_suites_times_the_list_even_where_nothing_is_recorded():
    table = primary({})
    assert list(table.index) == [(suite, text) for suite in SUITES for text in PRIMARY]
    assert table["p"].isna().all() and table["p_holm"].isna().all()


def test_holm_counts_what_is_not_recorded_yet():
    spatial = records("libero_spatial", **{"full when every(2)": 36, "prefix when vision >= 0.945": 6})
    found = primary({"libero_spatial": spatial}).loc["libero_spatial"]
    many = len(SUITES) * len(PRIMARY)
    assert found.loc["full when every(2)", ["lost", "won", "n"]].tolist() == [36, 0, 100]
    assert found["p_holm"]["full when every(2)"] == pytest.approx(2 * 0.5**36 * many)
    assert found["p_holm"]["prefix when vision >= 0.945"] == pytest.approx(2 * 0.5**6 * (many - 1))
    assert found["margin"]["full when every(2)"] == "outside"
    assert found["margin"]["prefix when vision >= 0.945"] == "undecided"
    assert pd.isna(found["p_holm"]["full when vision >= 0.98"])


def test_what_is_recorded_besides_changes_nothing():
    some = {"full when every(2)": 8}
    less = primary({"libero_10": records("libero_10", **some)})
    more = primary({"libero_10": records("libero_10", **some, **{"full when vision >= 0.9": 90})})
    pd.testing.assert_frame_equal(less, more)
