"""Inference in float32 on a CPU with the same bits on every processor: products by a BLAS whose kernel can be named.

torch's own products are MKL's, which chooses its kernels by vendor and cannot be told otherwise. numpy's OpenBLAS can
(`kvlab.numerics`), and for the few rows of a small model it is as fast.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kvlab import numerics
from kvlab.pi0.layers import RMSNorm
from kvlab.pi0.policy import Policy


def portable(policy: Policy) -> Policy:
    """The policy, its model changed in place: its products are numpy's. For inference alone.

    Raises ValueError for a model that is not in float32 on a CPU, RuntimeError in a process that was not started with
    portable numerics.
    """
    weight = policy.model.action_out.weight
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        raise ValueError(f"portable numerics are float32 on a CPU; this model is {weight.dtype} on {weight.device}")
    if not numerics.is_portable():
        raise RuntimeError("this process was not started with portable numerics; workers of a study are")
    for module in list(policy.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Product(child))
            elif isinstance(child, RMSNorm):
                setattr(module, name, Norm(child))
        if hasattr(module, "attend"):
            module.attend = attend
    return policy


class Product(nn.Module):
    """A linear layer by numpy. Its weight is stored transposed, as OpenBLAS reads it fastest."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().T.contiguous().T, requires_grad=False)
        self._weight = self.weight.numpy().T
        self._bias = None if linear.bias is None else linear.bias.detach().numpy()

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        y = x.numpy() @ self._weight
        if self._bias is not None:
            y += self._bias
        return torch.from_numpy(y)


class Norm(nn.Module):
    """An RMS norm whose scale is not put together anew each time."""

    def __init__(self, norm: RMSNorm):
        super().__init__()
        self.scale = nn.Parameter(1 + norm.scale.detach(), requires_grad=False)

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return F.rms_norm(x, x.shape[-1:], self.scale, eps=1e-6)


def attend(
    q: Float[Tensor, "batch heads tokens dim"],
    k: Float[Tensor, "batch heads all dim"],
    v: Float[Tensor, "batch heads all dim"],
    attn_mask: Bool[Tensor, "batch 1 1 all"] | None = None,
) -> Float[Tensor, "batch heads tokens dim"]:
    """`torch.nn.functional.scaled_dot_product_attention` by numpy."""
    scores = torch.from_numpy(q.numpy() @ k.mT.numpy()).mul_(q.shape[-1] ** -0.5)
    if attn_mask is not None:
        scores = scores.masked_fill_(~attn_mask, float("-inf"))
    return torch.from_numpy(scores.softmax(-1).numpy() @ v.numpy())
