"""Inference in float32 on a CPU with the same bits on every processor: products by a BLAS whose kernel can be named.

torch's own products are MKL's, which chooses its kernels by vendor and cannot be told otherwise. numpy's OpenBLAS can
(`kvlab.numerics`), and for the few rows of a small model it is as fast.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from kvlab import numerics
from kvlab.pi0.layers import GemmaLayer, RMSNorm, Rope
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
    _replace(policy.model)
    return policy


class Product(nn.Module):
    """A linear layer by numpy."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self._stored = _stored(linear)
        self.weight = linear.weight
        self._bias = None if linear.bias is None else linear.bias.detach().numpy()

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        y = x.numpy() @ self._stored
        if self._bias is not None:
            y += self._bias
        return torch.from_numpy(y)


def attend(
    q: Float[Tensor, "batch heads tokens dim"],
    k: Float[Tensor, "batch heads all dim"],
    v: Float[Tensor, "batch heads all dim"],
    attn_mask: Bool[Tensor, "batch 1 1 all"] | None = None,
) -> Float[Tensor, "batch heads tokens dim"]:
    """`torch.nn.functional.scaled_dot_product_attention` by numpy."""
    return torch.from_numpy(_attended(q.numpy(), k.numpy(), v.numpy(), attn_mask))


def _attended(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Tensor | None) -> np.ndarray:
    scores = torch.from_numpy(q @ k.swapaxes(-1, -2)).mul_(q.shape[-1] ** -0.5)
    if mask is not None:
        scores = scores.masked_fill_(~mask, float("-inf"))
    return scores.softmax(-1).numpy() @ v


class Layer(nn.Module):
    """A `GemmaLayer` that is not adaptive, in fewer operations: for few rows it is their number that takes time."""

    attend, weights = staticmethod(attend), GemmaLayer.weights

    def __init__(self, layer: GemmaLayer):
        super().__init__()
        self.heads, self.kv_heads = layer.heads, layer.kv_heads
        self._norm_attn, self._norm_mlp = (1 + norm.scale.detach() for norm in (layer.norm_attn, layer.norm_mlp))
        self._qkv, self._out, self._gate_up, self._down = map(
            _stored, (layer.qkv, layer.out, layer.gate_up, layer.down)
        )

    def forward(self, x: Tensor, by: Rope, past=None, mask=None, condition=None) -> tuple[Tensor, Tensor, Tensor]:
        """As `GemmaLayer.forward`, without a condition."""
        q, k, v = self._project(x, by)
        keys, values = k, v
        if past is not None:
            keys, values = np.concatenate([past[0].numpy(), k], 2), np.concatenate([past[1].numpy(), v], 2)
        folded = q.reshape(len(q), self.kv_heads, -1, q.shape[-1])  # heads that share keys
        attended = _attended(folded, keys, values, mask).reshape(q.shape).transpose(0, 2, 1, 3)
        x = x + torch.from_numpy(attended.reshape(*x.shape[:2], -1) @ self._out)
        h = F.rms_norm(x, x.shape[-1:], self._norm_mlp, eps=1e-6)
        gate, up = torch.from_numpy(h.numpy() @ self._gate_up).chunk(2, dim=-1)
        x = x + torch.from_numpy(F.gelu(gate, approximate="tanh").mul_(up).numpy() @ self._down)
        return x, torch.from_numpy(k), torch.from_numpy(v)

    def keys_values(self, x: Tensor, by: Rope) -> tuple[Tensor, Tensor]:
        """As `GemmaLayer.keys_values`."""
        return tuple(map(torch.from_numpy, self._project(x, by)[1:]))

    def queries(self, x: Tensor, by: Rope) -> Tensor:
        """As `GemmaLayer.queries`."""
        return torch.from_numpy(self._project(x, by)[0])

    def _project(self, x: Tensor, by: Rope) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Queries and keys (both rotated) and values, heads before tokens."""
        h = F.rms_norm(x, x.shape[-1:], self._norm_attn, eps=1e-6)
        cos, sin = by[0].numpy(), by[1].numpy()
        half, qk = cos.shape[-1], self.heads + self.kv_heads
        qkv = (h.numpy() @ self._qkv).reshape(*x.shape[:2], qk + self.kv_heads, 2 * half)
        a, b = qkv[:, :, :qk, :half], qkv[:, :, :qk, half:]
        turned = np.empty((len(qkv), qk, qkv.shape[1], 2 * half), np.float32)
        as_was = turned.transpose(0, 2, 1, 3)
        np.subtract(a * cos, b * sin, out=as_was[..., :half])
        np.add(b * cos, a * sin, out=as_was[..., half:])
        return turned[:, : self.heads], turned[:, self.heads :], qkv[:, :, qk:].transpose(0, 2, 1, 3)


def _stored(linear: nn.Linear) -> Float32[np.ndarray, "inputs outputs"]:
    """A layer's weight as OpenBLAS reads it fastest; the layer itself keeps a view of it."""
    linear.weight = nn.Parameter(linear.weight.detach().T.contiguous().T, requires_grad=False)
    return linear.weight.numpy().T


def _replace(module: nn.Module) -> None:
    """Put the classes of here for linear layers and Gemma's layers, wherever they stand in it."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Product(child))
        elif isinstance(child, GemmaLayer) and (type(child.norm_attn), type(child.qkv)) == (RMSNorm, nn.Linear):
            setattr(module, name, Layer(child))
        else:
            _replace(child)
    if hasattr(module, "attend"):
        module.attend = attend
