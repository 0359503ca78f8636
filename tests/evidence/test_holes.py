"""What is compared is compared whole: no table of no settings, of different episodes, or of a part of a study."""

import pytest

from kvlab.evidence import drift, matching, prediction, ranking, summary
from kvlab.study import again as live
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.study import Study

CONTROL, FULL, PREFIX = Setting("none"), Setting("full", "vision >= 0.98"), Setting("prefix", "vision >= 0.98")
TABLES = {
    "compare": lambda records, settings: summary.compare(records, settings, CONTROL),
    "by_task": lambda records, settings: summary.by_task(records, settings),
    "matched": lambda records, settings: matching.matched(records, settings, [CONTROL, PREFIX], beyond=True),
    "kept": lambda records, settings: drift.kept(records, settings),
    "loop": lambda records, settings: drift.loop(records, settings, CONTROL),
    "beside": lambda records, settings: drift.matched(records, settings, [PREFIX]),
    "leave_one_out": lambda records, settings: prediction.leave_one_out(records, settings, CONTROL),
}
PAIRS = {
    "rankings": lambda records, settings: ranking.rankings(records, settings, [3]),
    "left_out": lambda records, settings: matching.left_out(records, [*settings, CONTROL]),
}


@pytest.fixture
def records(make_row, make_records) -> Records:
    """Ten episodes of three settings, but the seventh lacks in `FULL`."""
    which = [
        (setting, task) for setting in (CONTROL, FULL, PREFIX) for task in range(10) if (setting, task) != (FULL, 6)
    ]
    return make_records(*((setting, make_row(task, reuses=setting != CONTROL)) for setting, task in which))


@pytest.mark.parametrize("name", TABLES)
def test_no_table_of_no_settings(records, name):
    with pytest.raises(ValueError, match="no setting is named, so there is nothing to compare"):
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
        (lambda r: matching.left_out(r, [CONTROL, PREFIX]), "a curve of at least 3 settings has inner ones, got 2"),
        (lambda r: drift.matched(r, [PREFIX], [PREFIX]), "no other setting to lay beside `prefix when vision >= 0.98`"),
        (lambda r: ranking.rankings(r, [CONTROL, PREFIX], []), "two settings and a pilot's size"),
        (lambda r: summary.compare(summary.first(r, 0), [CONTROL], CONTROL), "no rows of the setting `none`"),
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
