"""What a hand can do in one go: pick and place, twist a knob, push a drawer or door. Each yields its actions.

A primitive reads the scene anew before every action, so it goes on from where a disturbance has put it, and takes hold
again of what it has lost. Lengths are in metres, in the world frame unless said otherwise; a step is 1/20 s.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from kvlab.sim.grips import HOME, Grip, Thing, choose
from kvlab.sim.hand import CLOSED, OPEN, Hand, funnel, inside, pointing, servo

Actions = Iterator[Float[np.ndarray, "7"]]
Pose = Callable[[], tuple[np.ndarray, np.ndarray]]  # where the grip site should be now, and its frame
Vector = tuple[float, float, float]
STEEP = 0.07  # sideways distance over which a hand comes down from its cruising height
STILL = 15  # steps without getting on, after which a motion is taken to be as near as it gets


class _Progress:
    """Where the hand has been lately: whether it still gets on."""

    def __init__(self, hand: Hand):
        self.hand, self.path = hand, deque(maxlen=STILL)

    def stuck(self) -> bool:
        """Not 1.2 cm (0.15 rad) away from where it was 15 steps ago."""
        self.path.append(np.append(self.hand.position, 0.08 * self.hand.frame[:, 0]))
        return len(self.path) == STILL and np.linalg.norm(self.path[-1] - self.path[0]) < 0.012


def reach(hand: Hand, pose: Pose, gripper: float = OPEN, cruise: float = 0.10) -> Actions:
    """Go to a pose that may move, from above: `cruise` is the height kept over it while far away."""
    progress = _Progress(hand)
    while True:
        goal, frame = pose()
        error, turn = goal - hand.position, hand.turn(frame)
        far = max(np.linalg.norm(error[:2]), 0.08 * np.linalg.norm(turn))
        if (far < 0.007 and abs(error[2]) < 0.006) or progress.stuck():
            return
        error[2] += funnel(far, cruise / STEEP, cruise)
        yield servo(error, turn, 0.45 if far < 0.03 else 0.9, gripper)


def close(hand: Hand, pose: Pose) -> Actions:
    """Close the fingers until they hold, staying at what the pose is now."""
    width, (goal, frame) = hand.opening, pose()
    for waited in range(15):
        yield servo(goal - hand.position, hand.turn(frame), 0.2, CLOSED)
        before, width = width, hand.opening
        if waited >= 7 and abs(before - width) < 0.0006:
            return


def move(hand: Hand, way: Float[np.ndarray, "3"], gripper: float) -> Actions:
    """Go straight along `way` (m)."""
    goal, frame, progress = hand.position + way, hand.frame, _Progress(hand)
    while np.linalg.norm(goal - hand.position) > 0.01 and not progress.stuck():
        yield servo(goal - hand.position, hand.turn(frame), 0.9, gripper)


def let_go(hand: Hand, back: float) -> Actions:
    """Open the fingers, then withdraw the way the hand came by `back` (m)."""
    for _ in range(6):
        yield servo(np.zeros(3), np.zeros(3), 0.0, OPEN)
    yield from move(hand, -back * hand.frame[:, 2], OPEN)


@dataclass(frozen=True)
class Put:
    """Where a thing goes: its origin to `at` in the frame of `on` (an object or a site)."""

    on: str
    at: Vector = (0.0, 0.0, 0.0)
    lift: float = 0.05  # height before anything sideways
    above: float = 0.10  # height kept over the goal while far from it
    near: float = STEEP  # sideways distance over which it comes down from there
    aligned: bool = False  # turned until its axes are those of `on`, seen from above
    lean: Vector = (0.0, 0.0, 0.0)  # and then leant by this rotation vector (rad) in the frame of `on`
    within: float = 0.01  # how exactly
    withdraw: float = 0.06  # distance of the hand from where it let go


@dataclass(frozen=True)
class PickPlace:
    """Take a thing by a grip and put it somewhere, again until it is there."""

    thing: str
    grip: Grip
    put: Put
    cruise: float = 0.10  # height of the empty hand over what it goes to

    def __call__(self, hand: Hand) -> Actions:
        """One attempt: ends with the fingers open, whether or not the thing was lost on the way."""
        thing, place = Thing(hand.env, self.thing), Thing(hand.env, self.put.on)
        hold = choose(hand, thing, self.grip, place.point(np.array(self.put.at)))

        def pose() -> tuple[np.ndarray, np.ndarray]:
            return thing.point(hold.point), pointing(thing.frame @ hold.axis)

        yield from reach(hand, pose, cruise=self.cruise)
        yield from close(hand, pose)
        frame, held = hand.frame, thing.frame.T @ (hand.position - thing.position)
        if not lost(hand, thing, hold.point, 0.03):
            for action in move(hand, np.array([0.0, 0.0, self.put.lift]), CLOSED):
                if lost(hand, thing, held):
                    break
                yield action
            yield from self._carry(hand, thing, place, held, frame)
        yield from let_go(hand, self.put.withdraw)

    def _carry(self, hand: Hand, thing: Thing, place: Thing, held: np.ndarray, frame: np.ndarray) -> Actions:
        progress = _Progress(hand)
        while not lost(hand, thing, held) and not progress.stuck():
            error = place.point(np.array(self.put.at)) - thing.position
            turn = heading(thing, place) if self.put.aligned else 0.0
            far = max(np.linalg.norm(error[:2]), 0.08 * abs(turn))
            if far < self.put.within and abs(error[2]) < self.put.within:
                return
            error[2] += funnel(far, self.put.above / self.put.near, self.put.above)
            error[:2] = inside(hand.base, hand.position, error[:2])
            if self.put.aligned:
                axis = Rotation.from_rotvec([0.0, 0.0, turn]).apply(pointing(hand.frame[:, 0])[:, 0])
                frame = Rotation.from_rotvec(place.frame @ np.array(self.put.lean)).as_matrix() @ pointing(axis)
            yield servo(error, hand.turn(frame), 0.45 if far < 0.03 else 0.9, CLOSED)


def lost(hand: Hand, thing: Thing, held: Float[np.ndarray, "3"], by: float = 0.025) -> bool:
    """Whether the place at which the thing is held is no longer between the fingers."""
    return bool(np.linalg.norm(thing.point(held) - hand.position) > by)


def heading(thing: Thing, place: Thing) -> float:
    """Angle (rad) about the vertical from the thing's x axis to that of the place."""
    one, other = thing.frame[:2, 0], place.frame[:2, 0]
    return float(np.arctan2(one[0] * other[1] - one[1] * other[0], one @ other))


