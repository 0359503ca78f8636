"""Control steps per second of whole rollouts: this runner against plain loops that draw at every control step."""

import atexit
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from kvlab.pi0 import load
from kvlab.sim.env import CAMERAS, NO_OP, SETTLING_STEPS, LiberoEnv, Observation
from kvlab.sim.gl import ensure_gl
from kvlab.sim.suites import Task, initial_states, quiet
from kvlab.study.observations import scenes
from kvlab.study.protocol import Protocol
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting


class PlainLibero:
    """LIBERO's own `OffScreenRenderEnv`, driven as its evaluation does: both cameras are drawn at every step."""

    def __init__(self, task: Task, size: int):
        ensure_gl()
        self.task, self._states = task, initial_states(task)
        with quiet():
            from libero.libero.envs import OffScreenRenderEnv

            self.libero = OffScreenRenderEnv(bddl_file_name=task.bddl, camera_heights=size, camera_widths=size)
        atexit.register(self.close)  # before the GL display ends: LIBERO's own finalizer comes too late for that

    def reset(self, initial_state: int, seed: int) -> None:
        """LIBERO's reset, the official state, 10 settling steps."""
        self.libero.seed(seed)
        self.libero.reset()
        self._seen = self.libero.set_init_state(self._states[initial_state])
        for _ in range(SETTLING_STEPS):
            self.step(NO_OP)

    def step(self, action: Float[np.ndarray, "7"]) -> bool:
        """One control step; True if the task's predicate holds afterwards."""
        self._seen, _, success, _ = self.libero.step(action)
        return bool(success)

    def observe(self) -> Observation:
        """What the last step returned, in the form of `LiberoEnv.observe`."""
        seen = self._seen
        images = {name: np.ascontiguousarray(seen[f"{view}_image"][::-1]) for name, view in CAMERAS.items()}
        turn = Rotation.from_quat(seen["robot0_eef_quat"]).as_rotvec()
        state = np.concatenate([seen["robot0_eef_pos"], turn, seen["robot0_gripper_qpos"]])
        return Observation(images, state.astype(np.float32))

    def close(self) -> None:
        """Free the simulation and the GL context."""
        if self.libero is not None:
            self.libero.close()
            self.libero = None


class DrawnEveryStep:
    """`LiberoEnv`, its cameras drawn after every step instead of when the policy looks."""

    def __init__(self, env: LiberoEnv):
        self.task, self._env = env.task, env

    def reset(self, initial_state: int, seed: int) -> None:
        self._env.reset(initial_state, seed)
        self._seen = self._env.observe()

    def step(self, action: Float[np.ndarray, "7"]) -> bool:
        success = self._env.step(action)
        self._seen = self._env.observe()
        return success

    def observe(self) -> Observation:
        """What was drawn last."""
        return self._seen


RUNNER = "kvlab"
LOOPS = {
    RUNNER: LiberoEnv,
    "same drawing, every step": lambda task, render, size: DrawnEveryStep(LiberoEnv(task, render, size)),
    "LIBERO's OffScreenRenderEnv": lambda task, render, size: PlainLibero(task, size),
}


def measure(checkpoint: Path, episodes: int, repeats: int, threads: int) -> pd.DataFrame:
    """One row per loop, task (the first `episodes`) and repeat: steps, replans, success, wall_s, drawn_by.

    Every loop has a process of its own, which keeps its environments; only one of them works at a time, and the loops
    take turns episode by episode. The policy is the same and reuses nothing. `wall_s` is a whole episode: reset,
    settling, and every control step until success or the step limit, but not the making of environments.
    """
    tasks, render, size = scenes(load(checkpoint), episodes)
    jobs = [(one, repeat, loop) for one in tasks for repeat in range(repeats) for loop in LOOPS]
    rows = []
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
        pools = {loop: stack.enter_context(ProcessPoolExecutor(1, spawn)) for loop in LOOPS}
        for one, repeat, loop in tqdm(jobs, desc="rollouts", unit="episode"):
            facts = pools[loop].submit(_episode, loop, one, render, size, checkpoint, threads).result()
            rows.append({"loop": loop, "task": one.index, "repeat": repeat, **facts})
    return pd.DataFrame(rows)


def _episode(loop: str, one: Task, render: str, size: int, checkpoint: Path, threads: int) -> dict:
    torch.set_num_threads(threads)
    env, policy = _ready(loop, one, render, size, checkpoint)
    outcome, *_ = rollout(env, policy, initial_state=0, seed=0)
    from OpenGL import GL  # its platform is chosen by now

    facts = {name: outcome[name] for name in ("steps", "replans", "success", "wall_s")}
    return facts | {"drawn_by": GL.glGetString(GL.GL_RENDERER).decode()}


@cache
def _ready(loop: str, one: Task, render: str, size: int, checkpoint: Path):
    """A task's environment and the policy, after a first look: drivers compile and meshes are coarsened only once."""
    env, policy = (
        LOOPS[loop](one, render, size),
        Setting("none").on(load(checkpoint), Protocol.replan_every),
    )
    env.reset(initial_state=0, seed=0)
    policy.reset(one.language, seed=(0,))
    seen = env.observe()
    policy.act(seen.images, seen.state)
    return env, policy


def by_loop(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per loop: episodes, median control steps per second, and how many times faster this runner is.

    `ratio` is the median, over episodes, of this runner's control steps per second over the loop's on the same one.
    """
    rates = rows.assign(rate=rows["steps"] / rows["wall_s"]).pivot(
        index=["task", "repeat"], columns="loop", values="rate"
    )
    summary = pd.DataFrame(
        {
            "episodes": rates.count(),
            "steps_per_s": rates.median(),
            "ratio": rates.rdiv(rates[RUNNER], axis=0).median(),
        }
    )
    return summary.loc[rows["loop"].drop_duplicates()]


def table(summary: pd.DataFrame) -> str:
    """`by_loop` as text."""
    shown = summary.rename(columns={"steps_per_s": "control steps/s", "ratio": f"{RUNNER} is faster by"})
    return shown.rename_axis(index=None).to_string(float_format="{:.2f}".format)
