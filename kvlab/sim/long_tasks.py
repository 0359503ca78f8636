"""The ten tasks of `libero_10` as compositions of primitives, and the expert that performs them.

Where something is held or put is in metres in the frame of the thing or place that is named.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from kvlab.sim.env import LiberoEnv
from kvlab.sim.grips import Across, Grip, Handle, Rim
from kvlab.sim.hand import OPEN, SLEW, Hand, servo
from kvlab.sim.primitives import PickPlace, Push, Put, Twist

BOX = Across()
BOOK = Across(depth=0.018)
# From the right: from the front the palm would meet the drawers above.
BOWL = Rim(centre=(0.0, 0.0), radius=0.047, height=0.027, free=(255.0, 286.0))
WHITE_MUG = Rim(centre=(0.012, 0.0), radius=0.043, height=0.088, free=(-135.0, 136.0))
YELLOW_MUG = Rim(centre=(-0.0185, 0.0), radius=0.047, height=0.083, free=(45.0, 316.0))
YELLOW_MUG_HANDLE = Handle(point=(0.058, 0.0, 0.070), axis=(0.0, 1.0, 0.0))
MOKA_HANDLE = Handle(point=(0.0, 0.073, 0.043), axis=(1.0, 0.0, 0.0))

ON_PLATE = (0.0, 0.0, 0.020)
# Left of the drawer's middle (the region's z axis points right), where there is room for the fingers to open.
IN_DRAWER = Put("white_cabinet_1_bottom_region", at=(0.0, -0.015, -0.028), lift=0.10)
# Just behind the opening: further in, the hand would meet the top. The door does the rest.
IN_MICROWAVE = Put("microwave_1", at=(-0.040, -0.066, 0.035), lift=0.06, above=0.015)
# Leaning on the low wall in front. Upright, the book's origin is 4 mm below LIBERO's region for the compartment.
IN_CADDY = Put(
    "desk_caddy_1",
    at=(0.046, 0.0145, 0.018),
    lift=0.10,
    above=0.18,
    near=0.015,
    aligned=True,
    lean=(0.0, -0.30, 0.0),
    within=0.005,
)

KNOB = Twist("flat_stove_1", "flat_stove_1_button", at=(-0.005, 0.001, 0.035), axis=(0.0, 1.0, 0.0), to=0.9)
# The hand leans back, or its palm would meet the handle of the drawer above.
DRAWER = Push(
    "white_cabinet_1_bottom_region",
    "white_cabinet_1_bottom_level",
    at=(0.0, -0.125, 0.040),
    to=0.004,
    approach=(0.0, 0.64, -0.77),
)
DOOR = Push("microwave_1", "microwave_1_microjoint", at=(0.200, -0.045, 0.030), to=0.0)


def to_basket(thing: str, x: float, y: float) -> PickPlace:
    """Drop it from over the basket, the finger tips above the edge: lower, they drag the basket along as they open."""
    return PickPlace(thing, BOX, Put("basket_1", at=(x, y, 0.155), lift=0.12), cruise=0.20)


def to_plate(mug: str, rim: Grip, plate: str) -> PickPlace:
    """Stand a mug on a plate."""
    return PickPlace(mug, rim, Put(plate, at=ON_PLATE))


def to_stove(pot: str, x: float) -> PickPlace:
    """Stand a pot on the burner, `x` from its middle."""
    return PickPlace(pot, MOKA_HANDLE, Put("flat_stove_1_cook_region", at=(x, 0.0, 0.10)))


# By index of the task: what is done, in this order.
LONG_TASKS = (
    (to_basket("alphabet_soup_1", -0.027, -0.027), to_basket("tomato_sauce_1", 0.027, 0.027)),
    (to_basket("cream_cheese_1", 0.0, -0.030), to_basket("butter_1", 0.0, 0.030)),
    (KNOB, to_stove("moka_pot_1", 0.0)),
    (PickPlace("akita_black_bowl_1", BOWL, IN_DRAWER), DRAWER),
    (to_plate("porcelain_mug_1", WHITE_MUG, "plate_1"), to_plate("white_yellow_mug_1", YELLOW_MUG, "plate_2")),
    (PickPlace("black_book_1", BOOK, IN_CADDY),),
    (  # the mug last: on the plate it would be in the palm's way
        PickPlace("chocolate_pudding_1", BOX, Put("living_room_table_plate_right_region", at=(0.0, 0.025, 0.045))),
        to_plate("porcelain_mug_1", WHITE_MUG, "plate_1"),
    ),
    (to_basket("alphabet_soup_1", -0.027, -0.027), to_basket("cream_cheese_1", 0.027, 0.027)),
    (to_stove("moka_pot_2", 0.047), to_stove("moka_pot_1", -0.047)),
    (PickPlace("white_yellow_mug_1", YELLOW_MUG_HANDLE, IN_MICROWAVE), DOOR),
)


class LongExpert:
    """Performs a task's primitives, always the first whose goal does not hold. One instance is one attempt."""

    def __init__(self, env: LiberoEnv):
        """`env` with an open or empty hand; ValueError for a suite other than `libero_10`."""
        if env.task.suite != "libero_10":
            raise ValueError(f"LongExpert knows the tasks of libero_10, not those of {env.task.suite}.")
        self.done = False  # every goal holds and the hand has withdrawn
        self._env, self._last = env, np.zeros(6)
        self._actions = self._perform(Hand(env))

    def act(self) -> Float[np.ndarray, "7"]:
        """The action for the present state, each component in [-1, 1]."""
        action = next(self._actions, None)
        if action is None:
            self.done, action = True, servo(np.zeros(3), np.zeros(3), 0.0, OPEN)
        action[:6] = np.clip(action[:6], self._last - SLEW, self._last + SLEW)
        self._last = action[:6].copy()
        return action

    def _perform(self, hand: Hand) -> Iterator[Float[np.ndarray, "7"]]:
        libero = self._env.libero
        goals = {goal[1]: goal for goal in libero.parsed_problem["goal_state"]}
        while True:
            undone = [one for one in LONG_TASKS[self._env.task.index] if not libero._eval_predicate(goals[one.thing])]
            if not undone:
                return
            yield from undone[0](hand)
