"""Why reuse fails, on recorded observations: how far a stale cache moves the action, and through what.

python -m kvlab.evidence.mechanism     measures on episodes of the control and writes data/mechanism/
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.optimize import curve_fit
from scipy.stats import gmean
from torch import Tensor
from torch.func import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from kvlab.paths import DATA
from kvlab.pi0 import Policy, load
from kvlab.pi0.cache import LANGUAGE
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from kvlab.sim.env import Observation
from kvlab.study.facts import machine, write
from kvlab.study.observations import Episode, record

MODES = ("full", "prefix", "vision_only:splice", "state_only:splice")
AGES = (1, 2, 4)  # replans between what the cache was computed from and now
GROUPS = {"all": slice(0, 7), "translation": slice(0, 3), "rotation": slice(3, 6), "gripper": slice(6, 7)}
CURVE = ["mode", "age", "phase", "group"]  # what moments have in common whose distances make one curve over the steps
ITERATIONS = 8  # of the power method


def divergence(
    policy: Policy, episodes: Sequence[Episode], modes: Sequence[str] = MODES, ages: Sequence[int] = AGES
) -> pd.DataFrame:
    """How far the actions from a reused cache are from those of a fresh one, at every denoising step, same noise.

    One row per mode, age, episode, replan, step (1 to the number of Euler steps) and group of action dimensions:
    `distance`, the root mean square over the chunk and the group, normalised units; `phase`, whether the gripper's
    command changes within the fresh chunk (grasp or release) or not (way).
    """
    rows = []
    for number, episode in enumerate(tqdm(episodes, desc="divergence", unit="episode")):
        for age in ages:
            for replan in range(age, len(episode.seen)):
                then, now = episode.seen[replan - age], episode.seen[replan]
                fresh, chunk = _second_answer(policy, "none", episode.instruction, then, now)
                phase = "grasp or release" if np.ptp(chunk[:, GROUPS["gripper"]]) > 1 else "way"
                for mode in modes:
                    stale, _ = _second_answer(policy, mode, episode.instruction, then, now)
                    where = {"mode": mode, "age": age, "episode": number, "replan": replan, "phase": phase}
                    rows += [where | row for row in _distances(fresh, stale)]
    return pd.DataFrame(rows)


def _second_answer(
    policy: Policy, mode: str, instruction: str, then: Observation, now: Observation
) -> tuple[list[Tensor], np.ndarray]:
    """Each denoising step of the answer to `now` after one to `then`, reusing what the mode says; and the answer."""
    watched = []
    cached = CachedPolicy(
        policy, parse_mode(mode), parse_gate("always"), log_signals=False, watch=lambda _, x: watched.append(x[0])
    )
    cached.reset(instruction, seed=(0,))
    cached.act(then.images, then.state)
    chunk, _ = cached.act(now.images, now.state)
    return watched[len(watched) // 2 :], chunk


def _distances(fresh: list[Tensor], stale: list[Tensor]) -> list[dict]:
    return [
        {"step": step, "group": group, "distance": (a - b)[:, part].square().mean().sqrt().item()}
        for step, (a, b) in enumerate(zip(fresh, stale, strict=True), start=1)
        for group, part in GROUPS.items()
    ]


@sdpa_kernel(SDPBackend.MATH)  # the fused kernels have no forward derivative
def sensitivity(policy: Policy, episodes: Sequence[Episode], stride: int = 1) -> pd.DataFrame:
    """How strongly the action answers to vision and to state, by the model's own derivatives (`torch.func`).

    One row per episode, replan (every `stride`th, from the second on) and input (vision: tokens; state: normalised):
    `gain`, the largest singular value of d chunk / d input by the power method (chunk normalised, noise fixed);
    `relative`, that gain times the input's length: change of the chunk per relative change of the input;
    `moved`, the length of the input's change since the replan before; `linear`, the change of the chunk which the
    derivative predicts for it, and `real`, the one that it makes.
    """
    rows = []
    for number, episode in enumerate(tqdm(episodes, desc="sensitivity", unit="episode")):
        tokens = policy.tokens(episode.instruction)
        inputs = [_inputs(policy, seen) for seen in episode.seen]
        for replan in range(1, len(inputs), stride):
            for name in ("vision", "state"):
                answer = _answer(policy, tokens, inputs[replan], name)
                x, change = inputs[replan][name], inputs[replan][name] - inputs[replan - 1][name]
                gain = _largest_gain(answer, x)
                row = {"episode": number, "replan": replan, "input": name, "gain": gain}
                row |= {"relative": gain * x.norm().item(), "moved": change.norm().item()}
                row |= {"linear": jvp(answer, (x,), (change,))[1].norm().item()}
                rows.append(row | {"real": (answer(x) - answer(x - change)).norm().item()})
    return pd.DataFrame(rows)


@torch.no_grad()
def _inputs(policy: Policy, seen: Observation) -> dict[str, Tensor]:
    return {"vision": policy.model.embed_images(policy.images(seen.images)), "state": policy.state(seen.state)}


def _answer(policy: Policy, tokens: Tensor, inputs: dict[str, Tensor], name: str):
    """The chunk as a function of one input, the other and the noise fixed."""
    model, config = policy.model, policy.config
    noise = np.random.default_rng(0).standard_normal((1, config.chunk, config.action_dim), dtype=np.float32)

    def answer(x: Float[Tensor, "..."]) -> Float[Tensor, "chunk action"]:
        given = inputs | {name: x}
        parts = {camera: given["vision"][i][None] for i, camera in enumerate(config.cameras)}
        parts[LANGUAGE] = model.embed_language(tokens)
        prefix = model.prefill({n: (e, None) for n, e in parts.items()})
        return model.denoise(model.encode_state(given["state"], prefix), torch.from_numpy(noise))[0]

    return answer


def _largest_gain(answer, x: Tensor) -> float:
    """The largest singular value of the derivative at x: power iterations on its transpose times itself."""
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(x.shape, dtype=np.float32))
    _, pull = vjp(answer, x)
    for _ in range(ITERATIONS):
        direction = direction / direction.norm()
        pushed = jvp(answer, (x,), (direction,))[1]
        (direction,) = pull(pushed)
    return pushed.norm().item()


def by_episode(rows: pd.DataFrame) -> pd.DataFrame:
    """`divergence` by episode, since moments of one episode are not independent: its rows, a hundredth of them.

    One row per mode, age, phase (`any`: both together), group and episode: `moments`, how many there are; and for each
    denoising step s `step_s`, the geometric mean of their distances, under which a line through 0 remains one.
    """
    moments = rows.pivot(index=[*CURVE, "episode", "replan"], columns="step", values="distance").add_prefix("step_")
    steps = list(moments.columns)
    moments = moments.assign(moments=1).reset_index()
    groups = pd.concat([moments, moments.assign(phase="any")]).groupby([*CURVE, "episode"])
    return groups[["moments"]].sum().join(groups[steps].agg(gmean)).reset_index()


def forced_growth(curves: pd.DataFrame) -> pd.DataFrame:
    """How strongly denoising amplifies: `rate`, L of c (exp(L s) - 1), fitted to each row's distances at steps s.

    Columns besides: those of `curves` but the steps', and `misfit`, the root mean square relative error of the fit.
    With equal noise both answers begin at the same point, so that a distance is forced at every step, and starts at 0,
    which an exponential cannot. It is the solution of d' = L d + f for a constant force f: L = 0 gives equal
    contributions of all steps, a straight line from 0, as in an ideal flow; above 0, what an earlier step added grows
    by exp(L) per step. ValueError: a distance that is not above 0.
    """
    distances = curves.filter(like="step_")
    if not (distances > 0).all(axis=None):
        raise ValueError("distances must be above 0 for their growth to be measured; some are 0 or missing")
    found = [_forced(row) for row in distances.to_numpy(float)]
    rates, misfits = zip(*found, strict=True)
    return curves.drop(columns=distances.columns).assign(rate=rates, misfit=misfits)


def _forced(distances: Float[np.ndarray, " steps"]) -> tuple[float, float]:
    """L and the misfit of c (exp(L s) - 1) where it is least; written with c L, which stays finite at L = 0."""
    at = np.arange(1, len(distances) + 1)

    def curve(s: np.ndarray, slope: float, rate: float) -> np.ndarray:
        return slope * (np.expm1(rate * s) / rate if abs(rate) > 1e-9 else s)

    found, _ = curve_fit(curve, at, distances, p0=(distances[0], 0.01), sigma=distances, maxfev=10_000)
    return float(found[1]), float(np.sqrt(np.mean((curve(at, *found) / distances - 1) ** 2)))


def jump(moved: pd.Series) -> pd.Series:
    """Whether a state that `moved` so far jumped: by over a standard deviation of the training states in one replan.

    The hand's axis-angle vector does so where it changes between two descriptions of nearly the same orientation.
    """
    return moved > 1


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """`sensitivity` by episode, geometric means over its moments of three ratios.

    `gain`: the relative gain of vision over that of the state; `steady`: the change of the chunk that the images'
    change since the last replan makes over that of the state's, over moments without a `jump`, NaN in an episode that
    has none; `bend`: for vision, that change over its linear prediction.
    """
    rows = rows.set_index(["episode", "replan", "input"])[["relative", "moved", "linear", "real"]].unstack("input")
    logs = np.log(rows)
    moved = logs["real"]["vision"] - logs["real"]["state"]
    found = {
        "gain": logs["relative"]["vision"] - logs["relative"]["state"],
        "steady": moved.mask(jump(rows["moved"]["state"])),
        "bend": logs["real"]["vision"] - logs["linear"]["vision"],
    }
    return np.exp(pd.DataFrame(found).groupby("episode").mean())


def main(checkpoint: Path = DATA / "checkpoints" / "mini_spatial", episodes: int = 10) -> None:
    """Measure on the first episode of each task and write the tables with how they were made."""
    policy = load(checkpoint)
    recorded = record(policy, episodes)
    facts = {"command": "python -m kvlab.evidence.mechanism", **machine(checkpoint)}
    write(DATA / "mechanism", "divergence", by_episode(divergence(policy, recorded)), facts)
    write(DATA / "mechanism", "sensitivity", sensitivity(policy, recorded, stride=4), facts)


if __name__ == "__main__":
    main()
