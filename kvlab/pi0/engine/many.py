"""A stream's layers over many rows: large products by the vendor's library, and few kernels between them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kvlab.pi0.config import GemmaConfig
from kvlab.pi0.engine import between
from kvlab.pi0.engine.norms import Norms
from kvlab.pi0.engine.sizes import Rope, View, block, power
from kvlab.pi0.layers import GemmaLayer


class ManyRows:
    """Layers of plain norms. They leave keys and values of their rows in `view`, before what was kept there."""

    def __init__(self, layers: Sequence[GemmaLayer], config: GemmaConfig, norms: Norms, view: View):
        self._layers, self._config, self._norms, self._view = layers, config, norms, view

    def run(self, x: Float[Tensor, "rows width"], kept: int, by: Rope, depth: int | None = None) -> None:
        """The first `depth` layers over `x`, whose rows attend to themselves and to `kept` more tokens."""
        c, rows, layers = self._config, len(x), self._layers[:depth]
        residual = torch.empty_like(x, dtype=torch.float32)
        queries = x.new_empty(rows * c.num_heads, c.head_dim)
        h = self._add(residual, x, 0)
        for i, layer in enumerate(layers):
            keys, values = (one[i] for one in self._view)
            qkv = torch.mm(h, layer.qkv.weight.t())
            between.rotate[(rows, c.num_heads + 2)](qkv, *by, queries, keys, values, HEADS=c.num_heads, D=c.head_dim)
            if i + 1 == len(layers):  # its output is not read
                return
            # Heads that share keys are folded into rows.
            q, k, v = (one[None, None] for one in (queries, keys[: rows + kept], values[: rows + kept]))
            attended = F.scaled_dot_product_attention(q, k, v).view(rows, -1)
            h = self._add(residual, torch.mm(attended, layer.out.weight.t()), 2 * i + 1)
            both = torch.mm(h, layer.gate_up.weight.t())
            inner, columns = both.new_empty(rows, c.mlp_dim), block(c.mlp_dim, 1024)
            between.gate[(rows, c.mlp_dim // columns)](both, inner, N=c.mlp_dim, BN=columns)
            h = self._add(residual, torch.mm(inner, layer.down.weight.t()), 2 * i + 2)

    def _add(self, residual: Tensor, added: Tensor, point: int) -> Tensor:
        """The residual stream plus `added`, and its norm."""
        rows, width = added.shape
        h = torch.empty_like(added)
        between.add_norm[(rows,)](
            residual, added, None, None, self._norms.scale[0, point], None, h, rows, PARTS=1, W=width,
            BLOCK=power(width), HAS_BIAS=False, GATED=False, SHIFTED=False, CENTRED=False, FRESH=point == 0,
        )  # fmt: skip
        return h
