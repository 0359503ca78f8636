"""The state's orientation without jumps."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from kvlab.pi0.rotation import without_jumps


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
