"""A prefill in which single tokens stop being computed at a layer of their own, and what attends to what meanwhile."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kvlab.pi0.cache import KVCache, SegmentKV
from kvlab.pi0.layers import rope
from kvlab.pi0.model import Embeds, Pi0, token_positions


@dataclass(frozen=True)
class Attention:
    """What one prefill attended to: by layer, the mean entropy of its tokens; at one layer, the weights themselves."""

    entropy: Float[
        Tensor, " layers"
    ]  # nats, mean over the tokens that were computed there, weights averaged over heads
    weights: Float[Tensor, "tokens all"]  # of the language, at the middle layer, averaged over heads


def prefill_tokens(
    model: Pi0, fresh: Embeds, old: KVCache | None = None, keep_from: Int[Tensor, " tokens"] | None = None
) -> tuple[KVCache, Attention]:
    """Keys and values of one observation's prefix, without padding, and what was attended to.

    Token i is computed in the layers below `keep_from[i]`, as all are by default; from that layer on it asks nothing,
    and its keys and values are those of `old`. Language comes last, and is computed in all layers.
    """
    names = [name for name in model.order if name in fresh]
    positions = token_positions({name: fresh[name] for name in names})
    x = torch.cat([fresh[name][0] for name in names], dim=1)
    depth, place, words = (
        len(model.prefix),
        torch.cat(list(positions.values()), dim=1),
        x.shape[1] - fresh[names[-1]][0].shape[1],
    )
    keep_from = x.new_full(x.shape[1:2], depth, dtype=torch.long) if keep_from is None else keep_from
    then = None if old is None else old.prefix.take(names).stacked()
    live, found, entropy = torch.arange(x.shape[1], device=x.device), [], []
    for i, layer in enumerate(model.prefix):
        x, live = x[:, keep_from[live] > i], live[keep_from[live] > i]
        gone = torch.nonzero(keep_from <= i)[:, 0]
        by = rope(place[:, live], model.config.prefix.head_dim, x.dtype)
        past = None if not len(gone) else tuple(side[i][:, :, gone] for side in then[:2])
        asked = layer.queries(x, by)
        if i < depth - 1:
            x, *own = layer(x, by, past)
        else:
            own = layer.keys_values(x, by)
        found.append(own if past is None else [_placed(a, live, b, gone) for a, b in zip(own, past, strict=True)])
        weights = layer.weights(asked, found[-1][0])
        entropy.append(-(weights * weights.clamp_min(torch.finfo(weights.dtype).tiny).log()).sum(-1).mean())
        if i == depth // 2:
            middle = weights[live >= words]
    keys, values = (torch.stack(side) for side in zip(*found, strict=True))
    sizes = [positions[name].shape[1] for name in names]
    parts = zip(names, keys.split(sizes, 3), values.split(sizes, 3), strict=True)
    made = KVCache({n: SegmentKV(k, v, None, positions[n]) for n, k, v in parts})
    return made, Attention(torch.stack(entropy), middle)


def _placed(own: Tensor, live: Tensor, kept: Tensor, gone: Tensor) -> Tensor:
    """Both sets of tokens' keys or values, each at its place."""
    return torch.cat([own, kept], dim=2)[:, :, torch.cat([live, gone]).argsort()]
