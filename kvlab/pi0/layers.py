"""Building blocks: the SigLIP image encoder and the Gemma layer that both streams of Pi0 are made of.

Sources: SigLIP (Zhai et al., 2303.15343), PaliGemma (2407.07726), Gemma (2403.08295), with openpi's
`src/openpi/models/{siglip,gemma}.py` as the reference for details.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kvlab.pi0.config import GemmaConfig, SiglipConfig

ROPE_MAX_WAVELENGTH = 10_000


class RMSNorm(nn.Module):
    """Gemma's RMS norm: the learned scale is stored as its difference from one."""

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return F.rms_norm(x, x.shape[-1:], (1 + self.scale).to(x.dtype), eps=1e-6)


class AdaptiveRMSNorm(nn.Module):
    """RMS norm whose scale, shift and residual gate are read from a condition (Pi0.5; openpi, `gemma.RMSNorm`)."""

    def __init__(self, width: int, condition_width: int):
        super().__init__()
        self.modulation = nn.Linear(condition_width, 3 * width)

    def forward(
        self, x: Float[Tensor, "batch tokens width"], condition: Float[Tensor, "batch condition"]
    ) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch 1 width"]]:
        """The norm, and the gate by which what is computed from it enters the residual stream."""
        scale, shift, gate = self.modulation(condition)[:, None].chunk(3, dim=-1)
        return F.rms_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift, gate


class SiglipBlock(nn.Module):
    """Pre-norm transformer block with biases."""

    attend = staticmethod(F.scaled_dot_product_attention)

    def __init__(self, c: SiglipConfig):
        super().__init__()
        self.num_heads = c.num_heads
        self.norm_attn = nn.LayerNorm(c.width, eps=1e-6)
        self.qkv = nn.Linear(c.width, 3 * c.width)
        self.out = nn.Linear(c.width, c.width)
        self.norm_mlp = nn.LayerNorm(c.width, eps=1e-6)
        self.up = nn.Linear(c.width, c.mlp_dim)
        self.down = nn.Linear(c.mlp_dim, c.width)

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        qkv = self.qkv(self.norm_attn(x)).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (n, heads, tokens, dim)
        x = x + self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x)), approximate="tanh"))


