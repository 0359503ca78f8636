"""Scenes with everything moved a little: where LIBERO puts an object, it varies by two centimetres only.

A policy trained on that alone learns where things are and hardly needs to look.
"""

import mujoco
import numpy as np

from kvlab.sim.env import NO_OP, SETTLING_STEPS, LiberoEnv

TRIES = 50  # draws of a scene in which nothing overlaps


def scatter(env: LiberoEnv, rng: np.random.Generator, reach: float = 0.03) -> bool:
    """Move each object and fixture, with what stands on it, by up to `reach` (m) along x and y; whether it could be.

    For a scene that has just been reset. Left as it is where things would touch that did not in all of 50 draws.
    """
    joints = {env.libero.obj_body_id[name]: o.joints[-1] for name, o in env.libero.objects_dict.items()}
    fixtures = {env.model.body(o.root_body).id for name, o in env.libero.fixtures_dict.items() if "table" not in name}
    things = joints.keys() | fixtures
    touching, heights = _touching(env, things), env.data.xpos[:, 2].copy()
    for _ in range(TRIES):
        shift = {thing: rng.uniform(-reach, reach, 2) for thing in sorted(things, key=heights.__getitem__)}
        for high in shift:  # from the lowest up, so that a stack moves together
            for low in shift:
                if {low, high} in touching and heights[low] < heights[high]:
                    shift[high] = shift[low]
        _move(env, joints, shift, 1.0)
        if _touching(env, things) == touching:
            for _ in range(SETTLING_STEPS):
                env.step(NO_OP)
            return True
        _move(env, joints, shift, -1.0)
    return False


def _move(env: LiberoEnv, joints: dict[int, str], shift: dict[int, np.ndarray], sign: float) -> None:
    for thing, way in shift.items():
        where = env.data.joint(joints[thing]).qpos if thing in joints else env.model.body_pos[thing]
        where[:2] += sign * way
    mujoco.mj_forward(env.model, env.data)


def _touching(env: LiberoEnv, things: set[int]) -> set[frozenset[int]]:
    """Pairs of things in contact."""
    pairs = env.model.body_rootid[env.model.geom_bodyid[env.data.contact.geom]].tolist()
    return {frozenset(pair) for pair in pairs if set(pair) <= things and len(set(pair)) == 2}
