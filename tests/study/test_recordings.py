"""Recorded rows: they come back as they were written, and what is wrong with a file is said and never overwritten."""

import os
import resource
import tempfile
import threading
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from kvlab.reuse import Replan
from kvlab.study import recordings
from kvlab.study.origin import origin
from kvlab.study.recordings import MOST_WAITING, UNRECORDED, Recording, all_episodes, alone, below, tidy
from kvlab.study.records import EPISODE, EPISODES, ORIGIN, REPLANS, SETTING, STORED, collect
from kvlab.study.settings import Setting

FULL = Setting("full", "vision >= 0.98")


def recording_of(folder: Path, setting: Setting, **others) -> Recording:
    return Recording(folder, {"suite": "libero_spatial", "setting": asdict(setting), **others})


@pytest.fixture
def recording(tmp_path) -> Recording:
    return recording_of(tmp_path / "runs", FULL)


def who(recording: Recording) -> list[tuple]:
    return [tuple(row[c] for c in ("task", "initial_state", "seed", "steps")) for row in recording.read().to_pylist()]


# What comes back


def test_rows_come_back_in_float32_and_no_replan_is_lost(recording, make_row):
    for state in (2, 0, 1):
        recording.add(make_row(state=state, reuses=True))
    waiting = collect(recording.named(recording.read()))
    recording.fold()
    found = collect(recording.named(recording.read()))
    pd.testing.assert_frame_equal(waiting.episodes, found.episodes)
    pd.testing.assert_frame_equal(waiting.replans, found.replans)
    episodes, replans = found.episodes, found.replans
    assert episodes["initial_state"].tolist() == [0, 1, 2] and episodes["wall_s"].eq(1.25).all()
    assert {*episodes["mode"]} == {"full"} and {*episodes["gate"]} == {"vision >= 0.98"}
    assert len(replans) == episodes["replans"].sum() == 9 and replans["reused"].sum() == episodes["reused"].sum() == 3
    assert replans.groupby(EPISODE)["replan"].apply(list).tolist() == [[0, 1, 2]] * 3
    nan = float("nan")
    np.testing.assert_array_equal(replans["vision_anchor"], np.float32([nan, 0.99, 0.98] * 3))
    np.testing.assert_array_equal(replans["vision_previous"], np.float32([nan, 0.99, 0.99] * 3))
    assert replans["bits"].tolist() == [2**32 - 1, 2**32 - 2, 2**32 - 3] * 3
    assert replans[["delay", "verify"]].isna().all(axis=None)


def test_a_row_takes_the_place_of_the_same_episode_alone(recording, make_row):
    recording.add(make_row(state=0))
    recording.add(make_row(state=1))
    recording.add(make_row(state=1, seed=1))
    recording.fold()
    recording.add(make_row(state=1) | {"steps": 99})
    assert who(recording) == [(0, 0, 0, 13), (0, 1, 0, 99), (0, 1, 1, 13)]
    recording.fold()
    assert who(recording) == [(0, 0, 0, 13), (0, 1, 0, 99), (0, 1, 1, 13)]
    assert [*recording.path.parent.iterdir()] == [recording.path]


