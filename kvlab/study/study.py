"""Studies: a grid of settings over the same episodes with the same noise, each cell recorded once and kept."""

from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from kvlab.paths import DATA
from kvlab.pi0 import Policy
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.pi0.files import hub_commit, local_folder
from kvlab.sim.env import CAMERAS as LIBERO_CAMERAS
from kvlab.sim.env import SETTLING_STEPS
from kvlab.sim.suites import task, tasks
from kvlab.sim.workers import by_task, check_backend
from kvlab.study.protocol import Protocol
from kvlab.study.records import Cell, Records, alone, collect
from kvlab.study.settings import Setting
from kvlab.study.trial import load_policy, run_elsewhere, run_trial, versions

SIZES = (8, 7)  # of LIBERO's state and action
MOST_EPISODES = 100  # of a study: 10 tasks x the 10 initial states that are held out of training


Found = dict[Setting, dict[tuple[int, int], dict]]  # rows, replans inside: by setting, then by (task, initial state)


@dataclass(frozen=True)
class Study:
    """Settings over the first `episodes` episodes of a suite, recorded in `folder`.

    The rule of episodes: number k is task k mod 10 and initial state k div 10, so that 3 episodes are the first three
    tasks' first initial state and 100 are 10 x 10. Initial states 0 to 9 were in no training set.
    """

    checkpoint: Path  # or the id of one on the Hub, which is fetched
    settings: tuple[Setting, ...]
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
            raise ValueError(f"a study has 1 to {MOST_EPISODES} episodes a setting, got {self.episodes}")
        if self.seed < 0:
            raise ValueError(f"a seed is a whole number from 0 on, got {self.seed}")
        object.__setattr__(self, "checkpoint", local_folder(self.checkpoint))
        object.__setattr__(self, "policy", load_policy(self.checkpoint, self.protocol.device, self.protocol.entries))
        if self.protocol.replan_every is None:
            told = replace(self.protocol, replan_every=self.policy.conventions.execute)
            object.__setattr__(self, "protocol", told)
        object.__setattr__(self, "digest", checkpoint_digest(self.checkpoint))
        defaults = self.policy.config.denoising_steps, self.protocol.replan_every
        object.__setattr__(self, "settings", tuple(setting.without_defaults(*defaults) for setting in self.settings))
        if not self.settings or len(set(self.settings)) < len(self.settings):
            raise ValueError(f"a study needs settings, each once; got {[str(a) for a in self.settings]}")
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
                + (". Which camera is which, a rename_map says" if policy.trained_on.get("format") == "lerobot" else "")
            )
        for index in sorted({index for index, _ in self.trials()}):
            # A state in the middle has numbers of three digits alone: with it a prompt is at its longest.
            policy.tokens(task(suite, index).language, policy.stats["state_mean"])
        for setting in self.settings:
            setting.on(policy, self.protocol.replan_every)
            if self.protocol.real_time:
                self.protocol.real_time.require_fits(setting, config.chunk)

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

    def cell(self, setting: Setting, task_index: int) -> Cell:
        """Where the rows of this setting on this task are."""
        execute = setting.execute or self.protocol.replan_every
        key = {
            "checkpoint": self.digest,
            "denoising_steps": setting.denoising_steps or self.policy.config.denoising_steps,
            "mode": setting.mode,
            "gate": setting.gate,
            "seeing": setting.seeing,
            "task": task_index,
            **self.protocol.key(setting),
            "replan_every": int(execute) if str(execute).isdigit() else execute,
            "settling_steps": SETTLING_STEPS,
            "simulator": versions(),
        }
        return Cell(self.folder / self.protocol.suite, key, hub_commit(self.checkpoint))

    def recorded(self) -> Found:
        """The study's rows that are on disk, replans inside: by setting, then by (task, initial state)."""
        trials = self.trials()
        found = {}
        for setting in self.settings:
            rows = [row for index in sorted({t for t, _ in trials}) for row in self.cell(setting, index).read()]
            mine = {(row["task"], row["initial_state"]): row for row in rows if row["seed"] == self.seed}
            found[setting] = {trial: mine[trial] for trial in trials if trial in mine}
        return found

    def missing(self) -> dict[tuple[int, int], list[Setting]]:
        """The settings that each trial still lacks; a row that holds an error counts as lacking."""
        return self._lacking(self.recorded())

    def _lacking(self, found: Found) -> dict[tuple[int, int], list[Setting]]:
        done = {setting: {t for t, row in rows.items() if row["error"] is None} for setting, rows in found.items()}
        lacking = {
            trial: [setting for setting in self.settings if trial not in done[setting]] for trial in self.trials()
        }
        return {trial: settings for trial, settings in lacking.items() if settings}

    def run(self, workers: int = 2, backend: str = "processes") -> Records:
        """Run what is missing, then read. Interrupted, it goes on where it was: every finished trial is on disk.

        Settings of a trial run one after another in one worker, which is of the `backend` (BACKENDS of
        kvlab.sim.workers); only this process writes. Studies of one folder run one after another on a machine: what
        they share runs once. Raises ValueError where a machine draws by other means than the protocol says or has
        another checkpoint or simulator than this one, or where the checkpoint is replaced meanwhile.
        """
        check_backend(backend)
        found = self.recorded()  # which takes seconds: what is complete is read once
        if self._lacking(found):
            with alone(self.folder, f"another study runs episodes in {self.folder}; this one waits for it"):
                self._run(self.missing(), workers, backend)
            found = self.recorded()
        return self._complete(found)

    def _run(self, missing: dict[tuple[int, int], list[Setting]], workers: int, backend: str) -> None:
        checkpoint = Path(self.checkpoint).resolve()  # a worker may stand in another folder
        jobs = [
            (
                index,
                (
                    checkpoint,
                    self.protocol,
                    index,
                    state,
                    self.seed,
                    tuple((self.settings.index(a), a) for a in settings),
                ),
            )
            for (index, state), settings in missing.items()
        ]
        work = run_trial if backend == "processes" else partial(run_elsewhere, self.digest, versions())
        # Closed at once where a row cannot be written: what is left of the jobs is then dropped, not run.
        title, numerics = f"{len(self.settings)} settings", self.protocol.numerics
        with closing(by_task(work, jobs, workers, title, "trial", backend, numerics)) as results:
            for rows in results:
                self._add(rows)

    def _add(self, rows: list[tuple[Setting, dict]]) -> None:
        if checkpoint_digest(self.checkpoint) != self.digest:
            raise ValueError(f"{self.checkpoint} was replaced while its study ran; start the study again")
        for setting, row in rows:
            self.cell(setting, row["task"]).add([row])

    def read(self) -> Records:
        """The recorded rows, errors of the simulator among them. ValueError where any episode of any setting is
        missing.
        """
        return self._complete(self.recorded())

    def _complete(self, found: Found) -> Records:
        rows = [row for rows in found.values() for row in rows.values()]
        if lacking := (many := len(self.settings) * self.episodes) - len(rows):
            raise ValueError(f"{lacking} of {many} episodes are not recorded; run() runs them")
        return collect(rows)
