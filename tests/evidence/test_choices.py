"""What gates and rules of single tokens choose by, on a small model and images that were changed by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kvlab.evidence import choices
from kvlab.pi0 import load
from kvlab.sim.env import Observation
from kvlab.study.observations import Episode


@pytest.fixture(scope="module")
def policy(untrained):
    return load(untrained)


@pytest.fixture(scope="module")
def moments() -> list[Observation]:
    rng = np.random.default_rng(0)
    return [
        Observation(
            {camera: rng.integers(0, 256, (32, 32, 3), np.uint8) for camera in ("agentview", "wrist")},
            rng.normal(size=8).astype(np.float32),
        )
        for _ in range(3)
    ]


def measured(policy, seen: list[Observation]):
    return choices.token_choices(policy, [Episode("pick up the bowl", seen)]).set_index("mode")


def test_where_everything_is_new_nothing_is_kept_and_the_answers_agree(policy, moments):
    rows = measured(policy, moments)
    assert rows.index.tolist() == [*choices.TOKENS]
    assert (rows["kept"] == 0).all() and rows["distance"].max() < 1e-5  # rounding


def test_where_nothing_changed_what_is_kept_changes_no_answer(policy, moments):
    rows = measured(policy, [moments[0]] * 3)
    assert (rows["kept"] > 0).all() and rows["distance"].max() < 1e-5


def test_where_the_lower_half_changed_other_tokens_than_the_static_ones_change_the_answer(policy, moments):
    def half(one: Observation) -> Observation:
        images = {name: moments[0].images[name].copy() for name in one.images}
        for name, frame in images.items():
            frame[16:] = one.images[name][16:]
        return replace(one, images=images)

    rows = measured(policy, [moments[0], *map(half, moments[1:])])
    scheduled, deep = rows["kept"].iloc[:5], rows["kept"].iloc[5:]
    assert scheduled.nunique() == deep.nunique() == 1 and 0 < scheduled.iloc[0] < deep.iloc[0] < 0.5
    assert rows["distance"]["tokens(random)[0:]:skip"] > rows["distance"]["tokens[0:]:skip"]


def test_a_look_that_orders_the_distances_has_rank_one(policy, moments, monkeypatch):
    """More and more of the wrist's frame turns to its negative, and the distances are made to follow."""
    seen = [moments[0]]
    for rows in (4, 8, 16, 32):
        images = {"agentview": moments[len(seen) % 3].images["agentview"], "wrist": seen[-1].images["wrist"].copy()}
        images["wrist"][:rows] = 255 - images["wrist"][:rows]
        seen.append(replace(seen[0], images=images))
    last = {"mode": "full", "episode": 0, "group": "all", "step": policy.config.denoising_steps}
    distances = pd.DataFrame([last | {"replan": n, "distance": float(n)} for n in (1, 2, 3, 4)])
    monkeypatch.setattr(choices, "divergence", lambda *_, **__: distances)
    rank = choices.signals(policy, [Episode("pick up the bowl", seen)], ["full"]).set_index(["look", "camera"])["rank"]
    assert len(rank) == 3 * 3 and rank.abs().max() < 1 + 1e-9
    assert rank["frames", "wrist"] == pytest.approx(1) == rank["thumbnails", "wrist"]
