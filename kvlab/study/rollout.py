"""One episode in closed loop: look, replan, execute a few actions, until success or the suite's step limit."""

import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from kvlab.reuse import CachedPolicy
from kvlab.sim.env import NO_OP, LiberoEnv, Observation
from kvlab.sim.published import observe, step_limit
from kvlab.study.clock import NO_DELAYS, Delays
from kvlab.study.seeing import shown


def rollout(
    env: LiberoEnv,
    policy: CachedPolicy,
    initial_state: int,
    seed: int,
    seeing: str = "live",
    other: Sequence[Observation] = (),
    evaluation: str = "kvlab",
    delays: Delays = NO_DELAYS,
) -> tuple[dict, list[dict], list[Observation]]:
    """Run one episode: its record (success, steps, replans, reused, wall_s), one record per replan, and what was there.

    The policy sees frames only at replans, so only those are drawn; `seeing` and `other` are of `kvlab.study.seeing`,
    `evaluation` is one of `kvlab.sim.published`; `kvlab.study.clock` says what happens during `delays`.
    Noise depends on the task, initial state, seed and the number of the replan, and not on the setting. An exception of
    the simulator or the policy passes through; ValueError where the policy's actions cannot be executed.
    """
    limit, started, past = step_limit(env.task.suite, evaluation), time.perf_counter(), []
    env.reset(initial_state, seed)
    policy.reset(env.task.language, (env.task.index, initial_state, seed))
    replans, robot, passed, ahead = [], _Robot(env, limit), 0, ()
    while not robot.done:
        looked_at = robot.steps
        past.append(observe(env, evaluation))
        seen = shown(seeing, past, other)
        chunk, replan = policy.act(seen.images, seen.state, passed)
        _check(chunk, len(replans), replan.executed)
        delay = delays.reused if replan.reused else delays.computed
        skipped = robot.wait(delay, () if delays.holds else ahead)
        arrived_at, passed = robot.steps, skipped + policy.executes(skipped)
        robot.follow(chunk[skipped:passed])
        ahead = chunk[passed:]
        happened = {"delay": delay, "executed": robot.steps - arrived_at}
        replans.append({"replan": len(replans), "step": looked_at, **asdict(replan), **happened})
    outcome = {
        "success": robot.success,
        "steps": robot.steps,
        "replans": len(replans),
        "reused": sum(r["reused"] for r in replans),
        "wall_s": round(time.perf_counter() - started, 3),
    }
    return outcome, replans, past


class _Robot:
    """What executes actions until the task is done or the step limit is reached."""

    def __init__(self, env: LiberoEnv, limit: int):
        self._env, self._limit, self._gripper = env, limit, NO_OP[-1]
        self.steps, self.success = 0, False

    @property
    def done(self) -> bool:
        return self.success or self.steps >= self._limit

    def follow(self, actions: Sequence[np.ndarray]) -> None:
        for action in actions:
            if not self.done:
                self.success = self._env.step(np.clip(action, -1.0, 1.0))
                self.steps, self._gripper = self.steps + 1, action[-1]

    def wait(self, delay: int, ahead: Sequence[np.ndarray]) -> int:
        """Go on `ahead` for so many control steps, then stand still. Returns how many of the actions were passed."""
        self.follow(ahead[:delay])
        still = np.append(NO_OP[:-1], self._gripper)
        self.follow([still] * (delay - len(ahead[:delay])))
        return len(ahead[:delay])


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
