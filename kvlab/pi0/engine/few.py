"""A stream's layers over few rows, as one kernel: `kernels.layers` with its buffers and sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kvlab.pi0.config import GemmaConfig
from kvlab.pi0.engine import kernels
from kvlab.pi0.engine.norms import Norms
from kvlab.pi0.engine.sizes import Rope, View, block, power
from kvlab.pi0.layers import GemmaLayer

LOG2E = 1.4426950408889634  # the kernel's exponentials are of base 2
# How the kernel cuts its work, the fastest of what was tried on an H100: columns of a weight, of a head, and of gate
# and up; inputs of a product at once, and how many such pieces are under way; queries and keys; warps of a program.
COLUMNS, HEAD_COLUMNS, UP_COLUMNS, DEEP, STAGES, QUERIES, KEYS, WARPS = 64, 16, 32, 64, 4, 16, 128, 8


@dataclass(frozen=True)
class Loop:
    """What the kernel needs to denoise: how actions enter the expert at each step, and leave it."""

    trail: Float[Tensor, "more chunk action"]  # the noise, and the actions after each step
    w_in: Float[Tensor, "width action"]
    b_in: Float[Tensor, "steps width"]
    w_out: Float[Tensor, "action width"]
    b_out: Float[Tensor, " action"]
    w_time: Float[Tensor, "width width"] | None  # of a further product that mixes in the time (Pi0)
    b_time: Float[Tensor, " width"] | None
    step: float  # of time, from one to the next


class FewRows:
    """Layers over up to `most` rows. They leave keys and values of their rows in `view`, before what was kept there."""

    def __init__(self, layers: Sequence[GemmaLayer], config: GemmaConfig, norms: Norms, most: int, view: View):
        c, self._config, self._norms, self._view = config, config, norms, view
        keys, heads = view[0], config.num_heads * most
        weights = [[layer.qkv, layer.out, layer.gate_up, layer.down] for layer in layers]
        self._weights = [[_aligned(linear.weight) for linear in four] for four in weights]
        base = self._weights[0][0]
        offsets = [[(w.data_ptr() - base.data_ptr()) // w.element_size() for w in four] for four in self._weights]
        self._offsets = torch.tensor(offsets, device=base.device)
        self._programs = torch.cuda.get_device_properties(base.device).multi_processor_count if base.is_cuda else 1

        def numbers(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.float32, device=base.device)

        blocks = -(-keys.shape[1] // KEYS)
        self._cut = self._sizes(most)
        self._residual, self._normed = numbers(most, c.width), base.new_empty(most, c.width)
        self._queries, self._attended = base.new_empty(2, heads, c.head_dim)
        self._inner = base.new_empty(most, c.mlp_dim)
        self._sums, self._tops, self._shares = (
            numbers(blocks, heads, c.head_dim),
            numbers(blocks, heads),
            numbers(blocks, heads),
        )
        self._parts = numbers(max(self._cut["OUT_PARTS"], self._cut["DOWN_PARTS"]), most, c.width)
        self._met = torch.zeros(1, dtype=torch.int32, device=base.device)

    def run(
        self,
        x: Float[Tensor, "rows width"],
        kept: int,
        by: Rope,
        depth: int | None = None,
        loop: Loop | None = None,
        state: Float[Tensor, "1 width"] | None = None,
    ) -> None:
        """The first `depth` layers over `x`, whose rows attend to themselves and to `kept` more tokens.

        With a `loop`, all layers at each of its steps, over its actions; `x` is then a buffer. A `state` goes through
        the first step beside them and becomes the first of the kept tokens: `by` has a row more.
        """
        c, norms, (keys, values) = self._config, self._norms, self._view
        rows, actions = (loop.trail.shape[1], loop.w_out.shape[0]) if loop else (len(x), 1)
        shift = norms.scale if norms.shift is None else norms.shift
        gate = norms.scale if norms.gate is None else norms.gate
        given = (loop.trail, loop.w_in, loop.b_in, loop.w_out, loop.b_out) if loop else [None] * 5
        timed = (loop.w_time, loop.b_time) if loop else (None, None)
        self._met.zero_()
        kernels.layers[(self._programs,)](
            x, state, *given, *timed, self._weights[0][0], self._offsets, norms.scale, shift, gate, norms.between, *by,
            self._residual, self._normed, self._queries, keys, values, keys.stride(0), self._sums, self._tops,
            self._shares, self._attended, self._inner, self._parts, self._met, rows, kept,
            LOG2E / math.sqrt(c.head_dim), loop.step if loop else 1.0,
            len(loop.trail) - 1 if loop else 1, A=actions, BA=max(16, power(actions)), TIMED=timed[0] is not None,
            ADAPTIVE=norms.shift is not None, STATE=state is not None, DEPTH=len(self._weights[:depth]),
            READ=loop is not None, W=c.width, BLOCK=power(c.width), HEADS=c.num_heads, D=c.head_dim, MLP=c.mlp_dim,
            **self._cut, PROGRAMS=self._programs, num_warps=WARPS, num_stages=1, launch_cooperative_grid=True,
        )  # fmt: skip

    def _sizes(self, most: int) -> dict[str, int]:
        c = self._config
        heads = c.num_heads * c.head_dim
        deep = block(math.gcd(c.width, heads, c.mlp_dim), DEEP)
        columns = block(c.width, COLUMNS)
        many = max(1, self._programs // (c.width // columns))  # sums that keep every program busy
        return {
            "OUT_PARTS": block(math.gcd(c.width, heads) // deep, power(many + 1) // 2),
            "DOWN_PARTS": block(c.mlp_dim // deep, power(many + 1) // 2),
            "BM": max(16, power(most)),
            "BQ": min(QUERIES, max(16, power(c.num_heads * most))),
            "BT": KEYS,
            "BLOCKS": power(-(-self._view[0].shape[1] // KEYS)),
            "BN": columns,
            "BH": block(c.head_dim // 2, HEAD_COLUMNS),
            "BU": block(c.mlp_dim, UP_COLUMNS),
            "BK": deep,
            "STAGES": STAGES,
        }


def _aligned(weight: Tensor) -> Tensor:
    """The weight where it is, or a copy that begins at a multiple of 128 bytes, as the kernel takes for granted."""
    return weight if weight.is_contiguous() and weight.data_ptr() % 128 == 0 else weight.clone().contiguous()
