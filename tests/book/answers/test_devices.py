"""What *Inside the engine* says of made episodes on several devices."""

import pandas as pd

from kvlab.book.answers import devices

HERE = {"one": "0123"}


def episodes(device: str, outcomes: list[bool], **other) -> pd.DataFrame:
    """Episodes of one task without reuse, one an initial state."""
    rows = pd.DataFrame({"success": outcomes, "initial_state": range(len(outcomes))})
    plain = {"suite": "one", "task": 0, "seed": 0, "mode": "none", "seeing": "live", "denoising_steps": None}
    plain |= {"execute": None, "error": None, "checkpoint": "0123", "delays": "", "device": device}
    return rows.assign(**plain | other)


def test_only_episodes_without_reuse_that_all_devices_ran_are_counted():
    rows = [episodes("cpu", [True, False, True, True]), episodes("engine", [True, True, False])]
    others = {"mode": "full"}, {"seeing": "black"}, {"delays": "4, 0"}, {"denoising_steps": 2}, {"checkpoint": "4567"}
    rows += [episodes("engine", [False] * 4, **other) for other in (*others, {"suite": "two"}, {"execute": "10"})]
    found = devices.no_reuse(pd.concat(rows), HERE)
    assert {suite: {one: won.tolist() for one, won in each.items()} for suite, each in found.items()} == {
        "one": {"cpu": [True, False, True], "engine": [True, True, False]}
    }


def test_differences_are_of_the_same_episodes():
    rows = pd.concat([episodes("cpu", [True] * 8 + [False] * 2), episodes("engine", [True] * 7 + [False] * 3)])
    found = devices.no_reuse(rows, HERE)
    assert devices.finding(found) == (
        "Of 10 episodes of `one`, 8 succeed on a CPU and 7 by the engine. "
        "That is the small policy of each suite. "
        "No two of these are more than 10 points apart; intervals stand in the table."
    )
    (row,) = devices.table(found, 0.95).to_dict("records")
    assert (row["program"], row["compared with"]) == (devices.PROGRAMS["engine"], devices.PROGRAMS["cpu"])
    assert (row["only the first succeeds"], row["only the second"], row["episodes"]) == (0, 1, 10)
    assert row["difference, points"].startswith("-10 (-4")
