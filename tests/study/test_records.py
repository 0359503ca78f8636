"""Recorded rows: they come back as they were written, and what is wrong with a file is said and never overwritten."""

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from kvlab.study import records
from kvlab.study.records import EPISODE, Cell, all_episodes, collect

REUSE = ("full", "vision >= 0.98", "live")


@pytest.fixture
def cell(tmp_path) -> Cell:
    return Cell(tmp_path / "runs", {"task": 0, "mode": "full", "gate": "vision >= 0.98"})


def known(rows: list[dict]) -> list[dict]:
    """Rows as text, in which NaN equals NaN."""
    replans = [[{**r, "first_action": [*r["first_action"]]} for r in row["replan_rows"]] for row in rows]
    return [{k: str(v) for k, v in (row | {"replan_rows": r}).items()} for row, r in zip(rows, replans, strict=True)]


def test_rows_come_back_as_written_and_no_replan_is_lost(cell, make_row):
    rows = [make_row(state=s, setting=REUSE) for s in (2, 0, 1)]
    for row in rows:
        cell.add([row])
    assert known(cell.read()) == known(sorted(rows, key=lambda r: r["initial_state"]))
    found = collect(cell.read())
    assert len(found.replans) == found.episodes["replans"].sum() == 9
    assert found.replans["reused"].sum() == found.episodes["reused"].sum() == 3
    assert found.replans.groupby(EPISODE)["replan"].apply(list).tolist() == [[0, 1, 2]] * 3
    assert found.replans["vision_anchor"].isna().tolist() == [True, False, False] * 3
    assert np.allclose(found.replans["first_action"][1], [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6])


def test_a_row_takes_the_place_of_the_same_episode_alone(cell, make_row):
    cell.add([make_row(state=0), make_row(state=1), make_row(state=1, seed=1)])
    cell.add([make_row(state=1) | {"steps": 99}])
    assert [(r["initial_state"], r["seed"], r["steps"]) for r in cell.read()] == [(0, 0, 13), (1, 0, 99), (1, 1, 13)]


def test_the_name_holds_the_task_and_the_mode_and_all_that_determines_the_rows(tmp_path):
    key = {"task": 3, "mode": "layer_wise[:2]:splice", "gate": "always", "simulator": {"mujoco": "3"}}
    path = Cell(tmp_path, key).path
    assert path.name.startswith("task03_layer_wise_") and path.name.replace("_", "").replace(".", "").isalnum()
    others = [{"task": 4}, {"mode": "layer_wise[2:]:splice"}, {"gate": "never"}, {"simulator": {"mujoco": "4"}}]
    assert len({path, *(Cell(tmp_path, key | other).path for other in others)}) == 5
    assert Cell(tmp_path, dict(reversed(key.items()))).path == path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def scramble(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])


def replace_by_another_table(path: Path) -> None:
    pd.DataFrame({"task": [0]}).to_parquet(path)


def replace_by_another_cell(path: Path) -> None:
    other = Cell(path.parent, {"task": 0, "mode": "full", "gate": "vision >= 0.97"})
    other.add(Cell(path.parent, {"task": 0, "mode": "full", "gate": "vision >= 0.98"}).read())
    other.path.replace(path)


def drop_a_column(path: Path) -> None:
    parquet.write_table(parquet.read_table(path).drop(["machine"]), path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "is damaged; delete it and its episodes run again"),
        (scramble, "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_text("not a table"), "is damaged"),
        (replace_by_another_table, "is damaged"),
        (replace_by_another_cell, "holds rows of other inputs than its name says; delete it to run them again"),
        (drop_a_column, "has other columns than this version of kvlab; delete it to run them again"),
    ],
)
def test_a_damaged_file_is_told_and_not_overwritten(cell, make_row, damage, says):
    cell.add([make_row(state=s, setting=REUSE) for s in range(10)])
    damage(cell.path)
    damaged = cell.path.read_bytes()
    for use in (cell.read, lambda: cell.add([make_row(state=11, setting=REUSE)])):
        with pytest.raises(ValueError, match=says) as error:
            use()
        assert str(cell.path) in str(error.value)
    assert cell.path.read_bytes() == damaged


