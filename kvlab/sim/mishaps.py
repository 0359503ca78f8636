"""Mishaps that a learned policy has and an expert has not: the demonstration after one shows the way back.

Without them a policy never sees a bowl on the plate's edge, or its own empty hand on the way, and stays there.
"""

import numpy as np

from kvlab.sim.env import NO_OP, LiberoEnv
from kvlab.sim.expert import CLOSED, BowlExpert, expert_for, servo
from kvlab.sim.long_tasks import LONG_TASKS

STEPS = 200  # a mishap that takes longer is given up
HOLDING = 40  # about as many steps the fingers are closed in one primitive of a long task


def misplace(env: LiberoEnv, rng: np.random.Generator) -> bool:
    """Set the bowl down 3 to 7 cm beside the plate's middle and withdraw; whether it came to that."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.07)
    expert = BowlExpert(env, aside=distance * np.array([np.cos(angle), np.sin(angle)]))
    for _ in range(STEPS):
        if expert.done:
            return True
        env.step(expert.act())
    return False


def drop(env: LiberoEnv, rng: np.random.Generator) -> bool:
    """Lose the bowl on its way and carry on for up to a second with an empty hand; whether it came to that.

    Not so if the bowl happens to fall where it should.
    """
    expert, held = BowlExpert(env), rng.integers(3, 30)
    for _ in range(STEPS):
        env.step(expert.act())
        held -= expert.phase in ("lift", "carry")
        if held <= 0:
            break
    else:
        return False
    for _ in range(6):
        success = env.step(NO_OP)
    for _ in range(rng.integers(0, 20)):
        way = env.data.xpos[expert.plate] - env.data.site_xpos[expert.site]
        way[2] = max(0.0, way[2] + 0.15)  # at carrying height
        success = env.step(np.clip(servo(way, np.zeros(3), 0.9, CLOSED), -1.0, 1.0))
    return not success


def lose(env: LiberoEnv, rng: np.random.Generator) -> bool:
    """Open the fingers somewhere in a long task and carry on for up to 0.7 s with an empty hand; whether it came to it.

    Most often something falls; the fingers may also have held a knob, or pushed. Not so where the task is done before.
    """
    expert, closed = expert_for(env), rng.integers(5, HOLDING * len(LONG_TASKS[env.task.index]))
    for _ in range(2 * STEPS):
        action = expert.act()
        if expert.done:
            return False
        env.step(action)
        closed -= action[6] == CLOSED
        if closed <= 0:
            break
    else:
        return False
    for _ in range(12):  # a can, which holds the fingers wide apart, begins to slip after 8
        success = env.step(NO_OP)
    for _ in range(rng.integers(0, 15)):
        success = env.step(np.append(action[:6], CLOSED))
    return not success


MISHAPS = {"libero_spatial": (drop, misplace), "libero_10": (lose,)}
