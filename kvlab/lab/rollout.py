"""One episode in closed loop: look, replan, execute a few actions, until success or the suite's step limit."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
from jaxtyping import UInt8

from kvlab.reuse import CachedPolicy
from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import STEP_LIMITS

Frames = Mapping[str, UInt8[np.ndarray, "h w 3"]]

# What the policy is shown in place of the live frames: controls for "does it look at all?"
CAMERAS: dict[str, Callable[[Frames], Frames]] = {
    "live": lambda frames: frames,
    "black": lambda frames: {name: np.zeros_like(frame) for name, frame in frames.items()},
}


def rollout(
    env: LiberoEnv, policy: CachedPolicy, initial_state: int, seed: int, replan_every: int = 5, cameras: str = "live"
) -> tuple[dict, list[dict]]:
    """Run one episode; its record (success, steps, replans, reused, wall_s) and one record per replan.

    The policy sees frames only at replans, so only those are drawn. Noise depends on the task, initial state, seed and
    the number of the replan, and not on the arm. An exception of the simulator or the policy passes through.
    """
    limit, shown, started = STEP_LIMITS[env.task.suite], CAMERAS[cameras], time.perf_counter()
    env.reset(initial_state, seed)
    policy.reset(env.task.language, (env.task.index, initial_state, seed))
    replans, step, success = [], 0, False
    while step < limit and not success:
        seen = env.observe()
        chunk, replan = policy.act(shown(seen.images), seen.state)
        replans.append({"replan": len(replans), "step": step, **asdict(replan)})
        for action in chunk[: min(replan_every, limit - step)]:
            success = env.step(np.clip(action, -1.0, 1.0))
            step += 1
            if success:
                break
    outcome = {
        "success": success,
        "steps": step,
        "replans": len(replans),
        "reused": sum(r["reused"] for r in replans),
        "wall_s": round(time.perf_counter() - started, 3),
    }
    return outcome, replans
