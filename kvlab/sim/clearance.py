"""Room for the hand: how far palm and fingers are from what they could hit. Lengths are in metres."""

import numpy as np
from jaxtyping import Float

from kvlab.sim.env import LiberoEnv

Boxes = tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3 3"], Float[np.ndarray, "n 3"]]


def _grid(*axes: tuple[float, ...]) -> Float[np.ndarray, "n 3"]:
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)


# Points of the palm and of one open finger in the grip site's frame (x: finger axis, z: down).
PALM = _grid((-0.105, -0.07, -0.035, 0.0, 0.035, 0.07, 0.105), (-0.033, 0.0, 0.033), (-0.045, -0.075, -0.105))
FINGER = _grid((0.037, 0.043, 0.050, 0.057, 0.063), (-0.012, 0.0, 0.012), (-0.045, -0.02, 0.011))
ROOM = 0.02  # nearer than this, it begins to cost


def obstacles(env: LiberoEnv, thing: int) -> Boxes:
    """Boxes (centres, axes, half sizes) around what can be hit near a body: not the robot, the table or itself."""
    model, data, boxes = env.model, env.data, []
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom]
        name = model.body(body).name
        ours = body == thing or name.startswith(("robot", "gripper", "mount")) or name == "world" or "table" in name
        near = np.linalg.norm(data.geom_xpos[geom] - data.xpos[thing]) < model.geom_rbound[geom] + 0.5
        if model.geom_group[geom] == 0 and near and not ours:
            axes = data.geom_xmat[geom].reshape(3, 3)
            boxes.append((data.geom_xpos[geom] + axes @ model.geom_aabb[geom][:3], axes, model.geom_aabb[geom][3:]))
    centres, axes, halves = zip(*boxes, strict=True) if boxes else ((), (), ())  # what fell off the table has none
    return np.reshape(centres, (-1, 3)), np.reshape(axes, (-1, 3, 3)), np.reshape(halves, (-1, 3))


def clearance(points: Float[np.ndarray, "n 3"], boxes: Boxes) -> float:
    """Smallest distance from any point to any box, negative inside, infinite where there is no box."""
    centres, axes, halves = boxes
    beyond = np.abs((points - centres[:, None]) @ axes) - halves[:, None]  # boxes, points, 3
    outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=2)
    return float((outside + np.minimum(beyond.max(axis=2), 0.0)).min(initial=np.inf))


def crowding(site: Float[np.ndarray, "3"], frame: Float[np.ndarray, "3 3"], boxes: Boxes, both: bool = False) -> float:
    """Cost of a hand at `site`: 40 for each metre that the palm, or the open finger at +x, is nearer than 2 cm.

    With `both` the finger at -x counts too (at a rim it is inside of the bowl).
    """
    fingers = np.concatenate([FINGER, FINGER * [-1, 1, 1]]) if both else FINGER
    finger = clearance(site + fingers @ frame.T, boxes)
    palm = clearance(site + PALM @ frame.T, boxes)
    return 40 * max(0.0, ROOM - finger) + 40 * max(0.0, ROOM - palm)
