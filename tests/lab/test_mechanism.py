"""Mechanism measurements on a small model: distances and gains that can be worked out in another way."""

import numpy as np
import pandas as pd
import pytest
import torch

from kvlab.lab import mechanism
from kvlab.lab.latency import Episode
from kvlab.pi0 import load
from kvlab.sim.env import Observation


@pytest.fixture(scope="module")
def policy(untrained):
    return load(untrained)


@pytest.fixture(scope="module")
def episode() -> Episode:
    rng = np.random.default_rng(0)

    def moment() -> Observation:
        images = {c: rng.integers(0, 256, (32, 32, 3), np.uint8) for c in ("agentview", "wrist")}
        return Observation(images, rng.normal(size=8).astype(np.float32))

    return Episode("pick up the bowl", [moment() for _ in range(3)])


def test_distances_are_nil_where_nothing_changed_and_grow_where_it_did(policy, episode):
    still = Episode(episode.instruction, [episode.seen[0]] * 3)
    assert mechanism.divergence(policy, [still], ages=[1])["distance"].max() < 1e-5  # rounding
    rows = mechanism.divergence(policy, [episode], ages=[1, 2])
    steps = policy.config.denoising_steps
    assert len(rows) == len(mechanism.MODES) * (2 + 1) * steps * len(mechanism.GROUPS)
    full = rows[rows["mode"] == "full"]
    assert full[full["step"] == steps]["distance"].median() > 1e-4


def test_a_fresh_state_is_what_prefix_reuse_has_over_full(policy, episode):
    moved = Episode(episode.instruction, [episode.seen[0], Observation(episode.seen[0].images, episode.seen[1].state)])
    last = mechanism.divergence(policy, [moved], ages=[1]).groupby("mode")["distance"].max()
    assert last["prefix"] < 1e-5 < last["full"]  # the images did not change, the state did
    assert last["vision_only:splice"] < 1e-5 < last["state_only:splice"]


def test_gains_are_those_of_the_whole_jacobian(policy, episode):
    rows = mechanism.sensitivity(policy, [episode]).set_index(["replan", "input"])
    inputs = mechanism._inputs(policy, episode.seen[1])
    answer = mechanism._answer(policy, policy.tokens(episode.instruction), inputs, "state")
    jacobian = torch.autograd.functional.jacobian(answer, inputs["state"]).flatten(0, 1).flatten(1)
    largest = torch.linalg.svdvals(jacobian)[0].item()
    row = rows.loc[(1, "state")]
    assert row["gain"] == pytest.approx(largest, rel=0.05)  # the power method comes from below
    assert row["gain"] <= largest * 1.001
    change = inputs["state"] - policy.state(episode.seen[0].state)
    assert row["linear"] == pytest.approx((jacobian @ change.flatten()).norm().item(), rel=1e-3)
    assert row["moved"] == pytest.approx(change.norm().item(), rel=1e-5)
    assert row["relative"] == pytest.approx(row["gain"] * inputs["state"].norm().item(), rel=1e-5)


def test_the_stride_leaves_moments_out(policy, episode):
    assert set(mechanism.sensitivity(policy, [episode], stride=2)["replan"]) == {1}


def test_distances_by_episode_are_geometric_means(policy, episode):
    rows = mechanism.divergence(policy, [episode, episode], modes=["full"], ages=[1])
    curves = mechanism.by_episode(rows)
    any_phase = curves[(curves["phase"] == "any") & (curves["group"] == "gripper")].set_index("episode")
    assert list(any_phase["moments"]) == [2, 2]
    one = rows[(rows["episode"] == 0) & (rows["group"] == "gripper") & (rows["step"] == 1)]["distance"]
    assert any_phase.loc[0, "step_1"] == pytest.approx(np.sqrt(one.prod()))
    assert curves[curves["phase"] != "any"].groupby(["group", "episode"])["moments"].sum().eq(2).all()


def test_the_shape_tells_a_line_from_an_exponential():
    steps = np.arange(1, 11)
    curves = {"ideal flow": 0.02 * steps, "exponential": 0.01 * np.exp(0.3 * steps), "dying out": np.sqrt(steps)}
    wobble = 1 + 0.001 * (-1.0) ** steps  # a perfect fit would leave nothing to divide by
    table = pd.DataFrame.from_dict({n: c * wobble for n, c in curves.items()}, orient="index")
    found = mechanism.shape(table.set_axis([f"step_{s}" for s in steps], axis=1))
    assert found["excess"]["ideal flow"] == pytest.approx(1, abs=0.01)
    assert found["factor"]["exponential"] == pytest.approx(np.exp(0.3), rel=0.01)
    assert found["excess"]["exponential"] == pytest.approx(np.exp(1.5) / 2, rel=0.01)
    assert found["straighter"]["exponential"] > 10 and found["straighter"]["ideal flow"] < 0.1
    assert found["excess"]["dying out"] < 1 and found["straighter"]["dying out"] < 1
    with pytest.raises(ValueError, match="above 0"):
        mechanism.shape(pd.DataFrame({"step_1": [0.0], "step_2": [1.0]}))


def test_ratios_compare_the_inputs_at_the_same_moments():
    moments = [
        ("vision", 6.0, 2.0, 1.0),
        ("state", 3.0, 4.0, 5.0),
        ("vision", 24.0, 8.0, 4.0),
        ("state", 3.0, 1.0, 2.0),
    ]
    rows = pd.DataFrame(moments, columns=["input", "relative", "linear", "real"])
    found = mechanism.ratios(rows.assign(episode=0, replan=[1, 1, 2, 2])).loc[0]
    assert found["gain"] == pytest.approx(4)  # of 2 and 8
    assert found["moved"] == pytest.approx(np.sqrt(1 / 5 * 2))
    assert found["bend"] == pytest.approx(0.5)
