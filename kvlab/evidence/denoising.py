"""Why do fewer denoising steps lose nothing? Spread over the noise, and error on demonstrations, by number of steps.

python -m kvlab.evidence.denoising     measures on demonstrations made for it and writes data/mechanism/denoising

The explanation under test: chunks of few Euler steps depend less on the noise, so that fewer of them are bad ones. It
was put into these predictions before anything was measured, for 1 and for 2 steps compared with 10, on the actions that
are executed, in each suite:

(a) chunks spread less over the noise;
(b) their mean over the noise is no further from the demonstrated actions, within 5 % of that distance;
(c) a single chunk is nearer to them;
(d) the spread falls further, in normalised units, in libero_10, where success rises, than in libero_spatial, where it
    does not.

Flow matching suggests (a) to (c): the velocity that it fits at pure noise leads to the mean of the demonstrated
actions, whatever the noise, so that one step of an ideal flow is a regression on them. Only (d) asks for the reason.
"""

import os
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kvlab.paths import CHECKPOINTS, DATA
from kvlab.pi0 import Policy
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.sim.demos import HELD_OUT, record
from kvlab.sim.env import SimulationError
from kvlab.sim.suites import task, tasks
from kvlab.sim.workers import by_task, kept_env
from kvlab.study.facts import machine, write
from kvlab.study.loading import load_policy
from kvlab.study.origin import origin
from kvlab.study.protocol import Protocol

STATES, SEED = HELD_OUT[:2], 0  # of the demonstrations: initial states that no policy was trained on
STEPS = (1, 2, 3, 5, 10)
NOISES = 16
MOMENTS = 8  # of each demonstration, evenly spaced over where a whole chunk is left


def by_steps(policy: Policy, instruction: str, demo: dict[str, np.ndarray], seed: tuple[int, ...]) -> list[dict]:
    """What chunks are like, by the number of denoising steps, on a demonstration as `kvlab.sim.demos.record` gives it.

    One row per number of steps and `actions`: the whole `chunk`, or the first ones, which are `executed`. Root mean
    squares over moments, actions and their numbers, in standard deviations of the training actions: `error`, of one
    chunk against what was demonstrated from that moment on; `spread`, the standard deviation over the noise; `bias`,
    the distance of the mean over all noise. error² = bias² + spread², both parts without the bias of few noises (hence
    NaN where the former comes out below 0). The noises are the same for every number of steps. ValueError: a
    demonstration shorter than a chunk.
    """
    chunk, rng = policy.config.chunk, np.random.default_rng(seed)
    if len(demo["action"]) < chunk:
        raise ValueError(f"the demonstration has {len(demo['action'])} steps; a chunk takes {chunk}")
    wanted = (demo["action"] - policy.stats["action_mean"]) / policy.stats["action_std"]
    found = {steps: [] for steps in STEPS}
    for start in np.linspace(0, len(wanted) - chunk, MOMENTS).round().astype(int):
        seen = policy.images({camera: demo[camera][start] for camera in policy.config.cameras})
        noise = rng.standard_normal((NOISES, chunk, policy.config.action_dim), dtype=np.float32)
        with torch.inference_mode():
            cached = policy.model.encode(seen, policy.tokens(instruction), policy.state(demo["state"][start]))
            for steps in STEPS:
                answers = policy.model.denoise(cached.repeat(NOISES), torch.from_numpy(noise), steps=steps)
                found[steps].append(_squares(answers.double().numpy(), wanted[start : start + chunk]))
    rows = []
    for steps, squares in found.items():
        for actions, many in (("chunk", chunk), ("executed", Protocol.replan_every)):
            error, spread = np.mean(squares, axis=0)[:, :many].mean(axis=1)
            row = {"steps": steps, "actions": actions, "error": error**0.5, "spread": spread**0.5}
            rows.append(row | {"bias": (error - spread) ** 0.5 if error >= spread else float("nan")})
    return rows


def _squares(answers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Mean squared error and variance over the noise, of each action of a chunk: (2, chunk)."""
    return np.stack([np.square(answers - wanted).mean(axis=(0, 2)), answers.var(axis=0, ddof=1).mean(axis=1)])


def measure(checkpoint: Path, suite: str, index: int, state: int) -> tuple[dict, list[dict]]:
    """Where one demonstration of the scripted expert was made and measured, and its rows: none where the expert fails.

    In a worker with portable numerics.
    """
    torch.set_num_threads(1)
    policy, one = _policy(checkpoint), task(suite, index)
    env = kept_env(one, policy.trained_on["render"], int(policy.trained_on["size"]))
    try:
        demo = record(env, state, SEED)
    except SimulationError:
        demo = None
    who = {"suite": suite, "task": index, "initial_state": state, "seed": SEED}
    rows = by_steps(policy, one.language, demo, (index, state, SEED)) if demo else []
    return asdict(origin(env.drawn_by)), [who | row for row in rows]


@cache
def _policy(checkpoint: Path) -> Policy:
    return load_policy(checkpoint, "cpu", numerics="portable")


def main(workers: int = 2) -> None:
    """Measure both policies on demonstrations of every task and write the table with how it was made."""
    done, digests = [], {}
    for suite, checkpoint in CHECKPOINTS.items():
        digests[suite] = checkpoint_digest(checkpoint)
        jobs = [(one.index, [(checkpoint, suite, one.index, state) for state in STATES]) for one in tasks(suite)]
        done += by_task(measure, jobs, workers, suite, "demo")
    used = os.times()
    facts = {
        "command": "python -m kvlab.evidence.denoising",
        **machine(checkpoint),
        **done[0][0],
        "threads": 1,
        "checkpoint": digests,
        "demonstrations": {"tried": len(done), "succeeded": sum(bool(rows) for _, rows in done)},
        "cpu_seconds": round(used.children_user + used.children_system),
    }
    table = pd.DataFrame([row for _, rows in done for row in rows])  # in the order in which they came
    ordered = table.sort_values(["suite", "task", "initial_state"], kind="stable")
    write(DATA / "mechanism", "denoising", ordered, facts)


if __name__ == "__main__":
    from kvlab.evidence.denoising import main  # workers find `measure` in this module, not in the program

    main()