def test_a_file_that_may_not_be_read_is_not_called_damaged(cell, make_row, monkeypatch):
    cell.add([make_row()])

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(parquet, "read_table", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        cell.read()


def test_a_crash_between_writing_and_moving_leaves_the_old_file(cell, make_row, monkeypatch):
    cell.add([make_row(state=0)])
    before = cell.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(records.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cell.add([make_row(state=1)])
    assert cell.path.read_bytes() == before
    cell.add([make_row(state=1)])
    assert [r["initial_state"] for r in cell.read()] == [0, 1]
    assert list(cell.folder.iterdir()) == [cell.path]


def test_two_studies_that_write_at_once_lose_no_row(cell, make_row):
    threads = [
        threading.Thread(target=lambda seed=seed: [cell.add([make_row(state=s, seed=seed)]) for s in range(5)])
        for seed in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(r["initial_state"], r["seed"]) for r in cell.read()} == {(s, k) for s in range(5) for k in range(3)}


def test_errors_are_rows_without_an_outcome(cell, make_row):
    failed = {
        "success": None,
        "error": "MujocoException: nan",
        "steps": 0,
        "replans": 0,
        "reused": 0,
        "replan_rows": [],
    }
    cell.add([make_row(state=0) | failed])
    alone = collect(cell.read())
    assert alone.episodes["success"].isna().all() and alone.replans.empty
    cell.add([make_row(state=1)])
    both = collect(cell.read())
    assert both.episodes["error"].tolist()[0] == "MujocoException: nan" and both.episodes["error"].isna()[1]
    assert both.replans.dtypes.equals(alone.replans.dtypes) and len(both.replans) == 3


@pytest.mark.parametrize(
    ("changes", "replan", "says"),
    [
        ({"task": -1}, {}, "episodes break their schema.*task"),
        ({"task": "0"}, {}, "episodes break their schema.*task"),
        ({"initial_state": 50}, {}, "initial_state"),
        ({"steps": 3.5}, {}, "steps"),
        ({"reused": 3}, {}, "the first replan cannot reuse"),
        ({"success": None}, {}, "an error is not an outcome"),
        ({"error": "MujocoException"}, {}, "an error is not an outcome"),
        ({"machine": None}, {}, "machine"),
        ({}, {"vision_anchor": 1.01}, "replans break their schema.*vision_anchor"),
        ({}, {"ms_total": -1.0}, "ms_total"),
        ({}, {"action_norm": float("nan")}, "action_norm"),
        ({}, {"age": 0}, "a reused cache is at least one replan old"),
        ({}, {"reused": None}, "reused"),
    ],
)
def test_rows_that_break_the_schema_are_neither_written_nor_read(cell, make_row, changes, replan, says):
    row = make_row(setting=REUSE)
    row["replan_rows"][1] |= replan
    for use in (collect, cell.add):
        with pytest.raises(ValueError, match=rf"(?s){says}"):
            use([row | changes])
    assert cell.read() == []


def test_an_episode_twice_in_one_arm_is_an_error(make_row):
    with pytest.raises(ValueError, match="an episode is recorded twice in one setting") as error:
        collect([make_row()] * 50)
    assert len(str(error.value)) < 400  # not a list of all of them
    collect([make_row(), make_row(setting=REUSE), make_row(seed=1), make_row(state=1), make_row(task=1)])


def test_nothing_recorded_is_told(cell):
    assert cell.read() == []
    with pytest.raises(ValueError, match="nothing is recorded for this study yet; run it first"):
        collect(cell.read())


def test_all_studies_of_a_folder_are_read_at_once(tmp_path, make_row):
    Cell(tmp_path / "one", {"task": 0, "mode": "none"}).add([make_row(state=s) for s in (0, 1)])
    Cell(tmp_path / "two", {"task": 0, "mode": "full"}).add([make_row(setting=REUSE)])
    episodes = all_episodes(tmp_path)
    assert sorted(episodes["gate"]) == ["never", "never", "vision >= 0.98"]
    assert episodes["success"].dtype == "boolean" and episodes["wall_s"].sum() == 3.75


def test_a_folder_without_recordings_is_told(tmp_path):
    with pytest.raises(ValueError, match="nothing is recorded in"):
        all_episodes(tmp_path)