def test_no_more_than_a_few_episodes_wait(recording, make_row):
    for k in range(MOST_WAITING + 1):
        recording.add(make_row(task=k % 10, state=k // 10))
    assert len([*recording.waiting.iterdir()]) == 1 and len(recording.read()) == MOST_WAITING + 1


def test_every_part_of_a_replan_has_a_column_but_what_is_left_out(recording, make_row):
    parts = {f.name for f in fields(Replan)}
    assert {name for name in parts if name.startswith(UNRECORDED)} == parts - {*REPLANS.columns}
    row = make_row()
    row["replan_rows"][0]["mood"] = 1
    with pytest.raises(ValueError, match="an episode has mood, for which the record has no column"):
        recording.add(row)
    with pytest.raises(ValueError, match="an episode has weather, for which the record has no column"):
        recording.add(make_row() | {"weather": 1})
    assert len(recording.read()) == 0


def test_settings_origins_and_what_was_measured_have_names_of_their_own():
    measured = [name for name in STORED.names if name not in ORIGIN]
    assert len({*SETTING, *ORIGIN, *measured}) == len(SETTING) + len(ORIGIN) + len(measured) == len(EPISODES.columns)
    inside = STORED.field("replan_rows").type.value_type.names
    assert not {*inside} & {*SETTING, *EPISODE}


def test_errors_are_rows_without_an_outcome(recording, make_row):
    failed = {"success": None, "error": "MujocoException: nan", "replan_rows": []}
    recording.add(make_row(state=0) | failed | dict.fromkeys(("steps", "replans", "reused"), 0))
    alone = collect(recording.named(recording.read()))
    assert alone.episodes["success"].isna().all() and alone.replans.empty
    recording.add(make_row(state=1))
    both = collect(recording.named(recording.read()))
    assert both.episodes["error"].tolist()[0] == "MujocoException: nan" and both.episodes["error"].isna()[1]
    assert both.replans.dtypes.equals(alone.replans.dtypes) and len(both.replans) == 3


@pytest.mark.parametrize(
    ("changes", "replan", "says"),
    [
        ({"task": -1}, {}, "episodes break their schema.*task"),
        ({"initial_state": 50}, {}, "initial_state"),
        ({"reused": 3}, {}, "the first replan cannot reuse"),
        ({"success": None}, {}, "an error is not an outcome"),
        ({"error": "MujocoException"}, {}, "an error is not an outcome"),
        ({"processor": None}, {}, "processor"),
        ({}, {"vision_anchor": 1.01}, "replans break their schema.*vision_anchor"),
        ({}, {"gripper": -1.0}, "gripper"),
        ({}, {"age": 0}, "a reused cache is at least one replan old"),
        ({}, {"reused": None}, "reused"),
    ],
)
def test_rows_that_break_the_schema_are_not_read_and_spoil_no_file(recording, make_row, changes, replan, says):
    recording.add(make_row(state=7, reuses=True))
    recording.fold()
    before = recording.path.read_bytes()
    row = make_row(reuses=True)
    row["replan_rows"][1] |= replan
    recording.add(row | changes)
    for use in (lambda: collect(recording.named(recording.read())), recording.fold):
        with pytest.raises(ValueError, match=rf"(?s){says}"):
            use()
    assert recording.path.read_bytes() == before


@pytest.mark.parametrize(("column", "value"), [("task", "0"), ("success", "yes")])
def test_values_of_another_kind_are_not_written(recording, make_row, column, value):
    with pytest.raises((ValueError, TypeError)):
        recording.add(make_row() | {column: value})
    assert not recording.path.parent.exists()


def test_an_episode_twice_in_one_setting_is_an_error(make_row, make_records):
    with pytest.raises(ValueError, match="an episode is recorded twice in one setting") as error:
        make_records(*[(FULL, make_row())] * 50)
    assert len(str(error.value)) < 400  # not a list of all of them
    others = [make_row(seed=1), make_row(state=1), make_row(task=1)]
    make_records((FULL, make_row()), (Setting("none"), make_row()), *((FULL, row) for row in others))


# Which file, and what of a file is believed


def test_the_name_holds_the_mode_and_all_that_determines_the_rows(tmp_path):
    setting = Setting("layer_wise[:2]:splice")
    path = recording_of(tmp_path, setting, simulator={"mujoco": "3"}).path
    assert path.parent == tmp_path / "libero_spatial" and path.name.startswith("layer_wise_")
    assert path.name.replace("_", "").replace(".", "").isalnum()
    others = [
        recording_of(tmp_path, Setting("layer_wise[2:]:splice"), simulator={"mujoco": "3"}),
        recording_of(tmp_path, Setting("layer_wise[:2]:splice", "every(2)"), simulator={"mujoco": "3"}),
        recording_of(tmp_path, setting, simulator={"mujoco": "4"}),
    ]
    assert len({path, *(one.path for one in others)}) == 4


def test_all_below_a_folder_is_read_at_once(tmp_path, make_row):
    one, two = recording_of(tmp_path / "one", Setting("none")), recording_of(tmp_path / "two", FULL)
    for state in (0, 1):
        one.add(make_row(state=state))
    two.add(make_row(reuses=True))
    one.fold()
    episodes = all_episodes(tmp_path)
    assert sorted(episodes["gate"]) == ["never", "never", "vision >= 0.98"]
    assert episodes["success"].dtype == "boolean" and episodes["wall_s"].sum() == 3.75
    assert [found.path for found in below(tmp_path)] == [one.path, two.path]


def test_a_world_that_does_not_wait_is_told_from_one_that_does(tmp_path, make_row):
    waits = recording_of(tmp_path, FULL)
    goes_on = Recording(tmp_path, waits.key | {"delays": {"computed": 4, "reused": 0, "holds": False}})
    still = Recording(tmp_path, waits.key | {"delays": {"computed": 4, "reused": 0, "holds": True}})
    for one in (waits, goes_on, still):
        one.add(make_row(reuses=True))
    assert sorted(all_episodes(tmp_path)["delays"]) == ["", "4, 0", "4, 0 hold"]


def test_episodes_of_two_policies_lie_side_by_side(tmp_path, make_row):
    """The same episodes in the same setting: neither is the other's second recording."""
    first = recording_of(tmp_path, FULL, checkpoint="0123")
    other = recording_of(tmp_path, FULL, checkpoint="4567")
    first.add(make_row(reuses=True))
    for state in (0, 1):
        other.add(make_row(state=state, reuses=True))
    assert first.path != other.path and first.path.parent == other.path.parent
    assert all_episodes(tmp_path).groupby("checkpoint").size().to_dict() == {"0123": 1, "4567": 2}


def test_episodes_of_two_devices_lie_side_by_side(tmp_path, make_row):
    """A GPU computes other bits than a processor, and its rows are another recording."""
    cpu = recording_of(tmp_path, FULL)
    for one in (cpu, Recording(tmp_path, cpu.key | {"device": "engine"})):
        one.add(make_row(reuses=True))
    assert sorted(all_episodes(tmp_path)["device"]) == ["cpu", "engine"]


def test_a_folder_without_recordings_is_told(tmp_path):
    with pytest.raises(ValueError, match="nothing is recorded in"):
        all_episodes(tmp_path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def scramble(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])


def flip_a_bit(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    at = parquet.ParquetFile(path).metadata.row_group(0).column(12).data_page_offset + 60
    whole[at] ^= 1
    path.write_bytes(whole)


def replace_by_another_table(path: Path) -> None:
    pd.DataFrame({"task": [0]}).to_parquet(path)


def replace_by_another_recording(path: Path) -> None:
    table = parquet.read_table(path)
    key = table.schema.metadata[b"kvlab"].replace(b"0.98", b"0.97")
    parquet.write_table(table.replace_schema_metadata({"kvlab": key}), path)


def drop_a_column(path: Path) -> None:
    parquet.write_table(parquet.read_table(path).drop(["processor"]), path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "is damaged; delete it and its episodes run again"),
        (scramble, "is damaged"),
        (flip_a_bit, "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_text("not a table"), "is damaged"),
        (replace_by_another_table, "is no recording of this version of kvlab; delete it"),
        (replace_by_another_recording, "holds rows of other inputs than its name says; delete it"),
        (drop_a_column, "has other columns than this version of kvlab; delete it"),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_damaged_file_is_told_and_not_overwritten(recording, make_row, damage, says, waits):
    for state in range(10):
        recording.add(make_row(state=state, reuses=True))
    if not waits:
        recording.fold()
    path = sorted(recording.waiting.iterdir())[3] if waits else recording.path
    damage(path)
    damaged = path.read_bytes()
    if not waits:
        recording.add(make_row(state=11, reuses=True))
    for use in (recording.read, recording.fold, lambda: all_episodes(path.parents[1 + waits])):
        with pytest.raises(ValueError, match=says) as error:
            use()
        assert str(path) in str(error.value)
    assert path.read_bytes() == damaged


def test_a_foreign_file_among_the_recordings_is_named(recording, make_row):
    recording.add(make_row())
    recording.fold()
    foreign = recording.path.parent / "notes.parquet"
    pd.DataFrame({"task": [0]}).to_parquet(foreign)
    for use in (all_episodes, tidy):
        with pytest.raises(ValueError, match="notes.parquet is no recording of this version of kvlab"):
            use(recording.folder)
    recording.path.rename(foreign)
    with pytest.raises(ValueError, match="notes.parquet holds rows of other inputs than its name says"):
        all_episodes(recording.folder)


def test_a_file_that_may_not_be_read_is_not_called_damaged(recording, make_row, monkeypatch):
    recording.add(make_row())

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(parquet, "ParquetFile", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        recording.read()


# Whatever happens, what was finished stays


@pytest.mark.parametrize("moves", [0, 1])
def test_a_crash_between_writing_and_moving_loses_nothing_that_was_there(recording, make_row, monkeypatch, moves):
    """Of the episode's own file, or of the recording's when it is folded."""
    recording.add(make_row(state=0))
    recording.fold()
    replace, left = os.replace, iter(range(moves, -1, -1))

    def crash(*paths):
        if not next(left):
            raise KeyboardInterrupt
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(recordings.os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            recording.add(make_row(state=1))
            recording.fold()
    assert [state for _, state, *_ in who(recording)] == [0, 1][: 1 + moves]
    assert [*recording.folder.rglob("*.part")]
    with alone(recording.folder):
        tidy(recording.folder)
    assert [state for _, state, *_ in who(recording)] == [0, 1][: 1 + moves]
    assert [*recording.path.parent.iterdir()] == [recording.path]


def test_a_crash_before_what_was_folded_is_cleared_away_counts_nothing_twice(recording, make_row, monkeypatch):
    for state in range(3):
        recording.add(make_row(state=state))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            recording.fold()
    assert recording.path.exists() and len([*recording.waiting.iterdir()]) == 3
    assert [state for _, state, *_ in who(recording)] == [0, 1, 2]


def test_whoever_reads_meanwhile_sees_every_episode(recording, make_row):
    """While episodes are added and folded none that was there is missed, and no file is half there."""
    ended, seen = threading.Event(), []

    def read():
        while not ended.is_set():
            seen.append(len(recording.read()))

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(60):
        recording.add(make_row(task=k % 10, state=k // 10))
    ended.set()
    reader.join()
    assert seen == sorted(seen) and len({*seen}) > 3 and len(recording.read()) == 60


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(recording, make_row):
    """The system ends files at a limit as it does where the disk is full."""
    recording.add(make_row(state=0))
    recording.fold()
    before, limits = recording.path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"\.parquet cannot be written \(File too large\); what was recorded before is"
        ):
            recording.add(make_row(state=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert recording.path.read_bytes() == before and [*recording.folder.rglob("*.part")] == []
    recording.add(make_row(state=1))
    assert len(recording.read()) == 2


def test_a_folder_that_may_not_be_written_to_is_one_sentence():
    """As another user where this one is the administrator, who may write everywhere."""
    administrator = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        (folder := Path(parent, "runs")).mkdir(mode=0o555)
        os.seteuid(65534 if administrator else os.geteuid())
        try:
            with pytest.raises(PermissionError, match="^nothing can be recorded in .*runs: it may not be written to$"):
                with alone(folder):
                    pytest.fail("went on")
        finally:
            os.seteuid(0 if administrator else os.geteuid())


# Where rows are from


def test_an_origin_tells_machines_apart_that_have_one_name():
    here = origin("llvmpipe (LLVM 15.0.6, 256 bits), Mesa 22.3.6")
    assert {*asdict(here)} == {*ORIGIN} and all(asdict(here).values())
    assert "family" in here.processor and "model" in here.processor
    assert here.instructions in ("DEFAULT", "AVX2", "AVX512", "AVX512_BF16", "AMX")


def test_a_field_that_is_added_to_settings_leaves_files_as_they_are(recording, make_row, monkeypatch):
    """What is at its default is in no key, and a file is read whichever settings' columns it has."""
    recording.add(make_row())
    recording.fold()
    table = parquet.read_table(recording.path)
    key = table.schema.metadata
    parquet.write_table(table.append_column("speed", [[None]]).replace_schema_metadata(key), recording.path)
    with pytest.raises(ValueError, match="has other columns"):
        recording.read()
    monkeypatch.setattr(
        recordings, "CONSTANTS", recordings.CONSTANTS.append(parquet.read_schema(recording.path).field("speed"))
    )
    assert len(recording.read()) == 1
