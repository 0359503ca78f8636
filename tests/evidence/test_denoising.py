"""Spread over the noise and error on a demonstration, of a small model, worked out one noise at a time."""

import numpy as np
import pandas as pd
import pytest
import torch

from kvlab.evidence import denoising
from kvlab.pi0 import load
from kvlab.sim.demos import STATES

LENGTH = 20


@pytest.fixture(scope="module")
def policy(untrained):
    return load(untrained)


@pytest.fixture(scope="module")
def demo() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    cameras = {c: rng.integers(0, 256, (LENGTH, 32, 32, 3), np.uint8) for c in ("agentview", "wrist")}
    state, action = (rng.normal(size=(LENGTH, width)).astype(np.float32) for width in (8, 7))
    return cameras | {"state": state, "action": action}


def rows(policy, demo) -> pd.DataFrame:
    return pd.DataFrame(denoising.by_steps(policy, "pick up the bowl", demo, (0,)))


def alone(policy, demo, steps: int, actions: int) -> tuple[float, float]:
    """Error and spread of the first `actions`, by one inference for each noise."""
    model, chunk, rng = policy.model, policy.config.chunk, np.random.default_rng((0,))
    errors, variances = [], []
    for start in np.linspace(0, LENGTH - chunk, denoising.MOMENTS).round().astype(int):
        seen = policy.images({c: demo[c][start] for c in policy.config.cameras})
        given = model.encode(seen, policy.tokens("pick up the bowl"), policy.state(demo["state"][start]))
        noises = rng.standard_normal((denoising.NOISES, chunk, 7), dtype=np.float32)
        answers = np.stack([model.denoise(given, torch.from_numpy(n[None]), steps=steps)[0].numpy() for n in noises])
        errors.append((answers - demo["action"][start : start + chunk])[:, :actions] ** 2)
        variances.append(answers[:, :actions].var(axis=0, ddof=1))
    return np.mean(errors) ** 0.5, np.mean(variances) ** 0.5


@torch.no_grad()
@pytest.mark.parametrize(("actions", "many"), [("executed", 5), ("chunk", None)])
def test_a_batch_of_noises_is_as_each_alone(policy, demo, actions, many):
    found = rows(policy, demo).query("actions == @actions").set_index("steps")
    assert [*found.index] == [*denoising.STEPS]
    for steps in (1, 10):
        expected = alone(policy, demo, steps, many or policy.config.chunk)
        assert tuple(found.loc[steps, ["error", "spread"]]) == pytest.approx(expected, rel=1e-4)


def test_the_error_is_that_of_the_mean_and_the_spread(policy, demo):
    found = rows(policy, demo)
    assert np.allclose(found["error"] ** 2, found["bias"] ** 2 + found["spread"] ** 2)
    assert (found["spread"] > 0).all() and found["steps"].nunique() == len(denoising.STEPS)


def test_demonstrations_begin_where_no_training_did():
    assert not {*denoising.STATES} & {*STATES}


def test_a_demonstration_shorter_than_a_chunk_is_refused(policy, demo):
    short = {name: values[: policy.config.chunk - 1] for name, values in demo.items()}
    with pytest.raises(ValueError, match=f"has {policy.config.chunk - 1} steps; a chunk takes {policy.config.chunk}"):
        rows(policy, short)
