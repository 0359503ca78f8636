"""Time to success and the reuse that halves it: rows whose curves are known, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence import survival
from kvlab.study.records import SETTING, Records
from kvlab.study.settings import Setting

CONTROL, SHUT, OPEN = Setting("none"), Setting("full", "vision >= 0.99"), Setting("full", "vision >= 0.9")
REPLANS = 20


def records(**settings: tuple[Setting, list[bool], list[int], int]) -> Records:
    """Rows by setting: success and steps of every episode, and how many of the first replans reuse (not the first)."""
    episodes, replans = [], []
    for setting, success, steps, reused in settings.values():
        for n, (won, length) in enumerate(zip(success, steps, strict=True)):
            who = {"suite": "libero_spatial", "task": n % 2, "initial_state": n // 2, "seed": 0}
            who |= {name: getattr(setting, name) for name in SETTING}
            episodes.append(
                who | {"success": won, "steps": length, "replans": REPLANS, "reused": reused, "error": None}
            )
            replans += [who | {"replan": k, "reused": 0 < k <= reused} for k in range(REPLANS)]
    return Records(pd.DataFrame(episodes).astype({"error": "object"}), pd.DataFrame(replans))


def of(setting: Setting, wins: int, reused: int) -> tuple:
    return setting, [n < wins for n in range(10)], [50 if n < wins else 100 for n in range(10)], reused


def test_failures_stay_unsolved_at_the_limit():
    curve = survival.unsolved(records(a=(CONTROL, [True, True, True, False], [30, 20, 30, 100], 0)), CONTROL)
    assert curve["share"].to_dict() == {0: 1.0, 20: 0.75, 30: 0.25, 100: 0.25}
    assert (curve["low"] <= curve["share"]).all() and (curve["share"] <= curve["high"]).all()
    assert curve.loc[20, "low"] == pytest.approx(0.194, abs=0.001)  # 3 of 4, Clopper and Pearson
    assert curve.loc[0, "high"] == 1


@pytest.mark.parametrize(("wins", "share"), [(0, 1.0), (10, 0.0)])
def test_none_or_all_solved(wins, share):
    curve = survival.unsolved(records(a=of(CONTROL, wins, 0)), CONTROL)
    assert curve["share"].iloc[-1] == share and curve.index[-1] == (50 if wins else 100)


def test_a_failure_that_ended_early_is_no_censored_one():
    with pytest.raises(ValueError, match="failures that ended before the step limit"):
        survival.unsolved(records(a=(CONTROL, [True, False], [30, 20], 0)), CONTROL)


def test_loads_are_counted_by_rate_and_by_number():
    rows = survival.loads(records(a=of(CONTROL, 10, 0), b=of(OPEN, 4, 5)), [CONTROL, OPEN])
    assert rows["rate"].tolist() == [0, 5 / REPLANS] and rows["reused"].tolist() == [0, 5]
    assert [interval.estimate for interval in rows["success"]] == [1.0, 0.4]


def test_half_lies_on_the_line_between_two_settings():
    rows = records(a=of(CONTROL, 10, 0), b=of(SHUT, 8, 4), c=of(OPEN, 2, 10))
    found = survival.half(rows, [OPEN, CONTROL, SHUT], CONTROL, resamples=200)
    assert found["reused"].estimate == pytest.approx(7) and found["rate"].estimate == pytest.approx(7 / REPLANS)
    assert found["reused"].low < 7 < found["reused"].high


def test_half_is_half_of_the_controls_success():
    rows = records(a=of(CONTROL, 8, 0), b=of(OPEN, 4, 6))
    assert survival.half(rows, [OPEN], CONTROL, resamples=100)["reused"].estimate == pytest.approx(6)


def test_what_is_never_halved_is_infinite():
    found = survival.half(records(a=of(CONTROL, 10, 0), b=of(OPEN, 9, 6)), [OPEN], CONTROL, resamples=100)["rate"]
    assert np.isinf(found.estimate) and np.isinf(found.high)


def test_what_has_no_half():
    with pytest.raises(ValueError, match="needs a setting beside the control"):
        survival.half(records(a=of(CONTROL, 8, 0)), [CONTROL], CONTROL)
    with pytest.raises(ValueError, match="`none` never succeeds"):
        survival.half(records(a=of(CONTROL, 0, 0), b=of(OPEN, 0, 6)), [OPEN], CONTROL, resamples=100)
