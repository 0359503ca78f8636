"""The state's orientation in a form without jumps.

LIBERO's state has the hand's orientation as an axis times an angle, which jumps where the angle passes 180 degrees. The
first two columns of the rotation matrix do not (Zhou et al. 2019, 1812.07035, equation 15).
"""

import numpy as np
from jaxtyping import Float, Float32

ROTATIONS = ("axis_angle", "6d")  # in which a model may take the orientation
RAW, WITHOUT_JUMPS = 8, 11  # numbers of a state: hand position 3, orientation 3 or 6, gripper 2


def without_jumps(states: Float[np.ndarray, "*steps 8"]) -> Float32[np.ndarray, "*steps 11"]:
    """States with the orientation, numbers 3 to 5 (radians), in six numbers of [-1, 1]: one column, then the other.

    ValueError for states of another width.
    """
    if states.shape[-1] != RAW:
        raise ValueError(f"rotation 6d is made from LIBERO's state of {RAW} numbers, got {states.shape[-1]}")
    from scipy.spatial.transform import Rotation  # half a second, which no other policy needs

    position, turn, gripper = np.split(states, [3, 6], axis=-1)
    columns = Rotation.from_rotvec(turn.reshape(-1, 3)).as_matrix()[:, :, :2].swapaxes(1, 2)
    return np.concatenate([position, columns.reshape(*states.shape[:-1], 6), gripper], axis=-1).astype(np.float32)
