"""A smaller policy out of a trained one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kvlab.cli import app
from kvlab.pi0 import load, save
from kvlab.pi0.int8 import ACTIVATIONS
from kvlab.pi0.prune import prune
from tamper import edit_weights


def test_layers_go_evenly_and_first_and_last_stay(policy):
    small = prune(policy, layers=2)
    assert (small.config.prefix.depth, small.config.expert.depth) == (2, 2)
    for stream in ("prefix", "expert"):
        mine, theirs = getattr(small.model, stream), getattr(policy.model, stream)
        assert torch.equal(mine[0].qkv.weight, theirs[0].qkv.weight)
        assert torch.equal(mine[1].qkv.weight, theirs[2].qkv.weight)


def test_neurons_without_weight_are_those_that_go_and_nothing_changes(policy):
    whole = policy.config.prefix.mlp_dim
    for layer in policy.model.prefix:
        layer.down.weight[:, [1, 5]] = 0
    small = prune(policy, prefix_mlp=whole - 2)
    x = torch.randn(1, 4, policy.config.prefix.width, dtype=torch.float64)
    for mine, theirs in zip(small.model.prefix, policy.model.prefix, strict=True):
        by = torch.ones(4, 1, 4, dtype=torch.float64), torch.zeros(4, 1, 4, dtype=torch.float64)  # no turn
        assert torch.allclose(mine(x, by)[0], theirs(x, by)[0], atol=1e-12)


def test_it_is_saved_and_says_what_it_was_pruned_to(policy, tmp_path):
    single = replace(policy, model=policy.model.float())
    save(prune(single, layers=2, expert_mlp=8), tmp_path)
    loaded = load(tmp_path)
    assert loaded.trained_on["pruned_to"]["layers"] == 2 and loaded.config.expert.mlp_dim == 8
    assert np.isfinite(loaded.stats["state_mean"]).all()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "name fewer layers"),
        ({"layers": 1}, "2 at least"),
        ({"layers": 9}, "9 layers of 3"),
        ({"prefix_mlp": 1000}, "1000 neurons of the prefix of 48"),
    ],
)
def test_what_would_take_nothing_away_is_refused(policy, asked, said):
    with pytest.raises(ValueError, match=said):
        prune(policy, **asked)


def test_what_computes_in_int8_is_refused(policy, tmp_path):
    save(policy, tmp_path, precision=ACTIVATIONS)
    with pytest.raises(ValueError, match="this policy is in int8: prune the checkpoint that it was made from"):
        prune(load(tmp_path), layers=2)


def test_the_command_writes_no_folder_twice_and_a_missing_layer_is_named(policy, tmp_path):
    save(policy, tmp_path / "whole")
    asked = ["prune", str(tmp_path / "whole"), "--out", str(tmp_path / "small"), "--layers", "2", "--prefix-mlp", "20"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    small = load(tmp_path / "small").model
    assert small.config.prefix == replace(policy.config.prefix, depth=2, mlp_dim=20)
    assert isinstance(CliRunner().invoke(app, asked).exception, FileExistsError)
    last = [name for name in small.state_dict() if name.startswith("expert.1.")]
    edit_weights(tmp_path / "small" / "model.safetensors", lambda tensors: [tensors.pop(name) for name in last])
    with pytest.raises(ValueError, match="does not fit its config: missing: expert.1.down.weight"):
        load(tmp_path / "small")
