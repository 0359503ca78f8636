"""What is replayed, what is left out, and how it is summed up; never how long it takes."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from kvlab.bench import latency
from kvlab.bench.latency import MOMENT, STAGES
from kvlab.cli import program
from kvlab.pi0 import Pi0, Policy
from kvlab.pi0.checkpoint import save
from kvlab.pi0.data import word_tokenizer
from kvlab.reuse import CachedPolicy, parse_mode
from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import task
from kvlab.study import facts as study_facts
from kvlab.study import observations
from kvlab.study.observations import Episode
from kvlab.study.settings import Setting
from small import observed, small_config


@pytest.fixture(scope="module")
def policy() -> Policy:
    config = small_config(depth=3, max_tokens=20, state_dim=4, action_dim=3, chunk=6)
    widths = {"state": 4, "action": 3}
    stats = {f"{k}_{what}": np.ones(w, np.float32) for k, w in widths.items() for what in ("mean", "std")}
    torch.manual_seed(0)
    return Policy(Pi0(config).requires_grad_(False), stats, word_tokenizer(("pick up the bowl",)), {})


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return observed("pick up the bowl", 4)


@pytest.fixture(scope="module")
def samples(policy, episodes) -> pd.DataFrame:
    return latency.replay(policy, episodes, latency.settings(policy.config), repeats=2)


def test_every_arm_at_every_moment_but_the_first(samples, policy):
    moments = [(repeat, 0, replan) for repeat in (0, 1) for replan in (1, 2)] + [(0, 1, 1), (1, 1, 1)]
    for setting in latency.settings(policy.config):
        mine = samples[samples["setting"] == str(setting)]
        assert sorted(mine[MOMENT].itertuples(index=False, name=None)) == sorted(moments)


def test_a_forced_gate_is_open_and_never_is_shut(samples):
    shut = {"none", "text_fixed:skip when never", str(Setting("full", latency.WATCHED))}
    for setting, mine in samples.groupby("setting"):
        assert (mine["reused"] == (setting not in shut)).all(), setting


def test_stages_that_are_not_computed_take_no_time_at_all(samples):
    """The gate on pixels needs no image encoder; that is what it is for."""
    no_encoder = {f"{mode} when {latency.OPEN}" for mode in ("full", "prefix", "vision_only:skip", "text_fixed:skip")}
    no_encoder |= {f"full when {gate}" for gate in (latency.VERIFIED, latency.SETTLED)}
    assert no_encoder < {*samples["setting"]}
    for setting, mine in samples.groupby("setting"):
        assert ((mine["ms_vision"] == 0) == (setting in no_encoder)).all(), setting
    assert (samples[["ms_gate", "ms_prefill", "ms_denoise"]] > 0).all(axis=None)
    np.testing.assert_allclose(samples["ms_total"], samples[[f"ms_{s}" for s in STAGES[:-1]]].sum(axis=1))


def test_arms_take_turns_at_being_first(policy, episodes, monkeypatch):
    order, act = [], CachedPolicy.act

    def watched(self, images, state):
        order.append(str(self.mode))
        assert {*self._similarities} == self.gate.reads  # as deployed: nothing is computed for the record's sake
        return act(self, images, state)

    monkeypatch.setattr(CachedPolicy, "act", watched)
    latency.replay(policy, episodes[:1], [Setting("none"), Setting("full"), Setting("prefix")], repeats=1)
    warm_up, timed = order[:9], order[9:]
    assert warm_up == timed
    assert {tuple(sorted(timed[i : i + 3])) for i in (0, 3, 6)} == {("full", "none", "prefix")}
    assert {timed[0], timed[3], timed[6]} == {"full", "none", "prefix"}


def test_layers_are_halved_for_a_model_of_any_depth(policy):
    upper = [
        parse_mode(setting.mode) for setting in latency.settings(policy.config) if setting.mode.startswith("layer_wise")
    ]
    assert [mode.layer_range(3) for mode in upper] == [slice(1, 3)]


def _samples(totals: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"setting": setting, "repeat": 0, "episode": 0, "replan": n, "reused": False}
        | {f"ms_{stage}": value / 4 for stage in STAGES[:-1]}
        | {"ms_total": value}
        for setting, values in totals.items()
        for n, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows)


def test_a_ratio_is_the_median_of_pairs():
    none, full = [40.0, 80.0, 400.0, 44.0, 60.0], [20.0, 20.0, 100.0, 11.0, 60.0]
    found = latency.ratio(_samples({"none": none, "full when always": full}), "full when always")
    assert found.estimate == 0.25 and found.low <= 0.25 < found.high <= 1
    assert latency.ratio(_samples({"none": none}), "none").width == 0
    with pytest.raises(ValueError, match="no setting 'full when always' among those measured: none"):
        latency.ratio(_samples({"none": none}), "full when always")


def test_summary_is_of_stages_and_of_pairs():
    """The speed-up pairs moments: a machine that slows down for a while slows both, and the median is of ratios."""
    none, full = [40.0, 80.0, 400.0, 44.0, 60.0], [20.0, 20.0, 100.0, 11.0, 60.0]
    summary = latency.by_stage(_samples({"none": none, "full when always": full}))
    assert list(summary.index) == ["none", "full when always"] and list(summary["n"]) == [5, 5]
    assert summary.loc["none", "total_p50"] == 60 and summary.loc["none", "gate_p50"] == 15
    assert summary.loc["none", "total_p95"] == pytest.approx(336)  # 80 + 0.8 (400 - 80)
    assert summary.loc["full when always", "speedup"] == 4 and summary.loc["none", "speedup"] == 1


def test_the_table_shows_median_and_tail():
    text = latency.table(latency.by_stage(_samples({"none": [40.0, 80.0], "full when always": [10.0, 20.0]})))
    assert "60.0 (78.0)" in text and "15.0 (19.5)" in text and "4.00" in text


def test_rows_and_how_they_were_made_are_written(tmp_path, policy, samples):
    save(policy, tmp_path / "policy")
    facts = {"command": "kvlab bench"} | study_facts.machine(tmp_path / "policy")
    study_facts.write(tmp_path / "new", "inference", samples, facts)
    read = pd.read_csv(tmp_path / "new" / "inference.csv")
    assert list(read.columns) == list(samples.columns) and len(read) == len(samples)
    written = json.loads((tmp_path / "new" / "inference.json").read_text())
    assert written == facts and written["threads"] == torch.get_num_threads() and written["processor"]


@pytest.mark.parametrize(
    ("trained_on", "episodes", "says"),
    [
        ({"suites": ["libero_spatial"], "size": "128"}, 1, "lacks render"),
        ({"suites": ["libero_spatial"], "size": "128", "render": "fast"}, 11, "Unknown task 10"),
    ],
)
def test_scenes_that_there_are_not(policy, trained_on, episodes, says):
    with pytest.raises(ValueError, match=says):
        observations.scenes(replace(policy, trained_on=trained_on), episodes)


def test_what_is_recorded_is_what_was_there(policy, monkeypatch):
    """On the tasks, and drawn as, the policy was trained."""
    made, shown = [], [object(), object()]

    def rollout(env, control, initial_state, seed):
        assert (control.mode.name, initial_state, seed) == ("none", 0, 0)
        return {}, [], shown

    monkeypatch.setattr(observations, "LiberoEnv", lambda *given: made.append(given) or LiberoEnv(*given))
    monkeypatch.setattr(observations, "rollout", rollout)
    trained_on = {"suites": ["libero_spatial"], "size": "64", "render": "stock"}
    (episode,) = observations.record(replace(policy, trained_on=trained_on), 1)
    assert made == [(task("libero_spatial", 0), "stock", 64)]
    assert episode.instruction == "pick up the black bowl between the plate and the ramekin and place it on the plate"
    assert episode.seen == shown


@pytest.mark.parametrize("kind", [[], ["--rollouts"]])
def test_a_missing_checkpoint_is_one_sentence(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kvlab", "bench", "--checkpoint", str(tmp_path / "nowhere"), *kind])
    with pytest.raises(SystemExit, match="there is no folder .*nowhere"):
        program()
