"""Processes that share episodes: who runs what, and that none outlives the first one."""

import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from kvlab.sim.workers import by_task

DRIVER = """
import sys, time
from kvlab.sim.workers import by_task

def work(file):
    import os
    open(file, "w").write(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    list(by_task(work, [(0, (sys.argv[1],))], 1, "waiting", "job"))
"""


@pytest.mark.parametrize(("workers", "lanes"), [(1, 1), (2, 1), (3, 1), (6, 2)])
def test_a_task_stays_with_as_few_processes_as_there_are_for_it(workers, lanes):
    processes = defaultdict(set)
    jobs = [(k % 3, (f"{k % 3}, __import__('os').getpid()",)) for k in range(12)]
    for index, process in by_task(eval, jobs, workers, "who", "job"):  # a worker cannot import what is defined here
        processes[index].add(process)
    assert {len(mine) for mine in processes.values()} == {lanes}
    assert len(set.union(*processes.values())) == workers


def test_an_error_drops_what_no_worker_has_begun(tmp_path):
    """The second worker's first job fails when the other has begun; its next one, in its hands already, is long."""
    failing = f"[*iter(lambda: any(__import__('pathlib').Path({str(tmp_path)!r}).iterdir()), True)], 1 / 0"
    short = [f"open({str(tmp_path / str(k))!r}, 'w').close() or __import__('time').sleep(0.3)" for k in range(30)]
    jobs = [*((0, (one,)) for one in short), (1, (failing,)), (1, ("__import__('time').sleep(6)",))]
    with pytest.raises(ZeroDivisionError):
        list(by_task(eval, jobs, 2, "failing", "job"))
    assert len([*tmp_path.iterdir()]) < 10  # of the short ones one runs, and one or two more are in its worker's hands


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for the process in /proc")
def test_workers_do_not_outlive_a_killed_driver(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    said = tmp_path / "pid"
    driver = subprocess.Popen([sys.executable, tmp_path / "driver.py", said], stderr=subprocess.DEVNULL)
    _until(lambda: said.exists() and said.read_text())
    driver.kill()
    driver.wait()
    _until(lambda: not _runs(int(said.read_text())))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited for nothing"
        time.sleep(0.05)
