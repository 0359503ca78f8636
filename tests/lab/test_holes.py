"""What is compared is compared whole: no table of no arms, of arms on different episodes, of a part of a study."""

from dataclasses import asdict

import pytest

from kvlab.lab import drift, live, matching, prediction, ranking, summary
from kvlab.lab.records import Records, collect
from kvlab.lab.study import Arm, Study

CONTROL, FULL, PREFIX = Arm("none"), Arm("full", "vision >= 0.98"), Arm("prefix", "vision >= 0.98")
TABLES = {
    "compare": lambda records, arms: summary.compare(records, arms, CONTROL),
    "by_task": lambda records, arms: summary.by_task(records, arms),
    "matched": lambda records, arms: matching.matched(records, arms, [CONTROL, PREFIX], beyond=True),
    "steps": lambda records, arms: matching.steps(records, arms, [CONTROL, PREFIX]),
    "kept": lambda records, arms: drift.kept(records, arms),
    "loop": lambda records, arms: drift.loop(records, arms, CONTROL),
    "beside": lambda records, arms: drift.matched(records, arms, [PREFIX]),
    "leave_one_out": lambda records, arms: prediction.leave_one_out(records, arms, CONTROL),
    "pilots": lambda records, arms: ranking.pilots(records, arms, 3),
}
PAIRS = {
    "rankings": lambda records, arms: ranking.rankings(records, arms, [3]),
    "left_out": lambda records, arms: matching.left_out(records, [*arms, CONTROL]),
}


@pytest.fixture
def records(make_row) -> Records:
    """Ten episodes of three arms, but the seventh lacks in `FULL`."""
    which = [(arm, task) for arm in (CONTROL, FULL, PREFIX) for task in range(10) if (arm, task) != (FULL, 6)]
    return collect([make_row(task, 0, tuple(asdict(arm).values())) for arm, task in which])


@pytest.mark.parametrize("name", TABLES)
def test_no_table_of_no_arms(records, name):
    with pytest.raises(ValueError, match="no arm is named, so there is nothing to compare"):
        TABLES[name](records, [])


@pytest.mark.parametrize("name", [*TABLES, *PAIRS])
def test_no_table_of_arms_on_different_episodes(records, name):
    with pytest.raises(
        ValueError, match=r"not run on the same episodes \(1 are of one of them only: suite libero_spatial, task 6"
    ):
        (TABLES | PAIRS)[name](records, [PREFIX, FULL])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: matching.left_out(r, [CONTROL, PREFIX]), "a curve of at least 3 arms has inner ones, got 2"),
        (lambda r: drift.matched(r, [PREFIX], [PREFIX]), "no other arm to lay beside `prefix when vision >= 0.98`"),
        (lambda r: ranking.rankings(r, [CONTROL, PREFIX], []), "two arms and a pilot's size"),
        (lambda r: ranking.pilots(r, [CONTROL], 10), "a pilot of 10 episodes has 1 to 9 of them, got 10"),
        (lambda r: summary.compare(summary.first(r, 0), [CONTROL], CONTROL), "no rows of the arm `none`"),
    ],
)
def test_too_little_is_said(records, call, says):
    with pytest.raises(ValueError, match=says):
        call(records)


def test_episodes_that_are_not_recorded_are_said_before_any_is_run_again(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "by_task", lambda *_: pytest.fail("it ran"))
    study = Study(untrained, (CONTROL,), 3, folder=tmp_path)
    with pytest.raises(ValueError, match="task 1, initial state 0 of `none` is not recorded; run the study"):
        live.run_again(study, [(1, 0)])
    with pytest.raises(ValueError, match="no episode is named that could be run again"):
        live.run_again(study, [])
