"""Processes that are killed at any moment: of what was recorded nothing is lost, half there, or run again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from kvlab.study.settings import Setting
from kvlab.study.study import Study

SETTINGS, EPISODES = (Setting("none"), Setting("full", "every(3)")), 60

# An episode takes a hundredth of a second, and each that is recorded is told.
PROGRAM = """
import sys
from pathlib import Path
from kvlab.study import study as lab
from kvlab.study.settings import Setting
import episodes

add = lab.Study._add

def add_and_tell(study, row):
    add(study, row)
    print(row["task"], row["initial_state"], row["order"], flush=True)

lab.run_episode, lab.Study._add = episodes.run_episode, add_and_tell
settings = Setting("none"), Setting("full", "every(3)")
lab.Study(Path(sys.argv[1]), settings, 60, folder=Path(sys.argv[2])).run(2)
"""
MODULE = """
import time
from conftest import _row

def run_episode(checkpoint, protocol, index, state, seed, order, setting):
    time.sleep(0.01)
    return _row(index, state, order == 1, seed) | {"order": order}
"""


def start(folder: Path, checkpoint: Path) -> subprocess.Popen:
    (folder / "episodes.py").write_text(MODULE)
    (folder / "program.py").write_text(PROGRAM)
    path = [str(folder), str(Path(__file__).parents[1]), *filter(None, sys.path)]
    command = [sys.executable, folder / "program.py", checkpoint, folder / "runs"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def workers(pid: int) -> list[psutil.Process]:
    return [one for one in psutil.Process(pid).children() if "spawn_main" in " ".join(one.cmdline())]


def told(lines) -> list[tuple[int, int, int]]:
    """What was recorded; the last line may be half a one."""
    return [tuple(map(int, line.split())) for line in lines if len(line.split()) == 3 and line.endswith("\n")]


def found(study: Study) -> set[tuple[int, int, int]]:
    rows = [row for setting in study.settings for row in study.rows(setting).to_pylist()]
    assert all(len(row["replan_rows"]) == row["replans"] == 3 for row in rows)
    return {(row["task"], row["initial_state"], row["order"]) for row in rows}


def test_nothing_that_was_recorded_is_lost_or_run_again_whichever_process_is_killed_whenever(untrained, tmp_path):
    study = Study(untrained, SETTINGS, EPISODES, folder=tmp_path / "runs")
    earlier, least = set(), 0
    for victim in ("worker", "study"):
        running, lines, left = start(tmp_path, untrained), [], random.randint(1, 25)
        for line in running.stdout:
            lines.append(line)
            left -= 1
            if left == 0:
                time.sleep(random.random() / 20)
                (running if victim == "study" else random.choice(workers(running.pid))).kill()
        running.wait()
        assert running.returncode == (-signal.SIGKILL if victim == "study" else 1), running.stderr.read()
        recorded, now = {*told(lines)}, found(study)
        assert not recorded & earlier  # what was there is not run again
        assert earlier | recorded <= now
        assert len(now) <= len(earlier | recorded) + 1  # one may be there and not yet told
        earlier, least = now, least + len(recorded)
    assert 2 <= least < 2 * EPISODES
    last = start(tmp_path, untrained)
    lines = told(last.stdout)
    assert last.wait() == 0, last.stderr.read()
    assert len(lines) == 2 * EPISODES - len(earlier) and not {*lines} & earlier
    assert len(study.read().episodes) == 2 * EPISODES
    assert {*tmp_path.glob("runs/*/*")} == {study.recording(one).path for one in SETTINGS}
