"""The state's orientation without jumps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from kvlab.pi0 import Pi0, Policy, load, save
from kvlab.pi0.data import word_tokenizer
from kvlab.pi0.rotation import without_jumps
from small import small_config


def state(turn) -> np.ndarray:
    return np.array([0.1, 0.2, 0.3, *turn, 0.04, -0.04], np.float32)


def test_where_the_angle_jumps_the_form_does_not():
    just_below, just_above = np.array([np.pi - 1e-3, 0, 0]), np.array([-np.pi + 1e-3, 0, 0])
    assert abs(state(just_below) - state(just_above)).max() > 6
    assert abs(without_jumps(state(just_below)) - without_jumps(state(just_above))).max() < 3e-3


def test_the_columns_of_the_matrix_one_after_the_other_and_the_rest_as_it_was():
    turn = np.array([0.3, -1.2, 0.7])
    matrix, formed = Rotation.from_rotvec(turn).as_matrix(), without_jumps(np.stack([state(turn)] * 2))
    assert formed.shape == (2, 11) and formed.dtype == np.float32
    assert np.allclose(formed[1], [0.1, 0.2, 0.3, *matrix[:, 0], *matrix[:, 1], 0.04, -0.04], atol=1e-6)


def test_a_model_of_another_width_is_refused(tiny):
    with pytest.raises(ValueError, match="with rotation 6d the model takes 11 numbers of state, not 5"):
        replace(tiny, rotation="6d")
    with pytest.raises(ValueError, match="rotation should be one of axis_angle, 6d, got 'euler'"):
        replace(tiny, rotation="euler")


@pytest.fixture
def six() -> Policy:
    torch.manual_seed(0)
    sizes = (("state", 11), ("action", 7))
    stats = {f"{k}_{what}": np.full(n, what == "std", np.float32) for k, n in sizes for what in ("mean", "std")}
    return Policy(Pi0(small_config().without_jumps()), stats, word_tokenizer(("open it",)), {"suites": []})


def test_a_policy_takes_the_raw_state_and_forms_it(six, tmp_path):
    save(six, tmp_path)
    loaded, raw = load(tmp_path), state([0.3, -1.2, 0.7])
    assert loaded.config.rotation == "6d" and loaded.state_dim == 8
    assert np.array_equal(loaded.state(raw)[0].numpy(), without_jumps(raw))
    with pytest.raises(ValueError, match=r"takes a state of 8 numbers, got shape \(11,\)"):
        loaded.state(without_jumps(raw))


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("config.json", {"state_dim": 8}, "with rotation 6d the model takes 11 numbers of state, not 8"),
        ("stats.json", {"state_mean": [0.0] * 8}, "state_mean should be 11 finite numbers"),
    ],
)
def test_a_checkpoint_whose_form_does_not_fit_its_sizes_or_statistics(six, tmp_path, file, change, told):
    save(six, tmp_path)
    content = json.loads((tmp_path / file).read_text())
    (content["model"] if file == "config.json" else content).update(change)
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=told):
        load(tmp_path)


def test_the_form_of_old_checkpoints_is_not_written():
    """By their bytes recordings find them, those in int8 too, which are made anew from them."""
    assert "rotation" not in small_config().to_json()
    assert small_config().without_jumps().to_json()["rotation"] == "6d"
