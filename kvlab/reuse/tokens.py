"""Reuse by image token: which ones keep what was computed for them earlier, and from which layer on.

The rule is VLA-Cache's (2502.02175; its code, github.com/siyuhsu/vla-cache), its counts taken as shares of a camera's
tokens: a token is static where its patch looks as before (cosine of raw pixels at least 0.996, at most the 130 of 256
most alike), and what is static is reused unless it is among the 120 of 256 that the language attends to most at the
middle layer. In its schedule tokens drop out at four layers, in raster order, more of them where the attention of the
replan before was sharper. Here other tokens see the kept ones' old keys and values in both directions, and what a
token's patch is compared with is either the frame its keys and values come from, or (`@previous`, as published) that of
the replan before, by which a token may grow old without notice.

The controls reuse as many tokens as that rule would: `random` ones, the first in `raster` order, the most `static`
ones whatever attends to them, and the static ones which are attended to most (`inverse`).

`fuse` is TTF-VLA's way (2508.19257; github.com/PKU-XLab/TTF-VLA) instead: old image tokens stand in for fresh ones
before the first layer, where the patch changed by at most 0.03 of the range of grey and is not among the 70 of 256 most
attended to; everything after the image encoder is computed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kvlab.pi0 import KVCache, Pi0
from kvlab.pi0.cache import LANGUAGE
from kvlab.pi0.model import Embeds
from kvlab.pi0.tokens import Attention, prefill_tokens

RULES = ("random", "raster", "static", "inverse")
WAYS = ("splice", "skip", "fuse")
ALIKE, MOST_STATIC, PROTECTED = 0.996, 130 / 256, 120 / 256
LAYERS, SLOWER = (2, 6, 9, 11), 0.55  # of 32 layers, where tokens drop out; how much of a rise of sharpness counts
GREY_CHANGE, FUSION_PROTECTED = 0.03, 70 / 256
GREY = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class Selection:
    """Which tokens are reused and how, one of WAYS. `rule` is one of RULES, or empty for VLA-Cache's or TTF-VLA's.

    `start` is the layer from which all are kept, in place of a schedule.
    """

    way: str
    rule: str = ""
    previous: bool = False
    start: int | None = None


def parse_selection(text: str) -> Selection:
    """`tokens:skip`, `tokens@previous:skip`, `tokens(random)[2:]:splice`, `tokens:fuse`. ValueError: anything else."""
    match = re.fullmatch(r"\s*tokens(?:\((\w+)\))?(@previous)?(?:\[(\d+):\])?:(\w+)\s*", text)
    rule, previous, start, way = match.groups() if match else (None, None, None, None)
    if way not in WAYS or rule not in (None, *RULES) or (way == "fuse" and (rule or start)):
        raise ValueError(
            f"cannot read {text!r}: write tokens:HOW with splice, skip or fuse, and before the colon, except for fuse, "
            f"({'), ('.join(RULES)}) for another rule; @previous; [k:] for all layers from k on; in this order"
        )
    return Selection(way, rule or "", bool(previous), start and int(start))


class Tokens:
    """The image tokens of an episode: what was computed for them, from which frames, and what attended to them."""

    def __init__(self, model: Pi0, selection: Selection):
        self._model, self._selection, self._way = model, selection, selection.way
        self._cache: KVCache | None = None
        self._embeds: Float[Tensor, "tokens width"] | None = None  # that `fuse` stands in with
        self._patches: Float[Tensor, "tokens numbers"] | None = None  # what a token's patch is compared with
        self._attention: Attention | None = None

    def prefill(
        self, fresh: Embeds, images: Float[Tensor, "cameras 3 size size"], reuse: bool, rng: np.random.Generator
    ) -> tuple[KVCache, int]:
        """The prefix, and how many image tokens of it were reused. Where nothing is to be reused, all are computed."""
        depth, patches = self._model.config.prefix.depth, _patches(images, self._model.config.token_stride)
        chosen = self._chosen(patches, rng) if reuse else []
        keep_from = self._schedule(chosen, sum(x.shape[1] for x, _ in fresh.values()), depth)
        kept = keep_from[: len(patches)] < depth
        if self._way == "fuse":
            fresh = self._fused(fresh, kept)
            prefix, self._attention = prefill_tokens(self._model, fresh)
        elif self._way == "splice":
            prefix, self._attention = prefill_tokens(self._model, fresh)
            prefix = prefix.mix(self._cache, keep_from) if kept.any() else prefix
        else:
            prefix, self._attention = prefill_tokens(self._model, fresh, self._cache, keep_from)
        stay = kept if self._patches is not None and not self._selection.previous else torch.zeros_like(kept)
        self._patches = patches if self._patches is None else torch.where(stay[:, None], self._patches, patches)
        self._cache = prefix
        return prefix, int(kept.sum())

    def _chosen(self, patches: Float[Tensor, "tokens numbers"], rng: np.random.Generator) -> list[int]:
        """The tokens to reuse, in the order in which they drop out."""
        cameras = len(self._model.config.cameras)
        relevance = self._attention.weights[:, : len(patches)].mean(0)
        chosen, of_a_camera = [], len(patches) // cameras
        parts = zip(patches.chunk(cameras), self._patches.chunk(cameras), relevance.chunk(cameras), strict=True)
        for camera, part in enumerate(parts):
            each = _fusable(*part) if self._way == "fuse" else _reusable(*part, self._selection.rule, rng)
            chosen += [camera * of_a_camera + int(token) for token in each]
        return list(rng.permutation(chosen)) if self._selection.rule == "random" else chosen

    def _schedule(self, chosen: list[int], tokens: int, depth: int) -> Int[Tensor, " tokens"]:
        """The layer from which each token of the prefix is kept; `depth` where it is computed in all."""
        keep_from = torch.full((tokens,), depth)
        if self._way == "fuse" or self._selection.start is not None:
            keep_from[chosen] = self._selection.start or 0
            return keep_from.to(self._model.action_out.weight.device)
        dropped = 0
        for layer, share in sharpness(self._attention.entropy, depth) if chosen else ():
            if (many := max(1, int(share * len(chosen)))) > dropped:
                keep_from[chosen[dropped:many]], dropped = layer, many
        return keep_from.to(self._model.action_out.weight.device)

    def _fused(self, fresh: Embeds, kept: Bool[Tensor, " tokens"]) -> Embeds:
        cameras = self._model.config.cameras
        now = torch.cat([fresh[name][0][0] for name in cameras])
        self._embeds = now if self._embeds is None else torch.where(kept[:, None], self._embeds, now)
        parts = zip(cameras, self._embeds.chunk(len(cameras)), strict=True)
        return {name: (part[None], fresh[name][1]) for name, part in parts} | {LANGUAGE: fresh[LANGUAGE]}


def drop_layers(depth: int) -> list[int]:
    """VLA-Cache's layers of 32 at which tokens drop out, in a prefix of `depth` layers; never the first."""
    return sorted({max(1, round(layer * depth / 32)) for layer in LAYERS})


