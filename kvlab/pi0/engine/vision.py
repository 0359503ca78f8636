"""SigLIP as a sequence of large products and few kernels between them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kvlab.pi0.engine.products import Numbers, Rows
from kvlab.pi0.layers import Siglip


class Vision:
    """`Siglip`'s tokens. Residual sums and norms are one kernel; sums are in float32."""

    def __init__(self, model: Siglip, numbers: Numbers):
        self.model, self._numbers = model, numbers
        norms = [*(norm for b in model.blocks for norm in (b.norm_attn, b.norm_mlp)), model.norm]
        self._norms = {norm: _affine(norm) for norm in norms}
        self._units = {norm: numbers.unit(*self._norms[norm]) for norm in norms[:-1]} | {model.norm: 1.0}
        self._bias = {linear: linear.bias.detach().float() for b in model.blocks for linear in (b.out, b.down)}
        self._products = [
            (
                numbers.product(b.qkv.weight, b.qkv.bias, self._units[b.norm_attn]),
                numbers.product(b.out.weight),
                numbers.gelu(b.up.weight, b.up.bias, self._units[b.norm_mlp]),
                numbers.product(b.down.weight),
            )
            for b in model.blocks
        ]

    def __call__(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n tokens width"]:
        model = self.model
        patches = _patches(model.stem(images), model.patch) + model.position
        n, tokens, width = patches.shape
        residual = torch.empty(n * tokens, width, device=patches.device)
        added, before = (patches.reshape(n * tokens, width), None), None
        for block, (to_qkv, out, up, down) in zip(model.blocks, self._products, strict=True):
            h = self._add(residual, added, before, block.norm_attn)
            attended, sizes = self._numbers.rows(_attention(to_qkv(h), n, block.num_heads))
            h = self._add(residual, (out(attended), sizes), block.out, block.norm_mlp)
            inner, sizes = up(h)
            added, before = (down(inner), sizes), block.down
        return model.project(self._add(residual, added, before, model.norm, patches.dtype)).view(n, tokens, -1)

    def _add(
        self, residual: Tensor, added: Rows, linear: nn.Linear | None, norm: nn.LayerNorm, to: torch.dtype | None = None
    ) -> Tensor:
        """The residual stream plus `added` and the bias of the layer that it comes from, if any; its norm."""
        bias = None if linear is None else self._bias[linear]
        return self._numbers.add_norm(
            residual, *added, bias, *self._norms[norm], self._units[norm], fresh=linear is None, to=to
        )


def _patches(images: Float[Tensor, "n channels size size"], conv: nn.Conv2d) -> Float[Tensor, "n tokens width"]:
    """The patch embedding as a product, which is several times as fast as that convolution."""
    side = conv.kernel_size[0]
    tiles = images.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # (n, channels, down, side, across, side)
    rows = tiles.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return F.linear(rows, conv.weight.flatten(1), conv.bias)


def _attention(qkv: Float[Tensor, "rows three_widths"], n: int, heads: int) -> Float[Tensor, "rows width"]:
    q, k, v = qkv.view(n, -1, 3, heads, qkv.shape[1] // 3 // heads).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(len(qkv), -1)


def _affine(norm: nn.LayerNorm) -> tuple[Float[Tensor, " width"], Float[Tensor, " width"]]:
    return norm.weight.detach().float(), norm.bias.detach().float()
