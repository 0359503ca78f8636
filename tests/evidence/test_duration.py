"""How long everything takes from nothing, out of when rows were written and how long they took."""

import pandas as pd
import pytest

from kvlab.evidence.duration import ENOUGH, from_nothing, under_way


def rows(processor: str, suite: str, ends: list[float], wall_s: float) -> pd.DataFrame:
    """Episodes that ended so many seconds after midnight."""
    stamps = [(pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(s, "s")).isoformat() for s in ends]
    return pd.DataFrame({"processor": processor, "suite": suite, "recorded": stamps, "wall_s": wall_s})


def test_episodes_that_were_under_way_at_once_are_counted():
    assert under_way(rows("A", "one", [10, 20, 30], 10)) == 1
    assert under_way(rows("A", "one", [10, 10, 20, 20, 30, 30], 10)) == 2
    staggered = rows("A", "one", [10, 20, 30, 1000], 10).assign(wall_s=[10.0, 15.0, 15.0, 10.0])
    assert under_way(staggered) == 1  # none in the middle of another
    assert under_way(rows("A", "one", [20, 25, 30, 35], 20)) == 3  # of 2, 3, 4 and 3


def test_everything_takes_its_process_seconds_over_as_many_as_ran_at_once():
    """Two processes: 2 ENOUGH episodes of 10 s each, and ENOUGH of 20 s."""
    fast = rows("A", "one", [10 * (1 + n // 2) for n in range(2 * ENOUGH)], 10)
    slow = rows("A", "two", [10 * ENOUGH + 20 * (1 + n // 2) for n in range(ENOUGH)], 20)
    found = from_nothing(pd.concat([fast, slow], ignore_index=True)).loc["A"]
    assert found["episodes"] == 3 * ENOUGH and found["processes"] == 2
    assert found["hours"] == pytest.approx(20 * ENOUGH / 3600)


def test_a_processor_that_recorded_too_little_of_a_suite_says_nothing_of_all():
    first = rows("A", "one", list(range(10, 10 + ENOUGH)), 1)
    other = rows("A", "two", list(range(50, 50 + ENOUGH)), 1)
    few = rows("B", "one", list(range(10, 10 + ENOUGH - 1)), 1)
    found = from_nothing(pd.concat([few, first, other], ignore_index=True))
    assert found.index.tolist() == ["A", "B"]
    assert found["hours"].notna().tolist() == [True, False]
