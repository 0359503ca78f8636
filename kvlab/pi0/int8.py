"""Linear layers in int8: weights with one scale for each output and, if wanted, activations with one for each token.

The layers are those of the transformers, which hold nearly all of a model's weights. What is left as it is: the image
encoder's convolutions, the embedding, norms, attention, and what goes in and out of each stream. Scales are symmetric,
by the largest number of a row (W8A8 with dynamic activations, as in 2208.07339 without its outliers).

Sums of products of int8 are whole numbers, and the same whichever way they are computed, if that way is exact. Hence a
model with int8 activations has the same products on every processor.
"""

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from kvlab.pi0.layers import GemmaLayer, SiglipBlock

WEIGHTS, ACTIVATIONS = "int8 weights", "int8 weights and activations"
PRECISIONS = (WEIGHTS, ACTIVATIONS)  # what a checkpoint may say of its own
LARGEST = 127
MOST_INPUTS = 2**24 // LARGEST**2  # up to here float32 holds every sum of products


class Int8Linear(nn.Module):
    """A linear layer that rounds its weight, and what goes in, to whole numbers in [-127, 127]; for inference on a CPU.

    Raises ValueError for a layer of more than MOST_INPUTS inputs.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        if linear.in_features > MOST_INPUTS:
            raise ValueError(f"int8 takes layers of at most {MOST_INPUTS} inputs; this one has {linear.in_features}")
        if linear.weight.is_meta:  # numbers come from elsewhere, and to round here torch would import its compiler
            shape = linear.weight.shape
            weight, scale = torch.empty(shape, dtype=torch.int8, device="meta"), torch.empty(shape[0], device="meta")
        else:
            whole, scale = _rounded(linear.weight.detach().float())
            weight, scale = whole.to(torch.int8), scale[:, 0]
        self.register_buffer("weight", weight)  # (outputs, inputs)
        self.register_buffer("weight_scale", scale)  # (outputs,), float32
        self.bias = linear.bias

    def forward(self, x: Float32[Tensor, "*batch inputs"]) -> Float32[Tensor, "*batch outputs"]:
        rows, scale = _rounded(x.flatten(0, -2))
        if has_exact_products():
            product = torch._int_mm(rows.to(torch.int8), self.weight.T).float()
        else:
            product = torch.from_numpy(rows.numpy() @ self._floats)
        product.mul_(scale).mul_(self.weight_scale)
        return (product if self.bias is None else product.add_(self.bias)).unflatten(0, x.shape[:-1])

    @cached_property
    def _floats(self) -> Float32[np.ndarray, "inputs outputs"]:
        return self.weight.numpy().T.astype(np.float32, order="C")

    def in_floats(self) -> nn.Linear:
        """A layer of floating-point numbers with the rounded weight."""
        linear = nn.Linear(*self.weight.shape[::-1], bias=self.bias is not None, device="meta")
        linear.weight, linear.bias = nn.Parameter(self.weight * self.weight_scale[:, None]), self.bias
        return linear


def to_int8(model: nn.Module) -> nn.Module:
    """The model, changed in place: the linear layers of its transformers are `Int8Linear`."""
    return _swapped(model, nn.Linear, Int8Linear)


def to_floats(model: nn.Module) -> nn.Module:
    """The model, changed in place: its `Int8Linear` are layers of floating-point numbers again."""
    return _swapped(model, Int8Linear, Int8Linear.in_floats)


@cache
def has_exact_products() -> bool:
    """Whether torch multiplies int8 exactly in this process.

    It does where oneDNN has VNNI. Its kernels for AVX2 add two products in 16 bits, which they overflow; there numpy
    multiplies whole numbers in float32, which is exact and takes as long as a model in float32.
    """
    largest = torch.full((16, 64), LARGEST, dtype=torch.int8)
    return bool((torch._int_mm(largest, largest.T) == 64 * LARGEST**2).all())


def _rounded(x: Float[Tensor, "rows numbers"]) -> tuple[Float[Tensor, "rows numbers"], Float[Tensor, "rows 1"]]:
    """Whole numbers in [-127, 127] and the scale of each row, whose product is `x` to rounding."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min_(torch.finfo(x.dtype).tiny).div_(LARGEST)
    return (x / scale).round_(), scale


def _swapped(model: nn.Module, old: type[nn.Module], new: Callable[[nn.Module], nn.Module]) -> nn.Module:
    for block in [block for block in model.modules() if isinstance(block, GemmaLayer | SiglipBlock)]:
        for name, child in [*block.named_children()]:
            if isinstance(child, old):
                setattr(block, name, new(child))
    return model


def is_int8(model: nn.Module) -> bool:
    """True if any of its layers computes in int8."""
    return any(isinstance(module, Int8Linear) for module in model.modules())
