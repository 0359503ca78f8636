"""How a thing can be held: across its box, by its rim, by its handle. Lengths are in metres.

A grip offers holds in the thing's own frame; `choose` takes the one that suits the present scene best.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from kvlab.sim.clearance import crowding, obstacles
from kvlab.sim.env import LiberoEnv
from kvlab.sim.hand import Hand, pointing

HOME = np.array(
    [0.0, 1.0, 0.0]
)  # the finger axis at the start of an episode: a wrist turned far from it meets its limit


class Thing:
    """A body of the scene, or a site: where it is now."""

    def __init__(self, env: LiberoEnv, name: str):
        """`name` of an object, or of a site; KeyError if the scene has neither."""
        self.env, self.name, self.body = env, name, env.libero.obj_body_id.get(name)
        self._now = env.data.site(name) if self.body is None else env.data.body(self.body)

    @property
    def position(self) -> Float[np.ndarray, "3"]:
        """Its origin."""
        return self._now.xpos.copy()

    @property
    def frame(self) -> Float[np.ndarray, "3 3"]:
        """Its axes as columns."""
        return self._now.xmat.reshape(3, 3).copy()

    def point(self, own: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        """A point of it, given in its own frame."""
        return self.position + self.frame @ own

    def box(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Lowest and highest corner, in its own frame, of all that collides."""
        model, data, corners = self.env.model, self.env.data, []
        for geom in np.flatnonzero((model.geom_bodyid == self.body) & (model.geom_group == 0)):
            axes = self.frame.T @ data.geom_xmat[geom].reshape(3, 3)
            middle = self.frame.T @ (data.geom_xpos[geom] - self.position) + axes @ model.geom_aabb[geom][:3]
            half = np.abs(axes) @ model.geom_aabb[geom][3:]
            corners.append((middle - half, middle + half))
        low, high = zip(*corners, strict=True)
        return np.min(low, axis=0), np.max(high, axis=0)


class Hold(NamedTuple):
    """The grip site's place and the finger axis, in the thing's own frame."""

    point: np.ndarray
    axis: np.ndarray


@dataclass(frozen=True)
class Across:
    """From above, the fingers across a side of the thing's box that fits between them."""

    depth: float = 0.025  # of the grip site below the top
    widest: float = 0.07

    def holds(self, thing: Thing) -> Iterator[Hold]:
        """In the middle and a little off it both ways, for where something is beside it."""
        low, high = thing.box()
        size, up = high - low, int(np.argmax(np.abs(thing.frame[2])))  # the own axis that is nearest to the vertical
        sense = np.sign(thing.frame[2, up])
        height = max(size[up] / 2 - self.depth, 0.013 - size[up] / 2)  # the tips 1.3 cm below it stay off the table
        sides = sorted({0, 1, 2} - {up}, key=size.__getitem__)
        for side in (side for side in sides if size[side] < max(self.widest, size[sides[0]] + 1e-6)):
            play = np.zeros(3)
            play[side] = max(0.0, 0.034 - size[side] / 2)  # closing fingers bring it to the middle
            play[3 - up - side] = max(0.0, 0.7 * size[3 - up - side] / 2 - 0.014)
            for shift in np.ndindex(3, 3):
                point = (low + high) / 2
                point[[side, 3 - up - side]] += (np.array(shift) - 1) * play[[side, 3 - up - side]]
                point[up] = (low + high)[up] / 2 + sense * height
                yield Hold(point, np.eye(3)[side])


@dataclass(frozen=True)
class Rim:
    """One finger inside and one outside of an upright round wall."""

    centre: tuple[float, float]
    radius: float  # of the wall's middle
    height: float  # of the grip site
    free: tuple[float, float] = (0.0, 360.0)  # degrees about the thing's z axis between which no handle is

    def holds(self, thing: Thing) -> Iterator[Hold]:
        """Every 15 degrees."""
        for angle in np.deg2rad(np.arange(*self.free, 15.0)):
            axis = np.array([np.cos(angle), np.sin(angle), 0.0])
            yield Hold(np.array([*self.centre, self.height]) + self.radius * axis, axis)


@dataclass(frozen=True)
class Handle:
    """The fingers on both sides of a handle at one place."""

    point: tuple[float, float, float]
    axis: tuple[float, float, float]

    def holds(self, thing: Thing) -> Iterator[Hold]:
        """The one there is."""
        yield Hold(np.array(self.point), np.array(self.axis))


Grip = Across | Rim | Handle


def choose(hand: Hand, thing: Thing, grip: Grip, goal: Float[np.ndarray, "3"]) -> Hold:
    """The best hold by how far the hand must turn, by room around it, and by reach there and at `goal`."""
    boxes, central = obstacles(hand.env, thing.body), np.mean([h.point for h in grip.holds(thing)], axis=0)

    def cost(hold: Hold, sign: int) -> float:
        site, axis = thing.point(hold.point), thing.frame @ hold.axis
        frame = pointing(sign * axis)
        twisted = max(0.0, np.arccos(np.clip(frame[:, 0] @ HOME, -1.0, 1.0)) - 1.8)
        crowded = crowding(site, pointing(axis), boxes, both=not isinstance(grip, Rim))
        ends = np.stack([site, goal + site - thing.position]) - hand.base
        stretch = np.maximum(0.0, np.linalg.norm(ends[:, :2], axis=1) - 0.72).sum()
        off = 4 * np.linalg.norm(hold.point - central) if isinstance(grip, Across) else 0.0
        return np.linalg.norm(hand.turn(frame)) / 3 + twisted + crowded + off + 8 * stretch

    hold, sign = min(((hold, sign) for hold in grip.holds(thing) for sign in (1, -1)), key=lambda one: cost(*one))
    return Hold(hold.point, sign * hold.axis)
