"""Suites and tasks by name, with a clear sentence for those that do not exist."""

import os
import subprocess
import sys

import numpy as np
import pytest

from kvlab.sim import suites
from kvlab.sim.suites import STEP_LIMITS, initial_states, task, tasks


@pytest.mark.parametrize("suite", STEP_LIMITS)
def test_a_suite_has_ten_tasks_and_fifty_distinct_initial_states(suite, capsys):
    suites._benchmark.cache_clear()  # what is known already prints nothing
    tasks.cache_clear()
    known = tasks(suite)
    assert [one.index for one in known] == list(range(10))
    assert len({one.language for one in known}) == 10
    assert all(os.path.exists(one.bddl) for one in known)
    states = initial_states(known[9])
    assert states.dtype == np.float64 and states.shape[0] == 50
    assert len(np.unique(states, axis=0)) == 50
    assert capsys.readouterr().out == ""  # LIBERO prints otherwise


def test_unknown_suite_and_task():
    with pytest.raises(ValueError, match="Unknown suite 'libero_kitchen': known suites are libero_spatial, "):
        tasks("libero_kitchen")
    with pytest.raises(ValueError, match="Unknown task 10 of libero_spatial: known tasks are 0 to 9"):
        task("libero_spatial", 10)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"MUJOCO_GL": "glfw"}, "set it to egl or osmesa"),
        ({"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl"}, "apt-get install -y libegl1"),
    ],
)
def test_a_missing_driver_is_named_with_its_cure(environment, says):
    """In a process where the GL library cannot be found, as on a machine without one."""
    script = (
        "import ctypes.util, ctypes\n"
        "ctypes.util.find_library = lambda name: None\n"
        "load = ctypes.CDLL.__init__\n"
        "def refuse(self, name, *a, **k):\n"
        "    if name and any(part in str(name) for part in ('EGL', 'OSMesa', 'libGL')): raise OSError(name)\n"
        "    load(self, name, *a, **k)\n"
        "ctypes.CDLL.__init__ = refuse\n"
        "try:\n"
        "    from kvlab.sim.suites import tasks\n"
        "    tasks('libero_spatial')\n"
        "except (OSError, ValueError) as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | environment)
    assert says in run.stdout and run.stdout.count("\n") == 1, run.stderr
