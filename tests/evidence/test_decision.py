"""What to take: the ladder from no reuse to another machine, on records that can be counted by hand."""

import pandas as pd
import pytest

from kvlab.evidence import decision
from kvlab.evidence.stats import episodes_inside
from kvlab.study.settings import Setting
from made import TIMES, made

NO_REUSE, FEWER = Setting("none"), Setting("none", denoising_steps=2)
CLOCK, LOOSE = Setting("prefix", "every(2)"), Setting("full", "every(2)")
# Four replans of 71, 39, and on average 58.5 and 56.5 ms in 20 control steps.
MS = {NO_REUSE: 14.2, FEWER: 7.8, CLOCK: 11.6, LOOSE: 11.2}


def judged(budget_ms: float, margin: float = 0.05, solved=None) -> pd.DataFrame:
    """No reuse solves all of 100 episodes, the others as many as `solved` says, or all."""
    reuses = {setting: [False, setting.mode != "none"] * 2 for setting in MS}
    many = dict.fromkeys(MS, 100) | (solved or {})
    records = made({s: [(n < many[s], 20, reuses[s]) for n in range(100)] for s in MS})
    return decision.judge(records, NO_REUSE, TIMES, budget_ms, margin)


def test_a_setting_is_judged_by_its_cost_and_its_loss():
    table = judged(12, solved={CLOCK: 97, LOOSE: 60})
    assert table.ms.to_dict() == pytest.approx(MS) and table.index[0] == FEWER
    assert table.fits.to_dict() == {NO_REUSE: False, FEWER: True, CLOCK: True, LOOSE: True}
    assert table.loss[[FEWER, CLOCK, LOOSE]].to_list() == ["inside", "undecided", "outside"]
    assert table.reuse[CLOCK] == 0.5 and table.differ[CLOCK] == 3
    assert table.needed[CLOCK] == episodes_inside(0.05, 0.03)
    assert table.loc[NO_REUSE, ["difference", "loss", "needed"]].isna().all()


@pytest.mark.parametrize(
    ("budget_ms", "solved", "step", "settings"),
    [
        (20, {}, "enough", [NO_REUSE]),
        (14.2, {}, "enough", [NO_REUSE]),  # just within
        (12, {}, "lever", [FEWER]),
        (12, {FEWER: 60}, "reuse", [LOOSE, CLOCK]),  # the cheaper of two that lose nothing comes first
        (12, {FEWER: 60, LOOSE: 60}, "reuse", [CLOCK]),
        (12, {FEWER: 97, LOOSE: 96, CLOCK: 98}, "undecided", [CLOCK, FEWER, LOOSE]),  # by what they may lose
        (12, {FEWER: 60, LOOSE: 60, CLOCK: 60}, "outside", []),
        (5, {}, "nothing", [FEWER]),
    ],
)
def test_the_ladder_stops_at_its_first_step_that_holds(budget_ms, solved, step, settings):
    assert decision.choice(judged(budget_ms, solved=solved)) == (step, settings)


def test_a_wider_margin_takes_what_a_narrow_one_leaves_undecided():
    assert decision.choice(judged(12, 0.05, {FEWER: 97, LOOSE: 60, CLOCK: 60}))[0] == "undecided"
    assert decision.choice(judged(12, 0.10, {FEWER: 97, LOOSE: 60, CLOCK: 60})) == ("lever", [FEWER])


def test_none_that_differed_may_be_luck():
    assert decision.needed(0, 100, 0.05) == decision.needed(1, 100, 0.05) == 110
    assert decision.needed(0, 10, 0.05) > 300
