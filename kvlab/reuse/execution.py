"""How many actions of a chunk are executed before the next replan.

10              the first ten
settled(0.1)    those before the first whose predicted end point still moved by more than 0.1 (see `end_point_spread`),
                at least one

The second is DVAC's idea (2606.03847: the variance of the end points over the last denoising steps says how far ahead a
chunk can be trusted), with a fixed threshold in place of its rolling one.
"""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

GRAMMAR = "a whole number above 0, or settled(TAU) with TAU above 0"
LAST = 3  # denoising steps whose end points are compared


@dataclass(frozen=True)
class Execution:
    """`count` actions, or, where there is none, those whose end points spread by at most `tau`."""

    count: int | None = None
    tau: float | None = None

    def __str__(self) -> str:
        return f"settled({self.tau!r})" if self.count is None else str(self.count)

    def require_fits(self, chunk: int, denoising_steps: int) -> None:
        """ValueError where it takes more actions than a chunk has, or compares the end point of a single step."""
        if self.count is None and denoising_steps < 2:
            raise ValueError(f"execute={self} compares the end points of denoising steps, and 1 step has only one")
        if self.count is not None and self.count > chunk:
            raise ValueError(f"{self.count} actions are to be executed, but a chunk has {chunk} actions")

    def length(self, spreads: Float[np.ndarray, " left"]) -> int:
        """How many actions are executed of those left of a chunk, given the spread of each one's end points."""
        return min(len(spreads), max(1, self._settled(spreads)) if self.count is None else self.count)

    def covered(self, spreads: Float[np.ndarray, " left"]) -> bool:
        """Whether what is left of a chunk is enough to go on in it."""
        return self._settled(spreads) > 0 if self.count is None else len(spreads) >= self.count

    def _settled(self, spreads: Float[np.ndarray, " left"]) -> int:
        return int((spreads <= self.tau).cumprod().sum())


def parse_execution(text: str | int) -> Execution:
    """What `text` describes. Raises ValueError that says what would be right."""
    if match := re.fullmatch(r"\s*settled\(\s*(\d+(?:\.\d+)?(?:e-?\d+)?)\s*\)\s*", str(text)):
        if float(match[1]) > 0:
            return Execution(tau=float(match[1]))
    elif re.fullmatch(r"\s*0*[1-9]\d*\s*", str(text)):
        return Execution(int(text))
    raise ValueError(f"cannot read the number of executed actions {text!r}: it is {GRAMMAR}")


def end_point_spread(trail: Float[Tensor, "more chunk action"], actions: int) -> Float[np.ndarray, " chunk"]:
    """How far each action's predicted end point still moved within the last `LAST` denoising steps, normalised units.

    `trail`, in main memory, holds the noise and the chunk after each Euler step; only the first `actions` numbers of an
    action are read. At step k of K, at time t = 1 - k / K, the end point is x_k - t v, and v = K (x_k - x_(k+1)). The
    answer is the standard deviation over steps, root mean square over an action's numbers; NaN after a single step.
    """
    steps = len(trail) - 1
    if steps < 2:
        return np.full(trail.shape[1], np.nan)
    x = trail[..., :actions].double().numpy()
    remaining = np.arange(steps, 0, -1)[:, None, None]  # t K
    ends = x[:-1] - remaining * (x[:-1] - x[1:])
    return np.sqrt(ends[-LAST:].var(axis=0).mean(axis=-1))
