"""Episodes over several processes, each process keeping the environments it has built."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from functools import cache
from typing import TypeVar

from tqdm import tqdm

from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import Task

Result = TypeVar("Result")


@cache
def kept_env(task: Task, render: str, size: int) -> LiberoEnv:
    """This process's environment for a task: building one takes seconds, so it is built once."""
    return LiberoEnv(task, render, size)


def by_task(
    work: Callable[..., Result], jobs: list[tuple[int, tuple]], workers: int, title: str, unit: str
) -> Iterator[Result]:
    """Results of `work(*arguments)` for each (task index, arguments) as they come, under a progress bar.

    A task's jobs all run in the same process, in order, so that each environment is built in one of them only (joblib's
    processes would share the tasks, and end when an environment makes them grow). With twice as many workers as tasks,
    two processes share a task, and so on.
    """
    seen, tasks = Counter(), len({index for index, _ in jobs})
    lanes = max(1, workers // max(1, tasks))
    spawn = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
    with ExitStack() as stack:
        pools = [ProcessPoolExecutor(1, spawn, _end_with_the_first) for _ in range(workers)]
        for pool in pools:  # an error or Ctrl-C ends what runs and drops the rest
            stack.callback(pool.shutdown, cancel_futures=True)
        futures = []
        for index, arguments in jobs:
            pool = pools[(index + tasks * (seen[index] % lanes)) % workers]
            futures.append(pool.submit(work, *arguments))
            seen[index] += 1
        for done in tqdm(as_completed(futures), total=len(futures), desc=title, unit=unit):
            yield done.result()


def _end_with_the_first() -> None:
    """Ctrl-C reaches every process of a terminal: workers end without a word, the first process says what it means.

    Where that one is killed, nobody would read what they still compute.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    first = multiprocessing.parent_process()
    threading.Thread(target=lambda: (first.join(), os._exit(1)), daemon=True).start()
