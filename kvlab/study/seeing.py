"""What a policy is shown in place of the present moment: whether it looks at all, and late inputs without any cache.

live              what is there
masked            no frames: the image tokens are left out of attention
black             black frames
frozen            the frames of the episode's first replan
shuffled          the frames that the control saw at the same replan of the next task, from the same initial state
late(vision, 3)   the frames of three replans ago (the first ones before that); late(state, 3), late(all, 3) likewise
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # a policy is timed where there is no simulator, too
    from kvlab.sim.env import Observation

PLAIN = ("live", "masked", "black", "frozen", "shuffled")
GRAMMAR = (
    "`live`, `masked`, `black`, `frozen`, `shuffled`, or `late(vision, k)`, `late(state, k)`, `late(all, k)` with k "
    "above 0"
)


def parse_seeing(text: str) -> str:
    """What is shown, in canonical spacing. Raises ValueError that names what there is."""
    if text in PLAIN:
        return text
    if (late := _late(text)) is None:
        raise ValueError(f"a policy cannot be shown {text!r}: there is {GRAMMAR}")
    return "late({}, {})".format(*late)


def _late(text: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"\s*late\(\s*(vision|state|all)\s*,\s*([1-9]\d*)\s*\)\s*", text)
    return match and (match[1], int(match[2]))


def shown(seeing: str, past: Sequence["Observation"], other: Sequence["Observation"] = ()) -> "Observation":
    """What the policy is shown now. `past`: what was there at each replan, the last is now; `other`: for `shuffled`.

    Once `other` has ended, its last frames stay.
    """
    now = past[-1]
    if seeing == "masked":
        return replace(now, images=None)
    if seeing == "black":
        return replace(now, images={name: np.zeros_like(frame) for name, frame in now.images.items()})
    if seeing == "frozen":
        return replace(now, images=past[0].images)
    if seeing == "shuffled":
        return replace(now, images=other[min(len(past), len(other)) - 1].images)
    if late := _late(seeing):
        what, lag = late
        then = past[max(0, len(past) - 1 - lag)]
        return replace(
            now,
            images=now.images if what == "state" else then.images,
            state=now.state if what == "vision" else then.state,
        )
    return now
