"""The keys and values that the expert attends to, in one place: of the chunk, the state token and the prefix."""

from collections.abc import Sequence

from torch import Tensor

from kvlab.pi0.cache import SegmentKV
from kvlab.pi0.config import Pi0Config
from kvlab.pi0.engine.late import LateState
from kvlab.pi0.engine.sizes import View


class Buffers:
    """Fixed memory in which streams leave their keys and values beside those that they attend to.

    `chunk`, `state` and `prefix` are views that begin with the tokens of that stream, all that it sees behind them.
    What is held already is not copied again: segments are values, so the same object is the same content.
    """

    def __init__(self, config: Pi0Config, like: Tensor):
        c = config.prefix
        first = config.chunk + (not config.pi05)
        self.most = len(config.cameras) * config.image_tokens + config.max_tokens
        both = like.new_zeros(2, c.depth, first + self.most, c.head_dim)
        self.chunk: View = tuple(both)
        self.state: View = tuple(both[:, :, config.chunk :])
        self.prefix: View = tuple(both[:, :, first:])
        self._prefix_held: list[SegmentKV] = []
        self._state_held: SegmentKV | None = None

    def load(self, prefix: Sequence[SegmentKV], state: SegmentKV | None = None, first: int = 0) -> int:
        """Put these segments in place, the prefix from its token `first` on; returns how many tokens they are.

        ValueError where there are more than the model's config foresees.
        """
        if isinstance(state, LateState):
            state.settle()  # which may load another prefix
        if first or not _same(prefix, self._prefix_held):
            _copy(prefix, self.prefix, first, self.most)
            self._prefix_held = [] if first else list(prefix)
        if state is not None and state is not self._state_held:
            _copy([state], self.state, 0, 1)
            self._state_held = state
        return sum(s.keys.shape[3] for s in prefix) + (state is not None)

    def hold(self, prefix: Sequence[SegmentKV] | None = None, state: SegmentKV | None = None) -> None:
        """Note what streams have left here: these segments of the prefix, or this state token."""
        if prefix is not None:
            self._prefix_held = list(prefix)
        if state is not None:
            self._state_held = state


def own(view: View, rows: int, depth: int | None = None) -> tuple[Tensor, Tensor]:
    """Copies of the first `rows` tokens' keys and values, each (layers, 1, 1, rows, dim) as a segment has them."""
    keys, values = (x[:depth, None, None, :rows].clone() for x in view)
    return keys, values


def _copy(segments: Sequence[SegmentKV], view: View, first: int, most: int) -> None:
    for segment in segments:
        last = first + segment.keys.shape[3]
        if last > most:
            raise ValueError(f"{last} tokens are more than the {most} that the model's config foresees")
        view[0][:, first:last] = segment.keys[:, 0, 0]
        view[1][:, first:last] = segment.values[:, 0, 0]
        first = last


def _same(a: Sequence[SegmentKV], b: Sequence[SegmentKV]) -> bool:
    return sorted(map(id, a)) == sorted(map(id, b))
