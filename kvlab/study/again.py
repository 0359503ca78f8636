"""Recorded episodes run again, now or on another machine, and compared bit by bit with what was recorded."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pyarrow.compute import field

from kvlab.sim.workers import by_task
from kvlab.study.protocol import Protocol
from kvlab.study.recordings import Recording, stored
from kvlab.study.records import EPISODE, ORIGIN, Records, collect
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from kvlab.study.trial import run_episode


def run_again(study: Study, trials: Sequence[tuple[int, int]], workers: int = 2) -> pd.DataFrame:
    """Run every setting of the study on these (task, initial state) again, without writing; one row per episode.

    See `compare`. Raises ValueError where an episode was not recorded, or where none is named.
    """
    if not trials:
        raise ValueError("no episode is named that could be run again")
    recorded = {setting: study.rows(setting) for setting in study.settings}
    for setting, found in recorded.items():  # said before any is run
        there = {*zip(found["task"].to_pylist(), found["initial_state"].to_pylist(), strict=True)}
        if lacking := [trial for trial in trials if trial not in there]:
            raise ValueError(
                f"task {lacking[0][0]}, initial state {lacking[0][1]} of `{setting}` is not recorded; run the study"
            )
    checkpoint = Path(study.checkpoint).resolve()
    jobs = [
        (t, [(checkpoint, study.protocol, t, s, study.seed, order, one) for order, one in enumerate(study.settings)])
        for t, s in trials
    ]
    rows = list(by_task(run_episode, jobs, workers, "run again", "episode", numerics=study.protocol.numerics))
    tables = []
    for order, (setting, then) in enumerate(recorded.items()):
        now = study.recording(setting).named(stored([row for row in rows if row["order"] == order]))
        tables.append(compare(collect(then), collect(now)).assign(setting=str(setting)))
    return pd.concat(tables).sort_values(["task", "initial_state", "setting"], ignore_index=True)


def recorded_episode(recording: Recording, task: int, state: int, seed: int) -> Records:
    """The rows of one recorded episode. ValueError where it is not recorded."""
    wanted = (field("task") == task) & (field("initial_state") == state) & (field("seed") == seed)
    rows = recording.named(recording.read()).filter(wanted)
    if not len(rows):
        setting = Setting(**recording.key["setting"])
        raise ValueError(f"task {task}, initial state {state} of `{setting}` is not recorded")
    return collect(rows)


def play(
    recording: Recording, checkpoint: Path, protocol: Protocol, task: int, state: int, seed: int, pictures: Path
) -> tuple[Records, dict[str, object]]:
    """Run a recorded episode again, with the pictures of `run_episode` in a folder, without writing.

    Returns its rows now, and what `compare` says of them. ValueError where it is not recorded; BrokenProcessPool where
    its process is ended.
    """
    then, setting = recorded_episode(recording, task, state, seed), Setting(**recording.key["setting"])
    job = (checkpoint.resolve(), protocol, task, state, seed, 0, setting, pictures)
    (row,) = by_task(run_episode, [(task, [job])], 1, "play", "episode", numerics=protocol.numerics)
    now = collect(recording.named(stored([row])))
    return now, compare(then, now).iloc[0].to_dict()


def compare(recorded: Records, now: Records) -> pd.DataFrame:
    """Each episode of `now`, all of one setting, beside the recorded one.

    `success`, `steps` and `replans` as "recorded / now" where they differ; `first_difference`: the first replan whose
    chunk has other bits, missing if none has; `agrees`: outcome and all bits are equal; `machine`: what differs between
    the machines.
    """
    (then, old), (new_episodes, new) = ((r.episodes.set_index(EPISODE), r.replans) for r in (recorded, now))
    return pd.DataFrame(
        _beside(then.loc[episode], _of(old, episode), row, _of(new, episode)) | dict(zip(EPISODE, episode, strict=True))
        for episode, row in new_episodes.iterrows()
    )


def _of(replans: pd.DataFrame, episode: tuple) -> pd.DataFrame:
    return replans[(replans[EPISODE] == list(episode)).all(axis=1)].set_index("replan")


def _beside(then: pd.Series, old: pd.DataFrame, now: pd.Series, new: pd.DataFrame) -> dict[str, object]:
    pairs = {name: (then[name], now[name]) for name in ("success", "steps", "replans")}
    outcome = {name: a if _same(a, b) else f"{a} / {b}" for name, (a, b) in pairs.items()}
    both = old.join(new, lsuffix="_then", rsuffix="_now", how="inner")
    differs = (both.bits_then != both.bits_now) | (both.reused_then != both.reused_now)
    first = differs.index[differs].min()
    return {
        **outcome,
        "first_difference": first if differs.any() else pd.NA,
        "agrees": all(_same(*pair) for pair in pairs.values()) and not differs.any() and pd.isna(now["error"]),
        "machine": ", ".join(f"{name} {then[name]} / {now[name]}" for name in ORIGIN if then[name] != now[name]),
        "error": "" if pd.isna(now["error"]) else now["error"],
    }


def _same(one: object, other: object) -> bool:
    return pd.isna(one) and pd.isna(other) or bool(pd.notna(one) and pd.notna(other) and one == other)
