"""Episodes over several workers, each keeping the environments it has built: processes, or actors of a Ray cluster."""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from functools import cache
from importlib.util import find_spec
from typing import TypeVar

from tqdm import tqdm

from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import Task

Result = TypeVar("Result")
Placed = list[tuple[int, tuple]]  # the worker's number and the arguments of each job
BACKENDS = ("processes", "ray")
RESTARTS = 3  # of a Ray worker that dies; one that dies again is taken to die of its job


@cache
def kept_env(task: Task, render: str, size: int) -> LiberoEnv:
    """This process's environment for a task: building one takes seconds, so it is built once."""
    return LiberoEnv(task, render, size)


def check_backend(name: str) -> None:
    """ValueError where `name` is none of BACKENDS, or where what it needs is not installed."""
    if name not in BACKENDS:
        raise ValueError(f"the backend must be one of {', '.join(BACKENDS)}, got {name!r}")
    if name == "ray" and find_spec("ray") is None:
        raise ValueError("the backend ray needs Ray: pip install -e '.[ray]' -c constraints.txt")


def by_task(
    work: Callable[..., Result],
    jobs: list[tuple[int, tuple]],
    workers: int,
    title: str,
    unit: str,
    backend: str = "processes",
) -> Iterator[Result]:
    """Results of `work(*arguments)` for each (task index, arguments) as they come, under a progress bar.

    A task's jobs all run in the same worker, in order, so that each environment is built in one of them only (joblib's
    processes would share the tasks, and end when an environment makes them grow). With twice as many workers as tasks,
    two workers share a task, and so on. An exception of `work` is raised here and drops what is left. Raises
    BrokenProcessPool where a worker dies; with Ray, where it has died more than RESTARTS times.
    """
    check_backend(backend)
    run = {"processes": _in_processes, "ray": _on_ray}[backend]
    with closing(run(work, _placed(jobs, workers), workers)) as results:
        yield from tqdm(results, total=len(jobs), desc=title, unit=unit)


def _placed(jobs: list[tuple[int, tuple]], workers: int) -> Placed:
    seen, tasks = Counter(), len({index for index, _ in jobs})
    lanes = max(1, workers // max(1, tasks))
    placed = []
    for index, arguments in jobs:
        placed.append(((index + tasks * (seen[index] % lanes)) % workers, arguments))
        seen[index] += 1
    return placed


def _in_processes(work: Callable[..., Result], jobs: Placed, workers: int) -> Iterator[Result]:
    spawn = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
    with ExitStack() as stack:
        pools = [ProcessPoolExecutor(1, spawn, end_with_the_first) for _ in range(workers)]
        for pool in pools:
            stack.callback(pool.shutdown)
        futures = [pools[worker].submit(work, *arguments) for worker, arguments in jobs]
        for future in futures:  # after an error what runs comes to its end; nowhere is more begun while another ends
            stack.callback(future.cancel)
        for done in as_completed(futures):
            yield done.result()


def end_with_the_first() -> None:
    """Ctrl-C reaches every process of a terminal: workers end without a word, the first process says what it means.

    Where that one is killed, nobody would read what they still compute.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    first = multiprocessing.parent_process()
    threading.Thread(target=lambda: (first.join(), os._exit(1)), daemon=True).start()


def _on_ray(work: Callable[..., Result], jobs: Placed, workers: int) -> Iterator[Result]:
    """In the cluster that RAY_ADDRESS names or `ray start` began on this machine, or else in one begun here and now.

    An actor that dies is started again by Ray itself, on another node where its own is gone, and given what it had not
    finished. One whose jobs are done is let go, so that more workers than CPUs take turns.
    """
    import ray
    from ray.exceptions import RayActorError, RaySystemError, RayTaskError

    class Worker:  # it names nothing of kvlab, so that a node that lacks something can say so as the job's error
        def run(self, work, arguments):
            return work(*arguments)

    actor = ray.remote(Worker).options(
        num_cpus=1,
        max_restarts=RESTARTS,
        max_task_retries=RESTARTS,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": {name: os.environ[name] for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}},
    )
    with ExitStack() as stack:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
            stack.callback(ray.shutdown)
        left = Counter(worker for worker, _ in jobs)
        actors = {worker: actor.remote() for worker in left}
        for one in actors.values():
            stack.callback(ray.kill, one)
        running = {actors[worker].run.remote(work, arguments): worker for worker, arguments in jobs}
        while running:
            (done, *_), _ = ray.wait([*running])
            worker = running.pop(done)
            try:
                result = ray.get(done)
            except RaySystemError as error:  # the job could not be read: what it imports is not there
                raise OSError(f"a Ray worker lacks something: {str(error).splitlines()[-1]}") from error
            except RayTaskError as error:
                raise error.cause from error
            except RayActorError as error:
                raise BrokenProcessPool(f"a Ray worker died {RESTARTS + 1} times of its job") from error
            left[worker] -= 1
            if not left[worker]:
                ray.kill(actors[worker])
            yield result
