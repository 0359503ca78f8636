"""A state token that is computed when it is needed."""

import operator
from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

from kvlab.pi0.cache import KVCache, SegmentKV


class LateState(SegmentKV):
    """The state token's segment before its keys and values are computed: in the first denoising step, or when read."""

    valid, depth = None, 0

    def __init__(
        self,
        state: Float[Tensor, "1 state"],
        prefix: KVCache,
        positions: Int[Tensor, "1 1"],
        compute: Callable[["LateState"], tuple[Tensor, Tensor]],
    ):
        vars(self).update(state=state, prefix=prefix, depth=prefix.depth, made=None)  # past the frozen base
        vars(self).update(_positions=positions, _compute=compute)

    positions = property(lambda self: self._positions)
    keys = property(lambda self: self.settle()[0])
    values = property(lambda self: self.settle()[1])

    def is_missing_after(self, prefix: list[SegmentKV]) -> bool:
        """Whether its numbers are still to come, and are those that it has after these segments."""
        mine = list(self.prefix.segments.values())
        return self.made is None and len(mine) == len(prefix) and all(map(operator.is_, mine, prefix))

    def fill(self, both: tuple[Tensor, Tensor]) -> None:
        vars(self)["made"] = both

    def settle(self) -> tuple[Tensor, Tensor]:
        """Its keys and values, computed now if they were not."""
        if self.made is None:
            self.fill(self._compute(self))
        return self.made
