"""LIBERO suites and tasks: names, instructions, problem files, official initial states and step limits."""

import contextlib
import io
import logging
import os
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float64

from kvlab.sim.gl import GL_HELP

# Longest demonstration of each suite, rounded up: the limits of the published LIBERO evaluations (openpi, OpenVLA).
STEP_LIMITS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520}


@dataclass(frozen=True)
class Task:
    """One task of a suite: `index` as in the published order, `language` the instruction, `bddl` the problem file."""

    suite: str
    index: int
    name: str
    language: str
    bddl: str


@contextlib.contextmanager
def quiet():
    """Swallow what LIBERO prints and robosuite warns about (task orders, missing macro files)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@cache
def _benchmark(suite: str):
    if suite not in STEP_LIMITS:
        raise ValueError(f"Unknown suite {suite!r}: known suites are {', '.join(STEP_LIMITS)}.")
    with quiet():
        try:
            from libero.libero.benchmark import get_benchmark
        except ImportError as error:
            if ".so" in str(error):  # OpenCV's system libraries
                raise OSError(GL_HELP) from error
            raise

        return get_benchmark(suite)()


@cache
def tasks(suite: str) -> tuple[Task, ...]:
    """All tasks of a suite in the published order.

    Raises ValueError for an unknown suite, OSError where no GL driver is installed.
    """
    benchmark = _benchmark(suite)
    return tuple(
        Task(suite, i, entry.name, entry.language, os.path.normpath(benchmark.get_task_bddl_file_path(i)))
        for i, entry in enumerate(benchmark.tasks)
    )


def task(suite: str, index: int) -> Task:
    """The task at `index` of a suite; ValueError if either is unknown."""
    known = tasks(suite)
    if not 0 <= index < len(known):
        raise ValueError(f"Unknown task {index} of {suite}: known tasks are 0 to {len(known) - 1}.")
    return known[index]


def initial_states(task: Task) -> Float64[np.ndarray, "50 n"]:
    """The official initial states of a task, one row each: time (s), joint positions, joint velocities."""
    with quiet():
        return np.asarray(_benchmark(task.suite).get_task_init_states(task.index))
