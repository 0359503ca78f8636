"""Mechanism measurements on a small model: distances and gains that can be worked out in another way."""

import numpy as np
import pandas as pd
import pytest
import torch

from kvlab.evidence import mechanism
from kvlab.pi0 import load
from kvlab.sim.env import Observation
from kvlab.study.observations import Episode

STEPS = np.arange(1, 11)
WOBBLE = 1 + 0.001 * (-1.0) ** STEPS  # a perfect fit would leave nothing to divide by


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


def test_distances_by_episode_are_geometric_means():
    """Two moments in each of two episodes: one in which the distance adds up, one in which it multiplies."""
    curves = {(1, "way"): 0.02 * STEPS * WOBBLE, (2, "grasp or release"): 0.01 * np.exp(0.3 * STEPS) * WOBBLE}
    rows = [
        {
            "mode": "full",
            "age": 1,
            "episode": e,
            "replan": replan,
            "phase": phase,
            "group": "all",
            "step": s,
            "distance": d,
        }
        for e in (0, 1)
        for (replan, phase), distances in curves.items()
        for s, d in zip(STEPS, distances, strict=True)
    ]
    found = mechanism.by_episode(pd.DataFrame(rows)).set_index(["phase", "episode"])
    assert list(found.loc["any", "moments"]) == [2, 2] and list(found.loc["way", "moments"]) == [1, 1]
    assert found.loc[("any", 0), "step_10"] == pytest.approx(np.sqrt(0.2 * 0.01 * np.exp(3)) * WOBBLE[-1])


@pytest.mark.parametrize("rate", [-0.3, 0.0, 0.006, 0.3])
def test_forced_growth_finds_its_rate(rate):
    """Equal contributions of every step, each grown by exp(rate) a step; a line where the rate is 0."""
    distances = 0.02 * (np.expm1(rate * STEPS) / rate if rate else STEPS)
    table = pd.DataFrame([distances, distances * WOBBLE], columns=[f"step_{s}" for s in STEPS])
    found = mechanism.forced_growth(table.assign(episode=[0, 1]))
    assert found["rate"][0] == pytest.approx(rate, abs=1e-6) and found["misfit"][0] < 1e-6
    assert found["rate"][1] == pytest.approx(rate, abs=0.01) and 0 < found["misfit"][1] < 0.05
    assert list(found["episode"]) == [0, 1]
    with pytest.raises(ValueError, match="above 0"):
        mechanism.forced_growth(pd.DataFrame({"step_1": [0.0], "step_2": [1.0]}))


def test_ratios_compare_the_inputs_at_the_same_moments():
    moments = [
        ("vision", 6.0, 9.0, 2.0, 1.0),
        ("state", 3.0, 2.2, 4.0, 5.0),
        ("vision", 24.0, 9.0, 8.0, 4.0),
        ("state", 3.0, 0.8, 1.0, 2.0),
    ]
    rows = pd.DataFrame(moments, columns=["input", "relative", "moved", "linear", "real"])
    found = mechanism.ratios(rows.assign(episode=0, replan=[1, 1, 2, 2])).loc[0]
    assert found["gain"] == pytest.approx(4)  # of 2 and 8
    assert found["bend"] == pytest.approx(0.5)
    assert found["steady"] == pytest.approx(2)  # the state jumps at the first moment
    assert np.isnan(mechanism.ratios(rows[:2].assign(episode=0, replan=1)).loc[0, "steady"])
