"""Recorded episodes run again: equal to the bit, or where they part and what differs between the machines."""

import pandas as pd
import pytest

from kvlab.paths import DATA
from kvlab.study import again
from kvlab.study.again import compare, run_again
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NONE, FULL = Setting("none"), Setting("full", "every(3)")


@pytest.fixture
def beside(make_row, make_records):
    """`beside(now, replans)`: a recorded episode and the same one now with these changes, the replans' by number."""

    def compared(now: dict | None = None, replans: dict | None = None) -> dict:
        row = make_row(reuses=True) | (now or {})
        for number, changes in (replans or {}).items():
            row["replan_rows"][number] |= changes
        (found,) = compare(make_records((FULL, make_row(reuses=True))), make_records((FULL, row))).to_dict("records")
        return found

    return compared


def test_the_same_again_agrees(beside):
    found = beside()
    assert found["agrees"] and pd.isna(found["first_difference"])
    assert found["machine"] == "" and found["steps"] == 13 and found["error"] == ""


def test_the_first_replan_that_differs_is_named_and_what_differs_between_the_machines(beside):
    found = beside({"steps": 12, "torch": "3", "instructions": "AVX512"}, {1: {"bits": 7}, 2: {"bits": 8}})
    assert not found["agrees"] and found["steps"] == "13 / 12" and found["first_difference"] == 1
    assert found["machine"] == "instructions AVX2 / AVX512, torch 2 / 3"


def test_a_decision_that_is_another_is_a_difference_whatever_the_bits(beside):
    found = beside(replans={2: {"reused": True, "age": 2}})
    assert not found["agrees"] and found["first_difference"] == 2


def test_an_error_now_does_not_agree(beside, make_row, make_records):
    """Not with an error then, either: it is no outcome."""
    failed = {"success": None, "error": "OSError: gone", "replan_rows": [], "reused": 0}
    found = beside(failed)
    assert not found["agrees"] and found["error"] == "OSError: gone" and found["success"] == "False / <NA>"
    both = make_records((FULL, make_row() | failed))
    assert not compare(both, both)["agrees"].any()


def test_what_another_process_recorded_comes_out_again_to_the_bit(untrained, gl, tmp_path):
    study = Study(untrained, (Setting("none"), FULL), 1, Protocol(gl=gl), folder=tmp_path)
    study.run(workers=1)
    found = run_again(study, [(0, 0)], workers=1)
    assert found["agrees"].all() and found["first_difference"].isna().all() and len(found) == 2
    assert (found["machine"] == "").all()


def test_what_is_published_comes_out_again_to_the_bit(gl):
    """On whatever machine this is, of whatever vendor, as long as Mesa draws."""
    if gl != Protocol().gl:
        pytest.skip("this machine draws by other means")
    settings = (Setting("none"), Setting("none", denoising_steps=1))
    study = Study(DATA / "checkpoints" / "mini_spatial", settings, 100)
    recorded = study.read()
    shortest = recorded.episodes.groupby(["initial_state", "task"])["steps"].sum().idxmin()
    found = run_again(study, [shortest[::-1]], workers=1)
    assert found["agrees"].all() and found["first_difference"].isna().all() and len(found) == 2


def test_every_setting_is_run_again_and_laid_beside_its_own_rows(untrained, tmp_path, make_row, monkeypatch):
    """The second time another replan has other bits in each setting, so that one is not taken for the other."""
    study = Study(untrained, (NONE, FULL), 12, folder=tmp_path)

    def row(task, state, order):
        return make_row(task, state, reuses=order == 1) | {"steps": 10 * state + task + 1, "order": order}

    for task, state in study.trials():
        for order, setting in enumerate(study.settings):
            study.recording(setting).add(row(task, state, order))
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    def run_episode(checkpoint, protocol, index, state, seed, order, setting):
        now = row(index, state, order)
        now["replan_rows"][order] |= {"bits": 7}
        return now

    monkeypatch.setattr(again, "run_episode", run_episode)
    monkeypatch.setattr(again, "by_task", lambda work, jobs, *_, **__: (work(*a) for _, many in jobs for a in many))
    found = run_again(study, [(1, 1), (0, 1), (1, 0)])
    who = found[["task", "initial_state", "setting", "steps", "first_difference"]].to_numpy().tolist()
    assert who == [
        [task, state, str(setting), 10 * state + task + 1, replan]
        for task, state in [(0, 1), (1, 0), (1, 1)]
        for setting, replan in ((FULL, 1), (NONE, 0))
    ]
    assert not found["agrees"].any()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == files
