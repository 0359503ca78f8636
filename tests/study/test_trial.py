"""What goes wrong in an episode is a row that says so, and the study goes on; what would go wrong in each is said
before the first."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kvlab.reuse import CachedPolicy
from kvlab.sim.suites import STEP_LIMITS
from kvlab.study import study as lab
from kvlab.study import trial
from kvlab.study.protocol import Protocol
from kvlab.study.settings import parse_setting
from kvlab.study.study import Study

NONE, FULL = parse_setting("none"), parse_setting("full when every(2)")


@pytest.fixture
def study(untrained, tmp_path, gl, monkeypatch) -> Study:
    """Two settings on one episode of three replans, run in this process."""
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 13)
    monkeypatch.setattr(lab, "by_task", lambda work, jobs, *_: (work(*one) for _, many in jobs for one in many))
    return Study(untrained, (NONE, FULL), 1, Protocol(gl=gl, numerics="native"), folder=tmp_path / "runs")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda chunk: chunk * np.nan, "the policy answered replan 1 with actions that are not finite"),
        (lambda chunk: np.where(chunk == chunk[2, 3], np.inf, chunk), "actions that are not finite"),
        (lambda chunk: chunk[:, :6], r"replan 1 with actions of shape \(8, 6\), not of \(at least 5, 7\)"),
        (lambda chunk: chunk[:4], r"actions of shape \(4, 7\), not of \(at least 5, 7\)"),
        (lambda chunk: chunk[None], r"actions of shape \(1, 8, 7\)"),
    ],
)
def test_actions_that_cannot_be_executed_are_an_error_of_that_replan_and_never_reach_the_simulator(
    study, monkeypatch, spoil, says
):
    act, executed, step = CachedPolicy.act, [], trial.LiberoEnv.step

    def spoilt(policy, *now):
        chunk, replan = act(policy, *now)
        if policy.mode.name == "none" and policy._replans == 2:
            chunk = spoil(chunk)
        return chunk, replan

    monkeypatch.setattr(CachedPolicy, "act", spoilt)
    monkeypatch.setattr(trial.LiberoEnv, "step", lambda env, action: executed.append(action) or step(env, action))
    control, full = study.run().episodes.to_dict("records")
    assert pd.Series(control["error"]).str.contains(f"^ValueError: .*{says}").all() and pd.isna(control["success"])
    assert pd.isna(full["error"]) and full["steps"] == 13
    assert np.shape(executed) == (10 + 5 + 10 + 13, 7) and np.isfinite(executed).all()
    monkeypatch.setattr(CachedPolicy, "act", act)
    assert study.run().episodes["error"].isna().all()  # tried again, as every error is


def test_an_episode_that_mujoco_began_anew_is_an_error_and_no_failure_of_the_policy(study, monkeypatch):
    step, steps = trial.LiberoEnv.step, iter(range(1000))

    def as_after_a_deep_penetration(env, action):
        if next(steps) == 17:  # of the control, after 10 settling steps
            env.data.qvel[-6] = 1e12
        return step(env, action)

    monkeypatch.setattr(trial.LiberoEnv, "step", as_after_a_deep_penetration)
    control, full = study.run().episodes.to_dict("records")
    assert control["error"].startswith("SimulationError: MuJoCo warned: Nan, Inf or huge value in QVEL")
    assert pd.isna(control["success"]) and pd.isna(full["error"])


def test_a_prompt_that_is_too_long_is_said_before_the_first_episode(untrained, tmp_path):
    short = tmp_path / "short"
    shutil.copytree(untrained, short)
    config = json.loads((short / "config.json").read_text())
    config["model"]["max_tokens"] = 10
    (short / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="tokens; this model takes at most 10"):
        Study(short, (NONE,), 1)


def test_a_worker_imports_nothing_of_tables_and_figures():
    """What takes a worker's first seconds: the time to its first episode counts once for each."""
    told = "import sys, kvlab.study.trial, kvlab.sim.workers; print(*{name.partition('.')[0] for name in sys.modules})"
    imported = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in imported
    assert not {"pandas", "pyarrow", "pandera", "statsmodels", "matplotlib", "seaborn"} & {*imported}


def test_protocols_that_draw_alike_share_a_process_environments(gl):
    """An environment takes hundreds of megabytes; one for each speed of real time filled a machine."""
    plain = Protocol(gl=gl, numerics="native")
    assert trial._env(plain, 0) is trial._env(replace(plain, real_time="200ms", replan_every=10), 0)
