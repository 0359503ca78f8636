"""What is said of made times of several programs."""

import json

import pandas as pd

from kvlab.book.answers import programs

LEROBOT = "LeRobot 9.9, not compiled"


def ways(**ms):
    names = {"compiled": programs.COMPILED, "lerobot": LEROBOT}
    made = {"of": 1, "date": "2026-01-02"}
    rows = {names.get(name, name): {"ms": x, "low": 0.9 * x, "high": 1.1 * x, **made} for name, x in ms.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def test_the_engine_stands_first_against_what_was_measured_with_it():
    alone, more = (
        programs.finding(found)
        for found in (
            ways(engine=15.0, eager=100.0),
            ways(engine=15.0, compiled=20.0, eager=100.0, lerobot=300.0),
        )
    )
    assert alone.startswith("**How the policy is run may matter more than what it keeps.** On one H100 a full-size")
    assert "takes 15.0 ms by the engine (compiled in one CUDA graph it was not measured). Where" in alone
    assert more.startswith("**Run the policy by a faster program first.**") and more.endswith(
        "takes 15.0 ms by the engine and 20.0 ms compiled in one CUDA graph. Where the processor starts every kernel "
        "(eager) it takes 90 to 110 ms (5th to 95th percentile of one run)."
    )


def test_host_bound_times_are_a_range_and_never_a_ratio():
    found = ways(engine=15.0, eager=100.0)
    found.loc["eager", ["low", "high", "of"]] = [111.0, 210.0, 3]
    text = programs.finding(found)
    assert (
        "(eager) it takes 111 to 210 ms (the medians of 3 runs)" in text
        and "times as" not in text
        and "100 ms" not in text
    )
    found.loc["eager", ["low", "high", "of"]] = [350.0, 350.0, 1]
    assert programs.finding(found).endswith("it takes 350 ms (the median of another run).")


def test_the_table_names_the_runs_and_their_dates():
    table = programs.table(ways(engine=15.0, lerobot=300.0))
    assert table.loc[LEROBOT].to_list() == ["300.0", "270.0", "330.0", 1, "2026-01-02"]


def test_lerobots_times_are_of_the_run_that_had_it(tmp_path):
    """What another run measured keeps its date, until the run of the other programs has LeRobot too."""
    rows = [{"implementation": "engine", "setting": "none", "ms_total": 10.0}]
    pd.DataFrame(rows).to_csv(tmp_path / "gpu_base.csv", index=False)
    pd.DataFrame({"implementation": ["eager"], "ms": [90.0]}).to_csv(tmp_path / "gpu_base_machines.csv", index=False)
    theirs = {"lerobot": "0.6.1", "lerobot_ms": [300.0, 310.0, 320.0], "date": "2026-01-01T10:00"}
    (tmp_path / "gpu_lerobot.json").write_text(json.dumps(theirs))
    (tmp_path / "gpu_base.json").write_text(json.dumps({"date": "2026-01-02T10:00"}))
    found = programs.recorded(tmp_path)
    assert found.date.to_dict() == {
        "engine": "2026-01-02",
        "eager": "2026-01-02",
        "LeRobot 0.6.1, not compiled": "2026-01-01",
    }
    assert found.ms.tolist() == [10, 90, 310]
    again = {"date": "2026-01-03T10:00", "lerobot": "0.7.0", "lerobot_ms": [200.0]}
    (tmp_path / "gpu_base.json").write_text(json.dumps(again))
    found = programs.recorded(tmp_path)
    assert found.loc["LeRobot 0.7.0, not compiled", ["ms", "date"]].tolist() == [200, "2026-01-03"]
