"""The names at the top of the package, and the example that uses them in a loop of its own."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import AddRenderObservation

import kvlab
from kvlab import Policy
from kvlab.paths import ROOT
from kvlab.pi0 import Pi0, save
from kvlab.pi0.data import word_tokenizer
from small import small_config

STATE, ACTION, STEPS = 23, 7, 24  # of Pusher-v5, whose arm has seven joints


def test_names_at_the_top_cost_nothing_until_they_are_asked_for():
    code = """
import sys, kvlab
assert not {"torch", "numpy"} & sys.modules.keys()
from kvlab import CachedPolicy, load, parse_gate, parse_mode
import kvlab.pi0, kvlab.reuse
assert load is kvlab.pi0.load and CachedPolicy is kvlab.reuse.CachedPolicy
assert str(parse_gate("every(2)")) == "every(2)" and str(parse_mode("prefix")) == "prefix"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(kvlab, name) for name in kvlab.__all__) and {*kvlab.__all__} <= {*dir(kvlab)}
    with pytest.raises(AttributeError, match="module 'kvlab' has no attribute 'lod'"):
        kvlab.lod  # noqa: B018


@pytest.fixture(scope="module")
def example():
    """The file as a user has it."""
    spec = spec_from_file_location("own_loop", ROOT / "examples" / "own_loop.py")
    spec.loader.exec_module(module := module_from_spec(spec))
    return module


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    tokenizer = word_tokenizer(("push the cylinder to the goal",))
    config = small_config(vocab_size=tokenizer.get_vocab_size(), cameras=("scene",), state_dim=STATE, action_dim=ACTION)
    torch.manual_seed(0)
    widths = {"state_mean": STATE, "state_std": STATE, "action_mean": ACTION, "action_std": ACTION}
    stats = {name: np.full(width, float(name.endswith("std"))) for name, width in widths.items()}
    save(Policy(Pi0(config), stats, tokenizer, {}), folder := tmp_path_factory.mktemp("pusher") / "untrained")
    return folder


def test_an_environment_of_gymnasium_is_run_with_a_gate(example, checkpoint, gl):
    """`gl` has chosen what draws."""
    env = gymnasium.make("Pusher-v5", render_mode="rgb_array", width=64, height=64, max_episode_steps=STEPS)
    env = AddRenderObservation(env, render_only=False, render_key="scene", obs_key="state")
    found = []
    for gate in ("never", "every(2)", "pixels >= -1"):
        total, steps, replans = example.episode(env, example.gated(checkpoint, gate=gate), "push the cylinder")
        assert steps == STEPS and len(replans) == 5 and np.isfinite(total)
        found.append([one.reused for one in replans])
    env.close()
    assert found == [[False] * 5, [False, True, False, True, False], [False, *[True] * 4]]
