"""Products of many rows with a layer's weights: by the vendor's library in the model's own dtype, or in eight bits.

Eight bits are e4m3, with one scale for all of the weights. What comes from a norm has one scale too, by the largest
number that can come; any other row has its own, by its largest. So nothing is calibrated beforehand.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from kvlab.pi0.engine import between
from kvlab.pi0.engine.between import gelu
from kvlab.pi0.engine.sizes import block, power

FLOAT8 = torch.float8_e4m3fn
LARGEST, TINY = torch.finfo(FLOAT8).max, 1e-12
Product = Callable[[Float[Tensor, "rows inputs"]], Float[Tensor, "rows outputs"]]
Rows = tuple[Float[Tensor, "rows n"], Float[Tensor, " rows"] | None]  # and what to multiply each by, where not by 1


class Numbers:
    """Those of a model's own dtype: products, and what stands between them, which writes what products read."""

    def product(
        self, weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None = None, unit: float = 1.0
    ) -> Product:
        """With what `unit` of was taken."""
        return lambda x: F.linear(x, weight, bias)

    def unit(self, scale: Float[Tensor, " width"], shift: Float[Tensor, " width"] | None = None) -> float:
        """By what the output of such a norm is divided."""
        return 1.0

    def dtype(self, like: Tensor) -> torch.dtype:
        return like.dtype

    def rows(self, x: Float[Tensor, "rows n"]) -> Rows:
        return x, None

    def gelu(
        self, weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"], unit: float
    ) -> Callable[[Float[Tensor, "rows inputs"]], Rows]:
        """A product's GELU: on a GPU the end of the product itself, which on a CPU would be of the exact form."""
        if weight.is_cuda:
            return lambda x: (torch._addmm_activation(bias, x, weight.t(), use_gelu=True), None)
        return lambda x: (F.gelu(F.linear(x, weight, bias), approximate="tanh"), None)

    def gated(self, both: Float[Tensor, "rows two_n"]) -> Rows:
        """GELU of each row's first half, times the second."""
        rows, n = len(both), both.shape[1] // 2
        out, columns = both.new_empty(rows, n), block(n, 1024)
        between.gate[(rows, n // columns)](both, out, N=n, BN=columns)
        return out, None

    def add_norm(
        self,
        residual: Float[Tensor, "rows width"],
        added: Float[Tensor, "rows width"],
        sizes: Float[Tensor, " rows"] | None,
        bias: Float[Tensor, " width"] | None,
        scale: Float[Tensor, " width"],
        shift: Float[Tensor, " width"] | None,
        unit: float,
        fresh: bool,
        to: torch.dtype | None = None,
    ) -> Float[Tensor, "rows width"]:
        """`between.add_norm`, whose norm, with a shift, is a layer's. The answer is `to` be of that dtype, if given."""
        rows, width = added.shape
        h = torch.empty_like(added, dtype=to or self.dtype(added))
        between.add_norm[(rows,)](
            residual, added, sizes, bias, scale, shift, h, unit, W=width, BLOCK=power(width),
            HAS_SIZES=sizes is not None, HAS_BIAS=bias is not None, SHIFTED=shift is not None,
            CENTRED=shift is not None, FRESH=fresh,
        )  # fmt: skip
        return h


class Eight(Numbers):
    """Eight bits."""

    def product(self, weight: Tensor, bias: Tensor | None = None, unit: float = 1.0) -> Product:
        scale = weight.abs().max().float().clamp_min(TINY) / LARGEST
        stored, unit = (weight.float() / scale).to(self.dtype(weight)), torch.full_like(scale, unit)
        if not weight.is_cuda:
            return lambda x: F.linear(x * unit, stored * scale, bias)
        given = {"out_dtype": weight.dtype, "use_fast_accum": True}
        return lambda x: torch._scaled_mm(x, stored.t(), unit, scale, bias, **given)

    def unit(self, scale: Tensor, shift: Tensor | None = None) -> float:
        """A row that is normed has no number above the root of its width."""
        most = math.sqrt(len(scale)) * scale.abs().max() + (0 if shift is None else shift.abs().max())
        return float(most) / LARGEST

    def dtype(self, like: Tensor) -> torch.dtype:
        """On a CPU float32, since Triton's interpreter loses the carry of what it rounds up."""
        return FLOAT8 if like.is_cuda else torch.float32

    def rows(self, x: Tensor, by: str = "") -> Rows:
        rows, n = len(x), x.shape[1] // (2 if by == "gated" else 1)
        out, sizes = x.new_empty(rows, n, dtype=self.dtype(x)), x.new_empty(rows, dtype=torch.float32)
        warps = 4 if n < 4096 else 16
        rows_in_eight[(rows,)](x, out, sizes, LARGEST, TINY, N=n, BLOCK=power(n), BY=by, num_warps=warps)
        return out, sizes

    def gelu(self, weight: Tensor, bias: Tensor, unit: float) -> Callable[[Tensor], Rows]:
        product = self.product(weight, bias, unit)
        return lambda x: self.rows(product(x), "gelu")

    def gated(self, both: Tensor) -> Rows:
        return self.rows(both, "gated")


@triton.jit
def rows_in_eight(x, out, sizes, LARGEST, TINY, N: tl.constexpr, BLOCK: tl.constexpr, BY: tl.constexpr):
    """Each row in eight bits as a multiple of its size: as it is, its GELU, or its first half's times the second.
    Grid (rows,)."""
    row, n = tl.program_id(0), tl.arange(0, BLOCK)
    first = x + row * (2 * N if BY == "gated" else N) + n
    y = tl.load(first, mask=n < N, other=0.0).to(tl.float32)
    if BY != "":
        y = gelu(y)
    if BY == "gated":
        y *= tl.load(first + N, mask=n < N, other=0.0).to(tl.float32)
    size = tl.maximum(tl.max(tl.abs(y), 0), TINY) / LARGEST
    tl.store(sizes + row, size)
    tl.store(out + row * N + n, (y / size).to(out.dtype.element_ty), mask=n < N)
