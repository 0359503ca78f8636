"""Studies: a grid of settings over the same episodes with the same noise, each episode recorded once and kept."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import Table, array, concat_tables, int64

from kvlab.paths import DATA
from kvlab.pi0 import Policy
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.pi0.files import hub_commit, local_folder
from kvlab.sim.demos import STATES as DEMONSTRATED
from kvlab.sim.env import CAMERAS as LIBERO_CAMERAS
from kvlab.sim.env import SETTLING_STEPS
from kvlab.sim.suites import task, tasks
from kvlab.sim.workers import by_task, check_backend
from kvlab.study.loading import load_policy
from kvlab.study.protocol import Protocol
from kvlab.study.recordings import IDENTITY, Recording, alone, below, tidy
from kvlab.study.records import STATES, STORED, Records, collect
from kvlab.study.settings import Setting
from kvlab.study.trial import ingredients, run_elsewhere, run_episode

SIZES = (8, 7)  # of LIBERO's state and action
SECONDS = 8.0  # of an episode where none is recorded: as on 2 cores without a GPU, both busy


@dataclass(frozen=True)
class Study:
    """Settings over the first `episodes` episodes of a suite, recorded in `folder`.

    The rule of episodes: number k is task k mod 10 and, of the initial states that the policy was not trained on,
    number k div 10. So 3 episodes are the first three tasks' first initial state, and 100 are 10 x 10. There are 500
    for a policy that was trained on none of the official initial states.
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
    digest: str = field(init=False, compare=False)  # of the checkpoint when the study was made: all rows are of that

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"a seed is a whole number from 0 on, got {self.seed}")
        object.__setattr__(self, "checkpoint", local_folder(self.checkpoint))
        told = self.protocol
        policy = load_policy(self.checkpoint, told.device, told.entries, tokenizer=told.tokenizer)
        object.__setattr__(self, "policy", policy)
        if self.protocol.replan_every is None:
            told = replace(self.protocol, replan_every=self.policy.conventions.execute)
            object.__setattr__(self, "protocol", told)
        object.__setattr__(self, "digest", checkpoint_digest(self.checkpoint))
        defaults = self.policy.config.denoising_steps, self.protocol.replan_every
        object.__setattr__(self, "settings", tuple(setting.without_defaults(*defaults) for setting in self.settings))
        if not self.settings or len(set(self.settings)) < len(self.settings):
            raise ValueError(f"a study needs settings, each once; got {[str(a) for a in self.settings]}")
        self._check_episodes()
        self._check_policy()

    def _check_episodes(self) -> None:
        seen = self.policy.trained_on.get("initial_states", [])
        if not isinstance(seen, list) or not {*seen} <= {*range(STATES)}:
            raise ValueError(
                f"{self.checkpoint} says it was trained on the initial states {seen}, not on some of 0 to {STATES - 1}"
            )
        most = len(tasks(self.protocol.suite)) * len(self.states)
        if not 1 <= self.episodes <= most:
            raise ValueError(
                f"a study of {self.checkpoint} has 1 to {most} episodes a setting, got {self.episodes}: each task "
                f"begins from the {len(self.states)} of {STATES} initial states on which the policy was not trained"
            )

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

    @property
    def states(self) -> list[int]:
        """The initial states that the checkpoint has not seen: those that episodes may begin from.

        A published checkpoint learned from demonstrations that begin elsewhere. One of kvlab that does not say is taken
        to have seen what `kvlab demos` records.
        """
        trained_on = self.policy.trained_on
        seen = range(0) if trained_on.get("format") else trained_on.get("initial_states", DEMONSTRATED)
        return [state for state in range(STATES) if state not in seen]

    def trials(self) -> list[tuple[int, int]]:
        """(task, initial state) of every episode, in the order of the rule."""
        many = len(tasks(self.protocol.suite))
        return [(k % many, self.states[k // many]) for k in range(self.episodes)]

    def recording(self, setting: Setting) -> Recording:
        """Where the rows of this setting are."""
        said = {f.name: value for f in fields(setting) if (value := getattr(setting, f.name)) != f.default}
        key = {
            "setting": said,  # a field that is added to settings changes no key
            **ingredients(self.checkpoint, self.protocol.suite),
            "checkpoint": self.digest,  # as it was when the study was made
            "initial_states": self.states,
            **self.protocol.key(setting),
            "settling_steps": SETTLING_STEPS,
        }
        return Recording(self.folder, key, hub_commit(self.checkpoint))

    def rows(self, setting: Setting, columns: Sequence[str] = STORED.names) -> Table:
        """The setting's rows of this study that are on disk, in the order of the rule."""
        recording, places = self.recording(setting), {trial: k for k, trial in enumerate(self.trials())}
        rows = recording.read(columns)
        who = [*zip(*(rows[name].to_pylist() for name in IDENTITY), strict=True)]
        if seen := sorted({state for _, state, _ in who}.difference(self.states)):
            raise ValueError(f"{recording.path} has episodes from initial states that the policy has seen: {seen}")
        mine = {places[t, s]: n for n, (t, s, seed) in enumerate(who) if seed == self.seed and (t, s) in places}
        return recording.named(rows.take(array([mine[place] for place in sorted(mine)], int64())))

    def recorded(self) -> Records:
        """The study's rows that are on disk, errors of the simulator among them; ValueError where there are none."""
        rows = concat_tables(self.rows(setting) for setting in self.settings)
        if not len(rows):
            raise ValueError("nothing is recorded for this study yet; run it first")
        return collect(rows)

    def missing(self) -> dict[tuple[int, int], list[Setting]]:
        """The settings that each trial still lacks; a row that holds an error counts as lacking."""
        lacking = {trial: [] for trial in self.trials()}
        for setting in self.settings:
            rows = self.rows(setting, ["error"]).select([*IDENTITY[:2], "error"]).to_pylist()
            done = {(row["task"], row["initial_state"]) for row in rows if row["error"] is None}
            for trial in lacking.keys() - done:
                lacking[trial].append(setting)
        return {trial: settings for trial, settings in lacking.items() if settings}

    def plan(self) -> pd.DataFrame:
        """What `run` would run: by setting, the episodes that are `recorded` and those that are `missing`."""
        lacking = Counter(setting for settings in self.missing().values() for setting in settings)
        missing = [lacking[one] for one in self.settings]
        names = pd.Index([str(one) for one in self.settings], name="setting")
        return pd.DataFrame({"recorded": self.episodes - np.array(missing), "missing": missing}, names)

    def estimate(self, workers: int = 2) -> str:
        """What `run` would run and how long it takes, as a sentence: by the mean time of this folder's recorded
        episodes of the suite, or else by SECONDS.
        """
        total, missing = len(self.settings) * self.episodes, int(self.plan()["missing"].sum())
        if not missing:
            return f"All {total} episodes are recorded; nothing would be run."
        suite = self.protocol.suite
        times = [s for one in below(self.folder / suite) for s in one.read(["wall_s"])["wall_s"].to_pylist()]
        each = sum(times) / len(times) if times else SECONDS
        by = f"{len(times):,} recorded episodes of {suite} took" if times else "is assumed, since none is recorded"
        minutes = math.ceil(missing * each / min(workers, missing) / 60)
        return (
            f"{missing} of {total} episodes would be run: about {minutes} min with {workers} "
            f"worker{'s' if workers > 1 else ''} (of {each:.1f} s each, as {by})."
        )

    def run(self, workers: int = 2, backend: str = "processes") -> Records:
        """Run what is missing, then read. Interrupted, it goes on where it was: every finished episode is on disk.

        Settings of a trial run one after another in one worker, which is of the `backend` (BACKENDS of
        kvlab.sim.workers); only this process writes. Studies of one folder run one after another on a machine: what
        they share runs once. Raises ValueError where a machine draws by other means than the protocol says or has
        another checkpoint or simulator than this one, or where the checkpoint is replaced meanwhile; OSError where
        nothing can be written.
        """
        check_backend(backend)
        if self.missing():
            with alone(self.folder, f"another study runs episodes in {self.folder}; this one waits for it"):
                tidy(self.folder)
                self._check_numerics()
                self._run(self.missing(), workers, backend)
                tidy(self.folder)
        return self.read()

    def _check_numerics(self) -> None:
        """ValueError where rows of other numerics than the protocol's stand where the missing ones would be put."""
        for recording in map(self.recording, self.settings):
            others = {*recording.read(["numerics"])["numerics"].to_pylist()} - {self.protocol.numerics}
            if others:
                raise ValueError(
                    f"{recording.path} has rows in {', '.join(others)} numerics, with which this study's, in "
                    f"{self.protocol.numerics} ones, are not to be mixed; record into another folder"
                )

    def _run(self, missing: dict[tuple[int, int], list[Setting]], workers: int, backend: str) -> None:
        checkpoint = Path(self.checkpoint).resolve()  # a worker may stand in another folder
        jobs = [
            (
                index,
                [
                    (checkpoint, self.protocol, index, state, self.seed, self.settings.index(one), one)
                    for one in settings
                ],
            )
            for (index, state), settings in missing.items()
        ]
        made_of = ingredients(checkpoint, self.protocol.suite) | {"checkpoint": self.digest}
        work = run_episode if backend == "processes" else partial(run_elsewhere, made_of)
        # Closed at once where a row cannot be written: what is left of the jobs is then dropped, not run.
        title, numerics = f"{len(self.settings)} settings", self.protocol.numerics
        with closing(by_task(work, jobs, workers, title, "episode", backend, numerics)) as results:
            drawn_by = self._drawn_by()
            for row in results:
                if self.protocol.numerics == "portable" and (others := drawn_by - {row["drawn_by"]}):
                    raise ValueError(
                        f"a worker draws by {row['drawn_by']}, and this study's rows are by {', '.join(others)}: "
                        "frames of other drivers may differ; record into another folder"
                    )
                drawn_by.add(row["drawn_by"])
                self._add(row)

    def _drawn_by(self) -> set[str]:
        """The drivers that drew for the rows which are there."""
        found = (self.recording(one).read(["drawn_by"])["drawn_by"].to_pylist() for one in self.settings)
        return {driver for drivers in found for driver in drivers}

    def _add(self, row: dict) -> None:
        if checkpoint_digest(self.checkpoint) != self.digest:
            raise ValueError(f"{self.checkpoint} was replaced while its study ran; start the study again")
        self.recording(self.settings[row["order"]]).add(row)

    def read(self) -> Records:
        """The recorded rows, errors of the simulator among them. ValueError where any episode of any setting is
        missing.
        """
        rows = concat_tables(self.rows(setting) for setting in self.settings)
        if lacking := (many := len(self.settings) * self.episodes) - len(rows):
            raise ValueError(f"{lacking} of {many} episodes are not recorded; run() runs them")
        return collect(rows)
