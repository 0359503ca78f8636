"""One episode in closed loop: look, replan, execute a few actions, until success or the suite's step limit."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from kvlab.reuse import CachedPolicy
from kvlab.sim.env import NO_OP, LiberoEnv, Observation
from kvlab.sim.published import observe, step_limit
from kvlab.study.seeing import shown


def rollout(
    env: LiberoEnv,
    policy: CachedPolicy,
    initial_state: int,
    seed: int,
    seeing: str = "live",
    other: Sequence[Observation] = (),
    evaluation: str = "kvlab",
) -> tuple[dict, list[dict], list[Observation]]:
    """Run one episode: its record (success, steps, replans, reused, wall_s), one record per replan, and what was there.

    The policy sees frames only at replans, so only those are drawn; `seeing` and `other` are of `kvlab.study.seeing`,
    `evaluation` is one of `kvlab.sim.published`.
    Noise depends on the task, initial state, seed and the number of the replan, and not on the setting. An exception of
    the simulator or the policy passes through; ValueError where the policy's actions cannot be executed.
    """
    limit, started, past = step_limit(env.task.suite, evaluation), time.perf_counter(), []
    env.reset(initial_state, seed)
    policy.reset(env.task.language, (env.task.index, initial_state, seed))
    replans, step, success = [], 0, False
    while step < limit and not success:
        past.append(observe(env, evaluation))
        seen = shown(seeing, past, other)
        chunk, replan = policy.act(seen.images, seen.state)
        _check(chunk, len(replans), replan.executed)
        started_at = step
        for action in chunk[: min(replan.executed, limit - step)]:
            success = env.step(np.clip(action, -1.0, 1.0))
            step += 1
            if success:
                break
        executed = {"executed": step - started_at}
        replans.append({"replan": len(replans), "step": started_at, **asdict(replan), **executed})
    outcome = {
        "success": success,
        "steps": step,
        "replans": len(replans),
        "reused": sum(r["reused"] for r in replans),
        "wall_s": round(time.perf_counter() - started, 3),
    }
    return outcome, replans, past


def _check(chunk: np.ndarray, replan: int, executed: int) -> None:
    """ValueError for actions that must not reach the simulator, which would go on with them."""
    shape = np.shape(chunk)
    if len(shape) != 2 or shape[0] < executed or shape[1] != len(NO_OP):
        raise ValueError(
            f"the policy answered replan {replan} with actions of shape {shape}, not of (at least {executed}, "
            f"{len(NO_OP)})"
        )
    if not np.isfinite(chunk).all():
        raise ValueError(f"the policy answered replan {replan} with actions that are not finite")
