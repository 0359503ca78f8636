"""Similarity signals between two moments: what a gate may look at."""

import math
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

THUMBNAIL = 16  # pixels along one side


def cosine(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> float:
    """Cosine of the angle between two tensors in float64, in [-1, 1]: exactly 1 for equal ones, 0 where one is zero."""
    a, b = a.flatten().double(), b.flatten().double()
    aa, bb, ab = torch.stack([(x * y).sum() for x, y in ((a, a), (b, b), (a, b))]).tolist()  # a GPU is waited for once
    lengths = math.sqrt(aa * bb)  # one root of the product: without rounding where a equals b
    return min(max(ab / lengths, -1.0), 1.0) if lengths > 0 else 0.0


def thumbnails(images: Float[Tensor, "cameras 3 size size"]) -> Float[Tensor, "cameras 3 small small"]:
    """Frames in [-1, 1] averaged down to 16 x 16: cheap enough to compare at every replan, in main memory."""
    return F.adaptive_avg_pool2d(images, THUMBNAIL).cpu()


def distance(now: Float[Tensor, "1 state"], anchor: Float[Tensor, "1 state"] | None) -> float:
    """Euclidean distance of two normalised states, NaN without a second one.

    LeRobot's server of actions starts no inference while the robot's state is within 1 (in the units of its joints) of
    the last one that it computed for and actions are left (`src/lerobot/async_inference/helpers.py`,
    `observations_similar`).
    """
    return float("nan") if anchor is None else math.sqrt((now - anchor).double().square().sum().item())


def similarities(
    names: Iterable[str], now: Mapping[str, Tensor], anchor: Mapping[str, Tensor] | None, previous: Mapping | None
) -> dict[str, float]:
    """The named similarities, such as `state_anchor`: cosines of `now` with an earlier moment; NaN without one."""
    moments = {"anchor": anchor, "previous": previous}
    values = {}
    for name in names:
        signal, reference = name.split("_")
        then = moments[reference]
        both = then is not None and signal in now and signal in then
        values[name] = cosine(now[signal], then[signal]) if both else float("nan")
    return values