class Joint:
    """A fixture's joint with the body that it moves."""

    def __init__(self, hand: Hand, name: str):
        """`name` as in the scene; KeyError if there is none."""
        model, self.data = hand.env.model, hand.env.data
        self.id = model.joint(name).id
        self.slides = model.jnt_type[self.id] == mujoco.mjtJoint.mjJNT_SLIDE
        self._adr, self._body = model.jnt_qposadr[self.id], model.jnt_bodyid[self.id]

    @property
    def value(self) -> float:
        """Its position, in metres or radians."""
        return float(self.data.qpos[self._adr])

    @property
    def axis(self) -> Float[np.ndarray, "3"]:
        """The direction along or about which it moves."""
        return self.data.xaxis[self.id].copy()

    @property
    def frame(self) -> Float[np.ndarray, "3 3"]:
        """Axes of the moving body as columns."""
        return self.data.xmat[self._body].reshape(3, 3).copy()

    def point(self, own: Vector) -> Float[np.ndarray, "3"]:
        """A point of the moving body, given in that body's frame."""
        return self.data.xpos[self._body] + self.frame @ np.array(own)

    def motion(self, point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        """Unit vector along which the point moves as the value grows."""
        way = self.axis if self.slides else np.cross(self.axis, point - self.data.xanchor[self.id])
        return way / np.linalg.norm(way)


@dataclass(frozen=True)
class Twist:
    """Take hold of a knob's ridge and turn it until its joint has the value `to` (rad)."""

    thing: str
    joint: str
    at: Vector  # in the knob's frame
    axis: Vector  # of the fingers, in the knob's frame
    to: float

    def __call__(self, hand: Hand) -> Actions:
        """One attempt."""
        knob = Joint(hand, self.joint)

        def pose() -> tuple[np.ndarray, np.ndarray]:
            return knob.point(self.at), pointing(knob.frame @ np.array(self.axis))

        still = pose()  # pressed on, the knob turns under the fingers: following it, they would never be there
        yield from reach(hand, lambda: still)
        yield from close(hand, pose)
        for _ in range(60):
            if knob.value >= self.to:
                break
            goal, frame = pose()
            ahead = Rotation.from_rotvec(0.5 * knob.axis).as_matrix() @ frame
            yield servo(goal - hand.position, hand.turn(ahead), 0.45, CLOSED)
        yield from let_go(hand, 0.08)


@dataclass(frozen=True)
class Push:
    """Push a drawer or door with closed fingers until its joint has the value `to` (m or rad)."""

    thing: str
    joint: str
    at: Vector  # where the grip site touches, in the frame of what moves
    to: float
    approach: Vector = (0.0, 0.0, -1.0)  # the way the hand points, in that frame
    axis: Vector = (1.0, 0.0, 0.0)  # of the fingers, in that frame
    standoff: float = 0.06

    def __call__(self, hand: Hand) -> Actions:
        """One attempt."""
        joint = Joint(hand, self.joint)
        sign = np.sign((joint.frame @ np.array(self.axis)) @ HOME) or 1.0

        def pose(ahead: float) -> tuple[np.ndarray, np.ndarray]:
            touch = joint.point(self.at)
            frame = pointing(sign * joint.frame @ np.array(self.axis), joint.frame @ np.array(self.approach))
            return touch + ahead * joint.motion(touch), frame

        yield from reach(hand, lambda: pose(-self.standoff), CLOSED)
        progress = _Progress(hand)
        there = 0
        while there < 5 and not progress.stuck():  # it would swing back at once
            there += joint.value >= self.to
            goal, frame = pose(0.04)
            yield servo(goal - hand.position, hand.turn(frame), 0.6, CLOSED)
        yield from move(hand, pose(-0.06)[0] - hand.position, CLOSED)
        yield from move(hand, np.array([0.0, 0.0, 0.10]), CLOSED)
