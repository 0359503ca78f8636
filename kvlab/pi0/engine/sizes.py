"""Sizes of blocks, and the rotary embedding as kernels read it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kvlab.pi0.layers import rope

FEW = 64  # rows that one block of a product holds
Rope = tuple[Float[Tensor, "rows half"], Float[Tensor, "rows half"]]  # cosine, sine
View = tuple[Float[Tensor, "depth tokens dim"], Float[Tensor, "depth tokens dim"]]  # keys, values


def block(size: int, most: int) -> int:
    """The largest power of two that divides `size`, at most `most`."""
    return min(size & -size, most)


def power(size: int) -> int:
    """The smallest power of two that is not less than `size`."""
    return 1 << (size - 1).bit_length()


def rope_rows(positions: Int[Tensor, " rows"], head_dim: int) -> Rope:
    """Cosine and sine of the rotary embedding at these positions, in float32."""
    cos, sin = rope(positions[None], head_dim, torch.float32)
    return cos[0, :, 0].contiguous(), sin[0, :, 0].contiguous()