def sharpness(entropy: Float[Tensor, " layers"], depth: int) -> list[tuple[int, float]]:
    """At each layer where tokens drop out, the share of those chosen: 1 where attention is sharpest, 0 where widest."""
    low, high = entropy.min(), entropy.max()
    shares = (1 - (entropy - low) / (high - low)).nan_to_num(1.0).tolist()
    for layer in range(1, depth):
        if (rise := shares[layer] - shares[layer - 1]) > 0:
            shares[layer] = shares[layer - 1] + SLOWER * rise
    return [(layer, shares[layer]) for layer in drop_layers(depth)]


def _reusable(
    now: Tensor, then: Tensor, relevance: Float[Tensor, " tokens"], rule: str, rng: np.random.Generator
) -> Iterable[int]:
    """Of one camera: the tokens that VLA-Cache reuses, or as many by another rule."""
    alike = F.cosine_similarity(now, then, dim=1)
    order = alike.argsort(descending=True, stable=True).tolist()
    static = [token for token in order if alike[token] >= ALIKE][: int(MOST_STATIC * len(now))]
    attended = relevance.argsort(descending=True, stable=True).tolist()
    protected = {*attended[: int(PROTECTED * len(now))]}
    usual = sorted(token for token in static if token not in protected)
    many = len(usual)
    if rule == "random":
        return rng.permutation(len(now))[:many]
    if rule == "raster":
        return range(many)
    if rule == "static":
        return sorted(static[:many])
    if rule == "inverse":
        return sorted([token for token in attended if token in {*static}][:many])
    return usual


def _fusable(now: Tensor, then: Tensor, relevance: Float[Tensor, " tokens"]) -> Iterable[int]:
    """Of one camera: the tokens for which TTF-VLA lets old ones stand in."""
    weights = now.new_tensor(GREY)[:, None]
    grey = [(patch.unflatten(1, (3, -1)) * weights).sum(1) / 255 for patch in (now, then)]
    unchanged = (grey[0] - grey[1]).abs().mean(1) <= GREY_CHANGE
    protected = {*relevance.argsort(descending=True, stable=True)[: int(FUSION_PROTECTED * len(now))].tolist()}
    return [token for token in range(len(now)) if unchanged[token] and token not in protected]


def _patches(images: Float[Tensor, "cameras 3 size size"], side: int) -> Float[Tensor, "tokens numbers"]:
    """The raw pixels (0 to 255, float64) below each image token: red, green, then blue ones."""
    raw = (images.double() + 1) * 127.5
    return F.unfold(raw, side, stride=side).transpose(1, 2).flatten(0, 1)
