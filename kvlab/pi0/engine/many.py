"""A stream's layers over many rows: large products by the vendor's library, and few kernels between them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kvlab.pi0.config import GemmaConfig
from kvlab.pi0.engine import between
from kvlab.pi0.engine.norms import Norms
from kvlab.pi0.engine.products import Numbers, Rows
from kvlab.pi0.engine.sizes import Rope, View
from kvlab.pi0.layers import GemmaLayer


class ManyRows:
    """Layers of plain norms. They leave keys and values of their rows in `view`, before what was kept there."""

    def __init__(self, layers: Sequence[GemmaLayer], config: GemmaConfig, norms: Norms, view: View, numbers: Numbers):
        self._config, self._norms, self._view, self._numbers = config, norms, view, numbers
        self._units = [numbers.unit(scale) for scale in norms.scale[0]]
        self._layers = [
            (
                numbers.product(layer.qkv.weight, unit=self._units[2 * i]),
                numbers.product(layer.out.weight),
                numbers.product(layer.gate_up.weight, unit=self._units[2 * i + 1]),
                numbers.product(layer.down.weight),
            )
            for i, layer in enumerate(layers)
        ]

    def run(self, x: Float[Tensor, "rows width"], kept: int, by: Rope, depth: int | None = None) -> None:
        """The first `depth` layers over `x`, whose rows attend to themselves and to `kept` more tokens."""
        c, rows, layers = self._config, len(x), self._layers[:depth]
        residual = torch.empty_like(x, dtype=torch.float32)
        queries = x.new_empty(rows * c.num_heads, c.head_dim)
        h = self._add(residual, (x, None), 0)
        for i, (to_qkv, out, gate_up, down) in enumerate(layers):
            keys, values = (one[i] for one in self._view)
            qkv = to_qkv(h)
            between.rotate[(rows, c.num_heads + 2)](qkv, *by, queries, keys, values, HEADS=c.num_heads, D=c.head_dim)
            if i + 1 == len(layers):  # its output is not read
                return
            # Heads that share keys are folded into rows.
            q, k, v = (one[None, None] for one in (queries, keys[: rows + kept], values[: rows + kept]))
            attended, sizes = self._numbers.rows(F.scaled_dot_product_attention(q, k, v).view(rows, -1))
            h = self._add(residual, (out(attended), sizes), 2 * i + 1)
            inner, sizes = self._numbers.gated(gate_up(h))
            h = self._add(residual, (down(inner), sizes), 2 * i + 2)

    def _add(self, residual: Tensor, added: Rows, point: int) -> Tensor:
        """The residual stream plus `added`, and its norm."""
        return self._numbers.add_norm(
            residual, *added, None, self._norms.scale[0, point], None, self._units[point], fresh=point == 0
        )
