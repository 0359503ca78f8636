"""What is said of made times of several programs."""

import pandas as pd

from kvlab.book.answers import programs


def ways(**ms):
    names = {"graph": programs.ONE_GRAPH, "compiled": programs.COMPILED, "lerobot": "LeRobot, not compiled"}
    rows = {names.get(name, name): {"ms": x, "low": 0.9 * x, "high": 1.1 * x, "of": 1} for name, x in ms.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def test_the_engine_stands_first_against_what_was_measured_beside_it():
    alone, more = (
        programs.finding(found, "9.9")
        for found in (
            ways(engine=15.0, eager=100.0),
            ways(engine=15.0, compiled=20.0, graph=30.0, eager=100.0, lerobot=300.0),
        )
    )
    assert "takes 15.0 ms by the engine on one H100" in alone and "LeRobot" not in alone
    assert "(one call starts all kernels), was not measured." in alone
    assert "(a CUDA graph), takes 30.0 ms, and compiled by torch.compile as well 20.0 ms" in more
    assert "eager 90 to 110 ms (5th to 95th percentile of one run); LeRobot 9.9, not compiled 270 to 330 ms" in more


def test_host_bound_times_are_a_range_and_never_a_ratio():
    found = ways(engine=15.0, eager=100.0)
    found.loc["eager", ["low", "high", "of"]] = [111.0, 210.0, 3]
    found.loc["LeRobot, not compiled"] = [350.0, 350.0, 350.0, 1]
    text = programs.finding(found, "9.9")
    assert "eager 111 to 210 ms (the medians of 3 machines)" in text and "times as" not in text and "100 ms" not in text


def test_the_table_names_the_version_and_the_machines():
    table = programs.table(ways(engine=15.0, lerobot=300.0), "9.9")
    assert table.loc["LeRobot 9.9, not compiled"].to_list() == ["300.0", "270.0", "330.0", 1]
