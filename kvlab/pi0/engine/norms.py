"""What a stream's norms multiply and add, as tables that kernels read."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kvlab.pi0.layers import AdaptiveRMSNorm, GemmaLayer, RMSNorm

Table = Float[Tensor, "steps points width"]


@dataclass(frozen=True)
class Norms:
    """Tables over the norms of a stream: two a layer and, where it is read, the one after the last.

    `gate` multiplies what is added to the residual stream before a norm. Plain RMS norms have a scale alone, the same
    at every denoising step: their table has one.
    """

    scale: Table
    shift: Table | None = None
    gate: Table | None = None

    @property
    def between(self) -> int:
        """Numbers from one denoising step's table to the next's."""
        return 0 if self.shift is None else self.scale[0].numel()

    @classmethod
    def plain(cls, layers: Sequence[GemmaLayer], last: RMSNorm | None = None) -> "Norms":
        norms = [*_of(layers), *([last] if last else [])]
        return cls(torch.stack([1 + norm.scale.detach().float() for norm in norms])[None])

    @classmethod
    def adaptive(
        cls, layers: Sequence[GemmaLayer], last: AdaptiveRMSNorm, conditions: Float[Tensor, "steps width"]
    ) -> "Norms":
        """Those of Pi0.5's expert, for the condition of each denoising step."""
        scales, shifts, gates = [], [], [torch.ones_like(conditions)]
        for norm in [*_of(layers), last]:
            scale, shift, gate = F.linear(conditions, *floats(norm.modulation)).chunk(3, dim=-1)
            scales.append(1 + scale)
            shifts.append(shift)
            gates.append(gate)
        return cls(*(torch.stack(table, 1).contiguous() for table in (scales, shifts, gates[:-1])))


def floats(linear: torch.nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias in float32."""
    return linear.weight.detach().float(), linear.bias.detach().float()


def _of(layers: Sequence[GemmaLayer]) -> list[RMSNorm | AdaptiveRMSNorm]:
    return [norm for layer in layers for norm in (layer.norm_attn, layer.norm_mlp)]
