"""The reuse that halves success: rows whose curves are known, and what is refused."""

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
