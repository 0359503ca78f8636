"""Pi0 (Black et al., 2410.24164; openpi `src/openpi/models/pi0.py`): a vision-language prefix and an action expert.

The prefix (one segment per camera, then language) attends to itself in both directions. The suffix is one state token,
which sees the prefix and itself, and a chunk of noisy actions, which see everything. No token sees a later block, so
each block is computed from the KV cache of the ones before it; the only masks left are those of padding.

Pi0.5 (2504.16054) is the same model without the state token; its denoising time is not mixed into the actions but
modulates the expert's norms.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from kvlab.pi0.cache import LANGUAGE, STATE, KVCache, SegmentKV, valid_tokens
from kvlab.pi0.config import Pi0Config
from kvlab.pi0.layers import AdaptiveRMSNorm, GemmaLayer, RMSNorm, Rope, Siglip, rope

# By segment: tokens, and which of them are no padding; None where none is, which is faster.
Embeds = Mapping[str, tuple[Float[Tensor, "batch tokens width"], Bool[Tensor, "batch tokens"] | None]]
Stacked = tuple[Tensor, Tensor, Bool[Tensor, "batch tokens"] | None]  # what KVCache.stacked() returns


class Pi0(nn.Module):
    """The model. Inputs are normalised; see `kvlab.pi0.policy.Policy` for raw observations."""

    def __init__(self, config: Pi0Config):
        super().__init__()
        self.config = c = config
        self.vision = Siglip(c.vision, c.image_tokens, c.prefix.width)
        self.embedding = nn.Embedding(c.vocab_size, c.prefix.width)
        self.prefix = nn.ModuleList(GemmaLayer(c.prefix) for _ in range(c.prefix.depth))
        width = c.expert.width
        self.expert = nn.ModuleList(GemmaLayer(c.expert, adaptive=c.pi05) for _ in range(c.expert.depth))
        self.expert_norm = AdaptiveRMSNorm(width, width) if c.pi05 else RMSNorm(width)
        if not c.pi05:
            self.state_in = nn.Linear(c.state_dim, width)
        self.action_in = nn.Linear(c.action_dim, width)
        self.time_in = nn.Linear(width if c.pi05 else 2 * width, width)
        self.time_out = nn.Linear(width, width)
        self.action_out = nn.Linear(width, c.action_dim)
        nn.init.normal_(self.embedding.weight, std=c.prefix.width**-0.5)

    @property
    def order(self) -> tuple[str, ...]:
        """Segments in the order of the sequence."""
        return (*self.config.cameras, LANGUAGE, *(() if self.config.pi05 else (STATE,)))

    def embed_images(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n tokens width"]:
        """SigLIP tokens of images in [-1, 1], in the prefix's width."""
        return self.vision(images)

    def embed_language(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens width"]:
        return self.embedding(tokens) * math.sqrt(self.config.prefix.width)

    def prefill(self, fresh: Embeds, kept: KVCache | None = None, depth: int | None = None) -> KVCache:
        """Keys and values of the `fresh` prefix segments, which attend to each other and to the `kept` ones.

        Returns the prefix cache of both together. `depth` stops after so many layers (all by default); then nothing
        may be kept. Raises ValueError where a kept segment would stand at another position than before.
        """
        kept = KVCache({}) if kept is None else kept.prefix
        names = [n for n in self.order if n in fresh or n in kept.segments]
        old = {n: (s.positions, s.valid) for n, s in kept.segments.items()}
        positions = token_positions({n: fresh[n] if n in fresh else old[n] for n in names})
        for n in kept.names:
            if not torch.equal(positions[n], kept.segments[n].positions):
                raise ValueError(f"segment {n!r} cannot be kept: it would move to other positions")
        new = [n for n in names if n in fresh]
        x = torch.cat([fresh[n][0] for n in new], dim=1)
        past = kept.stacked() if kept.segments else None
        mask = _padding_mask(valid_tokens([*old.values(), *(fresh[n] for n in new)]))
        by = rope(torch.cat([positions[n] for n in new], dim=1), self.config.prefix.head_dim, x.dtype)
        keys, values = _keys_values(self.prefix[:depth], x, by, past, mask)
        sizes = [positions[n].shape[1] for n in new]
        parts = zip(new, keys.split(sizes, 3), values.split(sizes, 3), strict=True)
        return KVCache({n: SegmentKV(k, v, fresh[n][1], positions[n]) for n, k, v in parts}).join(kept, self.order)

    def encode_state(self, state: Float[Tensor, "batch state"], prefix: KVCache) -> KVCache:
        """`prefix` with the state token's keys and values. They do not depend on the denoising step.

        Pi0.5 has no state token: there the prefix comes back as it is.
        """
        if self.config.pi05:
            return prefix
        past = prefix.prefix.stacked()
        x, positions = self.state_in(state)[:, None], _next_position(past)
        by = rope(positions, self.config.expert.head_dim, x.dtype)
        segment = SegmentKV(*_keys_values(self.expert, x, by, past, _padding_mask(past[2], 1)), None, positions)
        return prefix.join(KVCache({STATE: segment}), self.order)

    def velocity(
        self, past: Stacked, actions: Float[Tensor, "batch chunk action"], time: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch chunk action"]:
        """The flow's velocity d x / d t at noisy `actions` and `time` in [0, 1] (1 is noise), given a whole cache."""
        clock = self._clock(time)
        return self._velocity(past, actions, clock.to(past[1].dtype), *self._places(past, actions.shape[1]))

    def _places(self, past: Stacked, chunk: int) -> tuple[Rope, Bool[Tensor, "batch 1 1 all"] | None]:
        """Where a chunk stands after a cache: its rotary embedding and its attention mask."""
        _, values, valid = past
        positions = _next_position(past) + torch.arange(chunk, device=values.device)
        return rope(positions, self.config.expert.head_dim, values.dtype), _padding_mask(valid, chunk)

    def _velocity(
        self, past: Stacked, actions: Tensor, clock: Float[Tensor, "batch width"], by: Rope, mask: Tensor | None
    ) -> Float[Tensor, "batch chunk action"]:
        x, condition = self.action_in(actions), None
        if self.config.pi05:
            condition = F.silu(self.time_out(F.silu(self.time_in(clock))))
        else:
            x = self.time_out(F.silu(self.time_in(torch.cat([x, clock[:, None].expand_as(x)], dim=-1))))
        for layer, keys, values in zip(self.expert, *past[:2], strict=True):
            x, _, _ = layer(x, by, (keys, values), mask, condition)
        return self.action_out(self.expert_norm(x) if condition is None else self.expert_norm(x, condition)[0])

    def _clock(self, time: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        return time_embedding(time.to(getattr(torch, self.config.time_dtype)), self.config.expert.width)

    def denoise(
        self,
        cache: KVCache,
        noise: Float[Tensor, "batch chunk action"],
        watch: Callable[[int, Tensor], None] | None = None,
        steps: int | None = None,
        start: float = 1.0,
    ) -> Float[Tensor, "batch chunk action"]:
        """Euler steps from `noise` (t = 1) to actions (t = 0). `watch(step, actions)` sees each step.

        There are as many as the config says unless `steps` says otherwise. With another `start` than 1, `noise` are
        actions of that time.
        """
        past, steps, x = cache.stacked(), steps or self.config.denoising_steps, noise
        # All that does not depend on the actions is computed once: small models are bound by the number of operations.
        times = start * (1 - torch.arange(steps, device=x.device, dtype=torch.float64) / steps)
        clocks = self._clock(times.float()).to(x.dtype)
        places = self._places(past, x.shape[1])
        for step, clock in enumerate(clocks, start=1):
            x = x - self._velocity(past, x, clock.expand(len(x), -1), *places) / (steps / start)
            if watch:
                watch(step, x)
        return x

    def sample_actions(
        self,
        images: Float[Tensor, "cameras 3 size size"],
        tokens: Int[Tensor, "1 tokens"],
        state: Float[Tensor, "1 state"],
        noise: Float[Tensor, "1 chunk action"],
    ) -> Float[Tensor, "1 chunk action"]:
        """One inference of one observation as a whole, without reuse and without padding (the name is openpi's)."""
        return self.denoise(self.encode(images, tokens, state), noise)

    def encode(
        self,
        images: Float[Tensor, "cameras 3 size size"],
        tokens: Int[Tensor, "1 tokens"],
        state: Float[Tensor, "1 state"],
    ) -> KVCache:
        """The whole cache of one observation, without padding: all that an answer needs besides its noise."""
        seen = dict(zip(self.config.cameras, self.embed_images(images)[:, None], strict=True))
        fresh = {name: (x, None) for name, x in (seen | {LANGUAGE: self.embed_language(tokens)}).items()}
        return self.encode_state(state, self.prefill(fresh))

    def loss(
        self,
        fresh: Embeds,
        state: Float[Tensor, "batch state"],
        actions: Float[Tensor, "batch chunk action"],
        valid: Bool[Tensor, "batch chunk"],
        draws: int = 1,
    ) -> Float[Tensor, ""]:
        """Flow-matching loss (openpi: t ~ 0.001 + 0.999 Beta(1.5, 1), target noise - actions).

        `draws` noise samples share one prefix, where most of the compute is. `valid` marks actions inside the episode.
        """
        past = self.encode_state(state, self.prefill(fresh)).stacked()
        keys, values = (t.repeat_interleave(draws, dim=1) for t in past[:2])
        seen = None if past[2] is None else past[2].repeat_interleave(draws, 0)
        actions, valid = actions.repeat_interleave(draws, 0), valid.repeat_interleave(draws, 0)
        # Beta(1.5, 1) is the law of u ** (1 / 1.5) for uniform u.
        time = 0.001 + 0.999 * torch.rand(len(actions), device=actions.device) ** (1 / 1.5)
        noise = torch.randn_like(actions)
        noisy = time[:, None, None] * noise + (1 - time[:, None, None]) * actions
        velocity = self.velocity((keys, values, seen), noisy, time)
        error = (velocity.float() - (noise - actions)).square().mean(-1)
        return (error * valid).sum() / valid.sum()


def time_embedding(time: Float[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """Sine and cosine of the denoising time at `width / 2` periods from 4e-3 to 4 (openpi, `posemb_sincos`).

    Angles are in the dtype of `time`, float32 or float64, and so is the answer.
    """
    fraction = torch.linspace(0, 1, width // 2, device=time.device, dtype=time.dtype)
    angle = 2 * math.pi * time[:, None] / (4e-3 * (4.0 / 4e-3) ** fraction)
    angle = angle.double()  # as in `rope`
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(time.dtype)


def token_positions(
    parts: Mapping[str, tuple[Shaped[Tensor, "batch tokens *rest"], Bool[Tensor, "batch tokens"] | None]],
) -> dict[str, Int[Tensor, "batch tokens"]]:
    """Positions that run on over valid tokens, segment by segment; of `Embeds` or what has as many tokens."""
    first, sizes = next(iter(parts.values()))[0], [x.shape[1] for x, _ in parts.values()]
    valid = valid_tokens(parts.values())
    every = torch.arange(sum(sizes), device=first.device).expand(len(first), -1)
    running = every if valid is None else valid.cumsum(1) - 1
    return dict(zip(parts, running.split(sizes, 1), strict=True))


def _keys_values(
    layers: Sequence[GemmaLayer], x: Tensor, by: Rope, past: Stacked | None, mask: Bool[Tensor, "batch 1 1 all"] | None
) -> tuple[Float[Tensor, "layers batch kv tokens dim"], Float[Tensor, "layers batch kv tokens dim"]]:
    """Keys and values of tokens `x` in each layer. What the last layer would answer is not computed."""
    found = []
    for i, layer in enumerate(layers[:-1]):
        x, *own = layer(x, by, past and (past[0][i], past[1][i]), mask)
        found.append(own)
    found.append(layers[-1].keys_values(x, by))
    keys, values = zip(*found, strict=True)
    return torch.stack(keys), torch.stack(values)


def _next_position(past: Stacked) -> Int[Tensor, "batch 1"]:
    """The position behind all valid tokens of a cache."""
    keys, _, valid = past
    if valid is None:
        return torch.full((keys.shape[1], 1), keys.shape[3], device=keys.device)
    return valid.sum(1, keepdim=True)


def _padding_mask(valid: Bool[Tensor, "batch tokens"] | None, further: int = 0) -> Bool[Tensor, "batch 1 1 all"] | None:
    """Attention mask over these tokens and as many `further` ones, which are no padding; None where no token is."""
    return None if valid is None else F.pad(valid, (0, further), value=True)[:, None, None]
