"""Latency of inference by stage: recorded observations replayed in one process, all arms taking turns."""

import json
import os
import platform
import re
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from tqdm import tqdm

from kvlab.lab.rollout import rollout
from kvlab.lab.stats import Interval
from kvlab.lab.study import Arm, checkpoint_digest
from kvlab.pi0 import Pi0Config, Policy
from kvlab.reuse import CachedPolicy, Replan, parse_gate, parse_mode
from kvlab.reuse.gates import REFERENCES, SIGNALS
from kvlab.sim.env import LiberoEnv, Observation
from kvlab.sim.suites import Task, task

STAGES = ("gate", "vision", "prefill", "denoise", "total")
MOMENT = ["repeat", "episode", "replan"]  # what identifies an observation among the replays
CONTROL = Arm("none")
OPEN = "pixels >= -1"  # always open, and yet the frames are compared: what a gate on pixels costs is in the time
WATCHED = " & ".join(f"{signal}@{reference} >= 1" for signal in SIGNALS for reference in REFERENCES)
QUIET = 0.5  # load average above which other work slows what is measured


@dataclass(frozen=True)
class Episode:
    """What a policy saw at the replans of one episode."""

    instruction: str
    seen: list[Observation] = field(repr=False)


def arms(config: Pi0Config) -> tuple[Arm, ...]:
    """The control; each mode with a gate that is always open; and two with a gate that stays shut.

    `full` when WATCHED computes every similarity, as a study logs them, and reuses nothing: what watching costs.
    `text_fixed` never computes the words again, even where its gate is shut. Pi0.5 has no arm that names the state.
    """
    upper = f"layer_wise[{config.prefix.depth // 2}:]:skip"
    partial = ("prefix", "vision_only:skip", "vision_only:splice", "state_only:skip", upper, "text_fixed:skip")
    every = (
        CONTROL,
        Arm("full", OPEN),
        Arm("full", "vision >= -1"),
        *(Arm(mode, OPEN) for mode in partial),
        Arm("text_fixed:skip", "never"),
        Arm("full", WATCHED),
    )
    return tuple(arm for arm in every if not (config.pi05 and "state" in str(arm)))


def scenes(policy: Policy, episodes: int) -> tuple[list[Task], str, int]:
    """The first tasks of what the policy was trained on, and its render profile and size of frames (pixels).

    Raises ValueError where the checkpoint does not say, or where the suite has fewer tasks.
    """
    trained_on = policy.trained_on
    if missing := {"suites", "render", "size"} - trained_on.keys():
        raise ValueError(f"the checkpoint does not say what it was trained on: it lacks {', '.join(sorted(missing))}")
    chosen = [task(trained_on["suites"][0], index) for index in range(episodes)]
    return chosen, trained_on["render"], int(trained_on["size"])


def record(policy: Policy, episodes: int) -> list[Episode]:
    """Roll out the policy without reuse on the first `episodes` tasks of its suite."""
    chosen, render, size = scenes(policy, episodes)
    recorded = []
    for one in tqdm(chosen, desc="recording", unit="episode"):
        control = CachedPolicy(policy, parse_mode(CONTROL.mode), parse_gate(CONTROL.gate))
        with closing(LiberoEnv(one, render, size)) as env:
            recorded.append(Episode(one.language, rollout(env, control, initial_state=0, seed=0)[2]))
    return recorded


def replay(policy: Policy, episodes: Sequence[Episode], arms: Sequence[Arm], repeats: int) -> pd.DataFrame:
    """One row per arm and moment: arm, `MOMENT`, reused, and ms_* by stage (milliseconds).

    At every moment all arms take their turn, each time with another one first, so that whatever else happens on the
    machine happens to all alike. Left out: a first pass over one episode, which warms up, and the first replan of
    every episode, at which there is nothing to reuse yet. Similarities that no gate reads are not computed.
    """
    policies = {
        str(arm): CachedPolicy(policy, parse_mode(arm.mode), parse_gate(arm.gate), log_signals=False) for arm in arms
    }
    _pass(policies, episodes[0])
    rows = []
    with tqdm(total=repeats * len(episodes), desc="replaying", unit="episode") as bar:
        for repeat in range(repeats):
            for number, episode in enumerate(episodes):
                for arm, replan, made in _pass(policies, episode):
                    if replan > 0:
                        stages = {f"ms_{stage}": getattr(made, f"ms_{stage}") for stage in STAGES}
                        moment = {"repeat": repeat, "episode": number, "replan": replan}
                        rows.append({"arm": arm, **moment, "reused": made.reused, **stages})
                bar.update()
    return pd.DataFrame(rows)


def _pass(policies: dict[str, CachedPolicy], episode: Episode) -> list[tuple[str, int, Replan]]:
    for policy in policies.values():
        policy.reset(episode.instruction, seed=(0,))
    turns, records = deque(policies), []
    for replan, seen in enumerate(episode.seen):
        made = {arm: policies[arm].act(seen.images, seen.state)[1] for arm in turns}
        records += [(arm, replan, made[arm]) for arm in policies]
        turns.rotate(1)
    return records


def by_stage(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per arm of a replay: n, the p50 and p95 of every stage (ms), and `speedup`.

    `speedup` is the median, over moments, of the control's total time over the arm's at the same moment.
    """
    totals = samples.pivot(index=MOMENT, columns="arm", values="ms_total")
    rows = {}
    for arm, of_arm in samples.groupby("arm", sort=False):
        row = {"n": len(of_arm)}
        for stage in STAGES:
            row[f"{stage}_p50"], row[f"{stage}_p95"] = of_arm[f"ms_{stage}"].quantile([0.5, 0.95])
        rows[arm] = row | {"speedup": (totals[str(CONTROL)] / totals[arm]).median()}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})


def ratio(samples: pd.DataFrame, arm: str, to: str = str(CONTROL), confidence: float = 0.95) -> Interval:
    """How many times as long `arm` takes as `to`: the median over moments, paired, with a percentile bootstrap of them.

    ValueError where either arm is not among the samples.
    """
    totals = samples.pivot(index=MOMENT, columns="arm", values="ms_total")
    if missing := [name for name in (arm, to) if name not in totals]:
        raise ValueError(f"no arm {missing[0]!r} among those measured: {', '.join(totals)}")
    ratios = (totals[arm] / totals[to]).to_numpy()
    drawn = bootstrap(
        (ratios,), np.median, confidence_level=confidence, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Interval(float(np.median(ratios)), float(drawn.low), float(drawn.high), confidence, "percentile")


def table(summary: pd.DataFrame) -> str:
    """`by_stage` as text: p50 (p95) in milliseconds."""
    shown = pd.DataFrame(index=summary.index)
    for stage in STAGES:
        pairs = zip(summary[f"{stage}_p50"], summary[f"{stage}_p95"], strict=True)
        shown[stage] = [f"{p50:.1f} ({p95:.1f})" for p50, p95 in pairs]
    shown["speed-up"] = summary["speedup"].map("{:.2f}".format)
    shown["n"] = summary["n"]
    return f"p50 (p95) in ms\n{shown.to_string()}"


def machine(checkpoint: Path) -> dict[str, object]:
    """What a time depends on besides the code: processor, threads, versions, weights, and how busy the machine is."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "mujoco", "robosuite")},
        "checkpoint": checkpoint_digest(checkpoint),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write(out: Path, name: str, rows: pd.DataFrame, facts: dict[str, object]) -> None:
    """`name`.csv with the rows and `name`.json with how they were made."""
    out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    (out / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
