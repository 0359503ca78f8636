"""Recorded observations replayed through a policy in several settings, in open loop: nothing answers to its actions."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm import tqdm

from kvlab.audit.dataset import Dataset, Seen
from kvlab.reuse import CachedPolicy
from kvlab.reuse.execution import parse_execution
from kvlab.serve import Served
from kvlab.study.settings import Setting, parse_setting

# What the book would try first, the gates that it recommends to compare, and each mode at the same share of reuse.
DEFAULT = (
    "none steps=2",
    "full when vision >= 0.98",
    "prefix when vision >= 0.98",
    "prefix when vision >= 0.95",
    "prefix when pixels >= 0.97",
    "full when every(2)",
    "prefix when every(2)",
    "vision_only:splice when every(2)",
    "chunk when every(2)",
)
NO_REUSE = Setting("none")
CONSTANT = 1e-6  # a scale below which an action's number did not vary in training: it is left out of distances


@dataclass(frozen=True)
class Replay:
    """Episodes of a dataset, settings to see them in, and a policy. `served` turns frames and states as it needs them.

    Raises ValueError where the policy cannot do what a setting says, where a setting executes as many actions as had
    settled, or where the dataset lacks what the policy needs.
    """

    dataset: Dataset
    served: Served  # without reuse
    settings: tuple[Setting, ...]
    episodes: tuple[dict, ...]

    @classmethod
    def of(cls, dataset: Dataset, served: Served, settings: Sequence[str], episodes: int) -> "Replay":
        """`episodes` of the dataset, evenly spread over it, and no reuse beside the settings."""
        steps, execute = served.policy.config.denoising_steps, served.policy.conventions.execute
        read = (parse_setting(setting).without_defaults(steps, execute) for setting in settings)
        asked = dict.fromkeys((NO_REUSE, *read))
        places = np.linspace(0, len(dataset.episodes) - 1, min(episodes, len(dataset.episodes))).round().astype(int)
        return cls(dataset, served, tuple(asked), tuple(dataset.episodes[place] for place in places))

    def __post_init__(self) -> None:
        self.dataset.require(self.served.policy.config.cameras)
        for episode in self.episodes:
            self.dataset.task(episode)
        for setting in self.settings:
            if setting.seeing != "live":
                raise ValueError(f"a replay shows what was recorded: leave `seeing {setting.seeing}` out")
        if 0 in self.groups:
            raise ValueError("a replay replans at the same frames in every setting: give execute a whole number")

    @cached_property
    def groups(self) -> dict[int, dict[str, CachedPolicy]]:
        """Policies by setting, by the actions that they execute of each chunk, which say at which frames they replan.

        Under the empty name: no reuse, with every signal, whose chunks the others' are compared with. Nothing is logged
        but what a gate reads in the others, as it would be in use.
        """
        found: dict[int, dict[str, CachedPolicy]] = {}
        policy, default = self.served.policy, str(self.served.execute)
        for setting in self.settings:
            count = parse_execution(setting.execute or default).count or 0
            group = found.setdefault(count, {"": NO_REUSE.on(policy, str(count or default))})
            group[str(setting)] = setting.on(policy, default, log_signals=False)
        return found

    @property
    def replans(self) -> int:
        """How many inferences a run takes."""
        return sum(
            len(policies) * len(range(0, one["length"], count))
            for count, policies in self.groups.items()
            for one in self.episodes
        )

    def plan(self) -> str:
        """What a run would do and about how long it would take, by the faster of two inferences after a first."""
        episode = self.episodes[0]
        images, state = self._moment(episode, self._read(episode, [0])[0])
        policy = NO_REUSE.on(self.served.policy, log_signals=False)
        policy.reset(self.dataset.task(episode), seed=(0,))
        times = [policy.act(images, state)[1].ms_total for _ in range(3)]
        seconds = self.replans * min(times[1:]) / 1e3
        about = f"{seconds / 60:.0f} min" if seconds > 90 else f"{max(seconds, 1):.0f} s"
        frames = sum(one["length"] for one in self.episodes)
        return (
            f"{len(self.episodes)} of {len(self.dataset.episodes)} episodes, {frames} frames, {len(self.settings)} "
            f"settings: {self.replans} inferences, about {about}"
        )

    def run(self) -> pd.DataFrame:
        """One row per setting, episode and replan.

        Columns: setting, episode, frame, replan, `every` (actions executed), `reused`, `age` (replans), `error` and
        `error_executed` (`distance`), ms_total, and `vision`, `pixels` and `state`: cosines with the replan before.
        """
        rows = []
        with tqdm(total=self.replans, desc="replaying", unit="inference", delay=2) as bar:
            for episode in self.episodes:
                wanted = sorted({f for count in self.groups for f in range(0, episode["length"], count)})
                moments = {f: self._moment(episode, seen) for f, seen in self._read(episode, wanted).items()}
                for count, policies in self.groups.items():
                    rows += self._episode(episode, count, policies, moments, bar)
        return pd.DataFrame(rows)

    def _episode(self, episode: dict, count: int, policies: dict[str, CachedPolicy], moments: dict, bar) -> list[dict]:
        """All settings take turns at every moment, each time with another one first, so that noise in times is fair."""
        for policy in policies.values():
            policy.reset(self.dataset.task(episode), seed=(episode["episode_index"],))
        rows, turns = [], deque(policies)
        for replan, frame in enumerate(range(0, episode["length"], count)):
            made = {name: policies[name].act(*moments[frame]) for name in turns}
            turns.rotate(1)
            bar.update(len(made))
            computed, signals = made[""]
            where = {"episode": episode["episode_index"], "frame": frame, "replan": replan, "every": count}
            near = {name: getattr(signals, f"{name}_anchor") for name in ("vision", "pixels", "state")}
            for name in filter(None, policies):
                chunk, one = made[name]
                moved = [self.distance(chunk[:n], computed[:n]) for n in (len(computed), count)]
                told = {"reused": one.reused, "age": one.age, "error": moved[0], "error_executed": moved[1]}
                rows.append({"setting": name} | where | told | {"ms_total": one.ms_total} | near)
        return rows

    def distance(self, one: Float[np.ndarray, "left action"], other: Float[np.ndarray, "chunk action"]) -> float:
        """Root mean square of their difference over the actions that both have, in the checkpoint's normalised units.

        There 1 is a standard deviation of the training actions or, where it scales by quantiles, half their range.
        """
        scale, both = self.served.policy.stats["action_std"], min(len(one), len(other))
        varies = np.asarray(scale) > CONSTANT
        apart = (one[:both] - other[:both])[:, varies] / np.asarray(scale)[varies]
        return float(np.sqrt(np.mean(apart**2)))

    def _read(self, episode: dict, frames: Sequence[int]) -> dict[int, Seen]:
        return self.dataset.read(episode, frames, self.served.policy.config.cameras)

    def _moment(self, episode: dict, seen: Seen) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What the policy is shown. ValueError where a frame or the state is not as it takes them."""
        try:
            return self.served.frames(seen.frames), self.served.state(seen.state)
        except ValueError as error:
            raise ValueError(f"{self.dataset.root}, episode {episode['episode_index']}: {error}") from error


def by_setting(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per setting, in the order of the rows' first occurrence.

    `replans`; `reused`, the share that reuse, in [0, 1]; `error` and `executed`, means over all replans; `when_reused`
    and `p95`, mean and 95th percentile of `error` over those that reuse; `ms_computed`, `ms_reused`, medians of a
    replan (NaN where there is none); `ms_step`, what these make per control step at that share.
    """
    found = {}
    for setting, mine in rows.groupby("setting", sort=False):
        kept, share = mine[mine["reused"]], mine["reused"].mean()
        ms = {"ms_computed": mine[~mine["reused"]]["ms_total"].median(), "ms_reused": kept["ms_total"].median()}
        cost = ms["ms_computed"] if kept.empty else (1 - share) * ms["ms_computed"] + share * ms["ms_reused"]
        found[setting] = {
            "replans": len(mine),
            "reused": share,
            "error": mine["error"].mean(),
            "executed": mine["error_executed"].mean(),
            "when_reused": kept["error"].mean(),
            "p95": kept["error"].quantile(0.95),
            **ms,
            "ms_step": cost / mine["every"].iloc[0],
        }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("setting").astype({"replans": int})