class Siglip(nn.Module):
    """Image to tokens in the prefix's width: optional convolutional stem, patches, blocks, projector."""

    def __init__(self, c: SiglipConfig, tokens: int, out_width: int):
        super().__init__()
        channels = (3, *c.stem)
        self.stem = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.GELU(approximate="tanh"))
                for i, o in zip(channels, channels[1:], strict=False)
            )
        )
        self.patch = nn.Conv2d(channels[-1], c.width, c.patch_size, stride=c.patch_size)
        self.position = nn.Parameter(torch.empty(tokens, c.width))
        nn.init.normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(SiglipBlock(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, eps=1e-6)
        self.project = nn.Linear(c.width, out_width)

    def forward(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n tokens width"]:
        x = self.patch(self.stem(images)).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        return self.project(self.norm(x))


Rope = tuple[Float[Tensor, "batch tokens 1 half"], Float[Tensor, "batch tokens 1 half"]]


def rope(positions: Int[Tensor, "batch tokens"], head_dim: int, dtype: torch.dtype) -> Rope:
    """Cosine and sine of the rotary embedding (2104.09864) at these positions, rounded to float32.

    Angles are in float32, their cosines in float64: there libraries that differ in the last bit round alike.
    """
    exponent = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angle = (positions[..., None, None].float() / ROPE_MAX_WAVELENGTH**exponent).double()
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Float[Tensor, "batch tokens heads dim"], by: Rope) -> Float[Tensor, "batch tokens heads dim"]:
    cos, sin = by
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class GemmaLayer(nn.Module):
    """One layer of one stream. It attends to its own tokens and, where given, to keys and values computed before.

    An `adaptive` one (Pi0.5's expert) takes a condition as wide as the stream, by which its norms are modulated.
    """

    attend = staticmethod(F.scaled_dot_product_attention)

    def __init__(self, c: GemmaConfig, adaptive: bool = False):
        super().__init__()
        self.heads, self.kv_heads = c.num_heads, c.num_kv_heads
        self.norm_attn = AdaptiveRMSNorm(c.width, c.width) if adaptive else RMSNorm(c.width)
        self.qkv = nn.Linear(c.width, (c.num_heads + 2 * c.num_kv_heads) * c.head_dim, bias=False)
        self.out = nn.Linear(c.num_heads * c.head_dim, c.width, bias=False)
        self.norm_mlp = AdaptiveRMSNorm(c.width, c.width) if adaptive else RMSNorm(c.width)
        self.gate_up = nn.Linear(c.width, 2 * c.mlp_dim, bias=False)
        self.down = nn.Linear(c.mlp_dim, c.width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        by: Rope,
        past: tuple[Float[Tensor, "batch kv past dim"], Float[Tensor, "batch kv past dim"]] | None = None,
        mask: Bool[Tensor, "batch 1 1 all"] | None = None,
        condition: Float[Tensor, "batch width"] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch kv tokens dim"], Float[Tensor, "..."]]:
        """The layer's output and its own keys (rotated) and values. `mask` covers `past` and then the own tokens."""
        h, gate_attn = _normed(self.norm_attn, x, condition)
        q, k, v = self._project(h, by)
        keys, values = (k, v) if past is None else (torch.cat([past[0], k], 2), torch.cat([past[1], v], 2))
        # Heads that share keys are folded into rows: one product in place of several thin ones.
        folded = q.reshape(q.shape[0], self.kv_heads, -1, q.shape[-1])
        attended = self.attend(folded, keys, values, attn_mask=mask)
        x = x + _gated(self.out(attended.reshape(q.shape).transpose(1, 2).flatten(2)), gate_attn)
        h, gate_mlp = _normed(self.norm_mlp, x, condition)
        gate, up = self.gate_up(h).chunk(2, dim=-1)
        return x + _gated(self.down(F.gelu(gate, approximate="tanh") * up), gate_mlp), k, v

    def keys_values(
        self, x: Float[Tensor, "batch tokens width"], by: Rope
    ) -> tuple[Float[Tensor, "batch kv tokens dim"], Float[Tensor, "batch kv tokens dim"]]:
        """Only what others attend to: all that is needed of a last layer whose output nobody reads."""
        return self._project(self.norm_attn(x), by)[1:]

    def queries(self, x: Float[Tensor, "batch tokens width"], by: Rope) -> Float[Tensor, "batch heads tokens dim"]:
        """What the tokens ask (rotated)."""
        return self._project(self.norm_attn(x), by)[0]

    def weights(
        self, queries: Float[Tensor, "1 heads tokens dim"], keys: Float[Tensor, "1 kv all dim"]
    ) -> Float[Tensor, "tokens all"]:
        """How much of its attention each token gives to each key, averaged over heads."""
        every = torch.eye(keys.shape[2], dtype=keys.dtype, device=keys.device).expand(1, self.kv_heads, -1, -1)
        folded = queries.reshape(1, self.kv_heads, -1, queries.shape[-1])
        return self.attend(folded, keys, every).reshape(*queries.shape[1:3], -1).mean(0)

    def _project(self, h: Float[Tensor, "batch tokens width"], by: Rope) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys (both rotated) and values, heads before tokens."""
        qkv = self.qkv(h).unflatten(-1, (self.heads + 2 * self.kv_heads, -1))
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        q, k = rotate(qk, by).transpose(1, 2).split([self.heads, self.kv_heads], dim=1)
        return q, k, v.transpose(1, 2)


def _normed(norm: nn.Module, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return (norm(x), None) if condition is None else norm(x, condition)


def _gated(x: Tensor, gate: Tensor | None) -> Tensor:
    return x if gate is None else x * gate
