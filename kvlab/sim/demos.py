"""Demonstrations with recovery: the expert's clean action is the label, a disturbed one is executed.

So the policy sees states off the expert's path together with the way back (DART, Laskey et al. 2017).
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save_file

from kvlab.sim.env import LiberoEnv, SimulationError
from kvlab.sim.expert import check_suite, expert_for
from kvlab.sim.mishaps import MISHAPS
from kvlab.sim.scatter import scatter
from kvlab.sim.suites import STEP_LIMITS, task, tasks
from kvlab.sim.workers import by_task, kept_env

HELD_OUT = range(10)  # initial states kept for evaluation: never demonstrated
STATES = range(10, 50)
FAILED = ".failed"
SCATTERED = 0.6  # share of the demonstrations in which everything is moved a little
AFTER_MISHAP = 0.3  # share of the demonstrations that begin after one


def episodes(suite: str, per_task: int) -> list[tuple[int, int, int]]:
    """(task, initial state, seed) of every demonstration, states in the outer order so that any part is balanced.

    After the 40 states that are not held out the same ones come again with the next seed.
    """
    order = [(one.index, STATES[k % len(STATES)], k // len(STATES)) for k in range(per_task) for one in tasks(suite)]
    assert not any(state in HELD_OUT for _, state, _ in order)
    return order


def path(out: Path, suite: str, index: int, state: int, seed: int) -> Path:
    """Where a demonstration is kept; with the suffix `.failed` in its place, that there is none to be had."""
    return out / suite / f"task{index:02d}_state{state:02d}_seed{seed}.safetensors"


def generate(
    suite: str,
    out: Path,
    per_task: int = 40,
    workers: int = 2,
    render: str = "fast",
    size: int = 128,
    only: Collection[int] | None = None,
) -> tuple[int, int]:
    """Record the missing ones of `per_task` demonstrations a task; how many were written, and how many failed.

    One file each (see `record`), moved into place when complete, so that an interrupted run goes on where it was.
    `only` names tasks by index (all if None). A failed episode leaves an empty file and is not tried again: it would
    fail again. Raises ValueError for a suite without an expert or an unknown task.
    """
    check_suite(suite)
    wanted = {task(suite, index).index for index in only} if only else {one.index for one in tasks(suite)}
    missing = [e for e in episodes(suite, per_task) if e[0] in wanted and not _tried(path(out, suite, *e))]
    jobs = [(index, [(out, suite, index, state, seed, render, size)]) for index, state, seed in missing]
    written = sum(by_task(_record_one, jobs, workers, f"{suite} demonstrations", "demo"))
    return written, len(missing) - written


def record(env: LiberoEnv, state: int, seed: int) -> dict[str, np.ndarray] | None:
    """One disturbed expert episode; None if it fails. Some begin with a scattered scene or after a mishap, which is not
    part of them.

    `agentview` and `wrist` uint8 (T, size, size, 3), `state` float32 (T, 8), `action` float32 (T, 7): what was seen
    before each step and the clean action there.
    """
    env.reset(state, seed)
    who = [env.task.index, state, seed]
    layout, luck = (np.random.default_rng([*who, n]) for n in (2, 1))  # apart, so that none depends on another
    if layout.random() < SCATTERED and not scatter(env, layout):
        return None
    mishaps = MISHAPS[env.task.suite]
    if luck.random() < AFTER_MISHAP and not mishaps[luck.integers(len(mishaps))](env, luck):
        return None
    expert, noise = expert_for(env), disturbance(np.random.default_rng(who))
    frames, states, actions, success = [], [], [], False
    for _ in range(STEP_LIMITS[env.task.suite]):
        seen, action = env.observe(), expert.act()
        if expert.done:
            break
        frames.append(seen.images)
        states.append(seen.state)
        actions.append(np.clip(action, -1.0, 1.0))
        success = env.step(np.clip(action + next(noise), -1.0, 1.0))
    if not success:
        return None
    cameras = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
    return cameras | {"state": np.stack(states), "action": np.stack(actions).astype(np.float32)}


def disturbance(rng: np.random.Generator) -> Iterator[Float[np.ndarray, "7"]]:
    """What is added to the clean actions: white noise, and now and then a push of a quarter second one way.

    The gripper is left alone.
    """
    push, left = np.zeros(6), 0
    while True:
        if left == 0 and rng.random() < 0.03:
            push, left = rng.normal(0.0, [0.5, 0.5, 0.3, 0.2, 0.2, 0.2]), 5
        noise = rng.normal(0.0, 0.1, 6) + (push if left else 0.0)
        left = max(0, left - 1)
        yield np.append(noise, 0.0)


def _tried(final: Path) -> bool:
    return final.exists() or final.with_suffix(FAILED).exists()


def _record_one(out: Path, suite: str, index: int, state: int, seed: int, render: str, size: int) -> bool:
    one, final = task(suite, index), path(out, suite, index, state, seed)
    try:
        demo = record(kept_env(one, render, size), state, seed)
    except SimulationError:  # in which it is no demonstration either
        demo = None
    final.parent.mkdir(parents=True, exist_ok=True)
    if demo is None:
        final.with_suffix(FAILED).touch()
        return False
    facts = {"suite": suite, "task": index, "language": one.language, "initial_state": state, "seed": seed}
    part = final.with_suffix(".part")
    save_file(demo, part, {k: str(v) for k, v in (facts | {"render": render, "size": size}).items()})
    part.replace(final)
    return True
