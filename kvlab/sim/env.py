"""One LIBERO task as an episode machine: reset to an official initial state, step, look only when asked.

Physics and success predicate are LIBERO's own, the controller is robosuite's to rounding (`kvlab.sim.osc`); what
robosuite computes at each of the 25 physics steps of a control step and nobody reads (observables, two further forward
passes) is left out. Nothing is drawn except by `observe`.
"""

import contextlib
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from kvlab.sim.render import Renderer, profile
from kvlab.sim.suites import Task, compiling, initial_states, quiet

with compiling():
    from kvlab.sim.osc import Controller

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}  # our image keys: LIBERO's cameras
SETTLING_STEPS = 10
NO_OP = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])  # stay, gripper open


class SimulationError(RuntimeError):
    """MuJoCo lost the episode: it met a number that is not finite, and began anew, or left out contacts."""


@dataclass(frozen=True)
class Observation:
    """What a policy sees: `images` by camera (agentview, wrist), upright RGB; `state`: end effector position (3, m),
    its orientation as axis-angle (3, rad), finger joint positions (2, m)."""

    images: dict[str, UInt8[np.ndarray, "h w 3"]]
    state: Float32[np.ndarray, "8"]


class LiberoEnv:
    """A task's environment. The same (initial state, seed) gives the same episode bit for bit, whatever ran before."""

    def __init__(self, task: Task, render: str = "fast", size: int = 128):
        """`render` names a profile of `kvlab.sim.render`, `size` is the side of the square images in pixels.

        Raises ValueError for an unknown profile, OSError where no GL driver is installed or where robosuite can write
        its compiled functions nowhere.
        """
        profile(render)
        self.task, self.render, self.size = task, render, size
        self._states = initial_states(task)
        with quiet(), compiling():
            from libero.libero.envs.env_wrapper import ControlEnv

            self.libero = ControlEnv(
                task.bddl, use_camera_obs=False, has_offscreen_renderer=False, hard_reset=False
            ).env
        self.libero.visualize({part: False for part in self.libero._visualizations})  # as robosuite's own reset does
        self.model: mujoco.MjModel = self.libero.sim.model._model
        self.data: mujoco.MjData = self.libero.sim.data._data
        hidden = self.model.site_rgba[:, 3] < 0  # so robosuite hides a site; MuJoCo draws it twice, and nothing is seen
        self.model.site_rgba[hidden, 3] = 0
        self.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR  # forces at the hand, which nobody reads
        self.libero.check_contact, self._geoms = self._in_contact, {}
        self._warnings = self.data.warning.number  # MuJoCo's own counters, since its last reset of the data by us
        self._site_colours = self.model.site_rgba.copy()
        self._cameras = [self.model.camera(name).id for name in CAMERAS.values()]
        self._substeps = int(self.libero.control_timestep / self.libero.model_timestep)
        self._renderer: Renderer | None = None

    def reset(self, initial_state: int, seed: int) -> None:
        """Begin the episode (initial_state 0..49, seed >= 0) and let it settle for 10 no-op steps.

        The official states leave out where cabinet and stove stand; that is drawn from the task's own ranges, by a
        generator that (task, initial_state, seed) alone determine. ValueError for an unknown initial state.
        """
        if not 0 <= initial_state < len(self._states):
            raise ValueError(f"Unknown initial state {initial_state}: there are 0 to {len(self._states) - 1}.")
        env = self.libero
        mujoco.mj_resetData(self.model, self.data)
        self.model.site_rgba[:] = self._site_colours
        with _global_seed(np.random.SeedSequence([self.task.index, initial_state, seed]).generate_state(1)[0]):
            self._place_fixtures()
        env.timestep, env.cur_time, env.done = 0, 0.0, False
        self._controller = self._at_rest()
        env.sim.set_state_from_flattened(self._states[initial_state])
        mujoco.mj_forward(self.model, self.data)
        env._post_process()
        for _ in range(SETTLING_STEPS):
            self.step(NO_OP)

    def step(self, action: Float[np.ndarray, "7"]) -> bool:
        """One control step (1/20 s) of (translation 3, rotation 3, gripper: 1 closes), each in [-1, 1].

        A full translation asks for 5 cm, a full rotation for 0.5 rad. True if the task's predicate holds afterwards.
        Raises SimulationError where MuJoCo gave a warning: what follows is no episode of this task any more.
        """
        env = self.libero
        try:
            for substep in range(self._substeps):
                mujoco.mj_step1(self.model, self.data)
                if substep == 0:
                    self._controller.aim(action)
                self._controller.apply()
                mujoco.mj_step2(self.model, self.data)
        finally:  # MuJoCo goes on from the model's own pose, for which the controller may have no answer
            if any(self._warnings):
                kinds = np.flatnonzero(self._warnings)
                told = [mujoco.mju_warningText(kind, self.data.warning[kind].lastinfo) for kind in kinds]
                raise SimulationError(f"MuJoCo warned: {' '.join(told)}")
        env._post_process()
        return bool(env._check_success())

    def state(self) -> Float32[np.ndarray, "8"]:
        """The proprioceptive part of `observe`."""
        robot, data = self.libero.robots[0], self.data
        turn = np.empty(3)
        mujoco.mju_quat2Vel(turn, data.body(robot.robot_model.eef_name).xquat, 1.0)  # rotation vector, up to pi
        fingers = data.qpos[robot._ref_gripper_joint_pos_indexes]
        return np.concatenate([data.site_xpos[robot.eef_site_id], turn, fingers]).astype(np.float32)

    def observe(self) -> Observation:
        """Draw both cameras and read the state. OSError where no GL driver works."""
        images = self._drawer().draw(self.data, self._cameras)
        return Observation(dict(zip(CAMERAS, images, strict=True)), self.state())

    @property
    def drawn_by(self) -> str:
        """The OpenGL driver's name for what draws: a GPU, or "llvmpipe (...)" in software. OSError where none works."""
        return self._drawer().driver

    def _drawer(self) -> Renderer:
        if self._renderer is None:
            self._renderer = Renderer(self.model, self.render, self.size)
        return self._renderer

    def close(self) -> None:
        """Free the GL context; what draws again makes a new one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _in_contact(self, one, other) -> bool:
        """robosuite's `check_contact` of two of its models, without a name looked up for each of the contacts."""
        pairs = self.data.contact.geom
        first, second = (self._belongs(part)[pairs] for part in (one, other))
        return bool((first[:, 0] & second[:, 1] | first[:, 1] & second[:, 0]).any())

    def _belongs(self, part) -> Bool[np.ndarray, " geoms"]:
        """Which geoms are those of one of robosuite's models that can touch."""
        if part not in self._geoms:
            self._geoms[part] = np.zeros(self.model.ngeom, bool)
            self._geoms[part][[self.model.geom(name).id for name in part.contact_geoms]] = True
        return self._geoms[part]

    def _at_rest(self) -> Controller:
        """A new controller of the arm in robosuite's own posture, which is where it draws the joints to."""
        robot, qpos = self.libero.robots[0], self.data.qpos
        qpos[robot._ref_joint_pos_indexes] = robot.init_qpos
        qpos[robot._ref_gripper_joint_pos_indexes] = robot.gripper.init_qpos
        mujoco.mj_kinematics(self.model, self.data)
        return Controller(self.model, self.data, robot)

    def _place_fixtures(self) -> None:
        """Draw each fixture's pose from the task's own sampler, which uses numpy's global generator."""
        env = self.libero
        for sampler in env.placement_initializer.samplers.values():
            if sampler.mujoco_objects[0].name not in env.fixtures_dict:
                continue
            for position, quaternion, fixture in sampler.sample().values():
                body = self.model.body(fixture.root_body).id
                self.model.body_pos[body], self.model.body_quat[body] = position, quaternion


@contextlib.contextmanager
def _global_seed(seed: int):
    """Seed numpy's global generator inside, and leave it as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
