"""What a study says, on records small enough to count by hand."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence import rows, summary, wording
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting

CONTROL, SETTING = Setting("none"), Setting("full", "vision >= 0.98")


def records(outcomes: dict[Setting, dict[tuple[int, int], bool]], reused: int = 3) -> Records:
    """Episodes of ten replans each, of which every setting but the control reused `reused`."""
    episodes, replans = [], []
    for setting, results in outcomes.items():
        for (task, state), success in results.items():
            who = {"suite": "libero_spatial", "task": task, "initial_state": state, "seed": 0}
            who |= asdict(setting)
            many = 0 if setting == CONTROL else reused
            episodes.append(who | {"success": success, "steps": 50, "replans": 10, "reused": many, "error": None})
            replans += [who | {"replan": n, "vision_anchor": np.nan if n == 0 else n / 10} for n in range(10)]
    table = pd.DataFrame(episodes).astype({"success": "boolean", "error": "object"})
    return Records(table, pd.DataFrame(replans))


GRID = [(task, state) for state in range(2) for task in range(10)]


def test_first_takes_tasks_before_initial_states():
    all_of_it = records({CONTROL: dict.fromkeys(GRID, True)})
    pilot = summary.first(all_of_it, 3)
    assert list(zip(pilot.episodes.task, pilot.episodes.initial_state, strict=True)) == [(0, 0), (1, 0), (2, 0)]
    assert len(pilot.replans) == 30
    assert len(summary.first(all_of_it, 12).episodes) == 12


def test_compare_counts_pairs_and_reuse():
    control = {trial: trial != (0, 0) for trial in GRID}  # 19 of 20
    setting = {trial: trial[0] not in (1, 2, 3) for trial in GRID}  # loses six, wins one
    table = summary.compare(records({CONTROL: control, SETTING: setting}), [CONTROL, SETTING], CONTROL)
    assert list(table.k) == [19, 14] and list(table.n) == [20, 20]
    assert (table.lost[SETTING], table.won[SETTING]) == (6, 1)
    assert table.p[SETTING] == pytest.approx(2 * (1 + 7) / 2**7)  # exact McNemar: binomial(7, 1/2), both tails of 1
    assert table.p_holm[SETTING] == table.p[SETTING]  # a family of one
    assert table.difference[SETTING].estimate == pytest.approx(-0.25)
    assert table.reuse[SETTING] == pytest.approx(0.3) and table.reuse[CONTROL] == 0
    assert pd.isna(table.p[CONTROL])
    assert table.steps.tolist() == [50, 50] and table.steps_ratio[SETTING].estimate == 1


def test_gains_are_those_of_each_episode_and_only_of_shared_ones():
    control, setting = {(0, 0): True, (1, 0): False, (2, 0): True}, {(2, 0): True, (1, 0): True, (0, 0): False}
    found = rows.gains(records({CONTROL: control, SETTING: setting}), SETTING, CONTROL)
    assert {task: found.xs(task, level="task").item() for task in range(3)} == {0: -1, 1: 1, 2: 0}
    with pytest.raises(ValueError, match="were not run on the same episodes"):
        rows.gains(records({CONTROL: control, SETTING: {(0, 0): True}}), SETTING, CONTROL)


def test_tasks_are_counted_apart():
    setting = {trial: trial[0] < 4 for trial in GRID}
    counts = summary.by_task(records({SETTING: setting}), [SETTING])
    assert list(counts.loc[str(SETTING)]) == [2] * 4 + [0] * 6


def test_an_error_is_not_an_outcome():
    some = records({CONTROL: dict.fromkeys(GRID, True)})
    some.episodes.loc[0, ["success", "error"]] = [pd.NA, "ValueError: no"]
    with pytest.raises(ValueError, match="ended in an error of the simulator"):
        summary.successes(some, CONTROL)


def test_an_arm_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="full when vision >= 0.98"):
        summary.successes(records({CONTROL: dict.fromkeys(GRID, True)}), SETTING)


def test_a_difference_from_nothing_is_empty():
    table = summary.compare(records({CONTROL: dict.fromkeys(GRID, True)}), [CONTROL], CONTROL)
    assert wording.percent(table.wilson[CONTROL]).startswith("100 (")
    assert wording.points(float("nan")) == ""


def test_a_ratio_has_its_interval_or_says_why_it_has_none():
    assert wording.ratio(Interval(1.516, 1.31, 1.774, 0.95, "bootstrap")) == "1.52 (1.31 to 1.77)"
    assert wording.ratio(None) == "fewer than two solved"
