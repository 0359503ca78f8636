"""How often the scripted expert succeeds, undisturbed, on a suite's official initial states."""

import numpy as np
import pandas as pd

from kvlab.sim.expert import check_suite, expert_for
from kvlab.sim.suites import STEP_LIMITS, task, tasks
from kvlab.sim.workers import by_task, kept_env


def trials(suite: str, states: int = 50, seed: int = 0, workers: int = 1) -> pd.DataFrame:
    """One row per episode over all tasks and the first `states` initial states: suite, task, name, initial_state,
    seed, success, steps. Nothing is drawn.

    Success is stricter than LIBERO's: the predicate still holds after all is released and the hand has withdrawn,
    within the suite's step limit. Raises ValueError for a suite without an expert, or for `states` outside 1..50.
    """
    check_suite(suite)
    if not 1 <= states <= 50:
        raise ValueError(f"{states} initial states asked for: a task has 1 to 50.")
    jobs = [(one.index, [(suite, one.index, state, seed)]) for state in range(states) for one in tasks(suite)]
    rows = by_task(_trial, jobs, workers, f"{suite} expert", "episode")
    return pd.DataFrame(rows).sort_values(["task", "initial_state"], ignore_index=True)


def _trial(suite: str, index: int, state: int, seed: int) -> dict:
    env = kept_env(task(suite, index), "fast", 128)
    env.reset(state, seed)
    expert, success, steps = expert_for(env), False, 0
    while not expert.done and steps < STEP_LIMITS[suite]:
        success = env.step(np.clip(expert.act(), -1.0, 1.0))
        steps += 1
    facts = {"suite": suite, "task": index, "name": env.task.name, "initial_state": state, "seed": seed}
    return facts | {"success": success and expert.done, "steps": steps}
