"""Many processes on one GPU: with and without the daemon, one of them, and none."""

import pandas as pd

from kvlab.book.answers import gpu_studies


def run(device, way, speed, bits=True):
    row = {
        "device": device,
        "way": way,
        "processes": 16,
        "episodes": 64,
        "episodes_per_s": speed,
        "replan_ms_p50": 9.04,
    }
    return row | {"bits_equal": bits}


def test_each_run_has_a_row():
    runs = pd.DataFrame([run("cuda", "plain", 2.0), run("engine", "plain", 3.0), run("engine", "mps", 4.5, bits=False)])
    table = gpu_studies.table(runs)
    assert table.index.to_list() == ["eagerly on a GPU", "by the engine", "by the engine"]
    assert table["GPU context"].to_list() == ["each process its own"] * 2 + ["shared by the daemon"]
    assert (
        table["episodes a second"].to_list() == ["2.00", "3.00", "4.50"] and table["median replan, ms"].iloc[0] == "9.0"
    )
    assert table["same chunks as without it"].to_list() == ["yes", "yes", "no"]


def test_letters_of_the_daemon_are_spelled_out():
    assert "Multi-Process Service (MPS)" in gpu_studies.EXPLAINED


def test_what_was_not_measured_is_said():
    runs = pd.DataFrame([run("engine", "plain", 3.0, bits=None) | {"replan_ms_p50": None}])
    (row,) = gpu_studies.table(runs).to_dict("records")
    assert row["same chunks as without it"] == "not compared" and row["median replan, ms"] == "not measured"


def test_a_file_is_read_and_none_is_no_row(tmp_path):
    assert gpu_studies.table(gpu_studies.read(tmp_path / "none.csv")).empty
    pd.DataFrame([run("cuda", "plain", 2.0), run("cuda", "mps", 3.0)]).to_csv(tmp_path / "some.csv", index=False)
    assert gpu_studies.table(gpu_studies.read(tmp_path / "some.csv"))["same chunks as without it"].to_list() == [
        "yes",
        "yes",
    ]
