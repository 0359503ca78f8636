"""Recorded episodes run again, and episodes that two machines recorded."""

import copy

import numpy as np
import pandas as pd
import pytest

from kvlab.study import again
from kvlab.study.again import beside, on_another_machine, run_again
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NONE, FULL = Setting("none"), Setting("full", "vision >= 0.98")


def episodes(machine: str, outcomes: list, error: str | None = None, suite: str = "libero_spatial") -> pd.DataFrame:
    rows = [
        {"suite": suite, "task": k, "initial_state": 0, "seed": 0, "mode": "full", "gate": "every(2)"}
        | {
            "seeing": "live",
            "success": success,
            "steps": steps,
            "error": None,
            "machine": f"{machine}; llvmpipe; torch",
        }
        for k, (success, steps) in enumerate(outcomes)
    ]
    table = pd.DataFrame(rows).astype({"success": "boolean", "error": "object"})
    table.loc[table.success.isna(), "error"] = error
    return table


def test_what_two_machines_recorded_is_counted_by_setting():
    first = episodes("A", [(True, 80), (True, 90), (False, 220), (True, 70), (None, 0), (True, 50)], "GL: lost")
    second = episodes("B", [(True, 80), (False, 220), (True, 100), (True, 71), (True, 60), (None, 0)], "GL: lost")
    (counted,) = on_another_machine(first, second).to_dict("records")
    assert counted == {"episodes": 4, "first": 3, "second": 3, "only first": 1, "only second": 1, "same steps": 1}


def test_episodes_of_one_machine_or_of_other_arms_are_not_counted():
    first = episodes("A", [(True, 80)])
    assert on_another_machine(first, first).empty
    assert on_another_machine(first, episodes("B", [(True, 80)]).assign(gate="every(3)")).empty


def test_the_same_arm_is_counted_in_each_suite_apart():
    first, second = (
        pd.concat([episodes(machine, outcomes), episodes(machine, outcomes[:1], suite="libero_10")])
        for machine, outcomes in (("A", [(True, 80), (True, 90)]), ("B", [(False, 220), (True, 90)]))
    )
    counted = on_another_machine(first, second).groupby("suite").sum()
    assert counted["episodes"].to_dict() == {"libero_spatial": 2, "libero_10": 1}
    assert counted["only first"].to_dict() == {"libero_spatial": 1, "libero_10": 1}


def test_an_episode_that_comes_out_as_recorded_agrees(make_row):
    row = beside(FULL, make_row(2, 1, FULL_ROW), make_row(2, 1, FULL_ROW))
    assert row == {
        **{"setting": "full when vision >= 0.98", "task": 2, "initial_state": 1, "success": False, "steps": 13},
        **{"replans": 3, "decisions": "3 of 3", "action_difference": 0.0, "agrees": True, "machine": "", "error": ""},
    }


FULL_ROW = ("full", "vision >= 0.98", "live")


@pytest.mark.parametrize(
    ("changes", "replan", "says"),
    [
        ({"success": True}, {}, {"success": "False / True"}),
        ({"steps": 12}, {}, {"steps": "13 / 12"}),
        ({}, {"reused": True}, {"decisions": "2 of 3"}),
        ({"machine": "a; b; d"}, {}, {"machine": "c / d", "agrees": True}),
        ({}, {"first_action": (2.0, 2.1, 2.2, 1.8, 2.4, 2.5, 2.6)}, {"action_difference": 0.5, "agrees": True}),
        (
            {"success": None, "steps": 0, "replans": 0, "replan_rows": [], "error": "GL: lost"},
            {},
            {"success": "False / None", "steps": "13 / 0", "replans": "3 / 0", "decisions": "0 of 3"}
            | {"action_difference": np.nan, "error": "GL: lost"},
        ),
    ],
)
def test_what_came_out_otherwise_is_said(make_row, changes, replan, says):
    then = make_row(2, 1, FULL_ROW)
    now = copy.deepcopy(then)
    now["replan_rows"][2] |= replan
    found, same = beside(FULL, then, now | changes), beside(FULL, then, then)
    assert found == pytest.approx(same | {"agrees": False} | says, nan_ok=True)
    assert beside(FULL, now | changes, now | changes)["agrees"] == ("error" not in changes)  # which is no outcome


def test_every_setting_is_run_again_and_laid_beside_its_own_rows(untrained, tmp_path, make_row, monkeypatch):
    """The second time each action is larger by its setting's number, so that one is not taken for the other."""
    study = Study(untrained, (NONE, FULL), 12, folder=tmp_path)
    for task, state in study.trials():
        for setting in study.settings:
            row = make_row(task, state, (setting.mode, setting.gate, setting.seeing))
            study.cell(setting, task).add([row | {"steps": 10 * state + task + 1}])
    recorded, files = study.recorded(), {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    def run_trial(checkpoint, protocol, index, state, seed, settings):
        rows = [(setting, copy.deepcopy(recorded[setting][index, state])) for _, setting in settings]
        for order, (_, row) in enumerate(rows, start=1):
            row["replan_rows"][0]["first_action"][0] += order
        return rows

    monkeypatch.setattr(again, "run_trial", run_trial)
    monkeypatch.setattr(again, "by_task", lambda work, jobs, *_: (work(*arguments) for _, arguments in jobs))
    found = run_again(study, [(1, 1), (0, 1), (1, 0)])
    who = found[["task", "initial_state", "setting", "steps", "action_difference"]].to_numpy().tolist()
    assert who == [
        [task, state, str(setting), 10 * state + task + 1, float(difference)]
        for task, state in [(0, 1), (1, 0), (1, 1)]
        for setting, difference in ((FULL, 2), (NONE, 1))
    ]
    assert found["agrees"].all() and {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == files
