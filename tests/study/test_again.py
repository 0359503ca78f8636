"""Episodes that two machines recorded. That one gives the same rows again, the chapter *Live check* shows."""

import pandas as pd

from kvlab.study.again import on_another_machine


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
