"""A KV cache is a value, addressed by segment and layer."""

from itertools import chain

import pytest
import torch

from kvlab.pi0 import KVCache
from kvlab.pi0.cache import SegmentKV

SIZES = {"agentview": 4, "wrist": 4, "language": 3, "state": 1}


def cache(seed: int, depth: int = 3, sizes: dict[str, int] = SIZES) -> KVCache:
    """Random keys and values, all tokens valid, positions running on over the segments."""
    random = torch.Generator().manual_seed(seed)
    segments, start = {}, 0
    for name, tokens in sizes.items():
        keys, values = torch.randn(2, depth, 1, 2, tokens, 8, generator=random)
        valid = torch.ones(1, tokens, dtype=torch.bool)
        segments[name] = SegmentKV(keys, values, valid, torch.arange(start, start + tokens)[None])
        start += tokens
    return KVCache(segments)


def tensors(*caches: KVCache) -> list[torch.Tensor]:
    segments = chain.from_iterable(c.segments.values() for c in caches)
    return [t for s in segments for t in (s.keys, s.values, s.valid, s.positions)]


def same(a: SegmentKV, b: SegmentKV, layers: slice = slice(None)) -> bool:
    return torch.equal(a.keys[layers], b.keys[layers]) and torch.equal(a.values[layers], b.values[layers])


def test_what_a_cache_says_of_itself():
    one = cache(0)
    assert one.names == ("agentview", "wrist", "language", "state")
    assert one.depth == 3
    assert one.prefix.names == ("agentview", "wrist", "language")


def test_take_keeps_the_order_of_the_cache():
    one = cache(0)
    some = one.take(["language", "agentview"])
    assert some.names == ("agentview", "language")
    assert all(same(some.segments[n], one.segments[n]) for n in some.names)
    assert one.names == tuple(SIZES)


def test_a_segment_that_is_not_there_is_named():
    with pytest.raises(KeyError, match=r"no segment \['depth_camera'\] in this cache; it has \['agentview'"):
        cache(0).take(["agentview", "depth_camera"])


def test_join_prefers_the_other_and_keeps_the_order():
    one, other = cache(0), cache(1).take(["wrist", "state"])
    joined = one.prefix.join(other, tuple(SIZES))
    assert joined.names == tuple(SIZES)
    origin = {"agentview": one, "wrist": other, "language": one, "state": other}
    assert all(same(joined.segments[n], origin[n].segments[n]) for n in SIZES)
    assert other.join(one.prefix, tuple(SIZES)).names == tuple(SIZES)
    assert one.names == tuple(SIZES) and other.names == ("wrist", "state")


@pytest.mark.parametrize("layers", [slice(None), slice(0, 1), slice(2, 3)])
def test_splice_overwrites_these_segments_in_these_layers_alone(layers):
    new, old = cache(0), cache(1)
    before = [t.clone() for t in tensors(new, old)]
    spliced = new.splice(old, ["wrist", "state"], layers)
    kept = [i for i in range(3) if i not in range(3)[layers]]
    for name in ("wrist", "state"):
        assert same(spliced.segments[name], old.segments[name], layers)
        assert same(spliced.segments[name], new.segments[name], kept)
    for name in ("agentview", "language"):
        assert same(spliced.segments[name], new.segments[name])
    assert all(torch.equal(a, b) for a, b in zip(tensors(new, old), before, strict=True))


def test_extend_puts_old_layers_on_top_of_new_ones():
    low, old = cache(0, depth=1).prefix, cache(1)
    before = [t.clone() for t in tensors(low, old)]
    whole = low.extend(old)
    assert whole.names == low.names and whole.depth == 3
    for name in low.names:
        assert same(whole.segments[name], low.segments[name], slice(0, 1))
        assert torch.equal(whole.segments[name].keys[1:], old.segments[name].keys[1:])
        assert torch.equal(whole.segments[name].values[1:], old.segments[name].values[1:])
    assert all(torch.equal(a, b) for a, b in zip(tensors(low, old), before, strict=True))


MOVED = [SIZES | {"agentview": 5}, SIZES | {"wrist": 5}]


@pytest.mark.parametrize("sizes", MOVED, ids=["at other positions", "of other length"])
def test_tokens_that_moved_cannot_be_reused(sizes):
    new, old = cache(0), cache(1, sizes=sizes)
    with pytest.raises(ValueError, match="segment 'wrist' cannot be reused: its tokens moved or changed in number"):
        new.splice(old, ["wrist"])
    with pytest.raises(ValueError, match="segment 'wrist' cannot be reused: its tokens moved or changed in number"):
        cache(0, depth=1).take(["wrist"]).extend(old)


def test_segments_of_one_cache_have_the_same_depth():
    with pytest.raises(ValueError, match=r"same number of layers, got \[1, 3\]"):
        cache(0).join(cache(1, depth=1).take(["state"]), tuple(SIZES))


def test_stacked_runs_along_the_tokens():
    one = cache(0)
    one.segments["language"].valid[0, 2] = False
    keys, values, valid = one.stacked()
    assert keys.shape == values.shape == (3, 1, 2, 12, 8)
    assert torch.equal(keys[:, :, :, 8:11], one.segments["language"].keys)
    assert torch.equal(values[:, :, :, 11:], one.segments["state"].values)
    assert (~valid).nonzero().tolist() == [[0, 10]]
