"""The KV cache of one inference as a value: keys and values addressed by segment and layer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

STATE = "state"
LANGUAGE = "language"


@dataclass(frozen=True)
class SegmentKV:
    """Keys (after the rotary embedding) and values of one segment, stacked over layers.

    `valid` marks real tokens, None where all are; `positions` are those used by the rotary embedding (padding repeats
    its neighbour's).
    """

    keys: Float[Tensor, "layers batch kv tokens dim"]
    values: Float[Tensor, "layers batch kv tokens dim"]
    valid: Bool[Tensor, "batch tokens"] | None
    positions: Int[Tensor, "batch tokens"]

    @property
    def depth(self) -> int:
        return self.keys.shape[0]


@dataclass(frozen=True)
class KVCache:
    """Segments in the order in which they stand in the sequence: cameras, language, then the state token.

    A value: every operation returns a new cache and leaves the tensors of the old one untouched.
    """

    segments: Mapping[str, SegmentKV]

    def __post_init__(self) -> None:
        depths = {s.depth for s in self.segments.values()}
        if len(depths) > 1:
            raise ValueError(f"segments of one cache must have the same number of layers, got {sorted(depths)}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.segments)

    @property
    def depth(self) -> int:
        return next(iter(self.segments.values())).depth

    @property
    def prefix(self) -> "KVCache":
        """The cache without the state token."""
        return KVCache({n: s for n, s in self.segments.items() if n != STATE})

    def take(self, names: Iterable[str]) -> "KVCache":
        """Only these segments, in the cache's own order. Raises KeyError that names a segment which is not there."""
        names = set(names)
        if unknown := sorted(names - self.segments.keys()):
            raise KeyError(f"no segment {unknown} in this cache; it has {list(self.segments)}")
        return KVCache({n: s for n, s in self.segments.items() if n in names})

    def join(self, other: "KVCache", order: Iterable[str]) -> "KVCache":
        """Both caches' segments (those of `other` win), in the given order."""
        both = {**self.segments, **other.segments}
        return KVCache({n: both[n] for n in order if n in both})

    def splice(self, old: "KVCache", names: Iterable[str], layers: slice = slice(None)) -> "KVCache":
        """This cache with the keys and values of `names` in `layers` overwritten by those of `old`.

        Raises ValueError where a segment of `old` has another number of tokens or stands at other positions.
        """
        replaced = dict(self.segments)
        for name in old.take(names).names:
            new, kept = replaced[name], old.segments[name]
            _require_same_tokens(name, new, kept)
            keys, values = new.keys.clone(), new.values.clone()
            keys[layers], values[layers] = kept.keys[layers], kept.values[layers]
            replaced[name] = SegmentKV(keys, values, new.valid, new.positions)
        return KVCache(replaced)

    def mix(self, old: "KVCache", keep_from: Int[Tensor, " tokens"]) -> "KVCache":
        """This cache with token i's keys and values from layer `keep_from[i]` on those of `old`.

        Tokens are counted through all segments. Raises ValueError where a segment of `old` has another number of tokens
        or stands at other positions.
        """
        mixed, layers = {}, torch.arange(self.depth, device=keep_from.device)[:, None]
        sizes = [segment.positions.shape[1] for segment in self.segments.values()]
        for (name, new), starts in zip(self.segments.items(), keep_from.split(sizes), strict=True):
            kept = old.segments[name]
            _require_same_tokens(name, new, kept)
            is_old = (layers >= starts)[:, None, None, :, None]
            keys, values = torch.where(is_old, kept.keys, new.keys), torch.where(is_old, kept.values, new.values)
            mixed[name] = SegmentKV(keys, values, new.valid, new.positions)
        return KVCache(mixed)

    def extend(self, old: "KVCache") -> "KVCache":
        """This cache of the lower layers with the layers above them taken from `old`, segment by segment.

        Raises ValueError where a segment of `old` has another number of tokens or stands at other positions.
        """
        deeper = {}
        for name, low in self.segments.items():
            high = old.segments[name]
            _require_same_tokens(name, low, high)
            keys = torch.cat([low.keys, high.keys[self.depth :]])
            values = torch.cat([low.values, high.values[self.depth :]])
            deeper[name] = SegmentKV(keys, values, low.valid, low.positions)
        return KVCache(deeper)

    def repeat(self, batch: int) -> "KVCache":
        """This cache of one moment for a batch of that size."""
        return KVCache(
            {
                n: SegmentKV(
                    s.keys.expand(-1, batch, -1, -1, -1),
                    s.values.expand(-1, batch, -1, -1, -1),
                    None if s.valid is None else s.valid.expand(batch, -1),
                    s.positions.expand(batch, -1),
                )
                for n, s in self.segments.items()
            }
        )

    def stacked(self) -> tuple[Tensor, Tensor, Bool[Tensor, "batch tokens"] | None]:
        """All segments along the token axis: keys and values (layers, batch, kv, tokens, dim), and the valid mask."""
        parts = self.segments.values()
        return (
            torch.cat([s.keys for s in parts], dim=3),
            torch.cat([s.values for s in parts], dim=3),
            valid_tokens((s.positions, s.valid) for s in parts),
        )


def valid_tokens(
    parts: Iterable[tuple[Shaped[Tensor, "batch tokens *rest"], Bool[Tensor, "batch tokens"] | None]],
) -> Bool[Tensor, "batch tokens"] | None:
    """Which tokens of all these parts are no padding; None where no part says that it has any.

    Who makes the tokens says so, because to look at a mask is to wait for the GPU that holds it.
    """
    parts = list(parts)
    if all(valid is None for _, valid in parts):
        return None
    every = [torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if v is None else v for x, v in parts]
    return torch.cat(every, dim=1)


def _require_same_tokens(name: str, new: SegmentKV, kept: SegmentKV) -> None:
    if not torch.equal(new.positions, kept.positions):  # False where shapes differ
        raise ValueError(f"segment {name!r} cannot be reused: its tokens moved or changed in number")
