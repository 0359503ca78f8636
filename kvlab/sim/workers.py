"""Episodes over several workers, each keeping the environments it has built: processes, or actors of a Ray cluster."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TypeVar

from tqdm import tqdm

from kvlab.numerics import environment, variables
from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import Task

Result = TypeVar("Result")
BACKENDS = ("processes", "ray")
_MAIN = threading.Lock()  # held while the program is hidden from the processes that it starts
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


class Jobs:
    """Jobs as (task index, arguments of one after another), given out singly so that a worker builds few environments
    and none idles.

    Task number k is worker k's, modulo `workers`. Whoever has nothing left shares the task that has most jobs left for
    each of its workers. What stands in one job is run in its order by the worker that begins it; only when nothing else
    is left, others take from its end.
    """

    def __init__(self, jobs: list[tuple[int, list[tuple]]], workers: int) -> None:
        self.left: dict[int, deque[tuple[int, list[tuple]]]] = {}
        for number, (index, arguments) in enumerate(jobs):
            self.left.setdefault(index, deque()).append((number, arguments))
        self.tasks = [{*list(self.left)[worker::workers]} for worker in range(workers)]
        self.hands: list[deque[tuple]] = [deque() for _ in range(workers)]

    def take(self, worker: int) -> tuple | None:
        """The arguments of what this worker runs next, or None when all are given out."""
        if not self.hands[worker]:
            self.hands[worker] = deque(self._begin(worker))
        if self.hands[worker]:
            return self.hands[worker].popleft()
        fullest = max(self.hands, key=len)
        return fullest.pop() if fullest else None

    def _begin(self, worker: int) -> list[tuple]:
        """The earliest job, in the order given, of this worker's tasks."""
        open_tasks = [index for index, jobs in self.left.items() if jobs]
        mine = self.tasks[worker]
        if open_tasks and mine.isdisjoint(open_tasks):
            mine.add(max(open_tasks, key=lambda index: len(self.left[index]) / sum(index in one for one in self.tasks)))
        ready = [self.left[index] for index in open_tasks if index in mine]
        return min(ready, key=lambda jobs: jobs[0][0]).popleft()[1] if ready else []


def by_task(
    work: Callable[..., Result],
    jobs: list[tuple[int, list[tuple]]],
    workers: int,
    title: str,
    unit: str,
    backend: str = "processes",
    numerics: str = "portable",
) -> Iterator[Result]:
    """Results of `work(*arguments)` for all arguments of all jobs, as they come, under a progress bar.

    `work` is a function of a module, since workers do not import the program that started them.
    `Jobs` says what a job is and which worker runs what (joblib's processes would share all tasks, and end when an
    environment makes them grow). An exception of `work` drops what nobody has begun, and is raised here after what the
    others had in hand. Raises BrokenProcessPool where a worker dies; with Ray, where it has died more than RESTARTS
    times. Workers start with the `numerics`, one of `kvlab.numerics.NUMERICS`; what of this process's environment is
    set against them is named in a warning.
    """
    check_backend(backend)
    run = {"processes": _in_processes, "ray": _on_ray}[backend]
    many = sum(len(arguments) for _, arguments in jobs)
    workers = min(workers, many)
    with closing(run(work, Jobs(jobs, workers), workers, numerics)) as results:
        yield from tqdm(results, total=many, desc=title, unit=unit)


def _in_processes(work: Callable[..., Result], jobs: Jobs, workers: int, numerics: str) -> Iterator[Result]:
    spawn = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
    running: dict[Future, int] = {}
    with ExitStack() as stack:
        pools = [stack.enter_context(ProcessPoolExecutor(1, spawn, end_with_the_first)) for _ in range(workers)]

        def begin(worker: int) -> None:
            if (arguments := jobs.take(worker)) is not None:
                running[pools[worker].submit(work, *arguments)] = worker

        with environment(numerics), _without_main():  # a pool starts its process with its first job
            for worker in range(workers):
                begin(worker)
        failed = None
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                worker, failed = running.pop(done), failed or done.exception()
                if not failed:
                    begin(worker)  # before the result is made use of: no worker waits for that
                if not done.exception():
                    yield done.result()
        if failed:  # only now: what the others had in hand is handed on
            raise failed


@contextmanager
def _without_main() -> Iterator[None]:
    """A process that is started inside does not import the program that starts it, as `spawn` would have it do.

    It needs nothing of that program, which may stand in no file (a notebook, `python -`), or call `Study.run` without
    asking for its own `__name__`: imported again, it would run its study in each worker.
    """
    with _MAIN:
        program = vars(sys.modules["__main__"])
        told = {name: program.pop(name) for name in ("__spec__", "__file__") if name in program}
        program["__spec__"] = None  # which multiprocessing reads whether it is there or not
        try:
            yield
        finally:
            del program["__spec__"]
            program.update(told)


def end_with_the_first() -> None:
    """Ctrl-C reaches every process of a terminal: workers end without a word, the first process says what it means.

    Where that one is killed, nobody would read what they still compute.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    first = multiprocessing.parent_process()
    threading.Thread(target=lambda: (first.join(), os._exit(1)), daemon=True).start()


def _on_ray(work: Callable[..., Result], jobs: Jobs, workers: int, numerics: str) -> Iterator[Result]:
    """In the cluster that RAY_ADDRESS names or `ray start` began on this machine, or else in one begun here and now.

    An actor that dies is started again by Ray itself, on another node where its own is gone, and given what it had not
    finished. One whose jobs are done is let go, so that more workers than CPUs take turns.
    """
    import ray
    from ray.exceptions import RayActorError, RaySystemError, RayTaskError

    class Worker:  # it names nothing of kvlab, so that a node that lacks something can say so as the job's error
        def run(self, work, arguments):
            return work(*arguments)

    drawing = {name: os.environ[name] for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    actor = ray.remote(Worker).options(
        num_cpus=1,
        max_restarts=RESTARTS,
        max_task_retries=RESTARTS,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": drawing | variables(numerics)},
    )
    running = {}
    with ExitStack() as stack:
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
            stack.callback(ray.shutdown)
        actors = [actor.remote() for _ in range(workers)]
        for one in actors:
            stack.callback(ray.kill, one)

        def begin(worker: int) -> None:
            if (arguments := jobs.take(worker)) is None:
                ray.kill(actors[worker])
            else:
                running[actors[worker].run.remote(work, arguments)] = worker

        for worker in range(workers):
            begin(worker)
        while running:
            (done, *_), _ = ray.wait([*running])
            try:
                result = ray.get(done)
            except RaySystemError as error:  # the job could not be read: what it imports is not there
                raise OSError(f"a Ray worker lacks something: {str(error).splitlines()[-1]}") from error
            except RayTaskError as error:
                raise error.cause from error
            except RayActorError as error:
                raise BrokenProcessPool(f"a Ray worker died {RESTARTS + 1} times of its job") from error
            begin(running.pop(done))
            yield result
