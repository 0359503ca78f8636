"""Rows as a study records them, without running anything."""

from collections.abc import Callable
from dataclasses import asdict

import pytest

from kvlab.reuse import Replan


@pytest.fixture
def make_row() -> Callable[..., dict]:
    """`make_row(task, state, arm)`: an episode of three replans, the second reused unless the arm is the control."""
    return _row


def _row(task: int = 0, state: int = 0, arm: tuple[str, str, str] = ("none", "never", "live"), seed: int = 0) -> dict:
    ages = [0, 0 if arm[0] == "none" else 1, 0]
    replans = [{"replan": n, "step": 5 * n, **asdict(_replan(n, age))} for n, age in enumerate(ages)]
    return {
        **{"suite": "libero_spatial", "task": task, "initial_state": state, "seed": seed},
        **dict(zip(("mode", "gate", "seeing"), arm, strict=True)),
        **{"success": (task + state) % 3 > 0, "steps": 13, "replans": len(ages), "reused": sum(ages), "error": None},
        **{"wall_s": 1.25, "order": 0, "recorded": "2024-01-01T00:00:00+00:00", "machine": "a; b; c"},
        "replan_rows": replans,
    }


def _replan(n: int, age: int) -> Replan:
    cosine = 1 - n / 100 if n else float("nan")
    similarities = (cosine,) * 6
    return Replan(
        age > 0,
        age,
        *similarities,
        0.0,
        0.1,
        float("nan"),
        0.5,
        4.0,
        8.0,
        12.0,
        24.5,
        1.5,
        tuple(n + i / 10 for i in range(7)),
    )
