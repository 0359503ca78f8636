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
    assert devices.finding(found, 0.95) == (
        "**In closed loop no two programs are shown to differ: differences of over 41 points are excluded, one of 5 "
        "in none of 1 pair.** Each ran 10 episodes of a suite without reuse, by its small policy."
    )
    alike = devices.finding(closed(cpu=100, engine=100), 0.95)
    assert alike.startswith(
        "**In closed loop no two programs are shown to differ: differences of over 4 points are excluded.** Each"
    )
    (row,) = devices.table(found, 0.95).to_dict("records")
    assert (row["program"], row["compared with"]) == (devices.PROGRAMS["engine"], devices.PROGRAMS["cpu"])
    assert (row["only the first succeeds"], row["only the second"], row["successes"]) == (0, 1, "7 and 8 of 10")
    assert row["difference, points"].startswith("-10 (-4")


def test_how_many_pairs_exclude_a_difference_of_5_points_is_said():
    found = closed(cpu=100, cuda=100, engine=98)
    assert ", one of 5 in 1 of 3 pairs.** Each" in devices.finding(found, 0.95)


def closed(**wins):
    rows = [episodes(one.replace("_", "-"), [n < k for n in range(100)]) for one, k in wins.items()]
    return devices.no_reuse(pd.concat(rows), HERE)


def test_programs_that_are_shown_to_differ_are_counted():
    assert devices.finding(closed(cpu=99, engine=78), 0.95).startswith(
        "**In closed loop 1 of 1 pair of programs differs: differences of over 30 points are excluded, one of 5 in none"
    )
    assert "closed loop 2 of 3 pairs of programs differ: " in devices.finding(closed(cpu=99, cuda=98, engine=78), 0.95)


def test_what_the_engine_may_lose_follows_its_episodes():
    """Of 100 pairs without a difference a loss of 4 points is excluded; 2 against 0 leave 5 open; 20 are a loss."""
    alike, open_, lost = (closed(cuda=100, engine=engine) for engine in (100, 98, 80))
    assert devices.engine_loss(alike) == "a loss of 5 points is excluded"
    assert devices.engine_loss(alike | {"two": open_["one"]}) == "a loss of 5 points is not excluded"
    assert devices.engine_loss(alike | {"two": lost["one"]}) == "a loss is shown in `two`"
    assert (
        devices.engine_loss(closed(cpu=100, engine=100)) == "a loss of 5 points is not excluded"
    )  # nothing to compare


def test_eight_bits_are_compared_with_the_engine_and_the_eager_model():
    rows = devices.table(closed(cpu=99, cuda=99, engine=98, engine_fp8=78), 0.95).set_index("compared with")
    rows = rows[rows["program"] == "by the engine in eight bits"]
    assert rows.loc["by the engine", "successes"] == "78 and 98 of 100"
    assert rows.loc["by the engine", "difference, points"] == "-20 (-29 to -13)"
    assert rows.loc["eagerly on a GPU", "difference, points"].startswith("-21 (")


def test_a_program_that_is_still_being_recorded_is_left_out():
    rows = [episodes("cpu", [True] * 6), episodes("engine", [True] * 4), episodes("engine-fp8", [True] * 2)]
    found = devices.no_reuse(pd.concat(rows), HERE)["one"]
    assert {device: len(won) for device, won in found.items()} == {"cpu": 4, "engine": 4}
