"""The whole path with nothing mocked: LIBERO, the trained policy, the study, the records."""

import pandas as pd
import pytest

from kvlab.paths import DATA
from kvlab.sim.suites import STEP_LIMITS
from kvlab.study.protocol import Protocol
from kvlab.study.records import EPISODES, REPLANS
from kvlab.study.settings import Setting
from kvlab.study.study import Study


@pytest.fixture
def study(gl, tmp_path, monkeypatch) -> Study:
    """One episode, task 2 from initial state 0."""
    monkeypatch.setattr(Study, "trials", lambda self: [(2, 0)])
    return Study(DATA / "checkpoints" / "mini_spatial", (Setting("none"),), 1, Protocol(gl=gl), folder=tmp_path)


def test_the_trained_policy_solves_a_real_episode_and_it_is_recorded(study):
    records = study.run()
    (episode,) = EPISODES.validate(records.episodes).to_dict("records")
    replans = REPLANS.validate(records.replans)
    assert pd.isna(episode["error"]) and episode["success"]
    assert 40 < episode["steps"] < STEP_LIMITS["libero_spatial"]
    assert episode["replans"] == len(replans) == -(-episode["steps"] // 5)
    assert replans["step"].tolist() == list(range(0, episode["steps"], 5))
    assert not replans["reused"].any() and episode["reused"] == 0
    similar = replans[["vision_anchor", "pixels_anchor", "state_anchor"]]
    assert similar[:1].isna().all(axis=None) and similar[1:].notna().all(axis=None)
    assert similar["vision_anchor"].equals(replans["vision_previous"])  # without reuse every replan is an anchor
    assert replans["bits"].notna().all() and replans["bits"].is_unique
    assert study.read().episodes.equals(records.episodes)
