"""SigLIP as a sequence of large products and few kernels between them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kvlab.pi0.engine import between
from kvlab.pi0.engine.sizes import power
from kvlab.pi0.layers import Siglip, SiglipBlock


class Vision:
    """`Siglip`'s tokens. Residual sums and norms are one kernel; sums are in float32."""

    def __init__(self, model: Siglip):
        self.model = model
        self._norms = {norm: _affine(norm) for b in model.blocks for norm in (b.norm_attn, b.norm_mlp)}
        self._norms[model.norm] = _affine(model.norm)
        self._bias = {linear: linear.bias.detach().float() for b in model.blocks for linear in (b.out, b.down)}

    def __call__(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n tokens width"]:
        model = self.model
        patches = _patches(model.stem(images), model.patch) + model.position
        n, tokens, width = patches.shape
        residual = torch.empty(n * tokens, width, device=patches.device)
        added, before = patches.reshape(n * tokens, width), None
        for block in model.blocks:
            h = self._add(residual, added, before, block.norm_attn)
            added = torch.mm(_attention(block, h, n), block.out.weight.t())
            h = self._add(residual, added, block.out, block.norm_mlp)
            h = F.gelu(F.linear(h, block.up.weight, block.up.bias), approximate="tanh")
            added, before = torch.mm(h, block.down.weight.t()), block.down
        return model.project(self._add(residual, added, before, model.norm)).view(n, tokens, -1)

    def _add(self, residual: Tensor, added: Tensor, linear: nn.Linear | None, norm: nn.LayerNorm) -> Tensor:
        """The residual stream plus `added` and the bias of the layer that it comes from, if any; its norm."""
        rows, width = residual.shape
        out, (scale, shift) = torch.empty_like(added), self._norms[norm]
        bias = None if linear is None else self._bias[linear]
        between.add_norm[(rows,)](
            residual, added, bias, None, scale, shift, out, rows, PARTS=1, W=width, BLOCK=power(width),
            HAS_BIAS=bias is not None, GATED=False, SHIFTED=True, CENTRED=True, FRESH=linear is None,
        )  # fmt: skip
        return out


def _patches(images: Float[Tensor, "n channels size size"], conv: nn.Conv2d) -> Float[Tensor, "n tokens width"]:
    """The patch embedding as a product, which is several times as fast as that convolution."""
    side = conv.kernel_size[0]
    rows = F.unfold(images, side, stride=side).transpose(1, 2)
    return F.linear(rows, conv.weight.flatten(1), conv.bias)


def _attention(block: SiglipBlock, h: Float[Tensor, "rows width"], n: int) -> Float[Tensor, "rows width"]:
    qkv = F.linear(h, block.qkv.weight, block.qkv.bias).view(n, -1, 3, block.num_heads, h.shape[1] // block.num_heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(h.shape)


def _affine(norm: nn.LayerNorm) -> tuple[Float[Tensor, " width"], Float[Tensor, " width"]]:
    return norm.weight.detach().float(), norm.bias.detach().float()
