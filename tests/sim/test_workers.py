"""Processes that share episodes: who runs what, and that none outlives the first one."""

import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from kvlab.sim.workers import Jobs, by_task
from processes import eventually, runs

WAIT = "open({!r}, 'w').write(str(__import__('os').getpid())), __import__('time').sleep(60)"
DRIVER = """
import sys
from kvlab.sim.workers import by_task

print(sorted(by_task(eval, [(k, [(one,)]) for k, one in enumerate(sys.argv[1:])], 2, "program", "job")))
"""
WAYS = {  # of running a program that does not ask for its own name
    "file": lambda path: [path],
    "standard input": lambda path: ["-"],
    "runpy": lambda path: ["-c", f"import runpy, sys; runpy.run_path({str(path)!r}, run_name='__main__')"],
    "module": lambda path: ["-m", path.stem],
}


def taken(jobs: Jobs, workers: list[int]) -> list[str | None]:
    return [(jobs.take(worker) or [None])[0] for worker in workers]


def test_a_worker_takes_its_own_tasks_in_the_order_given_and_helps_where_most_is_left_when_they_are_done():
    jobs = Jobs([(int(name[0]), [(name,)]) for name in ("7a", "3a", "5a", "7b", "3b", "5b", "3c")], 2)
    assert taken(jobs, [0, 0, 1, 0, 0]) == ["7a", "5a", "3a", "7b", "5b"]  # the first and the third task are worker 0's
    assert taken(jobs, [0, 1, 0, 1]) == ["3b", "3c", None, None]


def test_more_workers_than_tasks_share_those_with_most_left_for_each():
    jobs = Jobs([(k % 2, [(f"{k % 2}{k // 2}",)]) for k in range(6)] + [(1, [("13",)])], 5)
    assert taken(jobs, [0, 1, 2, 3, 4]) == ["00", "10", "11", "01", "12"]
    assert taken(jobs, [2, 3, 4, 2]) == ["13", "02", None, None]


def test_a_job_stays_with_who_began_it_until_nothing_else_is_left():
    jobs = Jobs([(0, [("a",), ("b",), ("c",)]), (0, [("d",), ("e",), ("f",)])], 3)
    assert taken(jobs, [0, 1, 0]) == ["a", "d", "b"]
    assert taken(jobs, [2, 2, 1, 0]) == ["f", "c", "e", None]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_job_is_run_once_and_every_worker_runs_some(workers):
    """Three tasks do not leave two of five workers idle."""
    jobs = [(k % 3, [(f"{k}, __import__('os').getpid()",)]) for k in range(12)]
    found = dict(by_task(eval, jobs, workers, "who", "job"))  # a worker cannot import what is defined here
    assert [*sorted(found)] == [*range(12)] and len({*found.values()}) == workers
    assert [*by_task(eval, [], workers, "nobody", "job")] == []


def test_an_error_drops_what_no_worker_has_begun(tmp_path):
    """The second worker fails when the first has run a job, which waits for it to begin."""
    begun, ran, path = tmp_path / "begun", tmp_path / "ran", "__import__('pathlib').Path"
    ran.mkdir()
    failing = f"{path}({str(begun)!r}).touch(), [*iter(lambda: any({path}({str(ran)!r}).iterdir()), True)], 1 / 0"
    both = f"[*iter(lambda: {path}({str(begun)!r}).exists(), True)]"
    short = [f"{both}, {path}({str(ran / str(k))!r}).touch(), __import__('time').sleep(0.3)" for k in range(30)]
    jobs = [*((0, [(one,)]) for one in short), (1, [(failing,)]), (1, [("1",)])]
    with pytest.raises(ZeroDivisionError):
        list(by_task(eval, jobs, 2, "failing", "job"))
    assert 0 < len([*ran.iterdir()]) < 10


@pytest.mark.parametrize("way", WAYS)
def test_a_program_needs_no_guard(tmp_path, way):
    """Imported again in a worker it would begin its own workers, or wait for the lock that its parent holds."""
    path = tmp_path / "program.py"
    path.write_text(DRIVER)
    command = [sys.executable, *WAYS[way](path), "1 + 1", "2 + 2", "3 + 3"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    with path.open() as program:
        ran = subprocess.run(command, stdin=program, capture_output=True, text=True, timeout=100, env=environment)
    assert ran.stdout == "[2, 4, 6]\n", ran.stderr


def test_the_program_is_afterwards_what_it_was():
    before = dict(vars(sys.modules["__main__"]))
    assert [*by_task(eval, [(0, [("'pytest' in __import__('sys').modules",)])], 1, "hidden", "job")] == [False]
    assert vars(sys.modules["__main__"]) == before


def test_a_killed_worker_takes_nothing_of_the_others_with_it():
    """What the other had in hand is handed on first; what nobody has begun is not run."""
    dies = [("__import__('time').sleep(1) or __import__('os').kill(__import__('os').getpid(), 9)",)]
    slow, found = [("__import__('time').sleep(3) or 'slow'",), ("'never'",)], []
    results = by_task(eval, [(0, dies), (1, slow)], 2, "dying", "job")
    with pytest.raises(BrokenProcessPool):
        for one in results:
            found.append(one)
    assert found == ["slow"]


def test_workers_do_not_outlive_a_killed_driver(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    said = tmp_path / "pid"
    command = [sys.executable, tmp_path / "driver.py", WAIT.format(str(said))]
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    eventually(lambda: said.exists() and said.read_text())
    driver.kill()
    driver.wait()
    eventually(lambda: not runs(int(said.read_text())))
